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
    name: str
    """Fourth column; empty where there is none."""
    score: float | None
    """Fifth column; None where there is none."""
    strand: str
    """Sixth column: + or -, or . where there is none."""


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
        where = f"{path}: line {number:,}"
        if len(cells) < 3 or not all(re.fullmatch(r"\d+", cell) for cell in cells[1:3]):
            raise InputError(
                f"{where}: expected contig, start and end, separated by tabs, got {text[:60]!r}; is this BED?"
            )
        interval = Interval(cells[0], int(cells[1]), int(cells[2]))
        if not interval.contig or interval.length < 0:
            raise InputError(f"{where}: expected a contig and a start not after the end, got {text[:60]!r}")
        name, score, strand = (cells[3:6] + ["", ".", "."][len(cells[3:6]) :])[:3]
        if score != "." and not re.fullmatch(NUMBER, score):
            raise InputError(f"{where}: expected a number as score, the fifth column, got {score[:40]!r}")
        if strand not in ("+", "-", "."):
            raise InputError(f"{where}: expected strand +, - or ., the sixth column, got {strand[:40]!r}")
        yield BedRecord(interval, name, None if score == "." else float(score), strand)
