"""Regions of a genome that a user names in a BED file, each checked; what cannot be used is counted."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dnalm.data.labels import Rename, contigs_by_name
from dnalm.errors import InputError, counted
from dnalm.formats.bed import read_regions
from dnalm.formats.indexed import IndexedGenome


class Region(NamedTuple):
    """A stretch of one contig, 0-based and half-open."""

    contig: str  # As the genome names it
    start: int
    end: int
    name: str  # Of the BED file's column 4; else CONTIG:START-END, START from 1
    strand: str = "+"  # - where the BED file says so


class Regions:
    """Regions of a BED file, or all contigs of the genome; those that cannot be used are counted.

    Args:
        genome: whose regions they are.
        path: BED, plain or gzip; None for all contigs.
        rename: how contigs of the genome are called in the file, see `dnalm.data.labels.rename_rule`.
    """

    def __init__(self, genome: IndexedGenome, path: Path | None, rename: Rename) -> None:
        self._genome, self._path = genome, path
        self._contigs = contigs_by_name(genome.lengths, rename)
        self.read = 0
        """Regions of the file so far."""
        self.left_out: Counter[str] = Counter()
        """Regions that cannot be used so far, by reason."""
        self.examples: dict[str, str] = {}
        """The first region of each reason."""

    def __iter__(self) -> Iterator[Region]:
        """Yield the regions that can be used, in the order of the file.

        Raises:
            InputError: if a line is no interval, or at the end if no region can be used.
        """
        self.read = 0
        self.left_out.clear()
        if self._path is None:
            for contig, length in self._genome.lengths.items():
                self.read += 1
                yield Region(contig, 0, length, contig)
            return
        used = 0
        for interval, name, strand in read_regions(self._path):
            self.read += 1
            contig = self._contigs.get(interval.contig, "")
            shown = f"{interval.contig}:{interval.start + 1}-{interval.end}"
            if reason := self._wrong(contig, interval.start, interval.end):
                self.left_out[reason] += 1
                self.examples.setdefault(reason, shown)
                continue
            used += 1
            yield Region(contig, interval.start, interval.end, name or shown, strand)
        if not used:
            raise InputError(f"{self._path}: {self._none_used()}")

    def summary(self) -> list[str]:
        """Return a sentence for each reason why regions were left out."""
        return [
            f"{counted(count, 'region')} left out: {reason} (the first is {self.examples[reason]})"
            for reason, count in self.left_out.items()
        ]

    def _wrong(self, contig: str, start: int, end: int) -> str:
        """Return why a region cannot be used; empty if it can."""
        if not contig:
            return "not a contig of the genome"
        if end > self._genome.lengths[contig]:
            return "beyond the end of its contig"
        return "" if start < end else "of no length"

    def _none_used(self) -> str:
        """Return why there is no region to use."""
        if not self.read:
            return "expected regions, got a BED file without any"
        own = ", ".join(list(self._genome.lengths)[:3])
        hint = f"the genome has {own}, ...; `rename` chr or a file matches names" if self.left_out else ""
        return f"none of {counted(self.read, 'region')} can be used: {'; '.join(self.summary())}; {hint}"
