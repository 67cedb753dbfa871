"""One pass over genome files: every block goes to disk, and runs of bases, contigs and characters are noted.

Shapes used below
    R  runs                                              L  characters of a block without its newlines
    B  bases of a block
"""

import itertools
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.config import nearest
from dnalm.dna import AMBIGUOUS, BASES
from dnalm.errors import InputError
from dnalm.files import CHUNK
from dnalm.formats import read_blocks
from dnalm.formats.fasta import Source, read_text
from dnalm.genome import folder as layout
from dnalm.genome.folder import Bytes, Int64, base_mask, offset_of_base
from dnalm.genome.plan import Plan

OnRead = Callable[[int], None]

ROWS = 1 << 16  # runs in memory at a time
SOFT = 4  # bit of a code that marks a lower-case base
BREAK = 0x80  # bit of a code that marks all that is no base; the rest of the code is the character
FOREIGN = 0xFF  # code of what a genome may not hold
ALLOWED = f"{BASES}{AMBIGUOUS}{BASES.lower()}{AMBIGUOUS.lower()}-".encode()
"""What a sequence line may hold: nucleotide codes, either case, and the gap."""


def code_table(published: bool, soft_masked: bool) -> bytes:
    """Return the code of each byte; lower-case bases are bases if `soft_masked`, `published` allows all."""
    table = bytearray(BREAK | byte if published or byte in ALLOWED else FOREIGN for byte in range(128))
    for code, base in enumerate(b"ACGT"):
        table[base] = code
        if soft_masked:
            table[base + 32] = SOFT | code
    return bytes(table) + bytes([FOREIGN]) * 128


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


class Mark(NamedTuple):
    """A place in the stream of a part, by the tokens of each mode that come before it."""

    full: int  # characters
    vocab4: int  # bases


class Part:
    """Writes text and bases of one part (train, val, or both until they are cut) and notes what is in it.

    Args:
        folders: by mode: text goes to full as it comes, base codes go to vocab4.
        name: of the file in each folder.
        stack: closes the files.
        codes: as of `code_table`.
    """

    def __init__(self, folders: dict[str, Path], name: str, stack: ExitStack, codes: bytes) -> None:
        files = {mode: stack.enter_context((path / name).open("wb")) for mode, path in folders.items()}
        self._text, self._bases = files.get("full"), files.get("vocab4")
        self._codes = codes
        self.end = Mark(0, 0)
        self.soft_masked = 0
        self.characters = set(b"\n")
        self.left_out = np.zeros(128, dtype=np.int64)  # how often each character that is no base occurs
        folder = next(iter(folders.values()))
        self.segments = Runs(folder)  # in positions given by the caller
        self.repeats = Runs(folder)  # in base numbers
        self.index = array("q")  # offsets in the text of base numbers 0, STRIDE, 2 STRIDE, ...

    def add_line(self, line: bytes) -> None:
        """Append a header line, or what stands for bases that are left out: text without bases."""
        self.segments.close()  # contigs do not join
        self.characters.update(line)
        if self._text:
            self._text.write(line)
        self.end = Mark(self.end.full + len(line), self.end.vocab4)

    def add(self, text: bytes, position: int) -> Bytes:
        """Append sequence lines and return the codes of their letters, [L].

        Args:
            text: the lines.
            position: where the first character lies, in the numbering of `segments`; newlines do not count.
        """
        codes = self.codes_of(text)
        bases, is_base = codes, None  # bases: [B]
        self.characters.update(base for base in b"ACGTacgt" if base not in self.characters and base in text)
        if len(codes) and codes.max() >= BREAK:
            is_base = codes < BREAK
            bases = codes[is_base]
            self.left_out += np.bincount(codes[~is_base] - BREAK, minlength=128)
            self.segments.add(runs_of(is_base, position))
        elif len(codes):
            self.segments.add(np.array([[position, position + len(codes)]]))
        if len(bases) and bases.max() >= SOFT:
            soft = (bases >> 2).view(np.bool_)  # 4 to 7 become 1
            self.soft_masked += int(np.count_nonzero(soft))
            self.repeats.add(runs_of(soft, self.end.vocab4))
        if self._text:
            self._add_index(text, is_base, len(bases))
            self._text.write(text)
        if self._bases:
            self._bases.write((bases & 3).data)
        self.end = Mark(self.end.full + len(text), self.end.vocab4 + len(bases))
        return codes

    def codes_of(self, text: bytes) -> Bytes:
        """Return the codes of the letters of sequence lines, [L]."""
        return np.frombuffer(text.translate(self._codes, b"\n"), dtype=np.uint8)

    def _add_index(self, text: bytes, is_base: npt.NDArray[np.bool_] | None, count: int) -> None:
        """Note where the bases of a block are, so that one can be found by its number."""
        wanted = np.arange(
            -self.end.vocab4 % layout.STRIDE, count, layout.STRIDE
        )  # bases of this block, counted from 0
        if not len(wanted):
            return
        at = wanted if is_base is None else np.flatnonzero(is_base)[wanted]  # newlines not counted
        self.index.frombytes((_offsets(text, at) + self.end.full).astype(np.int64).tobytes())


