"""Labels of the bases of a genome, from a motif or a file, and the windows that are labelled.

Shapes: G bases of a contig; K windows that follow each other without a gap.
"""

import itertools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.config import nearest
from dnalm.dna import BASE_CODES, Interval
from dnalm.errors import InputError, counted, shortened
from dnalm.formats.bed import read_bed
from dnalm.formats.bigwig import open_track
from dnalm.formats.binding import Letters, Scores, window_name
from dnalm.formats.gff import Gff
from dnalm.formats.text import read_lines
from dnalm.genome.motif_scan import Numbers, find_sites, paint

TOGETHER = 1 << 14  # K at most: windows labelled at a time
LACKS = "nothing for {} of the genome, whose windows are left out"
BEYOND = "beyond the end of the contig"
ROMAN = {"II": 2, "III": 3, "IV": 4, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "XI": 11, "XII": 12, "XIII": 13}
"""Roman numerals of chromosomes; I, V and X may be letters."""

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
        return lambda contig: [contig, *(start + _without_chr(contig) for start in ("", "chr", "Chr"))]
    names: dict[str, str] = {}
    for number, line in read_lines(Path(how)) if how is not None else ():
        cells = line.split()
        if not cells or cells[0].startswith("#"):
            continue
        if len(cells) != 2 or cells[1] in names:
            raise InputError(f"`rename` {how}: line {number:,}: expected two new names, got {line[:60]!r}")
        names[cells[1]] = cells[0]
    return lambda contig: [names.get(contig, contig)]


def contigs_by_name(genome: Iterable[str], rename: Rename) -> dict[str, str]:
    """Return the contig of the genome for each name that it may have in a file; the likeliest wins."""
    named = [(rank, name, contig) for contig in genome for rank, name in enumerate(rename(contig))]
    return {name: contig for _, name, contig in sorted(named, reverse=True)}  # likeliest last


class ContigFile:
    """A file by contig, and which of its contigs the genome has; no contigs where there is no file."""

    lacks = ""
    """Message about contigs with windows that this file lacks; {} is their number."""
    record = ""
    """What each line of a contig is, if the content is a list of them."""

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
            advice = how_to_match(self._content, list(genome))
            raise InputError(
                f"{self.path}: none of its contigs ({len(self._content):,}) is in the genome: they are "
                f"{first_names(self._content)} in this file, {first_names(genome)} in the genome; {advice}"
            )
        if missing := [name for name in self._content if name not in self._found]:
            are = f"{counted(len(missing), 'contig is', 'contigs are')} not in the genome"
            text = f"{self.path}: {are}: {first_names(missing)}"
            if self.record:
                text += f" ({counted(sum(len(self._content[name]) for name in missing), self.record)})"
            notes["not_in_genome"][self.path.name] = text
        lacking = [contig for contig in self._lacking if contig in windowed]
        if lacking and self.lacks:
            text = self.lacks.format(counted(len(lacking), "contig"))
            notes["not_in_labels"][self.path.name] = f"{self.path}: {text}: {first_names(lacking)}"


class Labels(ContigFile, ABC):
    """Labels of the bases of a genome, contig by contig."""

    count = 0  # sites or peaks so far
    thing = "signal"  # what a base with a label has
    advice = ""  # how more bases get a label

    @abstractmethod
    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores] | None:
        """Return a function that gives the labels of a contig from start to before end, [end - start].

        None where the labels of the contig are not known. Its letters are upper-case, [G].
        """


class MotifLabels(Labels):
    """The score of the site that a base is in; arguments as of `find_sites`."""

    thing, advice = "a site", "choose a lower `threshold`; "

    def __init__(self, matrix: Numbers, threshold: float, every_site: bool) -> None:
        super().__init__(None, {}, list)
        self._matrix, self._threshold, self._every_site = matrix, threshold, every_site

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores]:
        """Find the sites of a contig."""
        sites = find_sites(BASE_CODES[letters], self._matrix, self._threshold, every_site=self._every_site)
        self.count += len(sites.starts)
        return lambda start, end: paint(sites, len(self._matrix), start, end)


