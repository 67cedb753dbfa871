"""Genes whose sequences are the same or nearly so, put together: a split must not part them.

Shapes used below
    G  genes                         S  k-mers in a sketch, at most SKETCH
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dnalm.data.splits import mixed
from dnalm.dna import BASE_CODES, NOT_A_BASE

K = 12
"""Bases of a k-mer: one substitution spoils 12 of the 49 of a 60-base promoter."""
SKETCH = 128
"""k-mers kept of a gene, those with the smallest hashes (Broder 1997): all of them in a 60-base promoter."""
LEAST = 1 / 3
"""Jaccard index of two genes' k-mers, at least, to be nearly the same; estimated from the smallest hashes of
both together. Two genes of one length then have half of their k-mers in common: in a promoter of 60 bases
two substitutions leave as many, or a shift by 24; in a long gene about one substitution in 17 bases."""
COMMON = 100
"""A k-mer of more genes than this, such as one of a repeat, brings no two of them together."""


def gene_clusters(sequences: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return a number for each gene, [G], that genes with identical or near-identical sequences share.

    Near-identity is judged on the strand that is given, and passed on: if A is near B and B near C, all three
    are together.

    Args:
        sequences: [G] upper-case DNA.
    """
    same: dict[str, int] = {}
    first = np.array([same.setdefault(each, row) for row, each in enumerate(sequences)], dtype=np.int64)
    sketches = {row: sketch(sequences[row]) for row in same.values()}
    near = [(row, int(to)) for row, to in enumerate(first) if row != to]
    near += [
        (one, other)
        for one, other in _candidates(sketches)
        if likeness(sketches[one], sketches[other]) >= LEAST
    ]
    together = list(range(len(sequences)))  # each points at one of its cluster, the first at itself

    def leader(row: int) -> int:
        while together[row] != row:
            together[row] = row = together[together[row]]
        return row

    for one, other in near:
        first_of = sorted((leader(one), leader(other)))
        together[first_of[1]] = first_of[0]
    leaders = [leader(row) for row in range(len(sequences))]
    return np.unique(leaders, return_inverse=True)[1].astype(np.int64)


def sketch(sequence: str) -> npt.NDArray[np.uint64]:
    """Return the smallest hashes of a sequence's k-mers of A, C, G and T, ascending, [S]."""
    codes = BASE_CODES[np.frombuffer(sequence.encode(), dtype=np.uint8)]
    if len(codes) < K:
        return np.empty(0, dtype=np.uint64)
    count = len(codes) - K + 1
    kmers, whole = np.zeros(count, dtype=np.uint64), np.ones(count, dtype=bool)
    for place in range(K):
        here = codes[place : place + count]
        kmers = kmers << np.uint64(2) | (here & 3).astype(np.uint64)
        whole &= here != NOT_A_BASE
    return np.unique(mixed(kmers[whole]))[:SKETCH]


def likeness(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> float:
    """Return the estimated Jaccard index of two genes' k-mers from their sketches."""
    both = np.union1d(one, other)[:SKETCH]
    if not len(both):
        return 0.0
    return float(np.isin(both, one).astype(int) @ np.isin(both, other).astype(int)) / len(both)


def _candidates(sketches: dict[int, npt.NDArray[np.uint64]]) -> list[tuple[int, int]]:
    """Return the pairs of genes that share k-mers enough to be near; common k-mers are not counted."""
    length = {row: len(each) for row, each in sketches.items()}
    hashes = np.concatenate([*sketches.values(), np.empty(0, dtype=np.uint64)])
    genes = np.repeat(np.array(list(length), dtype=np.int64), list(length.values()))
    order = np.lexsort((genes, hashes))
    groups = np.split(genes[order], np.flatnonzero(np.diff(hashes[order])) + 1)
    size = max(length, default=0) + 1
    keys = []  # a pair as one number
    for group in groups:
        if 1 < len(group) <= COMMON:
            one, other = np.triu_indices(len(group), 1)
            keys.append(group[one] * size + group[other])
    found, shared = np.unique(np.concatenate([*keys, np.empty(0, np.int64)]), return_counts=True)
    # What both have among the smallest of the union, both have in their sketches.
    return [
        (one, other)
        for (one, other), count in zip(
            map(lambda key: divmod(key, size), found.tolist()), shared, strict=True
        )
        if count >= LEAST * max(length[one], length[other])
    ]
