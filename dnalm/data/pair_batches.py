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

from dnalm.data.epochs import EpochBatches, Rows
from dnalm.data.pairs import PairSet
from dnalm.errors import InputError, counted


class Source(Protocol):
    """The genes or molecules of a set, as an encoder reads them: tokens, cached states or windows."""

    def __len__(self) -> int:
        """How many there are."""

    def lengths(self, rows: Rows) -> Rows:
        """Return how long each of `rows` is, in tokens or states, [B]."""

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return `rows`, tokens [B, L] or states [B, L, D], and which of them are real, bool [B, L].

        Windows: tokens [B, W, L], and the index of each token's state, int [B, W, L] (`models.pretrained`).
        """


class Ragged:
    """Token sequences of many lengths, concatenated."""

    def __init__(self, sequences: Sequence[npt.NDArray[np.int16]]) -> None:
        self._begins = np.cumsum([0, *map(len, sequences)])
        self.tokens = np.concatenate([*sequences, np.zeros(1, dtype=np.int16)])

    def __len__(self) -> int:
        return len(self._begins) - 1

    def lengths(self, rows: Rows) -> Rows:
        """Return how many tokens each of `rows` has, [B]."""
        lengths: Rows = self._begins[rows + 1] - self._begins[rows]
        return lengths

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return tokens of `rows`, int16 [B, L], 0 at padding, L at least 1, and which are real, [B, L]."""
        lengths = self.lengths(rows)[:, None]
        offsets = np.arange(max(1, int(lengths.max(initial=0))))
        real = offsets < lengths
        at = np.where(real, self._begins[rows, None] + offsets, len(self.tokens) - 1)  # the last one is 0
        return torch.from_numpy(self.tokens[at]), torch.from_numpy(real)


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
    gene_identity: Tensor | None  # int64, [G]: rows of vectors of known genes, -1 for others
    molecule_identity: Tensor | None  # int64, [M]: likewise
    labels: Tensor  # float, [B]: 1 for a pair that interacts


@dataclass(frozen=True)
class PairTokens:
    """The genes and molecules of a set, as the encoders read them."""

    genes: Source
    molecules: Source
    distinct_genes: bool = False
    """Whether a batch holds a gene of several pairs once; not if it must count for each pair, as in batch
    normalisation, or has other dropout in each."""
    bits: Source | None = None  # Fingerprints of the molecules, if one is read beside their encoder
    identity: dict[str, Rows] | None = None
    """By side, the row of each gene's, or molecule's, vector of its own, -1 where it has none."""

    def take(self, side: str, rows: Rows) -> tuple[Tensor | None, ...]:
        """Return what is read of genes or molecules: tokens, mask, fingerprints, their mask, identity."""
        tokens, real = (self.genes if side == "gene" else self.molecules).take(rows)
        fingerprints = self.bits if side == "molecule" else None
        bits, bits_real = (None, None) if fingerprints is None else fingerprints.take(rows)
        identity = None if self.identity is None else torch.from_numpy(self.identity[side][rows])
        return tokens, real, bits, bits_real, identity


@dataclass(frozen=True)
class PairRows:
    """Pairs of one part of a set: rows of its two tables, and labels."""

    gene: Rows  # [N]
    molecule: Rows  # [N]
    label: npt.NDArray[np.uint8]  # [N]: 0 or 1

    @classmethod
    def of(cls, pairs: PairSet, part: str) -> "PairRows":
        """Return the pairs of one part of a set: train, validation or test."""
        return cls(pairs.gene, pairs.molecule, pairs.label).take(pairs.parts[part])

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Rows) -> "PairRows":
        """Return the pairs `rows`, in their order."""
        return PairRows(self.gene[rows], self.molecule[rows], self.label[rows])


class PairBatches(EpochBatches):
    """Batches of the training pairs; see `EpochBatches`.

    Batch normalisation needs more than one pair. Genes of all lengths are mixed: sorted by length, each batch
    would have the mean and variance of its own kind of gene, unlike in evaluation. `early` is used instead of
    `tokens` in the first `early_epochs`.
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
            got = f"{counted(len(pairs), 'pair')} for training and a batch size of {batch_size}"
            raise InputError(f"batch normalisation needs batches of at least 2 pairs, got {got}")
        super().__init__(len(pairs), batch_size, seed, least=2)
        self.tokens, self.pairs = tokens, pairs
        self.early, self.early_steps = early or tokens, early_epochs * self.steps_per_epoch

    def batch(self, step: int, rank: int = 0, world: int = 1) -> PairBatch:
        """Return the rows rank, rank + world, ... of batch `step`."""
        pairs = self.pairs.take(self.rows(step)[rank::world])
        tokens = self.early if step < self.early_steps else self.tokens
        molecules, molecule = np.unique(pairs.molecule, return_inverse=True)
        genes, gene = pairs.gene, np.arange(len(pairs))
        if tokens.distinct_genes:
            genes, gene = np.unique(genes, return_inverse=True)
        *of_genes, _, _, gene_identity = tokens.take("gene", genes)
        *of_molecules, bits, bits_real, molecule_identity = tokens.take("molecule", molecules)
        rows = [torch.from_numpy(gene), torch.from_numpy(molecule)]
        beside = [bits, bits_real, gene_identity, molecule_identity]
        label = torch.from_numpy(pairs.label.astype(np.float32))
        return PairBatch._make([*of_genes, *of_molecules, *rows, *beside, label])
