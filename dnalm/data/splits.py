"""Splits of windows into train, validation and test, and how much of one part is a copy of another.

Neighbouring windows, and windows that are near-copies of each other, tell a model what it will be asked. So
whole stretches of a contig go to one part, with gaps between parts, and near-copies across parts are counted.

Shapes used below
    N  windows                       L  bases in a window
    W  k-mers in a window, L - K + 1 E  pairs of a window and a k-mer in its sketch
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASE_CODES, NOT_A_BASE, Interval
from dnalm.errors import InputError

Indices = npt.NDArray[np.int64]
Letters = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]

PUBLISHED_SEED, PUBLISHED_SHARE = 42, 0.2
"""Of the published split."""
SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
"""Of the windows, aimed at by `blocks_split`."""
BLOCK = 1_000_000
"""Bases in a block at most."""
BLOCKS = 20
"""Blocks at least, where the contigs are short."""
GAP = 1000
"""Bases between windows of different parts at least."""
DEALS = 20
"""Deals of the blocks tried; the one whose shares are nearest to `SHARES` is taken."""

K = 16
"""Bases in a k-mer: it fills 32 bits, and one of them is met by chance once in 4 billion places."""
SKETCH = 64
"""K-mers aimed at in the sketch of a window; a window with fewer is taken whole."""
LEAST_SKETCH = 8
"""K-mers a sketch must hold at least for the window to be judged by it."""
COMMON = 100
"""A k-mer in more windows than this, as in Alu or a satellite, tells nothing and is left out of sketches."""
ROWS = 4096
"""Windows packed into k-mers at a time."""
PAIRS = 1 << 22
"""Pairs of windows that share a k-mer, held in memory at a time."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which windows are for what: indices, each in one of the four at most; if split at all, all in one."""

    kind: Literal["blocks", "published", "none"]
    train: Indices
    validation: Indices
    test: Indices
    """Empty in the published split."""
    left_out: Indices
    """Too near to a window of another part."""

    @property
    def windows(self) -> dict[str, int]:
        """How many there are of each."""
        parts = {name: getattr(self, name) for name in (*SHARES, "left_out")}
        return {name: len(indices) for name, indices in parts.items()}


def published_split(count: int) -> Split:
    """Return the split of the published scripts, in their order: seed 42, a shuffle, the first fifth.

    Neighbours are torn apart, and there is no test part: for comparison with published figures alone.

    Raises:
        InputError: if a fifth of the windows is none.
    """
    first = int(PUBLISHED_SHARE * count)
    if first < 1:
        raise InputError(f"expected 5 windows or more, so that a fifth is for validation, got {count}")
    indices = list(range(count))
    random.Random(PUBLISHED_SEED).shuffle(indices)
    order, none = np.array(indices, dtype=np.int64), np.empty(0, dtype=np.int64)
    return Split("published", train=order[first:], validation=order[:first], test=none, left_out=none)


def no_split() -> Split:
    """Return the split of windows that are not divided: every part is empty."""
    none = np.empty(0, dtype=np.int64)
    return Split("none", train=none, validation=none, test=none, left_out=none)


