"""Tests for dnalm/evaluate/baselines/ladder.py: what must hold for every baseline."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from dnalm.errors import InputError
from dnalm.evaluate.baselines.boosting import boosting
from dnalm.evaluate.baselines.ladder import LADDER, ladder_scores
from dnalm.evaluate.baselines.node_rate import node_rate

FEW_TREES = partial(boosting, trees=5)
"""Enough for the laws, which hold for any number."""


@pytest.fixture(params=LADDER)
def baseline(request):
    return FEW_TREES if request.param == "gradient boosting" else LADDER[request.param]


def counts_all(pairs, train, rows, seed=0):
    """A cheat: learns from the pairs of every part."""
    return node_rate(pairs, np.arange(len(pairs.label)), rows)


def peeks(pairs, train, rows, seed=0):
    """A cheat: reads the label that it predicts."""
    return node_rate(pairs, train, rows) + 1e-9 * pairs.label[rows]


def uses_training_only(baseline, pairs):
    """Return whether only the training pairs, and the genes and molecules to score, decide the scores."""
    train, validation, test = (pairs.parts[part] for part in ("train", "validation", "test"))
    gene, molecule, label = pairs.gene.copy(), pairs.molecule.copy(), pairs.label.copy()
    gene[validation], molecule[validation] = gene[validation[::-1]], np.roll(molecule[validation], 1)
    label[validation], label[test] = 1 - label[validation], 1 - label[test]
    changed = replace(pairs, gene=gene, molecule=molecule, label=label)
    return np.array_equal(baseline(pairs, train, test, 0), baseline(changed, train, test, 0))


def test_a_baseline_sees_training_pairs_only(baseline, planted):
    assert uses_training_only(baseline, planted("degree"))


@pytest.mark.parametrize("cheat", [counts_all, peeks])
def test_a_cheat_is_detected(cheat, planted):
    assert not uses_training_only(cheat, planted("degree"))


def test_scores_are_from_0_to_1_reproducible_and_independent_of_other_pairs(baseline, planted):
    pairs = planted("features")
    train, rows = pairs.parts["train"], pairs.parts["test"]
    scores = baseline(pairs, train, rows, 3)
    assert (scores.shape, scores.dtype) == (rows.shape, np.float64)
    assert scores.min() >= 0
    assert scores.max() <= 1
    np.testing.assert_array_equal(baseline(pairs, train, rows[::-1][:100], 3), scores[::-1][:100])
    assert baseline(pairs, train, rows[:0], 3).shape == (0,)


def test_genes_and_molecules_that_are_not_in_training_have_a_score(baseline, planted):
    pairs = planted("features")
    train = pairs.parts["train"]
    train = train[(pairs.gene[train] > 9) & (pairs.molecule[train] > 9)]
    cold = np.flatnonzero((pairs.gene < 10) | (pairs.molecule < 10))
    assert np.isfinite(baseline(pairs, train, cold, 0)).all()


def test_no_baseline_finds_what_is_not_there(baseline, planted, auroc_of):
    # 4 standard errors of an AUROC of 720 pairs, half of them positive: sqrt(1 / (6 * 360)) is 0.0215
    assert auroc_of(baseline, planted("none")) == pytest.approx(0.5, abs=0.086)


def test_the_ladder_runs_every_baseline_with_the_other_labels_hidden(planted, monkeypatch):
    monkeypatch.setitem(LADDER, "gradient boosting", FEW_TREES)
    monkeypatch.setitem(LADDER, "peeks", peeks)
    pairs, names = planted("degree"), []
    rows = pairs.parts["test"]
    scores = ladder_scores(pairs, rows, say=names.append)
    assert list(scores) == list(LADDER) == names
    np.testing.assert_array_equal(scores["node rate"], node_rate(pairs, pairs.parts["train"], rows))
    np.testing.assert_allclose(scores["peeks"], scores["node rate"] + 255e-9)  # every label reads the same


@pytest.mark.parametrize("label", [0, 1])
def test_refuses_a_training_part_of_one_class(label, planted):
    pairs = planted("none")
    labels = pairs.label.copy()
    labels[pairs.parts["train"]] = label
    with pytest.raises(InputError, match=f"3,360 pairs, {3360 * label:,} of them positive"):
        ladder_scores(replace(pairs, label=labels), pairs.parts["test"])
