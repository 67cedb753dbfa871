"""BED and narrowPeak: intervals, plain or gzip."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dnalm.dna import Interval
from dnalm.errors import InputError
from dnalm.formats.text import read_lines

SKIPPED = ("#", "track", "browser")
"""How lines begin that hold no interval (UCSC, BED format)."""
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


class BedRecord(NamedTuple):
    """One line of a BED file; narrowPeak's further columns are left aside."""

    interval: Interval
    name: str
    """Fourth column; empty where there is none."""
    score: float | None
    """Fifth column; None where there is none."""
    strand: str
    """Sixth column: + or -, or . where neither is said."""


def read_bed(path: Path) -> Iterator[BedRecord]:
    """Yield the intervals of a BED file of three columns or more.

    Raises:
        InputError: if a line is no interval; the message gives its number.
    """
    for number, line in enumerate(read_lines(path), 1):
        text = line.decode("utf-8", "replace").rstrip()
        if not text or text.startswith("#") or text.split(maxsplit=1)[0] in SKIPPED:
            continue
        cells = text.split("\t") if "\t" in text else text.split()
        where = f"{path}: line {number:,}"
        if len(cells) < 3 or not (re.fullmatch(r"\d+", cells[1]) and re.fullmatch(r"\d+", cells[2])):
            raise InputError(
                f"{where}: expected contig, start and end, divided by tabs, got {text[:60]!r}; is this BED?"
            )
        contig, start, end = cells[0], int(cells[1]), int(cells[2])
        if not contig or start > end:
            raise InputError(f"{where}: expected a contig and a start not behind the end, got {text[:60]!r}")
        score = cells[4] if len(cells) > 4 else "."
        if score != "." and not re.fullmatch(NUMBER, score):
            raise InputError(f"{where}: expected a number as score, the fifth column, got {score[:40]!r}")
        strand = cells[5] if len(cells) > 5 else "."
        if strand not in ("+", "-", "."):
            raise InputError(f"{where}: expected strand +, - or ., the sixth column, got {strand[:40]!r}")
        yield BedRecord(
            Interval(contig, start, end),
            cells[3] if len(cells) > 3 else "",
            None if score == "." else float(score),
            strand,
        )
