"""Labels of the bases of a genome, from a motif, peaks or tracks, and the windows that are labelled.

Shapes: G bases of a contig; K windows that follow each other without a gap.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from dnalm.dna import BASE_CODES, Interval
from dnalm.errors import InputError
from dnalm.formats.bed import read_bed
from dnalm.formats.bigwig import BigWig
from dnalm.formats.binding import Letters, Scores, window_name
from dnalm.formats.text import read_lines
from dnalm.genome.motif_scan import Numbers, find_sites, paint

TOGETHER = 1 << 14
"""K at most: windows labelled at a time."""
NAMED = 5
"""Contigs named at most in a message."""
BEYOND = "beyond the end of the contig"

Rename = Callable[[str], list[str]]
"""Returns the names that a contig of the genome may have in a file of labels, the likeliest first."""


def rename_rule(how: str | None) -> Rename:
    """Return how contigs of a file of labels are called in the genome.

    `how` is None for the same name; chr for `chr` before the name, or without it; or a file of two columns,
    the name in the file of labels and the name in the genome.

    Raises:
        InputError: if a line of the file has not two columns, or a contig of the genome is there twice.
    """
    if how == "chr":
        return lambda contig: [contig, contig[3:] if contig.startswith("chr") else f"chr{contig}"]
    names: dict[str, str] = {}
    for number, line in read_lines(Path(how)) if how is not None else ():
        cells = line.split()
        if not cells or cells[0].startswith("#"):
            continue
        if len(cells) != 2 or cells[1] in names:
            raise InputError(
                f"`rename` {how}: line {number:,}: expected two columns, the name in the file of labels "
                f"and the name in the genome, each once, got {' '.join(cells)[:60]!r}"
            )
        names[cells[1]] = cells[0]
    return lambda contig: [names.get(contig, contig)]


class ContigNames:
    """The contigs of one file of labels, and which of them the genome has."""

    def __init__(self, path: Path, names: Iterable[str], rename: Rename) -> None:
        self.path, self._rename = path, rename
        self._found = dict.fromkeys(names, False)
        self.lacking: list[str] = []
        """Contigs of the genome so far that are not in this file."""

    def find(self, contig: str) -> str | None:
        """Return the name of a contig of the genome in this file; None if the file lacks it."""
        name = next((name for name in self._rename(contig) if name in self._found), None)
        if name is None:
            self.lacking.append(contig)
        else:
            self._found[name] = True
        return name

    def missing(self, genome: list[str]) -> list[str]:
        """Return the contigs that the genome does not have, after all of it has been read.

        Raises:
            InputError: if it has none of them.
        """
        if self._found and not any(self._found.values()):
            raise InputError(
                f"{self.path}: none of its contigs is in the genome: here they are called "
                f"{first_of(list(self._found))}, there {first_of(genome)}; set `rename` to chr to add or "
                "remove chr, or to a file with two columns, the name here and the name there"
            )
        return [name for name, found in self._found.items() if not found]


class Labels(ABC):
    """Labels of the bases of a genome, contig by contig."""

    names: ContigNames | None = None
    """The contigs of the file of labels; None where labels are computed."""
    count = 0
    """Sites or peaks so far."""
    thing = "signal"
    """What a base with a label has."""

    @abstractmethod
    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores] | None:
        """Return a function that gives the labels of a contig from start to before end, [end - start].

        None where the labels of the contig are not known. Its letters are upper-case, [G].
        """


class MotifLabels(Labels):
    """The score of the site that a base is in; arguments as of `find_sites`."""

    thing = "a site"

    def __init__(self, matrix: Numbers, threshold: float, *, every_site: bool = False) -> None:
        self._matrix, self._threshold, self._every_site = matrix, threshold, every_site

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores]:
        """Find the sites of a contig."""
        sites = find_sites(BASE_CODES[letters], self._matrix, self._threshold, every_site=self._every_site)
        self.count += len(sites.starts)
        return lambda start, end: paint(sites, len(self._matrix), start, end)


class PeakLabels(Labels):
    """1 inside a peak of a BED or narrowPeak file."""

    names: ContigNames
    thing = "a peak"
    beyond = 0
    """Peaks so far that end beyond the end of their contig."""

    def __init__(self, path: Path, rename: Rename) -> None:
        self._peaks = _by_contig(record.interval for record in read_bed(path))
        if not self._peaks:
            raise InputError(f"{path}: expected peaks, got a BED file without any")
        self.names = ContigNames(path, self._peaks, rename)

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores]:
        """Mark the peaks of a contig, which may have none; what is beyond its end is ignored."""
        inside = np.zeros(len(letters), dtype=np.float32)
        for _, start, end in self._peaks.get(self.names.find(contig) or "", []):
            inside[start:end] = 1
            self.count += start < len(letters)
            self.beyond += end > len(letters)
        return lambda start, end: inside[start:end]


class TrackLabels(Labels):
    """The signal of a bigWig track; 0 where there is none on a contig that it has."""

    names: ContigNames

    def __init__(self, path: Path, rename: Rename) -> None:
        self._track = BigWig(path)
        self.names = ContigNames(path, self._track.contigs, rename)
        self.longer: dict[str, tuple[int, int]] = {}
        """Bases in the track and in the genome of contigs that are longer in the track: the genome holds a
        piece, or the track is of another assembly."""

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores] | None:
        """Return None if the track's header, which lists contigs that hold data, does not have it.

        Raises:
            InputError: if it is shorter in the track: a genome is all of what was measured, or a piece.
        """
        name = self.names.find(contig)
        if name is None:
            return None
        bases = self._track.contigs[name]
        if bases < len(letters):
            raise InputError(
                f"{self.names.path}: {contig} has {bases:,} bases in the track and {len(letters):,} in the "
                "genome: is it of another assembly? Take a track and a genome of the same one"
            )
        if bases > len(letters):
            self.longer[contig] = (bases, len(letters))
        return lambda start, end: self._track.values(name, start, end)


class Windows:
    """Windows of `length` bases side by side from the first base of each contig."""

    names: ContigNames | None = None
    """The contigs of the file of windows, if there is one."""
    keep_ambiguous = False
    """Whether windows with letters other than A C G T are kept."""

    def __init__(self, length: int) -> None:
        self.length = length

    def stretches(self, contig: str, bases: int, left_out: Counter[str]) -> Iterator[tuple[int, int]]:
        """Yield start and K of windows that follow each other, in order; count those that do not fit."""
        count = bases // self.length
        for first in range(0, count, TOGETHER):
            yield first * self.length, min(TOGETHER, count - first)


class ListedWindows(Windows):
    """The windows of a BED file, all of one length.

    Raises:
        InputError: if there is none, lengths differ, or one is there twice.
    """

    names: ContigNames
    keep_ambiguous = True

    def __init__(self, path: Path, rename: Rename) -> None:
        intervals = [record.interval for record in read_bed(path)]
        one_of = {interval.length: interval for interval in reversed(intervals)}
        if 0 in one_of or len(one_of) != 1:
            found = [f"{length:,} ({window_name(one)})" for length, one in sorted(one_of.items())[:3]]
            got = ", ".join(found) or "a file without any"
            raise InputError(f"{path}: expected windows, all of one length above 0, got {got}")
        super().__init__(*one_of)
        if repeated := [one for one, count in Counter(intervals).items() if count > 1]:
            name = window_name(repeated[0])
            raise InputError(f"{path}: expected each window once, got {name} several times")
        self._windows = _by_contig(intervals)
        self.names = ContigNames(path, self._windows, rename)

    def stretches(self, contig: str, bases: int, left_out: Counter[str]) -> Iterator[tuple[int, int]]:
        """Yield the windows of a contig one by one, rising."""
        for _, start, end in sorted(self._windows.get(self.names.find(contig) or "", [])):
            if end <= bases:
                yield start, 1
            else:
                left_out[BEYOND] += 1


def _by_contig(intervals: Iterable[Interval]) -> dict[str, list[Interval]]:
    found: dict[str, list[Interval]] = {}
    for interval in intervals:
        found.setdefault(interval.contig, []).append(interval)
    return found


def first_of(names: list[str]) -> str:
    """Return the first few names for a message."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
