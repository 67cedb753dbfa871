"""One pass over genome files: every block goes to disk, and runs of bases, contigs and characters are noted.

Shapes used below
    R  runs                                              L  characters of a block without its newlines
    B  bases of a block
"""

import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.dna import AMBIGUOUS, BASES
from dnalm.errors import InputError
from dnalm.formats import read_blocks
from dnalm.formats.fasta import Source, read_text
from dnalm.genome.folder import STRIDE, base_at_offset, offset_of_base
from dnalm.genome.plan import Plan
from dnalm.tokens.characters import HG38_CHARACTERS

Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
OnRead = Callable[[int], None]

ROWS = 1 << 16
"""Runs in memory at a time."""
SOFT = 4
"""Bit of a code that marks a lower-case base."""
BREAK = 0x80
"""Bit of a code that marks all that is no base; the rest of the code is the character."""
IUPAC = frozenset((BASES + AMBIGUOUS + (BASES + AMBIGUOUS).lower() + "-").encode())
"""What a sequence line may hold: nucleotide codes, either case, and the gap."""
HG38 = frozenset(HG38_CHARACTERS.encode())
PROTEIN = frozenset(b"EFILPQZefilpqz")
"""Amino acids that no nucleotide code stands for."""


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


def runs_of(flags: npt.NDArray[np.bool_], at: int) -> Int64:
    """Return the runs of True in `flags`, [L], as half-open [R, 2]; the first flag has position `at`."""
    edges = np.flatnonzero(flags[1:] != flags[:-1]) + 1  # without a copy of the flags
    first = [0] if len(flags) and flags[0] else []
    last = [len(flags)] if len(flags) and flags[-1] else []
    return np.concatenate([first, edges, last]).astype(np.int64).reshape(-1, 2) + at


class Runs:
    """Half-open runs in rising order, on disk; those that touch are joined, unless `close` came between."""

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

    def __iter__(self) -> Iterator[Int64]:
        self.close()
        self._file.seek(0)
        while raw := self._file.read(ROWS * 16):
            yield np.frombuffer(raw, dtype=np.int64).reshape(-1, 2)


class Part:
    """Writes text and bases of one part (train, val, or both until they are cut) and notes its runs.

    Args:
        files: by mode, the file for the text as it comes (full) or for the base codes (vocab4).
        folder: for temporary files.
        soft_masked: whether lower-case bases are bases.
    """

    def __init__(self, files: dict[str, BinaryIO], folder: Path, *, soft_masked: bool = True) -> None:
        self._text, self._bases = files.get("full"), files.get("vocab4")
        self._codes = code_table(soft_masked)
        self.text_length = self.bases = self.soft_masked = 0
        self.segments = Runs(folder)  # in positions given by the caller
        self.repeats = Runs(folder)  # in base numbers
        self._index = array("q")

    @property
    def index_so_far(self) -> Int64:
        """Token offsets of base numbers 0, STRIDE, 2 STRIDE, ..."""
        return np.array(self._index, dtype=np.int64)

    def add_header(self, line: bytes) -> None:
        """Append a header line: text without bases."""
        self.segments.close()  # contigs do not join
        if self._text:
            self._text.write(line)
        self.text_length += len(line)

    def add(self, text: bytes, position: int) -> tuple[int, Bytes]:
        """Append sequence lines.

        Args:
            text: the lines.
            position: where the first character lies, in the numbering of `segments`; newlines do not count.

        Returns:
            L, and the codes of the characters that are no bases, [L - B].
        """
        codes = np.frombuffer(text.translate(self._codes, b"\n"), dtype=np.uint8)  # [L]
        bases, left_out, is_base = codes, codes[:0], None  # bases: [B]
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
        at = wanted if is_base is None else np.flatnonzero(is_base)[wanted]  # newlines not counted
        newlines = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
        before = newlines - np.arange(len(newlines))  # characters before each newline
        at = at + np.searchsorted(before, at, side="right") + self.text_length
        self._index.frombytes(at.astype(np.int64).tobytes())


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


