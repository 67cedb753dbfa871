"""Tests for dnalm/data/negatives.py."""

import json

import numpy as np
import pytest

from dnalm.data.negatives import leakage_report, pair_keys, sample_negatives
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


def sampled(positives, kind="degree-matched", ratio=1.0, draws=0, known=None, molecules=MOLECULES):
    """Negatives where each gene and each molecule is a cluster of its own."""
    gene, molecule = positives
    clusters = np.arange(gene.max() + 1), np.arange(molecules)
    known = pair_keys(gene, molecule, *clusters) if known is None else known
    generator = np.random.default_rng(draws)
    return sample_negatives(gene, molecule, known, *clusters, kind=kind, ratio=ratio, generator=generator)


@pytest.mark.parametrize("kind", ["degree-matched", "uniform"])
@pytest.mark.parametrize(("ratio", "rounds"), [(0.5, 100), (1, 100), (3, 100), (1, 0)])
def test_negatives_are_distinct_pairs_of_the_parts_own_genes_and_molecules(
    positives, kind, ratio, rounds, monkeypatch
):
    monkeypatch.setattr("dnalm.data.negatives.ROUNDS", rounds)  # 0: all are enumerated
    gene, molecule = sampled(positives, kind, ratio)
    keys = gene * MOLECULES + molecule
    assert len(keys) == len(np.unique(keys)) == round(ratio * len(positives[0]))
    assert not np.isin(keys, positives[0] * MOLECULES + positives[1]).any()
    assert np.isin(gene, positives[0]).all()
    assert np.isin(molecule, positives[1]).all()


def test_known_pairs_are_not_sampled_and_none_where_none_are_wanted(positives):
    elsewhere = np.arange(0, 200 * MOLECULES, 3)
    gene, molecule = sampled(positives, known=np.union1d(elsewhere, positives[0] * MOLECULES + positives[1]))
    assert ((gene * MOLECULES + molecule) % 3 != 0).all()
    assert [len(each) for each in sampled(positives, "none")] == [0, 0]


@pytest.mark.parametrize("end", [0, 1])
def test_degrees_are_matched_or_not(end):
    """What is often in a positive is often in a negative, if they are matched."""
    draws = np.random.default_rng(4)
    gene = (2000 * draws.random(3000) ** 3).astype(np.int64)
    known = np.unique(gene * 500 + (500 * draws.random(3000) ** 2).astype(int))
    positives = known // 500, known % 500
    nodes = np.unique(positives[end])
    degree = np.bincount(positives[end])[nodes]
    for kind, low, high in (("degree-matched", 0.7, 1), ("uniform", -0.2, 0.2)):
        found = sampled(positives, kind, molecules=500)
        agreement = np.corrcoef(degree, np.bincount(found[end], minlength=2000)[nodes])[0, 1]
        assert low < agreement < high


def test_rates_of_degree_matched_samples_are_products_of_degrees():
    positives = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 2, 3])  # degrees 3 2; 1 1 2 1
    # Left are 0 with 3 (3 * 1) and 1 with 0 and with 1 (2 * 1 each): 3, 2 and 2 of 7; sd 0.009.
    for kind, rates in (("degree-matched", [3 / 7, 2 / 7, 2 / 7]), ("uniform", [1 / 3] * 3)):
        draws, count = np.random.default_rng(0), np.zeros(8)
        for _ in range(3000):
            (one,), (other,) = sampled(positives, kind, ratio=0.2, draws=draws, molecules=4)
            count[one * 4 + other] += 1
        assert count[[3, 4, 5]] / 3000 == pytest.approx(rates, abs=0.04)


@pytest.mark.parametrize("kind", ["degree-matched", "uniform"])
def test_all_that_are_left_are_found_and_no_more(kind):
    gene, molecule = np.repeat(np.arange(4), 2), np.array([0, 1, 0, 2, 0, 3, 0, 1])
    left = set(range(16)) - set((gene * 4 + molecule).tolist())
    for seed in range(30):
        for ratio in (1, 5):
            found = sampled((gene, molecule), kind, ratio, seed, molecules=4)
            assert sorted((found[0] * 4 + found[1]).tolist()) == sorted(left)


