"""Encoders: tokens in, one state per token out. One file each, one line each in `ENCODERS`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from dnalm.models.bags import KmerBag, KmerConfig, MorganBag, MorganConfig, set_bits
from dnalm.models.chemberta import ChemBERTa
from dnalm.models.cnn import CNN
from dnalm.models.dnabert2 import DNABert2
from dnalm.models.gene_cnn import GeneCNN, GeneCNNConfig, letter_codes
from dnalm.models.gpt import GPT
from dnalm.models.heads import Pooling
from dnalm.models.smiles_lstm import SmilesLSTM, SmilesLSTMConfig, character_ids


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
"""Each by the name of its module."""


@dataclass(frozen=True)
class PairEncoder:
    """An encoder of genes or of molecules that is trained from the start with a pair model."""

    config: type[Any]
    """Dataclass of its shape."""
    build: Callable[[Any, str], nn.Module]
    """Makes the encoder of a config and a vocabulary of characters."""
    tokenize: Callable[[str, Any, int, str], npt.NDArray[np.int16]]
    """Returns the ids, [L], of a text, a config, the most characters to read, and the vocabulary."""
    pooling: Pooling
    """How the states become one vector in a pair head."""
    has_vocabulary: bool = False
    """Whether it reads the characters of the training part."""
    counts_repeats: bool = False
    """Whether a gene of several pairs of a batch is encoded for each: batch normalisation counts them."""


GENE_ENCODERS: dict[str, PairEncoder] = {
    "cnn": PairEncoder(
        GeneCNNConfig,
        lambda config, _: GeneCNN(config),
        lambda sequence, _config, longest, _: letter_codes(sequence, longest),
        "max",
        counts_repeats=True,
    ),
    "kmer": PairEncoder(
        KmerConfig,
        lambda config, _: KmerBag(config),
        lambda sequence, _config, longest, _: letter_codes(sequence, longest),
        "mean",
    ),
}
"""Encoders of genes that are trained from the start, by name."""
MOLECULE_ENCODERS: dict[str, PairEncoder] = {
    "lstm": PairEncoder(
        SmilesLSTMConfig,
        lambda config, characters: SmilesLSTM(config, len(characters)),
        lambda smiles, _config, longest, characters: character_ids(smiles, characters, longest),
        "attention",
        has_vocabulary=True,
    ),
    "morgan": PairEncoder(
        MorganConfig,
        lambda config, _: MorganBag(config),
        lambda smiles, config, _longest, _: set_bits([smiles], config)[0],
        "mean",
    ),
}
"""Encoders of molecules that are trained from the start, by name."""
