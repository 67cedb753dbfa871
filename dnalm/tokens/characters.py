"""Tokenizers of one character a token: the FASTA's own characters ("full") and A C G T ("vocab4")."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASE_CODES, BASES, COMPLEMENT
from dnalm.errors import InputError

HG38_CHARACTERS = "".join(sorted("\n0123456789>ABCGHIJKLMNTUXY_acdghlmnortv"))
"""The 40 characters of UCSC's hg38.fa, in id order."""


@dataclass(frozen=True)
class CharacterTokenizer:
    """Token i is `characters[i]`; a text has one token a character. V is the number of tokens."""

    characters: str

    def __post_init__(self) -> None:
        distinct = 0 < len(set(self.characters)) == len(self.characters)
        if not (distinct and self.characters.isascii()):
            raise InputError(f"`characters` must be ASCII, distinct, and not empty, got {self.characters!r}")

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.characters)

    @cached_property
    def _letters(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.characters.encode("ascii"), dtype=np.uint8)

    @cached_property
    def ids(self) -> npt.NDArray[np.int16]:
        """[256]: the token id of each byte, -1 where it has none."""
        table = np.full(256, -1, dtype=np.int16)
        table[self._letters] = np.arange(self.vocab_size)
        return table

    @cached_property
    def base_of_token(self) -> npt.NDArray[np.uint8]:
        """[V]: base code 0 to 3 of each token (either case), `NOT_A_BASE` where it is no base."""
        codes: npt.NDArray[np.uint8] = BASE_CODES[self._letters]
        return codes

    @cached_property
    def soft_masked(self) -> npt.NDArray[np.bool_]:
        """[V]: True where a token is a lower-case base (or n)."""
        return np.array([c in "acgtn" for c in self.characters])

    @cached_property
    def complement(self) -> npt.NDArray[np.uint8]:
        """[V]: the token of the other strand's letter; the token itself where there is none."""
        other = self.ids[COMPLEMENT[self._letters]]
        return np.where(other < 0, np.arange(self.vocab_size), other).astype(np.uint8)

    def encode(self, text: str) -> npt.NDArray[np.uint8]:
        """Return the token ids of `text`, [L].

        Raises:
            InputError: naming the first character that has no token.
        """
        ids = self.ids[np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)]
        if (ids < 0).any():
            at = int((ids < 0).argmax())
            where = f"character {text[at]!r} at position {at + 1}"
            raise InputError(f"{where} is not in the vocabulary {self.characters!r}")
        return ids.astype(np.uint8)

    def decode(self, ids: npt.NDArray[np.uint8]) -> str:
        """Return the text of token ids, [L]."""
        return bytes(self._letters[ids]).decode("ascii")


VOCAB4 = CharacterTokenizer(BASES)
