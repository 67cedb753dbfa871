"""Encoders by name: the one place to add an encoder. Its own file, and a line in `ENCODERS`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from dnalm.models.bags import KmerBag, KmerConfig, MorganBag, MorganConfig, set_bits
from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig
from dnalm.models.cnn import CNN, CNNConfig
from dnalm.models.conv import ConvConfig, ConvEncoder
from dnalm.models.dilated_cnn import DilatedCNN, DilatedCNNConfig
from dnalm.models.dnabert2 import DNABert2, DNABert2Config
from dnalm.models.gene_cnn import GeneCNN, GeneCNNConfig, letter_codes
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.heads import Pooling
from dnalm.models.smiles_lstm import SmilesLSTM, SmilesLSTMConfig, character_ids

Reads = Literal["bases", "vocabulary", "smiles", "fingerprint", "own tokens"]
"""Input of an encoder: base codes (0 to 3 for A C G T, 4 for any other letter); ids of a character vocabulary
of DNA; ids of characters of SMILES; set bits of a Morgan fingerprint; or ids of a tokenizer of its own."""
Use = Literal["binding", "gene", "molecule", "pretrained", "language"]
"""Models that an encoder can be part of: binding models; pair models, as the encoder of genes or of molecules
that is trained from the start; any of these with weights of its own pretraining; or language models, which
`dnalm pretrain` trains."""


@dataclass(frozen=True)
class EncoderEntry:
    """An encoder: what it is called, how it is built, what it reads and where it is used."""

    name: str  # In options and saved models; unique within a use
    config: type[Any]  # Dataclass of its shape; unique
    module: Callable[..., nn.Module]  # Makes it of a config, and the size of the vocabulary if it has one
    reads: Reads
    uses: tuple[Use, ...]
    pooling: Pooling = "mean"  # How its states become one vector in a pair head
    counts_repeats: bool = False
    """Whether a gene of several pairs of a batch is encoded for each: batch normalisation counts them."""

    @property
    def has_vocabulary(self) -> bool:
        """Whether it is built for a vocabulary of characters."""
        return self.reads in ("vocabulary", "smiles")

    def build(self, config: Any, characters: str = "") -> nn.Module:
        """Return an untrained encoder of `config`, for the vocabulary `characters` where it has one."""
        return self.module(config, len(characters)) if self.has_vocabulary else self.module(config)

    def tokenize(self, text: str, config: Any, longest: int, characters: str) -> npt.NDArray[np.int16]:
        """Return the ids, [L], that it reads of the first `longest` characters of DNA or SMILES."""
        if self.reads == "bases":
            return letter_codes(text, longest)
        if self.reads == "smiles":
            return character_ids(text, characters, longest)
        assert self.reads == "fingerprint", self.reads
        return set_bits([text], config)[0]


ENCODERS = [
    EncoderEntry("gpt", GPTConfig, GPT, "vocabulary", ("binding", "pretrained", "language")),
    EncoderEntry("conv", ConvConfig, ConvEncoder, "vocabulary", ("binding", "pretrained", "language")),
    EncoderEntry("cnn", CNNConfig, CNN, "bases", ("binding",)),
    EncoderEntry("dilated", DilatedCNNConfig, DilatedCNN, "bases", ("binding",)),
    EncoderEntry("cnn", GeneCNNConfig, GeneCNN, "bases", ("gene",), "max", counts_repeats=True),
    EncoderEntry("kmer", KmerConfig, KmerBag, "bases", ("gene",)),
    EncoderEntry("lstm", SmilesLSTMConfig, SmilesLSTM, "smiles", ("molecule",), "attention"),
    EncoderEntry("morgan", MorganConfig, MorganBag, "fingerprint", ("molecule",)),
    EncoderEntry("dnabert2", DNABert2Config, DNABert2, "own tokens", ("pretrained",)),
    EncoderEntry("chemberta", ChemBERTaConfig, ChemBERTa, "own tokens", ("pretrained",)),
]


def encoders_for(use: Use) -> dict[str, EncoderEntry]:
    """Return the encoders for a use, by name."""
    return {entry.name: entry for entry in ENCODERS if use in entry.uses}


def entry_of(config: Any) -> EncoderEntry | None:
    """Return the entry of an encoder, by its config; None where there is none, as of a frozen encoder."""
    return next((entry for entry in ENCODERS if entry.config is type(config)), None)
