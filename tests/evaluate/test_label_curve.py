"""Tests for dnalm/evaluate/label_curve.py."""

import numpy as np
import pytest

from dnalm.bootstrap import moments, pearson_estimate
from dnalm.evaluate.label_curve import curve_statistics

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


def test_equal_models_save_nothing_and_one_seed_has_the_interval_of_windows():
    one = sums([4.0, 2.0, 1.0], seeds=1)
    found = curve_statistics({"pretrained": one, "CNN": one}, BASES)
    assert [each["value"] for each in found["saving"]] == pytest.approx([1.0, 1.0, 1.0])
    assert all(each == {"value": 0.0, "low": 0.0, "high": 0.0} for each in found["minus"]["CNN"])
    wanted = pearson_estimate(one[0, 0])
    assert list(found["scores"]["CNN"][0].values()) == pytest.approx(list(wanted))


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
