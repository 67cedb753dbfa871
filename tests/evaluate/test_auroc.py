"""Tests for dnalm/evaluate/auroc.py."""

import numpy as np
import pytest

from dnalm.evaluate import auroc as module
from dnalm.evaluate.auroc import area_estimates, areas, paired_auroc, resampled_areas


def sklearn_areas(label, score, weight=None):
    metrics = pytest.importorskip("sklearn.metrics")
    return (
        metrics.roc_auc_score(label, score, sample_weight=weight),
        metrics.average_precision_score(label, score, sample_weight=weight),
    )


def test_areas_worked_out_by_hand():
    # high to low 1 0 1 0: of 4 pairs of a positive and a negative 3 are in order; precisions 1 and 2/3
    label = np.array([1, 0, 1, 0])
    assert areas(label, np.array([4.0, 3, 2, 1])) == pytest.approx((3 / 4, (1 + 2 / 3) / 2))
    # a tie counts half; the first positive comes with its negative, at a precision of 1/2
    assert areas(label, np.array([4.0, 4, 2, 1])) == pytest.approx((2.5 / 4, (1 / 2 + 2 / 3) / 2))
    assert areas(label, np.zeros(4)) == pytest.approx((1 / 2, 1 / 2))
    # the second positive twice
    assert areas(label, np.array([4.0, 3, 2, 1]), np.array([1.0, 1, 2, 1])) == pytest.approx(
        (4 / 6, (1 + 2 * 3 / 4) / 3)
    )


@pytest.mark.parametrize("weighed", [False, True])
def test_areas_are_those_of_scikit_learn(pairs, weighed):
    label, score = pairs[:2]
    weight = np.random.default_rng(1).integers(0, 4, 900).astype(float) if weighed else None
    # sums of float64
    assert areas(label, score, weight) == pytest.approx(sklearn_areas(label, score, weight), abs=1e-12)
    untied = score + 1e-6 * np.random.default_rng(2).random(900)
    assert areas(label, untied, weight) == pytest.approx(sklearn_areas(label, untied, weight), abs=1e-12)


@pytest.mark.parametrize("kinds", [1, 2])
def test_resamples_are_those_of_weighting_the_rows(pairs, monkeypatch, kinds):
    label, score, gene, molecule = pairs
    clusters = [molecule, gene][:kinds]
    (found,) = resampled_areas(label, [score], clusters, seed=3, resamples=20)
    weights = np.ones((20, 900))
    for cluster, seed in zip(clusters, (3, [3, 1]), strict=False):  # each kind by itself
        names, row = np.unique(cluster, return_inverse=True)
        for weight, sampled in zip(
            weights, np.random.default_rng(seed).integers(0, len(names), (20, len(names))), strict=True
        ):
            weight *= np.bincount(sampled, minlength=len(names))[row]
    for resample in range(20):
        expected = sklearn_areas(label, score, weights[resample])
        assert (found.auroc[resample], found.average_precision[resample]) == pytest.approx(
            expected, abs=1e-12
        )
    monkeypatch.setattr(module, "MAX_WEIGHTS", 7 * 900)  # seven resamples at a time
    (batches,) = resampled_areas(label, [score], clusters, seed=3, resamples=20)
    np.testing.assert_allclose(batches, found, atol=1e-14)


def test_a_resample_of_one_class_is_left_out():
    # two molecules, one of each class: a resample is of both, 1 and 0, or of one
    label, score = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.5, 0.1])
    (found,) = resampled_areas(label, [score], [np.array([5, 5, 8, 8])], resamples=200)
    known = np.isfinite(found.auroc)
    assert 60 < known.sum() < 140  # half, and 5 standard deviations
    np.testing.assert_array_equal(found.auroc[known], 0.75)
    np.testing.assert_array_equal(np.isfinite(found.average_precision), known)
    assert area_estimates(label, score, [np.array([5, 5, 8, 8])])[0] == (0.75, 0.75, 0.75)


def test_rows_of_a_molecule_that_go_together_are_no_more_than_one(pairs):
    label, score, _, molecule = pairs
    once, _ = area_estimates(label, score, [molecule])
    fourfold, _ = area_estimates(np.tile(label, 4), np.tile(score, 4), [np.tile(molecule, 4)])
    assert fourfold == pytest.approx(once, abs=1e-12)
    assert area_estimates(label, score, [np.arange(900)])[0].low != once.low


def test_paired_difference(pairs):
    label, score, _, molecule = pairs
    worse = np.random.default_rng(5).permutation(score)
    found = paired_auroc(label, score, worse, [molecule])
    assert found.value == pytest.approx(areas(label, score)[0] - areas(label, worse)[0])
    assert 0 < found.low < found.value < found.high
    assert paired_auroc(label, score, score, [molecule]) == (0, 0, 0)
    back = paired_auroc(label, worse, score, [molecule])
    assert back[:2] == pytest.approx((-found.value, -found.high))
    # A score that differs little is told apart, though the intervals of both overlap by far.
    near = score + 0.02 * (label - 0.5)
    close, alone = paired_auroc(label, near, score, [molecule]), resampled_areas(label, [near], [molecule])[0]
    assert close.high - close.low < 0.5 * np.ptp(np.quantile(alone.auroc, [0.025, 0.975]))
    assert close.low > 0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_or_no_finite_scores_have_no_area_and_no_crash(pairs, label):
    truth, score, _, molecule = pairs
    one_class = np.full(900, label)
    assert np.isnan(area_estimates(one_class, score, [molecule])).all()
    assert np.isnan(paired_auroc(one_class, score, score, [molecule])).all()
    assert np.isnan(areas(truth, np.where(molecule == 3, np.nan, score))).all()
    none = np.zeros(0, dtype=np.int64)
    assert np.isnan(area_estimates(none, none.astype(float), [none])).all()


def test_one_molecule_has_a_value_and_no_interval(pairs):
    label, score, gene, _ = pairs
    for clusters in ([np.zeros(900, dtype=np.int64)], [gene, np.zeros(900, dtype=np.int64)]):
        found, _ = area_estimates(label, score, clusters)
        assert found.value == areas(label, score)[0]
        assert np.isnan([found.low, found.high]).all()
