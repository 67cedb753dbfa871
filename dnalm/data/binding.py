"""Windows with a score at each base: read and split, augmented, and as batches of tensors.

Shapes: B windows in the batch; L bases (tokens) per window; M windows of a part; N windows of a set; D width
of the states.
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.config import check_minimum, refuse
from dnalm.data.epochs import EpochBatches, Part, Rows
from dnalm.data.similarity import WINDOW_K, near_duplicates
from dnalm.data.splits import GAP, Split, blocks_split, no_split, published_split
from dnalm.data.state_cache import CachedStates
from dnalm.dna import COMPLEMENT
from dnalm.errors import InputError, counted
from dnalm.files import sha256
from dnalm.formats.binding import BindingSet, Letters, Scores, parse_name, read_binding


@dataclass(frozen=True)
class SplitConfig:
    """How the windows are divided."""

    split: Literal["blocks", "published"] = "blocks"
    """blocks: whole stretches of a contig to each part. published: shuffled windows, no test part."""
    gap: int = GAP
    """Bases between windows of different parts of the blocks split, at least."""
    split_seed: int = 0
    """Of the blocks split; keep it, so that a test part stays one."""
    test_contigs: str = ""
    """Contigs whose windows are the test part of the blocks split, separated by commas; the windows of all
    others are for training and validation."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, gap=0, split_seed=0)
        if self.test_contigs and self.split != "blocks":
            wrong.append("test_contigs are of the blocks split: leave them out, or split into blocks")
        refuse(wrong)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, `test_contigs` where there are any: earlier runs did not have them."""
        return {name: value for name, value in asdict(self).items() if name != "test_contigs" or value}


@dataclass(frozen=True)
class SplitSet:
    """A set of windows and its split."""

    windows: BindingSet
    split: Split
    about: dict[str, Any]  # For the run record: files with their paths as given, digests, split
    split_about: dict[str, Any]  # For results: kind, windows of each part, near-duplicates or None, digest
    unsplit: str = ""  # Why the set is not split, where it is not

    def part(self, name: Part | Literal["all"]) -> BindingSet:
        """Return the windows of one part, in its order; `all`: of the set."""
        if name == "all":
            return self.windows
        rows = getattr(self.split, name)
        names = [self.windows.names[row] for row in rows]
        return BindingSet(names, self.windows.letters[rows], self.windows.scores[rows])

    def labelled(self, windows: int, seed: int) -> "SplitSet":
        """Return the set with `windows` of the training part, and as large a fraction of the validation part.

        The test part stays. Fewer windows are among those of a larger number of the same seed.
        """
        fraction, parts = windows / len(self.split.train), {}
        for name in ("train", "validation"):
            rows = getattr(self.split, name)
            order = np.random.default_rng(seed).permutation(len(rows))
            parts[name] = rows[np.sort(order[: round(fraction * len(rows))])]
        return replace(self, split=replace(self.split, **parts))

    @property
    def summary(self) -> str:
        """Windows of each part, in words."""
        parts = [f"{count:,} {name.replace('_', ' ')}" for name, count in self.split.windows.items()]
        near = [f"{count:,} of {name}" for name, count in self.split_about["near_duplicates"].items()]
        copies = f"nearly the same as a window of an earlier part: {' and '.join(near) or 'none'}"
        number, length = self.windows.letters.shape
        count = counted(number, "window")
        return f"{count} of {length} bases, split {self.split.kind}: {', '.join(parts)}; {copies}"


def read_split_set(
    sequences: Path, scores: Path, config: SplitConfig, longest: int | None, allow_unsplit: bool = False
) -> SplitSet:
    """Read a set, check that a model can take its windows, and split it.

    `longest` is the number of bases that the model takes, None for any. `allow_unsplit` accepts a set that
    cannot be split, or with windows too short to look for near-copies.

    Raises:
        InputError: if the files are wrong, the windows are longer than `longest`, or a part is empty.
    """
    windows = read_binding(sequences, scores)
    length = windows.letters.shape[1]
    if longest is not None and length > longest:
        raise InputError(f"{sequences}: its windows have {length:,} bases, more than the model's {longest:,}")
    unsplit, near = "", None
    try:
        split = split_of(windows, config)
    except InputError as error:
        if not allow_unsplit:
            raise
        split, unsplit = no_split(), str(error)
    if not unsplit and (length >= WINDOW_K or not allow_unsplit):
        near = near_duplicates(windows.letters, split)
    files = {
        what: {"name": path.name, "path": str(path), "sha256": sha256(path)}
        for what, path in (("sequences", sequences), ("scores", scores))
    }
    digest = hashlib.sha256("\n".join(windows.names).encode())
    for array in (windows.letters, windows.scores, split.train, split.validation, split.test):
        digest.update(np.ascontiguousarray(array).tobytes())
    counts = {"windows": split.windows, "digest": digest.hexdigest()}
    about = {"files": files, "split": config.as_dict(), **counts}
    return SplitSet(windows, split, about, {"kind": split.kind, "near_duplicates": near, **counts}, unsplit)


def split_of(windows: BindingSet, config: SplitConfig) -> Split:
    """Return the split of a set; InputError if a window's position is not known, or a part would be empty."""
    if config.split == "published":
        return published_split(len(windows.names))
    try:
        intervals = [parse_name(name) for name in windows.names]
    except InputError as error:
        raise InputError(f"{error}; or use `split` published, which needs no positions") from error
    contigs = config.test_contigs.split(",") if config.test_contigs else []
    return blocks_split(intervals, seed=config.split_seed, gap=config.gap, test_contigs=contigs)


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
) -> tuple[Letters, Scores, Rows]:
    """Return a copy of each window, its bases moved left or right by 1 to `max_shift` positions.

    The freed end holds N with a score of 0. Bases whose score is not 0 never leave the window, so that no
    site is cut off; a window with no room on either side gets no copy. The possible shifts are equally
    likely. How a window moves depends on `seed` and on its own letters and scores, not on the others.

    Args:
        letters: [N, L], upper-case ASCII.
        scores: [N, L].
        max_shift: bases, at least 1 and fewer than L, or InputError.
        seed: of the shifts.

    Returns:
        The copies' letters [M, L] and scores [M, L], M <= N, and the window of each, [M], ascending.
    """
    length = letters.shape[1]
    if not 1 <= max_shift < length:
        raise InputError(f"`max_shift` must be from 1 to below the windows' {length} bases, got {max_shift}")
    scored = scores != 0  # [N, L]
    left, right = (  # bases that may leave on either side, [N]
        np.where(scored.any(axis=1), side.argmax(axis=1), length).clip(max=max_shift)
        for side in (scored, scored[:, ::-1])
    )
    rows = np.flatnonzero(left + right > 0)
    random = _content_hashes(letters[rows], scores[rows], seed) % (left + right)[rows].astype(np.uint64)
    shift = random.astype(np.int64) - left[rows]  # [M], to the right: from -left to -1, and from 0 on ...
    shift += shift >= 0  # ... one more, since 0 is no shift
    source = np.arange(length) - shift[:, None]  # [M, L]
    inside = (source >= 0) & (source < length)
    at = rows[:, None], source.clip(0, length - 1)
    moved = np.where(inside, letters[at], np.uint8(ord("N")))
    return moved, np.where(inside, scores[at], scores.dtype.type(0)), rows


