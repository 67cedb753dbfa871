"""What the states of a pair attend to, by the bases of its gene and the atoms of its molecule.

Attention is not an explanation: a state that is attended to need not decide. Its value is passed on, and what
the model makes of that value is not considered; other weights may give the same logit (Jain and Wallace 2019,
Attention is not explanation).

Weights of states with one position are summed. Of a SMILES read by characters, an atom that is written with
many of them, such as brackets and ring digits, has a larger weight even if attention is uniform.

Shapes: H attention heads; S real states of a gene or of a molecule; K distinct positions of states, in a gene
or in a molecule; A atoms of the molecule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dnalm.bootstrap import Numbers
from dnalm.data.molecules import atom_spans, morgan_atoms
from dnalm.data.pair_batches import PairTokens
from dnalm.errors import InputError
from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.cross_attention import CrossAttentionBlock, CrossAttentionConfig, CrossAttentionHead
from dnalm.models.gene_cnn import POOL, GeneCNNConfig
from dnalm.models.heads import EncodedBatch
from dnalm.models.pair import InteractionModel, on_device
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.pretrained import Spans

Position = tuple[int, ...]
"""What a state represents: begin and end of bases (0-based half-open), or atoms."""


class AttentionWeights(NamedTuple):
    """The attention of each side to the states of the other; each adds up to 1."""

    gene: Numbers  # of each state of the gene, by the states of the molecule, [S]
    molecule: Numbers  # of each state of the molecule, by the states of the gene, [S]


@dataclass(frozen=True)
class PairAttention:
    """What the states of a pair attend to."""

    gene: dict[Position, float]  # weight of each range of bases, [K], in order; ranges may overlap
    molecule: dict[Position, float]  # weight of each group of atoms of a state, [K]; groups may overlap
    atoms: Numbers  # weight of each atom, in the order of the SMILES, [A]


def check_attends(shape: InteractionShape, name: str) -> None:
    """Refuse a model without attention to choose between states.

    Raises:
        InputError: if it has no cross-attention, or attends between one vector a side.
    """
    if not isinstance(shape.head, CrossAttentionConfig):
        reason = f"has no attention between gene and molecule ({shape.kind})"
    elif shape.head.pooled:
        reason = f"attends between one vector of each ({shape.kind}), so that there is nothing to choose"
    else:
        return
    raise InputError(
        f"{name}: {reason}, and no `attention` to show; leave it out, or train with the `model` foundation"
    )


@torch.no_grad()
def attention_weights(
    model: InteractionModel, tokens: PairTokens, gene: int, molecule: int
) -> AttentionWeights | None:
    """Return the attention in a pair; None if its gene or molecule has no state.

    It is the mean over heads and over the states that attend, of a model whose head attends
    (`check_attends`). `gene` and `molecule` are rows of `tokens`.
    """
    head = model.head
    assert isinstance(head, CrossAttentionHead)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    of_gene = model.encode("gene", *on_device(tokens.take("gene", np.array([gene])), device))
    of_molecule = model.encode("molecule", *on_device(tokens.take("molecule", np.array([molecule])), device))
    model.train(was_training)
    if not (of_gene.real.any() and of_molecule.real.any()):
        return None
    return AttentionWeights(
        mean_attention(head.molecule_attending, of_molecule, of_gene).cpu().numpy(),
        mean_attention(head.gene_attending, of_gene, of_molecule).cpu().numpy(),
    )


def mean_attention(attending: CrossAttentionBlock, own: EncodedBatch, other: EncodedBatch) -> Tensor:
    """Return how much each real state of the other side is attended to, float64 [S]; it adds up to 1.

    Each side is one gene or molecule with at least one state; `own` attends.
    """
    weights = attending.weights(own, other)[0].double()  # [H, S own, S other]
    return weights[:, own.real[0]].mean((0, 1))[other.real[0]]


def gene_spans(shape: InteractionShape, sequence: str) -> Spans:
    """Return the bases of each real state of a gene whose encoder is trained from the start, [S, 2].

    A state of a k-mer has its own bases; one of the convolutions has the bases that its pooling joins,
    without those around them that it depends on too.
    """
    length = min(len(sequence), shape.dna_length)
    if isinstance(shape.gene, KmerConfig):
        begins = np.arange(max(0, length - shape.gene.k + 1))
        return np.stack([begins, begins + shape.gene.k], axis=1)
    assert isinstance(shape.gene, GeneCNNConfig)
    stride = int(POOL ** len(shape.gene.channels))
    begins = np.arange(0, length, stride)
    return np.stack([begins, np.minimum(begins + stride, length)], axis=1)


def molecule_atoms(shape: InteractionShape, smiles: str, characters: Spans | None = None) -> list[Position]:
    """Return the atoms of each real state of a molecule, [S].

    `characters`, [S, 2], are those of each state, where the encoder is frozen.

    Raises:
        InputError: if the SMILES cannot be read, or RDKit is not installed.
    """
    if isinstance(shape.molecule, MorganConfig):
        return morgan_atoms(smiles, shape.molecule.radius, shape.molecule.bits)
    begins = np.arange(min(len(smiles), shape.smiles_length)) if characters is None else characters[:, 0]
    # Characters that are no atom count for the last atom before them, or for the first atom.
    atom = np.searchsorted(atom_spans(smiles)[:, 0], begins, side="right") - 1
    morgan = [] if shape.morgan is None else morgan_atoms(smiles, shape.morgan.radius, shape.morgan.bits)
    return [(int(each),) for each in atom.clip(0)] + morgan


def pair_attention(
    weights: AttentionWeights, bases: Spans, atoms: Sequence[Position], count: int
) -> PairAttention:
    """Return what the states of a pair attend to, by position: states of one position are summed.

    `bases`, [S, 2], are of each state of the gene, `atoms`, [S], of each of the molecule's, whose weight is
    divided equally among them; `count` is A.
    """
    molecule = _sum_by_position(atoms, weights.molecule)
    by_atom = np.zeros(count)
    for group, weight in molecule.items():
        by_atom[list(group)] += weight / len(group)
    ranges = [(begin, end) for begin, end in bases.tolist()]
    return PairAttention(_sum_by_position(ranges, weights.gene), molecule, by_atom)


def _sum_by_position(positions: Sequence[Position], weights: Numbers) -> dict[Position, float]:
    """Return the weight of each position, in the order of their first states."""
    sums: dict[Position, float] = {}
    for position, weight in zip(positions, weights.tolist(), strict=True):
        sums[position] = sums.get(position, 0.0) + weight
    return sums
