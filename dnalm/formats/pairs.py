"""Tables of genes and molecules that interact or do not: GeneID, SMILES, Label; CSV or TSV, plain or gzip."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dnalm.errors import InputError
from dnalm.formats.text import read_table

COLUMNS = ("GeneID", "SMILES", "Label")
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


class PairRow(NamedTuple):
    """One row of a table of pairs."""

    file: str  # its name, with its folder where there are several
    line: int  # from 1, the header being 1
    gene_id: str  # without the ".0" that a spreadsheet adds to a number
    smiles: str
    label: str


def pair_files(path: Path) -> list[Path]:
    """Return the tables that `path` stands for: itself, or those in train/ and test/ of a folder."""
    if not path.is_dir():
        return [path]
    inside = [*sorted(path.glob("train/*")), *sorted(path.glob("test/*"))]
    files = [file for file in inside if file.name.endswith(SUFFIXES)]
    if not files:
        raise InputError(f"{path}: expected a table of pairs, or a folder with train/*.csv and test/*.csv")
    return files


def read_pair_rows(path: Path) -> Iterator[PairRow]:
    """Yield the rows of all tables that `path` stands for; their content is not checked.

    Raises:
        InputError: if a column is missing, or a row is longer or shorter than the header.
    """
    for file in pair_files(path):
        name = file.name if file == path else f"{file.parent.name}/{file.name}"
        for line, row in read_table(file, COLUMNS):
            gene, smiles, label = (row[column] for column in COLUMNS)
            yield PairRow(name, line, plain_gene_id(gene), smiles, label)


def plain_gene_id(text: str) -> str:
    """Return a gene's name with single blanks, and without the ".0" of a number stored as a float."""
    text = " ".join(text.split())
    return text[:-2] if text.endswith(".0") and text[:-2].isdigit() else text
