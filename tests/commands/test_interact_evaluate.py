"""Tests for `dnalm interact evaluate`: its module, on pairs simulated here."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dnalm import checkpoint
from dnalm.commands import interact_evaluate as verb
from dnalm.commands.interact_evaluate import Options, permuted, run
from dnalm.commands.runs import EvaluationOptions
from dnalm.data.pairs import PairSet
from dnalm.device import Compute
from dnalm.evaluate.auroc import areas
from dnalm.evaluate.baselines.boosting import Boosting
from dnalm.evaluate.baselines.ladder import LADDER
from dnalm.evaluate.pairs import probability
from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.heads import PairHeadConfig
from dnalm.models.open import OpenedInteraction
from dnalm.models.pair import InteractionModel, predict
from dnalm.models.pair_shape import InteractionShape

CPU = Compute(device="cpu", precision="fp32")
GENES, MOLECULES = 40, 30
TASTE = np.random.default_rng(9).permutation(np.arange(GENES) % 2)
"""Which chemical family each gene takes to; its sequence does not tell."""


@pytest.fixture
def pairs():
    """1,200 pairs of 40 genes and 30 molecules: 800 to train, 200 to validate, 200 to test."""
    draws = np.random.default_rng(1)
    gene, molecule = (axis.ravel() for axis in np.mgrid[:GENES, :MOLECULES])
    order = draws.permutation(len(gene))
    likely = np.where(TASTE[gene] == molecule % 2, 0.9, 0.1)
    return PairSet(
        gene_ids=[str(i) for i in range(GENES)],
        sequences=["".join(draws.choice(list("ACGT"), 100)) for _ in range(GENES)],
        kinds=["CDS" if i < 10 else "mRNA" if i < 20 else "promoter" for i in range(GENES)],
        clusters=np.arange(GENES),
        smiles=[f"{'C' * (1 + i // 2)}{('c1ccccc1', 'C(=O)N')[i % 2]}" for i in range(MOLECULES)],
        scaffolds=[""] * MOLECULES,
        gene=gene,
        molecule=molecule,
        label=(draws.random(len(gene)) < likely).astype(np.uint8),
        parts={"train": order[:800], "validation": order[800:1000], "test": order[1000:]},
        meta={
            "digest": "d1",
            "split": "random",
            "seed": 4,
            "negatives": "degree-matched",
            "ratio": 1,
            "sources": [{"name": "pairs.csv", "sha256": "0"}],
        },
    )


def opened(name, digest="d1"):
    model = InteractionModel(
        InteractionShape(KmerConfig(), MorganConfig(), PairHeadConfig("mean", "mean"), dna_length=100)
    )
    count = model.parameter_count
    about = {"kind": "kmer-morgan", "parameters": count, "trained_parameters": count, "set": digest}
    return OpenedInteraction(model.eval(), name, about)


@pytest.fixture
def evaluate(pairs, monkeypatch):
    """Evaluates runs by their names: "rule" knows the taste, "noise" nothing, "stranger" has other pairs."""
    monkeypatch.setitem(LADDER, "gradient boosting", lambda seed: Boosting(seed, trees=5))
    held = {"pairs": pairs}
    models = {name: opened(name) for name in ("rule", "noise")} | {"stranger": opened("stranger", "d2")}

    def predict(model, _tokens, gene, molecule, *, together=False):
        if model is models["rule"].model:
            return 8.0 * (TASTE[gene] == molecule % 2) - 4.0 + 0.01 * (gene % 7)
        return np.random.default_rng(2).normal(size=(GENES, MOLECULES))[gene, molecule]

    monkeypatch.setattr(verb, "open_pairs", lambda _folder: held["pairs"])
    monkeypatch.setattr(verb, "open_interaction", lambda path: models[path.name])
    monkeypatch.setattr(verb, "predict", predict)

    def start(*names, data=None, **flags):
        held["pairs"] = data or pairs
        where = {key: flags.pop(key) for key in ("out", "overwrite", "quiet") if key in flags}
        runs = tuple(Path(name) for name in names)
        run(Options(runs=runs, judging=EvaluationOptions(compute=CPU, **where), **flags))
        return json.loads(where["out"].read_text()) if "out" in where else None

    return start


def test_intervals_draw_what_the_split_holds_out(evaluate, pairs, monkeypatch, tmp_path, capsys):
    scored, paired = verb.interaction_scores, verb.paired_auroc
    seen = []

    def score(label, score, gene, molecule, drawn, seed):
        seen.append(np.array_equal(drawn, [gene]))  # each gene is a cluster of its own
        return scored(label, score, gene, molecule, drawn, seed)

    def compare(label, one, other, drawn, seed):
        seen.append(np.array_equal(drawn, [pairs.gene[pairs.parts["test"]]]))
        return paired(label, one, other, drawn, seed)

    monkeypatch.setattr(verb, "interaction_scores", score)
    monkeypatch.setattr(verb, "paired_auroc", compare)
    cold = replace(pairs, meta=pairs.meta | {"split": "cold-gene"})
    found = evaluate("rule", "noise", part="test", data=cold, out=tmp_path / "r.json")
    assert len(seen) > 10
    assert all(seen)
    assert found["drawn"] == "genes"
    assert "intervals: whole genes drawn again" in capsys.readouterr().out


def test_results_hold_what_the_contract_says(evaluate, pairs, tmp_path):
    found = evaluate("rule", "noise", part="test", out=tmp_path / "r.json")
    about = ("format", "format_version", "part", "split", "negatives", "ratio", "seed", "digest")
    assert tuple(found[key] for key in about) == (
        *("dnalm-interaction-evaluation", 1, "test", "random", "degree-matched", 1, 4),
        "d1",
    )
    rows = pairs.parts["test"]
    assert (found["rows"], found["positives"]) == (200, pairs.label[rows].sum())
    assert list(found["models"]) == ["rule", "noise"]
    assert list(found["ladder"]) == list(LADDER)
    scores = found["models"]["rule"]["scores"]
    assert scores.keys() == {
        *("auroc", "auprc", "prevalence", "auroc_per_gene", "auroc_per_molecule", "ef1", "brier", "ece"),
        *("reliability", "rows", "positives"),
    }
    expected = areas(
        pairs.label[rows],
        verb.predict(verb.open_interaction(Path("rule")).model, None, pairs.gene[rows], pairs.molecule[rows]),
    )
    assert (scores["auroc"]["value"], scores["auprc"]["value"]) == pytest.approx(expected)
    assert found["warnings"] == []


def test_each_model_is_judged_beside_the_best_rung_on_the_same_pairs(evaluate, tmp_path, capsys):
    found = evaluate("rule", "noise", part="test", out=tmp_path / "r.json")
    auroc = {name: entry["scores"]["auroc"]["value"] for name, entry in found["ladder"].items()}
    best = found["best_rung"]
    assert auroc[best] == max(auroc.values()) > 0.75
    for entry in found["models"].values():
        gain = entry["minus_best_rung"]
        assert gain["rung"] == best
        assert gain["value"] == pytest.approx(entry["scores"]["auroc"]["value"] - auroc[best])
    assert found["models"]["noise"]["minus_best_rung"]["high"] < 0
    assert f"best rung: {best}, AUROC {auroc[best]:.4f}; rule " in capsys.readouterr().out


def test_the_verdict_is_that_of_the_paired_interval():
    def verdict(low, high):
        gain = {"rung": "node rate", "value": (low + high) / 2, "low": low, "high": high}
        rung = {"scores": {"auroc": {"value": 0.6}}}
        return verb._verdict(
            {
                "best_rung": "node rate",
                "ladder": {"node rate": rung},
                "models": {"m": {"minus_best_rung": gain}},
            }
        )

    assert "m beats it (+0.0200, 95 % paired interval +0.0100 to +0.0300)" in verdict(0.01, 0.03)
    assert "m is behind it (-0.0200" in verdict(-0.03, -0.01)
    assert "m cannot be told from it (+0.0000" in verdict(-0.01, 0.01)


def test_shuffles_leave_the_rule_without_its_sequences_or_molecules(evaluate, tmp_path):
    entry = evaluate("rule", part="test", out=tmp_path / "r.json")["models"]["rule"]
    assert entry["scores"]["auroc"]["value"] > 0.85
    for shuffle in ("shuffled_genes", "shuffled_molecules"):
        # a permuted node takes to either family by chance: 40 genes, of which 20 are of each, or 30 molecules
        assert entry[shuffle]["auroc"]["value"] == pytest.approx(0.5, abs=0.3)
        assert entry[shuffle]["rows"] == 200


def test_permuted_nodes_keep_their_degrees_and_none_stays_itself():
    node = np.random.default_rng(0).integers(3, 40, 500)
    found = permuted(node, np.random.default_rng(1))
    pairs = set(zip(node.tolist(), found.tolist(), strict=True))
    assert len(pairs) == len(set(node.tolist())) == len(set(found.tolist()))  # one to one
    assert set(found.tolist()) == set(node.tolist())
    assert (found != node).all()
    np.testing.assert_array_equal(permuted(node, np.random.default_rng(1)), found)
    assert permuted(np.array([5, 5]), np.random.default_rng(0)).tolist() == [5, 5]  # there is no other


def test_the_temperature_is_that_of_validation_whatever_part_is_judged(evaluate, pairs, tmp_path):
    one = evaluate("rule", part="validation", out=tmp_path / "v.json")["models"]["rule"]
    labels = pairs.label.copy()
    labels[pairs.parts["test"]] = 1 - labels[pairs.parts["test"]]
    other = evaluate("rule", part="test", data=replace(pairs, label=labels), out=tmp_path / "t.json")
    assert other["models"]["rule"]["temperature"] == one["temperature"] > 1.2  # ln 9 is 2.2, and not 4
    # calibrated on the pairs it is judged on, but for what one number cannot do
    assert one["scores"]["ece"] < 0.05


def test_the_sequenced_are_scored_apart(evaluate, pairs, tmp_path):
    found = evaluate("rule", part="test", out=tmp_path / "r.json")
    rows = pairs.parts["test"]
    rows = rows[pairs.has_transcript()[rows]]
    for entry in (found["models"]["rule"], *found["ladder"].values()):
        assert (entry["sequenced"]["rows"], entry["sequenced"]["positives"]) == (
            len(rows),
            pairs.label[rows].sum(),
        )
    promoters = replace(pairs, kinds=["promoter"] * GENES)
    found = evaluate("rule", part="test", data=promoters, out=tmp_path / "p.json")
    assert found["models"]["rule"]["sequenced"] is None
    assert all(entry["sequenced"] is None for entry in found["ladder"].values())


def test_no_auroc_is_printed_without_its_protocol_and_the_node_rate(evaluate, pairs, capsys):
    evaluate("rule", "noise", part="test")
    heading, columns, *lines = capsys.readouterr().out.splitlines()
    share = pairs.label[pairs.parts["test"]].mean()
    assert heading == (
        f"test part of the random split: 200 pairs, negatives degree-matched, ratio 1, prevalence {share:.3f}"
    )
    evaluate(
        "rule", part="test", data=replace(pairs, meta=pairs.meta | {"negatives": "given", "ratio": None})
    )
    assert f"negatives given, prevalence {share:.3f}" in capsys.readouterr().out
    assert columns.split()[:3] == ["AUROC", "95", "%"]
    names = [line[:30].strip() for line in lines]
    for name in ("rule", "rule, genes permuted", "noise, molecules permuted", *LADDER):
        assert name in names
    assert all(len(line) <= 120 for line in lines[:10])


def test_the_ladder_alone(evaluate, tmp_path, capsys):
    found = evaluate(ladder_only=True, out=tmp_path / "r.json")
    assert found["models"] == {}
    assert found["part"] == "validation"
    assert list(found["ladder"]) == list(LADDER)
    assert found["warnings"] == []
    assert f"best rung: {found['best_rung']}" in capsys.readouterr().out


def test_the_validation_part_is_said_to_have_chosen(evaluate, tmp_path, capsys):
    (warning,) = evaluate("rule", out=tmp_path / "r.json")["warnings"]
    assert "--part test" in warning
    assert warning in capsys.readouterr().err
    evaluate("rule", quiet=True)
    assert capsys.readouterr().err == ""


def test_two_evaluations_are_equal(evaluate, tmp_path):
    one, other = (evaluate("rule", part="test", out=tmp_path / f"{name}.json") for name in ("a", "b"))
    assert one == other


@pytest.mark.parametrize(("label", "word"), [(1, "positive"), (0, "negative")])
def test_a_part_of_one_class_is_said_and_does_not_crash(label, word, evaluate, pairs, tmp_path, capsys):
    labels = pairs.label.copy()
    labels[pairs.parts["validation"]] = label
    found = evaluate("rule", data=replace(pairs, label=labels), out=tmp_path / "r.json")
    entry = found["models"]["rule"]
    assert entry["scores"]["auroc"] == {"value": None, "low": None, "high": None}
    assert entry["temperature"] == 1
    assert found["best_rung"] is entry["minus_best_rung"]["rung"] is None
    assert any(f"validation part has only {word} pairs (200)" in warning for warning in found["warnings"])
    assert "no rung has an AUROC" in capsys.readouterr().out
    found = evaluate("rule", data=replace(pairs, label=labels), part="test", out=tmp_path / "t.json")
    assert found["models"]["rule"]["scores"]["auroc"]["value"] > 0.85
    (warning,) = found["warnings"]
    assert "no temperature can be fitted" in warning


def test_the_record_of_an_evaluation(evaluate, tmp_path, monkeypatch):
    found = evaluate("rule", part="test", out=tmp_path / "evaluation_test.json")
    record = json.loads((tmp_path / "run_evaluation_test.json").read_text())
    assert (record["verb"], record["status"], record["data"]["digest"]) == ("interact evaluate", "done", "d1")
    kept = record["metrics"]["models"]["rule"]["scores"]
    assert kept["auroc"] == found["models"]["rule"]["scores"]["auroc"]
    assert "reliability" not in kept

    def stop(*_, **_how):
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "predict", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate("rule", out=tmp_path / "s.json")
    assert json.loads((tmp_path / "run_s.json").read_text())["status"] == "interrupted"
    assert not (tmp_path / "s.json").exists()


def test_two_models_are_compared_on_the_same_pairs(evaluate, tmp_path, capsys):
    found = evaluate("rule", "noise", part="test", out=tmp_path / "r.json")
    (pair,) = found["pairs"]
    scores = {name: found["models"][name]["scores"]["auroc"]["value"] for name in ("rule", "noise")}
    assert (pair["one"], pair["other"]) == ("rule", "noise")
    assert pair["value"] == pytest.approx(scores["rule"] - scores["noise"])
    assert pair["low"] < pair["value"] < pair["high"]
    assert f"rule less noise: {pair['value']:+.4f}, 95 % paired interval" in capsys.readouterr().out


def test_an_ensemble_is_the_mean_of_calibrated_logits(evaluate, pairs, tmp_path):
    found = evaluate("rule", "noise", part="test", ensemble=True, out=tmp_path / "r.json")
    assert list(found["models"]) == ["rule", "noise", "ensemble"]
    rows = pairs.parts["test"]
    heat = {name: found["models"][name]["temperature"] for name in ("rule", "noise")}
    logits = [
        verb.predict(verb.open_interaction(Path(name)).model, None, pairs.gene[rows], pairs.molecule[rows])
        / heat[name]
        for name in heat
    ]
    entry = found["models"]["ensemble"]
    expected = areas(pairs.label[rows], sum(logits) / 2)
    assert entry["scores"]["auroc"]["value"] == pytest.approx(expected[0])
    assert entry["model"]["kind"] == "ensemble of rule, noise"
    members = [found["models"][name]["model"]["parameters"] for name in heat]
    assert entry["model"]["parameters"] == sum(members)
    assert len(found["pairs"]) == 3
    assert entry["model"]["weights"] not in {found["models"][name]["model"]["weights"] for name in heat}


def test_mistakes_are_told_before_anything_is_written(evaluate, pairs, tmp_path):
    out = tmp_path / "r.json"
    one_class = replace(pairs, label=np.ones_like(pairs.label))
    none = replace(pairs, parts=pairs.parts | {"test": pairs.parts["test"][:0]})
    for names, flags, message in (
        (["stranger"], {}, "stranger: trained on other pairs or another split"),
        (["rule", "rule"], {}, "a run is named twice"),
        ([], {}, "no run is named"),
        (["rule"], {"ladder_only": True}, "--ladder-only judges no model"),
        (["rule"], {"ensemble": True}, "--ensemble needs at least two models, got 1"),
        (["rule"], {"data": one_class}, "the training part has only positive pairs"),
        (["rule"], {"data": none, "part": "test"}, "its test part is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(*names, out=out, **flags)
        assert not list(tmp_path.iterdir())
    out.write_text("mine")
    with pytest.raises(ValueError, match="is there already"):
        evaluate("rule", out=out)
    assert out.read_text() == "mine"
    assert evaluate("rule", out=out, overwrite=True)["best_rung"]


def test_a_run_on_disk_is_scored_as_its_model_predicts(pairs, tmp_path, monkeypatch):
    monkeypatch.setitem(LADDER, "gradient boosting", lambda seed: Boosting(seed, trees=5))
    monkeypatch.setattr(verb, "open_pairs", lambda _folder: pairs)
    made = opened("mine")
    content = {"kind": "interaction", **made.model.shape.as_dict(), "about": made.about}
    checkpoint.save(tmp_path / "mine" / "checkpoint", dict(made.model.state_dict()), content)
    out = tmp_path / "r.json"
    run(Options(runs=(tmp_path / "mine",), part="test", judging=EvaluationOptions(out=out, compute=CPU)))
    entry = json.loads(out.read_text())["models"]["mine"]
    assert entry["model"]["kind"] == "kmer-morgan"
    assert len(entry["model"]["weights"]) == 64  # a SHA-256
    rows = pairs.parts["test"]
    logits = predict(made.model, made.model.shape.tokens(pairs), pairs.gene[rows], pairs.molecule[rows])
    scores = probability(logits, entry["temperature"])
    assert entry["scores"]["auroc"]["value"] == pytest.approx(areas(pairs.label[rows], scores)[0])
    assert entry["scores"]["brier"] == pytest.approx(np.square(scores - pairs.label[rows]).mean())


def test_a_run_that_was_stopped_is_judged_with_a_warning(evaluate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rule").mkdir()
    for status, warnings in (("interrupted", 1), ("done", 0)):
        (Path("rule") / "run.json").write_text(json.dumps({"status": status}))
        found = evaluate("rule", part="test", out=tmp_path / f"{status}.json")["warnings"]
        assert len(found) == warnings
        assert all("rule: its training has not come to its end (interrupted)" in each for each in found)
