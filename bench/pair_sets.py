"""A model of pairs on random states, and encoders of the published sizes.

States have the sizes of a genome model's (32 segments of 384) and of ChemBERTa's (60 tokens of 384).

Shapes used below
    B  pairs     G  tokens of a gene     M  tokens of a molecule
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dnalm.data.pair_batches import PairRows, PairTokens
from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.dnabert2 import DNABert2, DNABert2Config
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.pretrained import PretrainedConfig
from dnalm.train.pairs import InteractionTask

Rows = npt.NDArray[np.int64]
GENES, MOLECULES, WIDTH, SEGMENTS, TOKENS = 2_000, 10_000, 384, 32, 60
GENE, MOLECULE = 512, 60
"""G and M."""


class RandomStates:
    """States of `count` texts, of a few that repeat, so that they fit into memory."""

    def __init__(self, count: int, length: int) -> None:
        self.count, self.states = count, torch.randn(256, length, WIDTH).to(torch.bfloat16)

    def __len__(self) -> int:
        return self.count

    def lengths(self, rows: Rows) -> Rows:
        """Return how many states each of `rows` has."""
        return np.full(len(rows), self.states.shape[1])

    def take(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the states of `rows` and that all of them are real."""
        states = self.states[torch.from_numpy(rows % len(self.states))]
        return states, torch.ones(states.shape[:2], dtype=torch.bool)


class Pairs(NamedTuple):
    """A model of pairs and all it needs."""

    model: InteractionModel
    task: InteractionTask
    tokens: PairTokens
    rows: PairRows


def random_pairs() -> Pairs:
    """Return 20,000 pairs of 2,000 genes and 1,000 molecules, some of these far more often than others."""
    torch.manual_seed(0)
    shape = InteractionShape(PretrainedConfig(WIDTH), PretrainedConfig(WIDTH), CrossAttentionConfig())
    model, draws = InteractionModel(shape), np.random.default_rng(0)
    tokens = PairTokens(RandomStates(GENES, SEGMENTS), RandomStates(MOLECULES, TOKENS), distinct_genes=True)
    genes, molecules = draws.integers(GENES, size=20_000), draws.zipf(1.5, size=20_000) % 1_000
    rows = PairRows(genes, molecules, draws.integers(2, size=20_000).astype(np.uint8))
    return Pairs(model, InteractionTask(shape, tokens, rows, rows.take(np.arange(64))), tokens, rows)


def encoding(pairs: int, device: str, *, tiny: bool) -> Callable[[], object]:
    """Return a function that encodes `pairs` genes and molecules in bf16, with random weights."""
    shape = DNABert2Config(hidden=32, layers=1, heads=4, feed_forward=64) if tiny else DNABert2Config()
    encoders = DNABert2(shape).to(device).eval(), ChemBERTa(ChemBERTaConfig()).to(device).eval()
    tokens = [torch.randint(5, 500, (pairs, length), device=device) for length in (GENE, MOLECULE)]

    @torch.inference_mode()
    def encode() -> object:
        with torch.autocast(device, dtype=torch.bfloat16):
            return [
                encoder(each, torch.ones_like(each, dtype=torch.bool))
                for encoder, each in zip(encoders, tokens, strict=True)
            ]

    return encode
