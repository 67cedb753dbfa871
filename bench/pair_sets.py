"""Made-up states of genes and molecules, and a model of pairs that reads them.

Their sizes are those of a genome model's states (32 segments of 384) and of ChemBERTa's (60 tokens of 384).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dnalm.data.pair_batches import PairRows, PairTokens
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.pretrained import PretrainedConfig
from dnalm.train.pairs import InteractionTask

Rows = npt.NDArray[np.int64]
GENES, MOLECULES, WIDTH, SEGMENTS, TOKENS = 2_000, 10_000, 384, 32, 60


class MadeUp:
    """States of as many texts as asked for, of a few that repeat, so that they fit into memory."""

    def __init__(self, count: int, length: int) -> None:
        self.count, self.kept = count, torch.randn(256, length, WIDTH).to(torch.bfloat16)

    def __len__(self) -> int:
        return self.count

    def lengths(self, rows: Rows) -> Rows:
        """Return how many states each of `rows` has."""
        return np.full(len(rows), self.kept.shape[1])

    def take(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the states of `rows` and that all of them are real."""
        states = self.kept[torch.from_numpy(rows % len(self.kept))]
        return states, torch.ones(states.shape[:2], dtype=torch.bool)


class Pairs(NamedTuple):
    """A model of pairs and all it needs."""

    model: InteractionModel
    task: InteractionTask
    tokens: PairTokens
    rows: PairRows


def made_up() -> Pairs:
    """Return 20,000 pairs of 2,000 genes and 1,000 molecules, some of these far more often than others."""
    torch.manual_seed(0)
    shape = InteractionShape(PretrainedConfig(WIDTH), PretrainedConfig(WIDTH), CrossAttentionConfig())
    model = InteractionModel(shape)
    tokens = PairTokens(MadeUp(GENES, SEGMENTS), MadeUp(MOLECULES, TOKENS), distinct_genes=True)
    draws = np.random.default_rng(0)
    rows = PairRows(
        draws.integers(GENES, size=20_000),
        draws.zipf(1.5, size=20_000) % 1_000,
        draws.integers(2, size=20_000).astype(np.uint8),
    )
    return Pairs(model, InteractionTask(shape, tokens, rows, rows.take(np.arange(64))), tokens, rows)
