"""The characters of a genome: which are there, how many are left out, and which are refused."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnalm.dna import AMBIGUOUS, BASES
from dnalm.tokenizers import HG38_CHARACTERS

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
            ValueError: if it has a character that hg38 has not, and only those are allowed.
        """
        self.seen.update(line.encode("ascii"))
        foreign = [letter for letter in line if letter not in HG38_CHARACTERS]
        if self.only_hg38 and foreign:
            raise ValueError(f"{path}, contig {contig!r}: the name has {foreign[0]!r}, {_NOT_HG38}")

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
            ValueError: if a character is no nucleotide code, or outside the alphabet.
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
                raise ValueError(
                    f"{path}, contig {contig!r}, position {position + at + 1}: "
                    f"{chr(byte)!r} {_why(byte, line)}"
                )

    def published(self, text: bytes, left_out: npt.NDArray[np.uint8], path: Path) -> None:
        """Note a piece of the published text, in which everything is allowed that is ASCII.

        Raises:
            ValueError: if something is not.
        """
        if not text.isascii():
            raise ValueError(f"{path}: the text has characters that are not ASCII; rename its headers")
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
