"""Molecules' tokens, as ChemBERTa reads SMILES: a vocab.json from the hub, and what its tokens leave out.

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
"""hub: character by character, what is no token is dropped, as the hub's tokenizer does. atomwise: atoms,
bonds and ring closures whole, what is no token becomes [UNK]."""
FILE, MERGES = "vocab.json", "merges.txt"
PAD, UNKNOWN, BEGIN, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNKNOWN, BEGIN, END, MASK)
UNUSED = "[unused"
"""How the names of tokens begin that stand for nothing."""
LONGEST = 513
"""Tokens that the published model takes, [CLS] and [SEP] among them."""
PIECE = re.compile(r"\[[^\]]+\]|Br|Cl|@@|>>|%[0-9]{2}|%\([0-9]+\)|.", re.DOTALL)
"""A bracket atom, an atom of two letters, @@, >>, a ring closure above 9, or else one character. After
Schwaller et al. 2018 (Chemical Science 9, 6091), who have @@ and >> in two and no ring closures above 99."""
SHOWN = 10
"""Kinds of what was lost, and colliding groups, that a report shows a person."""


class SmilesTokens(NamedTuple):
    """Tokens of a molecule."""

    ids: npt.NDArray[np.int32]
    """[T], [CLS] first and [SEP] last."""
    spans: npt.NDArray[np.int64]
    """[T, 2]: characters of each token in the SMILES, 0-based half-open; [CLS] and [SEP] have empty ones,
    where the first token begins and where the last one ends."""
    lost: str
    """The characters that no token stands for, in order, of the whole SMILES even where it is cut."""
    cut: bool
    """Whether it has more tokens than were asked for: the last ones are left out."""


@dataclass(frozen=True)
class LossReport:
    """What the tokens of molecules leave out."""

    how: How
    longest: int
    """Tokens of a molecule, at most."""
    molecules: int
    losing: int
    """Molecules of which something is lost."""
    lost: dict[str, int]
    """What is lost, and how often, the most frequent first: characters, or in atomwise whole tokens."""
    colliding: list[list[int]]
    """Groups of rows, counted from 0, whose tokens are the same although their SMILES are not."""
    cut: int
    """Molecules with too many tokens."""
    empty: int
    """Molecules of which no token is left."""

    def as_text(self) -> str:
        """Return what a person wants to know, a few lines."""
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

    In hub mode the published tokenizer is met exactly, with what it does to chemistry: it is a byte-pair one
    whose list of merges is empty, so no token of two characters or more is ever made, and a character that is
    no token is dropped without a trace: of Cl the C is left, of [Na+] the N. The names of special tokens,
    which that tokenizer would find inside a text, are here read as any other text.

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
            wrong.append("ids that are no whole numbers from 0 on")
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
        """SHA-256 of tokens and ids, in hexadecimal, whatever their order in the file."""
        return hashlib.sha256(json.dumps(self._vocabulary, sort_keys=True).encode()).hexdigest()

    def encode(self, smiles: str, how: How, longest: int = LONGEST) -> SmilesTokens:
        """Return a molecule's tokens, at most `longest` with [CLS] and [SEP].

        Raises:
            InputError: if `longest` is below 3, or `how` is unknown.
        """
        _check_asked(how, longest)
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        lost: list[str] = []
        for piece, number, begin in self._read(smiles, how):
            if number is None:
                lost.append(piece)
                if how == "hub":
                    continue
            ids.append(self.unknown if number is None else number)
            spans.append((begin, begin + len(piece)))
        most = longest - 2
        kept = spans[:most]
        kept = [(kept[0][0],) * 2, *kept, (kept[-1][1],) * 2] if kept else [(0, 0), (0, 0)]
        return SmilesTokens(
            np.array([self.begin, *ids[:most], self.end], dtype=np.int32),
            np.array(kept, dtype=np.int64),
            "".join(lost),
            len(ids) > most,
        )

    def report(self, smiles: Sequence[str], how: How, longest: int = LONGEST) -> LossReport:
        """Return what the tokens of molecules leave out, and which molecules they make the same.

        Raises:
            InputError: if `longest` is below 3, or `how` is unknown.
        """
        _check_asked(how, longest)
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


def _check_asked(how: str, longest: int) -> None:
    wrong = []
    if how not in get_args(How):
        wrong.append(f"the way to read SMILES must be {' or '.join(get_args(How))}, got {how!r}")
    if longest < 3:
        wrong.append(f"longest must be at least 3, got {longest}")
    if wrong:
        raise InputError("; ".join(wrong))


def _more(count: int) -> str:
    return f" and {count - SHOWN:,} more" if count > SHOWN else ""
