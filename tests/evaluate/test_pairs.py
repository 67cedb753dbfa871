"""Tests for dnalm/evaluate/pairs.py, on simulated pairs."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.data.pairs import PairSet
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.evaluate import pairs as module
from dnalm.evaluate.auroc import areas
from dnalm.evaluate.baselines.boosting import boosting
from dnalm.evaluate.baselines.ladder import LADDER
from dnalm.evaluate.pair_scores import probability
from dnalm.evaluate.pairs import EvaluatedModel, evaluate_pairs, open_models, permute_nodes
from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.heads import PairHeadConfig
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.pair import InteractionModel, predict
from dnalm.models.pair_shape import InteractionShape

GENES, MOLECULES = 40, 30
TASTE = np.random.default_rng(9).permutation(np.arange(GENES) % 2)
"""Which chemical family each gene interacts with; its sequence does not tell."""


def rule(gene, molecule):
    return 8.0 * (TASTE[gene] == molecule % 2) - 4.0 + 0.01 * (gene % 7)


def noise(gene, molecule):
    return np.random.default_rng(2).normal(size=(GENES, MOLECULES))[gene, molecule]


def model(name, predict):
    about = {"kind": name, "parameters": 3, "trained_parameters": 2, "weights": f"sha of {name}"}
    return EvaluatedModel(about, f"runs/{name}", predict)


RULE, NOISE = {"rule": model("rule", rule)}, {"noise": model("noise", noise)}


@pytest.fixture
def interaction_pairs():
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


@pytest.fixture
def evaluate(interaction_pairs, monkeypatch):
    monkeypatch.setitem(LADDER, "gradient boosting", partial(boosting, trees=5))
    return lambda models, part="test", pairs=interaction_pairs, **rest: evaluate_pairs(
        pairs, part, models, **rest
    )


def test_results_hold_what_the_schema_says(evaluate, interaction_pairs):
    pairs = interaction_pairs
    found = evaluate(RULE | NOISE)
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
    expected = areas(pairs.label[rows], rule(pairs.gene[rows], pairs.molecule[rows]))
    assert (scores["auroc"]["value"], scores["auprc"]["value"]) == pytest.approx(expected)
    assert found["warnings"] == []
    # each model beside the best baseline, and beside the other, on the same pairs
    auroc = {name: entry["scores"]["auroc"]["value"] for name, entry in found["ladder"].items()}
    assert auroc[found["best_baseline"]] == max(auroc.values()) > 0.75
    values = {name: entry["scores"]["auroc"]["value"] for name, entry in found["models"].items()}
    for name, entry in found["models"].items():
        gain = entry["minus_best_baseline"]
        assert gain["baseline"] == found["best_baseline"]
        assert gain["value"] == pytest.approx(values[name] - max(auroc.values()))
    assert found["models"]["noise"]["minus_best_baseline"]["high"] < 0
    (pair,) = found["pairs"]
    assert (pair["one"], pair["other"]) == ("rule", "noise")
    assert pair["low"] < pair["value"] < pair["high"]
    assert pair["value"] == pytest.approx(values["rule"] - values["noise"])
    assert json.dumps(found) == json.dumps(evaluate(RULE | NOISE))


def test_intervals_resample_what_the_split_holds_out(evaluate, interaction_pairs, monkeypatch):
    pairs = replace(interaction_pairs, meta=interaction_pairs.meta | {"split": "cold-gene"})
    scored, paired = module.interaction_scores, module.paired_auroc
    seen = []

    def score(label, score, gene, molecule, clusters, seed):
        seen.append(np.array_equal(clusters, [gene]))  # each gene is a cluster of its own
        return scored(label, score, gene, molecule, clusters, seed)

    def compare(label, one, other, clusters, seed):
        seen.append(np.array_equal(clusters, [pairs.gene[pairs.parts["test"]]]))
        return paired(label, one, other, clusters, seed)

    monkeypatch.setattr(module, "interaction_scores", score)
    monkeypatch.setattr(module, "paired_auroc", compare)
    assert evaluate(RULE | NOISE, pairs=pairs)["drawn"] == "genes"
    assert len(seen) > 10
    assert all(seen)


def test_permuted_nodes_keep_their_degrees_and_none_stays_itself():
    node = np.random.default_rng(0).integers(3, 40, 500)
    found = permute_nodes(node, np.random.default_rng(1))
    pairs = set(zip(node.tolist(), found.tolist(), strict=True))
    assert len(pairs) == len(set(node.tolist())) == len(set(found.tolist()))  # one to one
    assert set(found.tolist()) == set(node.tolist())
    assert (found != node).all()
    np.testing.assert_array_equal(permute_nodes(node, np.random.default_rng(1)), found)
    assert permute_nodes(np.array([5, 5]), np.random.default_rng(0)).tolist() == [5, 5]  # no other node


def test_the_temperature_is_that_of_validation_for_either_part(evaluate, interaction_pairs):
    pairs = interaction_pairs
    one = evaluate(RULE, "validation")["models"]["rule"]
    labels = pairs.label.copy()
    labels[pairs.parts["test"]] = 1 - labels[pairs.parts["test"]]
    other = evaluate(RULE, pairs=replace(pairs, label=labels))["models"]["rule"]
    assert other["temperature"] == one["temperature"] > 1.2  # ln 9 is 2.2, and not 4
    # calibrated on the pairs it is evaluated on, except for what one number cannot do
    assert one["scores"]["ece"] < 0.08


def test_genes_with_a_transcript_are_scored_separately(evaluate, interaction_pairs):
    pairs = interaction_pairs
    rows = pairs.parts["test"]
    rows = rows[pairs.has_transcript()[rows]]
    found = evaluate(RULE)
    for entry in (found["models"]["rule"], *found["ladder"].values()):
        scores = entry["sequenced"]
        assert (scores["rows"], scores["positives"]) == (len(rows), pairs.label[rows].sum())
    found = evaluate(RULE, pairs=replace(pairs, kinds=["promoter"] * GENES))
    assert found["models"]["rule"]["sequenced"] is None
    assert all(entry["sequenced"] is None for entry in found["ladder"].values())


def test_scores_by_training_pairs_count_those_of_the_training_part(evaluate, interaction_pairs):
    pairs = interaction_pairs
    train = pairs.parts["train"]
    few = train[pairs.gene[train] != 0][::3]  # no pair of gene 0, a third of the others
    parts = pairs.parts | {"train": few}
    found = evaluate(RULE, pairs=replace(pairs, parts=parts))
    rows = pairs.parts["test"]
    for side, node in (("gene", pairs.gene), ("molecule", pairs.molecule)):
        count = np.array([(node[few] == one).sum() for one in node[rows]])
        for entry in (found["models"]["rule"], *found["ladder"].values()):
            for one in entry["by_training_pairs"][side]:
                last = count.max() if one["last"] is None else one["last"]
                assert one["rows"] == ((one["first"] <= count) & (count <= last)).sum()
            assert sum(one["rows"] for one in entry["by_training_pairs"][side]) == len(rows)
    first = found["models"]["rule"]["by_training_pairs"]["gene"][0]
    assert (first["last"], first["rows"]) == (0, (pairs.gene[rows] == 0).sum())


@pytest.mark.parametrize(("label", "word"), [(1, "positive"), (0, "negative")])
def test_a_part_of_one_class_gives_a_warning(label, word, evaluate, interaction_pairs):
    labels = interaction_pairs.label.copy()
    labels[interaction_pairs.parts["validation"]] = label
    pairs = replace(interaction_pairs, label=labels)
    found = evaluate(RULE, "validation", pairs)
    entry = found["models"]["rule"]
    assert np.isnan(list(entry["scores"]["auroc"].values())).all()
    assert entry["temperature"] == 1
    assert found["best_baseline"] is entry["minus_best_baseline"]["baseline"] is None
    assert any(f"validation part has only {word} pairs (200)" in warning for warning in found["warnings"])
    found = evaluate(RULE, pairs=pairs)
    assert found["models"]["rule"]["scores"]["auroc"]["value"] > 0.85
    (warning,) = found["warnings"]
    assert "no temperature can be fitted" in warning


def test_warnings_of_validation_and_of_other_sets_and_of_unfinished_runs(evaluate, tmp_path):
    messages = []
    (warning,) = evaluate(RULE, "validation", say=messages.append)["warnings"]
    assert "chosen the epoch" in warning
    assert warning in messages
    models = {"rule": replace(RULE["rule"], path=str(tmp_path))}
    for status, count in (("interrupted", 1), ("done", 0)):
        (tmp_path / "run.json").write_text(json.dumps({"status": status}))
        warnings = evaluate(models)["warnings"]
        assert len(warnings) == count
        assert all(str(tmp_path) in each and status in each for each in warnings)
    about = RULE["rule"].about
    for sets, count in (({"init_set": "d1"}, 0), ({"init_set": "d2"}, 1), ({"init_sets": ["d1", "d2"]}, 1)):
        assert len(evaluate({"rule": replace(RULE["rule"], about=about | sets)})["warnings"]) == count


@pytest.fixture
def opened(interaction_pairs, tmp_path):
    """Writes small models of these names, and opens them."""

    def start(*names, digest="d1", **rest):
        for seed, name in enumerate(sorted({name for name in names})):
            torch.manual_seed(seed)
            shape = InteractionShape(
                KmerConfig(), MorganConfig(), PairHeadConfig("mean", "mean"), dna_length=100
            )
            made = InteractionModel(shape)
            about = {"kind": shape.kind, "parameters": 3, "trained_parameters": 2, "set": digest}
            content = {"kind": "interaction", **shape.as_dict(), "about": about}
            checkpoint.save(tmp_path / name / "checkpoint", dict(made.state_dict()), content)
        processor = Compute(device="cpu", precision="fp32").processor()
        encoder = InputEncoder(tmp_path / "states", processor, print)
        return open_models([tmp_path / name for name in names], interaction_pairs, encoder, **rest)

    return start


def test_a_run_on_disk_is_scored_as_its_model_predicts(evaluate, opened, interaction_pairs, tmp_path):
    pairs = interaction_pairs
    models = opened("mine")
    entry = evaluate(models)["models"]["mine"]
    assert entry["path"] == str(tmp_path / "mine")
    assert len(entry["model"]["weights"]) == 64  # a SHA-256
    rows = pairs.parts["test"]
    again = module.open_interaction(tmp_path / "mine").model
    logits = predict(again, again.shape.tokens(pairs), pairs.gene[rows], pairs.molecule[rows])
    scores = probability(logits, entry["temperature"])
    assert entry["scores"]["auroc"]["value"] == pytest.approx(areas(pairs.label[rows], scores)[0])
    assert entry["scores"]["brier"] == pytest.approx(np.square(scores - pairs.label[rows]).mean())


def test_an_ensemble_is_the_mean_of_calibrated_logits(evaluate, opened, interaction_pairs):
    pairs = interaction_pairs
    models = opened("a", "b", ensemble=True)
    found = evaluate(models)
    assert list(found["models"]) == ["a", "b", "ensemble"]
    rows = pairs.parts["test"]
    logits = [
        models[name].predict(pairs.gene[rows], pairs.molecule[rows]) / found["models"][name]["temperature"]
        for name in "ab"
    ]
    entry = found["models"]["ensemble"]
    expected = areas(pairs.label[rows], sum(logits) / 2)
    assert entry["scores"]["auroc"]["value"] == pytest.approx(expected[0])
    assert (entry["model"]["kind"], entry["model"]["parameters"]) == ("ensemble of a, b", 6)
    assert len({each["model"]["weights"] for each in found["models"].values()}) == 3
    assert len(found["pairs"]) == 3


@pytest.mark.parametrize(
    ("names", "rest", "reason"),
    [
        (["mine"], {"digest": "d2"}, "trained on another set"),
        (["mine", "mine"], {}, "given twice"),
        (["mine"], {"ensemble": True}, "at least two models"),
        (["ensemble", "mine"], {"ensemble": True}, "called ensemble"),
    ],
)
def test_models_that_cannot_be_evaluated_are_refused(opened, names, rest, reason):
    with pytest.raises(InputError, match=reason):
        opened(*names, **rest)


def test_sets_that_cannot_be_evaluated_are_refused(evaluate, interaction_pairs):
    pairs = interaction_pairs
    empty = replace(pairs, parts=pairs.parts | {"test": pairs.parts["test"][:0]})
    with pytest.raises(InputError, match="test part is empty"):
        evaluate(RULE, pairs=empty)
    with pytest.raises(InputError, match="800 pairs, 800 of them positive"):
        evaluate(RULE, pairs=replace(pairs, label=np.ones_like(pairs.label)))