class IntervalLabels(Labels):
    """1 inside the intervals of a file."""

    def __init__(self, path: Path, intervals: Mapping[str, list[Interval]], rename: Rename) -> None:
        super().__init__(path, intervals, rename)
        self._beyond = self._outside = self._empty = 0

    def mark(self, intervals: Iterable[Interval], letters: Letters) -> Callable[[int, int], Scores]:
        """Mark the intervals of a contig; what is beyond its end is left aside."""
        inside = np.zeros(len(letters), dtype=np.float32)
        for _, start, end in intervals:
            inside[start:end] = 1
            self.count += start < min(end, len(letters))
            self._empty += start == end
            self._beyond += end > len(letters)
            self._outside += end > start >= len(letters)
        return lambda start, end: inside[start:end]

    def add_notes(self, notes: Notes, genome: Iterable[str], windowed: Container[str]) -> None:
        """Add also messages about intervals that mark nothing, or less than their length."""
        super().add_notes(notes, genome, windowed)
        if self._empty:
            text = f"{self.path}: {counted(self._empty, self.record)} of no length left aside"
            notes["left_aside"]["empty"] = text
        if self._beyond:
            intervals = counted(self._beyond, f"{self.record} reaches", f"{self.record}s reach")
            beyond = f"{intervals} {BEYOND} ({self._outside:,} completely)"
            notes["not_in_genome"]["beyond"] = f"{self.path}: {beyond}; is it of another assembly?"


class PeakLabels(IntervalLabels):
    """1 inside a peak of a BED or narrowPeak file; 0 on a contig that it lacks, which has no peak."""

    thing, record, lacks = "a peak", "peak", "no peak on {} of the genome, where every label is 0"

    def __init__(self, path: Path, rename: Rename) -> None:
        super().__init__(path, _by_contig(read_bed(path, peaks=True)), rename)
        if not self._content:
            raise InputError(f"{path}: expected peaks, got a BED file without any")

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores]:
        """Mark the peaks of a contig, which may have none."""
        return self.mark(self.get(contig) or [], letters)


class FeatureLabels(IntervalLabels):
    """1 inside a feature of one type, on one strand or on either, of a GFF3 or GTF file.

    0 on a contig where the file has other features only; nothing is known of a contig that it lacks.

    Args:
        kind: the type, column 3.
        strand: + or -; both for either strand, or none.

    Raises:
        InputError: if the file has no such feature on the strand.
    """

    thing, record, lacks = "a feature", "feature", LACKS

    def __init__(self, path: Path, rename: Rename, kind: str, strand: str) -> None:
        self._gff, strands, kinds = Gff(path), Counter[str](), Counter[str]()
        intervals: dict[str, list[Interval]] = {}
        for feature in self._gff:
            kinds[feature.kind] += 1
            of_contig = intervals.setdefault(feature.contig, [])
            if feature.kind == kind:
                strands[feature.strand] += 1
                if strand in (feature.strand, "both"):
                    of_contig.append(Interval(feature.contig, feature.start, feature.end))
        if kind not in kinds:
            types = ", ".join(f"{name} ({count:,})" for name, count in kinds.most_common())
            hint = nearest(kind, list(kinds))
            raise InputError(f"{path}: no `feature` of type {kind!r}, it has {types or 'none at all'}{hint}")
        if strand != "both" and not strands[strand]:
            got = " and ".join(f"{count:,} on {name}" for name, count in strands.items())
            raise InputError(f"{path}: expected {kind} on `strand` {strand}, got {got} (. is none)")
        super().__init__(path, intervals, rename)
        self._strandless = strands["."] if strand != "both" else 0

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores] | None:
        """Mark the features of a contig; None if the file lacks it."""
        intervals = self.get(contig)
        return None if intervals is None else self.mark(intervals, letters)

    def add_notes(self, notes: Notes, genome: Iterable[str], windowed: Container[str]) -> None:
        """Add also messages about lines that are no features, and about features without a strand."""
        super().add_notes(notes, genome, windowed)
        for reason, count in self._gff.left_out.items():
            first = self._gff.examples[reason]
            text = f"{self.path}: {counted(count, 'line')} left aside: {reason} (the first is {first})"
            notes["left_aside"][reason] = text
        if self._strandless:
            text = f"{self.path}: {counted(self._strandless, 'feature')} without a strand left aside"
            notes["left_aside"]["strandless"] = text


