"""The last step of preparing: cut the stream into train and val, give characters their ids, note digests.

Shapes used below
    R  runs in memory at a time
"""

import hashlib
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.files import CHUNK
from dnalm.genome.part import Part
from dnalm.genome.runs import Int64, write_rows
from dnalm.genome.text import STRIDE, offset_of_base

SHORTEST = 301
"""Bases that one window needs: 300, and the one after it, which is the last target."""


class Slice(NamedTuple):
    """What train or val takes of a stream: half-open, in its bases and in its text."""

    part: Part
    low: int
    high: int
    text_low: int
    text_high: int

    def of(self, mode: str) -> tuple[int, int]:
        """Return its first token in the stream, and the one after its last."""
        return (self.text_low, self.text_high) if mode == "full" else (self.low, self.high)


class Contig:
    """A contig: where it lies in the stream of its part."""

    __slots__ = ("name", "part", "length", "low", "high", "text_low", "text_high")

    def __init__(self, name: str, part: Part, low: int, text_low: int) -> None:
        self.name, self.part = name, part
        self.length = 0
        self.low = self.high = low
        self.text_low = self.text_high = text_low

    def in_meta(self, mode: str, slices: Sequence[Slice]) -> dict[str, Any]:
        """Return its entry in meta.json."""
        low, high = (self.text_low, self.text_high) if mode == "full" else (self.low, self.high)
        entry: dict[str, Any] = {"name": self.name, "length": self.length, "bases": self.high - self.low}
        for name, taken in zip(("train", "val"), slices, strict=True):
            first, last = taken.of(mode)
            start, end = max(low, first), min(high, last)
            mine = taken.part is self.part and start < end
            entry[name] = [start - first, end - start] if mine else None
        return entry


def write_segments(path: Path, slices: Sequence[Slice], starts: Int64) -> tuple[list[int], list[int]]:
    """Write the unbroken runs of bases, [S, 5].

    Args:
        path: segments.npy.
        slices: train and val.
        starts: position of each contig's first character in the numbering of `Part.segments`.

    Returns:
        The length of the longest run in train and in val; contig and position of val's first base.
    """
    longest = [0, 0]
    first_of_val: list[int] = []

    def rows(number: int) -> Iterator[Int64]:
        part, low, high, *_ = slices[number]
        before = 0
        for runs in part.segments:  # [R, 2]
            lengths = runs[:, 1] - runs[:, 0]
            offsets = before + np.cumsum(lengths) - lengths
            before += int(lengths.sum())
            first, last = np.maximum(offsets, low), np.minimum(offsets + lengths, high)
            position = runs[:, 0] + first - offsets
            contig = np.searchsorted(starts, position, side="right") - 1
            table = np.stack(
                [np.full_like(first, number), contig, position - starts[contig], last - first, first - low],
                axis=1,
            )[first < last]
            longest[number] = max(longest[number], int(table[:, 3].max(initial=0)))
            if number == 1 and len(table) and not first_of_val:
                first_of_val.extend(table[0, 1:3].tolist())
            yield table

    write_rows(path, 5, (piece for number in (0, 1) for piece in rows(number)))
    return longest, first_of_val


def write_repeats(path: Path, slices: Sequence[Slice]) -> None:
    """Write the soft-masked stretches, [R, 3]."""

    def rows(number: int) -> Iterator[Int64]:
        part, low, high, *_ = slices[number]
        for runs in part.repeats:
            first, last = np.maximum(runs[:, 0], low), np.minimum(runs[:, 1], high)
            yield np.stack([np.full_like(first, number), first - low, last - low], axis=1)[first < last]

    write_rows(path, 3, (piece for number in (0, 1) for piece in rows(number)))


def write_index(path: Path, slices: Sequence[Slice], text: Path, headers: bool) -> None:
    """Write the sparse index of bases in the text, [M, 2]; `text` is the stream, not yet cut."""
    tables = []
    with TextFile(text) as read:
        for number, (part, low, high, text_low, _) in enumerate(slices):
            known = part.index_so_far
            offsets = known[: math.ceil(high / STRIDE)]
            if low:  # val begins elsewhere in the stream, and so do its strides
                where = [offset_of_base(read, known, base, headers) for base in range(low, high, STRIDE)]
                offsets = np.array(where, dtype=np.int64) - text_low
            tables.append(np.stack([np.full_like(offsets, number), offsets], axis=1))
    write_rows(path, 2, tables)


class TextFile:
    """A file of characters, read by offsets without mapping it into memory."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    def __call__(self, start: int, end: int) -> npt.NDArray[np.uint8]:
        """Return the characters of [start, end)."""
        self._file.seek(start)
        return np.frombuffer(self._file.read(end - start), dtype=np.uint8)

    def __enter__(self) -> "TextFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def cut_file(folder: Path, at: int) -> None:
    """Move what follows byte `at` of train.bin to val.bin."""
    with (folder / "train.bin").open("r+b") as train:
        train.seek(at)
        with (folder / "val.bin").open("wb") as val:
            shutil.copyfileobj(train, val, CHUNK)
        train.truncate(at)


def seal(path: Path, table: bytes | None) -> dict[str, Any]:
    """Replace each byte of a file by `table[byte]`, if given, and return its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with path.open("r+b" if table else "rb") as file:
        while data := file.read(CHUNK):
            if table:
                data = data.translate(table)
                file.seek(size)
                file.write(data)
            digest.update(data)
            size += len(data)
    return {"bytes": size, "sha256": digest.hexdigest()}
