"""A prepared genome on disk: opening, checking, and reading its tokens and bases.

A part is "train" or "val". Base numbers count the A/C/G/T bases of a part from 0 in file order; they are
the same for both vocabularies. In full, a token is a character of the text, so that its offset is a byte's.
Everything is 0-based and half-open.

Shapes used below
    S  unbroken runs of A/C/G/T in a part        R  soft-masked stretches in a part
    N  tokens of a part                          L  bases that are read
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dnalm import files
from dnalm.dna import BASE_CODES, NOT_A_BASE
from dnalm.errors import InputError
from dnalm.tokens.characters import CharacterTokenizer

FORMAT = "dnalm-genome"
FORMAT_VERSION = 1
FILES = {
    "full": ("train.bin", "val.bin", "segments.npy", "repeats.npy", "base_index.npy"),
    "vocab4": ("train.bin", "val.bin", "segments.npy", "repeats.npy"),
}
"""The files of a folder beside meta.json, by mode."""
COLUMNS = {"segments.npy": 5, "repeats.npy": 3, "base_index.npy": 2}
COUNTS = ("bases", "soft_masked", "n", "train_bases", "val_bases", "train_tokens", "val_tokens")
SHAPE = {
    "dnalm_version": str,
    "characters": str,
    "vocab_size": int,
    "published": bool,
    "sources": [{"name": str, "bytes": int, "sha256": str}],
    "contigs": [{"name": str, "length": int, "bases": int}],
    "counts": {**dict.fromkeys(COUNTS, int), "other_iupac": dict},
}
"""Type of each value of meta.json; a dictionary has required keys, a list has items of one shape."""
SPLITS = {
    "fraction": {"val_fraction": float, "contig": str, "position": int},
    "contigs": {"val_contigs": [str]},
}
"""Shape of `split`, by its kind."""
GENOMES = {
    "genomes": [{"name": str, "train_bases": int, "val_bases": int, "left_out_bases": int}],
    "contigs": [{"name": str, "length": int, "bases": int, "genome": int, "left_out_bases": int}],
}
"""Shape of a meta.json with named genomes; `genome` is the number of a contig's."""
Part = Literal["train", "val"]
PARTS: tuple[Part, ...] = ("train", "val")
PIECE = 1 << 24  # bases yielded at a time
STRIDE = 65_536  # bases between two entries of the index
TEXT_PIECE = 1 << 16  # characters searched in one step: more than any header
AGAIN = "run dnalm prepare again with --overwrite"

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
BYTES: Bytes = np.arange(256, dtype=np.uint8)  # the characters of tokens that are bytes of a text


