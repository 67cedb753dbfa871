"""Tests for dnalm/evaluate/interaction.py and dnalm/evaluate/clustered.py."""

import time

import numpy as np
import pytest

from dnalm.evaluate import auroc
from dnalm.evaluate.auroc import areas, resampled_areas
from dnalm.evaluate.pairs import (
    BINS,
    calibration_error,
    enrichment,
    fit_temperature,
    grouped_auroc,
    interaction_scores,
    paired_auroc,
    probability,
    reliability,
)


@pytest.fixture
def pairs():
    """Label, score, gene and molecule of 900 pairs; scores are in steps of 0.05, so that many are tied."""
    draws = np.random.default_rng(0)
    label = (draws.random(900) < 0.4).astype(np.uint8)
    score = np.round(np.clip(draws.normal(0.4 + 0.2 * label, 0.2), 0, 1) * 20) / 20
    return label, score, draws.integers(0, 40, 900), draws.integers(0, 25, 900)


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


def test_resamples_are_those_of_drawing_the_rows(pairs, monkeypatch):
    label, score, _, molecule = pairs
    (found,) = resampled_areas(label, [score], [molecule], seed=3, resamples=20)
    drawn = np.random.default_rng(3).integers(0, 25, (20, 25))  # which molecules, one resample a line
    for resample, names in enumerate(drawn):
        rows = np.concatenate([np.flatnonzero(molecule == name) for name in names])
        expected = sklearn_areas(label[rows], score[rows])
        assert (found.auroc[resample], found.average_precision[resample]) == pytest.approx(
            expected, abs=1e-12
        )
    monkeypatch.setattr(auroc, "AT_ONCE", 7 * 900)  # seven resamples at a time
    (pieces,) = resampled_areas(label, [score], [molecule], seed=3, resamples=20)
    np.testing.assert_allclose(pieces, found, atol=1e-14)


def test_genes_and_molecules_drawn_together_are_each_drawn_by_themselves(pairs, monkeypatch):
    label, score, gene, molecule = pairs
    (found,) = resampled_areas(label, [score], [molecule, gene], seed=3, resamples=20)
    molecules = np.random.default_rng(3).integers(0, 25, (20, 25))
    there, place = np.unique(gene, return_inverse=True)
    genes = np.random.default_rng([3, 1]).integers(0, len(there), (20, len(there)))
    for resample in range(20):
        weight = np.bincount(molecules[resample], minlength=25)[molecule]
        weight = weight * np.bincount(genes[resample], minlength=len(there))[place]
        expected = sklearn_areas(label, score, weight.astype(float))
        assert (found.auroc[resample], found.average_precision[resample]) == pytest.approx(
            expected, abs=1e-12
        )
    monkeypatch.setattr(auroc, "AT_ONCE", 7 * 900)
    (pieces,) = resampled_areas(label, [score], [molecule, gene], seed=3, resamples=20)
    np.testing.assert_allclose(pieces, found, atol=1e-14)


def test_few_genes_that_are_held_out_leave_more_to_chance_than_many_molecules():
    # A number for each of 8 genes tells nothing, and 300 molecules do not make it surer.
    covers = {"genes": 0, "molecules": 0}
    for seed in range(40):
        draws = np.random.default_rng(seed)
        gene, molecule = np.repeat(np.arange(8), 300), np.tile(np.arange(300), 8)
        label = (draws.random(2400) < draws.random(8)[gene]).astype(np.uint8)
        score = np.clip(0.5 + 0.2 * draws.normal(size=8)[gene] + 0.05 * draws.normal(size=2400), 0, 1)
        for name, unit in (("genes", gene), ("molecules", molecule)):
            found = interaction_scores(label, score, gene, molecule, [unit])["auroc"]
            covers[name] += found["low"] < 0.5 < found["high"]
    assert covers["genes"] > 30
    assert covers["molecules"] < 20


def test_a_resample_of_one_class_is_left_out():
    # two molecules, one of each class: a resample is of both, 1 and 0, or of one
    label, score = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.5, 0.1])
    (found,) = resampled_areas(label, [score], [np.array([5, 5, 8, 8])], resamples=200)
    known = np.isfinite(found.auroc)
    assert 60 < known.sum() < 140  # half, and 5 standard deviations
    np.testing.assert_array_equal(found.auroc[known], 0.75)
    np.testing.assert_array_equal(np.isfinite(found.average_precision), known)
    scores = interaction_scores(label.astype(np.uint8), score, np.arange(4), np.array([5, 5, 8, 8]))
    assert scores["auroc"] == {"value": 0.75, "low": 0.75, "high": 0.75}


