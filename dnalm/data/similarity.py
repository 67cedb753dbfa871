"""Sequences that are the same or nearly so, by the k-mers that they share (MinHash; Broder 1997).

Shapes: N windows; L bases in a window; G genes; S k-mers in a sketch; E pairs of a window and a k-mer.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from dnalm.data.epochs import Rows
from dnalm.data.splits import Split
from dnalm.dna import BASE_CODES
from dnalm.errors import InputError
from dnalm.genome.kmers import Keys, Letters, hashed, kmers_of

COMMON = 100
"""A k-mer in more sequences than this, as of Alu or a satellite, does not count for windows, and for genes
only where they share too few others."""

K = 12  # bases of a gene's k-mers: one substitution changes 12 of the 49 of a 60-base promoter
SKETCH = 128
"""k-mers in the sketch of a gene, those with the smallest hashes: all of them in a 60-base promoter."""
LEAST = 1 / 3
"""Least Jaccard index of two similar genes' k-mers: half of the k-mers of two genes of one length. In a
promoter of 60 bases two substitutions leave as many, or a shift by 24; in a long gene one in 17 bases."""

WINDOW_K = 16  # bases of a window's k-mers: one of them occurs by chance once in 4 billion positions
WINDOW_SKETCH = 64  # expected k-mers in the sketch of a window; that of a window with fewer holds them all
LEAST_SKETCH = 8  # least k-mers in a sketch for its window to be compared
CHUNK = 1024  # windows whose k-mers are computed at a time


def gene_clusters(sequences: Sequence[str]) -> Rows:
    """Return a number for each gene, [G], equal for genes of identical or near-identical sequences.

    Only the given strand, upper-case DNA, is compared. Similarity is transitive.
    """
    distinct = list(dict.fromkeys(sequences))
    sketches = [sketch(each) for each in distinct]
    cluster = dict(zip(distinct, _components(sketches).tolist(), strict=True))
    return np.array([cluster[each] for each in sequences], dtype=np.int64)


def sketch(sequence: str) -> Keys:
    """Return the smallest hashes of a sequence's k-mers of A, C, G and T, ascending, [S]."""
    text = sequence + "N" * K  # at least one k-mer long
    codes = BASE_CODES[np.frombuffer(text.encode(), dtype=np.uint8)]
    kmers, real = kmers_of(codes[None], K)
    return np.unique(hashed(kmers[real]))[:SKETCH]


def likeness(one: Keys, others: Sequence[Keys]) -> npt.NDArray[np.float64]:
    """Return the estimated Jaccard index of one gene's k-mers with each other's from their sketches, [G]."""
    sizes, every = np.array([*map(len, others)], dtype=np.int64), np.concatenate([one[:0], *others])
    owner, begins = np.repeat(np.arange(len(sizes)), sizes), np.cumsum(sizes) - sizes
    smaller = np.searchsorted(one, every)  # of `one`
    common = smaller < np.searchsorted(one, every, side="right")
    before = np.cumsum(np.append(0, common))[:-1]
    # Place of each k-mer among those of both genes.
    place = smaller + np.arange(len(every)) - begins[owner] - (before - before[begins[owner]])
    shared = np.bincount(owner[common & (place < SKETCH)], minlength=len(sizes))
    both = len(one) + sizes - np.bincount(owner[common], minlength=len(sizes))
    ratio: npt.NDArray[np.float64] = shared / np.clip(both, 1, SKETCH)
    return ratio


def _components(sketches: Sequence[Keys]) -> Rows:
    """Return the cluster of each gene, [G]: connected components of the similar genes, in their order."""
    kmers, counts = np.unique(np.concatenate([*sketches, np.empty(0, np.uint64)]), return_counts=True)
    genes_of: dict[int, set[int]] = {kmer: set() for kmer in kmers[counts > 1].tolist()}
    found_in = [[genes_of[kmer] for kmer in each.tolist() if kmer in genes_of] for each in sketches]
    for gene, sets in enumerate(found_in):
        for genes in sets:
            genes.add(gene)
    # Similar genes share at least a third of either's k-mers.
    least = [LEAST * len(each) for each in sketches]
    cluster, number = np.full(len(sketches), -1, dtype=np.int64), -1
    for start in range(len(sketches)):
        if cluster[start] >= 0:
            continue
        near, queue, number = [start], list[int](), number + 1
        while near or queue:
            for gene in near:  # in the cluster, not to be found again
                cluster[gene] = number
                for genes in found_in[gene]:
                    genes.discard(gene)
            queue += near
            gene = queue.pop()
            sets = [genes for genes in found_in[gene] if len(genes) <= COMMON]
            slack = len(found_in[gene]) - len(sets)
            if slack >= least[gene]:  # else a similar gene shares another k-mer, too
                sets, slack = found_in[gene], 0
            others = [
                other
                for other, shared in Counter(chain.from_iterable(sets)).items()
                if shared + slack >= max(least[gene], least[other])
            ]
            alike = likeness(sketches[gene], [sketches[other] for other in others]) >= LEAST
            near = [other for other, is_near in zip(others, alike, strict=True) if is_near]
    return cluster


