"""Letters of DNA and intervals of a genome.

Base codes are A 0, C 1, G 2, T 3, so that the complement of code c is 3 - c.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BASES = "ACGT"
AMBIGUOUS = "RYSWKMBDHVN"
"""IUPAC codes that stand for more than one base (Cornish-Bowden 1985); N is any."""
NOT_A_BASE = 255
"""Code of every character that is not A, C, G or T in `BASE_CODES`."""

BASE_CODES: npt.NDArray[np.uint8] = np.full(256, NOT_A_BASE, dtype=np.uint8)
"""[256]: the base code of each ASCII letter, upper and lower case alike."""
for _code, _base in enumerate(BASES):
    BASE_CODES[[ord(_base), ord(_base.lower())]] = _code


def encode(text: str) -> npt.NDArray[np.uint8]:
    """Return the base codes of `text`, [L]; `NOT_A_BASE` where a letter is no base."""
    codes: npt.NDArray[np.uint8] = BASE_CODES[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]
    return codes


def reverse_complement(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the other strand of `codes`, [L], all of them 0 to 3."""
    return (3 - codes)[::-1]


COMPLEMENT: npt.NDArray[np.uint8] = np.arange(256, dtype=np.uint8)
"""[256]: the letter of the other strand for each IUPAC letter, in its case; any other byte stays itself."""
for _letter, _other in zip("ACGTRYKMBVDHSWN", "TGCAYRMKVBHDSWN", strict=True):
    COMPLEMENT[[ord(_letter), ord(_letter.lower())]] = ord(_other), ord(_other.lower())


def other_strand(text: str) -> str:
    """Return the reverse complement of IUPAC letters, each in its case; any other character stays itself."""
    return text.encode("latin-1").translate(COMPLEMENT.tobytes())[::-1].decode("latin-1")


class Interval(NamedTuple):
    """A stretch of one contig."""

    contig: str
    start: int
    """First base, counted from 0."""
    end: int
    """After the last base: the interval is half-open, as in BED."""

    @property
    def length(self) -> int:
        """Bases."""
        return self.end - self.start
