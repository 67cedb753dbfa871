"""Runs of a genome (unbroken bases, soft-masked stretches), kept on disk: their number costs no memory.

Shapes used below
    R  runs                          L  flags, one per position

One part of a genome (train, val, or both until they are cut) as it streams to disk.

Shapes used below
    L  characters of a block without its newlines        B  bases of a block

The last step of preparing: cut the stream into train and val, give characters their ids, note digests.

Shapes used below
    R  runs in memory at a time
"""

import hashlib
import math
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.files import CHUNK
from dnalm.genome.text import STRIDE, offset_of_base

Int64 = npt.NDArray[np.int64]
ROWS = 1 << 16
"""Runs in memory at a time."""


def runs_of(flags: npt.NDArray[np.bool_], at: int) -> Int64:
    """Return the runs of True in `flags`, [L], as half-open [R, 2]; the first flag has position `at`."""
    edges = np.flatnonzero(flags[1:] != flags[:-1]) + 1
    first = [0] if len(flags) and flags[0] else []
    last = [len(flags)] if len(flags) and flags[-1] else []
    return np.concatenate([first, edges, last]).astype(np.int64).reshape(-1, 2) + at


class Runs:
    """Half-open runs in rising order; those that touch are joined, unless `close` was called between them."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)  # noqa: SIM115
        self._last: Int64 = np.empty((0, 2), dtype=np.int64)

    def add(self, runs: Int64) -> None:
        """Append runs, [R, 2]."""
        if not len(runs):
            return
        if len(self._last) and self._last[0, 1] == runs[0, 0]:
            runs[0, 0] = self._last[0, 0]
        else:
            self.close()
        self._file.write(runs[:-1].tobytes())
        self._last = runs[-1:].copy()

    def close(self) -> None:
        """End the last run: what is added next does not join it."""
        self._file.write(self._last.tobytes())
        self._last = self._last[:0]

    def clear(self) -> None:
        """Forget all runs."""
        self._file.seek(0)
        self._file.truncate()
        self._last = self._last[:0]

    def __iter__(self) -> Iterator[Int64]:
        self.close()
        self._file.seek(0)
        while raw := self._file.read(ROWS * 16):
            yield np.frombuffer(raw, dtype=np.int64).reshape(-1, 2)


def write_rows(path: Path, columns: int, pieces: Iterable[Int64]) -> int:
    """Write an int64 .npy file row by row and return the number of rows, not known before the last.

    Args:
        path: the file.
        columns: C, values in a row.
        pieces: the rows, each [R, C].
    """
    rows = 0
    with path.open("wb") as file:
        file.write(_header(0, columns))
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype="<i8").data)
            rows += len(piece)
        file.seek(0)
        file.write(_header(rows, columns))
    return rows


def _header(rows: int, columns: int) -> bytes:
    """Return the 128 bytes before the values (NumPy, .npy format 1.0), padded for any number of rows."""
    words = f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + words.ljust(117).encode() + b"\n"


SOFT = 4
"""Bit of a code that marks a lower-case base."""
BREAK = 0x80
"""Bit of a code that marks all else; the rest of the code is the character."""


def code_table(soft_masked: bool) -> bytes:
    """Return the code of each byte: base code, plus `SOFT` in lower case; else `BREAK` and the character.

    Args:
        soft_masked: whether lower-case bases are bases.
    """
    table = bytearray(BREAK | min(byte, 0x7F) for byte in range(256))
    for code, base in enumerate(b"ACGT"):
        table[base] = code
        if soft_masked:
            table[base + 32] = SOFT | code
    return bytes(table)


CODES = code_table(True)


class Part:
    """Writes text and bases block by block and notes where runs begin and end.

    Args:
        folder: where runs are kept until they are asked for.
        text: file for the text as it comes, if wanted.
        bases: file for the base codes, if wanted.
        codes: a `code_table`.
    """

    def __init__(
        self, folder: Path, text: BinaryIO | None, bases: BinaryIO | None, codes: bytes = CODES
    ) -> None:
        self._text, self._bases, self._codes = text, bases, codes
        self.text_length = 0
        self.bases = 0
        self.soft_masked = 0
        self.segments = Runs(folder)  # in positions given by the caller
        self.repeats = Runs(folder)  # in base numbers
        self._index = array("q")

    @property
    def index_so_far(self) -> npt.NDArray[np.int64]:
        """Token offsets of base numbers 0, STRIDE, 2 STRIDE, ..."""
        return np.array(self._index, dtype=np.int64)

    def add_header(self, line: bytes) -> None:
        """Append a header line: text without bases."""
        if self._text:
            self._text.write(line)
        self.text_length += len(line)

    def add(self, text: bytes, position: int) -> tuple[int, npt.NDArray[np.uint8]]:
        """Append sequence lines.

        Args:
            text: the lines.
            position: where the first character lies, in the numbering of `segments`; newlines do not count.

        Returns:
            L, and the codes of the characters that are no bases, [L - B].
        """
        codes = np.frombuffer(text.translate(self._codes, b"\n"), dtype=np.uint8)  # [L]
        left_out = codes[:0]
        is_base = None
        bases = codes  # [B]
        if len(codes) and codes.max() >= BREAK:
            is_base = codes < BREAK
            bases, left_out = codes[is_base], codes[~is_base]
            self.segments.add(runs_of(is_base, position))
        elif len(codes):
            self.segments.add(np.array([[position, position + len(codes)]]))
        if len(bases) and bases.max() >= SOFT:
            soft = (bases >> 2).view(np.bool_)  # 4 to 7 become 1
            self.soft_masked += int(np.count_nonzero(soft))
            self.repeats.add(runs_of(soft, self.bases))
        if self._text:
            self._add_index(text, is_base, len(bases))
            self._text.write(text)
        if self._bases:
            self._bases.write((bases & 3).data)
        self.text_length += len(text)
        self.bases += len(bases)
        return len(codes), left_out

    def _add_index(self, text: bytes, is_base: npt.NDArray[np.bool_] | None, count: int) -> None:
        wanted = np.arange(-self.bases % STRIDE, count, STRIDE)  # bases of this block, counted from 0
        if not len(wanted):
            return
        places = wanted if is_base is None else np.flatnonzero(is_base)[wanted]  # newlines not counted
        newlines = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
        before = newlines - np.arange(len(newlines))  # characters before each newline
        places = places + np.searchsorted(before, places, side="right") + self.text_length
        self._index.frombytes(places.astype(np.int64).tobytes())


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
