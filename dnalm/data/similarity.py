"""Sequences that are the same or nearly so, by the k-mers that they share (MinHash; Broder 1997).

`gene_clusters` groups similar genes, which a split must not separate; `near_duplicates` counts windows of
one part that are near-copies of a window of another. Both look k-mers up in one index, `KmerIndex`.

Shapes: N windows; L bases in a window; G genes; S k-mers in a sketch; E pairs of a sequence and a k-mer of
its sketch.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from dnalm.data.splits import Split
from dnalm.dna import BASE_CODES, NOT_A_BASE
from dnalm.errors import InputError

Letters = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

COMMON = 100
"""A k-mer in more sequences than this is common, as those of Alu or a satellite. It does not count for
windows; genes are compared by it only where they share too few others."""

K = 12
"""Bases of a gene's k-mers: one substitution changes 12 of the 49 of a 60-base promoter."""
SKETCH = 128
"""k-mers in the sketch of a gene, those with the smallest hashes: all of them in a 60-base promoter."""
LEAST = 1 / 3
"""Least Jaccard index of two similar genes' k-mers, estimated from the smallest hashes of both together. Two
genes of one length then have half of their k-mers in common: in a promoter of 60 bases two substitutions
leave as many, or a shift by 24; in a long gene about one substitution in 17 bases."""

WINDOW_K = 16
"""Bases of a window's k-mers: one of them occurs by chance once in 4 billion positions."""
WINDOW_SKETCH = 64
"""Expected k-mers in the sketch of a window; the sketch of a window with fewer holds them all."""
LEAST_SKETCH = 8
"""Least k-mers in a sketch for its window to be compared."""
CHUNK = 4096
"""Windows whose k-mers are computed at a time."""


class KmerIndex:
    """Which sequences, `owners` [E], have a k-mer in their sketch: `kmers` or their hashes, [E]."""

    def __init__(self, kmers: Keys, owners: Rows) -> None:
        order = np.argsort(kmers, kind="stable")
        self.kmers, self.owners = kmers[order], owners[order]

    def __len__(self) -> int:
        return len(self.kmers)

    def counts(self, kmers: Keys) -> tuple[Rows, Rows]:
        """Return where the owners of each of `kmers` begin, and how many there are."""
        first = np.searchsorted(self.kmers, kmers, side="left")
        return first, np.searchsorted(self.kmers, kmers, side="right") - first

    def owners_of(self, first: Rows, counts: Rows) -> Rows:
        """Return the owners of k-mers, one after the other, from what `counts` has returned."""
        ends = np.cumsum(counts)
        steps = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        owners: Rows = self.owners[np.repeat(first, counts) + steps]
        return owners


def kmers_of(codes: Letters, k: int, *, both_strands: bool = False) -> tuple[Keys, npt.NDArray[np.bool_]]:
    """Return the k-mers of base codes, and which of them hold A, C, G and T alone; both [N, L - k + 1].

    `codes` are as in `BASE_CODES`, [N, L]; k is at most 32. `both_strands` takes the lesser of each k-mer and
    its reverse complement.
    """
    count = codes.shape[1] - k + 1
    forward, reverse = np.zeros((2, len(codes), count), dtype=np.uint64)
    real = np.ones((len(codes), count), dtype=np.bool_)
    for at in range(k):
        base = codes[:, at : at + count]
        forward = forward << np.uint64(2) | (base & 3)
        if both_strands:
            reverse |= (3 - (base & 3)).astype(np.uint64) << np.uint64(2 * at)
        real &= base != NOT_A_BASE
    return np.minimum(forward, reverse) if both_strands else forward, real


def hashed(kmers: Keys) -> Keys:
    """Return a 64-bit hash of each k-mer (splitmix64; Steele et al. 2014)."""
    x = kmers + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def gene_clusters(sequences: Sequence[str]) -> Rows:
    """Return a number for each gene, [G], equal for genes of identical or near-identical sequences.

    Only the given strand, upper-case DNA, is compared. Similarity is transitive: if A is similar to B and B
    to C, all three are in one cluster.
    """
    distinct = list(dict.fromkeys(sequences))
    sketches = [sketch(each) for each in distinct]
    cluster = dict(zip(distinct, _components(sketches).tolist(), strict=True))
    return np.array([cluster[each] for each in sequences], dtype=np.int64)


def sketch(sequence: str) -> Keys:
    """Return the smallest hashes of a sequence's k-mers of A, C, G and T, ascending, [S]."""
    codes = BASE_CODES[np.frombuffer(sequence.encode(), dtype=np.uint8)]
    if len(codes) < K:
        return np.empty(0, dtype=np.uint64)
    kmers, real = kmers_of(codes[None], K)
    return np.unique(hashed(kmers[real]))[:SKETCH]


def likeness(one: Keys, other: Keys) -> float:
    """Return the estimated Jaccard index of two genes' k-mers from their sketches."""
    both = np.union1d(one, other)[:SKETCH]
    return float((np.isin(both, one) & np.isin(both, other)).sum()) / max(1, len(both))


