"""Dilated convolutions: an encoder of both sides, for the masked objective.

As GPN (Benegas et al. 2023), with LayerNorm first, a block's input added to its output, and less wide.

Shapes: B sequences in the batch; L tokens per sequence, at most block_size; D width of the states.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.config import check_fractions, check_minimum, check_odd, refuse
from dnalm.models.gpt import INIT_STD
from dnalm.models.layers import Encoder, SpeciesToken, check_tokens, mask_padding, run_layers


@dataclass(frozen=True)
class ConvConfig:
    """The shape of an encoder of dilated convolutions; its vocabulary comes with the data."""

    objective: ClassVar[str] = "masked"  # As in `GPTConfig`

    width: int = 232  # Channels, which are the width of the states (D).
    blocks: int = 13  # Blocks of a convolution and a linear layer.
    kernel: int = 9  # Tokens that a convolution reads: odd, so that states line up with tokens.
    widest: int = 64
    """Dilations double from 1 to at most this, a power of 2, halve back to 1, and so on."""
    block_size: int = 300  # The longest sequence, in tokens (L).
    dropout: float = 0.0  # Dropout rate in training: of embeddings and blocks' outputs.
    species_token: str = ""  # As in `GPTConfig`

    def __post_init__(self) -> None:
        wrong = check_minimum(self, width=1, blocks=1, widest=1, block_size=1)
        if self.widest & (self.widest - 1):
            wrong.append(f"widest must be a power of 2, got {self.widest}")
        refuse(wrong + check_odd(self, "kernel") + check_fractions(self, "dropout"))

    @property
    def dilations(self) -> list[int]:
        """The distance between neighbouring tokens that each block reads: 1 2 4 ... 4 2 1 2 ...."""
        top = self.widest.bit_length() - 1
        return [2 ** (top - abs(top - number % max(1, 2 * top))) for number in range(self.blocks)]


class ConvBlock(nn.Module):
    """LayerNorm, a dilated convolution, exact (erf) GELU and a linear layer, added to the input."""

    def __init__(self, config: ConvConfig, dilation: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(config.width, bias=False)
        self.conv = nn.Conv1d(
            config.width, config.width, config.kernel, padding="same", dilation=dilation, bias=False
        )
        self.dense = nn.Linear(config.width, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D]; padding, where `real` [B, L] is False, is read as 0."""
        seen = mask_padding(self.ln(x), real).transpose(1, 2)
        out: Tensor = x + self.dropout(self.dense(F.gelu(self.conv(seen).transpose(1, 2))))
        return out


class ConvEncoder(Encoder):
    """Token ids in, states of both sides out; `mask_token` is a token more than the vocabulary has.

    Initialisation as of `GPT`.
    """

    def __init__(self, config: ConvConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.width = config, vocab_size, config.width
        self.mask_token, self.depth = vocab_size, config.blocks
        self.gradient_checkpointing = False  # recompute each block in the backward pass: less memory
        self.wte = nn.Embedding(vocab_size + 1, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(ConvBlock(config, dilation) for dilation in config.dilations)
        self.ln_f = nn.LayerNorm(config.width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                is_last = name.endswith("dense.weight")
                nn.init.normal_(parameter, std=INIT_STD / math.sqrt(config.blocks if is_last else 1))
        species = config.species_token
        self.species = SpeciesToken(species, config.width) if species else None

    def forward(
        self,
        tokens: Tensor,
        real: Tensor,
        layers: Collection[int] | None = None,
        species: Tensor | None = None,
    ) -> Tensor:
        """Map tokens to states that depend on both sides; see `Encoder`, and `GPT.forward` for the others."""
        check_tokens(tokens, real, longest=self.config.block_size)
        x = self.wte(tokens.long())  # [B, L, D]
        if self.species is not None:
            x = self.species(x, species)
        x = self.dropout(x)
        recompute = self.gradient_checkpointing
        return run_layers(x, self.layers, self.ln_f, real, real, layers=layers, recompute=recompute)