class TrackLabels(Labels):
    """The signal of a bigWig or bedGraph track; 0 where there is none on a contig that it has.

    `transform` is none, or log1p for ln(1 + signal), which must not be negative.
    """

    lacks = LACKS

    def __init__(self, path: Path, rename: Rename, transform: str = "none") -> None:
        self._track = open_track(path)
        super().__init__(path, {each[0]: each for each in self._track.contigs.items()}, rename)
        self._transform = transform
        self._longer: dict[str, str] = {}  # contigs that are longer in the track, with both lengths

    def of(self, contig: str, letters: Letters) -> Callable[[int, int], Scores] | None:
        """Return None if the track lacks it; it may not be shorter there: a genome is complete or a piece."""
        name, bases = self.get(contig) or ("", 0)
        if not name:
            return None
        if self._track.has_lengths and bases < len(letters):
            lengths = f"{bases:,} bases in the track and {len(letters):,} in the genome"
            raise InputError(f"{self.path}: {contig} has {lengths}; take those of one assembly")
        if bases > len(letters):
            self._longer[contig] = f"{contig} ({bases:,} bases there, {len(letters):,} in the genome)"
        return lambda start, end: self._values(name, start, end)

    def add_notes(self, notes: Notes, genome: Iterable[str], windowed: Container[str]) -> None:
        """Add also a message about contigs that are longer in the track."""
        super().add_notes(notes, genome, windowed)
        if longer := [text for contig, text in self._longer.items() if contig in windowed]:
            are = f"{counted(len(longer), 'contig is', 'contigs are')} longer than in the genome"
            advice = "right for the first piece of a contig, wrong if the track is of another assembly"
            text = f"{self.path}: {are}: {first_names(longer)}; the labels are {advice}"
            notes["other_lengths"][self._track.path.name] = text

    def _values(self, name: str, start: int, end: int) -> Scores:
        """Return the transformed signal, [end - start]; InputError if it is negative and must not be."""
        values = self._track.values(name, start, end)
        if self._transform == "none":
            return values
        if (values < 0).any():
            at = int(np.argmax(values < 0))
            raise InputError(
                f"{self.path}: {name}, base {start + at + 1:,}: expected counts of 0 or more for `transform` "
                f"log1p, got {values[at]:g}; leave `transform` out, or take a track of counts"
            )
        return np.log1p(values)


class Windows(ContigFile):
    """Windows of `length` bases side by side on each contig; or those of a BED file, all of one length."""

    record = "window"

    def __init__(self, length: int, path: Path | None, rename: Rename) -> None:
        intervals = list(read_bed(path)) if path is not None else []
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


def first_names(names: Iterable[str]) -> str:
    """Return up to three names in words."""
    first = list(itertools.islice(names, 4))
    return shortened(", ".join([*first[:3], *(["..."] if len(first) > 3 else [])]))


def _without_chr(contig: str) -> str:
    return contig[3:] if contig[:3].lower() == "chr" else contig


def how_to_match(names: Iterable[str], genome: Sequence[str]) -> str:
    """Return what makes contigs of a file match those of the genome, none of which is called the same."""
    rename, own = rename_rule("chr"), {_number(name): name for name in names}
    if any(name in own.values() for contig in genome for name in rename(contig)):
        return "set `rename` to chr, which matches names with and without chr"
    table = "set `rename` to a file of two columns, the name in this file and the name in the genome"
    for contig in genome:
        if _number(contig) in own:
            return f"one of them has Roman numerals: {table}, such as '{own[_number(contig)]} {contig}'"
    return f"{table}, if they are of one assembly"


def _number(contig: str) -> str:
    """Return a contig's name without chr, a Roman numeral as a number."""
    name = _without_chr(contig)
    return str(ROMAN.get(name, name))
