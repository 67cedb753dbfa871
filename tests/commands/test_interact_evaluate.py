"""Tests for `dnalm interact evaluate`: what it prints, writes and refuses."""

import json
from functools import partial

import numpy as np
import pytest

from dnalm import checkpoint
from dnalm.commands.interact_evaluate import Options, _verdict, run
from dnalm.commands.runs import EvaluationOptions
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.evaluate.baselines.boosting import boosting
from dnalm.evaluate.baselines.ladder import LADDER
from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.heads import PairHeadConfig
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape

pytest.importorskip("rdkit")
pytest.importorskip("sklearn")


@pytest.fixture
def evaluate(pair_folder, tmp_path, monkeypatch):
    """Evaluates untrained models by their names, and returns the results that were written."""
    monkeypatch.setitem(LADDER, "gradient boosting", partial(boosting, trees=5))
    digest = open_pairs(pair_folder).digest

    def start(*names, data=pair_folder, out=tmp_path / "results" / "evaluation_test.json", **flags):
        for name in names:
            shape = InteractionShape(KmerConfig(), MorganConfig(), PairHeadConfig("mean", "mean"))
            model = InteractionModel(shape)
            about = {"kind": shape.kind, "parameters": 3, "trained_parameters": 2, "set": digest}
            content = {"kind": "interaction", **shape.as_dict(), "about": about}
            checkpoint.save(tmp_path / name / "checkpoint", dict(model.state_dict()), content)
        judging = {key: flags.pop(key) for key in ("overwrite", "quiet") if key in flags}
        options = Options(
            tuple(tmp_path / name for name in names),
            data=data,
            part=flags.pop("part", "test"),
            judging=EvaluationOptions(out=out, compute=Compute(device="cpu", precision="fp32"), **judging),
            **flags,
        )
        if out is not None:
            out.parent.mkdir(exist_ok=True)
        run(options)
        return None if out is None else json.loads(out.read_text())

    return start


def test_no_auroc_is_printed_without_its_protocol_and_the_baselines(evaluate, pair_folder, capsys):
    found = evaluate("a", "b")
    heading, columns, *lines = capsys.readouterr().out.splitlines()
    pairs = open_pairs(pair_folder)
    rows = pairs.parts["test"]
    assert heading == (
        f"test part of the random split: {len(rows):,} pairs, negatives degree-matched, ratio 1, prevalence "
        f"{pairs.label[rows].mean():.3f}"
    )
    assert columns.split()[:3] == ["AUROC", "95", "%"]
    names = [line[:30].strip() for line in lines]
    for name in ("a", "a, genes permuted", "b, molecules permuted", *LADDER):
        assert name in names
    assert all(len(line) <= 120 for line in lines[:10])
    (pair,) = found["pairs"]
    assert any(line.startswith(f"a less b: {pair['value']:+.4f}, 95 % paired interval") for line in lines)
    assert any(line.startswith(f"best baseline: {found['best_rung']}, AUROC ") for line in lines)


def test_the_verdict_is_that_of_the_paired_interval():
    def verdict(low, high):
        gain = {"rung": "node rate", "value": (low + high) / 2, "low": low, "high": high}
        ladder = {"node rate": {"scores": {"auroc": {"value": 0.6}}}}
        return _verdict(
            {"best_rung": "node rate", "ladder": ladder, "models": {"m": {"minus_best_rung": gain}}}
        )

    assert "m beats it (+0.0200, 95 % paired interval +0.0100 to +0.0300)" in verdict(0.01, 0.03)
    assert "m is behind it (-0.0200" in verdict(-0.03, -0.01)
    assert "m does not differ from it (+0.0000" in verdict(-0.01, 0.01)


def test_the_ladder_alone_and_its_record(evaluate, tmp_path):
    found = evaluate(ladder_only=True)
    assert (found["models"], found["warnings"], list(found["ladder"])) == ({}, [], list(LADDER))
    record = json.loads((tmp_path / "results" / "run_evaluation_test.json").read_text())
    assert (record["verb"], record["status"]) == ("interact evaluate", "done")
    assert record["data"]["digest"] == found["digest"]
    scores = record["metrics"]["ladder"]["node rate"]["scores"]
    assert scores["auroc"] == found["ladder"]["node rate"]["scores"]["auroc"]
    assert "reliability" not in scores


def test_an_interrupted_evaluation_is_recorded_and_writes_no_results(evaluate, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(LADDER, "node rate", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate(ladder_only=True)
    folder = tmp_path / "results"
    assert json.loads((folder / "run_evaluation_test.json").read_text())["status"] == "interrupted"
    assert not (folder / "evaluation_test.json").exists()


def test_warnings_are_printed_unless_quiet(evaluate, capsys):
    (warning,) = evaluate("a", part="validation")["warnings"]
    assert warning in capsys.readouterr().err
    evaluate("a", part="validation", out=None, quiet=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("names", "flags", "reason"),
    [
        ([], {}, "no run is given"),
        (["a"], {"ladder_only": True}, "--ladder-only evaluates no model"),
        (["a"], {"ensemble": True}, "`ensemble` needs at least two"),
        ([], {"ladder_only": True, "part": "empty"}, "test part is empty"),
        ([], {"ladder_only": True, "part": "one class"}, "both classes are needed"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(
    evaluate, pair_set, write_set, tmp_path, names, flags, reason
):
    flags = dict(flags)
    if (case := flags.pop("part", None)) == "empty":
        pair_set.parts["test"] = np.zeros(0, dtype=np.int64)
    elif case == "one class":
        pair_set.label[:] = 1
    if case:
        flags["data"] = write_set(tmp_path / "other", pair_set)
    with pytest.raises(InputError, match=reason):
        evaluate(*names, **flags)
    assert not list((tmp_path / "results").iterdir())


def test_results_are_replaced_only_on_request(evaluate, tmp_path):
    out = tmp_path / "mine.json"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        evaluate(ladder_only=True, out=out)
    assert out.read_text() == "mine"
    assert evaluate(ladder_only=True, out=out, overwrite=True)["best_rung"]
