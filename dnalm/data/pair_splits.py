"""Splits of gene-molecule pairs: which pairs train, which choose the epoch, which are the test.

Shapes used below
    P  pairs                         G  genes
    M  molecules
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError

Indices = npt.NDArray[np.int64]
SplitKind = Literal["random", "cold-molecule", "scaffold", "cold-gene", "cold-both"]
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Of the pairs."""
SHARES_OF_BOTH = {
    part: share**0.5 / sum(each**0.5 for each in SHARES.values()) for part, share in SHARES.items()
}
"""Of the pairs by their gene and by their molecule, where a pair needs both in one part: 59, 21 and 21 %. Of
all pairs about the square of each is kept, so that those kept are shared as `SHARES` says."""


def split_pairs(
    kind: SplitKind,
    gene: Indices,
    molecule: Indices,
    clusters: Indices,
    molecule_cluster: Indices,
    scaffolds: Sequence[str],
    *,
    seed: int = 0,
) -> dict[str, Indices]:
    """Return which pairs are in each part.

    Genes of one cluster are one, and so are molecules of one: random keeps their pairs together, and all that
    is cold keeps all of them. A molecule without a ring is a scaffold of its own.

    Args:
        kind: random: pairs alone are shuffled, genes and molecules are in all parts. cold-molecule, scaffold,
            cold-gene: those of one part are in no other. cold-both: genes and molecules both; a pair whose
            gene and molecule are of different parts is in none.
        gene: [P] row of the gene.
        molecule: [P] row of the molecule.
        clusters: [G] see `gene_clusters`.
        molecule_cluster: [M] see `dnalm.molecules.molecule_clusters`.
        scaffolds: [M] see `dnalm.molecules.scaffold`.
        seed: of the shuffling.

    Raises:
        InputError: if there are too few genes, molecules or scaffolds for three parts.
    """
    draws = np.random.default_rng(seed)
    if kind == "random":
        part_of = _deal(
            clusters[gene] * len(molecule_cluster) + molecule_cluster[molecule], SHARES, draws, "pairs"
        )
    elif kind == "cold-molecule":
        part_of = _deal(molecule_cluster[molecule], SHARES, draws, "molecules")
    elif kind == "scaffold":
        own = [
            each or f"molecule {row}" for row, each in zip(molecule_cluster.tolist(), scaffolds, strict=True)
        ]
        part_of = _deal(np.unique(own, return_inverse=True)[1][molecule], SHARES, draws, "scaffolds")
    elif kind == "cold-gene":
        part_of = _deal(clusters[gene], SHARES, draws, "genes")
    else:
        one = _deal(clusters[gene], SHARES_OF_BOTH, draws, "genes")
        other = _deal(molecule_cluster[molecule], SHARES_OF_BOTH, draws, "molecules")
        part_of = np.where(one == other, one, -1)
    parts = {name: np.flatnonzero(part_of == place) for place, name in enumerate(SHARES)}
    if empty := [name for name, rows in parts.items() if not len(rows)]:
        raise InputError(
            f"--split {kind}: no pair would be in {' and '.join(empty)}: there are too few pairs "
            f"({len(gene):,}); use --split random"
        )
    return parts


def _deal(group: Indices, shares: dict[str, float], draws: np.random.Generator, what: str) -> Indices:
    """Deal groups of pairs, in random order, each to the part that lacks most of its share; [P] parts.

    A group that does not fit into what a part lacks goes to the largest part, train, and those that fit into
    no other go there first; a part that gets none is given the smallest of train's.
    """
    names, sizes = np.unique(group, return_counts=True)
    if len(names) < len(shares):
        raise InputError(
            f"expected at least {len(shares)} {what} that may be parted, got {len(names)}; choose another "
            "--split"
        )
    wanted = np.array(list(shares.values())) * len(group)
    lacks = wanted.copy()
    part_of = np.empty(len(names), dtype=np.int64)
    order = draws.permutation(len(names))
    for each in order[np.argsort(sizes[order] <= wanted.min(), kind="stable")]:
        part = int(np.argmax(lacks / wanted))
        if sizes[each] > max(lacks[part], 1.0):
            part = 0
        part_of[each] = part
        lacks[part] -= sizes[each]
    for part in range(len(shares)):
        if not (part_of == part).any():
            trained = np.flatnonzero(part_of == 0)
            part_of[trained[np.argmin(sizes[trained])]] = part
    found: Indices = part_of[np.searchsorted(names, group)]
    return found
