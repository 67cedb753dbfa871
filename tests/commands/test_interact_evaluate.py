"""Tests for `dnalm interact evaluate`: what it prints, writes and refuses."""

import json
from functools import partial
from unittest.mock import Mock

import pytest

from dnalm import checkpoint
from dnalm.commands.interact_evaluate import Options, run
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
    shape = InteractionShape(KmerConfig(), MorganConfig(), PairHeadConfig("mean", "mean"))
    about = {
        "kind": shape.kind,
        "parameters": 3,
        "trained_parameters": 2,
        "set": open_pairs(pair_folder).digest,
    }
    content = {"kind": "interaction", **shape.as_dict(), "about": about}

    def start(*names, data=pair_folder, part="test", out=tmp_path / "results" / "a.json", how=None, **flags):
        for name in names:
            checkpoint.save(tmp_path / name / "checkpoint", InteractionModel(shape).state_dict(), content)
        judging = EvaluationOptions(out=out, compute=Compute(device="cpu", precision="fp32"), **(how or {}))
        if out is not None:
            out.parent.mkdir(exist_ok=True)
        folders = tuple(tmp_path / name for name in names)
        run(Options(folders, data=data, part=part, judging=judging, **flags))
        return None if out is None else json.loads(out.read_text())

    return start


def test_no_auroc_is_printed_without_its_protocol_and_the_baselines(evaluate, pair_folder, capsys):
    found = evaluate("a", "b")
    heading, columns, *lines = capsys.readouterr().out.splitlines()
    pairs = open_pairs(pair_folder)
    rows = pairs.parts["test"]
    for part in (f"random split: {len(rows):,} pairs", "degree-matched", f"{pairs.label[rows].mean():.3f}"):
        assert part in heading
    assert columns.split()[:3] == ["AUROC", "95", "%"]
    names = {line[:30].strip() for line in lines}
    assert {"a", "a, genes permuted", "b, molecules permuted", *LADDER} <= names
    assert all(len(line) <= 120 for line in lines[:10])
    (pair,) = found["pairs"]
    assert any(line.startswith(f"a minus b: {pair['value']:+.4f}, 95 % paired interval") for line in lines)
    assert any(found["best_baseline"] in line for line in lines if "best baseline" in line)
    (warning,) = evaluate("a", part="validation", how={"overwrite": True})["warnings"]
    assert warning in capsys.readouterr().err
    evaluate("a", part="validation", out=None, how={"quiet": True})
    assert capsys.readouterr().err == ""


def test_the_ladder_alone_and_its_record(evaluate, tmp_path, monkeypatch):
    found = evaluate(ladder_only=True)
    assert (found["models"], found["warnings"], list(found["ladder"])) == ({}, [], list(LADDER))
    record = json.loads((tmp_path / "results" / "run_a.json").read_text())
    assert (record["verb"], record["status"]) == ("interact evaluate", "done")
    assert record["data"]["digest"] == found["digest"]
    scores = record["metrics"]["ladder"]["node rate"]["scores"]
    assert scores["auroc"] == found["ladder"]["node rate"]["scores"]["auroc"]
    assert "reliability" not in scores
    monkeypatch.setitem(LADDER, "node rate", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        evaluate(ladder_only=True, out=tmp_path / "stopped" / "b.json")
    (written,) = (tmp_path / "stopped").glob("*.json")
    assert written.name == "run_b.json"
    assert json.loads(written.read_text())["status"] == "interrupted"


def test_mistakes_are_refused_before_anything_is_written(evaluate, pair_set, write_set, tmp_path):
    test = pair_set.parts["test"]
    pair_set.parts["test"] = test[:0]
    empty = write_set(tmp_path / "empty", pair_set)
    pair_set.parts["test"] = test
    pair_set.label[:] = 1
    one_class = write_set(tmp_path / "one class", pair_set)
    for names, flags, message in (
        ([], {}, "no run is given"),
        (["a"], {"ladder_only": True}, "--ladder-only"),
        (["a"], {"ensemble": True}, "`ensemble`"),
        ([], {"ladder_only": True, "data": empty}, "test part is empty"),
        ([], {"ladder_only": True, "data": one_class}, "both classes"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(*names, **flags)
        assert not list((tmp_path / "results").iterdir())
    out = tmp_path / "mine.json"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        evaluate(ladder_only=True, out=out)
    assert out.read_text() == "mine"
