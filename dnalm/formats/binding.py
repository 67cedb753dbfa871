"""Windows of a genome with a score at each base, in the published layout: two tables, plain or gzip.

The table of sequences has a row a window and the columns `sequence` and `window_name`. The table of scores
has a column a window, named in its first line, and a row a base. A window's name is CONTIG_START_END with
START counted from 0 and END the last base itself; only this module knows that.

Shapes used below
    N  windows                       L  bases in a window
"""

import gzip
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from dnalm.dna import AMBIGUOUS, BASES, Interval
from dnalm.errors import InputError
from dnalm.files import atomic_file
from dnalm.formats.text import read_lines

Letters = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]

NAMED = 3
"""Windows named at most in a message."""
COLUMNS = ("sequence", "window_name")
IUPAC = np.zeros(256, dtype=np.bool_)
"""[256]: whether a byte is an upper-case IUPAC letter of DNA."""
IUPAC[np.frombuffer((BASES + AMBIGUOUS).encode(), dtype=np.uint8)] = True


@dataclass(frozen=True)
class BindingSet:
    """Windows, all of one length, and the score at each of their bases."""

    names: list[str]
    """Of the windows, all distinct, as in the file."""
    letters: Letters
    """[N, L]: upper-case ASCII letters, A C G T or another IUPAC code such as N."""
    scores: Scores
    """[N, L]"""


def window_name(interval: Interval) -> str:
    """Return the name of a window: CONTIG_START_END, whose END is the last base itself."""
    return f"{interval.contig}_{interval.start}_{interval.end - 1}"


