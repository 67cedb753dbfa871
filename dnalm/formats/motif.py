"""Motif matrices: HOMER `.motif`, JASPAR and MEME's text format, known by content.

Shapes used below
    W  width of the motif; the columns are A C G T
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnalm.config import nearest
from dnalm.dna import BASES
from dnalm.errors import InputError
from dnalm.formats.text import NUMBER, read_lines

Numbers = npt.NDArray[np.float64]
Background = tuple[float, float, float, float]
Lines = list[tuple[int, str]]  # lines that are not empty, with their numbers from 1

OTHER_ALPHABETS = {"ACGU": "ACGU, of RNA", "ACDEFGHIKLMNPQRSTVWY": "that of proteins"}
SUM_TOLERANCE = 0.02  # how far from 1 a row may sum: HOMER writes three decimals, others two
UNIFORM: Background = (0.25, 0.25, 0.25, 0.25)


@dataclass(frozen=True, eq=False)
class Motif:
    """A position weight matrix."""

    name: str
    probabilities: Numbers  # [W, 4]: of A C G T at each position; each row sums to 1
    threshold: float | None = None  # least score of a site, sum of ln(probability / background)
    background: Background = UNIFORM  # of A C G T; sums to 1

    @property
    def width(self) -> int:
        """W."""
        return len(self.probabilities)


def read_motifs(path: Path) -> Iterator[Motif]:
    """Yield the motifs of a file.

    Raises:
        InputError: if the format is unknown, the file is empty, or a matrix is damaged.
    """
    lines = [(number, line.strip()) for number, line in read_lines(path) if line.strip()]
    first = lines[0][1] if lines else "an empty file"
    if is_meme(text for _, text in lines):
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


def is_meme(lines: Iterable[str]) -> bool:
    """Return whether lines are of MEME's format, also where MEME, STREME or DREME began with a banner."""
    return any(line.strip().startswith("MEME version") for line in lines)


def choose_motif(path: Path, name: str | None = None) -> Motif:
    """Return the one motif of a file, or the one of that name (its first word or identifier will do).

    Raises:
        InputError: if there are several and no name is given, or none or several of that name.
    """
    motifs = list(read_motifs(path))
    found = [motif for motif in motifs if name in (None, motif.name)] or [
        motif for motif in motifs if name in re.split(r"[\s(/]+", motif.name)
    ]
    if len(found) != 1:
        names = [motif.name for motif in found or motifs]
        shown = ", ".join(names[:10]) + (f", ... ({len(names):,} in all)" if len(names) > 10 else "")
        near = nearest(name or "", names)
        raise InputError(
            f"{path}: {len(found):,} motifs match {name or 'no name'!r}{near}; choose one by name: {shown}"
        )
    return found[0]


def _read_homer(lines: Lines, path: Path) -> Iterator[Motif]:
    """Read matrices in the HOMER format."""
    for (number, header), rows in _records(lines):
        cells = [cell.strip() for cell in header[1:].split("\t")]
        if len(cells) < 3 or not re.fullmatch(NUMBER, cells[2]):
            raise InputError(
                f"{path}: line {number:,}: expected >consensus, name and threshold, separated by tabs, "
                f"got {header[:60]!r}"
            )
        where = f"{path}: motif {cells[1] or cells[0]}"
        yield Motif(cells[1] or cells[0], _probabilities(_numbers(rows, where), where), float(cells[2]))


def _read_jaspar(lines: Lines, path: Path) -> Iterator[Motif]:
    """Yield motifs of counts or probabilities below a line with a name."""
    for (_, header), rows in _records(lines):
        name = " ".join(header[1:].split())
        where = f"{path}: motif {name}"
        yield Motif(name, _probabilities(_by_position(rows, where), where, counts=True))


def _by_position(rows: Lines, where: str) -> list[list[float]]:
    """Return a matrix [W, 4] that is written with a row for each base, as JASPAR's, or for each position.

    Letters decide: one before each row, or all in a first line; otherwise the shape, and of four rows of four
    numbers the sums, which are alike at all positions.
    """
    if rows and rows[0][1].split() == list(BASES):
        return _numbers(rows[1:], where)
    matches = [re.fullmatch(r"(?:([A-Za-z])\s*)?\[?([^\[\]]*)\]?", text) for _, text in rows]
    letters = "".join(match[1] or "" for match in matches if match).upper()
    if not all(matches) or letters not in ("", BASES) or len(letters) not in (0, len(rows)):
        raise InputError(f"{where}: expected four rows, such as 'A [ 1 2 3 ]', then C, G and T")
    numbers = _numbers([(rows[i][0], match[2]) for i, match in enumerate(matches) if match], where)
    transposed = [list(row) for row in zip(*numbers, strict=True)]
    by_base, by_position = len(numbers) == 4, len(transposed) == 4
    if by_base and by_position and not letters:
        by_position, by_base = _equal_sums(numbers), _equal_sums(transposed)
        if by_base == by_position:
            raise InputError(
                f"{where}: four rows of four numbers, a row for each base or for each position? Begin the "
                "rows with A, C, G and T, or put a line 'A C G T' above them"
            )
    if not by_base and not by_position:
        raise InputError(f"{where}: expected four rows, of A, C, G and T, or rows of four numbers")
    return transposed if by_base else numbers


def _equal_sums(rows: list[list[float]]) -> bool:
    """Return whether the sums of all rows are equal, up to rounding."""
    sums = [sum(row) for row in rows]
    return max(sums) - min(sums) <= SUM_TOLERANCE * max(sums)


