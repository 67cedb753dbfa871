"""Tests for dnalm/evaluate/pair_scores.py."""

import numpy as np
import pytest

from dnalm.errors import InputError
from dnalm.evaluate.auroc import auroc
from dnalm.evaluate.pair_scores import (
    BINS,
    auroc_by_count,
    calibration_error,
    enrichment,
    fit_temperature,
    grouped_auroc,
    interaction_scores,
    probability,
    reliability,
)


def test_mean_auroc_of_groups_with_both_classes(pairs):
    label, score, gene, _ = pairs
    gene = gene.copy()
    gene[:30] = 99  # a group of one class
    label = label.copy()
    label[:30] = 1
    each = [
        auroc(label[gene == one], score[gene == one])
        for one in np.unique(gene)
        if 0 < label[gene == one].mean() < 1
    ]
    found = grouped_auroc(label, score, gene)
    assert found["value"] == pytest.approx(np.mean(each), abs=1e-12)
    assert found["groups"] == len(each) < len(np.unique(gene))


def test_auroc_by_how_many_training_pairs_there_are():
    count = np.array([0, 0, 0, 1, 3, 4, 15, 5000, 5000])
    label = np.array([1, 0, 0, 1, 0, 1, 1, 0, 1], dtype=np.uint8)
    score = np.array([0.5, 0.1, 0.9, 0.2, 0.3, 0.6, 0.7, 0.4, 0.4])
    found = auroc_by_count(label, score, count)
    assert [(one["first"], one["last"], one["rows"]) for one in found] == [
        (0, 0, 3),
        (1, 3, 2),
        (4, 15, 2),
        (1024, None, 2),
    ]
    assert [one["auroc"] for one in found] == pytest.approx([0.5, 0.0, np.nan, 0.5], nan_ok=True)


def test_enrichment_worked_out_by_hand():
    label = np.zeros(200, dtype=np.uint8)
    label[[0, 1, 50, 60]] = 1
    score = np.linspace(1, 0, 200)
    assert enrichment(label, score) == pytest.approx(
        1.0 / 0.02
    )  # both of the first 2, where 4 of 200 would be
    assert enrichment(label[::-1], score) == 0
    assert enrichment(label, np.zeros(200)) == pytest.approx(1.0)  # all tied: as many as there are
    tied = score.copy()
    tied[1:5] = tied[1]  # the first, and one of 4 of which one is positive
    assert enrichment(label, tied) == pytest.approx((1 + 1 / 4) / 2 / 0.02)
    shuffled = np.random.default_rng(0).permutation(200)
    assert enrichment(label[shuffled], tied[shuffled]) == pytest.approx(enrichment(label, tied))


def test_calibration_worked_out_by_hand():
    label, score = np.array([0, 1, 1, 0, 1], dtype=np.uint8), np.array([0.02, 0.04, 1.0, 0.98, 0.99])
    bins = reliability(label, score)
    assert len(bins["edges"]) == BINS + 1
    assert (bins["count"][0], bins["count"][-1], sum(bins["count"])) == (2, 3, 5)  # 1 is in the last bin
    assert (bins["predicted"][0], bins["observed"][0]) == pytest.approx((0.03, 0.5))
    assert np.isnan(bins["predicted"][7])
    assert calibration_error(label, score) == pytest.approx((0.02 + 0.96 + 0 + 0.98 + 0.01) / 5)  # a bin each
    many = np.linspace(0.01, 0.59, 2 * BINS)  # 15 bins of two, one of them positive
    alternating = np.arange(2 * BINS, dtype=np.uint8) % 2
    expected = np.abs(many.reshape(BINS, 2).mean(axis=1) - 0.5).mean()
    order = np.random.default_rng(0).permutation(2 * BINS)
    assert calibration_error(alternating[order], many[order]) == pytest.approx(expected)
    scores = interaction_scores(label, score, np.arange(5), np.arange(5))
    assert scores["brier"] == pytest.approx((0.02**2 + 0.96**2 + 0 + 0.98**2 + 0.01**2) / 5)


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(true):
    draws = np.random.default_rng(0)
    logits = draws.normal(0, 3, 100_000)
    label = (draws.random(100_000) < probability(logits, true)).astype(np.uint8)
    # of 100,000 labels, within 4 standard errors of about 1 %
    assert fit_temperature(logits, label) == pytest.approx(true, rel=0.04)


def test_the_temperature_is_bounded_and_1_where_there_is_one_class():
    logits = np.array([-2.0, -1, 1, 2])
    assert fit_temperature(logits, np.array([0, 0, 1, 1], dtype=np.uint8)) == pytest.approx(0.05)
    assert fit_temperature(logits, np.array([1, 1, 0, 0], dtype=np.uint8)) == pytest.approx(100)
    assert fit_temperature(logits, np.ones(4, dtype=np.uint8)) == 1


def test_probability_of_any_logit():
    found = probability(np.array([-1e4, -1.0, 0, 1, 1e4]))
    np.testing.assert_allclose(found, [0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1])
    np.testing.assert_allclose(probability(np.array([4.0]), 4.0), probability(np.array([1.0])))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_ranking_and_no_crash(pairs, label):
    _, score, gene, molecule = pairs
    found = interaction_scores(np.full(900, label, dtype=np.uint8), score, gene, molecule)
    undefined = [*found["auroc"].values(), *found["auprc"].values(), found["ef1"]]
    assert np.isnan(undefined).all()
    assert np.isnan(found["auroc_per_gene"]["value"])
    assert found["auroc_per_gene"]["groups"] == found["auroc_per_molecule"]["groups"] == 0
    assert found["prevalence"] == label
    assert np.isfinite([found["brier"], found["ece"]]).all()


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_refuses_what_is_no_probability(pairs, wrong):
    label, score, gene, molecule = pairs
    score = score.copy()
    score[3] = wrong
    with pytest.raises(InputError, match="expected scores from 0 to 1"):
        interaction_scores(label, score, gene, molecule)
