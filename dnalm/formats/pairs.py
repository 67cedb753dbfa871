"""Tables of genes and molecules that interact or do not: CSV or TSV, plain or gzip; columns found by name."""

import math
import re
from collections.abc import Collection, Iterator, Sequence
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
    "label": ("label", "labels", "class", "active", "interaction", "interacts", "binds", "outcome"),
    "number": (
        *("pchembl value", "pchembl", "pic50", "pki", "pkd", "pec50", "affinity", "ic50", "ki", "kd", "ec50"),
        *("activity", "value", "y"),
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
    label_column: str = ""
    """Column of labels; found by common names unless given, and where there is none all pairs are positive;
    `none` for a table of positive pairs alone."""
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
            more = "`threshold` makes labels of numbers" if _number(word) is not None else "yes and no do too"
            raise InputError(
                f"expected the label 0 or 1, got {text!r} ({more}); `label_column` is another column, or none"
            )
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


class PairColumns(NamedTuple):
    """Names of the columns that a table of pairs is read from."""

    gene: str
    molecule: str
    label: str | None  # None where all pairs are positive


def pair_columns(path: Path, config: TableConfig) -> PairColumns:
    """Return which columns of a table hold genes, molecules and labels.

    Raises:
        InputError: if a column that was given is not there, there is none of genes or of molecules, several
            have the name that is looked for, or a column that nothing names looks like labels.
    """
    header = read_header(path)
    numbers = config.threshold is not None
    labels = SYNONYMS["number"] + SYNONYMS["label"] if numbers else SYNONYMS["label"] + SYNONYMS["number"]
    gene = _column(path, header, "gene", config.gene_column, SYNONYMS["gene"])
    molecule = _column(path, header, "molecule", config.molecule_column, SYNONYMS["molecule"])
    for what, column in (("gene", gene), ("molecule", molecule)):
        if column is None:
            one, other, *_ = SYNONYMS[what]
            raise InputError(
                f"{path}: expected a column of {what}s, such as {one} or {other}, got "
                f"{', '.join(header)[:200] or 'none at all'}; name it with `{what}_column`"
            )
    assert gene is not None
    assert molecule is not None
    if config.label_column.lower() == "none" and "none" not in header:
        return PairColumns(gene, molecule, None)
    label = _column(path, header, "label", config.label_column, labels)
    if label is None and numbers:
        raise InputError(f"{path}: `threshold` needs a column of numbers; name it with `label_column`")
    if label is None:
        _refuse_labels(path, [name for name in header if name not in (gene, molecule)])
    return PairColumns(gene, molecule, label)


def _column(path: Path, header: list[str], what: str, given: str, names: Sequence[str]) -> str | None:
    """Return the column that was given, exactly or in another case; or the first that has one of `names`."""
    if given:
        found = [each for each in header if each == given] or [
            each for each in header if each.lower() == given.lower()
        ]
        if len(found) != 1:
            raise InputError(
                f"{path}: expected one column {given!r}, got {', '.join(header)[:200] or 'none at all'}; "
                f"give one of them as `{what}_column`"
            )
        return found[0]
    plain = [re.sub(r"[^0-9a-z]", "", each.lower()) for each in header]
    for name in names:
        found = [each for each, word in zip(header, plain, strict=True) if word == name.replace(" ", "")]
        if len(found) > 1:
            raise InputError(
                f"{path}: {' and '.join(map(repr, found))} may both be the column of {what}s; name one with "
                f"`{what}_column`"
            )
        if found:
            return found[0]
    return None


def _refuse_labels(path: Path, names: Sequence[str]) -> None:
    """Raise InputError if one of the columns has positive and negative labels, and nothing else."""
    words: dict[str, set[str]] = {name: set() for name in names}
    for _, row in read_table(path, ()):
        for name in names:
            words[name].add(row[name].lower())
    for name, found in words.items():
        if found <= YES | NO | ABSENT and found & YES and found & NO:
            raise InputError(
                f"{path}: no column has a name of labels, and {name!r} looks like them: give it as "
                "`label_column`, or `none` where all pairs are positive"
            )


def read_pair_rows(path: Path, config: TableConfig | None = None) -> Iterator[PairRow]:
    """Yield the rows of all tables that `path` stands for; their content is not checked.

    Raises:
        InputError: as `pair_columns`, if one of several tables has labels and another none, or if a row is
            longer or shorter than the header.
    """
    files = pair_files(path)
    columns = [pair_columns(file, config or TableConfig()) for file in files]
    if len({each.label is None for each in columns}) > 1:
        without = next(file for file, each in zip(files, columns, strict=True) if each.label is None)
        raise InputError(f"{without}: has no column of labels, and other tables of {path} have one")
    for file, (gene, molecule, label) in zip(files, columns, strict=True):
        name = file.name if file == path else f"{file.parent.name}/{file.name}"
        for line, row in read_table(file, tuple(filter(None, (gene, molecule, label)))):
            yield PairRow(name, line, plain_gene_id(row[gene]), row[molecule], row[label] if label else "1")


class GeneNames(NamedTuple):
    """A table of names of genes: its two columns, and the names in the second beside each in the first."""

    columns: tuple[str, str]
    others: dict[str, set[str]]


def read_gene_names(path: Path, wanted: Collection[str], known: Collection[str]) -> GeneNames:
    """Return the names in `known` that stand beside those in `wanted`: each in the column with most of them.

    Raises:
        InputError: if no column has names of one side, two have as many, or a row is longer or shorter than
            the header.
    """
    header, rows = read_header(path), [row for _, row in read_table(path, ())]
    cells = {name: [plain_gene_id(row[name]) for row in rows] for name in header}
    chosen = []
    for side, names in (("pairs", set(wanted) - set(known)), ("gene sequences", set(known))):
        names = {name for name in names if name.lower() not in ABSENT}
        hits = {name: len(names & set(cells[name])) for name in header}
        most = max(hits.values(), default=0)
        best = [name for name, count in hits.items() if count == most]
        if not most:
            raise InputError(
                f"{path}: no column has names of the {side}, such as {', '.join(sorted(names)[:3]) or 'none'}"
            )
        if len({tuple(cells[name]) for name in best}) > 1:
            raise InputError(
                f"{path}: the columns {' and '.join(map(repr, best))} have as many names of the {side}, "
                f"{most:,}; leave the wrong one out"
            )
        chosen.append(best[0])
    first, second = chosen
    present, others = set(known), dict[str, set[str]]()
    for one, other in zip(cells[first], cells[second], strict=True):
        if other in present and one.lower() not in ABSENT:
            others.setdefault(one, set()).add(other)
    return GeneNames((first, second), others)


def plain_gene_id(text: str) -> str:
    """Return a gene's name with single blanks, and without the ".0" of a number stored as a float."""
    text = " ".join(text.split())
    return text[:-2] if text.endswith(".0") and text[:-2].isdigit() else text


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