def _offsets(text: bytes, letters: Int64) -> Int64:
    """Return where letters of sequence lines are in the text, by their numbers, newlines not counted."""
    newlines = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
    before = newlines - np.arange(len(newlines))  # characters before each newline
    return letters + np.searchsorted(before, letters, side="right")


class Slice(NamedTuple):
    """What a contig, train or val takes of a stream, half-open."""

    part: Part
    first: Mark
    last: Mark

    def of(self, mode: str) -> tuple[int, int]:
        """Return its first token in the stream, and the one after its last."""
        return getattr(self.first, mode), getattr(self.last, mode)


@dataclass(slots=True)
class Contig:
    """A contig, its file, and where it lies in the stream of its part."""

    name: str
    source: Path
    length: int
    span: Slice
    genome: int = 0  # number of its genome
    left_out: int = 0  # bases that are alike to validation


class Stream(NamedTuple):
    """The result of one pass; train and val, and contigs, are the same in both modes unless published."""

    sources: list[dict[str, Any]]
    slices: dict[str, tuple[Slice, Slice]]
    contigs: dict[str, list[Contig]]


def stream_genome(
    plan: Plan,
    folders: dict[str, Path],
    on_read: OnRead | None,
    left_out: Mapping[str, Int64] = MappingProxyType({}),
) -> Stream:
    """Write train.bin (and val.bin, when contigs are held out) of every folder, still uncut.

    `left_out` has stretches of training contigs that are not written, [R, 2], by the contig's name.
    """
    contigs: dict[str, Contig] = {}
    sources, position, soft_masked = [], 0, [0]
    with ExitStack() as stack:
        files = ("train.bin", "val.bin")[: 2 if plan.val_contigs else 1]
        codes = code_table(published=False, soft_masked=True)
        parts = [Part(folders, file, stack, codes) for file in files]
        for number, path in enumerate(plan.genomes):
            source = stack.enter_context(closing(Source(path, on_read)))
            for header, text in read_blocks(source):
                if header is not None:
                    name = plan.contig_name(number, header)
                    if name in contigs:
                        raise InputError(_again(name, contigs[name].source, path))
                    part = parts[-1 if name in plan.val_contigs else 0]
                    contig = contigs[name] = Contig(name, path, 0, Slice(part, part.end, part.end), number)
                    part.add_line(f">{header}\n".encode("ascii"))
                    cuts = left_out.get(name)
                letters = (
                    part.add(text, position) if cuts is None else _add_around(contig, text, position, cuts)
                )
                if len(letters) and letters.max() == FOREIGN:
                    at = int(letters.argmax())
                    letter = chr(text.translate(None, b"\n")[at])
                    place = f"{path}, contig {contig.name!r}, position {contig.length + at + 1}"
                    advice = "is it RNA or protein? Or mask it with N"
                    if letter.isspace():
                        advice = "remove it: only at the end of a line is it ignored"
                    raise InputError(
                        f"{place}: {letter!r} is no nucleotide code ({BASES}{AMBIGUOUS} or -); {advice}"
                    )
                contig.length += len(letters)
                position += len(letters)
                contig.span = contig.span._replace(last=part.end)
            named = {"genome": plan.genome_names[number]} if plan.genome_names else {}
            sources.append(source.summary | named)
            soft_masked.append(sum(part.soft_masked for part in parts))
    _check_case(plan, np.diff(soft_masked))
    if position == 0:
        genomes = ", ".join(map(str, plan.genomes))
        raise InputError(f"{genomes}: there are headers but no sequence; is the file complete?")
    if unknown := [name for name in plan.val_contigs if name not in contigs]:
        known = ", ".join(list(contigs)[:30]) + (", ..." if len(contigs) > 30 else "")
        near = nearest(unknown[0], list(contigs))
        raise InputError(f"`val_contigs`: no contig {unknown[0]!r} in the genome{near}; there are: {known}")
    slices = dict.fromkeys(folders, _split(plan, parts, folders))
    return Stream(sources, slices, dict.fromkeys(folders, list(contigs.values())))


