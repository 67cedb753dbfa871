"""Libraries of molecules: .smi (SMILES, then a name), or a table with a SMILES column; plain or gzip."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dnalm.files import regular_file
from dnalm.formats.text import first_line, read_lines, read_table

NAMES = ("name", "id", "title", "molecule", "compound")
"""Columns of a table that may name a molecule, in order of preference."""


class MoleculeRow(NamedTuple):
    """One molecule of a library."""

    line: int  # from 1
    name: str  # its SMILES where it has none
    smiles: str


def read_molecules(path: Path) -> Iterator[MoleculeRow]:
    """Yield the molecules of a library; whether each is a molecule is not checked.

    Args:
        path: a table if its first line has a column SMILES, between tabs or commas; else lines of SMILES and,
            after a blank or a tab, a name.
    """
    with regular_file(path) as file:
        cells = first_line(file).replace("\t", ",").split(",")
        if "smiles" in (cell.strip().strip('"').lower() for cell in cells):
            for number, row in read_table(file, ("SMILES",)):
                by_name = {column.lower(): " ".join(cell.split()) for column, cell in row.items()}
                name = next((by_name[column] for column in NAMES if by_name.get(column)), row["SMILES"])
                yield MoleculeRow(number, name, row["SMILES"])
            return
        for number, line in read_lines(file):
            text = line.strip()
            if text and not text.startswith("#"):
                smiles, _, name = text.replace("\t", " ").partition(" ")
                yield MoleculeRow(number, name.strip() or smiles, smiles)
