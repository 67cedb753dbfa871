"""BED, narrowPeak and bedGraph: intervals of a genome, plain or gzip."""

import itertools
import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.dna import Interval
from dnalm.errors import InputError
from dnalm.formats.text import NUMBER, read_lines

HEAD = 1000
"""Lines by which a bedGraph is recognised."""
SKIPPED = re.compile(r"#|(track|browser)(\s|$)")
"""How lines begin that hold no interval (UCSC, BED format)."""


def split_row(line: str) -> list[str]:
    """Return the cells of a line, separated by tabs or else by blanks; none if it holds no interval."""
    text = line.rstrip()
    if SKIPPED.match(text):
        return []
    return list(map(str.strip, text.split("\t"))) if "\t" in text else text.split()


def is_interval(cells: list[str]) -> bool:
    """Return whether a row begins with contig, start and end, the start not after the end."""
    is_valid = len(cells) > 2 and cells[0] and cells[1].isdecimal() and cells[2].isdecimal()
    return bool(is_valid) and int(cells[1]) <= int(cells[2])


def is_bedgraph(lines: Iterable[str]) -> bool:
    """Return whether lines are of a bedGraph: its track line says so, or column 4, the last, is a number."""
    lines = list(lines)
    if any(re.match(r"track\s.*\btype=\W?bedGraph\b", line) for line in lines):
        return True
    rows = [cells for line in lines if (cells := split_row(line))]
    return bool(rows) and all(len(cells) == 4 and re.fullmatch(NUMBER, cells[3]) for cells in rows)


def read_bed(path: Path, *, peaks: bool = False) -> Iterator[Interval]:
    """Yield the intervals of a BED file; columns after the third may hold anything.

    Raises:
        InputError: if a line is no interval; the message gives its number. With `peaks`, also if the file is
            a bedGraph, whose intervals cover what is no peak too.
    """
    is_track, rows = _open(path)
    if peaks and is_track:
        raise InputError(
            f"{path}: a bedGraph, not peaks; use it as a `track`, or, if its column 4 is a name, leave that "
            "column out"
        )
    for number, cells in rows:
        yield _interval(path, number, cells)


def read_regions(path: Path) -> Iterator[tuple[Interval, str, str]]:
    """Yield the intervals of a BED file with their names and strands; empty and + where a row has none.

    Raises:
        InputError: if a line is no interval; the message gives its number.
    """
    for number, cells in _open(path)[1]:
        name = cells[3] if len(cells) > 3 and cells[3] != "." else ""
        yield _interval(path, number, cells), name, "-" if cells[5:6] == ["-"] else "+"


class BedGraph:
    """A bedGraph in memory: a number at each base of a genome.

    Args:
        path: the file, plain or gzip.

    Raises:
        InputError: if the file is no bedGraph, a line is damaged, or two intervals overlap.
    """

    has_lengths = False  # those of the contigs are not in the file

    def __init__(self, path: Path) -> None:
        self.path = path
        is_track, lines = _open(path)
        if not is_track:
            first = " ".join(next(lines, (0, ["nothing"]))[1])
            raise InputError(f"{path}: expected a bigWig or a bedGraph track, got {first[:40]!r}")
        rows: dict[str, array[float]] = defaultdict(lambda: array("d"))
        for number, cells in lines:
            contig, start, end = _interval(path, number, cells)
            value = float(cells[3]) if len(cells) > 3 and re.fullmatch(NUMBER, cells[3]) else np.nan
            if not abs(value) < 3e38:  # of float32
                text = " ".join(cells)[:60]
                raise InputError(f"{path}: line {number:,}: expected a number in column 4, got {text!r}")
            if start < end:
                rows[contig].extend((start, end, value))
        if not rows:
            raise InputError(f"{path}: expected values, got a bedGraph without any")
        self._tracks = {
            contig: self._track(contig, np.reshape(each, (-1, 3))) for contig, each in rows.items()
        }
        self.contigs = {contig: int(edges[-1]) for contig, (edges, _) in self._tracks.items()}  # last ends

    def _track(self, contig: str, rows: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the edges of N intervals in order, [2 N], and the value before each and after all."""
        rows = rows[rows[:, 0].argsort()]  # start, end and value
        edges, values = rows[:, :2].ravel(), np.zeros(2 * len(rows) + 1, dtype=np.float32)
        if (wrong := np.flatnonzero(np.diff(edges) < 0)).size:
            raise InputError(f"{self.path}: {contig}: two intervals hold base {edges[wrong[0] + 1] + 1:,.0f}")
        values[1::2] = rows[:, 2]
        return edges, values

    def values(self, contig: str, start: int, end: int) -> npt.NDArray[np.float32]:
        """Return the track from `start` to before `end`, 0-based, [end - start]; 0 where there is no data."""
        edges, values = self._tracks[contig]
        track: npt.NDArray[np.float32] = values[np.searchsorted(edges, np.arange(start, end), side="right")]
        return track


def _open(path: Path) -> tuple[bool, Iterator[tuple[int, list[str]]]]:
    """Return whether a file is a bedGraph, and the number and the cells of each row."""
    lines = read_lines(path)
    head = list(itertools.islice(lines, HEAD))
    rows = ((number, split_row(line)) for number, line in itertools.chain(head, lines))
    return is_bedgraph(line for _, line in head), filter(lambda row: row[1], rows)


def _interval(path: Path, number: int, cells: list[str]) -> Interval:
    """Return the interval of a row; InputError if it has none."""
    if not is_interval(cells):
        text = " ".join(cells)[:60]
        raise InputError(
            f"{path}: line {number:,}: expected contig, start and end by tabs, the start not after the end, "
            f"got {text!r}; is this BED?"
        )
    return Interval(cells[0], int(cells[1]), int(cells[2]))
