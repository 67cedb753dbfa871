"""Windows with a score at each base: read and split, augmented, and as batches of tensors.

Shapes: B windows in the batch; L bases (tokens) per window; M windows of a part; N windows of a set; D width
of the states.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.config import check_minimum, refuse
from dnalm.data.similarity import WINDOW_K, near_duplicates
from dnalm.data.splits import GAP, Split, blocks_split, no_split, published_split
from dnalm.data.state_cache import CachedStates
from dnalm.dna import COMPLEMENT
from dnalm.errors import InputError
from dnalm.files import sha256
from dnalm.formats.binding import BindingSet, parse_name, read_binding

Letters = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class SplitConfig:
    """How the windows are divided."""

    split: Literal["blocks", "published"] = "blocks"
    """blocks: whole stretches of a contig to each part. published: shuffled windows, no test part."""
    gap: int = GAP
    """Bases between windows of different parts of the blocks split, at least."""
    split_seed: int = 0
    """Of the blocks split; keep it, so that a test part stays one."""

    def __post_init__(self) -> None:
        refuse(check_minimum(self, gap=0, split_seed=0))


@dataclass(frozen=True)
class SplitSet:
    """A set of windows and its split."""

    windows: BindingSet
    split: Split
    about: dict[str, Any]
    """For the run record: files with their paths as given, digests, split."""
    split_about: dict[str, Any]
    """For results: kind, windows of each part, near-duplicates (None: not counted), digest."""
    unsplit: str = ""
    """Why the set is not split, where it is not."""

    def part(self, name: Part | Literal["all"]) -> BindingSet:
        """Return the windows of one part, in its order; `all`: of the set."""
        if name == "all":
            return self.windows
        rows = getattr(self.split, name)
        names = [self.windows.names[row] for row in rows]
        return BindingSet(names, self.windows.letters[rows], self.windows.scores[rows])

    @property
    def summary(self) -> str:
        """Windows of each part, in words."""
        near = self.split_about["near_duplicates"]
        return (
            f"{len(self.windows.names):,} windows of {self.windows.letters.shape[1]} bases, split "
            f"{self.split.kind}: "
            + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.split.windows.items())
            + "; nearly the same as a window of an earlier part: "
            + (" and ".join(f"{count:,} of {name}" for name, count in near.items()) or "none")
        )


def read_split_set(
    sequences: Path,
    scores: Path,
    config: SplitConfig,
    longest: int | None = None,
    *,
    allow_unsplit: bool = False,
) -> SplitSet:
    """Read a set, check that a model can take its windows, and split it.

    Args:
        sequences: the table of windows.
        scores: the true score at each base.
        config: how they are split.
        longest: bases that the model takes; None for any number.
        allow_unsplit: accept a set that cannot be split, or whose windows are too short to look for near-
            copies.

    Raises:
        InputError: if the files are wrong, the windows are longer than `longest`, or a part is empty.
    """
    windows = read_binding(sequences, scores)
    length = windows.letters.shape[1]
    if longest is not None and length > longest:
        raise InputError(
            f"{sequences}: its windows have {length:,} bases and the model's block {longest:,}; "
            f"label shorter ones (`window`), or pretrain with a `block_size` of {length}"
        )
    unsplit = ""
    try:
        split = split_of(windows, config)
    except InputError as error:
        if not allow_unsplit:
            raise
        split, unsplit = no_split(), str(error)
    searched = split.kind != "none" and not (allow_unsplit and length < WINDOW_K)
    files = {
        what: {"name": path.name, "path": str(path), "sha256": sha256(path)}
        for what, path in (("sequences", sequences), ("scores", scores))
    }
    digest = hashlib.sha256("\n".join(windows.names).encode())
    for array in (windows.letters, windows.scores, split.train, split.validation, split.test):
        digest.update(np.ascontiguousarray(array).tobytes())
    counts = {"windows": split.windows, "digest": digest.hexdigest()}
    near = near_duplicates(windows.letters, split) if searched else None
    about = {"files": files, "split": asdict(config), **counts}
    return SplitSet(windows, split, about, {"kind": split.kind, "near_duplicates": near, **counts}, unsplit)


def split_of(windows: BindingSet, config: SplitConfig) -> Split:
    """Return the split of a set.

    Raises:
        InputError: if the blocks split is wanted and a window's name does not give its position, or a part
            would be empty.
    """
    if config.split == "published":
        return published_split(len(windows.names))
    try:
        intervals = [parse_name(name) for name in windows.names]
    except InputError as error:
        raise InputError(
            f"the blocks split needs the position of each window: {error}; or use `split` published"
        ) from error
    return blocks_split(intervals, seed=config.split_seed, gap=config.gap)


@dataclass(frozen=True)
class AugmentConfig:
    """Copies of the training windows that are trained on beside them."""

    max_shift: int = 10
    """Bases by which each window's copy is shifted at most, never cutting a site off; 0 for no copies."""
    reverse_complement: bool = False
    """Also train on the reverse complement of every window."""

    def __post_init__(self) -> None:
        refuse(check_minimum(self, max_shift=0))

    def augmented(self, letters: Letters, scores: Scores, seed: int) -> tuple[Letters, Scores]:
        """Return the windows [M, L] and their scores, followed by those of the copies."""
        every = [(letters, scores)]
        if self.max_shift:
            every.append(shifted_copies(letters, scores, max_shift=self.max_shift, seed=seed)[:2])
        if self.reverse_complement:
            every += [reverse_complements(*each) for each in list(every)]
        letters, scores = (np.concatenate(column) for column in zip(*every, strict=True))
        return letters, scores


