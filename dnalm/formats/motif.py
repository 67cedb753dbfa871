"""Motif matrices: HOMER `.motif`, JASPAR and MEME's text format, known by content.

Shapes used below
    W  width of the motif; the columns are A C G T
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASES
from dnalm.errors import InputError
from dnalm.formats.text import NUMBER, read_lines

Numbers = npt.NDArray[np.float64]

SUM_TOLERANCE = 0.02
"""How far from 1 a row of probabilities may sum: HOMER writes three decimals, others two."""
NAMED = 10
"""Motifs named at most in a message."""
UNIFORM = (0.25, 0.25, 0.25, 0.25)


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
    lines = [(number, line.strip()) for number, line in read_lines(path) if line.strip()]
    if not lines:
        raise InputError(f"{path}: expected motifs, got an empty file")
    first = lines[0][1]
    if first.startswith("MEME version"):
        yield from _read_meme(lines, path)
    elif first.startswith(">"):
        cells = first.split("\t")
        is_homer = len(cells) > 2 and re.fullmatch(NUMBER, cells[2].strip())
        yield from _read_homer(lines, path) if is_homer else _read_jaspar(lines, path)
    else:
        raise InputError(
            f"{path}: expected motifs in HOMER's, JASPAR's (a first line that begins with '>') or MEME's "
            f"format ('MEME version 4'), got {first[:40]!r}"
        )


def choose_motif(path: Path, name: str | None = None) -> Motif:
    """Return the one motif of a file, or the one of that name (its first word or identifier will do).

    Raises:
        InputError: if there are several and no name is given, or none or several of that name.
    """
    motifs = list(read_motifs(path))
    if name is None:
        if len(motifs) > 1:
            raise InputError(
                f"{path}: there are {len(motifs):,} motifs; choose one by its name: {_names(motifs)}"
            )
        return motifs[0]
    found = [motif for motif in motifs if motif.name == name] or [
        motif for motif in motifs if name in re.split(r"[\s(/]+", motif.name)
    ]
    if len(found) > 1:
        raise InputError(f"{path}: {len(found):,} motifs are called {name!r}: {_names(found)}")
    if not found:
        names = {motif.name.lower(): motif.name for motif in motifs}
        near = [names[match] for match in get_close_matches(name.lower(), names, n=3, cutoff=0.4)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"{path}: no motif is called {name!r}; {hint}there are: {_names(motifs)}")
    return found[0]


def _read_homer(lines: Lines, path: Path) -> Iterator[Motif]:
    for (number, header), rows in _records(lines):
        cells = [cell.strip() for cell in header[1:].split("\t")]
        if len(cells) < 3 or not re.fullmatch(NUMBER, cells[2]):
            raise InputError(
                f"{path}: line {number:,}: expected >consensus, name and threshold, separated by tabs, "
                f"got {header[:60]!r}"
            )
        name = cells[1] or cells[0]
        yield Motif(name, _probabilities(rows, name, path), float(cells[2]))


def _read_jaspar(lines: Lines, path: Path) -> Iterator[Motif]:
    """Yield motifs of four rows, A C G T: counts or probabilities, with or without letters and brackets."""
    for (_, header), rows in _records(lines):
        name = " ".join(header[1:].split())
        if len(rows) != 4:
            raise InputError(
                f"{path}: motif {name}: expected four rows, A C G T, got {len(rows)}; "
                "a matrix with a row a position needs HOMER's header, >consensus, name and threshold by tabs"
            )
        by_base = []
        for base, (number, text) in zip(BASES, rows, strict=True):
            where = f"{path}: motif {name}, line {number:,}"
            match = re.fullmatch(r"(?:([A-Za-z])\s*)?\[?([^\[\]]*)\]?", text)
            if match is None or (match[1] or base).upper() != base:
                raise InputError(
                    f"{where}: expected the row of {base}, as in '{base} [ 1 2 3 ]', got {text[:40]!r}"
                )
            by_base.append(_numbers(match[2], where))
        lengths = [len(row) for row in by_base]
        if len(set(lengths)) > 1 or not lengths[0]:
            raise InputError(
                f"{path}: motif {name}: expected four rows of one length, got {str(lengths)[1:-1]} columns"
            )
        yield Motif(name, _normalised(np.array(by_base).T, name, path, counts=True))


def _read_meme(lines: Lines, path: Path) -> Iterator[Motif]:
    background, name, at, count = UNIFORM, "", 0, 0
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
            rows = list(itertools.takewhile(lambda line: re.match(rf"{NUMBER}(\s|$)", line[1]), lines[at:]))
            if not name:
                raise InputError(f"{path}: line {number:,}: a matrix without a MOTIF line before it")
            if width and int(width[1]) != len(rows):
                raise InputError(
                    f"{path}: motif {name}: expected {width[1]} rows (w= {width[1]}), got {len(rows)}"
                )
            yield Motif(name, _probabilities(rows, name, path), None, background)
            count, at = count + 1, at + len(rows)
    if not count:
        raise InputError(f"{path}: expected MEME motifs, got a file without a letter-probability matrix")


def _background(lines: Lines, at: int, path: Path) -> tuple[tuple[float, float, float, float], int]:
    """Return the frequencies that begin on line `at`, and the line after them."""
    found: dict[str, float] = {}
    while at < len(lines) and len(found) < len(BASES):
        pairs = re.findall(rf"([A-Z])\s+({NUMBER})", lines[at][1])
        if not pairs:
            break
        found |= {letter: float(value) for letter, value in pairs}
        at += 1
    total = sum(found.values())
    if sorted(found) != list(BASES) or min(found.values()) <= 0 or abs(total - 1) > SUM_TOLERANCE:
        raise InputError(
            f"{path}: expected background frequencies of A C G T, above 0 and summing to 1, got "
            f"{' '.join(f'{letter} {value:g}' for letter, value in found.items()) or 'none'}"
        )
    a, c, g, t = (found[base] / total for base in BASES)
    return (a, c, g, t), at


def _records(lines: Lines) -> Iterator[tuple[tuple[int, str], Lines]]:
    """Yield header lines, which begin with `>`, each with the lines below it."""
    starts = [index for index, (_, text) in enumerate(lines) if text.startswith(">")]
    for start, end in itertools.pairwise([*starts, len(lines)]):
        yield lines[start], lines[start + 1 : end]


def _probabilities(rows: Lines, name: str, path: Path) -> Numbers:
    """Return the matrix of rows of four probabilities, [W, 4]."""
    matrix = []
    for number, text in rows:
        where = f"{path}: motif {name}, line {number:,}"
        matrix.append(_numbers(text, where))
        if len(matrix[-1]) != len(BASES):
            raise InputError(f"{where}: expected 4 columns, A C G T, got {len(matrix[-1])}")
    if not matrix:
        raise InputError(f"{path}: motif {name} has no rows")
    return _normalised(np.array(matrix), name, path)


def _normalised(matrix: Numbers, name: str, path: Path, *, counts: bool = False) -> Numbers:
    """Return probabilities, [W, 4], each row summing to 1.

    Where the format allows `counts`, integers are counts, and so are rows that all sum to 2 or more.
    """
    sums = matrix.sum(axis=1)
    counted = counts and ((matrix == matrix.round()).all() or sums.min() >= 2)
    wrong = (matrix < 0).any(axis=1) | (sums <= 0 if counted else np.abs(sums - 1) > SUM_TOLERANCE)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{path}: motif {name}, position {row + 1}: expected probabilities of A C G T, 0 or more, that "
            f"sum to 1, got {' '.join(f'{value:g}' for value in matrix[row])}, which sum to {sums[row]:g}"
        )
    probabilities: Numbers = matrix / sums[:, None]
    return probabilities


def _numbers(text: str, where: str) -> list[float]:
    for word in text.split():
        if not re.fullmatch(NUMBER, word):
            raise InputError(f"{where}: expected numbers, got {word[:40]!r}")
    return [float(word) for word in text.split()]


def _names(motifs: Sequence[Motif]) -> str:
    more = f", ... ({len(motifs):,} in all)" if len(motifs) > NAMED else ""
    return ", ".join(motif.name for motif in motifs[:NAMED]) + more
