"""Encoders: tokens in, one state per token out. One file each, one line each in `ENCODERS`."""

from typing import Protocol

from torch import Tensor, nn

from dnalm.models.bags import KmerBag, MorganBag
from dnalm.models.chemberta import ChemBERTa
from dnalm.models.cnn import CNN
from dnalm.models.dnabert2 import DNABert2
from dnalm.models.gene_cnn import GeneCNN
from dnalm.models.gpt import GPT
from dnalm.models.smiles_lstm import SmilesLSTM


class Encoder(Protocol):
    """What a head may expect of an encoder."""

    width: int
    """D, the width of its states."""
    causal: bool
    """True when a state has seen only the left of its token: the report must say so."""

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map tokens [B, L] and their mask, bool [B, L], to states [B, L, D]."""
        ...


ENCODERS: dict[str, type[nn.Module]] = {
    "gpt": GPT,
    "cnn": CNN,
    "gene_cnn": GeneCNN,
    "lstm": SmilesLSTM,
    "kmer": KmerBag,
    "morgan": MorganBag,
    "dnabert2": DNABert2,
    "chemberta": ChemBERTa,
}
"""Each by the name of its module; `kept` and `tuned` are none: they stand for another."""