def test_the_seed_decides(positives):
    one, same, other = (sampled(positives, draws=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("rounds", [0, 100])  # enumerated, and sampled
def test_no_negative_is_similar_to_a_known_pair(monkeypatch, rounds):
    monkeypatch.setattr("dnalm.data.negatives.ROUNDS", rounds)
    clusters, molecule_cluster = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    gene, molecule = np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])
    keys = pair_keys(gene, molecule, clusters, molecule_cluster)
    assert keys[0] == pair_keys(np.array([1]), np.array([2]), clusters, molecule_cluster)
    assert len(set(keys.tolist())) == 4
    known = np.append(keys, 2 * 4 + 0)  # and 3 with 0
    generator = np.random.default_rng(0)
    found = sample_negatives(
        gene, molecule, known, clusters, molecule_cluster, kind="uniform", ratio=9, generator=generator
    )
    # 0 and 1 are one gene, 1 and 2 one molecule: gene 0/1 has 0 and 1/2, 2 has 3, 3 has 1/2 and was given 0.
    left = {(0, 3), (1, 3), (2, 0), (2, 1), (2, 2), (3, 3)}
    assert set(zip(*(each.tolist() for each in found), strict=True)) == left


@pytest.fixture
def leakage():
    """Train has genes 0 1 and molecules 0 1; validation 2 and 2; test a twin of gene 0, and molecules 1 3.

    Molecules 0 and 2 differ in their stereo alone.
    """
    rows = [(0, 0), (0, 1), (1, 1), (2, 2), (3, 1), (3, 3), (0, 1), (1, 0)]
    pairs = PairSet(
        gene_ids=["1", "2", "3", "4"],
        sequences=["AAAA", "CCCC", "GGGG", "AAAA"],
        kinds=["CDS"] * 4,
        clusters=np.array([0, 1, 2, 0]),
        smiles=["C", "Cc1ccccc1", "CC", "Oc1ccccc1"],
        scaffolds=["", "c1ccccc1", "", "c1ccccc1"],
        gene=np.array([gene for gene, _ in rows]),
        molecule=np.array([molecule for _, molecule in rows]),
        label=np.ones(len(rows), dtype=np.uint8),
        parts={"train": np.array([0, 1, 2, 7]), "validation": np.array([3]), "test": np.array([4, 5, 6])},
        meta={},
    )
    report = leakage_report(pairs, np.array([0, 1, 0, 2]))
    assert json.loads(json.dumps(report)) == report
    return report


def test_what_is_shared_is_counted_by_hand(leakage):
    shared = leakage["shared"]["train, test"]
    for name, count, rows in (
        ("pairs", 1, 1 / 3),
        ("genes", 1, 1 / 3),
        ("clusters", 1, 1.0),  # gene 3 is the same as gene 0
        ("molecules", 1, 2 / 3),
        ("scaffolds", 1, 1.0),
    ):
        assert (shared[name], shared[f"{name}_rows"]) == (count, pytest.approx(rows))
    shared = leakage["shared"]["train, validation"]
    isomers = {key: shared.pop(key) for key in ("molecule_clusters", "molecule_clusters_rows")}
    assert isomers == {"molecule_clusters": 1, "molecule_clusters_rows": 1.0}
    assert set(shared.values()) == {0}  # having no ring is no scaffold in common


def test_degrees_are_rows_a_gene_and_a_molecule(leakage):
    degrees = leakage["degrees"]
    assert degrees["train"]["rows_a_gene"] == [2, 2, 2, 2]
    assert degrees["test"]["rows_a_gene"] == [1, 1.5, pytest.approx(1.9), 2]  # gene 0 one row, gene 3 two
    assert degrees["test"]["rows_a_molecule"] == [1, 1.5, pytest.approx(1.9), 2]
    assert degrees["validation"] == {"rows_a_gene": [1, 1, 1, 1], "rows_a_molecule": [1, 1, 1, 1]}
