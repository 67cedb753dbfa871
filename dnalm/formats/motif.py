"""Motif matrices: HOMER `.motif`, JASPAR and MEME's text format, told by content.

Shapes used below
    W  width of the motif; the columns are A C G T
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASES
from dnalm.errors import InputError
from dnalm.formats.text import read_lines

Numbers = npt.NDArray[np.float64]

SUM_TOLERANCE = 0.02
"""How far from 1 a row of probabilities may sum: HOMER writes three decimals, others two."""
NAMED = 10
"""Motifs named at most in a message."""
UNIFORM = (0.25, 0.25, 0.25, 0.25)
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True, eq=False)
class Motif:
    """A position weight matrix."""

    name: str
    probabilities: Numbers
    """[W, 4]: of A C G T at each position; each row sums to 1."""
    threshold: float | None = None
    """Least score of a site, sum of ln(probability / background); None where the file gives none."""
    background: tuple[float, float, float, float] = UNIFORM
    """Of A C G T; sums to 1."""

    @property
    def width(self) -> int:
        """W."""
        return len(self.probabilities)


Lines = list[tuple[int, str]]
"""Lines that are not empty, with their numbers from 1."""


def read_motifs(path: Path) -> Iterator[Motif]:
    """Yield the motifs of a file.

    Raises:
        InputError: if the format is unknown, the file is empty, or a matrix is damaged.
    """
    lines: Lines = []
    for number, line in enumerate(read_lines(path), 1):
        text = line.decode("utf-8", "replace").strip()
        if text:
            lines.append((number, text))
    if not lines:
        raise InputError(f"{path}: expected motifs, got an empty file")
    yield from _reader(lines, path)(lines, path)


def choose_motif(path: Path, name: str | None = None) -> Motif:
    """Return the one motif of a file, or the one of that name (its first word or identifier will do).

    Raises:
        InputError: if there are several and no name is given, or none or several of that name.
    """
    motifs = list(read_motifs(path))
    if name is None:
        if len(motifs) > 1:
            raise InputError(
                f"{path}: there are {len(motifs):,} motifs; choose one by its name: {_shown(motifs)}"
            )
        return motifs[0]
    found = [motif for motif in motifs if motif.name == name] or [
        motif for motif in motifs if name in re.split(r"[\s(/]+", motif.name)
    ]
    if len(found) > 1:
        raise InputError(f"{path}: {len(found):,} motifs are called {name!r}: {_shown(found)}")
    if not found:
        names = {motif.name.lower(): motif.name for motif in motifs}
        near = [names[match] for match in get_close_matches(name.lower(), names, n=3, cutoff=0.4)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"{path}: no motif is called {name!r}; {hint}there are: {_shown(motifs)}")
    return found[0]


def _reader(lines: Lines, path: Path) -> Callable[[Lines, Path], Iterator[Motif]]:
    """Return the reader of the file's format, told by its first lines."""
    first = lines[0][1]
    if first.startswith("MEME version"):
        return _read_meme
    if first.startswith(">"):
        cells = first.split("\t")
        return _read_homer if len(cells) > 2 and re.fullmatch(NUMBER, cells[2].strip()) else _read_jaspar
    raise InputError(
        f"{path}: expected motifs in HOMER's, JASPAR's (a first line that begins with '>') or MEME's format "
        f"('MEME version 4'), got {first[:40]!r}"
    )


def _read_homer(lines: Lines, path: Path) -> Iterator[Motif]:
    for header, rows in _records(lines):
        cells = [cell.strip() for cell in header[1][1:].split("\t")]
        name = cells[1] if len(cells) > 1 and cells[1] else cells[0]
        if len(cells) < 3 or not re.fullmatch(NUMBER, cells[2]):
            raise InputError(
                f"{path}: line {header[0]:,}: expected >consensus, name and threshold, divided by tabs, "
                f"got {header[1][:60]!r}"
            )
        yield Motif(name, _probabilities(rows, name, path), float(cells[2]))


def _read_jaspar(lines: Lines, path: Path) -> Iterator[Motif]:
    """Yield motifs of four rows, A C G T: counts or probabilities, with or without letters and brackets."""
    for header, rows in _records(lines):
        name = " ".join(header[1][1:].split())
        if len(rows) != 4:
            raise InputError(
                f"{path}: motif {name}: expected four rows, A C G T, got {len(rows)}; "
                "a matrix with a row a position needs HOMER's header, >consensus, name and threshold by tabs"
            )
        by_base = []
        for base, (number, text) in zip(BASES, rows, strict=True):
            match = re.fullmatch(r"(?:([A-Za-z])\s*)?\[?([^\[\]]*)\]?", text)
            if match is None or (match[1] or base).upper() != base:
                raise InputError(
                    f"{path}: motif {name}, line {number:,}: expected the row of {base}, as in "
                    f"'{base} [ 1 2 3 ]', got {text[:40]!r}"
                )
            by_base.append(_numbers(match[2], f"{path}: motif {name}, line {number:,}"))
        if len({len(row) for row in by_base}) > 1 or not by_base[0]:
            raise InputError(
                f"{path}: motif {name}: expected four rows of one length, got "
                f"{', '.join(str(len(row)) for row in by_base)} columns"
            )
        yield Motif(name, _normalised(np.array(by_base).T, name, path, counts=True))


