"""Tests for dnalm/evaluate/variants.py."""

import numpy as np
import pytest

from dnalm.evaluate import variants
from dnalm.evaluate.auroc import auroc
from dnalm.evaluate.variants import Frequency, SnvSample, frequency_of, odds_ratio


def test_the_frequency_is_that_of_the_rarer_allele():
    info = {"AC": "3,0,97", "AN": "100", "AF": "0.5,0.5,0.5", "EUR_AF": "0.1,.,1"}
    assert frequency_of(info, "AF", 0) == Frequency(3, 0.03)
    assert frequency_of(info, "AF", 1) is None
    assert frequency_of(info, "AF", 2) == Frequency(3, 0.03)
    assert frequency_of(info, "EUR_AF", 0).share == pytest.approx(0.1)
    assert frequency_of({"AF": "0.9"}, "AF", 0).share == pytest.approx(0.1)
    for field, alt in (("EUR_AF", 1), ("EUR_AF", 2), ("none", 0), ("AF", 7)):
        assert frequency_of(info, field, alt) is None


def sample_of(harm, count, columns=("LLR", "MARKOV")):
    """SNVs of 100 alleles, one every 30,000 bases; LLR says `harm`, MARKOV says nothing."""
    sample = SnvSample(columns)
    for row, (value, seen) in enumerate(zip(harm, count, strict=True)):
        change = ("AG", "AC")[row % 2]
        sample.add("c", 30_000 * row, change, Frequency(seen, seen / 100), np.array([-value, 0.0]))
    return sample


def test_rare_snvs_are_compared_with_common_ones_by_every_score():
    draws = np.random.default_rng(2)
    count = draws.choice([1, 4, 30], 600)
    harm = draws.normal(size=600) - 0.5 * np.log(count)
    sample = sample_of(harm, count)
    sample.add("c", 0, "AAC", Frequency(1, 0.01), np.zeros(2))  # no SNV
    ones, few = sample.contrasts(1, 0.05)
    assert (ones.name, few.name) == ("minor count 1", "minor count 2 to 9")
    chosen = count != 4
    blocks = len(set(30_000 * np.flatnonzero(chosen) // 100_000))
    assert (ones.rare, ones.common, ones.blocks) == ((count == 1).sum(), (count == 30).sum(), blocks)
    label = (count[chosen] == 1).astype(int)
    scores = ones.scores
    assert scores["LLR"].auroc.value == pytest.approx(auroc(label, harm[chosen]))
    assert scores["MARKOV"].auroc.value == 0.5
    assert scores["LLR"].gain.value == pytest.approx(scores["LLR"].auroc.value - 0.5)
    assert scores["LLR"].auroc.low > few.scores["LLR"].auroc.high
    assert scores["transversion"].auroc.low < 0.5 < scores["transversion"].auroc.high
    assert np.isnan(scores["transversion"].odds["10 %"].value)  # half of all are tied
    assert scores["LLR"].odds["10 %"].low > 1


def test_where_only_shares_are_known_the_lowest_is_one():
    sample = SnvSample(["LLR"])
    for row, share in enumerate([0.001, 0.001, 0.002, 0.009, 0.011, 0.4, 0.4]):
        sample.add("c", row * 200_000, "AC", Frequency(float("nan"), share), np.array([0.0]))
    ones, few = sample.contrasts(1, 0.05)
    assert (ones.rare, ones.common, few.rare) == (2, 2, 2)
    assert SnvSample(["LLR"]).contrasts(1, 0.05) == []


def test_an_odds_ratio_by_hand():
    label = np.repeat(np.array([1, 1, 0, 1, 0, 0, 1, 0, 0, 0], dtype=np.uint8), 5)
    harm = np.arange(50, 0, -1).astype(float)  # the tail of 30 % has ten rare and five common
    estimate = odds_ratio(label, harm, np.arange(50) // 10, 0.3)
    assert estimate.value == pytest.approx((10 / 5) / (10 / 25))
    assert np.isnan(odds_ratio(label, np.ones(50), np.arange(50), 0.2).value)  # ties
    assert np.isnan(odds_ratio(label, -harm, np.arange(50), 0.18).value)  # 9 SNVs
    assert odds_ratio(label, -harm, np.arange(50), 0.2).value == 0.0  # 10, none of them rare
    assert np.isnan(odds_ratio(label, harm, np.arange(50), 0.2).value)  # all 10 are rare
    assert np.isfinite(odds_ratio(label, harm, np.arange(50), 0.24).value)


def test_many_snvs_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr(variants, "MOST", 50)
    sample = sample_of(np.arange(1000.0), np.tile([1, 30], 500))
    held = -np.array(sample._rows)[:, 4]
    assert 25 <= len(held) <= 50
    assert set(np.diff(held)) == {32.0}
