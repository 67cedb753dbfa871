"""The model of a gene and a molecule: an encoder of each under a head that pairs them.

Shapes used below
    G  genes                         M  molecules
    B  pairs                         L  tokens per gene or molecule
    D  width of the states
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dnalm.checkpoint import put
from dnalm.data.pair_batches import PairTokens
from dnalm.models.backbones import Backbone
from dnalm.models.bags import KmerBag, KmerConfig, MorganBag, MorganConfig
from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig
from dnalm.models.cross_attention import CrossAttentionConfig, CrossAttentionHead, PooledAttentionConfig
from dnalm.models.dnabert2 import DNABert2, DNABert2Config
from dnalm.models.gene_cnn import GeneCNN, GeneCNNConfig
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.heads import PairHead, PairHeadConfig, Side, mean_of
from dnalm.models.kept import KeptConfig, KeptStates
from dnalm.models.lora import add_lora, merge_lora
from dnalm.models.pair_shape import InteractionShape, TuningConfig
from dnalm.models.smiles_lstm import SmilesLSTM, SmilesLSTMConfig
from dnalm.models.tuned import TunedConfig, TunedEncoder
from dnalm.models.windowed import CurrentStates

Rows = npt.NDArray[np.int64]

CALIBRATION = 1024
"""Genes, and molecules, from whose kept states their scale is taken, evenly spread."""
BACKBONES: dict[str, Callable[[dict[str, Any]], GPT | DNABert2 | ChemBERTa]] = {
    "gpt": lambda given: GPT(GPTConfig(**given["config"]), given["vocab_size"]),
    "dnabert2": lambda given: DNABert2(DNABert2Config(**given["config"])),
    "chemberta": lambda given: ChemBERTa(ChemBERTaConfig(**given["config"])),
}
"""What builds an encoder that is trained with the model, by its kind."""


def rebuilt(encoder: nn.Module) -> dict[str, Any]:
    """Return JSON values from which `BACKBONES` builds an encoder again, its weights aside."""
    assert isinstance(encoder, GPT | DNABert2 | ChemBERTa)
    given: dict[str, Any] = {"config": asdict(encoder.config)}
    if isinstance(encoder, GPT):
        return {"kind": "gpt", "vocab_size": encoder.vocab_size, **given}
    return {"kind": "dnabert2" if isinstance(encoder, DNABert2) else "chemberta", **given}


def _tuned(shape: TunedConfig) -> TunedEncoder:
    """Build a pretrained encoder; what is drawn after it does not depend on whether it was."""
    with torch.random.fork_rng(devices=[]):
        return TunedEncoder(shape, BACKBONES[shape.encoder["kind"]](shape.encoder))


MODULES: dict[type, Any] = {
    GeneCNNConfig: GeneCNN,
    KmerConfig: KmerBag,
    MorganConfig: MorganBag,
    KeptConfig: KeptStates,
    TunedConfig: _tuned,
    PairHeadConfig: PairHead,
    CrossAttentionConfig: CrossAttentionHead,
    PooledAttentionConfig: CrossAttentionHead,
}
"""What each shape is the shape of; an LSTM needs its vocabulary too."""


class InteractionModel(nn.Module):
    """An encoder of genes and one of molecules under a head that pairs them.

    Args:
        shape: of all of it.
        backbones: the pretrained encoders whose weights it begins with, by side, where some are trained.
    """

    head: PairHead | CrossAttentionHead

    def __init__(self, shape: InteractionShape, backbones: Mapping[str, Backbone] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.gene = MODULES[type(shape.gene)](shape.gene)
        if isinstance(shape.molecule, SmilesLSTMConfig):
            self.molecule = SmilesLSTM(shape.molecule, len(shape.characters))
        else:
            self.molecule = MODULES[type(shape.molecule)](shape.molecule)
        self.morgan = None if shape.morgan is None else MorganBag(shape.morgan)
        for side, part in (("gene", shape.gene), ("molecule", shape.molecule)):
            if isinstance(part, TunedConfig):
                encoder = self.get_submodule(f"{side}.encoder")
                if backbones:
                    put(backbones[side].encoder.state_dict(), encoder.state_dict(), part.source)
                if part.lora_rank:
                    add_lora(encoder, part.lora_rank)
        self.head = MODULES[type(shape.head)](self.gene.width, self.molecule.width, shape.head)

    @property
    def tuned(self) -> list[TunedEncoder]:
        """The pretrained encoders that are in the model."""
        return [each for each in (self.gene, self.molecule) if isinstance(each, TunedEncoder)]

    def prepare_training(self, tuning: TuningConfig) -> None:
        """Say which weights of pretrained encoders are trained, and how; once, with all weights in place.

        Raises:
            InputError: if more layers are to be trained than there are.
        """
        for each in self.tuned:
            if tuning.unfreeze_last:
                each.train_last(tuning.unfreeze_last)
            each.encoder.gradient_checkpointing = tuning.gradient_checkpointing  # type: ignore[assignment]

    def merge(self) -> bool:
        """Add low-rank updates into the layers beside them, in place; return whether there were any."""
        parts: dict[str, Any] = {"gene": self.shape.gene, "molecule": self.shape.molecule}
        for name, part in parts.items():
            if isinstance(part, TunedConfig) and part.lora_rank:
                merge_lora(self.get_submodule(f"{name}.encoder"))
                parts[name] = replace(part, lora_rank=0)
        before, self.shape = self.shape, replace(self.shape, **parts)
        return self.shape != before

    @torch.no_grad()
    def calibrate(self, tokens: PairTokens, genes: Rows, molecules: Rows) -> None:
        """Fit the scale of pretrained encoders' states to training genes and molecules, up to `CALIBRATION`.

        Args:
            tokens: of the set.
            genes: rows of the training part's genes.
            molecules: rows of its molecules.
        """
        for module, source, rows in (
            (self.gene, tokens.genes, genes),
            (self.molecule, tokens.molecules, molecules),
        ):
            if isinstance(module, KeptStates):
                distinct = np.unique(rows)
                some = distinct[:: -(-len(distinct) // CALIBRATION)]
                if isinstance(module, TunedEncoder):
                    source = CurrentStates(module.eval(), source, some)
                states, real = source.take(some)
                module.calibrate(states[real])

    @property
    def parameter_count(self) -> int:
        """All parameters that are in it."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def trained_count(self) -> int:
        """Parameters that training changes."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def gene_side(self, tokens: Tensor, real: Tensor) -> Side:
        """Map tokens of genes, [G, L], kept states or windows, and their mask to what pairs are made of."""
        return self.head.gene_side(self.gene(tokens, real), self.gene.state_mask(real))

    def molecule_side(
        self, tokens: Tensor, real: Tensor, bits: Tensor | None = None, bits_real: Tensor | None = None
    ) -> Side:
        """Map molecules' tokens, or kept states or windows, and their mask likewise.

        Args:
            tokens: [M, L].
            real: bool, [M, L].
            bits: of their fingerprints, [M, L], where those are read too: their states follow the others, or
                their mean does where one vector is made of all.
            bits_real: bool, [M, L].
        """
        states, mask = self.molecule(tokens, real), self.molecule.state_mask(real)
        if self.morgan is not None:
            assert bits is not None
            assert bits_real is not None
            beside = self.morgan(bits, bits_real)
            if self.head.one_vector:
                states, mask = mean_of(states, mask).unsqueeze(1), mask.any(1, keepdim=True)
                beside, bits_real = mean_of(beside, bits_real).unsqueeze(1), bits_real.any(1, keepdim=True)
            states, mask = torch.cat([states, beside], dim=1), torch.cat([mask, bits_real], dim=1)
        return self.head.molecule_side(states, mask)

    def forward(
        self,
        genes: Tensor,
        genes_real: Tensor,
        molecules: Tensor,
        molecules_real: Tensor,
        gene: Tensor,
        molecule: Tensor,
        bits: Tensor | None = None,
        bits_real: Tensor | None = None,
    ) -> Tensor:
        """Map pairs to logits, [B].

        Args:
            genes: tokens of genes, [G, L]; or their kept states, [G, L, D], or windows, [G, W, L].
            genes_real: their mask; of windows the place of each token's state.
            molecules: tokens of distinct molecules, [M, L]; or their kept states, or windows.
            molecules_real: their mask.
            gene: int64, [B]: which of the G is each pair's.
            molecule: int64, [B]: which of the M is each pair's.
            bits: of the molecules' fingerprints, [M, L], where those are read too.
            bits_real: their mask.
        """
        # A gene or molecule that occurs twice is encoded once, whatever is dropped in its encoder.
        sides = (
            self.gene_side(genes, genes_real),
            self.molecule_side(molecules, molecules_real, bits, bits_real),
        )
        logits: Tensor = self.head(*sides, gene, molecule)
        return logits