def parse_name(name: str) -> Interval:
    """Return the interval that a window's name tells; the contig may itself hold underscores.

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
    _check_names(names, columns, sequences, scores)
    if letters.shape[1] != table.shape[1]:
        raise InputError(
            f"{scores}: expected {letters.shape[1]:,} rows of scores, one a base of the windows in "
            f"{sequences}, got {table.shape[1]:,}; are the two files of one set?"
        )
    if names != columns:
        place = {name: column for column, name in enumerate(columns)}
        table = table[[place[name] for name in names]]
    return BindingSet(names, letters, table)


def read_sequences(path: Path) -> tuple[list[str], Letters]:
    """Read the table of sequences: names and upper-case letters [N, L]; columns besides the two are ignored.

    Raises:
        InputError: if columns are missing, there is no window, names repeat, lengths differ, or a character
            is not an IUPAC code.
    """
    lines = read_lines(path)
    header = [_text(cell, path, 1) for cell in next(lines, b"").split(b"\t")]
    if missing := [column for column in COLUMNS if column not in header]:
        raise InputError(
            f"{path}: expected a table with the columns sequence and window_name, divided by tabs; no column "
            f"{' and '.join(missing)}: the first line is {'<TAB>'.join(header)[:60]!r}"
        )
    at, named = (header.index(column) for column in COLUMNS)
    names, pieces = [], []
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        cells = line.split(b"\t")
        if len(cells) != len(header):
            raise InputError(
                f"{path}: line {number:,}: expected {len(header)} columns, divided by tabs, got {len(cells)}"
            )
        names.append(_text(cells[named], path, number))
        pieces.append(cells[at])
    if not names:
        raise InputError(f"{path}: there are no windows below the first line")
    _check_distinct(names, path)
    return names, _stack(names, pieces, path)


def _stack(names: list[str], pieces: list[bytes], path: Path) -> Letters:
    """Return sequences of one length as letters, [N, L]."""
    counts = Counter(map(len, pieces))
    if len(counts) > 1 or 0 in counts:
        usual = max(counts.items(), key=lambda item: (item[0] > 0, item[1]))[0]
        odd = next(index for index, piece in enumerate(pieces) if len(piece) != usual or not piece)
        raise InputError(
            f"{path}: expected windows of one length, most have {usual:,} bases; window {names[odd]} has "
            f"{len(pieces[odd]):,}; lengths found: {', '.join(map(str, sorted(counts)[:10]))}"
        )
    letters = np.frombuffer(bytearray(b"".join(pieces).upper()), dtype=np.uint8).reshape(len(pieces), -1)
    strange = ~IUPAC[letters]
    if strange.any():
        window, position = np.argwhere(strange)[0]
        raise InputError(
            f"{path}: window {names[window]}, position {position + 1:,}: "
            f"{chr(pieces[window][position])!r} is no IUPAC code of DNA ({BASES + AMBIGUOUS}); "
            f"characters like it: {strange.sum():,}"
        )
    return letters


def read_scores(path: Path) -> tuple[list[str], Scores]:
    """Read the table of scores: names of the columns, and [N, L], a row a window.

    Raises:
        InputError: if there is no window or no row, names repeat, a row has too few or too many scores, or
            one is not a finite number.
    """
    lines = read_lines(path)
    header = next(lines, b"")
    if not header.strip():
        raise InputError(f"{path}: expected names of windows, divided by tabs, got an empty first line")
    names = [_text(cell, path, 1) for cell in header.split(b"\t")]
    _check_distinct(names, path)
    rows: list[Scores] = []
    for line in lines:
        if not line:
            continue
        cells = line.split(b"\t")
        where = f"{path}: row {len(rows) + 1:,} below the names"
        if len(cells) != len(names):
            raise InputError(f"{where}: expected {len(names):,} scores, one a window, got {len(cells):,}")
        rows.append(_row(cells, names, where))
    if not rows:
        raise InputError(f"{path}: there are no scores below the names of the windows")
    return names, np.ascontiguousarray(np.stack(rows).T)


def _row(cells: list[bytes], names: list[str], where: str) -> Scores:
    """Return one row of scores, [N]; most cells are alike, so that each distinct one is parsed once."""
    values: dict[bytes, float] = {}
    for cell in set(cells):
        try:
            values[cell] = np.nan if b"_" in cell else float(cell)  # Python reads 1_0 as 10
        except ValueError:
            values[cell] = np.nan
    row = np.fromiter(map(values.__getitem__, cells), dtype=np.float32, count=len(cells))
    if not np.isfinite(row).all():
        wrong = int(np.flatnonzero(~np.isfinite(row))[0])
        shown = cells[wrong].decode("utf-8", "replace")[:40]
        raise InputError(f"{where}, window {names[wrong]}: expected a finite number, got {shown!r}")
    return row


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
    assert len(names) == len(letters)
    assert all(scores.shape == letters.shape for scores in tracks.values())
    with ExitStack() as stack:  # all are whole before the first takes its place
        files = [stack.enter_context(atomic_file(path)) for path in (sequences, *tracks)]
        _write(files[0], _sequence_lines(names, letters))
        for file, scores in zip(files[1:], tracks.values(), strict=True):
            _write(file, _score_lines(names, scores))


def _write(file: BinaryIO, lines: Iterable[str]) -> None:
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        for line in lines:
            packed.write(line.encode() + b"\n")


def _sequence_lines(names: list[str], letters: Letters) -> Iterator[str]:
    yield "\t".join(COLUMNS)
    for name, row in zip(names, letters, strict=True):
        yield f"{row.tobytes().decode('ascii')}\t{name}"


def _score_lines(names: list[str], scores: Scores) -> Iterator[str]:
    """Yield names, then one line a base; a number is written as short as float32 reads it back the same."""
    yield "\t".join(names)
    for base in scores.T:
        values, which = np.unique(base.astype(np.float32), return_inverse=True)
        texts = [str(value).removesuffix(".0") if value else "0" for value in values]
        yield "\t".join(map(texts.__getitem__, which.tolist()))


def _check_names(names: list[str], columns: list[str], sequences: Path, scores: Path) -> None:
    without_scores = _first(sorted(set(names) - set(columns)))
    without_sequence = _first(sorted(set(columns) - set(names)))
    if without_scores or without_sequence:
        raise InputError(
            f"the windows of {sequences} and {scores} are not the same: {without_scores or 'none'} without "
            f"scores, {without_sequence or 'none'} without sequence; are the two files of one set?"
        )


def _check_distinct(names: list[str], path: Path) -> None:
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise InputError(f"{path}: expected each window once, got several times: {_first(twice)}")


def _first(names: Sequence[str]) -> str:
    """Return how many names there are and the first few; nothing where there are none."""
    if not names:
        return ""
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names):,} ({', '.join(names[:NAMED])}{more})"


def _text(cell: bytes, path: Path, number: int) -> str:
    try:
        return cell.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: line {number:,}: expected text, got the bytes {cell[:20]!r}") from error
