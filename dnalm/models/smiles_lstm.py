"""SmilesLSTM: the molecule side of the published gene-and-molecule model, a bidirectional LSTM over SMILES.

Shapes: B molecules in the batch; L characters per molecule, the longest's; D width of the states: 2 H; I
width of a character's vector.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dnalm.models.cpu_kernels import lstm
from dnalm.models.layers import Encoder, check_padding_on_right, check_tokens, mask_padding

UNKNOWN = 0  # Token of every character that the vocabulary lacks


@dataclass(frozen=True)
class SmilesLSTMConfig:
    """The shape of a SmilesLSTM; the defaults are the published ones."""

    embedding: int = 128  # Width of a character's vector
    hidden: int = 128  # Cells of one direction (H)
    layers: int = 2

    @property
    def width(self) -> int:
        """D, the width of a state."""
        return 2 * self.hidden


def smiles_characters(smiles: Iterable[str], longest: int) -> str:
    """Return the vocabulary of molecules, each read up to its first `longest` characters, in id order."""
    return "".join(sorted({character for text in smiles for character in text[:longest]}))


def character_ids(smiles: str, characters: str, longest: int) -> npt.NDArray[np.int16]:
    """Return tokens of a molecule's first `longest` characters: 1 + the index in `characters`, or UNKNOWN."""
    ids = [characters.find(character) + 1 for character in smiles[:longest]]
    return np.array(ids, dtype=np.int16)


class SmilesLSTM(Encoder):
    """Characters' vectors under a bidirectional LSTM; padding is never computed.

    With the published sizes and V characters it has 659,456 + 128 (V + 1) parameters: 264,192 of the first
    layer, 395,264 of the second, and a vector for each character and the unknown one. That one is 0 and is
    never trained, since the vocabulary holds every character of the training part.
    """

    def __init__(self, config: SmilesLSTMConfig, characters: int) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.embedding = nn.Embedding(characters + 1, config.embedding)
        with torch.no_grad():
            self.embedding.weight[UNKNOWN] = 0.0
        self.lstm = nn.LSTM(
            config.embedding, config.hidden, config.layers, batch_first=True, bidirectional=True
        )

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map tokens to states, each of which has seen the whole molecule; padding must be on the right."""
        check_tokens(tokens, real)
        check_padding_on_right(real)
        vectors = self.embedding(tokens.masked_fill(~real, UNKNOWN).long())  # [B, L, I]
        lengths = real.sum(1).clamp(min=1).cpu()  # an LSTM takes no empty molecule: its state is masked
        return mask_padding(lstm(self.lstm, vectors, lengths), real)
