"""Sequences of genes: FASTA, a table (GeneID, sequence; kind, source_id), or HDF5 with one dataset a gene."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnalm.dna import AMBIGUOUS, BASES
from dnalm.errors import InputError, import_extra
from dnalm.files import regular_file
from dnalm.formats.fasta import Source, read_fasta
from dnalm.formats.pairs import plain_gene_id
from dnalm.formats.text import AGAIN, first_line, read_lines, read_table

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
UNKNOWN = "unknown"  # the kind of a sequence whose file gives none
ENSEMBL = re.compile(r">(\S+) .*?\b(gene:\S+)")
NO_SEQUENCE = "SEQUENCEUNAVAILABLE"
"""What Ensembl's BioMart writes for a gene of which it has no sequence, without the blank."""


class GeneRow(NamedTuple):
    """One sequence of a gene; a gene may have several."""

    gene_id: str
    kind: str  # what it is, in the file's words: CDS, mRNA, a promoter; or `UNKNOWN`
    source_id: str
    sequence: str  # upper-case IUPAC DNA; U is read as T; empty where the file has none


def read_gene_rows(path: Path) -> Iterator[GeneRow]:
    """Yield the sequences of a file, whose format is known by its content.

    Raises:
        InputError: if it is none of these, is damaged, lacks a column, or has letters that are not IUPAC's.
    """
    if path.is_dir():
        raise InputError(f"{path}: expected a file of gene sequences (FASTA, table or HDF5), got a folder")
    with regular_file(path) as file:
        for row in _rows(file):
            sequence = "".join(row.sequence.split()).upper().replace(NO_SEQUENCE, "").replace("U", "T")
            if strange := sorted(set(sequence) - set(BASES + AMBIGUOUS)):
                raise InputError(
                    f"{path}: the sequence of gene {row.gene_id} has {strange[0]!r}, which is not DNA"
                )
            yield row._replace(gene_id=plain_gene_id(row.gene_id), sequence=sequence)


def _rows(path: Path) -> Iterator[GeneRow]:
    """Yield the sequences of a file as they are in it."""
    with path.open("rb") as file:
        is_hdf5 = file.read(len(HDF5_MAGIC)) == HDF5_MAGIC
    if is_hdf5:
        return _from_hdf5(path)
    return _from_fasta(path) if first_line(path).startswith(">") else _from_table(path)


def _from_fasta(path: Path) -> Iterator[GeneRow]:
    """Read gene sequences from FASTA; the first word of a header names the gene.

    What Ensembl's headers of transcripts have behind it, gene:NAME, is added to the source.
    """
    sources: dict[str, str] = {}
    if ENSEMBL.match(first_line(path)):
        headers = (line for _, line in read_lines(path) if line.startswith(">"))
        sources = {found[1]: f"{found[1]} {found[2]}" for found in map(ENSEMBL.match, headers) if found}
    name, pieces = "", list[bytes]()
    with closing(Source(path)) as source:
        for begins, text in read_fasta(source):
            if begins is not None:
                if name:
                    yield GeneRow(name, UNKNOWN, sources.get(name, name), b"".join(pieces).decode("latin-1"))
                name, pieces = begins, []
            pieces.append(text)
    yield GeneRow(name, UNKNOWN, sources.get(name, name), b"".join(pieces).decode("latin-1"))


def _from_table(path: Path) -> Iterator[GeneRow]:
    for _, row in read_table(path, ("GeneID", "sequence")):
        kind, source = " ".join(row.get("kind", "").split()) or UNKNOWN, row.get("source_id", "").strip()
        yield GeneRow(row["GeneID"], kind, source, row["sequence"])


def _from_hdf5(path: Path) -> Iterator[GeneRow]:
    """Read gene sequences from the published HDF5 table."""
    h5py = import_extra("h5py", "interaction", f"{path}: HDF5")
    try:
        with h5py.File(path, "r") as file:
            for key in file:
                name = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
                item = file[key]
                sequence = _hdf5_text(item[()]) if isinstance(item, h5py.Dataset) else None
                if sequence is None:
                    raise InputError(
                        f"{path}: {name!r}: expected a dataset with the letters of one sequence, got {item}"
                    )
                yield GeneRow(name, UNKNOWN, name, sequence)
    except (OSError, RuntimeError, KeyError, UnicodeError) as error:  # all that h5py raises
        raise InputError(f"{path}: damaged HDF5 ({error}); {AGAIN}") from error


def _hdf5_text(value: Any) -> str | None:
    """Return the letters of a dataset: a string, bytes, or an array of either or of character codes."""
    array = np.asarray(value)
    if array.dtype == np.uint8:
        return bytes(array.ravel()).decode("ascii", "replace")
    texts = [each.decode("ascii", "replace") if isinstance(each, bytes) else str(each) for each in array.flat]
    one = len(texts) == 1 or all(len(each) <= 1 for each in texts)
    return "".join(texts) if one and array.dtype.kind in "SUO" else None
