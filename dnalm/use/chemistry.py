"""What is known near the molecules of a screen: similar training molecules, positives of the gene, scaffolds.

Shapes: N ranked molecules; M training molecules; P known positives of the gene.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Numbers
from dnalm.data.epochs import Rows
from dnalm.data.molecules import fingerprints, scaffold, tanimoto
from dnalm.data.pairs import PairSet

OUTSIDE = 0.05
"""A molecule is outside the training set's range if its most similar training molecule is less similar than
that of all but this fraction of the training molecules themselves."""
CHUNK = 4096  # molecules compared at a time


@dataclass(frozen=True)
class Neighbourhood:
    """What is near each ranked molecule; similarities are Tanimoto's, of Morgan fingerprints of radius 2."""

    similarity: Numbers  # to the most similar training molecule, [N]
    outside: npt.NDArray[np.bool_]  # of the training set's range, [N]
    limit: float  # the similarity below which a molecule is outside
    positive: list[str]  # SMILES of the most similar known positive of the gene, [N]; "" without any
    positive_similarity: Numbers  # [N]; 0 without any

    def of(self, row: int) -> dict[str, Any]:
        """Return whether a molecule is outside, its nearest positive and that one's similarity."""
        near = float(self.positive_similarity[row])
        return {
            "outside": bool(self.outside[row]),
            "positive": self.positive[row],
            "positive_similarity": near,
        }


def neighbourhood(pairs: PairSet, gene_id: str, smiles: Sequence[str]) -> Neighbourhood:
    """Compare molecules, canonical SMILES [N], with those of a set's training part.

    `gene_id` names the gene whose known positives, of any part, are compared too; a molecule is not compared
    with itself.
    """
    trained = np.unique(pairs.molecule[pairs.parts["train"]])
    positives = np.zeros(0, dtype=np.int64)
    if gene_id in pairs.gene_ids:
        positives = np.unique(
            pairs.molecule[(pairs.gene == pairs.gene_ids.index(gene_id)) & (pairs.label == 1)]
        )
    known = fingerprints(pairs.smiles)
    limit = float(np.quantile(_nearest(known[trained], known[trained], trained, trained)[1], OUTSIDE))
    row_of = {text: row for row, text in enumerate(pairs.smiles)}
    own = np.array([row_of.get(each, -1) for each in smiles], dtype=np.int64)
    similarity, positive, near = np.zeros(len(smiles)), [""] * len(smiles), np.zeros(len(smiles))
    for at in range(0, len(smiles), CHUNK):
        some = slice(at, at + CHUNK)
        bits = fingerprints(smiles[some])
        similarity[some] = _nearest(bits, known[trained], None, None)[1]
        if len(positives):
            which, near[some] = _nearest(bits, known[positives], own[some], positives)
            positive[some] = [pairs.smiles[positives[each]] for each in which]
    positive = [text if value > 0 else "" for text, value in zip(positive, near, strict=True)]
    return Neighbourhood(similarity, similarity < limit, limit, positive, near)


def scaffold_groups(smiles: Sequence[str]) -> list[list[int]]:
    """Return the rows of the molecules of each Bemis-Murcko scaffold, in the order of the first of each.

    A molecule without a ring has none and stands alone.
    """
    groups: dict[str, list[int]] = {}
    for row, each in enumerate(smiles):
        groups.setdefault(scaffold(each) or f"molecule {row}", []).append(row)
    return [*groups.values()]


def _nearest(
    one: npt.NDArray[np.uint8],
    other: npt.NDArray[np.uint8],
    rows: Rows | None,
    others: Rows | None,
) -> tuple[Rows, Numbers]:
    """Return the most similar other for each one, and the similarity; equal `rows` are not compared."""
    similarity = tanimoto(one, other)
    if rows is not None and others is not None:
        similarity[rows[:, None] == others] = 0.0
    if not similarity.shape[1]:
        return np.zeros(len(one), dtype=np.int64), np.zeros(len(one))
    return similarity.argmax(axis=1), similarity.max(axis=1)
