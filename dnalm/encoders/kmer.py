"""KmerBag: a vector for each k-mer of a sequence; their mean is a linear layer on k-mer frequencies.

A frequency is the share among all places where k letters are left, those with an N among them.

Shapes used below
    B  sequences in the batch        L  bases per sequence, the longest's
    D  width of the states
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.dna import BASES
from dnalm.layers import check_tokens, silenced


@dataclass(frozen=True)
class KmerConfig:
    """The shape of a KmerBag."""

    k: int = 4
    """Bases of a k-mer."""
    width: int = 256
    """Width of a k-mer's vector (D)."""

    def __post_init__(self) -> None:
        wrong = []
        if not 1 <= self.k <= 8:
            wrong.append(f"k must be from 1 to 8, got {self.k}")
        if self.width < 1:
            wrong.append(f"width must be at least 1, got {self.width}")
        if wrong:
            raise ValueError("; ".join(wrong))


class KmerBag(nn.Module):
    """The state of a base is the vector of the k-mer that begins there.

    Where the k-mer holds an N the state is 0, but it is a state: it counts in a mean, which is nearer to 0
    the more N a gene holds, and a head can attend to it. Where fewer than k letters are left there is no
    state (`state_mask`).
    """

    causal = False

    def __init__(self, config: KmerConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.embedding = nn.Embedding(len(BASES) ** config.k, config.width)

    def state_mask(self, real: Tensor) -> Tensor:
        """Return where a whole k-mer begins, bool [B, L], of the mask [B, L] of bases."""
        whole = real
        for shift in range(1, self.config.k):
            whole = whole & F.pad(real[:, shift:], (0, min(shift, real.shape[1])))
        return whole

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map letter codes to the vectors of k-mers.

        Args:
            tokens: integers, [B, L]: 0 to 3 for A C G T, 4 for N; anything at padding.
            real: bool, [B, L]; True at a letter, False at padding.

        Returns:
            float, [B, L, D]; exactly 0 at padding.

        Raises:
            ValueError: if `tokens` is not [B, L], or `real` has another shape.
        """
        check_tokens(tokens, real)
        known = self.state_mask(real & (tokens < len(BASES)))  # [B, L]
        codes = F.pad(tokens.masked_fill(~real, 0).long(), (0, self.config.k - 1))
        number = torch.zeros_like(tokens, dtype=torch.long)
        for shift in range(self.config.k):
            number = number * len(BASES) + codes[:, shift : shift + tokens.shape[1]]
        states: Tensor = self.embedding(number.masked_fill(~known, 0))
        return silenced(states, known)
