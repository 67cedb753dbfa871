"""Tests for dnalm/data/pair_splits.py."""

import numpy as np
import pytest

from dnalm.data.negatives import Clusters
from dnalm.data.pair_splits import FRACTIONS, split_pairs
from dnalm.errors import InputError

GENES, MOLECULES, PAIRS = 300, 200, 6000
COLD = {  # what no two parts share
    "random": ["pairs"],
    "cold-molecule": ["molecule", "isomers"],
    "scaffold": ["molecule", "isomers", "scaffolds"],
    "cold-gene": ["gene", "clusters"],
    "cold-both": ["gene", "clusters", "molecule", "isomers"],
}


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
    return keys // MOLECULES, keys % MOLECULES, Clusters(clusters, molecule_cluster), scaffolds


@pytest.mark.parametrize("kind", COLD)
@pytest.mark.parametrize("seed", range(3))
def test_every_pair_is_in_one_part_and_parts_have_80_10_10_and_share_nothing(made, kind, seed):
    gene, molecule, clusters, scaffolds = made
    parts = split_pairs(kind, *made, seed=seed)
    rows = np.sort(np.concatenate(list(parts.values())))
    assert len(np.unique(rows)) == len(rows)
    # Of both, the pairs that two groups happen to have in common decide: four standard deviations and more.
    near = {"random": 0.001, "cold-both": 0.05}.get(kind, 0.01)
    for name in FRACTIONS:
        assert len(parts[name]) / len(rows) == pytest.approx(FRACTIONS[name], abs=near)
    same, other = (split_pairs(kind, *made, seed=each) for each in (seed, seed + 1))
    assert all(np.array_equal(parts[name], same[name]) for name in FRACTIONS)
    assert not np.array_equal(parts["test"], other["test"])
    columns = {"gene": gene, "molecule": molecule, "pairs": clusters.keys(gene, molecule)}
    columns |= {"clusters": clusters.genes[gene], "isomers": clusters.molecules[molecule]}
    rings = [scaffold or f"none {row}" for scaffold, row in zip(scaffolds, clusters.molecules, strict=True)]
    columns["scaffolds"] = np.array(rings)[molecule]
    for what in COLD[kind]:
        held_out = [set(columns[what][part].tolist()) for part in parts.values()]
        assert sum(map(len, held_out)) == len(set.union(*held_out))
    if kind != "cold-both":
        assert len(rows) == len(gene)
        return
    # A pair whose gene and molecule are of two parts is in none.
    assert len(rows) / len(gene) == pytest.approx(0.43, abs=0.05)
    for row in np.setdiff1d(np.arange(len(gene)), rows):
        at = [[columns[what][row] in columns[what][part] for part in parts.values()] for what in COLD[kind]]
        assert at[1] != at[3] or not any(at[1])


def test_rings_missing_are_not_in_common_a_hub_goes_to_train_and_three_groups_are_enough():
    gene, none = np.zeros(300, dtype=np.int64), np.zeros(1, dtype=np.int64)
    clusters = Clusters(none, np.arange(51))
    parts = split_pairs("scaffold", gene, np.repeat(np.arange(30), 10), clusters, [""] * 51)
    assert [len(rows) for rows in parts.values()] == [240, 30, 30]
    molecule = np.concatenate([np.zeros(500, dtype=np.int64), np.repeat(np.arange(1, 51), 10)])
    for seed in range(10):
        parts = split_pairs("cold-molecule", 0 * molecule, molecule, clusters, [""] * 51, seed=seed)
        assert 0 in molecule[parts["train"]]
        assert [len(rows) for rows in parts.values()] == [800, 100, 100]
    for groups in (3, 4, 7):
        molecule = np.repeat(np.arange(groups), 5)
        parts = split_pairs("cold-molecule", 0 * molecule, molecule, clusters, [""] * 51)
        assert [len(rows) // 5 for rows in parts.values()] == [groups - 2, 1, 1]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cold-molecule", "at least 3 molecules.*got 2"),
        ("scaffold", "at least 3 scaffolds.*got 1"),
        ("cold-gene", "at least 3 genes.*got 1"),
        ("cold-both", "at least 3 genes"),
    ],
)
def test_fewer_than_three_groups_and_empty_parts_are_refused(kind, message):
    clusters = Clusters(np.zeros(8, dtype=np.int64), np.arange(2))
    with pytest.raises(InputError, match=message):
        split_pairs(kind, np.arange(8), np.arange(8) % 2, clusters, ["ring", "ring"])
    rows = np.arange(3)  # each gene has one molecule: three parts of both only by chance
    with pytest.raises(InputError, match="no pair would be in"):
        split_pairs("cold-both", rows, rows, Clusters(rows, rows), [""] * 3, seed=0)
