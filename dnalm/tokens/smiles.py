"""Tokens of SMILES, as of ChemBERTa: a vocab.json from the hub, and a report of what its tokens lose.

Shapes used below
    T  tokens of one molecule, [CLS] and [SEP] among them
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError
from dnalm.formats.hub import read_config

How = Literal["hub", "atomwise"]
"""hub: characters, of which those without a token are dropped, as by the hub's tokenizer. atomwise: atoms,
bonds and ring closures, [UNK] where there is no token."""
FILE, MERGES = "vocab.json", "merges.txt"
PAD, UNKNOWN, BEGIN, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNKNOWN, BEGIN, END, MASK)
UNUSED = "[unused"
"""Prefix of the names of unused tokens."""
LONGEST = 513
"""Tokens of the published model's input, [CLS] and [SEP] among them."""
PIECE = re.compile(r"\[[^\]]+\]|Br|Cl|@@|>>|%[0-9]{2}|%\([0-9]+\)|.", re.DOTALL)
"""A bracket atom, an atom of two letters, @@, >>, a ring closure above 9, or else one character. After
Schwaller et al. 2018 (Chemical Science 9, 6091), who have @@ and >> in two and no ring closures above 99."""
SHOWN = 10
"""Lost characters and colliding groups that a report lists."""


class SmilesTokens(NamedTuple):
    """Tokens of a molecule."""

    ids: npt.NDArray[np.int32]
    """[T], [CLS] first and [SEP] last."""
    spans: npt.NDArray[np.int64]
    """[T, 2]: characters of each token in the SMILES, 0-based half-open; [CLS] and [SEP] have empty ones,
    where the first token begins and where the last one ends."""
    lost: str
    """The characters without a token, in order, of the full SMILES even where it is cut."""
    cut: bool
    """Whether it has too many tokens, the last of which are left out."""


@dataclass(frozen=True)
class LossReport:
    """What the tokens of molecules lose."""

    how: How
    longest: int
    """Tokens of a molecule, at most."""
    molecules: int
    losing: int
    """Molecules that lose something."""
    lost: dict[str, int]
    """What is lost, and how often, the most frequent first: characters, or in atomwise tokens."""
    colliding: list[list[int]]
    """Groups of rows, counted from 0, whose tokens are the same although their SMILES are not."""
    cut: int
    """Molecules with too many tokens."""
    empty: int
    """Molecules without a token."""

    def as_text(self) -> str:
        """Return the report in a few lines."""
        share = f" ({self.losing / self.molecules:.1%})" if self.molecules else ""
        whole = f"{self.losing:,} of {self.molecules:,} molecules{share}"
        lines = [f"SMILES tokens ({self.how}): {whole} lose something"]
        if self.lost:
            most = ", ".join(f"{what!r} {count:,}" for what, count in list(self.lost.items())[:SHOWN])
            lines.append(f"  lost most often: {most}" + _more(len(self.lost)))
        rows = sum(map(len, self.colliding))
        lines.append(f"  {rows:,} molecules fall into {len(self.colliding):,} groups with identical tokens")
        if self.colliding:
            groups = "; ".join(" = ".join(map(str, group[:SHOWN])) for group in self.colliding[:SHOWN])
            lines.append(f"  first groups, rows counted from 0: {groups}" + _more(len(self.colliding)))
        if self.empty:
            lines.append(f"  {self.empty:,} molecules have no token left")
        lines.append(f"  {self.cut:,} molecules are cut at {self.longest:,} tokens")
        return "\n".join(lines)


