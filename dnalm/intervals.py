"""Intervals of a genome: words of the field."""

from typing import NamedTuple


class Interval(NamedTuple):
    """A stretch of one contig."""

    contig: str
    start: int
    """First base, counted from 0."""
    end: int
    """Behind the last base: the interval is half-open, as in BED."""

    @property
    def length(self) -> int:
        """Bases."""
        return self.end - self.start
