"""Tests for dnalm/data/negatives.py."""

import json

import numpy as np
import pytest

from dnalm.data.negatives import Clusters, leakage_report, sample_negatives
from dnalm.data.pairs import PairSet

MOLECULES = 50


@pytest.fixture(scope="module")
def positives():
    """Positives of genes 0-199 and molecules 0-49, the first ones in most of them; each gene is a cluster."""
    draws = np.random.default_rng(2)
    gene = (200 * draws.random(1500) ** 3).astype(np.int64)
    molecule = (MOLECULES * draws.random(1500) ** 2).astype(np.int64)
    keys = np.unique(gene * MOLECULES + molecule)
    return keys // MOLECULES, keys % MOLECULES


def sampled(positives, matched=True, ratio=1.0, draws=0, known=None, molecules=MOLECULES):
    """Negatives where each gene and each molecule is a cluster of its own."""
    clusters = Clusters(np.arange(positives[0].max() + 1), np.arange(molecules))
    known = clusters.keys(*positives) if known is None else known
    wanted = round(ratio * len(positives[0]))
    return sample_negatives(
        np.stack(positives), known, clusters, wanted, matched, np.random.default_rng(draws)
    )


@pytest.mark.parametrize("matched", [True, False])
@pytest.mark.parametrize(("ratio", "rounds"), [(0, 100), (0.5, 100), (1, 100), (3, 100), (1, 0)])
def test_negatives_are_distinct_unknown_pairs_of_the_parts_own_genes_and_molecules(
    positives, matched, ratio, rounds, monkeypatch
):
    monkeypatch.setattr("dnalm.data.negatives.ROUNDS", rounds)  # 0: all are enumerated
    known = np.union1d(np.arange(0, 200 * MOLECULES, 7), positives[0] * MOLECULES + positives[1])
    gene, molecule = sampled(positives, matched, ratio, known=known)
    keys = gene * MOLECULES + molecule
    assert len(keys) == len(np.unique(keys)) == round(ratio * len(positives[0]))
    assert not np.isin(keys, known).any()
    assert np.isin(gene, positives[0]).all()
    assert np.isin(molecule, positives[1]).all()
    same, other = (sampled(positives, matched, ratio, draws, known) for draws in (0, 1))
    assert np.array_equal(same, [gene, molecule])
    assert ratio == 0 or not np.array_equal(same, other)


def test_rates_of_degree_matched_samples_are_products_of_degrees():
    positives = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 2, 3])  # degrees 3 2; 1 1 2 1
    # Left are 0 with 3 (3 * 1) and 1 with 0 and with 1 (2 * 1 each): 3, 2 and 2 of 7; sd 0.009.
    for matched, rates in ((True, [3 / 7, 2 / 7, 2 / 7]), (False, [1 / 3] * 3)):
        draws, count = np.random.default_rng(0), np.zeros(8)
        for _ in range(3000):
            (one,), (other,) = sampled(positives, matched, ratio=0.2, draws=draws, molecules=4)
            count[one * 4 + other] += 1
        assert count[[3, 4, 5]] / 3000 == pytest.approx(rates, abs=0.04)


@pytest.mark.parametrize("matched", [True, False])
def test_all_that_are_left_are_found_and_no_more(matched):
    gene, molecule = np.repeat(np.arange(4), 2), np.array([0, 1, 0, 2, 0, 3, 0, 1])
    left = set(range(16)) - set((gene * 4 + molecule).tolist())
    for seed in range(30):
        for ratio in (1, 5):
            found = sampled((gene, molecule), matched, ratio, seed, molecules=4)
            assert sorted((found[0] * 4 + found[1]).tolist()) == sorted(left)


@pytest.mark.parametrize("rounds", [0, 100])  # enumerated, and sampled
def test_no_negative_is_similar_to_a_known_pair(monkeypatch, rounds):
    monkeypatch.setattr("dnalm.data.negatives.ROUNDS", rounds)
    clusters = Clusters(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]))
    positives = np.array([[0, 1, 2, 3], [1, 0, 3, 2]])
    keys = clusters.keys(*positives)
    assert keys[0] == clusters.keys(np.array([1]), np.array([2]))
    assert len(set(keys.tolist())) == 4
    known = np.append(keys, 2 * 4 + 0)  # and 3 with 0
    found = sample_negatives(positives, known, clusters, 36, False, np.random.default_rng(0))
    # 0 and 1 are one gene, 1 and 2 one molecule: gene 0/1 has 0 and 1/2, 2 has 3, 3 has 1/2 and was given 0.
    assert set(map(tuple, found.T.tolist())) == {(0, 3), (1, 3), (2, 0), (2, 1), (2, 2), (3, 3)}


def test_leakage_is_counted_by_hand():
    """Train has genes 0 1 and molecules 0 1; validation 2 and 2; test a twin of gene 0, and molecules 1 3.

    Molecules 0 and 2 differ in their stereo alone.
    """
    rows = np.array([(0, 0), (0, 1), (1, 1), (2, 2), (3, 1), (3, 3), (0, 1), (1, 0)])
    parts = {"train": np.array([0, 1, 2, 7]), "validation": np.array([3]), "test": np.array([4, 5, 6])}
    scaffolds, clusters = ["", "c1ccccc1", "", "c1ccccc1"], np.array([0, 1, 2, 0])
    tables = (list("1234"), ["AAAA", "CCCC", "GGGG", "AAAA"], ["CDS"] * 4, clusters, list("abcd"), scaffolds)
    pairs = PairSet(*tables, rows[:, 0], rows[:, 1], np.ones(len(rows), dtype=np.uint8), parts, {})
    report = leakage_report(pairs, np.array([0, 1, 0, 2]))
    assert json.loads(json.dumps(report)) == report
    shared = report["shared"]["train, test"]
    for name, count, fraction in (
        ("pairs", 1, 1 / 3),
        ("genes", 1, 1 / 3),
        ("clusters", 1, 1.0),  # gene 3 is the same as gene 0
        ("molecules", 1, 2 / 3),
        ("scaffolds", 1, 1.0),
    ):
        assert (shared[name], shared[f"{name}_rows"]) == (count, pytest.approx(fraction))
    shared = report["shared"]["train, validation"]
    isomers = {key: shared.pop(key) for key in ("molecule_clusters", "molecule_clusters_rows")}
    assert isomers == {"molecule_clusters": 1, "molecule_clusters_rows": 1.0}
    assert set(shared.values()) == {0}  # having no ring is no scaffold in common
    degrees = report["degrees"]
    assert degrees["train"]["rows_a_gene"] == [2, 2, 2, 2]
    assert degrees["test"]["rows_a_gene"] == [1, 1.5, pytest.approx(1.9), 2]  # gene 0 one row, gene 3 two
    assert degrees["test"]["rows_a_molecule"] == [1, 1.5, pytest.approx(1.9), 2]
    assert degrees["validation"] == {"rows_a_gene": [1, 1, 1, 1], "rows_a_molecule": [1, 1, 1, 1]}
