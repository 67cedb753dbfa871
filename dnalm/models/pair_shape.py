"""The shape of a model of a gene and a molecule: what reads each, what pairs them, and the words for it.

Shapes used below
    L  tokens per gene or molecule   D  width of the states
    S  segments of a gene
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeGuard

from dnalm.config import check_minimum
from dnalm.data.pair_batches import PairTokens, Ragged, Source
from dnalm.data.pairs import PairSet
from dnalm.errors import InputError
from dnalm.models.bags import KmerConfig, MorganConfig, set_bits
from dnalm.models.cross_attention import CrossAttentionConfig, PooledAttentionConfig
from dnalm.models.gene_cnn import GeneCNNConfig, letter_codes
from dnalm.models.heads import PairHeadConfig, Pooling
from dnalm.models.kept import KeptConfig
from dnalm.models.smiles_lstm import SmilesLSTMConfig, character_ids
from dnalm.models.tuned import TunedConfig

GENE_ENCODERS: dict[str, Any] = {"cnn": GeneCNNConfig, "kmer": KmerConfig}
"""Shapes of what is trained to read genes, by the names of the command line."""
MOLECULE_ENCODERS: dict[str, Any] = {"lstm": SmilesLSTMConfig, "morgan": MorganConfig}
"""Shapes of what is trained to read molecules."""
PRETRAINED: dict[str, Any] = {"kept": KeptConfig, "tuned": TunedConfig}
"""Shapes of what was trained before: one whose states are kept, one that is in the model."""
POOLING: dict[str, Pooling] = {"cnn": "max", "kmer": "mean", "lstm": "attention", "morgan": "mean"}
"""How the states of each become one vector in the published classifier."""
HEADS: dict[str, Any] = {
    "pair": PairHeadConfig,
    "cross-attention": CrossAttentionConfig,
    "pooled-attention": PooledAttentionConfig,
}
"""Shapes of heads, by the names that are saved."""
GeneShape = GeneCNNConfig | KmerConfig | KeptConfig | TunedConfig
MoleculeShape = SmilesLSTMConfig | MorganConfig | KeptConfig | TunedConfig
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
    morgan: bool = False
    """Read a Morgan fingerprint beside --mol-encoder, a state for each of its bits: it loses no atom or bond,
    but stereo."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, dna_length=1, smiles_length=1, gene_windows=0)
        if wrong:
            raise InputError("; ".join(wrong))


