"""Splits of gene-molecule pairs into train, validation and test.

Shapes: P pairs; G genes; M molecules.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError

Indices = npt.NDArray[np.int64]
SplitKind = Literal["random", "cold-molecule", "scaffold", "cold-gene", "cold-both"]
FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Of the pairs."""
COLD_BOTH_FRACTIONS = {
    part: each**0.5 / sum(other**0.5 for other in FRACTIONS.values()) for part, each in FRACTIONS.items()
}
"""Of the pairs by their gene and by their molecule, where both must be in one part: 59, 21 and 21 %. About
the square of each remains, so that the remaining pairs have the ratios of `FRACTIONS`."""


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
    """Return the rows of the pairs in each part.

    Genes of one cluster count as one gene, and molecules of one cluster as one molecule. A molecule without a
    ring is a scaffold of its own.

    Args:
        kind: random: pairs are shuffled, genes and molecules are in all parts. cold-molecule, scaffold,
            cold-gene: those of one part are in no other. cold-both: genes and molecules both; a pair whose
            gene and molecule are in different parts is in none.
        gene: [P] row of the gene.
        molecule: [P] row of the molecule.
        clusters: [G] see `similarity.gene_clusters`.
        molecule_cluster: [M] see `molecules.molecule_clusters`.
        scaffolds: [M] see `molecules.scaffold`.
        seed: of the shuffling.

    Raises:
        InputError: if there are too few genes, molecules or scaffolds for three parts.
    """
    generator = np.random.default_rng(seed)
    of_gene, of_molecule = clusters[gene], molecule_cluster[molecule]
    if kind == "cold-both":
        by_gene = _assign(of_gene, COLD_BOTH_FRACTIONS, generator, "genes")
        by_molecule = _assign(of_molecule, COLD_BOTH_FRACTIONS, generator, "molecules")
        part_of = np.where(by_gene == by_molecule, by_gene, -1)
    else:
        if kind == "random":
            group, unit = of_gene * len(molecule_cluster) + of_molecule, "pairs"
        elif kind == "cold-molecule":
            group, unit = of_molecule, "molecules"
        elif kind == "scaffold":
            numbered = zip(molecule_cluster.tolist(), scaffolds, strict=True)
            names = [scaffold or f"molecule {cluster}" for cluster, scaffold in numbered]
            group, unit = np.unique(names, return_inverse=True)[1][molecule], "scaffolds"
        else:
            group, unit = of_gene, "genes"
        part_of = _assign(group, FRACTIONS, generator, unit)
    parts = {name: np.flatnonzero(part_of == number) for number, name in enumerate(FRACTIONS)}
    if empty := [name for name, rows in parts.items() if not len(rows)]:
        raise InputError(
            f"`split` {kind}: no pair would be in {' and '.join(empty)}: there are too few pairs "
            f"({len(gene):,}); use the random split"
        )
    return parts


def _assign(group: Indices, fractions: dict[str, float], draws: np.random.Generator, unit: str) -> Indices:
    """Assign groups of pairs, in random order, to the part that lacks the largest fraction; [P] parts.

    A group that is larger than what a part lacks goes to train, and groups that are too large for any other
    part come first; a part that gets none is given the smallest group of train.
    """
    names, sizes = np.unique(group, return_counts=True)
    if len(names) < len(fractions):
        raise InputError(
            f"expected at least {len(fractions)} {unit} to split, got {len(names)}; choose another `split`"
        )
    wanted = np.array(list(fractions.values())) * len(group)
    lacks = wanted.copy()
    part_of = np.empty(len(names), dtype=np.int64)
    order = draws.permutation(len(names))
    for each in order[np.argsort(sizes[order] <= wanted.min(), kind="stable")]:
        part = int(np.argmax(lacks / wanted))
        if sizes[each] > max(lacks[part], 1.0):
            part = 0
        part_of[each] = part
        lacks[part] -= sizes[each]
    for part in range(len(fractions)):
        if not (part_of == part).any():
            train = np.flatnonzero(part_of == 0)
            part_of[train[np.argmin(sizes[train])]] = part
    assigned: Indices = part_of[np.searchsorted(names, group)]
    return assigned