def _read_meme(lines: Lines, path: Path) -> Iterator[Motif]:
    """Read matrices in the MEME format, minimal or as MEME, STREME and DREME write it.

    Each MOTIF line has one matrix: with a damaged line, none is lost or has another's name.
    """
    background, name, at, count = UNIFORM, "", 0, 0
    while at < len(lines):
        number, text = lines[at]
        at += 1
        if text.startswith("ALPHABET"):
            letters = _alphabet(text, lines[at:])
            if letters != BASES:
                got = OTHER_ALPHABETS.get(letters) or repr(letters or text)
                raise InputError(f"{path}: line {number:,}: expected ALPHABET= {BASES}, got {got}")
        if text.startswith("Background letter frequencies"):
            background = _background(lines[at : at + len(BASES)], path)
        elif re.match(r"MOTIF\s", text):
            _check_has_matrix(name, path)
            name = " ".join(re.split(r"\swidth\s*=", text)[0].split()[1:])
        elif text.startswith("letter-probability matrix"):
            if not name:
                raise InputError(
                    f"{path}: line {number:,}: expected a MOTIF line above each matrix, got none"
                )
            where = f"{path}: motif {name}"
            width = re.search(r"\bw\s*=\s*(\d+)", text)
            rows = list(itertools.takewhile(lambda line: re.match(rf"{NUMBER}(\s|$)", line[1]), lines[at:]))
            if width and int(width[1]) != len(rows):
                raise InputError(f"{where}: expected {width[1]} rows, got {len(rows)}")
            yield Motif(name, _probabilities(_numbers(rows, where), where), None, background)
            name, count, at = "", count + 1, at + len(rows)
    _check_has_matrix(name, path)
    if not count:
        raise InputError(f"{path}: expected MEME motifs, got a file without a letter-probability matrix")


def _alphabet(first: str, lines: Lines) -> str:
    """Return the letters of an alphabet that is in its first line, or in the block that follows.

    A line of a block has a letter, or two complementary ones with "~"; those of ambiguous letters have a "=".
    """
    if "=" in (text := re.sub('"[^"]*"', "", first)):
        return text.partition("=")[2].strip()
    block = itertools.takewhile(lambda line: re.match(r"\S(\s|$)|\*", line[1]), lines)
    rows = (re.sub('"[^"]*"', "", text) for _, text in block)
    letters = (re.findall(r"(?:^|~)\s*([^\s*])", row) for row in rows if "=" not in row)
    return "".join(sorted(itertools.chain.from_iterable(letters)))


def _check_has_matrix(name: str, path: Path) -> None:
    """Refuse a MOTIF line that no matrix has followed; `name` is empty once one has."""
    if name:
        raise InputError(f"{path}: motif {name}: expected a letter-probability matrix below its MOTIF line")


def _background(lines: Lines, path: Path) -> Background:
    """Return the frequencies on the lines that begin with one."""
    own = itertools.takewhile(lambda line: re.match(r"[A-Z]\s+[\d.]", line[1]), lines)
    text = " ".join(text for _, text in own)
    found = {letter: float(value) for letter, value in re.findall(rf"([A-Z])\s+({NUMBER})", text)}
    total = sum(found.values())
    if sorted(found) != list(BASES) or min(found.values()) <= 0 or abs(total - 1) > SUM_TOLERANCE:
        raise InputError(
            f"{path}: expected background frequencies of A C G T, above 0 and summing to 1, got {text[:60]!r}"
        )
    a, c, g, t = (found[base] / total for base in BASES)
    return a, c, g, t


def _records(lines: Lines) -> Iterator[tuple[tuple[int, str], Lines]]:
    """Yield header lines, which begin with `>`, each with the lines below it."""
    starts = [index for index, (_, text) in enumerate(lines) if text.startswith(">")]
    for start, end in itertools.pairwise([*starts, len(lines)]):
        yield lines[start], lines[start + 1 : end]


def _numbers(rows: Lines, where: str) -> list[list[float]]:
    """Return the numbers of each row, equally many."""
    for number, text in rows:
        words = text.split()
        if len(words) != len(rows[0][1].split()) or not all(re.fullmatch(NUMBER, word) for word in words):
            raise InputError(
                f"{where}, line {number:,}: expected numbers, equally many on each line, got {text[:40]!r}"
            )
    return [[float(word) for word in text.split()] for _, text in rows]


def _probabilities(rows: list[list[float]], where: str, *, counts: bool = False) -> Numbers:
    """Return probabilities, [W, 4], each row summing to 1.

    Where the format allows `counts`, integers are counts, and so are rows that all sum to 2 or more.
    """
    matrix = np.array(rows)
    if matrix.shape[1:] != (len(BASES),):
        raise InputError(f"{where}: expected rows of 4 columns, A C G T, got {list(matrix.shape)}")
    sums = matrix.sum(axis=1)
    counted = counts and ((matrix == matrix.round()).all() or sums.min() >= 2)
    wrong = (matrix < 0).any(axis=1) | (sums <= 0 if counted else np.abs(sums - 1) > SUM_TOLERANCE)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{where}, position {row + 1}: expected probabilities of A C G T, 0 or more, that sum to 1, got "
            f"{' '.join(f'{value:g}' for value in matrix[row])}, which sum to {sums[row]:g}"
        )
    probabilities: Numbers = matrix / sums[:, None]
    return probabilities