class PreparedGenome:
    """A folder written by `dnalm prepare`: `OUT/full` or `OUT/vocab4`.

    Opening checks the version and the size of every file; `verify` reads them in full. Pickling sends the
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
            path, expected = self.folder / name, self.meta["files"][name]["bytes"]
            size = path.stat().st_size if path.is_file() else 0
            if size != expected:
                raise InputError(f"{path}: damaged: expected {expected:,} bytes, got {size:,}; {AGAIN}")

    def __getstate__(self) -> dict[str, Any]:
        # A memory map pickles as its content: each worker would be sent the full genome.
        return {"folder": self.folder, "meta": self.meta}

    @property
    def mode(self) -> str:
        """Either full or vocab4."""
        return str(self.meta["mode"])

    @cached_property
    def tokenizer(self) -> CharacterTokenizer:
        """The tokenizer of this folder's ids."""
        return CharacterTokenizer(self.meta["characters"])

    @cached_property
    def digest(self) -> str:
        """One SHA-256 over those of all files: two folders with the same digest hold the same genome."""
        lines = "".join(f"{name} {self.meta['files'][name]['sha256']}\n" for name in FILES[self.mode])
        names = "".join(f"genome {name}\n" for name in self.genomes) if "genomes" in self.meta else ""
        return hashlib.sha256((self.meta["characters"] + lines + names).encode()).hexdigest()

    @property
    def genomes(self) -> list[str]:
        """Names of the genomes, in the order of their numbers; one without names is called genome."""
        return [genome["name"] for genome in self.meta.get("genomes", [{"name": "genome"}])]

    def genome_numbers(self, part: Part, tokens: npt.ArrayLike) -> Int64:
        """Return the number of the genome of each token of a part, by their offsets, of any shape.

        In vocab4 an offset is a base number. In full, a contig's tokens begin with its header.
        """
        _number(part)
        contigs = [contig for contig in self.meta["contigs"] if contig[part]]
        starts = [contig[part][0] for contig in contigs]
        numbers = np.array([contig.get("genome", 0) for contig in contigs], dtype=np.int64)
        return numbers[np.searchsorted(starts, tokens, side="right") - 1]

    def verify(self) -> None:
        """Read every file and compare its SHA-256."""
        for name in FILES[self.mode]:
            path = self.folder / name
            if files.sha256(path) != self.meta["files"][name]["sha256"]:
                raise InputError(f"{path}: damaged: its SHA-256 is not the one in meta.json; {AGAIN}")

    def tokens(self, part: Part) -> Bytes:
        """Return the token ids of a part, uint8 [N], memory-mapped."""
        name = f"{PARTS[_number(part)]}.bin"
        if name not in self._mapped:
            self._mapped[name] = np.memmap(self.folder / name, dtype=np.uint8, mode="r")
        return self._mapped[name]

    def segments(self, part: Part) -> Int64:
        """Return the unbroken runs of bases of a part, [S, 4]: contig, start in it, length, base number.

        No window crosses the end of one. `meta["contigs"][contig]["name"]` is the contig's name.
        """
        return self._rows("segments.npy", part)

    def repeats(self, part: Part) -> Int64:
        """Return the soft-masked stretches of a part, [R, 2]: base numbers [start, end)."""
        return self._rows("repeats.npy", part)

    def text_span(self, part: Part, start: int, end: int) -> tuple[int, int]:
        """Return the tokens [first, last) of a part that hold its bases [start, end).

        In full, newlines and all else between those bases are inside the span; in vocab4 it is (start, end).
        """
        bases = int(self.meta["counts"][f"{part}_bases"])
        if not 0 <= start <= end <= bases:
            raise InputError(f"{self.folder}: expected bases within {part}'s {bases}, got {start} to {end}")
        if self.mode == "vocab4" or end == 0:
            return start, end
        last = self._offset(part, end - 1) + 1
        return (last if start == end else self._offset(part, start)), last

    def bases(self, part: Part, start: int, end: int) -> Bytes:
        """Return the base codes (A 0, C 1, G 2, T 3) of the bases [start, end) of a part, uint8 [L]."""
        first, last = self.text_span(part, start, end)
        tokens = self.tokens(part)[first:last]
        if self.mode == "vocab4":
            return np.array(tokens)
        text = self._characters[tokens]
        codes: Bytes = BASE_CODES[text][base_mask(text, headers=not self.meta["published"])]
        return codes

    def bases_of(self, part: Part, piece: int = PIECE) -> Iterator[Bytes]:
        """Yield the base codes of each segment of a part in turn, at most `piece` bases at a time."""
        for _, _, length, offset in self.segments(part):
            for start in range(int(offset), int(offset + length), piece):
                yield self.bases(part, start, min(start + piece, int(offset + length)))

    @cached_property
    def _mapped(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    @cached_property
    def _characters(self) -> Bytes:
        return np.frombuffer(self.meta["characters"].encode("ascii"), dtype=np.uint8)

    def _rows(self, name: str, part: Part) -> Int64:
        """Return the rows of a part in a table, without the column of the part; train's come before val's."""
        if name not in self._mapped:
            path = self.folder / name
            try:
                table = np.load(path, mmap_mode="r", allow_pickle=False)
            except (ValueError, EOFError):
                table = np.empty(0)
            if table.shape[1:] != (COLUMNS[name],) or table.dtype != np.int64:
                raise InputError(f"{path}: damaged: expected int64 [rows, {COLUMNS[name]}]; {AGAIN}")
            self._mapped[name] = table
        rows: Int64 = self._mapped[name]
        first, last = np.searchsorted(rows[:, 0], [_number(part), _number(part) + 1])
        return rows[first:last, 1:]

    def _offset(self, part: Part, base: int) -> int:
        index = self._rows("base_index.npy", part)[:, 0]
        headers = not self.meta["published"]
        return offset_of_base(self.tokens(part), self._characters, index, base, headers)


def read_meta(folder: Path) -> dict[str, Any]:
    """Return the meta.json of a prepared folder, checked.

    Raises:
        InputError: if the folder is none, is of another version, or its meta.json is damaged.
    """
    path = folder / "meta.json"
    if not path.is_file():
        inside = [str(folder / mode) for mode in FILES if (folder / mode / "meta.json").is_file()]
        hint = f"did you mean {' or '.join(inside)}?" if inside else "make one with dnalm prepare"
        raise InputError(f"{folder}: expected a folder written by dnalm prepare, got no meta.json; {hint}")
    meta = files.read_json(path)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{folder}: expected a folder written by dnalm prepare, got another meta.json")
    if (version := meta.get("format_version")) != FORMAT_VERSION:
        raise InputError(f"{folder}: of format {version}, this dnalm reads {FORMAT_VERSION}; {AGAIN}")
    if wrong := _problems(meta):
        raise InputError(f"{path}: damaged: no {', '.join(wrong[:5])}, or not of its type; {AGAIN}")
    return meta


def is_prepared(folder: Path) -> bool:
    """Return whether a folder was written by dnalm prepare, of any version and perhaps damaged since."""
    try:
        meta = files.read_json(folder / "meta.json")
    except (OSError, InputError):
        return False
    return isinstance(meta, dict) and meta.get("format") == FORMAT


def same_bases(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two prepared folders, by their meta.json, are of the same genomes and split."""

    def identity(meta: dict[str, Any]) -> list[Any]:
        """Return what two folders of one genome and split have in common."""
        split = meta["split"]
        # The published text is split by token, so that full and vocab4 are never cut at the same base.
        where = split.get("val_fraction") if meta["published"] else split
        names = [genome["name"] for genome in meta.get("genomes", [])]
        return [[source["sha256"] for source in meta["sources"]], names, meta["published"], where]

    return identity(one) == identity(other)


def origin(meta: dict[str, Any]) -> str:
    """Return the sources of a prepared folder and its split, in words, digests included."""
    sources = ", ".join(f"{source['name']} (SHA-256 {source['sha256'][:8]}...)" for source in meta["sources"])
    return f"{sources} with {held_out(meta)}"


def held_out(meta: dict[str, Any]) -> str:
    """Return the validation part in words."""
    split = meta["split"]
    if split["kind"] == "contigs":
        return f"contigs {', '.join(split['val_contigs'])} for validation"
    what = "tokens (the published split)" if meta["published"] else "bases"
    return f"the last {100 * split['val_fraction']:g}% of the {what} for validation"


def left_out_words(meta: dict[str, Any]) -> str:
    """Return what counted as alike to validation and is left out of training; empty for a genome alone."""
    match meta["split"].get("hold_out"):
        case {"genomes": "others" | "all" as where, "identity": float(identity), **rule}:
            return (
                f"left out of training in {'all' if where == 'all' else 'other'} genomes: stretches of "
                f"{rule['length']} bases or more that are alike to validation: {rule['shared']} or more of "
                f"its {rule['k']}-mers within {rule['window']:,} bases, on either strand, as at "
                f"{100 * identity:g}% identity"
            )
        case {"genomes": "none"} if len(meta["genomes"]) > 1:
            return "nothing is left out of training: what is alike to validation in other genomes is a leak"
    return ""


def base_mask(text: Bytes, headers: bool) -> npt.NDArray[np.bool_]:
    """Return which characters are bases, either case, bool [L].

    Args:
        text: characters, [L]; does not begin inside a header line.
        headers: whether no letter of a header line is a base, as everywhere but in the published text.
    """
    mask: npt.NDArray[np.bool_] = BASE_CODES[text] != NOT_A_BASE
    starts = np.flatnonzero(text == ord(">")) if headers else ()
    if len(starts):
        ends = np.append(np.flatnonzero(text == ord("\n")), len(text))
        for start, end in zip(starts, ends[np.searchsorted(ends, starts)], strict=True):
            mask[start:end] = False
    return mask


def offset_of_base(
    tokens: Bytes, characters: Bytes, index: Sequence[int] | Int64, base: int, headers: bool
) -> int:
    """Return the token offset of base number `base`, which the text has.

    Args:
        tokens: the text, [N].
        characters: of each token.
        index: token offsets of base numbers 0, STRIDE, 2 STRIDE, ..., [M].
        base: counted from 0.
        headers: as for `base_mask`.
    """
    left, start = base % STRIDE, int(index[base // STRIDE])
    while start < len(tokens):
        text = characters[tokens[start : start + TEXT_PIECE]]
        if headers and start + len(text) < len(tokens):  # do not end inside a header line
            last = text.tobytes().rfind(b">")
            if last > 0 and not (text[last:] == ord("\n")).any():
                text = text[:last]
        mask = base_mask(text, headers)
        if left < (count := int(np.count_nonzero(mask))):
            return start + int(np.flatnonzero(mask)[left])
        left, start = left - count, start + len(text)
    raise AssertionError(f"base {base} is past the end of the text")


def _problems(meta: dict[str, Any]) -> list[str]:
    """Return what is missing from a meta.json of this version or is of another type, as dotted names."""
    match meta:
        case {"mode": "full" | "vocab4" as mode, "split": {"kind": "fraction" | "contigs" as kind}}:
            digests = {name: {"bytes": int, "sha256": str} for name in FILES[mode]}
            named = GENOMES if "genomes" in meta else {}
            found = list(_misfits(meta, SHAPE | named | {"split": SPLITS[kind], "files": digests}, ""))
        case _:
            return ["mode or split"]
    letters = "" if found else meta["characters"]
    if not found and not (letters.isascii() and len(letters) == len(set(letters)) == meta["vocab_size"] > 0):
        return ["characters"]
    return found


def _misfits(value: Any, shape: Any, name: str) -> Iterator[str]:
    """Yield the dotted names of values that are not of their shape."""
    kind: Any = type(shape) if isinstance(shape, dict | list) else shape
    if type(value) is not kind:
        yield name
    elif isinstance(shape, dict):
        for key, inner in shape.items():
            yield from _misfits(value.get(key), inner, f"{name}.{key}".lstrip("."))
    elif isinstance(shape, list):
        for number, item in enumerate(value):
            yield from _misfits(item, shape[0], f"{name}[{number}]")


def _number(part: str) -> int:
    if part not in PARTS:
        raise InputError(f"`part` must be train or val, got {part!r}")
    return PARTS.index(part)
