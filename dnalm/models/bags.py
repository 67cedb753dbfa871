"""Bags: encoders whose states are vectors of k-mers (KmerBag) or of substructures of a molecule (MorganBag).

Shapes: B sequences or molecules; L bases, or substructures, of each, the most; D width of the states.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.data.molecules import BITS, RADIUS, morgan_bits
from dnalm.dna import BASES
from dnalm.models.layers import Encoder, check_tokens, mask_padding


@dataclass(frozen=True)
class KmerConfig:
    """The shape of a KmerBag."""

    k: int = 4  # Bases of a k-mer
    width: int = 256  # Of a k-mer's vector (D)


class KmerBag(Encoder):
    """The state of a base is the vector of the k-mer that begins there; their mean is linear in frequencies.

    A k-mer that holds an N has the state 0, and counts in a mean. The last k - 1 bases of a sequence have no
    state (`state_mask`).
    """

    def __init__(self, config: KmerConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.embedding = nn.Embedding(len(BASES) ** config.k, config.width)

    def state_mask(self, real: Tensor) -> Tensor:
        """Return where a complete k-mer begins, bool [B, L], of the mask [B, L] of bases."""
        complete = real
        for shift in range(1, self.config.k):
            complete = complete & F.pad(real[:, shift:], (0, min(shift, real.shape[1])))
        return complete

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map base codes, 0 to 3 for A C G T and 4 for N, to the vectors of k-mers; see `Encoder`."""
        check_tokens(tokens, real)
        known = self.state_mask(real & (tokens < len(BASES)))  # [B, L]
        codes = F.pad(tokens.masked_fill(~real, 0).long(), (0, self.config.k - 1))
        number = torch.zeros_like(tokens, dtype=torch.long)
        for shift in range(self.config.k):
            number = number * len(BASES) + codes[:, shift : shift + tokens.shape[1]]
        return mask_padding(self.embedding(number.masked_fill(~known, 0)), known)


@dataclass(frozen=True)
class MorganConfig:
    """The shape of a MorganBag, and of the fingerprint that it reads."""

    bits: int = BITS  # Size of the fingerprint, into which substructures are hashed
    radius: int = RADIUS  # Largest distance, in bonds, from a substructure's central atom
    width: int = 256  # Of a substructure's vector (D)


def set_bits(smiles: Sequence[str], config: MorganConfig) -> list[npt.NDArray[np.int16]]:
    """Return which bits of its fingerprint (Rogers and Hahn 2010) each molecule sets, in ascending order.

    Raises:
        InputError: if a SMILES cannot be read, or RDKit is not installed.
    """
    return [morgan_bits(text, config.radius, config.bits).astype(np.int16) for text in smiles]


class MorganBag(Encoder):
    """The state of a substructure is its vector, whatever the others are."""

    def __init__(self, config: MorganConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.embedding = nn.Embedding(config.bits, config.width)

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map bits that are set to their vectors; see `Encoder`."""
        check_tokens(tokens, real)
        return mask_padding(self.embedding(tokens.masked_fill(~real, 0).long()), real)
