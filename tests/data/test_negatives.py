"""Tests for dnalm/data/negatives.py."""

import numpy as np
import pytest

from dnalm.data.negatives import pair_keys, sample_negatives

MOLECULES = 50


@pytest.fixture(scope="module")
def positives():
    """Positives of genes 0-199 and molecules 0-49, the first ones in most of them; each gene is a cluster."""
    draws = np.random.default_rng(2)
    gene = (200 * draws.random(1500) ** 3).astype(np.int64)
    molecule = (MOLECULES * draws.random(1500) ** 2).astype(np.int64)
    keys = np.unique(gene * MOLECULES + molecule)
    return keys // MOLECULES, keys % MOLECULES


def drawn(positives, kind="degree-matched", ratio=1.0, seed=0, known=None):
    gene, molecule = positives
    alone = np.arange(gene.max() + 1), np.arange(MOLECULES)
    if known is None:
        known = pair_keys(gene, molecule, *alone)
    draws = np.random.default_rng(seed)
    return sample_negatives(gene, molecule, known, *alone, kind=kind, ratio=ratio, generator=draws)


@pytest.mark.parametrize("kind", ["degree-matched", "uniform"])
@pytest.mark.parametrize("ratio", [0.5, 1, 3])
def test_negatives_are_distinct_pairs_of_the_parts_own_genes_and_molecules(positives, kind, ratio):
    gene, molecule = drawn(positives, kind, ratio)
    keys = gene * MOLECULES + molecule
    assert len(keys) == len(np.unique(keys)) == round(ratio * len(positives[0]))
    assert not np.isin(keys, positives[0] * MOLECULES + positives[1]).any()
    assert np.isin(gene, positives[0]).all()
    assert np.isin(molecule, positives[1]).all()


def test_what_is_known_elsewhere_is_not_drawn(positives):
    elsewhere = np.arange(0, 200 * MOLECULES, 3)
    gene, molecule = drawn(positives, known=np.union1d(elsewhere, positives[0] * MOLECULES + positives[1]))
    assert ((gene * MOLECULES + molecule) % 3 != 0).all()


@pytest.mark.parametrize("end", [0, 1])
def test_degrees_are_matched_or_not(end):
    """Whatever is often in a positive is often in a negative, if they are matched."""
    draws = np.random.default_rng(4)
    gene, molecule = (
        (2000 * draws.random(3000) ** 3).astype(np.int64),
        (500 * draws.random(3000) ** 2).astype(int),
    )
    known = np.unique(gene * 500 + molecule)
    positives = known // 500, known % 500
    there = np.unique(positives[end])
    often = np.bincount(positives[end])[there]
    for kind, low, high in (("degree-matched", 0.7, 1), ("uniform", -0.2, 0.2)):
        found = sample_negatives(
            *positives, known, np.arange(2000), np.arange(500), kind=kind, ratio=1, generator=draws
        )
        agreement = np.corrcoef(often, np.bincount(found[end], minlength=2000)[there])[0, 1]
        assert low < agreement < high


def test_rates_of_degree_matched_draws_are_products_of_degrees():
    gene, molecule = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 2, 3])  # degrees 3 2; 1 1 2 1
    known, draws = gene * 4 + molecule, np.random.default_rng(0)
    counts = {"degree-matched": np.zeros(8), "uniform": np.zeros(8)}
    for kind, count in counts.items():
        for _ in range(3000):
            (one,), (other,) = sample_negatives(
                gene, molecule, known, np.arange(2), np.arange(4), kind=kind, ratio=0.2, generator=draws
            )
            count[one * 4 + other] += 1
    # Left are 0 with 3 (3 * 1) and 1 with 0 and with 1 (2 * 1 each): 3, 2 and 2 of 7; sd 0.009.
    left = [3, 4, 5]
    assert counts["degree-matched"][left] / 3000 == pytest.approx([3 / 7, 2 / 7, 2 / 7], abs=0.04)
    assert counts["uniform"][left] / 3000 == pytest.approx([1 / 3] * 3, abs=0.04)


def test_none_are_drawn_when_none_are_wanted(positives):
    assert [len(each) for each in drawn(positives, "none")] == [0, 0]


def test_all_that_are_left_are_found_and_no_more():
    gene, molecule = np.repeat(np.arange(4), 2), np.array([0, 1, 0, 2, 0, 3, 0, 1])
    alone = np.arange(4), np.arange(4)
    known = pair_keys(gene, molecule, *alone)
    left = set(range(16)) - set(known.tolist())
    for kind in ("degree-matched", "uniform"):
        for seed in range(30):
            draws = np.random.default_rng(seed)
            found = sample_negatives(gene, molecule, known, *alone, kind=kind, ratio=1, generator=draws)
            assert set((found[0] * 4 + found[1]).tolist()) == left
            more = sample_negatives(gene, molecule, known, *alone, kind=kind, ratio=5, generator=draws)
            assert sorted((more[0] * 4 + more[1]).tolist()) == sorted(left)


def test_what_draws_did_not_find_is_counted_out_and_no_more_than_wanted(positives, monkeypatch):
    monkeypatch.setattr("dnalm.data.negatives.ROUNDS", 0)
    gene, molecule = drawn(positives)
    keys = gene * MOLECULES + molecule
    assert len(np.unique(keys)) == len(keys) == len(positives[0])
    assert not np.isin(keys, positives[0] * MOLECULES + positives[1]).any()


def test_the_seed_decides(positives):
    one, same, other = (drawn(positives, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_positive_is_known_of_all_genes_and_molecules_like_its_own():
    clusters, molecule_cluster = np.array([0, 1, 0, 2, 1, 0]), np.array([0, 1, 1, 2])
    keys = pair_keys(np.array([2, 0, 4, 3]), np.array([1, 2, 2, 0]), clusters, molecule_cluster)
    assert keys[0] == keys[1]
    assert len(set(keys.tolist())) == 3


@pytest.mark.parametrize("rounds", [0, 100])  # counted out, and drawn
def test_no_negative_is_like_what_is_known(monkeypatch, rounds):
    monkeypatch.setattr("dnalm.data.negatives.ROUNDS", rounds)
    clusters, molecule_cluster = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    gene, molecule = np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])
    known = np.append(pair_keys(gene, molecule, clusters, molecule_cluster), 2 * 4 + 0)  # and 3 with 0
    draws = np.random.default_rng(0)
    found = sample_negatives(
        gene, molecule, known, clusters, molecule_cluster, kind="uniform", ratio=9, generator=draws
    )
    # 0 and 1 are one gene, 1 and 2 one molecule: gene 0/1 has 0 and 1/2, 2 has 3, 3 has 1/2 and was given 0.
    left = {(0, 3), (1, 3), (2, 0), (2, 1), (2, 2), (3, 3)}
    assert set(zip(*(each.tolist() for each in found), strict=True)) == left
