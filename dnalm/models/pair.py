"""The model of a gene and a molecule: an encoder of each under a head that pairs them.

Shapes: G genes; M molecules; B pairs; L tokens per gene or molecule; D width of the states; N pairs to
predict.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import process
from dnalm.bootstrap import Numbers
from dnalm.data.pair_batches import PairTokens, Source
from dnalm.data.pairs import Rows
from dnalm.models.bags import MorganBag
from dnalm.models.cross_attention import CrossAttentionConfig, CrossAttentionHead
from dnalm.models.heads import EncodedBatch, PairHead
from dnalm.models.layers import Model, masked_mean
from dnalm.models.lora import merge_lora
from dnalm.models.pair_shape import InteractionShape, TuningConfig
from dnalm.models.pretrained import PretrainedEncoder, PretrainedStates
from dnalm.models.registry import entry_of
from dnalm.models.token_windows import ComputedStates, TokenWindows

ENCODE_BATCH = 128
"""Genes or molecules encoded at a time in prediction: no result depends on it."""
CLASSIFY_BATCH = 8192
"""Pairs classified at a time."""
ATTEND_BATCH = 256
"""Pairs classified at a time where states attend to states."""
CALIBRATION = 1024
"""Genes, and molecules, evenly spread, whose states the scale of pretrained encoders is computed from."""


class InteractionModel(Model):
    """An encoder of genes and one of molecules under a head that pairs them.

    Args:
        shape: of all of it.
        pretrained: the encoders whose weights the trained ones begin with, by side; only of a new model.
    """

    head: PairHead | CrossAttentionHead

    def __init__(
        self, shape: InteractionShape, pretrained: Mapping[str, PretrainedEncoder] | None = None
    ) -> None:
        super().__init__()
        self.shape = shape
        self.gene: Any = _encoder(shape.gene, "")
        self.molecule: Any = _encoder(shape.molecule, shape.characters)
        self.morgan = None if shape.morgan is None else MorganBag(shape.morgan)
        for side in shape.pretrained:
            getattr(self, side).load_pretrained((pretrained or {}).get(side))
        head = CrossAttentionHead if isinstance(shape.head, CrossAttentionConfig) else PairHead
        self.head = head(self.gene.width, self.molecule.width, shape.head)  # type: ignore[arg-type]

    @property
    def trained_encoders(self) -> dict[str, PretrainedStates]:
        """The pretrained encoders whose weights are in the model, by side."""
        pretrained = self.shape.pretrained
        return {side: getattr(self, side) for side, each in pretrained.items() if not each.frozen}

    def prepare_training(self, tuning: TuningConfig) -> None:
        """Choose which weights of pretrained encoders are trained, and how; once, with all weights loaded.

        Raises:
            InputError: if more layers are to be trained than there are.
        """
        for each in self.trained_encoders.values():
            if tuning.unfreeze_last:
                each.train_last(tuning.unfreeze_last)
            assert each.encoder is not None
            each.encoder.gradient_checkpointing = tuning.gradient_checkpointing  # type: ignore[assignment]

    def merge(self) -> bool:
        """Add LoRA's updates into the layers beside them, in place; return whether there were any."""
        merged: dict[str, Any] = {}
        for side, each in self.shape.pretrained.items():
            if each.lora_rank:
                merge_lora(getattr(self, side).encoder)
                merged[side] = replace(each, lora_rank=0)
        self.shape = replace(self.shape, **merged)
        return bool(merged)

    @torch.no_grad()
    def calibrate(self, tokens: PairTokens, genes: Rows, molecules: Rows) -> None:
        """Fit the scale of pretrained encoders' states to training genes and molecules, up to `CALIBRATION`.

        `genes` and `molecules` are rows of those of the training part.
        """
        sources = {"gene": (tokens.genes, genes), "molecule": (tokens.molecules, molecules)}
        for side in self.shape.pretrained:
            module, (source, rows) = getattr(self, side).eval(), sources[side]
            distinct = np.unique(rows)
            some = distinct[:: -(-len(distinct) // CALIBRATION)]
            states, real = present_states(module, source, some).take(some)
            module.calibrate(states[real])

    def gene_side(self, tokens: Tensor, real: Tensor) -> EncodedBatch:
        """Map genes' tokens [G, L], cached states or windows, and their mask to what the head pairs."""
        return self.head.gene_side(self.gene(tokens, real), self.gene.state_mask(real))

    def molecule_side(
        self, tokens: Tensor, real: Tensor, bits: Tensor | None = None, bits_real: Tensor | None = None
    ) -> EncodedBatch:
        """Map molecules' tokens, cached states or windows, and their mask [M, L] likewise.

        States of fingerprints, whose `bits` are [M, L], follow the others; if the head makes one vector of
        all, the mean of each kind counts half.
        """
        states, mask = self.molecule(tokens, real), self.molecule.state_mask(real)
        if self.morgan is not None:
            assert bits is not None
            assert bits_real is not None
            beside = self.morgan(bits, bits_real)
            if self.head.one_vector:
                (states, mask), (beside, bits_real) = (
                    (masked_mean(x, real).unsqueeze(1), real.any(1, keepdim=True))
                    for x, real in ((states, mask), (beside, bits_real))
                )
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
        """Map pairs to logits, [B]; a gene or molecule of several pairs is encoded once.

        Args:
            genes: tokens of genes, [G, L]; or their cached states, [G, L, D], or windows, [G, W, L].
            genes_real: their mask; of windows the index of each token's state.
            molecules: tokens of distinct molecules, [M, L]; or their cached states, or windows.
            molecules_real: their mask.
            gene: int64, [B]: which of the G is each pair's.
            molecule: int64, [B]: which of the M is each pair's.
            bits: of the molecules' fingerprints, [M, L], if those are read too.
            bits_real: their mask.
        """
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
    """Return the logits of pairs, float64 [N], computed in full precision.

    A pretrained encoder that is trained reads each gene and molecule once; so does every encoder under a head
    that makes one vector of each.

    Args:
        model: an `InteractionModel`, or what the training loop made of one.
        tokens: of a set's genes and molecules.
        gene: rows of the genes, [N].
        molecule: rows of the molecules, [N].
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
    return np.asarray(logits.double().cpu().numpy())


def refresh_states(model: InteractionModel, tokens: PairTokens, gene: Rows, molecule: Rows) -> PairTokens:
    """Return the same with the present states of texts whose encoder is trained in the model."""
    return replace(
        tokens,
        genes=present_states(model.gene, tokens.genes, np.unique(gene)),
        molecules=present_states(model.molecule, tokens.molecules, np.unique(molecule)),
    )


def present_states(encoder: nn.Module, source: Source, rows: Rows) -> Source:
    """Return the states that a trained encoder now gives the texts `rows`, all distinct; else `source`."""
    if not isinstance(encoder, PretrainedStates) or encoder.encoder is None:
        return source
    assert isinstance(source, TokenWindows)
    return ComputedStates(encoder.encoder, source, rows)


def encode_pairs(
    model: InteractionModel, tokens: PairTokens, gene: Rows, molecule: Rows
) -> tuple[EncodedBatch, Tensor, EncodedBatch, Tensor]:
    """Return the encoded genes and molecules of pairs, each with the row of each pair's, [N]."""
    return (
        *_encode(model.gene_side, tokens.genes, tokens.genes.take, gene, model),
        *_encode(model.molecule_side, tokens.molecules, tokens.take_molecules, molecule, model),
    )


def _encode(
    encode: Callable[..., EncodedBatch],
    source: Source,
    take: Callable[[Rows], tuple[Tensor, ...]],
    rows: Rows,
    model: InteractionModel,
) -> tuple[EncodedBatch, Tensor]:
    """Return the distinct among `rows`, encoded, and the index of each row among them, [N]."""
    device = next(model.parameters()).device
    distinct, which = np.unique(rows, return_inverse=True)
    order = np.argsort(source.lengths(distinct), kind="stable")  # similar lengths together: little padding
    parts = []
    for at in range(0, len(order), ENCODE_BATCH):
        taken = take(distinct[order[at : at + ENCODE_BATCH]])
        parts.append(encode(*(each.to(device) for each in taken)))
    longest = max(part.states.shape[1] for part in parts)
    encoded = EncodedBatch(
        torch.cat([F.pad(part.states.float(), (0, 0, 0, longest - part.states.shape[1])) for part in parts]),
        torch.cat([F.pad(part.real, (0, longest - part.real.shape[1])) for part in parts]),
    )
    return encoded, torch.from_numpy(np.argsort(order)[which]).to(device)


def _encoder(config: Any, characters: str) -> nn.Module:
    """Build the encoder of a config."""
    entry = entry_of(config)
    return PretrainedStates(config) if entry is None else entry.build(config, characters)
