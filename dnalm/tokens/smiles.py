"""Tokens of SMILES, as of ChemBERTa: a vocab.json from the hub, and a report of what its tokens lose.

Shapes: T tokens of one molecule, [CLS] and [SEP] among them.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError, counted
from dnalm.formats.hub import read_config

How = Literal["hub", "atomwise"]
"""hub: characters, of which those without a token are dropped, as by the hub's tokenizer. atomwise: atoms,
bonds and ring closures, [UNK] where there is no token."""
FILE, MERGES = "vocab.json", "merges.txt"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNUSED = "[unused"  # prefix of the names of unused tokens
LONGEST = 513  # tokens of the published model's input, [CLS] and [SEP] among them
PIECES = {
    "hub": re.compile(".", re.DOTALL),
    "atomwise": re.compile(r"\[[^\]]+\]|Br|Cl|@@|>>|%[0-9]{2}|%\([0-9]+\)|.", re.DOTALL),
}
"""atomwise: a bracket atom, an atom of two letters, @@, >>, a ring closure above 9, or one character. After
Schwaller et al. 2018 (Chemical Science 9, 6091), who have @@ and >> in two and no ring closures above 99."""
SHOWN = 10  # lost pieces that a report lists


class SmilesTokens(NamedTuple):
    """Tokens of a molecule, [CLS] first and [SEP] last."""

    ids: npt.NDArray[np.int32]  # [T]
    spans: npt.NDArray[np.int64]
    """[T, 2]: characters of each token in the SMILES, 0-based half-open; empty ones at both ends."""
    lost: list[
        str
    ]  # Characters, or atomwise pieces, without a token, of the full SMILES even where it is cut
    cut: bool  # Whether it has too many tokens, the last of which are left out


class SmilesVocabulary:
    """An atom-wise vocabulary of SMILES, from a hub folder with a vocab.json, or such a file.

    hub mode equals the published tokenizer, with what it does to chemistry: it is a byte-pair one without
    merges, so that no token has two characters, and a character without a token is dropped: of Cl the C is
    left, of [Na+] the N. Names of special tokens inside a text are read as any other text.

    Raises:
        InputError: if it is missing or no atom-wise vocabulary of SMILES.
    """

    def __init__(self, path: Path) -> None:
        self.file = path / FILE if path.is_dir() else path
        self._vocabulary = read_config(self.file.parent, self.file.name)
        _check_vocabulary(self.file, self._vocabulary)
        _, self._unknown, self._begin, self._end, _ = (self._vocabulary[name] for name in SPECIAL)
        self._tokens: dict[str, int] = {
            token: number
            for token, number in self._vocabulary.items()
            if token not in SPECIAL and not token.startswith(UNUSED)
        }
        self.vocab_size = max(self._vocabulary.values()) + 1  # every id is below it

    @cached_property
    def digest(self) -> str:
        """SHA-256 of tokens and ids, in hexadecimal, independent of their order in the file."""
        return hashlib.sha256(json.dumps(self._vocabulary, sort_keys=True).encode()).hexdigest()

    def encode(self, smiles: str, how: How, longest: int = LONGEST) -> SmilesTokens:
        """Return a molecule's tokens, at most `longest` with [CLS] and [SEP].

        Raises:
            InputError: if `longest` is below 3, or `how` is unknown.
        """
        if how not in PIECES or longest < 3:
            options = f"got {how!r} and {longest}"
            raise InputError(f"`how` must be {' or '.join(get_args(How))}, `longest` at least 3, {options}")
        unknown = None if how == "hub" else self._unknown
        found = [
            (piece.span(), self._tokens.get(piece[0], unknown)) for piece in PIECES[how].finditer(smiles)
        ]
        tokens = [(span, number) for span, number in found if number is not None]
        lost = [smiles[slice(*span)] for span, number in found if number == unknown]
        ids = [self._begin, *(number for _, number in tokens[: longest - 2]), self._end]
        spans = [span for span, _ in tokens[: longest - 2]]
        spans = [(spans[0][0],) * 2, *spans, (spans[-1][1],) * 2] if spans else [(0, 0)] * 2
        cut = len(tokens) > longest - 2
        return SmilesTokens(np.array(ids, dtype=np.int32), np.array(spans, dtype=np.int64), lost, cut)

    def report(self, molecules: Sequence[str], how: How, longest: int = LONGEST) -> str:
        """Return in a few lines what the tokens of molecules lose, and how many molecules get the same."""
        every = [self.encode(smiles, how, longest) for smiles in molecules]
        same: dict[bytes, set[str]] = {}
        for smiles, tokens in zip(molecules, every, strict=True):
            same.setdefault(tokens.ids.tobytes(), set()).add(smiles)
        colliding = [group for group in same.values() if len(group) > 1]
        losing, cut = sum(bool(tokens.lost) for tokens in every), sum(tokens.cut for tokens in every)
        lost = Counter(piece for tokens in every for piece in tokens.lost)
        share = f"{losing:,} of {counted(len(every), 'molecule')} ({losing / max(1, len(every)):.1%})"
        lines = [f"SMILES tokens ({how}): {share} lose something"]
        if lost:
            most = sorted(lost.items(), key=lambda item: (-item[1], item[0]))
            shown = ", ".join(f"{what!r} {count:,}" for what, count in most[:SHOWN])
            more = f" and {len(most) - SHOWN:,} more" if len(most) > SHOWN else ""
            lines.append(f"  lost most often: {shown}{more}")
        groups = f"{counted(len(colliding), 'group')} with identical tokens"
        lines.append(f"  {counted(sum(map(len, colliding)), 'molecule')} in {groups}")
        if empty := sum(len(tokens.ids) == 2 for tokens in every):
            lines.append(f"  {counted(empty, 'molecule has', 'molecules have')} no token left")
        lines.append(f"  {counted(cut, 'molecule is', 'molecules are')} cut at {longest:,} tokens")
        return "\n".join(lines)


def _check_vocabulary(file: Path, content: dict[str, Any]) -> None:
    """Refuse a vocabulary without the special tokens, or with a number twice."""
    lacks = [f"lacks {token}" for token in (*SPECIAL, "C") if token not in content]
    numbers = [number for number in content.values() if type(number) is int and number >= 0]
    if len(set(numbers)) < len(content):
        lacks.append("its ids are not different integers from 0 on")
    merges = file.parent / MERGES
    text = merges.read_text(encoding="utf-8-sig", errors="replace") if merges.is_file() else ""
    if any(line.strip() and not line.startswith("#version") for line in text.splitlines()):
        lacks.append(f"there are merges in the {MERGES} beside it")
    if lacks:
        what = "a vocabulary of SMILES' atoms, as ChemBERTa-77M-MLM has"
        raise InputError(f"{file}: expected {what}, but {'; '.join(lacks)}")
