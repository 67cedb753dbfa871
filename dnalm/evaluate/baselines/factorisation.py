"""The baseline of who interacts with whom in training: a degree-normalised matrix of low rank.

Shapes: N pairs; K rank; G genes; M molecules.
"""

import numpy as np

from dnalm.bootstrap import Numbers
from dnalm.data.pairs import PairSet, Rows
from dnalm.errors import import_extra
from dnalm.models.pair_knowledge import DIGITS

RANK = 32


def factorisation(
    pairs: PairSet, train: Rows, rows: Rows, seed: int = 0, rank: int = RANK, *, signed: bool = False
) -> Numbers:
    """Return (1 + s) / 2, [N], where s is the matrix of training pairs reduced to a low rank.

    An entry of the matrix is divided by the roots of its gene's and its molecule's degree. No singular value
    is above 1, so s is between -1 and 1; it is 0 for a gene or molecule without training pairs. The score
    orders pairs and is no probability.

    Args:
        pairs: the set.
        train: rows of the training pairs.
        rows: of the pairs to score, [N].
        seed: of the vector that the decomposition starts from.
        rank: K.
        signed: whether training negatives count as -1, or are left out. The default scores better in
            validation of the shared pairs, whose negatives are sampled at random.

    Raises:
        InputError: if scipy is not installed.
    """
    value = np.where(pairs.label[train] == 1, 1.0, -1.0 if signed else 0.0)
    used = train[value != 0]
    left, right = factors(pairs, used, value[value != 0], rank, seed)
    products = np.einsum("nk,nk->n", left[pairs.gene[rows]], right[pairs.molecule[rows]])
    scores: Numbers = np.clip((1.0 + np.round(products, DIGITS)) / 2, 0.0, 1.0)
    return scores


def factors(
    pairs: PairSet, rows: Rows, value: Numbers, rank: int = RANK, seed: int = 0
) -> tuple[Numbers, Numbers]:
    """Return factors [G, K] and [M, K] whose product is the degree-normalised matrix reduced to rank K.

    Its entries, before normalisation, are `value` [N] of the pairs `rows`.
    """
    gene, molecule = pairs.gene[rows], pairs.molecule[rows]
    genes, molecules = len(pairs.gene_ids), len(pairs.smiles)
    gene_degree = np.bincount(gene, minlength=genes).astype(np.float64)
    molecule_degree = np.bincount(molecule, minlength=molecules).astype(np.float64)
    value = value / np.sqrt(gene_degree[gene] * molecule_degree[molecule])
    sparse = import_extra("scipy.sparse", "interaction", "matrix factorisation")
    linalg = import_extra("scipy.sparse.linalg", "interaction", "matrix factorisation")
    matrix = sparse.csr_array((value, (gene, molecule)), shape=(genes, molecules))
    if min(matrix.shape) <= rank + 1:  # the sparse solver cannot give all singular values
        u, s, v = np.linalg.svd(matrix.toarray(), full_matrices=False)
        u, s, v = u[:, :rank], s[:rank], v[:rank]
    else:
        start = np.random.default_rng(seed).normal(size=min(matrix.shape))
        u, s, v = linalg.svds(matrix, k=rank, v0=start)
    return u * s, v.T
