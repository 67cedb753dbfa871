"""The model of a gene and a molecule: an encoder of each under a head that pairs them.

Shapes used below
    G  genes                         M  molecules
    B  pairs                         L  tokens per gene or molecule
    D  width of the states
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dnalm.config import too_small
from dnalm.data.pair_batches import PairTokens, Ragged, Source
from dnalm.data.pairs import PairSet
from dnalm.encoders.gene_cnn import GeneCNN, GeneCNNConfig, letter_codes
from dnalm.encoders.kept import KeptConfig, KeptStates
from dnalm.encoders.kmer import KmerBag, KmerConfig
from dnalm.encoders.lstm import SmilesLSTM, SmilesLSTMConfig, character_ids
from dnalm.encoders.morgan import MorganBag, MorganConfig, set_bits
from dnalm.heads.cross_attention import CrossAttentionConfig, CrossAttentionHead, PooledAttentionConfig
from dnalm.heads.pair import PairHead, PairHeadConfig, Pooling
from dnalm.heads.side import Side

Rows = npt.NDArray[np.int64]

CALIBRATION = 1024
"""Genes, and molecules, from whose kept states their scale is taken, evenly spread."""
GENE_ENCODERS: dict[str, Any] = {"cnn": GeneCNNConfig, "kmer": KmerConfig}
"""Shapes of what is trained to read genes, by the names of the command line."""
MOLECULE_ENCODERS: dict[str, Any] = {"lstm": SmilesLSTMConfig, "morgan": MorganConfig}
"""Shapes of what is trained to read molecules."""
KEPT = "kept"
"""Name of the shape that stands for an encoder whose states are kept."""
POOLING: dict[str, Pooling] = {"cnn": "max", "kmer": "mean", "lstm": "attention", "morgan": "mean"}
"""How the states of each become one vector in the published classifier."""
HEADS: dict[str, Any] = {
    "pair": PairHeadConfig,
    "cross-attention": CrossAttentionConfig,
    "pooled-attention": PooledAttentionConfig,
}
"""Shapes of heads, by the names that are saved."""
MODULES: dict[type, Any] = {
    GeneCNNConfig: GeneCNN,
    KmerConfig: KmerBag,
    MorganConfig: MorganBag,
    KeptConfig: KeptStates,
    PairHeadConfig: PairHead,
    CrossAttentionConfig: CrossAttentionHead,
    PooledAttentionConfig: CrossAttentionHead,
}
"""What each shape is the shape of; an LSTM needs its vocabulary too."""

GeneShape = GeneCNNConfig | KmerConfig | KeptConfig
MoleculeShape = SmilesLSTMConfig | MorganConfig | KeptConfig
HeadShape = PairHeadConfig | CrossAttentionConfig


@dataclass(frozen=True)
class Texts:
    """Genes and molecules to be read, which need not be a set of pairs."""

    sequences: list[str]
    """Of genes: upper-case DNA."""
    smiles: list[str]
    """Of molecules: canonical."""


@dataclass(frozen=True)
class EncodersConfig:
    """What reads genes and molecules, and how much of them."""

    dna_encoder: str = "cnn"
    """cnn: the published convolutions; kmer: a vector for each 4-mer; or one that is kept as it is: a model
    of `dnalm pretrain`, dnabert2, another hub name, or a hub's folder."""
    mol_encoder: str = "lstm"
    """lstm: the published LSTM over SMILES; morgan: a vector for each bit of a Morgan fingerprint (RDKit); or
    one that is kept as it is: chemberta, another hub name, or a hub's folder."""
    dna_length: int = 1000
    """Bases that cnn and kmer read of a gene, from its start."""
    smiles_length: int = 200
    """Characters that lstm reads of a SMILES, from its start."""
    gene_windows: int = 0
    """Windows, evenly spaced, that a frozen encoder reads of a gene; 0 for its first 510 tokens."""
    smiles_tokenizer: Literal["hub", "atomwise"] = "hub"
    """How chemberta reads a SMILES: as the hub's tokenizer does, which drops what it does not know, Cl and Br
    and brackets among them; or atom by atom."""
    dna_revision: str = ""
    """Commit of the hub name of --dna-encoder, 40 hexadecimal digits."""
    mol_revision: str = ""
    """Commit of the hub name of --mol-encoder."""

    def __post_init__(self) -> None:
        wrong = too_small(self, dna_length=1, smiles_length=1, gene_windows=0)
        if wrong:
            raise ValueError("; ".join(wrong))


