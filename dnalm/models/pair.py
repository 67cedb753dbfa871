"""The model of a gene and a molecule: an encoder of each under a head that pairs them.

Shapes used below
    G  genes                         M  molecules
    B  pairs                         L  tokens per gene or molecule
    D  width of the states
    N  pairs to predict
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import process
from dnalm.checkpoint import put
from dnalm.data.pair_batches import PairTokens, Source
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
Numbers = npt.NDArray[np.float64]

ENCODE_BATCH = 128
"""Genes or molecules encoded at a time in prediction: no result depends on it."""
CLASSIFY_BATCH = 8192
"""Pairs classified at a time."""
ATTEND_BATCH = 256
"""Pairs classified at a time where states attend to states."""
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


@torch.no_grad()
def predict(
    model: nn.Module, tokens: PairTokens, gene: Rows, molecule: Rows, *, together: bool = False
) -> Numbers:
    """Return the logits of pairs, computed in full precision.

    Where a head makes one vector of each gene and molecule, each is encoded once; whatever the head, so it is
    by a pretrained encoder that is trained.

    Args:
        model: an `InteractionModel`, or what the training loop made of one.
        tokens: of a set's genes and molecules.
        gene: rows of the genes, [N].
        molecule: rows of the molecules, [N].
        together: whether all processes of the run ask for the same at once: each then does its share.

    Returns:
        float64, [N].
    """
    if together and process.current().world_size > 1:
        info, by_gene = process.current(), np.argsort(gene, kind="stable")  # a gene's pairs together
        shares, logits = np.array_split(by_gene, info.world_size), np.zeros(len(gene))
        own = shares[info.rank]
        parts = process.all_gather(predict(model, tokens, gene[own], molecule[own]))
        for share, part in zip(shares, parts, strict=True):
            logits[share] = part
        return logits
    inner = getattr(model, "module", model)  # without autocast, so that results are those of an opened model
    assert isinstance(inner, InteractionModel)
    was_training = inner.training
    inner.eval()
    tokens = refresh_states(inner, tokens, gene, molecule)
    logits = np.zeros(len(gene))
    if inner.head.one_vector and len(gene):
        genes, of_gene, molecules, of_molecule = encode_pairs(inner, tokens, gene, molecule)
        for at in range(0, len(gene), CLASSIFY_BATCH):
            rows = slice(at, at + CLASSIFY_BATCH)
            logits[rows] = _numbers(inner.head(genes, molecules, of_gene[rows], of_molecule[rows]))
    else:
        order = np.lexsort((tokens.molecules.lengths(molecule), gene))  # a gene's pairs together
        for at in range(0, len(order), ATTEND_BATCH):
            some = order[at : at + ATTEND_BATCH]
            genes, of_gene, molecules, of_molecule = encode_pairs(inner, tokens, gene[some], molecule[some])
            logits[some] = _numbers(inner.head(genes, molecules, of_gene, of_molecule))
    inner.train(was_training)
    return logits


def _numbers(logits: Tensor) -> Numbers:
    found: Numbers = logits.double().cpu().numpy()
    return found


def refresh_states(model: InteractionModel, tokens: PairTokens, gene: Rows, molecule: Rows) -> PairTokens:
    """Return the same with the states that the model's own pretrained encoders make now for tokens."""
    genes, molecules = tokens.genes, tokens.molecules
    if isinstance(model.gene, TunedEncoder):
        genes = CurrentStates(model.gene, genes, np.unique(gene))
    if isinstance(model.molecule, TunedEncoder):
        molecules = CurrentStates(model.molecule, molecules, np.unique(molecule))
    return replace(tokens, genes=genes, molecules=molecules)


def encode_pairs(
    model: InteractionModel, tokens: PairTokens, gene: Rows, molecule: Rows
) -> tuple[Side, Tensor, Side, Tensor]:
    """Return both sides of pairs, each with which of it is each pair's."""
    return (
        *_encode(model.gene_side, tokens.genes, tokens.genes.take, gene, model),
        *_encode(model.molecule_side, tokens.molecules, tokens.take_molecules, molecule, model),
    )


def _encode(
    encode: Callable[..., Side],
    source: Source,
    take: Callable[[Rows], tuple[Tensor, ...]],
    rows: Rows,
    model: InteractionModel,
) -> tuple[Side, Tensor]:
    """Return the sides of the distinct among `rows`, and which of them is each row's, [N]."""
    device = next(model.parameters()).device
    distinct, which = np.unique(rows, return_inverse=True)
    order = np.argsort(source.lengths(distinct), kind="stable")  # like lengths together: little padding
    parts = []
    for at in range(0, len(order), ENCODE_BATCH):
        taken = take(distinct[order[at : at + ENCODE_BATCH]])
        parts.append(encode(*(each.to(device) for each in taken)))
    longest = max(part.states.shape[1] for part in parts)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    found = Side(
        torch.cat([F.pad(part.states.float(), (0, 0, 0, longest - part.states.shape[1])) for part in parts]),
        torch.cat([F.pad(part.real, (0, longest - part.real.shape[1])) for part in parts]),
    )
    return found, torch.from_numpy(place[which]).to(device)