def _read_meme(lines: Lines, path: Path) -> Iterator[Motif]:
    background, name, found = UNIFORM, "", False
    at = 0
    while at < len(lines):
        number, text = lines[at]
        at += 1
        if text.startswith("ALPHABET") and (letters := text.partition("=")[2].strip()) != BASES:
            raise InputError(f"{path}: line {number:,}: expected ALPHABET= {BASES}, got {letters!r}")
        if text.startswith("Background letter frequencies"):
            background, at = _background(lines, at, path)
        elif re.match(r"MOTIF\s", text):
            name = " ".join(text.split()[1:])
        elif text.startswith("letter-probability matrix"):
            width = re.search(r"\bw\s*=\s*(\d+)", text)
            end = at
            while end < len(lines) and re.match(rf"{NUMBER}(\s|$)", lines[end][1]):
                end += 1
            if not name:
                raise InputError(f"{path}: line {number:,}: a matrix without a MOTIF line before it")
            if width and int(width[1]) != end - at:
                raise InputError(
                    f"{path}: motif {name}: expected {width[1]} rows (w= {width[1]}), got {end - at}"
                )
            yield Motif(name, _probabilities(lines[at:end], name, path), None, background)
            found, at = True, end
    if not found:
        raise InputError(f"{path}: expected MEME motifs, got a file without a letter-probability matrix")


def _background(lines: Lines, at: int, path: Path) -> tuple[tuple[float, float, float, float], int]:
    """Return the frequencies that begin on line `at`, and the line behind them."""
    pairs: dict[str, float] = {}
    while at < len(lines) and len(pairs) < len(BASES):
        found = re.findall(rf"([A-Z])\s+({NUMBER})", lines[at][1])
        if not found:
            break
        pairs |= {letter: float(value) for letter, value in found}
        at += 1
    right = sorted(pairs) == list(BASES) and min(pairs.values()) > 0
    if not right or abs(sum(pairs.values()) - 1) > SUM_TOLERANCE:
        raise InputError(
            f"{path}: expected background frequencies of A C G T, above 0 and summing to 1, got "
            f"{' '.join(f'{letter} {value:g}' for letter, value in pairs.items()) or 'none'}"
        )
    total = sum(pairs.values())
    a, c, g, t = (pairs[base] / total for base in BASES)
    return (a, c, g, t), at


def _records(lines: Lines) -> Iterator[tuple[tuple[int, str], Lines]]:
    """Yield header lines, which begin with `>`, each with the lines below it."""
    starts = [index for index, (_, text) in enumerate(lines) if text.startswith(">")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start], lines[start + 1 : end]


def _probabilities(rows: Lines, name: str, path: Path) -> Numbers:
    """Return the matrix of rows of four probabilities, [W, 4]."""
    matrix = []
    for number, text in rows:
        values = _numbers(text, f"{path}: motif {name}, line {number:,}")
        if len(values) != len(BASES):
            raise InputError(
                f"{path}: motif {name}, line {number:,}: expected 4 columns, A C G T, got {len(values)}"
            )
        matrix.append(values)
    if not matrix:
        raise InputError(f"{path}: motif {name} has no rows")
    return _normalised(np.array(matrix), name, path)


def _normalised(matrix: Numbers, name: str, path: Path, *, counts: bool = False) -> Numbers:
    """Return probabilities, [W, 4], each row summing to 1.

    Where the format allows `counts`, whole numbers are counts, and so are rows that all sum to 2 or more.
    """
    if (matrix < 0).any():
        row = int(np.flatnonzero((matrix < 0).any(axis=1))[0])
        raise InputError(f"{path}: motif {name}, position {row + 1}: {matrix[row].min():g} is negative")
    sums = matrix.sum(axis=1)
    counted = counts and ((matrix == matrix.round()).all() or sums.min() >= 2)
    wrong = sums <= 0 if counted else np.abs(sums - 1) > SUM_TOLERANCE
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{path}: motif {name}, position {row + 1}: expected probabilities of A C G T that sum to 1, "
            f"got {' '.join(f'{value:g}' for value in matrix[row])}, which sum to {sums[row]:g}"
        )
    probabilities: Numbers = matrix / sums[:, None]
    return probabilities


def _numbers(text: str, where: str) -> list[float]:
    words = text.split()
    strange = next((word for word in words if not re.fullmatch(NUMBER, word)), None)
    if strange is not None:
        raise InputError(f"{where}: expected numbers, got {strange[:40]!r}")
    return [float(word) for word in words]


def _shown(motifs: Sequence[Motif]) -> str:
    more = f", ... ({len(motifs):,} in all)" if len(motifs) > NAMED else ""
    return ", ".join(motif.name for motif in motifs[:NAMED]) + more
