"""States that are sums of a few rows: what a linear layer or a LayerNorm does to them, done to the rows.

In the first block of a model with few tokens in its vocabulary, a state is the row of its token and what
attention adds: shares of the values of each token of the vocabulary, V to a head (`first_attention`). So all
states of a batch are sums of V + H V rows, and stay so through LayerNorm and the linear layer after it. A
product with [B L, D] states becomes one with [B L, R] shares. (Our own.)

Shapes used below
    B  sequences in the batch        L  tokens per sequence
    R  rows                          D  width of a row
    V  tokens in the vocabulary
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Mixture:
    """Sums of the same rows, each by shares of its own."""

    shares: Tensor
    """[B, L, R]."""
    rows: Tensor
    """[R, D]."""
    constant: Tensor | None = None
    """What all sums have beside, [D]; None for nothing."""

    def states(self) -> Tensor:
        """Return the sums, [B, L, D], in the precision of the rows."""
        with torch.autocast(self.rows.device.type, enabled=False):
            return F.linear(self.shares.to(self.rows.dtype), self.rows.T, self.constant)

    def linear(self, layer: nn.Module) -> "Mixture":
        """Return what a linear layer, with an update beside it or none, makes of the sums."""
        if self.constant is None and layer.bias is None:
            return Mixture(self.shares, layer(self.rows))
        nothing = torch.zeros_like(self.rows[:1])
        constant = nothing if self.constant is None else self.constant[None]
        found = layer(torch.cat([self.rows, constant, nothing]))
        return Mixture(self.shares, found[:-2] - found[-1], found[-2])

    def plus(self, table: Tensor, tokens: Tensor) -> "Mixture":
        """Return the sums with the rows of `table`, [V, D], that tokens, [B, L], name added to them."""
        which = F.one_hot(tokens, len(table)).to(self.shares.dtype)
        rows = self.rows.to(table.dtype)
        if self.constant is not None:
            table = table + self.constant.to(table.dtype)
        return Mixture(torch.cat([which, self.shares], dim=-1), torch.cat([table, rows]))

    def normed(self, norm: nn.LayerNorm) -> "Mixture":
        """Return what LayerNorm makes of the sums, which must have no constant.

        The variance of a sum is a quadratic form of its shares: in float64, as large terms may cancel.
        """
        assert self.constant is None
        with torch.autocast(self.rows.device.type, enabled=False):
            shares, rows = self.shares.double(), self.rows.double()
            centred = rows - rows.mean(dim=-1, keepdim=True)
            squares = ((shares @ (centred @ centred.T)) * shares).sum(dim=-1, keepdim=True)
            scaled = shares * (squares.clamp(min=0.0) / rows.shape[-1] + norm.eps).rsqrt()
            kind = norm.weight.dtype
            return Mixture(scaled.to(kind), centred.to(kind) * norm.weight, norm.bias)
