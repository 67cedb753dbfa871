"""Dilated CNN: a baseline encoder that sees as far as a language model: reach is not pretraining.

Shapes: B sequences in the batch; L bases per sequence; D width of the states.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.config import check_minimum, check_odd, refuse
from dnalm.models.cnn import CNN, CNNConfig
from dnalm.models.layers import Encoder, mask_padding


@dataclass(frozen=True)
class DilatedCNNConfig(CNNConfig):
    """The shape of a dilated CNN: a CNN, and dilated convolutions behind it.

    With the defaults a state sees 383 bases to either side: from any base of a window of 300 all of it.
    """

    dilated_kernel: int = 7  # Positions that each dilated convolution reads.
    dilations: int = 6  # Dilated convolutions; their steps are 2, 4, 8 ... bases.

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(check_minimum(self, dilations=0) + check_odd(self, "dilated_kernel"))

    @property
    def reach(self) -> int:
        """Bases to either side that a state sees."""
        steps: int = 2 ** (self.dilations + 1) - 2  # 2 + 4 + 8 ...
        return self.encoder_kernel // 2 + self.dilated_kernel // 2 * steps


class DilatedBlock(nn.Module):
    """LayerNorm, dilated convolution, exact GELU, added to the input."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, kernel, padding="same", dilation=dilation)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Map [B, L, D] and its mask [B, L] to [B, L, D], 0 at padding."""
        normed = mask_padding(self.norm(x), real)
        return mask_padding(x + F.gelu(self.conv(normed.transpose(1, 2))).transpose(1, 2), real)


class DilatedCNN(Encoder):
    """The states of a `CNN`, then residual dilated convolutions (Yu and Koltun 2016)."""

    def __init__(self, config: DilatedCNNConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.first = CNN(config)
        self.blocks = nn.ModuleList(
            DilatedBlock(config.width, config.dilated_kernel, 2**number)
            for number in range(1, config.dilations + 1)
        )

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map base codes, 0 to 3 for A C G T, to states that have seen the bases around; see `Encoder`."""
        x: Tensor = self.first(tokens, real)
        for block in self.blocks:
            x = block(x, real)
        return x
