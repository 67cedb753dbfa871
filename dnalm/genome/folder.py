"""What the meta.json of a prepared folder must hold, and what it says in words.

A prepared genome on disk: opening, checking, and reading its tokens and bases.

Shapes used below
    S  unbroken runs of A/C/G/T in a part        R  soft-masked stretches in a part
    N  tokens of a part                          L  bases asked for

A part is "train" or "val". Base numbers count the A/C/G/T bases of a part from 0 in file order; they are
the same for both vocabularies. Everything is 0-based and half-open.
"""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dnalm import files
from dnalm.dna import NOT_A_BASE
from dnalm.errors import InputError
from dnalm.genome.text import base_at_offset, base_mask, offset_of_base
from dnalm.tokens.characters import CharacterTokenizer

FORMAT = "dnalm-genome"
FORMAT_VERSION = 1
FILES = {
    "full": ("train.bin", "val.bin", "segments.npy", "repeats.npy", "base_index.npy"),
    "vocab4": ("train.bin", "val.bin", "segments.npy", "repeats.npy"),
}
"""The files of a folder beside meta.json, by mode."""
SHAPE = {
    "dnalm_version": str,
    "characters": str,
    "vocab_size": int,
    "published": bool,
    "sources": [{"name": str, "bytes": int, "sha256": str}],
    "contigs": [{"name": str, "length": int, "bases": int}],
    "counts": {
        **dict.fromkeys(("bases", "soft_masked", "n", "train_bases", "val_bases"), int),
        **dict.fromkeys(("train_tokens", "val_tokens"), int),
        "other_iupac": dict,
    },
}
"""Type of each value; a dictionary lists keys that must be there, a list has items of its one shape."""
SPLITS = {
    "fraction": {"val_fraction": float, "contig": str, "position": int},
    "contigs": {"val_contigs": [str]},
}
"""Shape of `split`, by its kind."""


def problems(meta: dict[str, Any]) -> list[str]:
    """Return what is missing from a meta.json of this version or is of another type, as dotted names."""
    mode, split = meta.get("mode"), meta.get("split")
    if not isinstance(mode, str) or mode not in FILES:
        return ["mode"]
    kind = split.get("kind") if isinstance(split, dict) else None
    if not isinstance(kind, str) or kind not in SPLITS:
        return ["split"]
    files = {name: {"bytes": int, "sha256": str} for name in FILES[mode]}
    found = list(_problems(meta, SHAPE | {"split": SPLITS[kind], "files": files}, ""))
    if not found:
        letters = meta["characters"]
        if not letters.isascii() or not len(letters) == len(set(letters)) == meta["vocab_size"] > 0:
            found.append("characters")
    return found


