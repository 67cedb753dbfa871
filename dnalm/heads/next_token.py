"""Next-token head: states in, one score per token of the vocabulary out.

Shapes used below
    B  sequences in the batch        L  tokens per sequence
    D  width of the states           V  tokens in the vocabulary
"""

import torch.nn.functional as F
from torch import Tensor, nn


class NextTokenHead(nn.Module):
    """Score every token of the vocabulary by its embedding's product with the state (Press and Wolf 2017).

    Args:
        embedding: [V, D], the encoder's token embedding; the head holds the same tensor, not a copy.
    """

    def __init__(self, embedding: nn.Parameter) -> None:
        super().__init__()
        self.weight = embedding

    def forward(self, states: Tensor) -> Tensor:
        """Map states [B, L, D] to logits [B, L, V] of the token that follows each."""
        return F.linear(states, self.weight)