def blocks_split(intervals: Sequence[Interval], *, seed: int = 0, gap: int = GAP) -> Split:
    """Split windows by the stretch of the genome they lie in: about 70, 15 and 15 % of them.

    The contigs are cut into blocks of 1 Mb, or of a 20th of what the windows span where that is less; blocks
    are shuffled and each is given to the part that lacks most. A window nearer than `gap` to a window of
    another part is left out, of the larger of the two parts. The order of the windows changes nothing.

    Args:
        intervals: [N], of any lengths; they may overlap.
        seed: of the shuffle.
        gap: bases; with 0, windows of different parts may touch, but not overlap.

    Raises:
        InputError: if an interval is empty, or a part would be.
    """
    if gap < 0:
        raise InputError(f"gap must be 0 bases or more, got {gap}")
    if not intervals:
        raise InputError("expected windows to split, got none")
    wrong = next((one for one in intervals if one.start < 0 or one.end <= one.start), None)
    if wrong is not None:
        raise InputError(
            f"expected windows of at least one base, got {wrong.contig}:{wrong.start}-{wrong.end}"
        )
    names, contigs = np.unique([one.contig for one in intervals], return_inverse=True)
    starts = np.array([one.start for one in intervals], dtype=np.int64)
    ends = np.array([one.end for one in intervals], dtype=np.int64)
    spans = [ends[contigs == c].max() - starts[contigs == c].min() for c in range(len(names))]
    size = max(1, min(BLOCK, int(sum(spans)) // BLOCKS))
    places = np.stack([contigs, starts // size], axis=1)
    blocks, block = np.unique(places.reshape(-1, 2), axis=0, return_inverse=True)
    counts = np.bincount(block.reshape(-1), minlength=len(blocks))
    part = _deal(counts, seed)[block.reshape(-1)]  # [N]

    kept = np.ones(len(part), dtype=np.bool_)
    larger_first = np.argsort(-np.bincount(part, minlength=len(SHARES)), kind="stable")
    for rank, large in enumerate(larger_first):
        others = np.isin(part, larger_first[rank + 1 :])
        for contig in range(len(names)):
            here = np.flatnonzero((part == large) & (contigs == contig))
            there = others & (contigs == contig)
            kept[here] = ~_near(starts[here], ends[here], starts[there], ends[there], gap)
    found = [np.flatnonzero((part == number) & kept) for number in range(len(SHARES))]
    if not all(map(len, found)):
        sizes = ", ".join(f"{name} {len(one)}" for name, one in zip(SHARES, found, strict=True))
        raise InputError(
            f"too few windows or too small a region for the blocks split: {len(intervals):,} windows over "
            f"{int(sum(spans)):,} bases, less those within {gap:,} bases of another part, give {sizes}; "
            "take more windows, a smaller gap, or the published split"
        )
    train, validation, test = found
    return Split("blocks", train, validation, test, left_out=np.flatnonzero(~kept))


def _deal(counts: Indices, seed: int) -> Indices:
    """Return the part of each block; of several seeded deals the one with shares nearest to `SHARES`."""
    goal = np.array(list(SHARES.values())) * counts.sum()
    draws = np.random.Generator(np.random.PCG64(seed))
    best, least = np.zeros(len(counts), dtype=np.int64), np.inf
    for _ in range(DEALS):
        dealt, lacks = np.empty(len(counts), dtype=np.int64), goal.copy()
        for block in np.argsort(draws.random(len(counts)), kind="stable"):
            dealt[block] = lacks.argmax()
            lacks[dealt[block]] -= counts[block]
        # A part without a block is worse than any share.
        off = np.abs(lacks).sum() + (len(set(dealt.tolist())) < len(goal)) * counts.sum() * 2
        if off < least:
            best, least = dealt, float(off)
    return best


def _near(
    starts: Indices, ends: Indices, there: Indices, there_ends: Indices, gap: int
) -> npt.NDArray[np.bool_]:
    """Return which windows are nearer than `gap` to one of those `there`, on the same contig."""
    order = np.argsort(there, kind="stable")
    furthest = np.maximum.accumulate(np.append(-1, there_ends[order]))  # end of those that start before
    before = np.searchsorted(there[order], ends + gap, side="left")  # how many start in time to be near
    near: npt.NDArray[np.bool_] = (before > 0) & (furthest[before] > starts - gap)
    return near


def near_duplicates(letters: Letters, split: Split, *, sketch: int = SKETCH) -> dict[str, int]:
    """Count the windows of validation and of test that have a near-copy in a part used before them.

    For validation that is train; for test, train or validation. A near-copy is one single window, read on
    either strand, that is the same, or that holds at least half of the k-mers in the window's sketch: of its
    16-mers, each taken with its reverse complement, a fixed choice (FracMinHash; Irber et al. 2022) of about
    `sketch`, less those with N and those in more than `COMMON` windows of the parts before.

    Equal windows are always found. With the whole of a window in its sketch (`sketch` >= L - 15) so is a copy
    with s substitutions that is shifted by d bases if 16 s + d is at most half of L - 15, unless its k-mers
    are common; with fewer it is found by chance, nearly always where that sum is well below half.

    Args:
        letters: [N, L], upper-case ASCII.
        split: of these windows; a part that is empty is not judged.
        sketch: k-mers; more is surer and slower.

    Returns:
        Windows, by part.

    Raises:
        InputError: if windows are shorter than a k-mer.
    """
    if letters.ndim != 2 or letters.shape[1] < K:
        raise InputError(
            f"expected windows of {K} bases or more to look for near-copies, got {letters.shape}"
        )
    one_in = max(1, (letters.shape[1] - K + 1) // sketch)
    same = _same_either_strand(letters)
    found = {}
    before = split.train
    for name, part in (("validation", split.validation), ("test", split.test)):
        if len(part):
            equal = np.isin(same[part], same[before])
            entries = np.concatenate([*_sketches(letters, before, one_in), np.empty(0, dtype=np.uint64)])
            rest = part[~equal]
            queries = np.concatenate([*_sketches(letters, rest, one_in), np.empty(0, dtype=np.uint64)])
            found[name] = int(equal.sum()) + _count_near(queries, entries)
        before = np.concatenate([before, part])
    return found


def _same_either_strand(letters: Letters) -> Indices:
    """Return a number for each window, [N], that is equal for windows equal on either strand."""
    codes = np.minimum(BASE_CODES[letters], 4)  # all that is no base counts as N
    reverse = np.where(codes < 4, 3 - codes, 4).astype(np.uint8)[:, ::-1]
    rows = np.arange(len(codes))
    differs = (codes != reverse).argmax(axis=1)  # where the strands first differ: take the lesser there
    swap = codes[rows, differs] > reverse[rows, differs]
    least = np.ascontiguousarray(np.where(swap[:, None], reverse, codes))
    packed = least.view(np.dtype((np.void, least.shape[1]))).reshape(-1)
    numbers: Indices = np.unique(packed, return_inverse=True)[1]
    return numbers


def _sketches(letters: Letters, indices: Indices, one_in: int) -> Iterator[Keys]:
    """Yield sketches of some windows in pieces: k-mer in the high 32 bits of a number, window below."""
    for first in range(0, len(indices), ROWS):
        chosen = indices[first : first + ROWS]
        codes = BASE_CODES[letters[chosen]]
        kmers, whole = _canonical_kmers(codes)
        keep = whole & (mixed(kmers) % np.uint64(one_in) == 0)
        row, _ = np.nonzero(keep)
        yield np.unique(kmers[keep] << np.uint64(32) | chosen[row].astype(np.uint64))


def _canonical_kmers(codes: Letters) -> tuple[Keys, npt.NDArray[np.bool_]]:
    """Return the lesser of each k-mer and its reverse complement, [N, W], and whether all of it are bases."""
    no_base = codes == NOT_A_BASE
    forward = np.where(no_base, 0, codes).astype(np.uint64)
    reverse = np.where(no_base, 0, 3 - codes).astype(np.uint64)
    width = 1
    while width < K:  # two neighbours of `width` bases make one of twice that
        bits = np.uint64(2 * width)
        forward = forward[:, :-width] << bits | forward[:, width:]
        reverse = reverse[:, :-width] | reverse[:, width:] << bits
        no_base = no_base[:, :-width] | no_base[:, width:]
        width *= 2
    return np.minimum(forward, reverse), ~no_base


def mixed(kmers: Keys) -> Keys:
    """Return numbers that look random, one for each k-mer (splitmix64's mixing; Steele et al. 2014)."""
    x = kmers + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def _count_near(queries: Keys, entries: Keys) -> int:
    """Return how many windows of `queries`, [E], share half of their sketch with one of `entries`, [E]."""
    low = np.uint64(0xFFFFFFFF)
    entries = np.sort(entries)
    kmers, owners = entries >> np.uint64(32), entries & low
    queries = queries[np.argsort(queries & low, kind="stable")]  # by window
    first = np.searchsorted(kmers, queries >> np.uint64(32), side="left")
    shared = np.searchsorted(kmers, queries >> np.uint64(32), side="right") - first
    telling = shared <= COMMON
    query, first, shared = (queries & low)[telling], first[telling], shared[telling]
    windows, begins, sizes = np.unique(query, return_index=True, return_counts=True)
    ends = np.append(0, np.cumsum(shared))  # pairs before each entry
    near, at = 0, 0
    while at < len(windows):
        # As many whole windows as give `PAIRS` pairs, one at least.
        upto = max(at + 1, int(np.searchsorted(ends[begins], ends[begins[at]] + PAIRS, side="right")) - 1)
        rows = slice(begins[at], begins[upto] if upto < len(windows) else len(query))
        counts = shared[rows]
        steps = np.arange(counts.sum()) - np.repeat(ends[rows] - ends[rows.start], counts)
        partner = owners[np.repeat(first[rows], counts) + steps]
        pair, times = np.unique(np.repeat(query[rows], counts) << np.uint64(32) | partner, return_counts=True)
        size = sizes[np.searchsorted(windows, pair >> np.uint64(32))]
        enough = (2 * times >= size) & (size >= LEAST_SKETCH)
        near += len(np.unique(pair[enough] >> np.uint64(32)))
        at = upto
    return near
