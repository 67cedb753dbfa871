"""File formats: a reader is a generator."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from dnalm.formats.fasta import read_fasta
from dnalm.formats.text import Block, Source
from dnalm.formats.twobit import MAGIC, read_twobit


class GenomeFormat(NamedTuple):
    """A format that holds a genome."""

    what: str
    """In words."""
    suffixes: tuple[str, ...]
    magic: tuple[bytes, ...]
    """First bytes, one of which tells the format; none: whatever no other format claims."""
    read: Callable[[Source], Iterator[Block]]


FORMATS: dict[str, GenomeFormat] = {
    "2bit": GenomeFormat(".2bit", (".2bit",), MAGIC, read_twobit),
    "fasta": GenomeFormat(
        "FASTA, plain, gzip or bgzip", (".fa", ".fasta", ".fna", ".fa.gz", ".fa.bgz"), (), read_fasta
    ),
}


def format_of(source: Source) -> str:
    """Return the name of a genome file's format, told from its first bytes."""
    first = source.peek(4)
    return next((name for name, entry in FORMATS.items() if first in entry.magic), "fasta")


def read_blocks(source: Source) -> Iterator[Block]:
    """Yield the records of a genome file of any format in blocks."""
    return FORMATS[format_of(source)].read(source)
