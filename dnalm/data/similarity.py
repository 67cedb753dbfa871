"""Genes whose sequences are the same or nearly so, put together: a split must not part them.

Shapes used below
    G  genes                         S  k-mers in a sketch, at most SKETCH
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

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
"""Of the genes that share a k-mer all pairs are looked at, up to so many genes; where they are more, as in a
repeat or a large family, it is common, and clusters are walked through."""

Rows = npt.NDArray[np.int64]


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
    near += _near(sketches)
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


def _near(sketches: dict[int, npt.NDArray[np.uint64]]) -> list[tuple[int, int]]:
    """Return pairs of near-identical genes, enough of them to join all that is near at whatever remove."""
    hashes = np.concatenate([*sketches.values(), np.empty(0, dtype=np.uint64)])
    genes = np.repeat(np.array(list(sketches), dtype=np.int64), list(map(len, sketches.values())))
    order = np.lexsort((genes, hashes))
    groups = np.split(genes[order], np.flatnonzero(np.diff(hashes[order])) + 1)
    common = [group for group in groups if len(group) > COMMON]
    size = max(sketches, default=0) + 1
    # What both have among the smallest of the union, both have in their sketches: so many k-mers at least.
    least = np.zeros(size)
    least[list(sketches)] = [LEAST * len(each) for each in sketches.values()]
    shared = np.bincount(np.concatenate([*common, np.empty(0, np.int64)]), minlength=size)

    def check(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        return [pair for pair in pairs if likeness(*(sketches[row] for row in pair)) >= LEAST]

    rare = _pairs([group for group in groups if 1 < len(group) <= COMMON], shared, least)
    return [*check(rare), *_walk(common, shared, least, check)]


def _pairs(groups: Sequence[Rows], common: Rows, least: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the pairs of genes that share a rare k-mer, and may share enough of them.

    Args:
        groups: genes of each rare k-mer.
        common: of each gene, how many of its k-mers are common.
        least: of each gene, how many it must share.
    """
    keys = [np.empty(0, np.int64)]  # a pair as one number
    for group in groups:
        one, other = np.triu_indices(len(group), 1)
        keys.append(group[one] * len(least) + group[other])
    found, shared = np.unique(np.concatenate(keys), return_counts=True)
    one, other = np.divmod(found, len(least))
    enough = shared + np.minimum(common[one], common[other]) >= np.maximum(least[one], least[other])
    return list(zip(one[enough].tolist(), other[enough].tolist(), strict=True))


def _walk(
    groups: Sequence[Rows],
    common: Rows,
    least: npt.NDArray[np.float64],
    check: Callable[[Iterable[tuple[int, int]]], list[tuple[int, int]]],
) -> Iterator[tuple[int, int]]:
    """Yield pairs that join what is near by common k-mers alone: each gene is reached once.

    From a gene all that is near and not yet reached is reached, so that a family costs no more than its size.

    Args:
        groups: genes of each common k-mer.
        common: of each gene, how many of its k-mers are common.
        least: of each gene, how many it must share.
        check: keeps the pairs that are near.
    """
    left = (common >= least) & (common > 0)  # of fewer common ones a gene shares too few with any
    unreached = [group[left[group]] for group in groups]
    of_gene: dict[int, list[int]] = {}
    for number, group in enumerate(unreached):
        for gene in group.tolist():
            of_gene.setdefault(gene, []).append(number)
    for start in of_gene:
        queue = [start] if left[start] else []
        left[queue] = False
        while queue:
            gene = queue.pop()
            for number in of_gene[gene]:
                unreached[number] = unreached[number][left[unreached[number]]]
            others, shared = np.unique(
                np.concatenate([unreached[number] for number in of_gene[gene]]), return_counts=True
            )
            enough = others[shared >= np.maximum(least[gene], least[others])]
            for pair in check((gene, other) for other in enough.tolist()):
                yield pair
                left[pair[1]] = False
                queue.append(pair[1])
