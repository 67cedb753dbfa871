"""Tests for dnalm/evaluate/binding.py."""

import numpy as np
import pytest

from dnalm.bootstrap import moments
from dnalm.evaluate.binding import binding_detail, binding_scores, paired_comparisons


@pytest.fixture
def truth():
    """200 windows of 20 bases, a site of 5 in each."""
    draws = np.random.default_rng(0)
    scores = np.zeros((200, 20), dtype=np.float32)
    for row, start in enumerate(draws.integers(0, 15, 200)):
        scores[row, start : start + 5] = 7.0 + draws.random()
    return scores


def noisy(truth, amount):
    return (truth + amount * np.random.default_rng(1).normal(size=truth.shape)).astype(np.float32)


def test_a_perfect_prediction(truth):
    found = binding_scores(truth, truth)
    assert found["pearson_r"] == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0}, abs=1e-9)
    assert [found["pearson_r_batches"], found["median_window_r"]] == pytest.approx([1.0, 1.0], abs=1e-9)
    assert (found["mse"], found["auroc"], found["auprc"]) == (0.0, 1.0, 1.0)
    assert (found["windows"], found["bases"], found["site_share"]) == (200, 4000, 0.25)


def test_ranking_figures_worked_out_by_hand_and_those_of_scikit_learn(truth):
    # scores 4 3 2 1, inside 1 0 1 0: of 4 pairs of inside and outside 3 are in order;
    # precision is 1 at the first hit and 2/3 at the second
    found = binding_scores(np.float32([[9, 0, 9, 0]]), np.float32([[4, 3, 2, 1]]))
    assert [found["auroc"], found["auprc"]] == pytest.approx([0.75, (1 + 2 / 3) / 2])
    assert found["mse"] == pytest.approx((25 + 9 + 49 + 1) / 4)
    predicted = np.round(noisy(truth, 3.0), 1)  # with ties
    found = binding_scores(truth, predicted * 100 - 5000)  # beyond 0 to 1
    metrics = pytest.importorskip("sklearn.metrics")
    areas = (metrics.roc_auc_score, metrics.average_precision_score)
    figures = [area(truth.ravel() != 0, predicted.ravel()) for area in areas]
    assert [found["auroc"], found["auprc"]] == pytest.approx(figures, abs=1e-12)


def test_r_is_over_all_bases_and_the_published_figure_the_mean_over_batches_of_64(truth):
    predicted = noisy(truth, 3.0)
    found = binding_scores(truth, predicted)
    whole = np.corrcoef(truth.ravel(), predicted.ravel())[0, 1]
    assert found["pearson_r"]["value"] == pytest.approx(whole, abs=1e-9)
    batches = [(truth[at : at + 64].ravel(), predicted[at : at + 64].ravel()) for at in range(0, 200, 64)]
    wanted = np.mean([np.corrcoef(*batch)[0, 1] for batch in batches])
    assert found["pearson_r_batches"] == pytest.approx(wanted, abs=1e-9)
    assert abs(wanted - whole) > 1e-6


def test_what_is_not_defined_is_nan(truth):
    found = binding_scores(truth, np.full_like(truth, 0.3))  # it never varies
    assert np.isnan([found["pearson_r"]["value"], found["pearson_r_batches"], found["median_window_r"]]).all()
    assert [found["auroc"], found["auprc"]] == pytest.approx([0.5, 0.25])  # 0.25 of the bases are inside
    without_a_site = binding_scores(np.zeros_like(truth), truth)
    assert np.isnan([without_a_site["auroc"], without_a_site["auprc"]]).all()


def test_detail_counts_every_base_and_shows_windows_of_the_set(truth):
    predicted = noisy(truth, 1.0)
    names = [f"w{row}" for row in range(200)]
    detail = binding_detail(names, truth, predicted)
    assert np.sum(detail["density"]["counts"]) == truth.size
    assert len(detail["density"]["edges"]) == 61
    assert [track["window"] for track in detail["tracks"]] == ["w20", "w60", "w100", "w140", "w180"]
    np.testing.assert_allclose(detail["tracks"][1]["truth"], truth[60], atol=5e-5)  # four digits are stored
    error = np.sqrt(np.square(truth - predicted).mean(0))
    np.testing.assert_allclose(detail["error_by_position"], error, rtol=1e-5)
    assert len(binding_detail(names[:2], truth[:2], predicted[:2])["tracks"]) == 2


def test_every_pair_is_compared_and_undefined_ones_are_left_out(truth):
    sums = {name: moments(truth, noisy(truth, much)) for name, much in (("a", 1.0), ("b", 3.0), ("c", 5.0))}
    sums["flat"] = moments(truth, np.zeros_like(truth))
    pairs = paired_comparisons(sums)
    assert [(pair["one"], pair["other"]) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(0 < pair["low"] < pair["value"] < pair["high"] for pair in pairs)
