"""BED, narrowPeak and bedGraph: intervals of a genome, plain or gzip."""

import itertools
import re
from array import array
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
LARGEST = float(np.finfo(np.float32).max)
SKIPPED = ("#", "track", "browser")
"""First words of lines that hold no interval (UCSC, BED format)."""


def split_row(line: str) -> list[str]:
    """Return the cells of a line, separated by tabs or else by blanks; none if it holds no interval."""
    text = line.rstrip()
    if not text or text.startswith("#") or text.split(maxsplit=1)[0] in SKIPPED:
        return []
    return [cell.strip() for cell in text.split("\t")] if "\t" in text else text.split()


def is_interval(cells: list[str]) -> bool:
    """Return whether a row begins with contig, start and end, the start not after the end."""
    numbers = cells[1:3]
    is_valid = len(numbers) == 2 and cells[0] and all(re.fullmatch("[0-9]+", cell) for cell in numbers)
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
    lines = read_lines(path)
    head = list(itertools.islice(lines, HEAD))
    if peaks and is_bedgraph(line for _, line in head):
        raise InputError(
            f"{path}: a bedGraph, not peaks; use it as a `track`, or, if its column 4 is a name, leave that "
            "column out"
        )
    for number, line in itertools.chain(head, lines):
        if cells := split_row(line):
            yield _interval(path, number, cells)


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
        lines = read_lines(path)
        head = list(itertools.islice(lines, HEAD))
        if not is_bedgraph(line for _, line in head):
            first = next((line for _, line in head if line.strip()), "an empty file")
            raise InputError(f"{path}: expected a bigWig or a bedGraph track, got {first[:40]!r}")
        columns: dict[str, tuple[array[int], array[int], array[float]]] = {}
        for number, line in itertools.chain(head, lines):
            if not (cells := split_row(line)):
                continue
            contig, start, end = _interval(path, number, cells)
            value = float(cells[3]) if len(cells) > 3 and re.fullmatch(NUMBER, cells[3]) else np.nan
            if not abs(value) <= LARGEST:
                raise InputError(f"{path}: line {number:,}: expected a number in column 4, got {line[:60]!r}")
            if start < end:
                row = columns.setdefault(contig, (array("q"), array("q"), array("d")))
                row[0].append(start)
                row[1].append(end)
                row[2].append(value)
        if not columns:
            raise InputError(f"{path}: expected values, got a bedGraph without any")
        self._tracks = {contig: self._track(contig, *map(np.array, each)) for contig, each in columns.items()}
        self.contigs = {contig: int(edges[-1]) for contig, (edges, _) in self._tracks.items()}  # last ends

    def _track(
        self, contig: str, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], value: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return the edges of N intervals in order, [2 N], and the value before each and after all."""
        order = np.argsort(start)
        start, end = start[order], end[order]
        if (wrong := np.flatnonzero(start[1:] < end[:-1])).size:
            raise InputError(f"{self.path}: {contig}: two intervals hold base {start[wrong[0] + 1] + 1:,}")
        values = np.zeros(2 * len(start) + 1, dtype=np.float32)
        values[1::2] = value[order]
        return np.stack([start, end], axis=1).ravel(), values

    def values(self, contig: str, start: int, end: int) -> npt.NDArray[np.float32]:
        """Return the track from `start` to before `end`, 0-based, [end - start]; 0 where there is no data."""
        edges, values = self._tracks[contig]
        return values[np.searchsorted(edges, np.arange(start, end), side="right")]


def _interval(path: Path, number: int, cells: list[str]) -> Interval:
    """Return the interval of a row; InputError if it has none."""
    if not is_interval(cells):
        text = " ".join(cells)[:60]
        raise InputError(
            f"{path}: line {number:,}: expected contig, start and end by tabs, the start not after the end, "
            f"got {text!r}; is this BED?"
        )
    return Interval(cells[0], int(cells[1]), int(cells[2]))
