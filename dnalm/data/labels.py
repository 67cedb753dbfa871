"""What `dnalm label` goes through: the contigs of a genome, windows on them, and what labels their bases.

Shapes used below
    N  windows                       L  bases in a window
    G  bases of a contig             K  windows that follow each other without a gap
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dnalm.dna import AMBIGUOUS, BASE_CODES, BASES, NOT_A_BASE, Interval
from dnalm.errors import InputError
from dnalm.formats import read_blocks
from dnalm.formats.bed import read_bed
from dnalm.formats.bigwig import BigWig
from dnalm.formats.binding import window_name
from dnalm.formats.fasta import Source
from dnalm.formats.text import read_lines
from dnalm.genome.motif_scan import Numbers, Sites, find_sites, paint

Letters = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]

TOGETHER = 1 << 14
"""K at most: windows labelled at a time."""
NAMED = 5
"""Contigs named at most in a message."""
AMBIGUITY = "with N or another ambiguity code"
BEYOND = "beyond the end of the contig"
UNCOVERED = "on a contig that a track does not have"


class Rename:
    """How contigs of a file of labels are called in the genome.

    Args:
        how: None: alike. chr: with `chr` before the name, or without it. Anything else: a file of two
            columns, the name in the file of labels and the name in the genome.
    """

    def __init__(self, how: str | None) -> None:
        self.how = how
        self._labels: dict[str, str] = {}
        if how is None or how == "chr":
            return
        for number, line in read_lines(Path(how)):
            cells = line.split()
            if not cells or cells[0].startswith("#"):
                continue
            if len(cells) != 2 or cells[1] in self._labels:
                raise InputError(
                    f"--rename {how}: line {number:,}: expected two columns, the name in the file of labels "
                    f"and the name in the genome, each once, got {' '.join(cells)[:60]!r}"
                )
            self._labels[cells[1]] = cells[0]

    def candidates(self, contig: str) -> list[str]:
        """Return what a contig of the genome may be called in a file of labels, the likeliest first."""
        if self.how == "chr":
            return [contig, contig.removeprefix("chr") if contig.startswith("chr") else f"chr{contig}"]
        return [self._labels[contig]] if contig in self._labels else [contig]


class ContigNames:
    """The contigs of one file of labels, and which of them the genome turned out to have."""

    def __init__(self, path: Path, names: Iterable[str], rename: Rename) -> None:
        self.path, self._names, self._rename = path, list(dict.fromkeys(names)), rename
        self._known, self._found = set(self._names), set[str]()
        self.lacking: list[str] = []
        """Contigs of the genome met so far that are not in this file."""

    def find(self, contig: str) -> str | None:
        """Return what a contig of the genome is called in this file; None where it is not there."""
        name = next((name for name in self._rename.candidates(contig) if name in self._known), None)
        if name is None:
            self.lacking.append(contig)
        else:
            self._found.add(name)
        return name

    def missing(self, genome: list[str]) -> list[str]:
        """Return the contigs that the genome does not have, after all of it has been read.

        Raises:
            InputError: if it has none of them.
        """
        if self._names and not self._found:
            raise InputError(
                f"{self.path}: none of its contigs is in the genome: here they are called "
                f"{first_of(self._names)}, there {first_of(genome)}; pass --rename chr to add or remove chr, "
                "or --rename FILE with two columns, the name here and the name there"
            )
        return [name for name in self._names if name not in self._found]


class Labels(Protocol):
    """What labels the bases of a genome, contig by contig."""

    count: int
    """Sites or peaks met so far."""

    @property
    def names(self) -> ContigNames | None:
        """The contigs of the file of labels; None where labels do not come from places in a file."""

    def begin(self, contig: str, letters: Letters) -> bool:
        """Turn to a contig of these upper-case letters, [G]; return whether its labels are known."""

    def values(self, start: int, end: int) -> Scores:
        """Return its labels from `start` to before `end`, [end - start]."""


class MotifLabels:
    """The score of the site that a base is in."""

    names = None

    def __init__(self, matrix: Numbers, threshold: float, *, every_site: bool) -> None:
        self._matrix, self._threshold, self._every_site, self.count = matrix, threshold, every_site, 0
        self._sites: Sites

    def begin(self, contig: str, letters: Letters) -> bool:
        """Find the sites of a contig."""
        codes = BASE_CODES[letters]
        self._sites = find_sites(codes, self._matrix, self._threshold, every_site=self._every_site)
        self.count += len(self._sites.starts)
        return True

    def values(self, start: int, end: int) -> Scores:
        """Return the scores of the bases."""
        return paint(self._sites, len(self._matrix), start, end)


class PeakLabels:
    """1 inside a peak."""

    def __init__(self, path: Path, rename: Rename) -> None:
        self._peaks: dict[str, list[tuple[int, int]]] = {}
        for record in read_bed(path):
            contig, start, end = record.interval
            self._peaks.setdefault(contig, []).append((start, end))
        if not self._peaks:
            raise InputError(f"{path}: expected peaks, got a BED file without any")
        self.names, self.count = ContigNames(path, self._peaks, rename), 0
        self.beyond = 0
        """Peaks met so far that lie beyond the end of their contig, wholly or in part."""
        self._inside = np.zeros(0, dtype=np.float32)

    def begin(self, contig: str, letters: Letters) -> bool:
        """Mark the peaks of a contig, which may have none; what lies beyond its end is left aside."""
        self._inside = np.zeros(len(letters), dtype=np.float32)
        name = self.names.find(contig)
        for start, end in self._peaks[name] if name is not None else []:
            self._inside[start:end] = 1
            self.count += start < len(letters)
            self.beyond += end > len(letters)
        return True

    def values(self, start: int, end: int) -> Scores:
        """Return 1 for each base inside a peak."""
        return self._inside[start:end]


class TrackLabels:
    """The signal of a bigWig track; 0 where there is none on a contig that it has."""

    count = 0
    longer: dict[str, tuple[int, int]]
    """Bases in the track and in the genome of contigs that are longer in the track: a piece was given, or the
    track is of another assembly."""

    def __init__(self, path: Path, rename: Rename) -> None:
        self._track = BigWig(path)
        self.names = ContigNames(path, self._track.contigs, rename)
        self._name: str | None = None
        self.longer = {}

    def begin(self, contig: str, letters: Letters) -> bool:
        """Turn to a contig; return whether the track has it: its header lists those that hold data.

        Raises:
            InputError: if it is shorter in the track: a genome is all of what was measured, or a piece.
        """
        self._name = self.names.find(contig)
        if self._name is None:
            return False
        bases, here = self._track.contigs[self._name], len(letters)
        if bases < here:
            raise InputError(
                f"{self.names.path}: {contig} has {bases:,} bases in the track and {here:,} in the genome: "
                "is it of another assembly? Take a track and a genome of the same one"
            )
        if bases > here:
            self.longer[contig] = (bases, here)
        return True

    def values(self, start: int, end: int) -> Scores:
        """Return the signal of the bases."""
        assert self._name is not None
        return self._track.values(self._name, start, end)


class Windows(Protocol):
    """Which windows of a contig are labelled."""

    length: int
    """L."""

    @property
    def names(self) -> ContigNames | None:
        """The contigs of the file of windows, if there is one."""

    @property
    def keep_ambiguous(self) -> bool:
        """Whether windows with letters other than A C G T are kept."""

    def stretches(self, contig: str, bases: int, left_out: Counter[str]) -> Iterator[tuple[int, int]]:
        """Yield start and K of windows that follow each other, in order; count those that do not fit."""


class Tiles:
    """Windows side by side from the first base of each contig."""

    keep_ambiguous, names = False, None

    def __init__(self, length: int) -> None:
        self.length = length

    def stretches(self, contig: str, bases: int, left_out: Counter[str]) -> Iterator[tuple[int, int]]:
        """Yield stretches of a contig; the rest at its end is no window."""
        count = bases // self.length
        for first in range(0, count, TOGETHER):
            yield first * self.length, min(TOGETHER, count - first)


class ListedWindows:
    """The windows of a BED file, all of one length."""

    keep_ambiguous = True

    def __init__(self, path: Path, rename: Rename) -> None:
        self._starts: dict[str, list[int]] = {}
        lengths: dict[int, Interval] = {}
        for record in read_bed(path):
            self._starts.setdefault(record.interval.contig, []).append(record.interval.start)
            lengths.setdefault(record.interval.length, record.interval)
        if not lengths or 0 in lengths or len(lengths) > 1:
            found = ", ".join(
                f"{length:,} ({window_name(one)})" for length, one in sorted(lengths.items())[:3]
            )
            raise InputError(
                f"{path}: expected windows, all of one length above 0, got {found or 'a file without any'}"
            )
        (self.length,) = lengths
        for contig, starts in self._starts.items():
            if twice := [start for start, count in Counter(starts).items() if count > 1]:
                one = Interval(contig, twice[0], twice[0] + self.length)
                raise InputError(f"{path}: expected each window once, got {window_name(one)} several times")
        self.names = ContigNames(path, self._starts, rename)

    def stretches(self, contig: str, bases: int, left_out: Counter[str]) -> Iterator[tuple[int, int]]:
        """Yield the windows of a contig one by one, rising."""
        name = self.names.find(contig)
        for start in sorted(self._starts[name]) if name is not None else []:
            if start + self.length <= bases:
                yield start, 1
            else:
                left_out[BEYOND] += 1


class Labelled(NamedTuple):
    """Windows with labels, and what was left out."""

    windows: list[str]
    """Names, N."""
    letters: Letters
    """[N, L]"""
    scores: list[Scores]
    """[N, L] for each of the labels."""
    contigs: list[str]
    """All of the genome."""
    windowed: Counter[str]
    """Windows on each contig that has any, kept or not."""
    bases: int
    """Of the genome."""
    left_out: Counter[str]
    """Windows by reason."""


def label_genome(
    source: Source, windows: Windows, labels: list[Labels], *, keep_all: bool, empty: str
) -> Labelled:
    """Label the windows of a genome, one contig after the other.

    Args:
        source: the genome.
        windows: where.
        labels: what with, one or more.
        keep_all: keep windows whose labels are all 0.
        empty: the name of what such windows are without, as in "without a site".
    """
    names: list[str] = []
    kept: list[tuple[Letters, list[Scores]]] = [
        (np.zeros((0, windows.length), np.uint8), [np.zeros((0, windows.length), np.float32) for _ in labels])
    ]
    contigs, bases, windowed, left_out = [], 0, Counter[str](), Counter[str]()
    for contig, letters in read_contigs(source):
        contigs.append(contig)
        bases += len(letters)
        covered = all([label.begin(contig, letters) for label in labels])
        for start, count in windows.stretches(contig, len(letters), left_out):
            windowed[contig] += count
            if not covered:  # of one table at least the scores would be zeros that nobody measured
                left_out[UNCOVERED] += count
                continue
            end = start + count * windows.length
            rows = letters[start:end].reshape(count, windows.length)
            scores = [label.values(start, end).reshape(rows.shape) for label in labels]
            ambiguous = (BASE_CODES[rows] == NOT_A_BASE).any(axis=1) & (not windows.keep_ambiguous)
            flat = ~np.any([(score != 0).any(axis=1) for score in scores], axis=0) & (not keep_all)
            left_out[AMBIGUITY] += int(ambiguous.sum())
            left_out[empty] += int((flat & ~ambiguous).sum())
            keep = np.flatnonzero(~ambiguous & ~flat)
            if len(keep):
                kept.append((rows[keep], [score[keep] for score in scores]))
                at = start + keep * windows.length
                names += [window_name(Interval(contig, a, a + windows.length)) for a in at.tolist()]
    every = [np.concatenate(parts) for parts in zip(*(scores for _, scores in kept), strict=True)]
    rows = np.concatenate([rows for rows, _ in kept])
    return Labelled(names, rows, every, contigs, windowed, bases, left_out)


def read_contigs(source: Source) -> Iterator[tuple[str, Letters]]:
    """Yield name and upper-case letters of each contig, [G].

    Raises:
        InputError: if a name is there twice, or a letter is no IUPAC code.
    """
    seen: set[str] = set()
    name, pieces = "", list[bytes]()
    for begins, text in read_blocks(source):
        if begins is not None:
            if seen:
                yield name, _letters(name, pieces, source)
            if begins in seen:
                raise InputError(f"{source.path}: contig {begins!r} is there twice; rename one")
            seen.add(begins)
            name, pieces = begins, []
        pieces.append(text.replace(b"\n", b""))
    yield name, _letters(name, pieces, source)


def _letters(contig: str, pieces: list[bytes], source: Source) -> Letters:
    text = b"".join(pieces).upper()
    pieces.clear()  # one copy of the contig is enough
    if strange := text.translate(None, (BASES + AMBIGUOUS).encode()):
        at = text.index(strange[:1])
        raise InputError(
            f"{source.path}: contig {contig!r}, position {at + 1:,}: {chr(strange[0])!r} is no IUPAC code of "
            f"DNA ({BASES + AMBIGUOUS})"
        )
    return np.frombuffer(text, dtype=np.uint8)


def first_of(names: list[str]) -> str:
    """Return names of contigs, the first few of them, for a message."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