def shifted_copies(
    letters: Letters, scores: Scores, *, max_shift: int, seed: int
) -> tuple[Letters, Scores, Indices]:
    """Return a copy of each window, its bases moved left or right by 1 to `max_shift` positions.

    The freed end holds N with a score of 0. Bases whose score is not 0 never leave the window, so that no
    site is cut off; a window with no room on either side gets no copy. The possible shifts are equally
    likely. How a window moves depends on `seed` and on its own letters and scores, not on the others.

    Args:
        letters: [N, L], upper-case ASCII.
        scores: [N, L].
        max_shift: bases, at least 1 and fewer than L.
        seed: another seed, other shifts.

    Returns:
        The copies' letters [M, L] and scores [M, L], M <= N, and the window of each, [M], ascending.

    Raises:
        InputError: if `max_shift` is out of range.
    """
    assert letters.shape == scores.shape
    length = letters.shape[1]
    if not 1 <= max_shift < length:
        raise InputError(
            f"`max_shift` must be at least 1 and less than the windows' {length} bases, got {max_shift}"
        )
    scored = scores != 0  # [N, L]
    some = scored.any(axis=1)
    left = np.where(some, scored.argmax(axis=1), length).clip(max=max_shift)  # bases that may leave there
    right = np.where(some, scored[:, ::-1].argmax(axis=1), length).clip(max=max_shift)
    rows = np.flatnonzero(left + right > 0)
    left, right = left[rows], right[rows]
    random = _content_hashes(letters[rows], scores[rows], seed) % (left + right).astype(np.uint64)
    shift = random.astype(np.int64) - left  # [M], to the right: from -left to -1, and from 0 on ...
    shift += shift >= 0  # ... one more, since 0 is no shift
    source = np.arange(length) - shift[:, None]  # [M, L]
    inside = (source >= 0) & (source < length)
    at = rows[:, None], source.clip(0, length - 1)
    moved = np.where(inside, letters[at], np.uint8(ord("N")))
    return moved, np.where(inside, scores[at], scores.dtype.type(0)), rows


def reverse_complements(letters: Letters, scores: Scores) -> tuple[Letters, Scores]:
    """Return the other strand of each window, read along it, with the scores of the same bases.

    Letters are upper-case IUPAC ones in ASCII: R becomes Y, N stays N. All arrays are [N, L].
    """
    assert letters.shape == scores.shape
    return np.ascontiguousarray(COMPLEMENT[letters][:, ::-1]), np.ascontiguousarray(scores[:, ::-1])


def _content_hashes(letters: Letters, scores: Scores, seed: int) -> npt.NDArray[np.uint64]:
    """Return a random number for each window, [N], that depends on its content and the seed alone."""
    keys = np.random.Generator(np.random.PCG64(seed)).integers(
        0, 1 << 64, size=2 * letters.shape[1] + 1, dtype=np.uint64
    )
    bits = scores.astype(np.float32).view(np.uint32)
    content = np.concatenate([letters.astype(np.uint64), bits.astype(np.uint64)], axis=1)  # [N, 2 L]
    x = (content * (keys[:-1] | np.uint64(1))).sum(axis=1) + keys[-1]
    x = (x ^ x >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)  # odd: spreads low bits over the high ones
    mixed: npt.NDArray[np.uint64] = x ^ x >> np.uint64(32)
    return mixed


class BindingBatch(NamedTuple):
    """One batch of windows."""

    tokens: Tensor  # uint8, [B, L]
    scores: Tensor  # float, [B, L]: the score to predict at each base
    states: Tensor | None
    """[B, L, D], or [B, L, 2 D] with both strands: cached states of a frozen encoder, if there are any."""


@dataclass(frozen=True)
class BindingWindows:
    """Windows of one part of a set: training, validation or test."""

    tokens: Tensor
    """uint8, [M, L]."""
    scores: Tensor
    """float32, [M, L]."""
    states: tuple[CachedStates, ...] = ()
    """Cached states of a frozen encoder, of M windows each; of the windows, and with both strands of their
    reverse complements. A batch has the latter behind the former, reversed so that each is at its base."""

    def __post_init__(self) -> None:
        assert self.tokens.shape == self.scores.shape
        assert all(len(cached) == len(self.tokens) for cached in self.states)

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Indices) -> BindingBatch:
        """Return the windows `rows`, [B], in their order."""
        at, states = torch.from_numpy(rows), None
        if self.states:
            states, *other = (cached.take(rows)[0] for cached in self.states)
            if other:
                states = torch.cat([states, other[0].flip(1)], dim=-1)
        return BindingBatch(self.tokens[at], self.scores[at], states)


class BindingBatches:
    """Batches of the training windows: every window once an epoch, in an order that (seed, epoch) decides.

    Args:
        windows: the training windows.
        batch_size: B of a full batch, over all processes; the last batch of an epoch may be smaller.
        seed: of the order.
    """

    def __init__(self, windows: BindingWindows, batch_size: int, seed: int) -> None:
        self.windows, self.batch_size, self.seed = windows, batch_size, seed
        self._order: tuple[int, Indices] | None = None  # of the last epoch

    @property
    def steps_per_epoch(self) -> int:
        """Batches that hold every window once."""
        return -(-len(self.windows) // self.batch_size)

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch: an epoch's last."""
        return len(self.windows) - (self.steps_per_epoch - 1) * self.batch_size

    def rows(self, step: int) -> Indices:
        """Return which windows are in batch `step`, [B]."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            self._order = (epoch, random.permutation(len(self.windows)))
        return self._order[1][number * self.batch_size : (number + 1) * self.batch_size]

    def batch(self, step: int, rank: int = 0, world: int = 1) -> BindingBatch:
        """Return the rows rank, rank + world, ... of batch `step`."""
        return self.windows.take(self.rows(step)[rank::world])
