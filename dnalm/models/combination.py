"""States that are linear combinations of a few rows: layers are applied to the rows, not to the states.

In the first block of a model with few tokens in its vocabulary, a state is the row of its token and what
attention adds: of each head, a weighted sum of the values of each token of the vocabulary
(`first_attention`). So all states of a batch are combinations of V + H V rows, and stay so through LayerNorm
and the linear layer after it. A product with [B L, D] states becomes one with [B L, R] coefficients. (Our
own.)

Shapes used below
    B  sequences in the batch        L  tokens per sequence
    R  rows                          D  width of a row
    V  tokens in the vocabulary      H  attention heads
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Combination:
    """Linear combinations of the same rows."""

    coefficients: Tensor
    """[B, L, R]."""
    rows: Tensor
    """[R, D]."""

    def states(self) -> Tensor:
        """Return the combinations, [B, L, D], in the precision of the rows."""
        with torch.autocast(self.rows.device.type, enabled=False):
            return self.coefficients.to(self.rows.dtype) @ self.rows

    def linear(self, layer: nn.Module) -> "Combination":
        """Return what a linear layer without bias, with an update beside it or none, makes of them."""
        assert layer.bias is None  # it would be added once a row
        return Combination(self.coefficients, layer(self.rows))

    def plus(self, table: Tensor, tokens: Tensor) -> "Combination":
        """Return them with the rows of `table`, [V, D], that tokens, [B, L], name added."""
        which = F.one_hot(tokens, len(table)).to(self.coefficients.dtype)
        coefficients = torch.cat([which, self.coefficients], dim=-1)
        return Combination(coefficients, torch.cat([table, self.rows.to(table.dtype)]))

    def normed(self, norm: nn.LayerNorm) -> "Combination":
        """Return what a LayerNorm without bias makes of them.

        The variance of a combination is a quadratic form of its coefficients: in float64, as large terms may
        cancel.
        """
        assert norm.bias is None
        with torch.autocast(self.rows.device.type, enabled=False):
            coefficients, rows = self.coefficients.double(), self.rows.double()
            centred = rows - rows.mean(dim=-1, keepdim=True)
            squares = ((coefficients @ (centred @ centred.T)) * coefficients).sum(dim=-1, keepdim=True)
            scaled = coefficients * (squares.clamp(min=0.0) / rows.shape[-1] + norm.eps).rsqrt()
            dtype = norm.weight.dtype
            return Combination(scaled.to(dtype), centred.to(dtype) * norm.weight)
