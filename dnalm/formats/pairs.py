"""Tables of genes and molecules that interact or do not: CSV or TSV, plain or gzip; columns found by name."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dnalm.errors import InputError
from dnalm.formats.text import read_header, read_table

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
SYNONYMS = {
    "gene": (
        *("gene id", "gene", "gene name", "gene symbol", "symbol", "hgnc symbol", "ensembl gene id"),
        *("ensembl id", "ensembl", "entrez gene id", "entrez id", "entrez", "target id", "target"),
    ),
    "molecule": (
        *("smiles", "canonical smiles", "isomeric smiles", "drug smiles", "ligand smiles"),
        *("compound smiles", "inchi", "standard inchi", "molecule", "structure", "ligand", "drug"),
    ),
    "label": (
        *("label", "y", "class", "active", "interaction", "interacts", "binds", "outcome", "activity"),
        *("pchembl value", "pchembl", "affinity", "value"),
    ),
}
"""Names of the columns, the preferred first; only letters and digits count."""
YES = {"1", "1.0", "true", "yes", "t", "y", "active", "positive"}
NO = {"0", "0.0", "false", "no", "f", "n", "inactive", "negative"}
ABSENT = {"", "na", "n/a", "nan", "none", "null", "-"}


@dataclass(frozen=True)
class TableConfig:
    """How a table of pairs is read."""

    gene_column: str = ""  # Column of the genes' names; found by common names unless given.
    molecule_column: str = ""  # Column of SMILES or InChI; found by common names unless given.
    label_column: str = (
        ""  # Column of labels; found by common names, all pairs being positive if there is none.
    )
    threshold: float | None = None  # Make labels of numbers: 1 at this number or above it.
    at_most: bool = False  # With `threshold`: 1 at this number or below it, as for a dissociation constant.

    def __post_init__(self) -> None:
        if self.threshold is not None and math.isnan(self.threshold):
            raise InputError("`threshold` must be a number, got nan")
        if self.at_most and self.threshold is None:
            raise InputError(
                "`at_most` is for a `threshold`, and there is none: give one, or leave `at_most` out"
            )

    def label_of(self, text: str) -> int | str:
        """Return the label that a cell stands for, or why it has none; InputError if it is no label."""
        word = text.lower()
        if word in ABSENT:
            return "no label"
        if self.threshold is None:
            if word in YES or word in NO:
                return int(word in YES)
            more = "`threshold` makes labels of numbers" if _number(word) is not None else "or yes or no"
            raise InputError(f"expected the label 0 or 1, got {text!r}; {more}")
        number = _number(word)
        if number is None:
            return "label is no number"
        return int(number <= self.threshold if self.at_most else number >= self.threshold)


class PairRow(NamedTuple):
    """One row of a table of pairs."""

    file: str  # its name, with its folder where there are several
    line: int  # from 1, the header being 1
    gene_id: str  # without the ".0" that a spreadsheet adds to a number
    smiles: str  # or InChI
    label: str  # "1" where the table has none


def pair_files(path: Path) -> list[Path]:
    """Return the tables that `path` stands for: itself, or those in train/ and test/ of a folder."""
    if not path.is_dir():
        return [path]
    inside = [*sorted(path.glob("train/*")), *sorted(path.glob("test/*"))]
    files = [file for file in inside if file.name.endswith(SUFFIXES)]
    if not files:
        raise InputError(f"{path}: expected a table of pairs, or a folder with train/*.csv and test/*.csv")
    return files


def pair_columns(path: Path, config: TableConfig) -> tuple[str, str, str | None]:
    """Return which columns of a table hold genes, molecules and labels; None where there are no labels.

    Raises:
        InputError: if a column that was given is not there, or there is none of genes or of molecules.
    """
    header, found = read_header(path), []
    given = {"gene": config.gene_column, "molecule": config.molecule_column, "label": config.label_column}
    for what, name in given.items():
        names = [name] if name else SYNONYMS[what]
        plain = [_plain(each) for each in header]
        column = next((header[plain.index(_plain(each))] for each in names if _plain(each) in plain), None)
        if column is None and (name or what != "label"):
            wanted = repr(name) if name else f"a {what}, such as {names[0]} or {names[1]}"
            raise InputError(
                f"{path}: expected a column of {wanted}, got {', '.join(header)[:200] or 'none at all'}; "
                f"name it with `{what}_column`"
            )
        found.append(column)
    if config.threshold is not None and found[2] is None:
        raise InputError(f"{path}: `threshold` needs a column of numbers; name it with `label_column`")
    gene, molecule, label = found
    assert gene is not None
    assert molecule is not None
    return gene, molecule, label


def read_pair_rows(path: Path, config: TableConfig | None = None) -> Iterator[PairRow]:
    """Yield the rows of all tables that `path` stands for; their content is not checked.

    Raises:
        InputError: as `pair_columns`, or if a row is longer or shorter than the header.
    """
    for file in pair_files(path):
        name = file.name if file == path else f"{file.parent.name}/{file.name}"
        gene, molecule, label = pair_columns(file, config or TableConfig())
        for line, row in read_table(file, tuple(filter(None, (gene, molecule, label)))):
            yield PairRow(name, line, plain_gene_id(row[gene]), row[molecule], row[label] if label else "1")


def read_gene_names(path: Path, wanted: Sequence[str], known: Sequence[str]) -> dict[str, set[str]]:
    """Return other names of genes: the names in `known` that stand beside those in `wanted`, in any columns.

    Raises:
        InputError: if no column has names of one side, or a row is longer or shorter than the header.
    """
    header, rows = read_header(path), list(read_table(path, ()))
    cells = {name: [plain_gene_id(row[name]) for _, row in rows] for name in header}
    sides = []
    for words, names in (("pairs", set(wanted)), ("gene sequences", set(known))):
        best = max(header, key=lambda name: len(names & set(cells[name])))
        if not names & set(cells[best]):
            shown = ", ".join([*dict.fromkeys(wanted if words == "pairs" else known)][:3])
            raise InputError(f"{path}: no column has names of the {words}, such as {shown}")
        sides.append(cells[best])
    names_of: dict[str, set[str]] = {}
    for one, other in zip(*sides, strict=True):
        if other in set(known):
            names_of.setdefault(one, set()).add(other)
    return names_of


def plain_gene_id(text: str) -> str:
    """Return a gene's name with single blanks, and without the ".0" of a number stored as a float."""
    text = " ".join(text.split())
    return text[:-2] if text.endswith(".0") and text[:-2].isdigit() else text


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]", "", name.lower())


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