@dataclass(slots=True)
class Contig:
    """A contig, and where it lies in the stream of its part."""

    name: str
    length: int
    span: Slice

    def in_meta(self, mode: str, slices: Sequence[Slice]) -> dict[str, Any]:
        """Return its entry in meta.json."""
        low, high = self.span.of(mode)
        bases = self.span.high - self.span.low
        entry: dict[str, Any] = {"name": self.name, "length": self.length, "bases": bases}
        for name, taken in zip(("train", "val"), slices, strict=True):
            first, last = taken.of(mode)
            start, end = max(low, first), min(high, last)
            inside = taken.part is self.span.part and start < end
            entry[name] = [start - first, end - start] if inside else None
        return entry


class Letters:
    """Counts the characters of a genome."""

    def __init__(self) -> None:
        self.seen = set(b"\n")
        self._left_out = np.zeros(128, dtype=np.int64)

    def add(self, text: bytes, left_out: Bytes) -> set[int]:
        """Count the characters of a text; return those that are no bases, given by their codes `left_out`."""
        self.seen.update(letter for letter in b"ACGTacgt" if letter not in self.seen and letter in text)
        counts = np.bincount(left_out & 0x7F, minlength=128)
        self._left_out += counts
        others = set(np.flatnonzero(counts).tolist())
        self.seen |= others
        return others

    def count(self, letter: str) -> int:
        """Return how often a letter other than A, C, G, T occurs, either case."""
        return int(self._left_out[sorted({ord(letter), ord(letter.lower())})].sum())


class Stream(NamedTuple):
    """The result of one pass; everything by mode is the same in both unless published."""

    sources: list[dict[str, Any]]
    letters: Letters
    slices: dict[str, tuple[Slice, Slice]]
    contigs: dict[str, list[Contig]]
    starts: Int64
    """Position of each contig's first character in the numbering of `Part.segments`."""


def stream_genome(plan: Plan, folders: dict[str, Path], on_read: OnRead | None) -> Stream:
    """Write train.bin (and val.bin, when contigs are held out) of every folder, still uncut.

    Raises:
        InputError: if an input is no genome, or the plan needs contigs that it does not have.
    """
    only_hg38 = plan.alphabet == "hg38" and "full" in folders
    letters, allowed = Letters(), IUPAC & HG38 if only_hg38 else IUPAC
    contigs: dict[str, Contig] = {}
    file_of: dict[str, Path] = {}
    sources = []
    with ExitStack() as stack:
        names = ("train.bin", "val.bin") if plan.val_contigs else ("train.bin",)
        parts = [_open_part(folders, name, stack) for name in names]
        position = 0
        for path in plan.genomes:
            source = stack.enter_context(closing(Source(path, on_read)))
            for name, text in read_blocks(source):
                if name is not None:
                    _check_new_contig(name, path, file_of, only_hg38)
                    part = parts[-1 if name in plan.val_contigs else 0]
                    letters.seen.update(f">{name}".encode("ascii"))
                    span = Slice(part, part.bases, 0, part.text_length, 0)
                    contig = contigs[name] = Contig(name, 0, span)
                    part.add_header(f">{name}\n".encode("ascii"))
                length, left_out = part.add(text, position)
                if not letters.add(text, left_out) <= allowed:
                    where = _foreign(text, contig.length, allowed)
                    raise InputError(f"{path}, contig {contig.name!r}, {where}")
                contig.length += length
                position += length
                contig.span = contig.span._replace(high=part.bases, text_high=part.text_length)
            sources.append(source.summary)
    if position == 0:
        genomes = ", ".join(map(str, plan.genomes))
        raise InputError(f"{genomes}: there are headers but no sequence; is the file complete?")
    _check_val_contigs(plan, list(contigs))
    every = list(contigs.values())
    starts = np.cumsum([0] + [contig.length for contig in every[:-1]])
    slices = dict.fromkeys(folders, _split(plan, parts, folders))
    return Stream(sources, letters, slices, dict.fromkeys(folders, every), starts)