def near_duplicates(letters: Letters, split: Split, *, sketch: int = WINDOW_SKETCH) -> dict[str, int]:
    """Count the windows of validation and of test that have a near-copy in a part used before them.

    For validation that is train; for test, train or validation. A near-copy is one window, read on either
    strand, that is equal, or that has at least half of the k-mers in the window's sketch: of its 16-mers,
    each taken with its reverse complement, a fixed choice (FracMinHash; Irber et al. 2022) of about
    `sketch`, less those with N and those in more than `COMMON` windows of the parts before.

    Equal windows are always found. With the whole of a window in its sketch (`sketch` >= L - 15) so is a copy
    with s substitutions that is shifted by d bases if 16 s + d is at most half of L - 15, unless its k-mers
    are common; with fewer it is nearly always found where that sum is well below half.

    `letters` are upper-case ASCII, [N, L]; an empty part of the split is left out.
    """
    if letters.shape[1] < WINDOW_K:
        raise InputError(f"expected windows of {WINDOW_K} bases or more, got {letters.shape}")
    one_in = max(1, (letters.shape[1] - WINDOW_K + 1) // sketch)
    codes = np.minimum(BASE_CODES[letters], 4)  # all that is no base counts as N
    others = np.array([3, 2, 1, 0, 4], dtype=np.uint8)[codes][:, ::-1]
    strands = [min(one.tobytes(), other.tobytes()) for one, other in zip(codes, others, strict=True)]
    number = {strand: row for row, strand in enumerate(strands)}
    same = np.array([number[strand] for strand in strands])
    found, before = {}, split.train
    for name, part in (("validation", split.validation), ("test", split.test)):
        if len(part):
            equal = np.isin(same[part], same[before])
            found[name] = int(equal.sum()) + _count_near(letters, before, part[~equal], one_in)
        before = np.concatenate([before, part])
    return found


def _window_sketches(letters: Letters, rows: Rows, one_in: int) -> Iterator[tuple[Keys, Rows]]:
    """Yield k-mers and their windows, [E] each, `CHUNK` windows at a time."""
    for first in range(0, max(1, len(rows)), CHUNK):
        chosen = rows[first : first + CHUNK]
        kmers, real = kmers_of(BASE_CODES[letters[chosen]], WINDOW_K, both_strands=True)
        keep = real & (hashed(kmers) % np.uint64(one_in) == 0)
        packed = np.unique(kmers[keep] | np.nonzero(keep)[0].astype(np.uint64) << np.uint64(32))
        yield packed & np.uint64(0xFFFFFFFF), chosen[packed >> np.uint64(32)]


def _count_near(letters: Letters, before: Rows, rows: Rows, one_in: int) -> int:
    """Return how many of `rows` have half of their sketch in common with one window `before` them."""
    pieces = zip(*_window_sketches(letters, before, one_in), strict=True)
    kmers, owners = (np.concatenate(column) for column in pieces)
    order, near = np.argsort(kmers, kind="stable"), 0
    kmers, owners = kmers[order], owners[order]
    for wanted, windows in _window_sketches(letters, rows, one_in):
        first = np.searchsorted(kmers, wanted, side="left")
        counts = np.searchsorted(kmers, wanted, side="right") - first
        rare = counts <= COMMON
        first, counts, windows = first[rare], counts[rare], windows[rare]
        # Each window with each one before that has one of its k-mers, and how many they share.
        at = np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)
        both, shared = np.unique(np.repeat(windows, counts) * len(letters) + owners[at], return_counts=True)
        sizes, most = np.bincount(windows, minlength=len(letters)), np.zeros(len(letters), dtype=np.int64)
        np.maximum.at(most, both // len(letters), shared)
        near += int(((sizes >= LEAST_SKETCH) & (most > 0) & (2 * most >= sizes)).sum())
    return near
