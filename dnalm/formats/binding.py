"""Windows of a genome with a score at each base, in the published layout: two tables, plain or gzip.

The table of sequences has a row a window and the columns `sequence` and `window_name`. The table of scores
has a column a window, named in its first line, and a row a base. A window's name is CONTIG_START_END with
START counted from 0 and END the last base itself; only this module knows that.

Shapes used below
    N  windows                       L  bases in a window
"""

import gzip
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from dnalm.dna import AMBIGUOUS, BASES, Interval
from dnalm.errors import InputError, counted
from dnalm.files import atomic_file
from dnalm.formats.text import NUMBER, read_lines, read_table

Letters = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]

COLUMNS = ("sequence", "window_name")
IUPAC = (BASES + AMBIGUOUS).encode()


@dataclass(frozen=True)
class BindingSet:
    """Windows, all of one length, and the score at each of their bases."""

    names: list[str]  # of the windows, all distinct, as in the file
    letters: Letters  # [N, L]: upper-case ASCII letters, A C G T or another IUPAC code such as N
    scores: Scores  # [N, L]


def window_name(interval: Interval) -> str:
    """Return the name of a window: CONTIG_START_END, whose END is the last base itself."""
    return f"{interval.contig}_{interval.start}_{interval.end - 1}"


def parse_name(name: str) -> Interval:
    """Return the interval of a window's name; the contig may itself hold underscores.

    Raises:
        InputError: if the name is not of the form CONTIG_START_END.
    """
    match = re.fullmatch(r"(.+)_([0-9]{1,15})_([0-9]{1,15})", name)
    if not match or int(match[3]) < int(match[2]):
        raise InputError(
            f"window {name!r}: expected a name such as chr22_10510500_10510799: contig, first base counted "
            "from 0, last base"
        )
    return Interval(match[1], int(match[2]), int(match[3]) + 1)


def read_binding(sequences: Path, scores: Path) -> BindingSet:
    """Read windows and their scores, matched by name, in the order of `sequences`.

    Raises:
        InputError: if a file is not of the layout, is cut short, or does not fit the other one.
    """
    names, letters = read_sequences(sequences)
    columns, table = read_scores(scores)
    for mine, others, path in ((names, columns, scores), (columns, names, sequences)):
        if lacking := sorted(set(mine) - set(others)):
            raise InputError(
                f"{path}: lacks {counted(len(lacking), 'window')} of the other table, such as {lacking[0]}; "
                f"are {sequences} and {scores} of one set?"
            )
    if letters.shape[1] != table.shape[1]:
        raise InputError(
            f"{scores}: expected {letters.shape[1]:,} rows of scores, one a base of the windows in "
            f"{sequences}, got {table.shape[1]:,}; are they of one set?"
        )
    if names != columns:
        column_of = {name: column for column, name in enumerate(columns)}
        table = table[[column_of[name] for name in names]]
    return BindingSet(names, letters, table)


def read_sequences(path: Path) -> tuple[list[str], Letters]:
    """Read the table of sequences: names and upper-case letters [N, L]; other columns are ignored."""
    names: list[str] = []
    rows: list[bytes] = []
    for number, row in read_table(path, COLUMNS):
        names.append(row["window_name"])
        rows.append(row["sequence"].encode("ascii", "replace").upper())
        if len(rows[-1]) != len(rows[0]) or not rows[0]:
            raise InputError(
                f"{path}: line {number:,}: expected windows of one length, {len(rows[0]):,} bases as the "
                f"first; window {names[-1]} has {len(rows[-1]):,}"
            )
        if strange := rows[-1].translate(None, IUPAC):
            at = rows[-1].index(strange[:1])
            raise InputError(
                f"{path}: window {names[-1]}, position {at + 1:,}: {row['sequence'][at]!r} is no IUPAC "
                f"code of DNA ({IUPAC.decode()})"
            )
    if not rows:
        raise InputError(f"{path}: there are no windows below the first line")
    _check_names(names, path)
    return names, np.frombuffer(bytearray().join(rows), dtype=np.uint8).reshape(len(rows), -1)


def read_scores(path: Path) -> tuple[list[str], Scores]:
    """Read the table of scores: names of the columns, and [N, L], a row a window."""
    lines = ((number, line) for number, line in read_lines(path) if line.strip(" "))
    names = [name.strip() for name in next(lines, (1, ""))[1].split("\t")]
    _check_names(names, path)
    rows: list[Scores] = []
    for number, line in lines:
        cells = line.split("\t")
        where = f"{path}: line {number:,}"
        if len(cells) != len(names):
            raise InputError(f"{where}: expected {len(names):,} scores, one a window, got {len(cells):,}")
        # Most cells are equal: each distinct one is parsed once.
        plain = {cell: cell.strip() for cell in set(cells)}
        values = {cell: float(text) if re.fullmatch(NUMBER, text) else np.nan for cell, text in plain.items()}
        with np.errstate(over="ignore"):  # beyond float32: infinite
            row = np.fromiter(map(values.__getitem__, cells), dtype=np.float32, count=len(cells))
        if not np.isfinite(row).all():
            at = int(np.flatnonzero(~np.isfinite(row))[0])
            raise InputError(f"{where}, window {names[at]}: expected a finite number, got {cells[at][:40]!r}")
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: there are no scores below the names of the windows")
    return names, np.ascontiguousarray(np.stack(rows).T)


def write_binding(sequences: Path, scores: Path, windows: BindingSet) -> None:
    """Write windows and their scores as gzip, both files or neither; the same set gives the same bytes."""
    write_tracks(sequences, windows.names, windows.letters, {scores: windows.scores})


def write_tracks(sequences: Path, names: list[str], letters: Letters, tracks: Mapping[Path, Scores]) -> None:
    """Write one table of sequences and several of scores as gzip, all files or none.

    Args:
        sequences: the file of the sequences.
        names: of the windows, N.
        letters: [N, L].
        tracks: scores [N, L] by the file they go to.
    """
    assert all(scores.shape == letters.shape for scores in tracks.values())
    rows = zip(letters, names, strict=True)
    with ExitStack() as stack:  # the first replaces its file only when all are complete
        files = [stack.enter_context(atomic_file(path)) for path in (sequences, *tracks)]
        _write(files[0], COLUMNS, ((row.tobytes().decode("ascii"), name) for row, name in rows))
        for file, scores in zip(files[1:], tracks.values(), strict=True):
            _write(file, names, map(_score_cells, scores.T))


def _write(file: BinaryIO, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        for cells in itertools.chain([header], rows):
            packed.write("\t".join(cells).encode() + b"\n")


def _score_cells(base: Scores) -> Iterator[str]:
    """Return numbers as short as float32 reads them back the same."""
    values, which = np.unique(base.astype(np.float32), return_inverse=True)
    texts = [str(value).removesuffix(".0") if value else "0" for value in values]
    return map(texts.__getitem__, which.tolist())


def _check_names(names: list[str], path: Path) -> None:
    """Refuse window names that are empty, not UTF-8, or occur twice."""
    for name in names:
        if not name.strip() or "\ufffd" in name:
            raise InputError(f"{path}: expected names of windows in UTF-8, got {name[:20]!r}")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: expected each window once, got {name} several times")
