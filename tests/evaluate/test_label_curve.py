"""Tests for dnalm/evaluate/label_curve.py."""

import numpy as np
import pytest

from dnalm.bootstrap import moments, pearson_estimate
from dnalm.evaluate.label_curve import curve_statistics, sum_stretches

BASES = [1000, 10_000, 100_000]


def sums(noise, seeds=2, windows=60):
    """Moments [F, S, N, 6] of predictions with some noise for each of F."""
    draws = np.random.default_rng(0)
    truth = draws.normal(size=(windows, 20))
    return np.array(
        [
            [moments(truth, truth + each * draws.normal(size=truth.shape)) for _ in range(seeds)]
            for each in noise
        ]
    )


def test_a_model_that_needs_ten_times_the_labels_shows_a_factor_of_ten():
    other = sums([4.0, 2.0, 1.0])
    pretrained = np.stack([other[1], other[2], sums([0.5])[0]])  # each as the other with the next number
    found = curve_statistics({"pretrained": pretrained, "CNN": other}, BASES)
    assert [each["value"] for each in found["saving"][:2]] == pytest.approx([10.0, 10.0])
    assert [each["at_least"] for each in found["saving"]] == [False, False, True]
    assert found["saving"][2]["value"] == pytest.approx(1.0)  # nothing beyond the largest number is known
    assert all(each["low"] > 0 for each in found["minus"]["CNN"])
    beside = {"pretrained": pretrained, "worse": other / 2 + sums([9.0])[0] / 2, "CNN": other}
    assert curve_statistics(beside, BASES)["saving"] == found["saving"]  # the best of the others counts


def test_equal_models_save_nothing_and_one_seed_has_the_interval_of_windows():
    one = sums([4.0, 2.0, 1.0], seeds=1)
    found = curve_statistics({"pretrained": one, "CNN": one}, BASES)
    assert [each["value"] for each in found["saving"]] == pytest.approx([1.0, 1.0, 1.0])
    assert all(each == {"value": 0.0, "low": 0.0, "high": 0.0} for each in found["minus"]["CNN"])
    wanted = pearson_estimate(one[0, 0])
    assert list(found["scores"]["CNN"][0].values()) == pytest.approx(list(wanted))


def test_windows_of_a_stretch_are_resampled_together():
    names = ["1_2700_2999", "1_3000_3299", "2_3000_3299", "1_5700_5999", "1_6000_6299"]
    sums_ = np.arange(30.0).reshape(5, 6)
    summed = sum_stretches(sums_, names)  # 1: 0 to 3,000, to 6,000, to 9,000; 2: 3,000 to 6,000
    wanted = [sums_[0], sums_[1] + sums_[3], sums_[4], sums_[2]]
    assert sorted(summed.tolist()) == sorted(np.stack(wanted).tolist())
    # Five copies of each window, in one stretch, tell no more than one of them
    one = sums([2.0], seeds=1)
    copies = [
        f"1_{3000 * at + 300 * copy}_{3000 * at + 300 * copy + 299}" for copy in range(5) for at in range(60)
    ]
    names = [f"1_{3000 * at}_{3000 * at + 299}" for at in range(60)]
    many = sum_stretches(np.tile(one[0, 0], (5, 1)), copies)[None, None]
    alone = sum_stretches(one[0, 0], names)[None, None]
    of_many, of_one = (
        curve_statistics({"pretrained": each, "CNN": each}, BASES[:1])["scores"] for each in (many, alone)
    )
    assert list(of_many["pretrained"][0].values()) == pytest.approx(list(of_one["pretrained"][0].values()))


def test_a_rule_is_compared_with_and_does_not_change_what_pretraining_saves():
    other, pretrained = sums([4.0, 2.0, 1.0]), sums([2.0, 1.0, 0.5])
    rule = np.broadcast_to(sums([1.5])[:, :1], other.shape)
    models = {"pretrained": pretrained, "CNN": other}
    found, alone = curve_statistics({**models, "rule": rule}, BASES), curve_statistics(models, BASES)
    assert found["saving"] == alone["saving"]
    assert found["scores"]["CNN"] == alone["scores"]["CNN"]
    assert len({each["value"] for each in found["scores"]["rule"]}) == 1
    (small, *_, large) = found["minus"]["rule"]
    assert small["high"] < 0 < large["low"]


def test_a_score_is_the_mean_of_seeds_and_0_for_a_constant_prediction():
    flat = np.ones((60, 20))
    made = sums([1.0])
    made[0, 0] = moments(np.random.default_rng(0).normal(size=(60, 20)), flat)
    found = curve_statistics({"pretrained": made, "CNN": made}, BASES[:1])
    (first, second), *_ = found["runs"]["CNN"]
    assert (first, found["scores"]["CNN"][0]["value"]) == (0.0, pytest.approx(second / 2))
