"""Vectors of the genes and molecules of the training pairs, added to what their encoders read.

Shapes: N genes or molecules; D width of an encoder's states.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dnalm.config import check_fractions, refuse
from dnalm.data.epochs import Rows

DIGEST = 16  # bytes by which a gene or molecule is recognised


def digests(texts: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return what genes or molecules are recognised by, [len(texts), DIGEST]."""
    found = b"".join(hashlib.sha256(text.encode()).digest()[:DIGEST] for text in texts)
    return np.frombuffer(found, dtype=np.uint8).reshape(-1, DIGEST).copy()


def find(known: npt.NDArray[np.uint8], texts: Sequence[str]) -> Rows:
    """Return the row of each text among the digests `known`, or -1; of equal ones the first."""
    row = {each.tobytes(): at for at, each in reversed([*enumerate(known)])}
    return np.array([row.get(each.tobytes(), -1) for each in digests(texts)], dtype=np.int64)


@dataclass(frozen=True)
class IdentityOptions:
    """Whether a model learns who a gene or molecule is, beside what it is made of."""

    identity: bool = False
    """Learn a vector for each gene and each molecule of the training pairs, and add it to what the encoders
    read; a new gene or molecule has none."""
    identity_dropout: float = 0.5
    """How often a gene or molecule is trained without its vector, so that new ones are predicted as well."""

    def __post_init__(self) -> None:
        refuse(check_fractions(self, "identity_dropout"))


@dataclass(frozen=True)
class IdentityConfig:
    """The shape of an `IdentityVectors`; its width comes with the encoder."""

    genes: int  # Of the training pairs
    molecules: int
    dropout: float


class IdentityVectors(nn.Module):
    """A vector for each known gene or molecule, 0 at first; dropped at random in training; 0 for new ones."""

    digests: Tensor  # uint8, [known, DIGEST]

    def __init__(self, known: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.embedding = nn.Embedding(known, width)
        nn.init.zeros_(self.embedding.weight)
        self.register_buffer("digests", torch.zeros(known, DIGEST, dtype=torch.uint8))

    def set_known(self, texts: Sequence[str]) -> None:
        """Set which genes (upper-case DNA) or molecules (canonical SMILES) the vectors are of."""
        self.digests.copy_(torch.from_numpy(digests(texts)))

    def rows(self, texts: Sequence[str]) -> Rows:
        """Return the row of each gene's or molecule's vector, or -1 for a new one."""
        return find(self.digests.cpu().numpy(), texts)

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows as of `rows`, int64 [N], to vectors, [N, D]."""
        known = rows >= 0
        if self.training:
            known = known & (torch.rand(rows.shape, device=rows.device) >= self.dropout)
        vectors: Tensor = self.embedding(rows.clamp(min=0)).masked_fill(~known.unsqueeze(-1), 0.0)
        return vectors
