"""File formats: a reader is a generator. A genome is FASTA or .2bit, known by its first bytes."""

from collections.abc import Iterator

from dnalm.formats.fasta import Block, Source, read_fasta
from dnalm.formats.twobit import MAGIC, read_twobit


def is_twobit(source: Source) -> bool:
    """Return whether a genome file is .2bit; whatever is not is taken for FASTA."""
    return source.peek(4) in MAGIC


def read_blocks(source: Source) -> Iterator[Block]:
    """Yield the records of a genome file of either format in blocks.

    Raises:
        InputError: if it is of neither, is damaged, or has a record without a name.
    """
    return read_twobit(source) if is_twobit(source) else read_fasta(source)
