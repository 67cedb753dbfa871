"""DNA's byte-pair tokens, as of DNABERT-2: a tokenizer.json from the hub, and the bases of each token.

Shapes used below
    T  tokens of one sequence or window, [CLS] and [SEP] among them
"""

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASES
from dnalm.errors import InputError, import_extra
from dnalm.files import sha256

FILE = "tokenizer.json"
BEGIN, END = "[CLS]", "[SEP]"
RUN = re.compile("[ACGTUacgtu]+")
"""Letters that have tokens: any other one ends a piece."""
LOOKAHEAD = 16
"""Tokens read beyond the last one kept. Where a piece is cut changes only its last tokens: at most 5 were
measured, over repeats of every one and two tokens of the published vocabulary."""


class BPETokens(NamedTuple):
    """Tokens of a sequence."""

    ids: npt.NDArray[np.int32]
    """[T], [CLS] first and [SEP] last."""
    spans: npt.NDArray[np.int64]
    """[T, 2]: bases of each token in the sequence, 0-based half-open; [CLS] and [SEP] have empty ones, where
    the first token begins and where the last one ends."""


class DNABPE:
    """A byte-pair tokenizer of DNA.

    Letters are read in upper case and U as T. A sequence is cut at every other letter (N, IUPAC codes, gaps),
    since the vocabulary has none of them: the pieces are tokenised apart, and their tokens joined.

    Args:
        path: a hub folder with a tokenizer.json, or such a file.

    Raises:
        InputError: if it is missing or no byte-pair tokenizer of DNA, or `tokenizers` is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.file = path / FILE if path.is_dir() else path
        if not self.file.is_file():
            raise InputError(f"{self.file}: missing; expected the {FILE} of the model's hub folder")
        library = import_extra("tokenizers", "interaction", "byte-pair tokens")
        try:
            self._tokenizer = library.Tokenizer.from_file(str(self.file))
        except Exception as error:  # the library raises nothing more special
            raise InputError(
                f"{self.file}: expected a tokenizer, got something else or a file cut short ({error}); fetch "
                "it again"
            ) from error
        vocabulary = self._tokenizer.get_vocab()
        lacks = [token for token in (*BASES, BEGIN, END) if token not in vocabulary]
        if lacks or not isinstance(self._tokenizer.model, library.models.BPE):
            what = f"no token {', '.join(lacks)}" if lacks else "another kind"
            raise InputError(
                f"{self.file}: expected a byte-pair tokenizer of DNA, got {what}; give a DNA model's"
            )
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._begin, self._end = vocabulary[BEGIN], vocabulary[END]
        self.vocab_size = max(vocabulary.values()) + 1
        """V: every id is below it."""
        self.longest_token = max(len(token) for token in vocabulary if set(token) <= set(BASES))
        """Bases of the longest token."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return sha256(self.file)

    def encode(self, sequence: str, longest: int = 510) -> BPETokens:
        """Return a sequence's first `longest` tokens, between [CLS] and [SEP]; no more of it is tokenised.

        Raises:
            InputError: if it has no base, or `longest` is below 1.
        """
        _check(longest=longest)
        return self._read(sequence, 0, len(sequence), longest) or _no_base(sequence)

    def windows(self, sequence: str, count: int, longest: int = 510) -> list[BPETokens]:
        """Return at most `count` windows of a sequence, in order and without overlap; spans are those in it.

        A sequence of at most `count` times `longest` tokens is covered completely: each window has `longest`
        tokens and begins where the one before it ends, the last one has the rest. A longer sequence is
        divided into `count` parts of as many letters, and a window is the first `longest` tokens of its part;
        a part without a base has none.

        Raises:
            InputError: if it has no base, or `count` or `longest` is below 1.
        """
        _check(count=count, longest=longest)
        tiles = self._tiles(sequence, count, longest)
        if tiles is not None:
            return tiles
        edges = [len(sequence) * part // count for part in range(count + 1)]
        parts = (self._read(sequence, begin, end, longest) for begin, end in pairwise(edges))
        return [window for window in parts if window is not None]

    def _tiles(self, sequence: str, count: int, longest: int) -> list[BPETokens] | None:
        """Return adjacent windows that cover the sequence; None where they are more than `count`."""
        bases = sum(end - begin for begin, end in _runs(sequence, 0, len(sequence)))
        if bases > count * longest * self.longest_token:
            return None
        tiles: list[BPETokens] = []
        start = 0
        while window := self._read(sequence, start, len(sequence), longest):
            if len(tiles) == count:
                return None
            tiles.append(window)
            start = int(window.spans[-1, 1])
        return tiles or [_no_base(sequence)]

    def _read(self, sequence: str, start: int, stop: int, longest: int) -> BPETokens | None:
        """Return the first `longest` tokens of sequence[start:stop]; None where it has no base."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for begin, end in _runs(sequence, start, stop):
            left = longest - len(ids)
            if left == 0:
                break
            piece = self._tokens(sequence, begin, end, left)
            ids += piece.ids[:left]
            spans += [(begin + first, begin + last) for first, last in piece.offsets[:left]]
        if not ids:
            return None
        spans = [(spans[0][0],) * 2, *spans, (spans[-1][1],) * 2]
        return BPETokens(
            np.array([self._begin, *ids, self._end], dtype=np.int32), np.array(spans, dtype=np.int64)
        )

    def _tokens(self, sequence: str, begin: int, end: int, most: int) -> Any:
        """Return the library's encoding of a piece, or of so much that its first `most` tokens are right."""
        for share in (4, 1):  # tokens have a quarter of the longest one's bases, or fewer, nearly always
            cut = begin + (most + LOOKAHEAD) * self.longest_token // share
            text = sequence[begin : min(cut, end)].upper().replace("U", "T")
            found = self._tokenizer.encode(text, add_special_tokens=False)
            if cut >= end or len(found.ids) >= most + LOOKAHEAD:
                break
        return found


def _runs(sequence: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each piece without another letter in sequence[start:stop]."""
    for match in RUN.finditer(sequence, start, stop):
        yield match.span()


def _check(**sizes: int) -> None:
    wrong = [f"`{name}` must be at least 1, got {value}" for name, value in sizes.items() if value < 1]
    if wrong:
        raise InputError("; ".join(wrong))


def _no_base(sequence: str) -> NoReturn:
    shown = repr(sequence[:20]) + (f" and {len(sequence) - 20} more letters" if len(sequence) > 20 else "")
    raise InputError(f"expected a sequence with at least one of A, C, G, T or U, got {shown}")
