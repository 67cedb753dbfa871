"""Tables of genes and molecules that interact or do not: GeneID, SMILES, Label; CSV or TSV, plain or gzip."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dnalm.errors import InputError
from dnalm.formats.text import read_lines

COLUMNS = ("GeneID", "SMILES", "Label")
LONGEST_CELL = 1 << 30
"""Characters of a cell: a gene may have more than the 131,072 at which the csv module stops."""
PACKED = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


class PairRow(NamedTuple):
    """One row of a table of pairs, as it stands there."""

    file: str
    """Name of the file, with its folder where there are several."""
    line: int
    """From 1, the header being 1."""
    gene_id: str
    """Without the ".0" that a spreadsheet puts behind a number."""
    smiles: str
    label: str


def pair_files(path: Path) -> list[Path]:
    """Return the tables that `path` stands for: itself, or those in train/ and test/ of a folder.

    Raises:
        InputError: if a folder has none.
    """
    if not path.is_dir():
        return [path]
    files = [
        file
        for part in ("train", "test")
        for file in sorted((path / part).glob("*"))
        if file.name.endswith(PACKED)
    ]
    if not files:
        raise InputError(
            f"{path}: expected a table of pairs, or a folder with train/*.csv and test/*.csv, got a folder "
            "with neither"
        )
    return files


def read_pair_rows(path: Path) -> Iterator[PairRow]:
    """Yield the rows of all tables that `path` stands for; what is in them is not judged here.

    Raises:
        InputError: if a column is missing, a row is longer or shorter than the header, or a file is no text.
    """
    for file in pair_files(path):
        name = file.name if file == path else f"{file.parent.name}/{file.name}"
        for line, row in read_table(file, COLUMNS):
            yield PairRow(
                name, line, plain_gene_id(row["GeneID"]), row["SMILES"].strip(), row["Label"].strip()
            )


def plain_gene_id(text: str) -> str:
    """Return a gene's name with single blanks, and without the ".0" of a number kept as a float."""
    text = " ".join(text.split())
    return text[:-2] if text.endswith(".0") and text[:-2].isdigit() else text


def read_table(path: Path, wanted: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells by column of a table with a header, separated by tabs or else by commas.

    Args:
        path: plain or gzip.
        wanted: columns that must be there, in whatever case; they are given under these names.

    Raises:
        InputError: if one is missing or there twice, or a row has more or fewer cells than the header.
    """
    csv.field_size_limit(LONGEST_CELL)
    lines = (line.decode("utf-8-sig", "replace") for line in read_lines(path))
    first = next(lines, "")
    delimiter = "\t" if "\t" in first else ","
    spelled = {name.lower(): name for name in wanted}
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    header = [spelled.get(name.lower(), name) for name in names]
    if missing := [name for name in wanted if name not in header]:
        raise InputError(
            f"{path}: expected a table with the columns {', '.join(wanted)}; {', '.join(missing)} missing "
            f"among {', '.join(header) or 'none at all'}"
        )
    if twice := [name for name in wanted if header.count(name) > 1]:
        raise InputError(f"{path}: expected each column once, got several: {', '.join(twice)}")
    # A quote is part of the text in a table with tabs, unless the header shows that cells are quoted.
    quoted = delimiter == "," or '"' in first
    rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    for cells in rows:
        if not any(map(str.strip, cells)):
            continue
        number = rows.line_num + 1  # the header was read before
        if len(cells) != len(header):
            raise InputError(
                f"{path}: line {number:,}: expected {len(header)} cells as in the header, got {len(cells)}"
            )
        yield number, dict(zip(header, cells, strict=True))
