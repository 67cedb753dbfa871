"""MorganBag: a vector for each substructure of a molecule, those of its Morgan fingerprint.

Shapes used below
    B  molecules in the batch        L  substructures per molecule, the most
    D  width of the states
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from dnalm.config import too_small
from dnalm.layers import check_tokens, silenced
from dnalm.molecules import BITS, RADIUS, morgan_bits


@dataclass(frozen=True)
class MorganConfig:
    """The shape of a MorganBag, and the fingerprint that it reads."""

    bits: int = BITS
    """Of the fingerprint: substructures are folded into so many."""
    radius: int = RADIUS
    """Bonds from a substructure's middle atom to its rim."""
    width: int = 256
    """Width of a substructure's vector (D)."""

    def __post_init__(self) -> None:
        wrong = too_small(self, bits=1, radius=0, width=1)
        if self.bits > 2**15:
            wrong.append(f"bits must be at most {2**15}, got {self.bits}")
        if wrong:
            raise ValueError("; ".join(wrong))


def set_bits(smiles: Sequence[str], config: MorganConfig) -> list[npt.NDArray[np.int16]]:
    """Return which bits of its fingerprint (Rogers and Hahn 2010) each molecule sets, in ascending order.

    Raises:
        ValueError: if a SMILES cannot be read, or RDKit is not installed.
    """
    return [morgan_bits(text, config.radius, config.bits).astype(np.int16) for text in smiles]


class MorganBag(nn.Module):
    """The state of a substructure is its vector, whatever the others are."""

    causal = False

    def __init__(self, config: MorganConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.embedding = nn.Embedding(config.bits, config.width)

    def state_mask(self, real: Tensor) -> Tensor:
        """Return which states are real, bool [B, L]: one for each real token."""
        return real

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map set bits to their vectors.

        Args:
            tokens: integers, [B, L]: bits that are set; anything at padding.
            real: bool, [B, L]; True at a bit, False at padding.

        Returns:
            float, [B, L, D]; exactly 0 at padding.

        Raises:
            ValueError: if `tokens` is not [B, L], or `real` has another shape.
        """
        check_tokens(tokens, real)
        states: Tensor = self.embedding(tokens.masked_fill(~real, 0).long())
        return silenced(states, real)