def same_bases(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two prepared folders are of the same genome, split at the same place."""
    return _identity(one) == _identity(other)


def origin(meta: dict[str, Any]) -> str:
    """Return what a prepared folder was made from, in words, digests included."""
    sources = ", ".join(f"{source['name']} (SHA-256 {source['sha256'][:8]}...)" for source in meta["sources"])
    return f"{sources} with {held_out(meta)}"


def held_out(meta: dict[str, Any]) -> str:
    """Return what is kept for validation, in words."""
    split = meta["split"]
    if split["kind"] == "contigs":
        return f"contigs {', '.join(split['val_contigs'])} for validation"
    what = "tokens (the published split)" if meta["published"] else "bases"
    return f"the last {100 * split['val_fraction']:g}% of the {what} for validation"


def _identity(meta: dict[str, Any]) -> list[Any]:
    split = meta["split"]
    # The published text is split by token, so that full and vocab4 are never cut at the same base.
    where = split.get("val_fraction") if meta["published"] else split
    return [[source["sha256"] for source in meta["sources"]], meta["published"], where]


def _problems(value: Any, shape: Any, name: str) -> Iterator[str]:
    if not _fits(value, type(shape) if isinstance(shape, dict | list) else shape):
        yield name
    elif isinstance(shape, dict):
        for key, inner in shape.items():
            yield from _problems(value.get(key), inner, f"{name}.{key}".lstrip("."))
    elif isinstance(shape, list):
        for number, item in enumerate(value):
            yield from _problems(item, shape[0], f"{name}[{number}]")


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):  # which Python counts as a number
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


PARTS = ("train", "val")
Part = Literal["train", "val"]
PIECE = 1 << 24
"""Bases yielded at a time."""


class PreparedGenome:
    """A folder written by `dnalm prepare`: `OUT/full` or `OUT/vocab4`.

    Opening checks the version and the size of every file; `verify` reads them whole. Pickling sends the
    folder's path and not the genome: files are memory-mapped on first use in each process.

    Args:
        folder: the folder.

    Raises:
        InputError: if it is no such folder, is of another version, or is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.meta = read_meta(self.folder)
        for name in FILES[self.mode]:
            path = self.folder / name
            size = path.stat().st_size if path.is_file() else None
            if size is None:
                raise InputError(
                    f"{self.folder}: {name} is missing; run dnalm prepare again with --overwrite"
                )
            if size != self.meta["files"][name]["bytes"]:
                raise InputError(
                    f"{path}: damaged: expected {self.meta['files'][name]['bytes']:,} bytes, got {size:,}; "
                    "run dnalm prepare again with --overwrite"
                )

    def __getstate__(self) -> dict[str, Any]:
        # A memory map pickles as its content: each worker would be sent the whole genome.
        return {"folder": self.folder, "meta": self.meta}

    @property
    def mode(self) -> str:
        """Either "full" or "vocab4"."""
        return str(self.meta["mode"])

    @cached_property
    def tokenizer(self) -> CharacterTokenizer:
        """The tokenizer of this folder's ids."""
        return CharacterTokenizer(self.meta["characters"])

    @cached_property
    def digest(self) -> str:
        """One SHA-256 over those of all files: two folders with the same digest hold the same genome."""
        lines = "".join(f"{name} {self.meta['files'][name]['sha256']}\n" for name in FILES[self.mode])
        return hashlib.sha256((self.meta["characters"] + lines).encode()).hexdigest()

    def verify(self) -> None:
        """Read every file and compare its SHA-256.

        Raises:
            InputError: if one differs.
        """
        for name in FILES[self.mode]:
            if files.sha256(self.folder / name) != self.meta["files"][name]["sha256"]:
                raise InputError(
                    f"{self.folder / name}: damaged or changed: its SHA-256 is not the one in meta.json; "
                    "run dnalm prepare again with --overwrite"
                )

    def tokens(self, part: Part) -> npt.NDArray[np.uint8]:
        """Return the token ids of a part, uint8 [N], memory-mapped."""
        return self._train if _number(part) == 0 else self._val

    def segments(self, part: Part) -> npt.NDArray[np.int64]:
        """Return the unbroken runs of bases of a part, [S, 4]: contig, start in it, length, base number.

        No window crosses the end of one. `meta["contigs"][contig]["name"]` is the contig's name.
        """
        return self._rows(self._segments, part)

    def repeats(self, part: Part) -> npt.NDArray[np.int64]:
        """Return the soft-masked stretches of a part, [R, 2]: base numbers [start, end)."""
        return self._rows(self._repeats, part)

    def text_span(self, part: Part, start: int, end: int) -> tuple[int, int]:
        """Return the tokens [first, last) of a part that hold its bases [start, end).

        In full, newlines and all else between those bases are inside the span; in vocab4 it is (start, end).

        Raises:
            InputError: if the part has no such bases.
        """
        bases = int(self.meta["counts"][f"{part}_bases"])
        if not 0 <= start <= end <= bases:
            raise InputError(f"{self.folder}: bases {start}-{end} asked for, {part} has {bases}")
        if self.mode == "vocab4" or start == end == 0:
            return start, end
        if start == end:
            last = self._offset(part, end - 1) + 1
            return last, last
        first = self._offset(part, start)
        return first, first + 1 if end == start + 1 else self._offset(part, end - 1) + 1

    def bases_before(self, part: Part, token: int) -> int:
        """Return how many bases of a part come before the token at an offset; the inverse of `text_span`."""
        if self.mode == "vocab4":
            return token
        return base_at_offset(self._reader(part), self._rows(self._index, part)[:, 0], token, self._headers)

    def bases(self, part: Part, start: int, end: int) -> npt.NDArray[np.uint8]:
        """Return the base codes (A 0, C 1, G 2, T 3) of the bases [start, end) of a part, uint8 [L].

        Raises:
            InputError: if the part has no such bases.
        """
        first, last = self.text_span(part, start, end)
        tokens = self.tokens(part)[first:last]
        if self.mode == "vocab4":
            return np.array(tokens)
        codes = self.tokenizer.base_of_token[tokens]
        if self._headers and (ids := self.tokenizer.ids[ord(">")]) >= 0 and (tokens == ids).any():
            codes = np.where(base_mask(self._characters[tokens], True), codes, NOT_A_BASE)
        bases: npt.NDArray[np.uint8] = codes[codes != NOT_A_BASE]
        return bases

    def bases_of(self, part: Part, piece: int = PIECE) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the base codes of each segment of a part in turn, at most `piece` bases at a time."""
        for _, _, length, offset in self.segments(part):
            for start in range(int(offset), int(offset + length), piece):
                yield self.bases(part, start, min(start + piece, int(offset + length)))

    @property
    def _headers(self) -> bool:
        # The published text counts the letters of its headers as bases.
        return not self.meta["published"]

    @cached_property
    def _characters(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.meta["characters"].encode("ascii"), dtype=np.uint8)

    @cached_property
    def _train(self) -> npt.NDArray[np.uint8]:
        return np.memmap(self.folder / "train.bin", dtype=np.uint8, mode="r")

    @cached_property
    def _val(self) -> npt.NDArray[np.uint8]:
        return np.memmap(self.folder / "val.bin", dtype=np.uint8, mode="r")

    @cached_property
    def _segments(self) -> npt.NDArray[np.int64]:
        return self._load("segments.npy", 5)

    @cached_property
    def _repeats(self) -> npt.NDArray[np.int64]:
        return self._load("repeats.npy", 3)

    @cached_property
    def _index(self) -> npt.NDArray[np.int64]:
        return self._load("base_index.npy", 2)

    def _load(self, name: str, columns: int) -> npt.NDArray[np.int64]:
        try:
            rows: npt.NDArray[np.int64] = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError):
            rows = np.empty(0, dtype=np.int64)
        if rows.ndim != 2 or rows.shape[1] != columns or rows.dtype != np.int64:
            raise InputError(f"{self.folder / name}: expected int64 [rows, {columns}]: the file is damaged")
        return rows

    def _rows(self, rows: npt.NDArray[np.int64], part: Part) -> npt.NDArray[np.int64]:
        """Return the rows of a part, less the column that says so; train's come before val's."""
        first, last = np.searchsorted(rows[:, 0], [_number(part), _number(part) + 1])
        return rows[first:last, 1:]

    def _reader(self, part: Part) -> Any:
        tokens = self.tokens(part)
        return lambda start, end: self._characters[tokens[start:end]]

    def _offset(self, part: Part, base: int) -> int:
        return offset_of_base(self._reader(part), self._rows(self._index, part)[:, 0], base, self._headers)


def read_meta(folder: Path) -> dict[str, Any]:
    """Return the meta.json of a prepared folder, checked.

    Raises:
        InputError: if the folder is none, is of another version, or its meta.json is damaged.
    """
    path = folder / "meta.json"
    if not path.is_file():
        inside = [str(folder / mode) for mode in FILES if (folder / mode / "meta.json").is_file()]
        hint = f"did you mean {' or '.join(inside)}?" if inside else "make one with dnalm prepare"
        raise InputError(
            f"{folder}: expected a folder written by dnalm prepare, found no meta.json in it; {hint}"
        )
    meta = files.read_json(path)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(
            f"{folder}: expected a folder written by dnalm prepare, but its meta.json is not dnalm's"
        )
    if meta.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{folder}: prepared by another version of dnalm (format {meta.get('format_version')}, "
            f"this one reads {FORMAT_VERSION}); run dnalm prepare again with --overwrite"
        )
    wrong = problems(meta)
    if wrong:
        shown = ", ".join(wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        raise InputError(
            f"{path}: damaged: no {shown}, or not of its type; run dnalm prepare again with --overwrite"
        )
    return meta


def is_prepared(folder: Path) -> bool:
    """Return whether a folder was written by dnalm prepare, of any version and perhaps damaged since."""
    try:
        meta = files.read_json(folder / "meta.json") if (folder / "meta.json").is_file() else None
    except ValueError:
        return False
    return isinstance(meta, dict) and meta.get("format") == FORMAT


def _number(part: str) -> int:
    if part not in PARTS:
        raise InputError(f"part must be train or val, got {part!r}")
    return PARTS.index(part)
