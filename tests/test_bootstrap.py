"""Tests for dnalm/bootstrap.py."""

import numpy as np
import pytest
import torch
from torchmetrics import PearsonCorrCoef

from dnalm.bootstrap import moments, paired_difference, pearson, pearson_estimate


@pytest.fixture
def tracks():
    draws = np.random.default_rng(0)
    truth = draws.normal(size=(50, 30)).astype(np.float32)
    return truth, (truth + draws.normal(size=truth.shape)).astype(np.float32)


def test_equals_numpy_and_torchmetrics_over_all_bases(tracks):
    truth, predicted = tracks
    r = float(pearson(moments(truth, predicted).sum(0)))
    assert r == pytest.approx(np.corrcoef(truth.ravel(), predicted.ravel())[0, 1], abs=1e-12)
    metric = PearsonCorrCoef().set_dtype(torch.float64)
    for rows in np.array_split(np.arange(50), 7):  # streamed in uneven batches
        metric.update(*(torch.from_numpy(x[rows].ravel()).double() for x in (predicted, truth)))
    assert r == pytest.approx(float(metric.compute()), abs=1e-9)  # theirs is updated batch by batch


def test_value_worked_out_by_hand():
    # x = 0 1 2, y = 0 1 4: covariance 4, spreads 2 and 26 / 3, so R = 4 / sqrt(2 * 26 / 3)
    sums = moments(np.array([[0.0, 1.0, 2.0]]), np.array([[0.0, 1.0, 4.0]]))
    assert float(pearson(sums[0])) == pytest.approx(4 / np.sqrt(52 / 3), abs=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_no_spread_is_undefined_whatever_the_level(offset):
    truth = np.arange(6.0).reshape(2, 3)
    assert np.isnan(pearson(moments(truth, np.full((2, 3), offset + 0.1)).sum(0)))


def test_interval_holds_the_value_and_narrows_with_windows(tracks):
    few = pearson_estimate(moments(*(x[:10] for x in tracks)))
    many = pearson_estimate(moments(*tracks))
    assert many.low < many.value < many.high
    assert many.high - many.low < few.high - few.low


def test_paired_difference_of_a_model_with_itself_is_nothing(tracks):
    sums = moments(*tracks)
    assert paired_difference(sums, sums) == (0.0, 0.0, 0.0)


def test_pairing_sees_what_separate_intervals_do_not(tracks):
    # The second model is the first plus a little noise: always worse, by less than either's own interval.
    truth, predicted = tracks
    noise = 0.3 * np.random.default_rng(1).normal(size=truth.shape)
    one, other = moments(truth, predicted), moments(truth, predicted + noise)
    difference = paired_difference(one, other)
    assert 0 < difference.low < difference.value < difference.high
    assert pearson_estimate(one).low < pearson_estimate(other).high


def test_refuses_other_windows(tracks):
    truth, predicted = tracks
    with pytest.raises(ValueError, match="of the same windows"):
        paired_difference(moments(truth, predicted), moments(truth + 1, predicted))
