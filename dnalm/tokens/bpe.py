"""DNA's byte-pair tokens, as of DNABERT-2: a tokenizer.json from the hub, and the bases of each token.

Shapes: T tokens of one sequence or window, [CLS] and [SEP] among them.
"""

import re
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

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
"""Tokens read beyond the last one needed: where a piece is cut changes at most its last 5, as measured over
repeats of every one and two tokens of the published vocabulary."""


class BPETokens(NamedTuple):
    """Tokens of a sequence, [CLS] first and [SEP] last."""

    ids: npt.NDArray[np.int32]  # [T]
    spans: npt.NDArray[np.int64]
    """[T, 2]: bases of each token in the sequence, 0-based half-open; empty ones at both ends."""


class DNABPE:
    """A byte-pair tokenizer of DNA, from a hub folder with a tokenizer.json, or such a file.

    Letters are read in upper case and U as T. A sequence is cut at every other letter (N, IUPAC codes, gaps),
    since the vocabulary has none of them: the pieces are tokenised apart, and their tokens joined.

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
            raise InputError(f"{self.file}: no tokenizer, or cut short ({error}); fetch it again") from error
        vocabulary = self._tokenizer.get_vocab()
        lacks = [token for token in (*BASES, BEGIN, END) if token not in vocabulary]
        if lacks or not isinstance(self._tokenizer.model, library.models.BPE):
            what = f"no token {', '.join(lacks)}" if lacks else "another kind"
            raise InputError(f"{self.file}: expected a byte-pair tokenizer of a DNA model, got {what}")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._begin, self._end = vocabulary[BEGIN], vocabulary[END]
        self.vocab_size = max(vocabulary.values()) + 1  # every id is below it
        self.longest_token = max(len(token) for token in vocabulary if set(token) <= set(BASES))  # in bases

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return sha256(self.file)

    def encode(self, sequence: str, longest: int = 510) -> BPETokens:
        """Return a sequence's first `longest` tokens, between [CLS] and [SEP]; see `windows`."""
        return self.windows(sequence, 1, longest)[0]

    def windows(self, sequence: str, count: int, longest: int = 510) -> list[BPETokens]:
        """Return at most `count` windows of a sequence, in order and without overlap; spans are those in it.

        A sequence of at most `count` times `longest` tokens is covered completely: each window has `longest`
        tokens, the last one the rest. A longer one is divided into `count` parts of as many letters, and a
        window is the first `longest` tokens of its part; a part without a base has none.

        Raises:
            InputError: if it has no base, or `count` or `longest` is below 1.
        """
        if count < 1 or longest < 1:
            raise InputError(f"`count` and `longest` must be at least 1, got {count} and {longest}")
        ids, spans = self._tokens(sequence, 0, len(sequence), count * longest)
        if not ids:
            shown = repr(sequence[:20]) + (f" ({len(sequence):,} letters)" if len(sequence) > 20 else "")
            raise InputError(f"expected a sequence with at least one of A, C, G, T or U, got {shown}")
        if count == 1 or len(ids) <= count * longest:
            starts = range(0, len(ids), longest)[:count]
            return [self._window(ids[at : at + longest], spans[at : at + longest]) for at in starts]
        edges = [len(sequence) * part // count for part in range(count + 1)]
        parts = (self._tokens(sequence, begin, end, longest) for begin, end in pairwise(edges))
        return [self._window(ids[:longest], spans[:longest]) for ids, spans in parts if ids]

    def _tokens(
        self, sequence: str, begin: int, end: int, most: int
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Return ids and spans of the tokens of sequence[begin:end], of which the first `most` are right."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for piece in RUN.finditer(sequence, begin, end):
            if len(ids) > most:
                break
            text = piece[0][: (most + LOOKAHEAD) * self.longest_token].upper().replace("U", "T")
            found = self._tokenizer.encode(text, add_special_tokens=False)
            ids += found.ids
            spans += [(piece.start() + first, piece.start() + last) for first, last in found.offsets]
        return ids, spans

    def _window(self, ids: list[int], spans: list[tuple[int, int]]) -> BPETokens:
        spans = [(spans[0][0],) * 2, *spans, (spans[-1][1],) * 2]
        ids = [self._begin, *ids, self._end]
        return BPETokens(np.array(ids, dtype=np.int32), np.array(spans, dtype=np.int64))
