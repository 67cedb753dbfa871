"""The model of a gene and a molecule: an encoder of each under a head that pairs them.

Shapes: G genes; M molecules; B pairs; L tokens per gene or molecule; D width of the states; N pairs to
predict.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import process
from dnalm.bootstrap import Numbers
from dnalm.data.pair_batches import PairTokens, Source
from dnalm.data.pairs import PairSet, Rows
from dnalm.models.bags import MorganBag
from dnalm.models.cross_attention import CrossAttentionConfig, CrossAttentionHead
from dnalm.models.heads import EncodedBatch, PairHead, Side
from dnalm.models.identity import IdentityVectors
from dnalm.models.layers import Model
from dnalm.models.lora import merge_lora
from dnalm.models.pair_shape import InteractionShape, PairTexts, TuningConfig
from dnalm.models.pretrained import ComputedStates, PretrainedEncoder, PretrainedStates, TokenWindows
from dnalm.models.registry import entry_of

ENCODE_BATCH = 128  # Genes or molecules encoded at a time in prediction: no result depends on it
CLASSIFY_BATCH = 8192  # Pairs classified at a time
ATTEND_BATCH = 256  # Pairs classified at a time where states attend to states
CALIBRATION = 1024
"""Genes, and molecules, evenly spread, whose states the scale of pretrained encoders is computed from."""


class InteractionModel(Model):
    """An encoder of genes and one of molecules under a head that pairs them.

    `pretrained` encoders have the weights that trained ones begin with, by side; only of a new model.
    """

    gene: Any
    molecule: Any
    identity: Any  # `IdentityVectors` by side, or None
    head: PairHead | CrossAttentionHead

    def __init__(
        self, shape: InteractionShape, pretrained: Mapping[str, PretrainedEncoder] | None = None
    ) -> None:
        super().__init__()
        self.shape = shape
        self.gene, self.molecule = (
            PretrainedStates(config)
            if (entry := entry_of(config)) is None
            else entry.build(config, characters)
            for config, characters in ((shape.gene, ""), (shape.molecule, shape.characters))
        )
        self.morgan = None if shape.morgan is None else MorganBag(shape.morgan)
        for side in shape.pretrained:
            getattr(self, side).load_pretrained((pretrained or {}).get(side))
        self.identity = None
        if (known := shape.identities) is not None:
            self.identity = nn.ModuleDict(
                {
                    "gene": IdentityVectors(known.genes, self.gene.width, known.dropout),
                    "molecule": IdentityVectors(known.molecules, self.molecule.width, known.dropout),
                }
            )
        head = CrossAttentionHead if isinstance(shape.head, CrossAttentionConfig) else PairHead
        self.head = head(self.gene.width, self.molecule.width, shape.head)  # type: ignore[arg-type]

    def prepare_training(self, tuning: TuningConfig) -> None:
        """Choose which weights of pretrained encoders are trained, and how; once, with all weights loaded."""
        for side in self.shape.pretrained:
            states = getattr(self, side)
            if states.encoder is not None:
                states.encoder.gradient_checkpointing = tuning.gradient_checkpointing
                if tuning.unfreeze_last:
                    states.train_last(tuning.unfreeze_last)

    def merge(self) -> bool:
        """Add LoRA's updates into the layers beside them, in place; return whether there were any."""
        merged: dict[str, Any] = {}
        for side, each in self.shape.pretrained.items():
            if each.lora_rank:
                merge_lora(getattr(self, side).encoder)
                merged[side] = replace(each, lora_rank=0)
        self.shape = replace(self.shape, **merged)
        return bool(merged)

    def set_known(self, texts: PairTexts) -> None:
        """Set whose vectors a new model learns: the distinct genes and molecules of its training pairs."""
        if self.identity is not None:
            for side, known in (("gene", texts.sequences), ("molecule", texts.smiles)):
                self.identity[side].set_known(known)

    def identity_rows(self, texts: PairTexts | PairSet) -> dict[str, Rows] | None:
        """Return the row of each gene's and each molecule's own vector, by side, -1 where it has none."""
        if self.identity is None:
            return None
        read = {"gene": texts.sequences, "molecule": texts.smiles}
        return {side: self.identity[side].rows(each) for side, each in read.items()}

    @torch.no_grad()
    def calibrate(self, tokens: PairTokens, genes: Rows, molecules: Rows) -> None:
        """Fit the scale of pretrained encoders' states to rows of the training part, up to `CALIBRATION`."""
        sources = {"gene": (tokens.genes, genes), "molecule": (tokens.molecules, molecules)}
        for side in self.shape.pretrained:
            module, (source, rows) = getattr(self, side).eval(), sources[side]
            distinct = np.unique(rows)
            some = distinct[:: -(-len(distinct) // CALIBRATION)]
            states, real = present_states(module, source, some).take(some)
            module.calibrate(states[real])

    def encode(
        self,
        side: Side,
        tokens: Tensor,
        real: Tensor,
        bits: Tensor | None = None,
        bits_real: Tensor | None = None,
        identity: Tensor | None = None,
    ) -> EncodedBatch:
        """Map tokens of genes or molecules, cached states or windows, and their mask to what the head pairs.

        States of fingerprints (bits that are set, and their mask, [M, L]) follow those of molecules; if the
        head makes one vector of all, the mean of each kind counts half. The vector of a known gene or
        molecule (its row in `identity`, [N]) is added to each of its states.
        """
        encoder = getattr(self, side)
        parts = [EncodedBatch(encoder(tokens, real), encoder.state_mask(real))]
        if self.morgan is not None and side == "molecule":
            assert bits_real is not None
            parts.append(EncodedBatch(self.morgan(bits, bits_real), bits_real))
            if self.head.one_vector:
                parts = [part.mean() for part in parts]
        states, mask = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
        if self.identity is not None:
            assert identity is not None
            states = states + mask.unsqueeze(-1) * self.identity[side](identity).unsqueeze(1)
        return self.head.encode(side, states, mask)

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
        gene_identity: Tensor | None = None,
        molecule_identity: Tensor | None = None,
    ) -> Tensor:
        """Map pairs to logits, [B]; a gene or molecule of several pairs is encoded once.

        Args:
            genes: tokens of genes, [G, L]; or their cached states, [G, L, D], or windows, [G, W, L].
            genes_real: their mask; of windows the index of each token's state.
            molecules: tokens of distinct molecules, [M, L]; or their cached states, or windows.
            molecules_real: their mask.
            gene: int64, [B]: which of the G is each pair's.
            molecule: int64, [B]: which of the M is each pair's.
            bits: those that are set in fingerprints of the molecules, [M, L], if they are read too.
            bits_real: their mask, [M, L].
            gene_identity: rows of vectors of known genes, int64 [G], -1 for others, if there are such.
            molecule_identity: likewise, [M].
        """
        of_genes = self.encode("gene", genes, genes_real, identity=gene_identity)
        beside = bits, bits_real, molecule_identity
        of_molecules = self.encode("molecule", molecules, molecules_real, *beside)
        logits: Tensor = self.head(of_genes, of_molecules, gene, molecule)
        return logits


@torch.no_grad()
def predict(
    model: nn.Module, tokens: PairTokens, gene: Rows, molecule: Rows, *, together: bool = False
) -> Numbers:
    """Return the logits of pairs, float64 [N], computed in full precision.

    A pretrained encoder that is trained reads each gene and molecule once; so does every encoder under a head
    that makes one vector of each.

    Args:
        model: an `InteractionModel`, or what the training loop made of one.
        tokens: of a set's genes and molecules, whose rows [N] are `gene` and `molecule`.
        gene: rows.
        molecule: rows.
        together: whether all processes call this at once: each then predicts a part.
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
    tokens = replace(
        tokens,
        genes=present_states(inner.gene, tokens.genes, np.unique(gene)),
        molecules=present_states(inner.molecule, tokens.molecules, np.unique(molecule)),
    )
    logits, order, at_once = np.zeros(len(gene)), np.arange(len(gene)), max(1, len(gene))
    if not inner.head.one_vector:
        order = np.lexsort((tokens.molecules.lengths(molecule), gene))  # a gene's pairs together
        at_once = ATTEND_BATCH
    for at in range(0, len(order), at_once):
        some = order[at : at + at_once]
        genes, of_gene = _encode(inner, "gene", tokens, gene[some])
        molecules, of_molecule = _encode(inner, "molecule", tokens, molecule[some])
        for begin in range(0, len(some), CLASSIFY_BATCH):
            rows = slice(begin, begin + CLASSIFY_BATCH)
            found = inner.head(genes, molecules, of_gene[rows], of_molecule[rows])
            logits[some[rows]] = found.double().cpu().numpy()
    inner.train(was_training)
    return logits


def present_states(encoder: nn.Module, source: Source, rows: Rows) -> Source:
    """Return the states that a trained encoder now gives the texts `rows`, all distinct; else `source`."""
    if not isinstance(encoder, PretrainedStates) or encoder.encoder is None:
        return source
    assert isinstance(source, TokenWindows)
    return ComputedStates(encoder.encoder, source, rows)


def on_device(taken: Iterable[Tensor | None], device: torch.device) -> list[Any]:
    """Return what `PairTokens.take` returned, on a device."""
    return [None if each is None else each.to(device) for each in taken]


def _encode(
    model: InteractionModel, side: Side, tokens: PairTokens, rows: Rows
) -> tuple[EncodedBatch, Tensor]:
    """Return the distinct among `rows`, encoded, and the index of each row among them, [N]."""
    device = next(model.parameters()).device
    source: Source = tokens.genes if side == "gene" else tokens.molecules
    distinct, which = np.unique(rows, return_inverse=True)
    order = np.argsort(source.lengths(distinct), kind="stable")  # similar lengths together: little padding
    parts = []
    for at in range(0, len(order), ENCODE_BATCH):
        taken = tokens.take(side, distinct[order[at : at + ENCODE_BATCH]])
        parts.append(model.encode(side, *on_device(taken, device)))
    longest = max(part.states.shape[1] for part in parts)
    encoded = EncodedBatch(
        torch.cat([F.pad(part.states.float(), (0, 0, 0, longest - part.states.shape[1])) for part in parts]),
        torch.cat([F.pad(part.real, (0, longest - part.real.shape[1])) for part in parts]),
    )
    return encoded, torch.from_numpy(np.argsort(order)[which]).to(device)
