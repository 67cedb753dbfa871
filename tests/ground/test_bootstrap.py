"""Tests for dnalm/bootstrap.py."""

import numpy as np
import pytest

from dnalm import bootstrap
from dnalm.bootstrap import moments, paired_difference, pearson, pearson_estimate
from dnalm.errors import InputError


@pytest.fixture
def tracks():
    draws = np.random.default_rng(0)
    truth = draws.normal(size=(50, 30)).astype(np.float32)
    return truth, (truth + draws.normal(size=truth.shape)).astype(np.float32)


def test_equals_numpy_over_all_bases(tracks):
    truth, predicted = tracks
    r = float(pearson(moments(truth, predicted).sum(0)))
    assert r == pytest.approx(np.corrcoef(truth.ravel(), predicted.ravel())[0, 1], abs=1e-12)


def test_r_is_over_all_bases_in_each_resample_and_not_the_mean_of_the_windows():
    # Each window alone has R -1. Both: deviations -5.5 -4.5 4.5 5.5 and -4.5 -5.5 5.5 4.5, so R = 99 / 101. A
    # resample has both windows, or one of them twice.
    truth = np.array([[0.0, 1.0], [10.0, 11.0]])
    sums = moments(truth, truth[:, ::-1])
    assert pearson(sums) == pytest.approx(-1.0)
    assert pearson_estimate(sums) == pytest.approx((99 / 101, -1.0, 99 / 101))
    assert paired_difference(sums, moments(truth, truth)) == pytest.approx((-2 / 101, -2.0, -2 / 101))


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_no_spread_is_undefined_whatever_the_level(offset):
    truth = np.arange(6.0).reshape(2, 3)
    assert np.isnan(pearson(moments(truth, np.full((2, 3), offset + 0.1)).sum(0)))


def test_interval_holds_the_value_and_narrows_with_windows(tracks):
    few = pearson_estimate(moments(*(x[:10] for x in tracks)))
    many = pearson_estimate(moments(*tracks))
    assert many.low < many.value < many.high
    assert many.high - many.low < few.high - few.low


def test_pairing_sees_what_separate_intervals_do_not(tracks):
    # The second model is the first plus a little noise: always worse, by less than either's own interval.
    truth, predicted = tracks
    noise = 0.3 * np.random.default_rng(1).normal(size=truth.shape)
    one, other = moments(truth, predicted), moments(truth, predicted + noise)
    difference = paired_difference(one, other)
    assert 0 < difference.low < difference.value < difference.high
    assert pearson_estimate(one).low < pearson_estimate(other).high
    assert paired_difference(one, one) == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="of the same windows"):
        paired_difference(moments(truth, predicted), moments(truth + 1, predicted))


@pytest.mark.parametrize("at_once", [1, 7, bootstrap.AT_ONCE, 5 * bootstrap.RESAMPLES])
@pytest.mark.parametrize("count", [1, 3, 50])
def test_resamples_are_those_of_all_at_once(monkeypatch, at_once, count):
    monkeypatch.setattr(bootstrap, "AT_ONCE", at_once)
    chances = np.full(count, 1 / count)
    all_at_once = np.random.default_rng(7).multinomial(count, chances, size=bootstrap.RESAMPLES)
    pieces = list(bootstrap.resamples(count, 7))
    assert max(map(len, pieces)) == min(at_once, bootstrap.RESAMPLES)
    assert np.array_equal(np.concatenate(pieces), all_at_once)