def reverse_complements(letters: Letters, scores: Scores) -> tuple[Letters, Scores]:
    """Return the other strand of each window, [N, L] in IUPAC letters, with the scores of the same bases."""
    return np.ascontiguousarray(COMPLEMENT[letters][:, ::-1]), np.ascontiguousarray(scores[:, ::-1])


def _content_hashes(letters: Letters, scores: Scores, seed: int) -> npt.NDArray[np.uint64]:
    """Return a random number for each window, [N], that depends on its content and the seed alone."""
    random = np.random.Generator(np.random.PCG64(seed))
    keys = random.integers(0, 1 << 64, size=2 * letters.shape[1] + 1, dtype=np.uint64)
    bits = scores.astype(np.float32).view(np.uint32)
    content = np.concatenate([letters, bits], axis=1, dtype=np.uint64)  # [N, 2 L]
    x = (content * (keys[:-1] | np.uint64(1))).sum(axis=1) + keys[-1]
    x = (x ^ x >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)  # odd: spreads low bits over the high ones
    mixed: npt.NDArray[np.uint64] = x ^ x >> np.uint64(32)
    return mixed


class BindingBatch(NamedTuple):
    """One batch of windows."""

    tokens: Tensor  # uint8, [B, L]
    scores: Tensor  # float, [B, L]: the score to predict at each base
    states: Tensor | None  # [B, L, D], or [B, L, 2 D] with both strands: those cached, if any


@dataclass(frozen=True)
class BindingWindows:
    """Windows of one part of a set: training, validation or test."""

    tokens: Tensor  # uint8, [M, L]
    scores: Tensor  # float32, [M, L]
    states: tuple[CachedStates, ...] = ()
    """Of a frozen encoder, of M windows each; of the windows, and with both strands of their reverse
    complements. A batch has the latter behind the former, reversed so that each is at its base."""

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Rows) -> BindingBatch:
        """Return the windows `rows`, [B], in their order."""
        at, states = torch.from_numpy(rows), None
        if self.states:
            states, *other = (cached.take(rows)[0] for cached in self.states)
            if other:
                states = torch.cat([states, other[0].flip(1)], dim=-1)
        return BindingBatch(self.tokens[at], self.scores[at], states)


class BindingBatches(EpochBatches):
    """Batches of the training windows; see `EpochBatches`."""

    def __init__(self, windows: BindingWindows, batch_size: int, seed: int) -> None:
        super().__init__(len(windows), batch_size, seed)
        self.windows = windows

    def batch(self, step: int, rank: int = 0, world: int = 1) -> BindingBatch:
        """Return the rows rank, rank + world, ... of batch `step`."""
        return self.windows.take(self.rows(step)[rank::world])
