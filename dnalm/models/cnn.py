"""CNN: the baseline encoder, a convolution over one-hot bases.

Shapes: B sequences in the batch; L bases per sequence; D width of the states.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.config import check_minimum, check_odd, refuse
from dnalm.dna import BASES
from dnalm.models.layers import Encoder, check_tokens, mask_padding


@dataclass(frozen=True)
class CNNConfig:
    """The shape of a CNN."""

    width: int = 128  # Channels, which are the width of the states (D).
    encoder_kernel: int = 11  # Bases that one state sees: odd, so that states line up with bases.

    def __post_init__(self) -> None:
        refuse(check_minimum(self, width=1) + check_odd(self, "encoder_kernel"))

    @property
    def reach(self) -> int:
        """Bases to either side that a state sees."""
        return self.encoder_kernel // 2


class CNN(Encoder):
    """One-hot A C G T (any other letter: all zero), a convolution, exact GELU."""

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.initial_conv = nn.Conv1d(len(BASES), config.width, config.encoder_kernel, padding="same")

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map base codes, 0 to 3 for A C G T, to states that have seen the bases around; see `Encoder`."""
        check_tokens(tokens, real)
        codes = tokens.long().clamp(max=len(BASES)).masked_fill(~real, len(BASES))
        one_hot = F.one_hot(codes, len(BASES) + 1)[..., : len(BASES)].to(self.initial_conv.weight.dtype)
        states = F.gelu(self.initial_conv(one_hot.transpose(1, 2))).transpose(1, 2)  # [B, L, D]
        return mask_padding(states, real)