def _again(name: str, first: Path, path: Path) -> str:
    """Return the message for a contig that is there twice."""
    advice = "rename one" if first == path else "rename one, or name the genomes with `genome_names`"
    return f"contig {name!r} is in {first} and again in {path}; {advice}"


def _add_around(contig: Contig, text: bytes, position: int, cuts: Int64) -> Bytes:
    """Append sequence lines to the part of a contig but for the stretches `cuts`; an N stands for each.

    Args:
        contig: theirs; `length` is how many letters came before.
        text: the lines.
        position: as for `Part.add`.
        cuts: stretches of the contig, [R, 2].

    Returns:
        The codes of all letters, [L].
    """
    part, low = contig.span.part, contig.length
    codes = part.codes_of(text)
    inside = cuts[(cuts[:, 1] > low) & (cuts[:, 0] < low + len(codes))]
    edges = np.concatenate([[low], inside.clip(low, low + len(codes)).ravel(), [low + len(codes)]]) - low
    offsets = _offsets(text, edges)
    offsets[0] = len(text) - len(text.lstrip(b"\n")) if (cuts[:, 1] == low).any() else 0
    for number, (start, end) in enumerate(itertools.pairwise(edges.tolist())):
        if number % 2 == 0:
            part.add(text[offsets[number] : offsets[number + 1]], position + start)
            continue
        contig.left_out += int(np.count_nonzero(codes[start:end] < BREAK))
        if start + low == inside[number // 2, 0]:
            part.add_line(b"N\n")
    return codes


def _check_case(plan: Plan, soft_masked: Int64) -> None:
    """Refuse a text whose case tells the genomes apart; `soft_masked` has the lower-case bases of each."""
    masked = [name for name, count in zip(plan.genome_names, soft_masked, strict=False) if count]
    if "full" in plan.modes and 0 < len(masked) < len(plan.genome_names):
        others = ", ".join(name for name in plan.genome_names if name not in masked)
        raise InputError(
            f"genomes of unlike alphabets: {', '.join(masked)} with lower case (soft-masked bases), {others} "
            "without; the letters of full would tell them apart: set `vocab` to vocab4, or mask all or none"
        )


def _split(plan: Plan, parts: list[Part], folders: dict[str, Path]) -> tuple[Slice, Slice]:
    """Return the training and the validation slice of what was read."""
    if plan.val_contigs:
        train, val = (Slice(part, Mark(0, 0), part.end) for part in parts)
        return train, val
    (part,) = parts
    base, token = int(part.end.vocab4 * plan.train_share), 0
    if "full" in folders and base < part.end.vocab4:
        text = np.memmap(folders["full"] / "train.bin", dtype=np.uint8, mode="r")
        token = offset_of_base(text, layout.BYTES, part.index, base, headers=True)
    return _cut(part, Mark(token, base))


def _cut(part: Part, at: Mark) -> tuple[Slice, Slice]:
    return Slice(part, Mark(0, 0), at), Slice(part, at, part.end)


def stream_published(plan: Plan, folders: dict[str, Path], on_read: OnRead | None) -> Stream:
    """Write train.bin of every folder, still uncut, as the published scripts do; for comparison only.

    vocab4 is every upper-case A, C, G or T of the files' text, headers included, joined, so that soft-masked
    bases are dropped and distant pieces meet. full is the text itself. Both are split by token.
    """
    slices, contigs, sources = {}, {}, []
    with ExitStack() as stack:
        parts = {
            mode: Part({mode: folder}, "train.bin", stack, code_table(True, mode == "full"))
            for mode, folder in folders.items()
        }
        for path in plan.genomes:
            source = stack.enter_context(closing(Source(path, on_read)))
            for text in read_text(source):
                if not text.isascii():
                    raise InputError(f"{path}: characters that are not ASCII; rename its headers")
                for part in parts.values():
                    part.add(text, 0)
            sources.append(source.summary)
    for mode, part in parts.items():
        part.segments = Runs(folders[mode])
        part.segments.add(np.array([[0, part.end.vocab4]]))
        every = Slice(part, Mark(0, 0), part.end)
        contigs[mode] = [Contig("published", plan.genomes[0], part.end.vocab4, every)]
        cut = int(every.of(mode)[1] * plan.train_share)
        base = _bases_before(folders[mode] / "train.bin", cut) if mode == "full" else cut
        slices[mode] = _cut(part, Mark(cut, base))
    return Stream(sources, slices, contigs)


def _bases_before(path: Path, token: int) -> int:
    text = np.memmap(path, dtype=np.uint8, mode="r")
    pieces = (text[start : min(start + CHUNK, token)] for start in range(0, token, CHUNK))
    return sum(int(np.count_nonzero(base_mask(piece, headers=False))) for piece in pieces)
