"""BED and narrowPeak: intervals, plain or gzip."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dnalm.dna import Interval
from dnalm.errors import InputError
from dnalm.formats.text import NUMBER, read_lines

SKIPPED = ("#", "track", "browser")
"""First words of lines that hold no interval (UCSC, BED format)."""


class BedRecord(NamedTuple):
    """One line of a BED file; further columns, such as narrowPeak's, are ignored."""

    interval: Interval
    name: str  # empty where there is none
    score: float | None
    strand: str  # + or -, or . where there is none


def read_bed(path: Path) -> Iterator[BedRecord]:
    """Yield the intervals of a BED file of three columns or more.

    Raises:
        InputError: if a line is no interval; the message gives its number.
    """
    for number, line in read_lines(path):
        text = line.rstrip()
        if not text or text.startswith("#") or text.split(maxsplit=1)[0] in SKIPPED:
            continue
        cells = text.split("\t") if "\t" in text else text.split()
        contig, start, end, name, score, strand = [*cells, *["", "", "", "", ".", "."][len(cells) :]][:6]
        wrong = not contig or not all(re.fullmatch(r"\d+", cell) for cell in (start, end))
        wrong = wrong or int(start) > int(end) or strand not in ("+", "-", ".")
        if wrong or not (score == "." or re.fullmatch(NUMBER, score)):
            raise InputError(
                f"{path}: line {number:,}: expected contig, start and end (name, score, strand) by tabs, "
                f"the start not after the end, got {text[:60]!r}; is this BED?"
            )
        interval = Interval(contig, int(start), int(end))
        yield BedRecord(interval, name, None if score == "." else float(score), strand)
