"""Labels of the bases of a genome, from a motif, peaks or tracks, and the windows that are labelled.

Shapes: G bases of a contig; K windows that follow each other without a gap.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.dna import BASE_CODES, Interval
from dnalm.errors import InputError, counted, shortened
from dnalm.formats.bed import read_bed
from dnalm.formats.bigwig import BigWig
from dnalm.formats.binding import Letters, Scores, window_name
from dnalm.formats.text import read_lines
from dnalm.genome.motif_scan import Numbers, find_sites, paint

TOGETHER = 1 << 14  # K at most: windows labelled at a time
BEYOND = "beyond the end of the contig"

Rename = Callable[[str], list[str]]
"""Returns the names that a contig of the genome may have in a file of labels, the likeliest first."""
Notes = dict[str, dict[str, str]]
"""Messages about what does not agree, by kind and file."""


def rename_rule(how: str | None) -> Rename:
    """Return how contigs of the genome are called in a file of labels.

    `how` is None for the same name; chr for `chr` before the name, or without it; or a file of two columns,
    the name in the file of labels and the name in the genome.
    """
    if how == "chr":
        return lambda contig: [contig, contig[3:] if contig.startswith("chr") else f"chr{contig}"]
    names: dict[str, str] = {}
    for number, line in read_lines(Path(how)) if how is not None else ():
        cells = line.split()
        if not cells or cells[0].startswith("#"):
            continue
        if len(cells) != 2 or cells[1] in names:
            raise InputError(f"`rename` {how}: line {number:,}: expected two new names, got {line[:60]!r}")
        names[cells[1]] = cells[0]
    return lambda contig: [names.get(contig, contig)]


class ContigFile:
    """A file by contig, and which of its contigs the genome has; no contigs where there is no file."""

    lacks = ""
    """Message about contigs with windows that this file lacks; {} is their number."""

    def __init__(self, path: Path | None, content: Mapping[str, Any], rename: Rename) -> None:
        self.path, self._content, self._rename = path, content, rename
        self._found: set[str] = set()
        self._lacking: list[str] = []  # contigs of the genome so far that are not in this file

    def get(self, contig: str) -> Any:
        """Return what the file holds for a contig of the genome; None if it lacks it."""
        for name in self._rename(contig):
            if name in self._content:
                self._found.add(name)
                return self._content[name]
        self._lacking.append(contig)
        return None

    def add_notes(self, notes: Notes, genome: Iterable[str], windowed: Container[str]) -> None:
        """Add messages about contigs with windows that do not agree; InputError if the genome has none."""
        if self.path is None:
            return
        if not self._found:
            raise InputError(
                f"{self.path}: none of its contigs is in the genome: here they are called "
                f"{_first(self._content)}, there {_first(genome)}; set `rename` to chr to add or "
                "remove chr, or to a file with two columns, the name here and the name there"
            )
        if missing := [name for name in self._content if name not in self._found]:
            are = f"{counted(len(missing), 'contig is', 'contigs are')} not in the genome"
            notes["not_in_genome"][self.path.name] = f"{self.path}: {are}: {_first(missing)}"
        lacking = [contig for contig in self._lacking if contig in windowed]
        if lacking and self.lacks:
            text = self.lacks.format(counted(len(lacking), "contig"))
            notes["not_in_labels"][self.path.name] = f"{self.path}: {text}: {_first(lacking)}"


class Labels(ContigFile, ABC):
    """Labels of the bases of a genome, contig by contig."""

    count = 0  # sites or peaks so far
    thing = "signal"  # what a base with a label has

    @abstractmethod
    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores] | None:
        """Return a function that gives the labels of a contig from start to before end, [end - start].

        None where the labels of the contig are not known. Its letters are upper-case, [G].
        """


class MotifLabels(Labels):
    """The score of the site that a base is in; arguments as of `find_sites`."""

    thing = "a site"

    def __init__(self, matrix: Numbers, threshold: float, every_site: bool) -> None:
        super().__init__(None, {}, list)
        self._matrix, self._threshold, self._every_site = matrix, threshold, every_site

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores]:
        """Find the sites of a contig."""
        sites = find_sites(BASE_CODES[letters], self._matrix, self._threshold, every_site=self._every_site)
        self.count += len(sites.starts)
        return lambda start, end: paint(sites, len(self._matrix), start, end)


class PeakLabels(Labels):
    """1 inside a peak of a BED or narrowPeak file."""

    thing, lacks = "a peak", "no peak on {} of the genome, where every label is 0"

    def __init__(self, path: Path, rename: Rename) -> None:
        super().__init__(path, _by_contig(record.interval for record in read_bed(path)), rename)
        if not self._content:
            raise InputError(f"{path}: expected peaks, got a BED file without any")
        self._beyond = 0

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores]:
        """Mark the peaks of a contig, which may have none; what is beyond its end is ignored."""
        inside = np.zeros(len(letters), dtype=np.float32)
        for _, start, end in self.get(contig) or []:
            inside[start:end] = 1
            self.count += start < len(letters)
            self._beyond += end > len(letters)
        return lambda start, end: inside[start:end]

    def add_notes(self, notes: Notes, genome: Iterable[str], windowed: Container[str]) -> None:
        """Add also a message about peaks beyond the genome."""
        super().add_notes(notes, genome, windowed)
        if self._beyond:
            peaks = counted(self._beyond, "peak reaches", "peaks reach")
            notes["not_in_genome"]["beyond"] = f"{self.path}: {peaks} {BEYOND}; is it of another assembly?"


class TrackLabels(Labels):
    """The signal of a bigWig track; 0 where there is none on a contig that it has."""

    lacks = "nothing for {} of the genome, whose windows are left out"

    def __init__(self, path: Path, rename: Rename) -> None:
        self._track = BigWig(path)
        super().__init__(path, {each[0]: each for each in self._track.contigs.items()}, rename)
        self._longer: dict[str, str] = {}  # contigs that are longer in the track, with both lengths

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores] | None:
        """Return None if the track lacks it; it may not be shorter there: a genome is complete or a piece."""
        name, bases = self.get(contig) or ("", 0)
        if not name:
            return None
        if bases < len(letters):
            lengths = f"{bases:,} bases in the track and {len(letters):,} in the genome"
            raise InputError(f"{self.path}: {contig} has {lengths}; take those of one assembly")
        if bases > len(letters):
            self._longer[contig] = f"{contig} ({bases:,} bases there, {len(letters):,} in the genome)"
        return lambda start, end: self._track.values(name, start, end)

    def add_notes(self, notes: Notes, genome: Iterable[str], windowed: Container[str]) -> None:
        """Add also a message about contigs that are longer in the track."""
        super().add_notes(notes, genome, windowed)
        if longer := [text for contig, text in self._longer.items() if contig in windowed]:
            are = f"{counted(len(longer), 'contig is', 'contigs are')} longer than in the genome"
            advice = "right for the first piece of a contig, wrong if the track is of another assembly"
            text = f"{self.path}: {are}: {_first(longer)}; the labels are {advice}"
            notes["other_lengths"][self._track.path.name] = text


class Windows(ContigFile):
    """Windows of `length` bases side by side on each contig; or those of a BED file, all of one length."""

    def __init__(self, length: int, path: Path | None, rename: Rename) -> None:
        intervals = [record.interval for record in read_bed(path)] if path is not None else []
        super().__init__(path, _by_contig(intervals), rename)
        self.length = length
        if path is None:
            return
        one_of = {interval.length: window_name(interval) for interval in reversed(intervals)}
        if 0 in one_of or len(one_of) != 1:
            got = ", ".join(f"{length:,} ({name})" for length, name in sorted(one_of.items())[:3])
            raise InputError(f"{path}: expected windows of one length, got {got or 'a file without any'}")
        (interval, times), *_ = Counter(intervals).most_common(1)
        if times > 1:
            raise InputError(f"{path}: expected each window once, got {window_name(interval)} several times")
        self.length = interval.length

    def stretches(self, contig: str, bases: int, left_out: Counter[str]) -> Iterator[tuple[int, int]]:
        """Yield start and K of windows that follow each other, in order; count those that do not fit."""
        if self.path is None:
            for start in range(0, bases - self.length + 1, TOGETHER * self.length):
                yield start, min(TOGETHER, (bases - start) // self.length)
        for _, start, end in sorted(self.get(contig) or []):
            if end <= bases:
                yield start, 1
            else:
                left_out[BEYOND] += 1


def _by_contig(intervals: Iterable[Interval]) -> dict[str, list[Interval]]:
    """Return the intervals of each contig, in the order of the file."""
    found: dict[str, list[Interval]] = {}
    for interval in intervals:
        found.setdefault(interval.contig, []).append(interval)
    return found


def _first(names: Iterable[str]) -> str:
    return shortened(", ".join(names))
