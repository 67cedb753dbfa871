"""The characters of a genome: which are there, how many are left out, and which are refused.

One pass over the genome files: every block goes to disk, and what must be known of it is noted.
"""

from collections.abc import Callable
from contextlib import ExitStack, closing
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.dna import AMBIGUOUS, BASES
from dnalm.errors import InputError
from dnalm.formats import read_blocks
from dnalm.formats.fasta import Source, read_text
from dnalm.genome.parts import CODES, Contig, Int64, Part, Slice, TextFile, code_table
from dnalm.genome.plan import Plan
from dnalm.genome.text import base_at_offset, offset_of_base
from dnalm.tokens.characters import HG38_CHARACTERS

IUPAC = frozenset((BASES + AMBIGUOUS + (BASES + AMBIGUOUS).lower() + "-").encode())
"""What a sequence line may hold: nucleotide codes, either case, and the gap."""
PROTEIN = frozenset(b"EFILPQZefilpqz")
"""Amino acids that no nucleotide code stands for."""


class Letters:
    """Counts the characters of a genome as it streams by.

    Args:
        only_hg38: whether hg38's 40 characters are all that is allowed.
    """

    def __init__(self, only_hg38: bool) -> None:
        self.only_hg38 = only_hg38
        self.seen = set(b"\n")
        self._left_out = np.zeros(128, dtype=np.int64)

    def header(self, line: str, path: Path, contig: str) -> None:
        """Note a header line.

        Raises:
            InputError: if it has a character that hg38 has not, and only those are allowed.
        """
        self.seen.update(line.encode("ascii"))
        foreign = [letter for letter in line if letter not in HG38_CHARACTERS]
        if self.only_hg38 and foreign:
            raise InputError(f"{path}, contig {contig!r}: the name has {foreign[0]!r}, {_NOT_HG38}")

    def sequence(
        self, text: bytes, left_out: npt.NDArray[np.uint8], path: Path, contig: str, position: int
    ) -> None:
        """Note sequence lines.

        Args:
            text: the lines.
            left_out: codes of the characters in it that are no bases (see `part`).
            path: the file, for messages.
            contig: the contig's name, for messages.
            position: where the text begins in its contig, 0-based.

        Raises:
            InputError: if a character is no nucleotide code, or outside the alphabet.
        """
        self.seen.update(letter for letter in b"ACGTacgt" if letter not in self.seen and letter in text)
        if not len(left_out):
            return
        counts = self._count(left_out)
        letters = {int(letter) for letter in np.flatnonzero(counts)}
        allowed = IUPAC & set(HG38_CHARACTERS.encode()) if self.only_hg38 else IUPAC
        if letters <= allowed:
            return
        line = text.replace(b"\n", b"")
        for at, byte in enumerate(line):
            if byte not in allowed:
                raise InputError(
                    f"{path}, contig {contig!r}, position {position + at + 1}: "
                    f"{chr(byte)!r} {_why(byte, line)}"
                )

    def published(self, text: bytes, left_out: npt.NDArray[np.uint8], path: Path) -> None:
        """Note a piece of the published text, in which everything is allowed that is ASCII.

        Raises:
            InputError: if something is not.
        """
        if not text.isascii():
            raise InputError(f"{path}: the text has characters that are not ASCII; rename its headers")
        self.seen.update(letter for letter in b"ACGTacgt" if letter not in self.seen and letter in text)
        self.seen.update(np.flatnonzero(self._count(left_out)).tolist())

    @property
    def are_hg38(self) -> bool:
        """Whether all characters seen are among hg38's 40."""
        return self.seen <= set(HG38_CHARACTERS.encode())

    @property
    def n(self) -> int:
        """How many N there were, either case."""
        return int(self._left_out[ord("N")] + self._left_out[ord("n")])

    @property
    def other_iupac(self) -> dict[str, int]:
        """How many of each other letter there were, either case, upper-cased."""
        both = {letter: int(self._left_out[[ord(letter), ord(letter.lower())]].sum()) for letter in AMBIGUOUS}
        both["-"] = int(self._left_out[ord("-")])
        return {letter: count for letter, count in both.items() if count and letter != "N"}

    def _count(self, left_out: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        counts = np.bincount(left_out & 0x7F, minlength=128)
        self._left_out += counts
        self.seen.update(np.flatnonzero(counts).tolist())
        return counts


_NOT_HG38 = "which is not one of the 40 characters of hg38; use --alphabet auto or --alphabet file"


def _why(byte: int, line: bytes) -> str:
    if byte in IUPAC:
        return _NOT_HG38
    if byte in b"Uu":
        return "is RNA; convert U to T and prepare again"
    if PROTEIN & set(line):
        return "is no nucleotide code: this looks like a protein FASTA; prepare needs a genome"
    return f"is no nucleotide code ({BASES}{AMBIGUOUS} or -); correct it, or mask it with N"


OnRead = Callable[[int], None]


class Stream(NamedTuple):
    """What one pass has found; everything by mode is the same in both unless published."""

    sources: list[dict[str, Any]]
    letters: Letters
    slices: dict[str, tuple[Slice, Slice]]
    contigs: dict[str, list[Contig]]
    starts: Int64
    """Position of each contig's first character in the numbering of `Part.segments`."""


def stream_genome(plan: Plan, folders: dict[str, Path], on_read: OnRead | None) -> Stream:
    """Write train.bin (and val.bin, when whole contigs are held out) of every folder, still uncut.

    Raises:
        InputError: if an input is no genome, or the plan asks for contigs that it does not have.
    """
    letters = Letters(only_hg38=plan.alphabet == "hg38" and "full" in folders)
    contigs: list[Contig] = []
    sources = []
    with ExitStack() as stack:
        names = ("train.bin", "val.bin") if plan.val_contigs else ("train.bin",)
        parts = [_part(folders, name, stack) for name in names]
        files_of: dict[str, Path] = {}
        position = 0
        for path in plan.genomes:
            source = stack.enter_context(closing(Source(path, on_read)))
            for name, text in read_blocks(source):
                if name is not None:
                    if name in files_of:
                        raise InputError(_duplicate(name, path, files_of[name]))
                    files_of[name] = path
                    contigs.append(_begin(name, parts[-1 if name in plan.val_contigs else 0], letters, path))
                contig = contigs[-1]
                length, left_out = contig.part.add(text, position)
                letters.sequence(text, left_out, path, contig.name, contig.length)
                contig.length += length
                position += length
                contig.high, contig.text_high = contig.part.bases, contig.part.text_length
            sources.append(source.summary)
        if position == 0:
            raise InputError(
                f"{', '.join(map(str, plan.genomes))}: there are headers but no sequence; is the file whole?"
            )
    _check_val_contigs(plan, files_of)
    slices = _split(plan, parts, folders)
    starts = np.cumsum([0] + [contig.length for contig in contigs[:-1]])
    return Stream(sources, letters, dict.fromkeys(folders, slices), dict.fromkeys(folders, contigs), starts)


def stream_published(plan: Plan, folders: dict[str, Path], on_read: OnRead | None) -> Stream:
    """Write train.bin of every folder, still uncut, the published way; for comparison only.

    vocab4 is every upper-case A, C, G or T of the files' text, headers included, joined, so that soft-masked
    bases are dropped and distant pieces meet. full is the text itself. Both are split by token.
    """
    letters = Letters(only_hg38=False)
    parts, slices, contigs, sources = {}, {}, {}, []
    with ExitStack() as stack:
        for mode, folder in folders.items():
            codes = code_table(soft_masked=mode == "full")
            parts[mode] = _part({mode: folder}, "train.bin", stack, codes)
        for path in plan.genomes:
            source = stack.enter_context(closing(Source(path, on_read)))
            for text in read_text(source):
                for mode, part in parts.items():
                    left_out = part.add(text, 0)[1]
                    if mode == "full" or len(parts) == 1:
                        letters.published(text, left_out, path)
            sources.append(source.summary)
    for mode, part in parts.items():
        part.segments.clear()
        part.segments.add(np.array([[0, part.bases]]))
        contigs[mode] = [Contig("published", part, 0, 0)]
        contigs[mode][0].length = contigs[mode][0].high = part.bases
        contigs[mode][0].text_high = part.text_length
        cut = int((part.text_length if mode == "full" else part.bases) * plan.train_share)
        base = cut
        if mode == "full":
            with TextFile(folders[mode] / "train.bin") as read:
                base = base_at_offset(read, part.index_so_far, cut, headers=False)
        slices[mode] = _cut(part, base, cut)
    return Stream(sources, letters, slices, contigs, np.zeros(1, dtype=np.int64))


def _part(folders: dict[str, Path], name: str, stack: ExitStack, codes: bytes = CODES) -> Part:
    handles: dict[str, BinaryIO | None] = {
        mode: stack.enter_context((folder / name).open("wb")) for mode, folder in folders.items()
    }
    return Part(next(iter(folders.values())), handles.get("full"), handles.get("vocab4"), codes)


def _begin(name: str, part: Part, letters: Letters, path: Path) -> Contig:
    contig = Contig(name, part, part.bases, part.text_length)
    line = f">{name}\n"
    letters.header(line, path, name)
    part.segments.close()  # contigs do not join
    part.add_header(line.encode("ascii"))
    return contig


def _split(plan: Plan, parts: list[Part], folders: dict[str, Path]) -> tuple[Slice, Slice]:
    if plan.val_contigs:
        train, val = parts
        return (
            Slice(train, 0, train.bases, 0, train.text_length),
            Slice(val, 0, val.bases, 0, val.text_length),
        )
    base = int(parts[0].bases * plan.train_share)
    token = 0
    if "full" in folders and base < parts[0].bases:
        with TextFile(folders["full"] / "train.bin") as read:
            token = offset_of_base(read, parts[0].index_so_far, base, headers=True)
    return _cut(parts[0], base, token)


def _cut(part: Part, base: int, token: int) -> tuple[Slice, Slice]:
    return Slice(part, 0, base, 0, token), Slice(part, base, part.bases, token, part.text_length)


def _duplicate(name: str, path: Path, first: Path) -> str:
    where = f"twice in {path}" if path == first else f"in {first} and again in {path}"
    return f"contig {name!r} is {where}; each name may be there once: rename one or leave one out"


def _check_val_contigs(plan: Plan, there: dict[str, Path]) -> None:
    unknown = [name for name in plan.val_contigs if name not in there]
    if not unknown:
        return
    near = get_close_matches(unknown[0], there, n=3, cutoff=0.5)
    shown = ", ".join(list(there)[:30]) + (f", ... ({len(there):,} in all)" if len(there) > 30 else "")
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise InputError(
        f"--val-contigs: no contig {', '.join(map(repr, unknown))} in the genome; {hint}There are: {shown}"
    )
