"""Windows with a score at each base, as tensors: for training, in batches that depend on (seed, step) alone.

Shapes used below
    B  windows in the batch          L  bases (tokens) per window
    M  windows of a part             D  width of the states
    S  windows whose states are kept
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.dna import BASE_CODES, BASES, NOT_A_BASE
from dnalm.errors import InputError
from dnalm.tokens.characters import CharacterTokenizer

Letters = npt.NDArray[np.uint8]
NO_BASE = len(BASES)
"""Base code of every letter that is not A, C, G or T, in `base_codes`."""


class BindingBatch(NamedTuple):
    """One batch of windows."""

    tokens: Tensor
    """uint8, [B, L]."""
    scores: Tensor
    """float, [B, L]: the score to predict at each base."""
    states: Tensor | None
    """[B, L, D], or [B, L, 2 D] with both strands: what a frozen encoder makes of the tokens, where it was
    computed before; else None."""


@dataclass(frozen=True)
class BindingWindows:
    """Windows of one part of a set: training, validation or test."""

    tokens: Tensor
    """uint8, [M, L]."""
    scores: Tensor
    """float32, [M, L]."""
    states: Tensor | None = None
    """[S, L, D]: what a frozen encoder makes of these and other windows, where it is kept."""
    state_rows: Tensor | None = None
    """int64, [M]: which of `states` belong to these windows; None where they are just these."""
    other_states: Tensor | None = None
    """[S, L, D]: the like of the reverse complements, as they are read; a batch has them behind the forward
    ones, turned round so that each lies at its base."""

    def __post_init__(self) -> None:
        assert self.tokens.shape == self.scores.shape
        if self.states is not None:
            rows = len(self.states) if self.state_rows is None else len(self.state_rows)
            assert (rows, self.states.shape[1]) == self.tokens.shape

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: npt.NDArray[np.int64]) -> BindingBatch:
        """Return the windows `rows`, [B], in their order."""
        at = torch.from_numpy(rows)
        states = None
        if self.states is not None:
            kept = at if self.state_rows is None else self.state_rows[at]
            states = self.states[kept]
            if self.other_states is not None:
                states = torch.cat([states, self.other_states[kept].flip(1)], dim=-1)
        return BindingBatch(self.tokens[at], self.scores[at], states)


class BindingBatches:
    """Batches of the training windows: every window once an epoch, in an order drawn from (seed, epoch).

    Args:
        windows: the training windows.
        batch_size: B of a whole batch, over all processes; the last batch of an epoch may be smaller.
        seed: of the order.
    """

    def __init__(self, windows: BindingWindows, batch_size: int, seed: int) -> None:
        self.windows, self.batch_size, self.seed = windows, batch_size, seed
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None  # of the epoch drawn last

    @property
    def steps_per_epoch(self) -> int:
        """Batches that hold every window once."""
        return -(-len(self.windows) // self.batch_size)

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch: an epoch's last."""
        return len(self.windows) - (self.steps_per_epoch - 1) * self.batch_size

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """Return which windows are in batch `step`, [B]."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            draws = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            self._order = (epoch, draws.permutation(len(self.windows)))
        return self._order[1][place * self.batch_size : (place + 1) * self.batch_size]

    def batch(self, step: int, rank: int = 0, world: int = 1) -> BindingBatch:
        """Return rank's share of batch `step`: rows rank, rank + world, ..."""
        return self.windows.take(self.rows(step)[rank::world])


def base_codes(letters: Letters) -> Tensor:
    """Return base codes of letters [.., L] for the CNN: 0 to 3, and `NO_BASE` for any other letter; uint8."""
    codes = BASE_CODES[letters]
    return torch.from_numpy(np.where(codes == NOT_A_BASE, NO_BASE, codes).astype(np.uint8))


def token_ids(letters: Letters, tokenizer: CharacterTokenizer) -> Tensor:
    """Return token ids of upper-case IUPAC letters [.., L], uint8.

    A base that the vocabulary has in lower case alone is read so. Any other letter that it lacks becomes its
    N, or where it has no N (vocab4) its A, as in the published project: a stand-in, which the model takes for
    a real base.

    Raises:
        InputError: if the vocabulary lacks a base in either case.
    """
    table = tokenizer.ids.copy()
    for base in BASES:
        if table[ord(base)] < 0:
            table[ord(base)] = table[ord(base.lower())]
        if table[ord(base)] < 0:
            raise InputError(f"the vocabulary {tokenizer.characters!r} has no token for the base {base}")
    stand_in = next(table[ord(letter)] for letter in "NA" if table[ord(letter)] >= 0)
    return torch.from_numpy(np.where(table < 0, stand_in, table).astype(np.uint8)[letters])
