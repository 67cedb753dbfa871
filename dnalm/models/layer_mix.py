"""A learned mix of the layers of an encoder (Peters et al. 2018, ELMo, equation 1).

Shapes: B sequences; L tokens of each; N layers, the embedding among them; D width of their states; S strands.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm


class LayerMix(nn.Module):
    """One weight a layer, which add up to 1 and begin equal; the same for both strands.

    ELMo's overall scale is left out: the LayerNorm that the head begins with would take it out again.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.layers, self.width = layers, width
        self.logits = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """The weight of each layer, [N]."""
        return self.logits.softmax(0)

    def forward(self, states: Tensor) -> Tensor:
        """Map the states of all layers, [B, L, S N D], to their weighted sums, [B, L, S D]."""
        layers = states.reshape(*states.shape[:2], -1, self.layers, self.width)  # [B, L, S, N, D]
        return torch.einsum("blsnd,n->blsd", layers, self.weights.to(states.dtype)).flatten(2)


def normalized(states: Tensor, width: int) -> Tensor:
    """Return the states of all layers, [B, L, N D], each scaled alike: a LayerNorm without parameters.

    States grow from layer to layer. Those of the last layer stay as they are: the encoder has a LayerNorm of
    its own behind it.
    """
    layers = states.reshape(*states.shape[:2], -1, width)  # [B, L, N, D]
    inner = layer_norm(layers[..., :-1, :], (width,))
    return torch.cat([inner, layers[..., -1:, :]], dim=-2).flatten(2)