class SmilesVocabulary:
    """An atom-wise vocabulary of SMILES.

    hub mode equals the published tokenizer, with what it does to chemistry: it is a byte-pair one without
    merges, so that no token has two characters, and a character without a token is dropped: of Cl the C is
    left, of [Na+] the N. Names of special tokens inside a text are read as any other text.

    Args:
        path: a hub folder with a vocab.json, or such a file.

    Raises:
        InputError: if it is missing or no atom-wise vocabulary of SMILES.
    """

    def __init__(self, path: Path) -> None:
        self.file = path / FILE if path.is_dir() else path
        content = read_config(self.file.parent, self.file.name)
        self._check(content)
        self._vocabulary: dict[str, int] = content
        self.pad, self.unknown, self.begin, self.end, self.mask = (content[name] for name in SPECIAL)
        self._tokens = {
            token: number
            for token, number in content.items()
            if token not in SPECIAL and not token.startswith(UNUSED)
        }
        self.vocab_size = max(content.values()) + 1
        """V: every id is below it."""

    def _check(self, content: dict[str, object]) -> None:
        wrong = []
        numbers = list(content.values())
        if lacks := [token for token in (*SPECIAL, "C") if token not in content]:
            wrong.append(f"no token {', '.join(lacks)}")
        if any(type(number) is not int or number < 0 for number in numbers):
            wrong.append("ids that are not integers from 0 on")
        elif len(set(numbers)) < len(numbers):
            wrong.append("two tokens of the same id")
        if merges := _merges(self.file.parent / MERGES):
            wrong.append(f"{merges:,} merges in the {MERGES} beside it")
        if wrong:
            raise InputError(
                f"{self.file}: expected a vocabulary of SMILES' atoms, as ChemBERTa-77M-MLM has, got "
                f"{'; '.join(wrong)}; give such a model's"
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of tokens and ids, in hexadecimal, independent of their order in the file."""
        return hashlib.sha256(json.dumps(self._vocabulary, sort_keys=True).encode()).hexdigest()

    def encode(self, smiles: str, how: How, longest: int = LONGEST) -> SmilesTokens:
        """Return a molecule's tokens, at most `longest` with [CLS] and [SEP].

        Raises:
            InputError: if `longest` is below 3, or `how` is unknown.
        """
        _check_options(how, longest)
        pieces = list(self._read(smiles, how))
        lost = "".join(piece for piece, number, _ in pieces if number is None)
        kept = [each for each in pieces if each[1] is not None or how == "atomwise"]
        most = longest - 2
        ids = [self.unknown if number is None else number for _, number, _ in kept[:most]]
        spans = [(begin, begin + len(piece)) for piece, _, begin in kept[:most]] or [(0, 0)]
        ends = [(spans[0][0],) * 2, (spans[-1][1],) * 2]
        spans = [ends[0], *(spans if ids else []), ends[1]]
        return SmilesTokens(
            np.array([self.begin, *ids, self.end], dtype=np.int32),
            np.array(spans, dtype=np.int64),
            lost,
            len(kept) > most,
        )

    def report(self, smiles: Sequence[str], how: How, longest: int = LONGEST) -> LossReport:
        """Return what the tokens of molecules lose, and which molecules get the same tokens.

        Raises:
            InputError: if `longest` is below 3, or `how` is unknown.
        """
        _check_options(how, longest)
        losing, cut, empty = 0, 0, 0
        lost: Counter[str] = Counter()
        rows: dict[bytes, list[int]] = {}
        for row, text in enumerate(smiles):
            tokens = self.encode(text, how, longest)
            losing += bool(tokens.lost)
            cut += tokens.cut
            empty += len(tokens.ids) == 2
            lost.update(piece for piece, number, _ in self._read(text, how) if number is None)
            rows.setdefault(tokens.ids.tobytes(), []).append(row)
        colliding = [group for group in rows.values() if len({smiles[row] for row in group}) > 1]
        ordered = dict(sorted(lost.items(), key=lambda item: (-item[1], item[0])))
        return LossReport(how, longest, len(smiles), losing, ordered, colliding, cut, empty)

    def _read(self, smiles: str, how: How) -> Iterator[tuple[str, int | None, int]]:
        """Yield each piece of a SMILES, its id or None, and where it begins."""
        if how == "hub":
            for begin, character in enumerate(smiles):
                yield character, self._tokens.get(character), begin
        else:
            for match in PIECE.finditer(smiles):
                yield match[0], self._tokens.get(match[0]), match.start()


def _merges(file: Path) -> int:
    """Return how many merges a list has, 0 where there is none."""
    if not file.is_file():
        return 0
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return sum(bool(line.strip()) and not line.startswith("#version") for line in lines)


def _check_options(how: str, longest: int) -> None:
    if how not in get_args(How):
        raise InputError(f"`how` must be {' or '.join(get_args(How))}, got {how!r}")
    if longest < 3:
        raise InputError(f"`longest` must be at least 3, got {longest}")


def _more(count: int) -> str:
    return f" and {count - SHOWN:,} more" if count > SHOWN else ""