def _components(sketches: Sequence[Keys]) -> Rows:
    """Return the cluster of each gene, [G]: connected components of the similar genes, in their order.

    From a gene all similar ones that are not yet in a cluster are reached, so that each enters the queue
    once.
    """
    hashes = np.concatenate([*sketches, np.empty(0, dtype=np.uint64)])
    index = KmerIndex(hashes, np.repeat(np.arange(len(sketches)), list(map(len, sketches))))
    # Similar genes share at least a third of either's k-mers.
    least = np.array([LEAST * len(each) for each in sketches])
    cluster = np.full(len(sketches), -1, dtype=np.int64)
    number, passed = 0, 0
    for start in range(len(sketches)):
        if cluster[start] >= 0:
            continue
        queue, cluster[start] = [start], number
        while queue:
            gene = queue.pop()
            first, counts = index.counts(sketches[gene])
            common = counts > COMMON
            slack = int(common.sum())
            if slack < least[gene]:  # then a similar gene shares another k-mer, too
                first, counts = first[~common], counts[~common]
            else:
                slack = 0
            owners = index.owners_of(first, counts)
            others, shared = np.unique(owners[cluster[owners] < 0], return_counts=True)
            passed += len(owners)
            near = shared + slack >= np.maximum(least[gene], least[others])
            for other in others[near].tolist():
                if likeness(sketches[gene], sketches[other]) >= LEAST:
                    cluster[other] = number
                    queue.append(other)
            if passed > 2 * len(index):  # a large family is not to be passed by each of its members
                left = cluster[index.owners] < 0
                index, passed = KmerIndex(index.kmers[left], index.owners[left]), 0
        number += 1
    return cluster


def near_duplicates(letters: Letters, split: Split, *, sketch: int = WINDOW_SKETCH) -> dict[str, int]:
    """Count the windows of validation and of test that have a near-copy in a part used before them.

    For validation that is train; for test, train or validation. A near-copy is one window, read on either
    strand, that is equal, or that has at least half of the k-mers in the window's sketch: of its 16-mers,
    each taken with its reverse complement, a fixed choice (FracMinHash; Irber et al. 2022) of about
    `sketch`, less those with N and those in more than `COMMON` windows of the parts before.

    Equal windows are always found. With the whole of a window in its sketch (`sketch` >= L - 15) so is a copy
    with s substitutions that is shifted by d bases if 16 s + d is at most half of L - 15, unless its k-mers
    are common; with fewer it is found by chance, nearly always where that sum is well below half.

    Args:
        letters: [N, L], upper-case ASCII.
        split: of these windows; an empty part is left out.
        sketch: k-mers; more is surer and slower.

    Returns:
        Windows, by part.

    Raises:
        InputError: if windows are shorter than a k-mer.
    """
    if letters.ndim != 2 or letters.shape[1] < WINDOW_K:
        raise InputError(
            f"expected windows of {WINDOW_K} bases or more to look for near-copies, got {letters.shape}"
        )
    one_in = np.uint64(max(1, (letters.shape[1] - WINDOW_K + 1) // sketch))
    same = _same_either_strand(letters)
    found = {}
    before = split.train
    for name, part in (("validation", split.validation), ("test", split.test)):
        if len(part):
            equal = np.isin(same[part], same[before])
            pieces = list(_window_sketches(letters, before, one_in))
            index = KmerIndex(*(np.concatenate(column) for column in zip(*pieces, strict=True)))
            found[name] = int(equal.sum()) + _count_near(
                index, _window_sketches(letters, part[~equal], one_in)
            )
        before = np.concatenate([before, part])
    return found


def _same_either_strand(letters: Letters) -> Rows:
    """Return a number for each window, [N], that is equal for windows equal on either strand."""
    codes = np.minimum(BASE_CODES[letters], 4)  # all that is no base counts as N
    reverse = np.where(codes < 4, 3 - codes, 4).astype(np.uint8)[:, ::-1]
    rows = np.arange(len(codes))
    differs = (codes != reverse).argmax(axis=1)  # where the strands first differ: take the lesser there
    swap = codes[rows, differs] > reverse[rows, differs]
    least = np.ascontiguousarray(np.where(swap[:, None], reverse, codes))
    packed = least.view(np.dtype((np.void, least.shape[1]))).reshape(-1)
    numbers: Rows = np.unique(packed, return_inverse=True)[1]
    return numbers


def _window_sketches(letters: Letters, rows: Rows, one_in: np.uint64) -> Iterator[tuple[Keys, Rows]]:
    """Yield k-mers and their windows, [E] each, `CHUNK` windows at a time, ordered by window."""
    for first in range(0, max(1, len(rows)), CHUNK):
        chosen = rows[first : first + CHUNK]
        kmers, real = kmers_of(BASE_CODES[letters[chosen]], WINDOW_K, both_strands=True)
        keep = real & (hashed(kmers) % one_in == 0)
        packed = np.unique(kmers[keep] | np.nonzero(keep)[0].astype(np.uint64) << np.uint64(32))
        yield packed & np.uint64(0xFFFFFFFF), chosen[packed >> np.uint64(32)]


def _count_near(index: KmerIndex, queries: Iterator[tuple[Keys, Rows]]) -> int:
    """Return how many windows have half of their sketch in common with one window of the index."""
    near = 0
    for kmers, windows in queries:
        first, counts = index.counts(kmers)
        rare = counts <= COMMON
        first, counts = first[rare], counts[rare]
        _, begins, sizes = np.unique(windows[rare], return_index=True, return_counts=True)
        for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True):
            owners = index.owners_of(first[begin : begin + size], counts[begin : begin + size])
            if size >= LEAST_SKETCH and len(owners):
                near += 2 * int(np.unique(owners, return_counts=True)[1].max()) >= size
    return near
