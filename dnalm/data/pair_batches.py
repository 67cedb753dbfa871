"""Pairs of a gene and a molecule as tensors: for training, in batches that depend on (seed, step) alone.

Shapes: N pairs; B pairs in the batch, or sequences taken; G genes in the batch; M distinct molecules in the
batch; L tokens per gene or molecule, the longest's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.data.pairs import PairSet, Rows
from dnalm.errors import InputError


class Source(Protocol):
    """The genes or the molecules of a set, as an encoder reads them.

    These are tokens [B, L]; cached states [B, L, D]; or windows of tokens [B, W, L].
    """

    def __len__(self) -> int:
        """How many there are."""
        ...

    def lengths(self, rows: Rows) -> Rows:
        """Return how long each of `rows` is, in tokens or states, [B]."""
        ...

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return `rows`, and which of their tokens or states are real, bool [B, L].

        Of windows: the index of each token's state, int [B, W, L] (`models.pretrained`).
        """
        ...


class Ragged:
    """Token sequences of many lengths, concatenated."""

    def __init__(self, sequences: Sequence[npt.NDArray[np.int16]]) -> None:
        self._lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        self.begins = np.concatenate([[0], np.cumsum(self._lengths)])
        self.tokens = np.concatenate([*sequences, np.zeros(1, dtype=np.int16)])

    def __len__(self) -> int:
        return len(self.begins) - 1

    def lengths(self, rows: Rows) -> Rows:
        """Return how many tokens each of `rows` has, [B]."""
        return self._lengths[rows]

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return sequences `rows`: tokens, int16 [B, L], 0 at padding, and which are real, bool [B, L].

        L is the length of the longest of them, and at least 1.
        """
        begins, ends = self.begins[rows, None], self.begins[rows + 1, None]
        index = begins + np.arange(max(1, int((ends - begins).max(initial=0))))
        real = index < ends
        tokens = np.where(real, self.tokens[np.where(real, index, 0)], np.int16(0))
        return torch.from_numpy(tokens), torch.from_numpy(real)


def pad_states(states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return states [L, D] of several texts as [B, L, D], 0 at padding, and which are real, bool [B, L]."""
    lengths = torch.tensor([len(each) for each in states])
    padded = torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True)
    return padded, torch.arange(padded.shape[1]) < lengths.unsqueeze(-1)


class PairBatch(NamedTuple):
    """One batch of pairs; it holds each distinct molecule once."""

    genes: Tensor  # int16, [G, L]: tokens; or states, [G, L, D]. Each pair's gene, or each distinct one once
    genes_real: Tensor  # bool, [G, L]
    molecules: Tensor  # int16, [M, L], or states, [M, L, D]
    molecules_real: Tensor  # bool, [M, L]
    gene: Tensor  # int64, [B]: which of the G is each pair's
    molecule: Tensor  # int64, [B]: which of the M is each pair's
    bits: Tensor | None  # int16, [M, L]: fingerprints of the molecules, if one is read beside their encoder
    bits_real: Tensor | None  # bool, [M, L]
    labels: Tensor  # float, [B]: 1 for a pair that interacts


@dataclass(frozen=True)
class PairTokens:
    """The genes and molecules of a set, as the encoders read them."""

    genes: Source
    molecules: Source
    distinct_genes: bool = False
    """Whether a batch holds a gene of several pairs once; not if it must count for each pair, as in batch
    normalisation, or has other dropout in each."""
    bits: Source | None = None
    """Fingerprints of the molecules, if one is read beside their encoder."""

    def take_molecules(self, rows: Rows) -> tuple[Tensor, ...]:
        """Return molecules `rows` and their mask; and fingerprints and their mask, if there are any."""
        return self.molecules.take(rows) + (() if self.bits is None else self.bits.take(rows))


@dataclass(frozen=True)
class PairRows:
    """Pairs of one part of a set: rows of its two tables, and labels."""

    gene: Rows  # [N]
    molecule: Rows  # [N]
    label: npt.NDArray[np.uint8]  # [N]: 0 or 1

    @classmethod
    def of(cls, pairs: PairSet, part: str) -> "PairRows":
        """Return the pairs of one part of a set: train, validation or test."""
        rows = pairs.parts[part]
        return cls(pairs.gene[rows], pairs.molecule[rows], pairs.label[rows])

    def __post_init__(self) -> None:
        assert self.gene.shape == self.molecule.shape == self.label.shape

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Rows) -> "PairRows":
        """Return the pairs `rows`, in their order."""
        return PairRows(self.gene[rows], self.molecule[rows], self.label[rows])


class PairBatches:
    """Batches of the training pairs: every pair once an epoch, in an order that depends on (seed, epoch).

    A last batch of a single pair is joined to the one before: batch normalisation needs more than one. Genes
    of all lengths are mixed in a batch: sorted by length, each batch would have the mean and variance of its
    own kind of gene, and batch normalisation in training would differ from that in evaluation.

    Args:
        tokens: of the set's genes and molecules.
        pairs: the training pairs.
        batch_size: B, over all processes; the last batch of an epoch may differ.
        seed: of the order.
        early: used instead of `tokens` in the first epochs.
        early_epochs: how many those are.

    Raises:
        InputError: if there are fewer than two pairs, or the batch size is below 2.
    """

    def __init__(
        self,
        tokens: PairTokens,
        pairs: PairRows,
        batch_size: int,
        seed: int,
        *,
        early: PairTokens | None = None,
        early_epochs: int = 0,
    ) -> None:
        if len(pairs) < 2 or batch_size < 2:
            raise InputError(
                "batch normalisation needs batches of at least 2 pairs, got "
                f"{len(pairs):,} pairs for training and a batch size of {batch_size}"
            )
        self.tokens, self.pairs, self.batch_size, self.seed = tokens, pairs, batch_size, seed
        self.early, self.early_epochs = early, early_epochs
        self._order: tuple[int, Rows] | None = None  # of one epoch

    @property
    def steps_per_epoch(self) -> int:
        """Batches that hold every pair once."""
        full, rest = divmod(len(self.pairs), self.batch_size)
        return max(1, full + (rest > 1))

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch."""
        return min(len(self.rows(0)), len(self.rows(self.steps_per_epoch - 1)))

    def rows(self, step: int) -> Rows:
        """Return which pairs are in batch `step`, [B]."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            draws = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            self._order = (epoch, draws.permutation(len(self.pairs)))
        end = None if index == self.steps_per_epoch - 1 else (index + 1) * self.batch_size
        return self._order[1][index * self.batch_size : end]

    def batch(self, step: int, rank: int = 0, world: int = 1) -> PairBatch:
        """Return rank's share of batch `step`: rows rank, rank + world, ..."""
        pairs = self.pairs.take(self.rows(step)[rank::world])
        is_early = step < self.early_epochs * self.steps_per_epoch
        tokens = self.early if self.early is not None and is_early else self.tokens
        molecules, molecule = np.unique(pairs.molecule, return_inverse=True)
        genes, gene = pairs.gene, np.arange(len(pairs))
        if tokens.distinct_genes:
            genes, gene = np.unique(genes, return_inverse=True)
        bits, bits_real = (None, None) if tokens.bits is None else tokens.bits.take(molecules)
        return PairBatch(
            *tokens.genes.take(genes),
            *tokens.molecules.take(molecules),
            torch.from_numpy(gene),
            torch.from_numpy(molecule),
            bits,
            bits_real,
            torch.from_numpy(pairs.label.astype(np.float32)),
        )
