"""Which genes and molecules go together in training: a degree-normalised matrix cut to a low rank.

Shapes used below
    N  pairs                         K  rank
    G  genes                         M  molecules
"""

import numpy as np
import numpy.typing as npt

from dnalm.data.pairs import PairSet
from dnalm.errors import InputError

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

RANK = 32
DIGITS = 12
"""Decimals of a score: beyond them is what the solver leaves where 0 should stand, which would order ties."""


class Factorisation:
    """Truncated singular value decomposition of the training pairs, each divided by the roots of its degrees.

    Args:
        seed: of the vector that the decomposition starts from.
        rank: K.
        signed: whether training negatives count as -1 beside the positives' +1, or are left out. Left out, as
            is the default, scores better in validation of the shared pairs: negatives drawn at random tell
            little of who goes with whom.
    """

    name = "matrix factorisation"

    def __init__(self, seed: int = 0, rank: int = RANK, *, signed: bool = False) -> None:
        self.seed, self.rank, self.signed = seed, rank, signed

    def fit(self, pairs: PairSet, rows: Rows) -> None:
        """Decompose the matrix of the pairs of `rows`."""
        value = np.where(pairs.label[rows] == 1, 1.0, -1.0 if self.signed else 0.0)
        kept = rows[value != 0]
        gene, molecule, value = pairs.gene[kept], pairs.molecule[kept], value[value != 0]
        genes, molecules = len(pairs.gene_ids), len(pairs.smiles)
        gene_degree = np.bincount(gene, minlength=genes).astype(np.float64)
        molecule_degree = np.bincount(molecule, minlength=molecules).astype(np.float64)
        value = value / np.sqrt(gene_degree[gene] * molecule_degree[molecule])
        self.left, self.right = _factors(gene, molecule, value, (genes, molecules), self.rank, self.seed)

    def predict(self, pairs: PairSet, rows: Rows) -> Numbers:
        """Return (1 + s) / 2, [N], where s is the matrix of low rank at the pairs of `rows`.

        No singular value is above 1, so s lies between -1 and 1; it is 0 where gene or molecule is unseen. It
        orders pairs and is no probability.
        """
        found = np.einsum("nk,nk->n", self.left[pairs.gene[rows]], self.right[pairs.molecule[rows]])
        score: Numbers = np.clip((1.0 + np.round(found, DIGITS)) / 2, 0.0, 1.0)
        return score


def _factors(
    gene: Rows, molecule: Rows, value: Numbers, shape: tuple[int, int], rank: int, seed: int
) -> tuple[Numbers, Numbers]:
    """Return factors [G, K] and [M, K] whose product is the matrix cut to rank K."""
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.linalg import svds
    except ImportError as error:
        raise InputError(
            'matrix factorisation needs scipy, which is not installed; run: pip install "dnalm[interaction]"'
        ) from error
    matrix = csr_array((value, (gene, molecule)), shape=shape)
    if min(shape) <= rank + 1:  # the sparse solver cannot give all of them
        u, s, v = np.linalg.svd(matrix.toarray(), full_matrices=False)
        u, s, v = u[:, :rank], s[:rank], v[:rank]
    else:
        start = np.random.default_rng(seed).normal(size=min(shape))
        u, s, v = svds(matrix, k=rank, v0=start)
    return u * s, v.T