def test_intervals_hold_the_truth_and_narrow_with_molecules():
    draws = np.random.default_rng(4)
    spreads = []
    for molecules in (20, 320):
        molecule = np.repeat(np.arange(molecules), 10)
        label = draws.permutation(np.arange(molecules * 10) % 2).astype(np.uint8)
        score = np.clip(0.4 + 0.2 * label + draws.normal(0, 0.2, len(label)), 0, 1)
        auroc = interaction_scores(label, score, molecule, molecule)["auroc"]
        assert auroc["low"] < 0.760 < auroc["high"]  # the normal distribution at 1 / sqrt(2)
        spreads.append(auroc["high"] - auroc["low"])
    assert spreads[0] / spreads[1] == pytest.approx(4, rel=0.35)  # the root of 16


def test_rows_of_a_molecule_that_go_together_are_no_more_than_one(pairs):
    label, score, gene, molecule = pairs
    once = interaction_scores(label, score, gene, molecule)["auroc"]
    fourfold = interaction_scores(*(np.tile(each, 4) for each in pairs))["auroc"]
    assert fourfold == pytest.approx(once, abs=1e-12)
    rows = interaction_scores(label, score, gene, np.arange(900))["auroc"]
    assert rows["low"] != once["low"]


def test_one_sort_and_2000_resamples_of_20000_rows_take_seconds():
    draws = np.random.default_rng(0)
    label = (draws.random(20_000) < 0.5).astype(np.uint8)
    begin = time.process_time()
    interaction_scores(
        label, draws.random(20_000), draws.integers(0, 8000, 20_000), draws.integers(0, 5000, 20_000)
    )
    assert time.process_time() - begin < 10  # 0.7 s of one core, and room for a busy one


def test_paired_difference(pairs):
    label, score, _, molecule = pairs
    worse = np.random.default_rng(5).permutation(score)
    found = paired_auroc(label, score, worse, [molecule])
    assert found["value"] == pytest.approx(areas(label, score)[0] - areas(label, worse)[0])
    assert 0 < found["low"] < found["value"] < found["high"]
    assert paired_auroc(label, score, score, [molecule]) == {"value": 0, "low": 0, "high": 0}
    back = paired_auroc(label, worse, score, [molecule])
    assert (back["value"], back["low"]) == pytest.approx((-found["value"], -found["high"]))
    # A score that differs little is told apart, though the intervals of both overlap by far.
    near = score + 0.02 * (label - 0.5)
    close, alone = paired_auroc(label, near, score, [molecule]), resampled_areas(label, [near], [molecule])[0]
    assert close["high"] - close["low"] < 0.5 * np.ptp(np.quantile(alone.auroc, [0.025, 0.975]))
    assert close["low"] > 0


def test_mean_auroc_of_groups_with_both_classes(pairs):
    label, score, gene, _ = pairs
    gene = gene.copy()
    gene[:30] = 99  # a group of one class
    label = label.copy()
    label[:30] = 1
    each = [
        sklearn_areas(label[gene == one], score[gene == one])[0]
        for one in np.unique(gene)
        if 0 < label[gene == one].mean() < 1
    ]
    found = grouped_auroc(label, score, gene)
    assert found["value"] == pytest.approx(np.mean(each), abs=1e-12)
    assert found["groups"] == len(each) < len(np.unique(gene))


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
    assert calibration_error(bins) == pytest.approx(2 / 5 * (0.5 - 0.03) + 3 / 5 * (0.99 - 2 / 3))
    scores = interaction_scores(label, score, np.arange(5), np.arange(5))
    assert scores["brier"] == pytest.approx((0.02**2 + 0.96**2 + 0 + 0.98**2 + 0.01**2) / 5)


def test_a_calibrated_score_has_no_calibration_error():
    draws = np.random.default_rng(0)
    score = draws.random(200_000)
    label = (draws.random(200_000) < score).astype(np.uint8)
    # the mean of 13,000 draws a bin is off by 0.004 at most
    assert calibration_error(reliability(label, score)) < 0.006


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
    assert np.isnan(list(paired_auroc(np.full(900, label), score, score, [molecule]).values())).all()


def test_no_rows_at_all():
    none = np.zeros(0, dtype=np.int64)
    found = interaction_scores(none.astype(np.uint8), none.astype(float), none, none)
    assert np.isnan([found["auroc"]["value"], found["prevalence"], found["brier"], found["ece"]]).all()
    assert found["rows"] == found["positives"] == 0


def test_one_molecule_has_a_value_and_no_interval(pairs):
    label, score, gene, _ = pairs
    found = interaction_scores(label, score, gene, np.zeros(900, dtype=np.int64))["auroc"]
    assert found["value"] == areas(label, score)[0]
    assert np.isnan([found["low"], found["high"]]).all()
    none = interaction_scores(label, score, gene, gene, [gene, np.zeros(900, dtype=np.int64)])["auroc"]
    assert np.isnan([none["low"], none["high"]]).all()


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_refuses_what_is_no_probability(pairs, wrong):
    label, score, gene, molecule = pairs
    score = score.copy()
    score[3] = wrong
    with pytest.raises(ValueError, match="expected scores from 0 to 1"):
        interaction_scores(label, score, gene, molecule)
