"""Windows and scores as the binding verbs take them: read, checked against the model, split."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dnalm.data.splits import GAP, K, Split, blocks_split, near_duplicates, no_split, published_split
from dnalm.errors import InputError
from dnalm.files import sha256
from dnalm.formats.binding import BindingSet, parse_name, read_binding
from dnalm.models.binding import BindingShape

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
        if self.gap < 0 or self.split_seed < 0:
            raise InputError(f"gap and split_seed must be at least 0, got {self.gap} and {self.split_seed}")


@dataclass(frozen=True)
class Prepared:
    """A set that was read and split."""

    windows: BindingSet
    split: Split
    about: dict[str, Any]
    """For the run record: files with their paths as given, digests, split."""
    split_about: dict[str, Any]
    """For results: kind, windows of each part, near-duplicates (None: not looked for), digest."""
    unsplit: str = ""
    """Why the set is not split, where it is not."""

    def part(self, name: Part) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Return letters and scores of one part, each [M, L]."""
        rows = getattr(self.split, name)
        return self.windows.letters[rows], self.windows.scores[rows]

    def names(self, name: Part) -> list[str]:
        """Return the names of one part's windows, M."""
        return [self.windows.names[row] for row in getattr(self.split, name)]

    @property
    def summary(self) -> str:
        """Windows of each part, in words."""
        counts = self.split_about["windows"]
        near = self.split_about["near_duplicates"]
        copies = " and ".join(f"{count:,} of {name}" for name, count in near.items())
        return (
            f"{len(self.windows.names):,} windows of {self.windows.letters.shape[1]} bases, split "
            f"{self.split.kind}: "
            + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
            + f"; nearly the same as a window of an earlier part: {copies or 'none'}"
        )


def prepare_set(
    sequences: Path,
    scores: Path,
    config: SplitConfig,
    shape: BindingShape | None = None,
    *,
    whole: bool = False,
) -> Prepared:
    """Read a set, check that the model can take its windows, and split it.

    Args:
        sequences: the table of windows.
        scores: the true score at each base.
        config: how they are split.
        shape: of the model; None where none reads them.
        whole: take a set that cannot be split, or is too short to look for near-copies, as it is.

    Raises:
        InputError: if the files are wrong, the windows are longer than the model's block, or a part is empty.
    """
    given = {"sequences": sequences, "scores": scores}
    windows = read_binding(sequences, scores)
    length = windows.letters.shape[1]
    if shape is not None and shape.longest is not None and length > shape.longest:
        raise InputError(
            f"{sequences}: its windows have {length:,} bases and the model's block {shape.longest:,}; "
            f"label shorter windows (--window {shape.longest}), or pretrain with --block-size {length}"
        )
    unsplit = ""
    try:
        split = split_of(windows, config)
    except ValueError as error:
        if not whole:
            raise
        split, unsplit = no_split(), str(error)
    judged = split.kind != "none" and not (whole and length < K)
    files = {
        what: {"name": path.name, "path": str(path), "sha256": sha256(path)} for what, path in given.items()
    }
    digest = _digest(windows, split)
    return Prepared(
        windows,
        split,
        {"files": files, "digest": digest, "split": asdict(config), "windows": split.windows},
        {
            "kind": split.kind,
            "windows": split.windows,
            "near_duplicates": near_duplicates(windows.letters, split) if judged else None,
            "digest": digest,
        },
        unsplit,
    )


def split_of(windows: BindingSet, config: SplitConfig) -> Split:
    """Return the split that `config` asks for.

    Raises:
        InputError: if a window's name does not say where it lies, which the blocks split needs; or a part
            would be empty.
    """
    if config.split == "published":
        return published_split(len(windows.names))
    try:
        places = [parse_name(name) for name in windows.names]
    except ValueError as error:
        raise InputError(
            f"--split blocks needs to know where each window lies: {error}; or --split published"
        ) from error
    return blocks_split(places, seed=config.split_seed, gap=config.gap)


def _digest(windows: BindingSet, split: Split) -> str:
    """Return a SHA-256 of the windows, their scores and the parts they are in."""
    digest = hashlib.sha256("\n".join(windows.names).encode())
    for array in (windows.letters, windows.scores, split.train, split.validation, split.test):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