@dataclass(frozen=True)
class TuningConfig:
    """Which weights of pretrained encoders are trained; without any of these their states are kept."""

    freeze: bool = True
    """Keep pretrained encoders as they are, and their states: each gene and molecule is encoded once, ever.
    --no-freeze trains all of their weights too; take a --lr of 1e-4 or less."""
    unfreeze_last: int = 0
    """Train the last so many layers of pretrained encoders too; 0 for none."""
    unfreeze_at_epoch: int = 0
    """Epochs in which pretrained encoders are frozen first; then they are trained, whole or as
    --unfreeze-last says. Patience counts from there."""
    lora_rank: int = 0
    """Train low-rank updates beside the layers of pretrained encoders (LoRA), of this rank; 0 for none."""
    gradient_checkpointing: bool = False
    """Compute a layer of a trained encoder again in the backward pass: slower, and much less memory."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, unfreeze_last=0, unfreeze_at_epoch=0, lora_rank=0)
        if not wrong and self.lora_rank and (self.unfreeze_last or self.unfreeze_at_epoch or not self.freeze):
            wrong.append(
                "lora_rank trains updates of encoders that stay as they are: leave --no-freeze and "
                "--unfreeze-* out, or --lora-rank"
            )
        if wrong:
            raise InputError("; ".join(wrong))

    @property
    def any(self) -> bool:
        """Whether pretrained encoders are trained at all."""
        return not self.freeze or bool(self.unfreeze_last or self.unfreeze_at_epoch or self.lora_rank)


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
    morgan: MorganConfig | None = None
    """Of a fingerprint that is read beside the encoder of molecules; as wide as its states."""

    @property
    def names(self) -> tuple[str, str]:
        """What reads genes and what reads molecules, in a word each."""
        gene, molecule = (
            str(each.identity.get("name", "kept")) if isinstance(each, KeptConfig) else _name(each, known)
            for each, known in ((self.gene, GENE_ENCODERS), (self.molecule, MOLECULE_ENCODERS))
        )
        return gene, molecule if self.morgan is None else f"{molecule} + morgan"

    @property
    def kind(self) -> str:
        """The model in a few words: original, its encoders' names, or foundation with its encoders' names."""
        if isinstance(self.head, CrossAttentionConfig):
            return f"foundation{'-pooled' if self.head.pooled else ''} ({' + '.join(self.names)})"
        return "original" if self.names == ("cnn", "lstm") else "-".join(self.names)

    @property
    def frozen_parameters(self) -> int:
        """Of the encoders whose states are kept, which are not in the model."""
        return sum(each.parameters for each in self.kept)

    @property
    def kept(self) -> list[KeptConfig]:
        """The encoders whose states are kept."""
        return [each for each in (self.gene, self.molecule) if is_kept(each)]

    @property
    def frozen(self) -> "InteractionShape":
        """The same with every pretrained encoder frozen."""
        parts: dict[str, Any] = {"gene": self.gene, "molecule": self.molecule}
        for side, part in parts.items():
            if isinstance(part, TunedConfig):
                known = {field.name: getattr(part, field.name) for field in fields(KeptConfig)}
                parts[side] = KeptConfig(**known)
        return replace(self, **parts)

    @property
    def attends(self) -> bool:
        """Whether its head attends to states: else all of a gene's or molecule's become one."""
        return isinstance(self.head, CrossAttentionConfig) and not self.head.pooled

    def tokens(
        self, texts: Texts | PairSet, genes: Source | None = None, molecules: Source | None = None
    ) -> PairTokens:
        """Return what the encoders read of all genes and molecules of a set.

        Args:
            texts: the set.
            genes: kept states or windows of its genes, where the encoder is a pretrained one.
            molecules: those of its molecules, likewise.

        Raises:
            InputError: if fingerprints are needed and cannot be had.
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
        bits = None if self.morgan is None else Ragged(set_bits(texts.smiles, self.morgan))
        return PairTokens(genes, molecules, not isinstance(self.gene, GeneCNNConfig), bits)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values from which `from_dict` makes the same shape."""
        return asdict(self) | {
            "gene": {"name": _name(self.gene, GENE_ENCODERS | PRETRAINED), **asdict(self.gene)},
            "molecule": {
                "name": _name(self.molecule, MOLECULE_ENCODERS | PRETRAINED),
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
                (content["gene"], GENE_ENCODERS | PRETRAINED),
                (content["molecule"], MOLECULE_ENCODERS | PRETRAINED),
                (head, HEADS),
            )
        )
        rest = {key: content[key] for key in ("characters", "dna_length", "smiles_length")}
        morgan = content.get("morgan")  # a model without one may say nothing of it
        return cls(gene, molecule, made, **rest, morgan=None if morgan is None else MorganConfig(**morgan))


def is_kept(part: object) -> TypeGuard[KeptConfig]:
    """Whether a shape is that of a frozen encoder, which is not in the model."""
    return isinstance(part, KeptConfig) and not isinstance(part, TunedConfig)


def pooling_of(part: GeneShape | MoleculeShape) -> Pooling:
    """Return how the published classifier pools the states of an encoder, by its shape."""
    return "mean" if isinstance(part, KeptConfig) else POOLING[_name(part, GENE_ENCODERS | MOLECULE_ENCODERS)]


def _name(shape: object, known: Mapping[str, Any]) -> str:
    return next(name for name, each in known.items() if type(shape) is each)
