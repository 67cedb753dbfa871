"""What the states of a pair attend to, as shares of the bases of its gene and of the atoms of its molecule.

Attention is not an explanation: what is attended to need not be what decides. A state that is attended to
hands its value on, and what the model makes of that value is not looked at here; other weights may give the
same logit (Jain and Wallace 2019, Attention is not explanation). It shows where the model looks.

A share is that of all states of a place together. Of a SMILES read by characters, an atom that is written
with many of them, brackets and ring digits among them, has a larger share even were all attended to alike.

Shapes used below
    B  pairs                         H  attention heads
    S  real states of a gene or of a molecule
    K  distinct places that states stand for, in a gene or in a molecule
    A  atoms of the molecule
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.data.molecules import atom_spans, morgan_atoms
from dnalm.data.pair_batches import PairTokens
from dnalm.errors import InputError
from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.cross_attention import CrossAttentionBlock, CrossAttentionConfig, CrossAttentionHead
from dnalm.models.gene_cnn import POOL, GeneCNNConfig
from dnalm.models.heads import EncodedBatch
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.pretrained import Spans

Numbers = npt.NDArray[np.float64]
Place = tuple[int, ...]
"""What a state stands for: begin and end of bases (0-based half-open), or the atoms it tells of."""


class Shares(NamedTuple):
    """How the attention of one side is shared out over the states of the other; each adds up to 1."""

    gene: Numbers
    """Of each state of the gene, as those of the molecule attend to it, [S]."""
    molecule: Numbers
    """Of each state of the molecule, as those of the gene attend to it, [S]."""


@dataclass(frozen=True)
class PairAttention:
    """What the states of a pair attend to."""

    gene: dict[Place, float]
    """Share of each range of bases, (begin, end), [K]; in order; ranges may overlap."""
    molecule: dict[Place, float]
    """Share of each group of atoms that a state stands for, [K]; groups may overlap."""
    atoms: Numbers
    """Share of each atom, in the order in which they stand in the SMILES, [A]."""


def check_attends(shape: InteractionShape, name: str) -> None:
    """Refuse a model in which nothing is chosen to be attended to.

    Raises:
        InputError: if it has no cross-attention, or attends between one vector a side.
    """
    if not isinstance(shape.head, CrossAttentionConfig):
        why = f"it has no attention between gene and molecule ({shape.kind})"
    elif shape.head.pooled:
        why = (
            f"it attends between one vector of the gene and one of the molecule ({shape.kind}), where there "
            "is nothing to choose"
        )
    else:
        return
    raise InputError(
        f"{name}: expected a model with attention to show, but {why}; leave --attention out, or train one "
        "with --model foundation"
    )


@torch.no_grad()
def shares(model: InteractionModel, tokens: PairTokens, gene: int, molecule: int) -> Shares | None:
    """Return how the attention of a pair is shared out; None where one of the two has no state.

    It is the mean over heads and over the states that attend.

    Args:
        model: whose head attends (`check_attends`).
        tokens: of genes and molecules.
        gene: row of the pair's gene.
        molecule: row of its molecule.
    """
    head = model.head
    assert isinstance(head, CrossAttentionHead)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    genes, genes_real = tokens.genes.take(np.array([gene]))
    molecules = tokens.take_molecules(np.array([molecule]))
    of_gene = model.gene_side(genes.to(device), genes_real.to(device))
    of_molecule = model.molecule_side(*(each.to(device) for each in molecules))
    model.train(was_training)
    if not (of_gene.real.any() and of_molecule.real.any()):
        return None
    return Shares(
        attended(head.molecule_attending, of_molecule, of_gene).cpu().numpy(),
        attended(head.gene_attending, of_gene, of_molecule).cpu().numpy(),
    )


def attended(attending: CrossAttentionBlock, own: EncodedBatch, other: EncodedBatch) -> Tensor:
    """Return how much each real state of the other side is attended to, float64 [S]; it adds up to 1.

    Args:
        attending: what attends.
        own: the side that attends, one gene or molecule with a state or more.
        other: the side that is attended to, likewise.
    """
    weights = attending.weights(own, other)[0].double()  # [H, S own, S other]
    return weights[:, own.real[0]].mean((0, 1))[other.real[0]]


def gene_places(shape: InteractionShape, sequence: str) -> Spans:
    """Return the bases of each real state of a gene whose encoder is trained, [S, 2].

    A k-mer's are its own. A state of the convolutions is said to be the bases that its pooling joins, though
    it has seen some on either side of them too.
    """
    length = min(len(sequence), shape.dna_length)
    if isinstance(shape.gene, KmerConfig):
        begins = np.arange(max(0, length - shape.gene.k + 1))
        return np.stack([begins, begins + shape.gene.k], axis=1)
    assert isinstance(shape.gene, GeneCNNConfig)
    stride = int(POOL ** len(shape.gene.channels))
    begins = np.arange(0, length, stride)
    return np.stack([begins, np.minimum(begins + stride, length)], axis=1)


def molecule_places(shape: InteractionShape, smiles: str, characters: Spans | None = None) -> list[Place]:
    """Return the atoms of each real state of a molecule, [S].

    Args:
        shape: of the model.
        smiles: canonical.
        characters: of each state, [S, 2], where the encoder is frozen.

    Raises:
        InputError: if the SMILES cannot be read, or RDKit is not installed.
    """
    if isinstance(shape.molecule, MorganConfig):
        return morgan_atoms(smiles, shape.molecule.radius, shape.molecule.bits)
    read = np.arange(min(len(smiles), shape.smiles_length))
    begins = read if characters is None else characters[:, 0]
    # The last atom that has begun: what is no atom is counted to the one before it, or to the first.
    atom = np.searchsorted(atom_spans(smiles)[:, 0], begins, side="right") - 1
    beside = [] if shape.morgan is None else morgan_atoms(smiles, shape.morgan.radius, shape.morgan.bits)
    return [(int(each),) for each in atom.clip(0)] + beside


def pair_attention(found: Shares, bases: Spans, atoms: Sequence[Place], count: int) -> PairAttention:
    """Return what the states of a pair attend to, by place: states of one place are added up.

    Args:
        found: of the pair.
        bases: of each state of the gene, [S, 2].
        atoms: of each state of the molecule, [S]; the share of a state is shared out evenly over them.
        count: atoms of the molecule (A).
    """
    assert len(found.gene) == len(bases)
    assert len(found.molecule) == len(atoms)
    molecule = _added(atoms, found.molecule)
    by_atom = np.zeros(count)
    for group, share in molecule.items():
        by_atom[list(group)] += share / len(group)
    return PairAttention(_added([(b, e) for b, e in bases.tolist()], found.gene), molecule, by_atom)


def _added(places: Sequence[Place], weights: Numbers) -> dict[Place, float]:
    """Return the weight of each place, in the order in which they first occur."""
    found: dict[Place, float] = {}
    for place, weight in zip(places, weights.tolist(), strict=True):
        found[place] = found.get(place, 0.0) + weight
    return found
