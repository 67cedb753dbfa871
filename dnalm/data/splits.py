"""Splits of windows into train, validation and test.

Neighbouring windows and near-copies let a model remember instead of predict. So contiguous stretches of a
contig go to one part, with gaps between parts; `similarity.near_duplicates` counts the near-copies.

Shapes: N windows.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dnalm.data.epochs import Rows
from dnalm.dna import Interval
from dnalm.errors import InputError, counted

PUBLISHED_SEED, PUBLISHED_FRACTION = 42, 0.2
FRACTIONS = {"train": 0.70, "validation": 0.15, "test": 0.15}  # of the windows, aimed at by `blocks_split`
BLOCK = 1_000_000  # most bases in a block
BLOCKS = 20  # least number of blocks, where the contigs are short
GAP = 1000  # least bases between windows of different parts
ASSIGNMENTS = 20  # random assignments of the blocks; the one nearest to `FRACTIONS` is taken


@dataclass(frozen=True, eq=False)
class Split:
    """Which windows are for what: indices. If the set is split, each window is in one of the four."""

    kind: Literal["blocks", "published", "none"]
    train: Rows
    validation: Rows
    test: Rows  # Empty in the published split
    left_out: Rows  # Too near to a window of another part

    @property
    def windows(self) -> dict[str, int]:
        """How many there are of each."""
        return {name: len(getattr(self, name)) for name in (*FRACTIONS, "left_out")}


def published_split(count: int) -> Split:
    """Return the split of the published scripts, in their order: seed 42, a shuffle, the first fifth.

    Neighbours are separated, and there is no test part: for comparison with published figures alone.
    """
    first = int(PUBLISHED_FRACTION * count)
    if first < 1:
        raise InputError(f"expected 5 windows or more, so that a fifth is for validation, got {count}")
    indices = list(range(count))
    random.Random(PUBLISHED_SEED).shuffle(indices)
    order, none = np.array(indices, dtype=np.int64), np.empty(0, dtype=np.int64)
    return Split("published", train=order[first:], validation=order[:first], test=none, left_out=none)


def no_split() -> Split:
    """Return the split of windows that are not divided: every part is empty."""
    return Split("none", *np.empty((4, 0), dtype=np.int64))


def blocks_split(
    intervals: Sequence[Interval], *, seed: int = 0, gap: int = GAP, test_contigs: Sequence[str] = ()
) -> Split:
    """Split windows by their positions in the genome: about 70, 15 and 15 % of them.

    The contigs are cut into blocks of 1 Mb, or of a 20th of what the windows span where that is less; blocks
    are shuffled and each is given to the part that lacks most. A window nearer than `gap` to a window of
    another part is left out, of the larger of the two parts. The order of the windows changes nothing.

    Args:
        intervals: [N]; they may overlap.
        seed: of the shuffle.
        gap: bases; with 0, windows of different parts may touch, but not overlap.
        test_contigs: all windows on these contigs are the test part; of the others about 82 % are for
            training and 18 % for validation.

    Raises:
        InputError: if a part would be empty, or there is no window on one of `test_contigs`.
    """
    names, contigs = np.unique([one.contig for one in intervals], return_inverse=True)
    starts, ends = np.array([[one.start, one.end] for one in intervals], dtype=np.int64).T
    spanned = sum(int(ends[contigs == c].max() - starts[contigs == c].min()) for c in range(len(names)))
    positions = np.stack([contigs, starts // max(1, min(BLOCK, spanned // BLOCKS))], axis=1)
    blocks, block, counts = np.unique(positions, axis=0, return_inverse=True, return_counts=True)
    if missing := sorted(set(test_contigs) - set(names.tolist())):
        raise InputError(
            f"`test_contigs`: no window on {', '.join(missing)}; there are windows on {', '.join(names[:20])}"
        )
    held = np.isin(names[blocks[:, 0]], list(test_contigs))
    part_of = np.full(len(blocks), list(FRACTIONS).index("test"))
    part_of[~held] = _assign(counts[~held], seed, parts=2 if test_contigs else 3)
    part = part_of[block.reshape(-1)]  # [N]

    isolated = np.ones(len(part), dtype=np.bool_)
    larger_first = np.argsort(-np.bincount(part, minlength=len(FRACTIONS)), kind="stable")
    for rank, large in enumerate(larger_first):
        smaller = np.isin(part, larger_first[rank + 1 :])
        for contig in range(len(names)):
            own = np.flatnonzero((part == large) & (contigs == contig))
            others = smaller & (contigs == contig)
            isolated[own] = ~_near(starts[own], ends[own], starts[others], ends[others], gap)
    train, validation, test = (np.flatnonzero((part == number) & isolated) for number in range(3))
    if not (len(train) and len(validation) and len(test)):
        parts = f"train {len(train)}, validation {len(validation)}, test {len(test)}"
        windows = counted(len(intervals), "window")
        raise InputError(
            f"too few windows or too small a region for the blocks split: {windows} over "
            f"{spanned:,} bases give {parts} at a `gap` of {gap:,}; take more windows, or the published split"
        )
    return Split("blocks", train, validation, test, np.flatnonzero(~isolated))


def _assign(counts: Rows, seed: int, parts: int) -> Rows:
    """Return the part of each block, of `parts`; of several assignments the one nearest to `FRACTIONS`."""
    fractions = np.array(list(FRACTIONS.values())[:parts])
    goal = fractions / fractions.sum() * counts.sum()
    draws = np.random.Generator(np.random.PCG64(seed))
    best, least = np.zeros(len(counts), dtype=np.int64), np.inf
    for _ in range(ASSIGNMENTS):
        assigned, lacks = np.empty(len(counts), dtype=np.int64), goal.copy()
        for block in np.argsort(draws.random(len(counts)), kind="stable"):
            assigned[block] = lacks.argmax()
            lacks[assigned[block]] -= counts[block]
        # A part without a block is worse than any fractions.
        off = np.abs(lacks).sum() + (len(set(assigned.tolist())) < len(goal)) * counts.sum() * 2
        if off < least:
            best, least = assigned, float(off)
    return best


def _near(starts: Rows, ends: Rows, other_starts: Rows, other_ends: Rows, gap: int) -> npt.NDArray[np.bool_]:
    """Return which windows are nearer than `gap` to one of the others, on the same contig."""
    order = np.argsort(other_starts, kind="stable")
    furthest = np.maximum.accumulate(np.append(-1, other_ends[order]))  # end of those that start before
    before = np.searchsorted(other_starts[order], ends + gap, side="left")  # those that may be near
    near: npt.NDArray[np.bool_] = (before > 0) & (furthest[before] > starts - gap)
    return near