def stream_published(plan: Plan, folders: dict[str, Path], on_read: OnRead | None) -> Stream:
    """Write train.bin of every folder, still uncut, as the published scripts do; for comparison only.

    vocab4 is every upper-case A, C, G or T of the files' text, headers included, joined, so that soft-masked
    bases are dropped and distant pieces meet. full is the text itself. Both are split by token.

    Raises:
        InputError: if a text is not ASCII.
    """
    letters, slices, contigs, sources = Letters(), {}, {}, []
    with ExitStack() as stack:
        parts = {
            mode: _open_part({mode: folder}, "train.bin", stack, soft_masked=mode == "full")
            for mode, folder in folders.items()
        }
        for path in plan.genomes:
            source = stack.enter_context(closing(Source(path, on_read)))
            for text in read_text(source):
                if not text.isascii():
                    raise InputError(f"{path}: characters that are not ASCII; rename its headers")
                left_out = [part.add(text, 0)[1] for part in parts.values()]
                letters.add(text, left_out[0])  # of full, which comes first
            sources.append(source.summary)
    for mode, part in parts.items():
        part.segments = Runs(folders[mode])
        part.segments.add(np.array([[0, part.bases]]))
        contigs[mode] = [Contig("published", part.bases, Slice(part, 0, part.bases, 0, part.text_length))]
        cut = int((part.text_length if mode == "full" else part.bases) * plan.train_share)
        text_file = folders[mode] / "train.bin"
        base = base_at_offset(read_file(text_file), part.index_so_far, cut, False) if mode == "full" else cut
        slices[mode] = _cut(part, base, cut)
    return Stream(sources, letters, slices, contigs, np.zeros(1, dtype=np.int64))


def read_file(path: Path) -> Callable[[int, int], Bytes]:
    """Return a function that returns the bytes [start, end) of a file."""
    content = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    return lambda start, end: content[start:end]


def _open_part(folders: dict[str, Path], name: str, stack: ExitStack, *, soft_masked: bool = True) -> Part:
    files: dict[str, BinaryIO] = {
        mode: stack.enter_context((folder / name).open("wb")) for mode, folder in folders.items()
    }
    return Part(files, next(iter(folders.values())), soft_masked=soft_masked)


def _split(plan: Plan, parts: list[Part], folders: dict[str, Path]) -> tuple[Slice, Slice]:
    if plan.val_contigs:
        train, val = (Slice(part, 0, part.bases, 0, part.text_length) for part in parts)
        return train, val
    (part,) = parts
    base, token = int(part.bases * plan.train_share), 0
    if "full" in folders and base < part.bases:
        token = offset_of_base(read_file(folders["full"] / "train.bin"), part.index_so_far, base, True)
    return _cut(part, base, token)


def _cut(part: Part, base: int, token: int) -> tuple[Slice, Slice]:
    return Slice(part, 0, base, 0, token), Slice(part, base, part.bases, token, part.text_length)


_NOT_HG38 = "which is not one of the 40 characters of hg38; set `alphabet` to auto or file"


def _check_new_contig(name: str, path: Path, file_of: dict[str, Path], only_hg38: bool) -> None:
    if name in file_of:
        first = file_of[name]
        where = f"twice in {path}" if path == first else f"in {first} and again in {path}"
        raise InputError(f"contig {name!r} is {where}; each name may be there once: rename or remove one")
    file_of[name] = path
    if only_hg38 and (foreign := [letter for letter in name if letter not in HG38_CHARACTERS]):
        raise InputError(f"{path}, contig {name!r}: the name has {foreign[0]!r}, {_NOT_HG38}")


def _foreign(text: bytes, before: int, allowed: frozenset[int]) -> str:
    """Return the place, in its contig, of the first character that is not allowed, and the reason."""
    line = text.replace(b"\n", b"")
    at, byte = next((at, byte) for at, byte in enumerate(line) if byte not in allowed)
    if byte in IUPAC:
        reason = _NOT_HG38
    elif byte in b"Uu":
        reason = "is RNA; convert U to T and prepare again"
    elif PROTEIN & set(line):
        reason = "is no nucleotide code: this looks like a protein FASTA; prepare needs a genome"
    else:
        reason = f"is no nucleotide code ({BASES}{AMBIGUOUS} or -); correct it, or mask it with N"
    return f"position {before + at + 1}: {chr(byte)!r} {reason}"


def _check_val_contigs(plan: Plan, contigs: list[str]) -> None:
    unknown = [name for name in plan.val_contigs if name not in contigs]
    if unknown:
        near = get_close_matches(unknown[0], contigs, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        names = ", ".join(contigs[:30]) + (f", ... ({len(contigs):,} in all)" if len(contigs) > 30 else "")
        wrong = ", ".join(map(repr, unknown))
        raise InputError(f"`val_contigs`: no contig {wrong} in the genome; {hint}There are: {names}")
