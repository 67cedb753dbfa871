"""Splits of gene-molecule pairs into train, validation and test.

Shapes: P pairs; M molecules.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from dnalm.data.epochs import Rows
from dnalm.data.negatives import Clusters
from dnalm.errors import InputError

SplitKind = Literal["random", "cold-molecule", "scaffold", "cold-gene", "cold-both"]
FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Of the pairs. Where gene and molecule must both be in one part, 59, 21 and 21 % of the pairs by each: about
the square of these remains."""


def split_pairs(
    kind: SplitKind, gene: Rows, molecule: Rows, clusters: Clusters, scaffolds: Sequence[str], seed: int = 0
) -> dict[str, Rows]:
    """Return the rows of the pairs in each part.

    Genes of one cluster count as one gene, and molecules of one cluster as one molecule. A molecule without a
    ring is a scaffold of its own.

    Args:
        kind: random: pairs are shuffled, genes and molecules are in all parts. cold-molecule, scaffold,
            cold-gene: those of one part are in no other. cold-both: genes and molecules both; a pair whose
            gene and molecule are in different parts is in none.
        gene: [P] row of the gene.
        molecule: [P] row of the molecule.
        clusters: of genes and molecules.
        scaffolds: [M] see `molecules.scaffold`.
        seed: of the shuffling.
    """
    numbered = zip(clusters.molecules.tolist(), scaffolds, strict=True)
    rings = [scaffold or f"molecule {cluster}" for cluster, scaffold in numbered]
    groups = {
        "random": ("pairs", clusters.keys(gene, molecule)),
        "cold-molecule": ("molecules", clusters.molecules[molecule]),
        "scaffold": ("scaffolds", np.unique(rings, return_inverse=True)[1][molecule]),
        "cold-gene": ("genes", clusters.genes[gene]),
    }
    draws, both = np.random.default_rng(seed), kind == "cold-both"
    fractions = np.array(list(FRACTIONS.values())) ** (0.5 if both else 1)
    cold = ("cold-gene", "cold-molecule") if both else (kind,)
    assigned = [_assign(*groups[each], fractions / fractions.sum(), draws) for each in cold]
    part_of = np.where(assigned[0] == assigned[-1], assigned[0], -1)
    parts = {name: np.flatnonzero(part_of == number) for number, name in enumerate(FRACTIONS)}
    if empty := [name for name, rows in parts.items() if not len(rows)]:
        raise InputError(f"`split` {kind}: no pair would be in {' and '.join(empty)}; use the random split")
    return parts


def _assign(unit: str, group: Rows, fractions: npt.NDArray[np.float64], draws: np.random.Generator) -> Rows:
    """Assign groups of pairs, in random order, to the part that lacks the largest fraction; [P] parts.

    A group that is larger than what a part lacks goes to train, and groups that are too large for any other
    part come first; a part that gets none is given the smallest group of train.
    """
    names, inverse, sizes = np.unique(group, return_inverse=True, return_counts=True)
    if len(names) < len(fractions):
        raise InputError(f"`split`: expected at least 3 {unit}, got {len(names)}; choose another")
    wanted = fractions * len(group)
    part_of, lacks = np.empty(len(names), dtype=np.int64), wanted.copy()
    order = draws.permutation(len(names))
    for each in order[np.argsort(sizes[order] <= wanted.min(), kind="stable")]:
        part = int(np.argmax(lacks / wanted))
        part_of[each] = part = part if sizes[each] <= max(lacks[part], 1.0) else 0
        lacks[part] -= sizes[each]
    for part in range(len(fractions)):
        if part not in part_of:
            train = np.flatnonzero(part_of == 0)
            part_of[train[np.argmin(sizes[train])]] = part
    assigned: Rows = part_of[inverse]
    return assigned