@dataclass(frozen=True)
class InteractionShape:
    """All that is needed to build an `InteractionModel`, weights aside."""

    gene: GeneShape = field(default_factory=GeneCNNConfig)
    molecule: MoleculeShape = field(default_factory=SmilesLSTMConfig)
    head: HeadShape = field(default_factory=PairHeadConfig)
    characters: str = ""
    """Vocabulary of an LSTM, in id order; empty for every other encoder."""
    dna_length: int = 1000
    """Bases read of a gene, from its start, where its encoder is trained."""
    smiles_length: int = 200
    """Characters read of a SMILES, from its start, where its encoder is trained."""

    @property
    def names(self) -> tuple[str, str]:
        """What reads genes and what reads molecules, in a word each."""
        gene, molecule = (
            str(each.identity.get("name", KEPT)) if isinstance(each, KeptConfig) else _name(each, known)
            for each, known in ((self.gene, GENE_ENCODERS), (self.molecule, MOLECULE_ENCODERS))
        )
        return gene, molecule

    @property
    def kind(self) -> str:
        """The model in a few words: original, its encoders' names, or foundation with its encoders' names."""
        if isinstance(self.head, CrossAttentionConfig):
            return f"foundation{'-pooled' if self.head.pooled else ''} ({' + '.join(self.names)})"
        return "original" if self.names == ("cnn", "lstm") else "-".join(self.names)

    @property
    def frozen_parameters(self) -> int:
        """Of the encoders whose states are kept."""
        return sum(each.parameters for each in (self.gene, self.molecule) if isinstance(each, KeptConfig))

    def tokens(
        self, texts: Texts | PairSet, genes: Source | None = None, molecules: Source | None = None
    ) -> PairTokens:
        """Return what the encoders read of all genes and molecules of a set.

        Args:
            texts: the set.
            genes: kept states of its genes, where there are no tokens to read.
            molecules: kept states of its molecules, likewise.

        Raises:
            ValueError: if fingerprints are needed and cannot be had.
        """
        if isinstance(self.gene, KeptConfig):
            assert genes is not None
        else:
            genes = Ragged([letter_codes(sequence, self.dna_length) for sequence in texts.sequences])
        if isinstance(self.molecule, KeptConfig):
            assert molecules is not None
        elif isinstance(self.molecule, MorganConfig):
            molecules = Ragged(set_bits(texts.smiles, self.molecule))
        else:
            molecules = Ragged(
                [character_ids(text, self.characters, self.smiles_length) for text in texts.smiles]
            )
        return PairTokens(genes, molecules, distinct_genes=not isinstance(self.gene, GeneCNNConfig))

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values from which `from_dict` makes the same shape."""
        return asdict(self) | {
            "gene": {"name": _name(self.gene, GENE_ENCODERS | {KEPT: KeptConfig}), **asdict(self.gene)},
            "molecule": {
                "name": _name(self.molecule, MOLECULE_ENCODERS | {KEPT: KeptConfig}),
                **asdict(self.molecule),
            },
            "head": {"name": _name(self.head, HEADS), **asdict(self.head)},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "InteractionShape":
        """Return the shape that `as_dict` has written."""
        head = {"name": "pair"} | content["head"]  # one without a name is a pair head
        gene, molecule, made = (
            known[part["name"]](
                **{
                    key: tuple(value) if isinstance(value, list) else value
                    for key, value in part.items()
                    if key != "name"
                }
            )
            for part, known in (
                (content["gene"], GENE_ENCODERS | {KEPT: KeptConfig}),
                (content["molecule"], MOLECULE_ENCODERS | {KEPT: KeptConfig}),
                (head, HEADS),
            )
        )
        rest = {key: content[key] for key in ("characters", "dna_length", "smiles_length")}
        return cls(gene, molecule, made, **rest)


def pooling_of(part: GeneShape | MoleculeShape) -> Pooling:
    """Return how the published classifier pools the states of an encoder, by its shape."""
    return "mean" if isinstance(part, KeptConfig) else POOLING[_name(part, GENE_ENCODERS | MOLECULE_ENCODERS)]


def _name(shape: object, known: Mapping[str, Any]) -> str:
    return next(name for name, each in known.items() if type(shape) is each)


class InteractionModel(nn.Module):
    """An encoder of genes and one of molecules under a head that pairs them."""

    head: PairHead | CrossAttentionHead

    def __init__(self, shape: InteractionShape) -> None:
        super().__init__()
        self.shape = shape
        self.gene = MODULES[type(shape.gene)](shape.gene)
        if isinstance(shape.molecule, SmilesLSTMConfig):
            self.molecule = SmilesLSTM(shape.molecule, len(shape.characters))
        else:
            self.molecule = MODULES[type(shape.molecule)](shape.molecule)
        self.head = MODULES[type(shape.head)](self.gene.width, self.molecule.width, shape.head)

    @torch.no_grad()
    def calibrate(self, tokens: PairTokens, genes: Rows, molecules: Rows) -> None:
        """Fit the scale of kept states to those of training genes and molecules, up to `CALIBRATION` of each.

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
                states, real = source.take(distinct[:: -(-len(distinct) // CALIBRATION)])
                module.calibrate(states[real])

    @property
    def parameter_count(self) -> int:
        """All parameters that are in it; all of them are trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    def gene_side(self, tokens: Tensor, real: Tensor) -> Side:
        """Map genes' tokens [G, L] (or kept states [G, L, D]) and their mask to what pairs are made of."""
        return self.head.gene_side(self.gene(tokens, real), self.gene.state_mask(real))

    def molecule_side(self, tokens: Tensor, real: Tensor) -> Side:
        """Map molecules' tokens [M, L] (or kept states [M, L, D]) and their mask likewise."""
        return self.head.molecule_side(self.molecule(tokens, real), self.molecule.state_mask(real))

    def forward(
        self,
        genes: Tensor,
        genes_real: Tensor,
        molecules: Tensor,
        molecules_real: Tensor,
        gene: Tensor,
        molecule: Tensor,
    ) -> Tensor:
        """Map pairs to logits, [B].

        Args:
            genes: tokens of genes, [G, L], or their kept states, [G, L, D].
            genes_real: their mask.
            molecules: tokens of distinct molecules, [M, L], or their kept states.
            molecules_real: their mask.
            gene: int64, [B]: which of the G is each pair's.
            molecule: int64, [B]: which of the M is each pair's.
        """
        # Nothing in a molecule's encoder is drawn in training: one that occurs twice has one vector.
        sides = self.gene_side(genes, genes_real), self.molecule_side(molecules, molecules_real)
        logits: Tensor = self.head(*sides, gene, molecule)
        return logits
