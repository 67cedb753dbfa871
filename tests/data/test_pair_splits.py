"""Tests for dnalm/data/pair_splits.py."""

import numpy as np
import pytest

from dnalm.data.pair_splits import FRACTIONS, split_pairs
from dnalm.errors import InputError

KINDS = ("random", "cold-molecule", "scaffold", "cold-gene", "cold-both")
GENES, MOLECULES, PAIRS = 300, 200, 6000


@pytest.fixture(scope="module")
def made():
    """Pairs whose genes and molecules are met unequally often; genes and molecules in clusters, scaffolds."""
    draws = np.random.default_rng(5)
    weights = [1 / (5 + draws.permutation(count)) for count in (GENES, MOLECULES)]
    gene, molecule = (draws.choice(len(each), PAIRS, p=each / each.sum()) for each in weights)
    keys = np.unique(gene * MOLECULES + molecule)
    clusters = np.arange(GENES) // 2
    molecule_cluster = np.arange(MOLECULES) % 180  # the last 20 are isomers of the first
    scaffolds = [f"ring {row % 90}" if row % 4 else "" for row in molecule_cluster.tolist()]
    return keys // MOLECULES, keys % MOLECULES, clusters, molecule_cluster, scaffolds


def values(made, parts, what):
    gene, molecule, clusters, molecule_cluster, scaffolds = made
    column = {
        "pairs": gene * MOLECULES + molecule,
        "genes": gene,
        "clusters": clusters[gene],
        "molecules": molecule,
        "isomers": molecule_cluster[molecule],
        "scaffolds": np.array([scaffolds[row] or f"none {molecule_cluster[row]}" for row in molecule]),
        "twins": clusters[gene] * MOLECULES + molecule_cluster[molecule],
    }[what]
    return [set(column[parts[name]].tolist()) for name in FRACTIONS]


@pytest.mark.parametrize(
    ("kind", "cold"),
    [
        ("random", ["pairs", "twins"]),
        ("cold-molecule", ["pairs", "molecules", "isomers"]),
        ("scaffold", ["pairs", "molecules", "isomers", "scaffolds"]),
        ("cold-gene", ["pairs", "genes", "clusters"]),
        ("cold-both", ["pairs", "genes", "clusters", "molecules", "isomers"]),
    ],
)
def test_no_two_parts_share_what_is_cold(made, kind, cold):
    parts = split_pairs(kind, *made, seed=1)
    for what in cold:
        train, validation, test = values(made, parts, what)
        assert not train & validation
        assert not train & test
        assert not validation & test


@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_is_in_one_part_unless_its_gene_and_molecule_are_of_two(made, kind):
    parts = split_pairs(kind, *made, seed=1)
    rows = np.sort(np.concatenate(list(parts.values())))
    assert len(np.unique(rows)) == len(rows)
    if kind != "cold-both":
        assert len(rows) == len(made[0])
        return
    genes, molecules = values(made, parts, "clusters"), values(made, parts, "isomers")
    gene, molecule, clusters, *_ = made
    for row in np.setdiff1d(np.arange(len(gene)), rows):
        other = made[3][molecule[row]]
        at = [clusters[gene[row]] in each for each in genes], [other in each for each in molecules]
        assert at[0] != at[1] or not any(at[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_shares_of_the_pairs_kept_are_80_10_10(made, kind, seed):
    parts = split_pairs(kind, *made, seed=seed)
    total = sum(map(len, parts.values()))
    # Of both, the pairs that two groups happen to have in common decide: four standard deviations and more.
    near = {"random": 0.001, "cold-both": 0.05}.get(kind, 0.01)
    for name, rows in parts.items():
        assert len(rows) / total == pytest.approx(FRACTIONS[name], abs=near)
    if kind == "cold-both":
        assert total / len(made[0]) == pytest.approx(0.43, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(made, kind):
    one, same, other = (split_pairs(kind, *made, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in FRACTIONS)
    assert not np.array_equal(one["test"], other["test"])


def test_molecules_without_rings_have_no_scaffold_in_common():
    molecule = np.repeat(np.arange(30), 10)
    parts = split_pairs(
        "scaffold", np.zeros(300, dtype=np.int64), molecule, np.zeros(1, int), np.arange(30), [""] * 30
    )
    assert [len(rows) for rows in parts.values()] == [240, 30, 30]


def test_a_hub_goes_to_train():
    molecule = np.concatenate([np.zeros(500, dtype=np.int64), np.repeat(np.arange(1, 51), 10)])
    for seed in range(10):
        genes, molecules = np.arange(1000), np.arange(51)
        parts = split_pairs("cold-molecule", genes, molecule, genes, molecules, [""] * 51, seed=seed)
        assert 0 in molecule[parts["train"]]
        assert [len(rows) for rows in parts.values()] == [800, 100, 100]


@pytest.mark.parametrize("groups", [3, 4, 7])
def test_three_groups_are_enough(groups):
    molecule = np.repeat(np.arange(groups), 5)
    gene, none = np.zeros(len(molecule), dtype=np.int64), np.zeros(1, dtype=np.int64)
    parts = split_pairs("cold-molecule", gene, molecule, none, np.arange(groups), [""] * groups)
    assert [len(rows) // 5 for rows in parts.values()] == [groups - 2, 1, 1]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cold-molecule", "at least 3 molecules.*got 2"),
        ("scaffold", "at least 3 scaffolds.*got 1"),
        ("cold-gene", "at least 3 genes.*got 1"),
        ("cold-both", "at least 3 genes"),
    ],
)
def test_fewer_than_three_groups_are_refused(kind, said):
    gene, molecule = np.arange(8), np.arange(8) % 2
    with pytest.raises(InputError, match=said):
        split_pairs(kind, gene, molecule, np.zeros(8, dtype=np.int64), np.arange(2), ["ring", "ring"])


def test_a_part_of_both_without_a_pair_is_refused():
    gene = np.array([0, 1, 2])
    molecule = np.array([0, 1, 2])  # each gene has one molecule: three parts of both only by chance
    with pytest.raises(InputError, match="no pair would be in"):
        split_pairs("cold-both", gene, molecule, gene, molecule, [""] * 3, seed=0)
