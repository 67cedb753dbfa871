"""Tests for dnalm/baselines/ladder.py: what must hold of every rung."""

from dataclasses import replace

import numpy as np
import pytest

from dnalm.evaluate.baselines.boosting import Boosting
from dnalm.evaluate.baselines.ladder import LADDER, ladder_scores
from dnalm.evaluate.baselines.node_rate import NodeRate

FEW = 5
"""Trees: enough for the laws, which hold for any number."""


@pytest.fixture(params=LADDER)
def make(request):
    """Makes one rung from a seed."""
    return (
        (lambda seed: Boosting(seed, trees=FEW))
        if request.param == "gradient boosting"
        else LADDER[request.param]
    )


def sees_training_only(make, pairs):
    """Tell whether nothing but the training pairs decides what a rung learns and predicts."""
    train, test = pairs.parts["train"], pairs.parts["test"]
    others = np.setdiff1d(np.arange(len(pairs.label)), train)
    moved = np.roll(others, 1)
    gene, molecule, label = pairs.gene.copy(), pairs.molecule.copy(), pairs.label.copy()
    gene[others], molecule[others], label[others] = gene[moved[::-1]], molecule[moved], 1 - label[others]
    changed = replace(pairs, gene=gene, molecule=molecule, label=label)
    flipped = replace(pairs, label=label)
    one, other = make(0), make(0)
    one.fit(pairs, train)
    other.fit(changed, train)
    found = one.predict(pairs, test)
    return np.array_equal(found, other.predict(pairs, test)) and np.array_equal(
        found, one.predict(flipped, test)
    )


class CountsAll(NodeRate):
    """A cheat: counts the pairs of every part."""

    def fit(self, pairs, rows):
        super().fit(pairs, np.arange(len(pairs.label)))


class Peeks(NodeRate):
    """A cheat: reads the answer as it predicts."""

    def predict(self, pairs, rows):
        return super().predict(pairs, rows) + 1e-9 * pairs.label[rows]


def test_a_rung_sees_training_pairs_only(make, planted):
    assert sees_training_only(make, planted("degree"))


@pytest.mark.parametrize("cheat", [CountsAll, Peeks])
def test_a_rung_that_looks_elsewhere_is_caught(cheat, planted):
    assert not sees_training_only(lambda _: cheat(), planted("degree"))


def test_scores_are_from_0_to_1_and_a_pair_has_one_whatever_stands_beside_it(make, planted):
    pairs = planted("features")
    rung = make(0)
    rung.fit(pairs, pairs.parts["train"])
    rows = pairs.parts["test"]
    scores = rung.predict(pairs, rows)
    assert (scores.shape, scores.dtype) == (rows.shape, np.float64)
    assert scores.min() >= 0
    assert scores.max() <= 1
    np.testing.assert_array_equal(rung.predict(pairs, rows[::-1][:100]), scores[::-1][:100])
    assert rung.predict(pairs, rows[:0]).shape == (0,)


def test_two_fits_are_bitwise_equal(make, planted):
    pairs = planted("features")
    scores = []
    for _ in range(2):
        rung = make(3)
        rung.fit(pairs, pairs.parts["train"])
        scores.append(rung.predict(pairs, pairs.parts["test"]))
    np.testing.assert_array_equal(*scores)


def test_genes_and_molecules_that_training_has_not_seen_have_a_score(make, planted):
    pairs = planted("features")
    train = pairs.parts["train"]
    rung = make(0)
    rung.fit(pairs, train[(pairs.gene[train] > 9) & (pairs.molecule[train] > 9)])
    cold = np.flatnonzero((pairs.gene < 10) | (pairs.molecule < 10))
    assert np.isfinite(rung.predict(pairs, cold)).all()


def test_no_rung_finds_what_is_not_there(make, planted, auroc):
    # 4 standard errors of an AUROC of 720 pairs, half of them positive: sqrt(1 / (6 * 360)) is 0.0215
    assert auroc(make(0), planted("none")) == pytest.approx(0.5, abs=0.086)


def test_the_ladder_is_that_of_its_rungs_with_the_other_labels_hidden(planted, monkeypatch):
    monkeypatch.setitem(LADDER, "gradient boosting", lambda seed: Boosting(seed, trees=FEW))
    monkeypatch.setitem(LADDER, "peeks", lambda _: Peeks())
    pairs = planted("degree")
    rows, seen = pairs.parts["test"], []
    found = ladder_scores(pairs, rows, watch=seen.append)
    assert list(found) == list(LADDER) == seen
    rate = LADDER["node rate"](0)
    rate.fit(pairs, pairs.parts["train"])
    np.testing.assert_array_equal(found["node rate"], rate.predict(pairs, rows))
    np.testing.assert_allclose(found["peeks"], found["node rate"] + 255e-9)  # every label reads the same


@pytest.mark.parametrize(("label", "word"), [(1, "positive"), (0, "negative")])
def test_refuses_a_training_part_of_one_class(label, word, planted):
    pairs = planted("none")
    labels = pairs.label.copy()
    labels[pairs.parts["train"]] = label
    with pytest.raises(ValueError, match=f"only {word} pairs, 3,360 of them.*--negatives degree-matched"):
        ladder_scores(replace(pairs, label=labels), pairs.parts["test"])


def test_each_rung_is_called_by_its_own_name():
    assert {name: make(0).name for name, make in LADDER.items()} == {name: name for name in LADDER}
