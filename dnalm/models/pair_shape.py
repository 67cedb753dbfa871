"""The shape of a model of a gene and a molecule: its two encoders, its head, and how much they read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from dnalm.config import check_minimum, refuse
from dnalm.data.pair_batches import PairTokens, Ragged, Source
from dnalm.data.pairs import PairSet
from dnalm.models.bags import MorganConfig, set_bits
from dnalm.models.cross_attention import CrossAttentionConfig, PooledAttentionConfig
from dnalm.models.gene_cnn import GeneCNNConfig
from dnalm.models.heads import PairHeadConfig
from dnalm.models.identity import IdentityConfig
from dnalm.models.pretrained import PretrainedConfig
from dnalm.models.registry import Use, encoders_for, entry_of
from dnalm.models.smiles_lstm import SmilesLSTMConfig

HEADS: dict[str, Any] = {
    "pair": PairHeadConfig,
    "cross-attention": CrossAttentionConfig,
    "pooled-attention": PooledAttentionConfig,
}
"""Heads, by the names that are saved."""


@dataclass(frozen=True)
class PairTexts:
    """Genes and molecules, which need not be a set of pairs."""

    sequences: list[str]  # Of genes: upper-case DNA
    smiles: list[str]  # Of molecules: canonical


@dataclass(frozen=True)
class EncodersConfig:
    """The encoders of genes and molecules, and how much they read."""

    dna_encoder: str = "cnn"
    """cnn: the published convolutions; kmer: a vector for each 4-mer; or a pretrained encoder: a model of
    `dnalm pretrain`, dnabert2, another hub name, or a hub's folder."""
    mol_encoder: str = "lstm"
    """lstm: the published LSTM over SMILES; morgan: a vector for each bit of a Morgan fingerprint (RDKit); or
    a pretrained encoder: chemberta, another hub name, or a hub's folder."""
    dna_length: int = 1000  # Bases that cnn and kmer read of a gene, from its start
    smiles_length: int = 200  # Characters that lstm reads of a SMILES, from its start
    gene_windows: int = 0
    """Windows, evenly spaced, that a pretrained encoder reads of a gene; 0 for its first 510 tokens."""
    smiles_tokenizer: Literal["hub", "atomwise"] = "hub"
    """How chemberta reads a SMILES: as the hub's tokenizer does, which drops what it does not know, Cl and Br
    and brackets among them; or atom by atom."""
    dna_revision: str = ""  # Commit of the hub name of --dna-encoder, 40 digits; dnabert2 has its own
    mol_revision: str = ""  # Commit of the hub name of --mol-encoder; chemberta has its own
    morgan: bool = False
    """Read a Morgan fingerprint beside --mol-encoder, a state for each of its bits: it loses no atom or bond,
    but stereo."""

    def __post_init__(self) -> None:
        refuse(check_minimum(self, dna_length=1, smiles_length=1, gene_windows=0))


@dataclass(frozen=True)
class TuningConfig:
    """Which weights of pretrained encoders are trained; by default none, and their states are cached."""

    freeze: bool = True
    """Freeze pretrained encoders: each gene and molecule is encoded once, ever. --no-freeze trains all of
    their weights too; use a --lr of 1e-4 or less."""
    unfreeze_last: int = 0  # Train the last so many layers of pretrained encoders too; 0 for none
    unfreeze_at_epoch: int = 0
    """Epochs in which pretrained encoders are frozen first; then they are trained, all of them or as
    --unfreeze-last says. Patience counts from there."""
    lora_rank: int = 0
    """Train low-rank updates beside the layers of pretrained encoders (LoRA), of this rank; 0 for none."""
    gradient_checkpointing: bool = False
    """Compute a layer of a trained encoder again in the backward pass: slower, and much less memory."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, unfreeze_last=0, unfreeze_at_epoch=0, lora_rank=0)
        if not wrong and self.lora_rank and (self.unfreeze_last or self.unfreeze_at_epoch or not self.freeze):
            wrong.append(
                "`lora_rank` trains updates of frozen encoders; it cannot be combined with `no_freeze`, "
                "`unfreeze_last` or `unfreeze_at_epoch`"
            )
        refuse(wrong)

    @property
    def any(self) -> bool:
        """Whether pretrained encoders are trained at all."""
        return not self.freeze or bool(self.unfreeze_last or self.unfreeze_at_epoch or self.lora_rank)


@dataclass(frozen=True)
class InteractionShape:
    """All that is needed to build an `InteractionModel`, weights aside."""

    gene: Any = field(default_factory=GeneCNNConfig)  # Of an entry of `ENCODERS`, or a `PretrainedConfig`
    molecule: Any = field(default_factory=SmilesLSTMConfig)  # As of genes
    head: PairHeadConfig | CrossAttentionConfig = field(default_factory=PairHeadConfig)
    characters: str = ""  # Vocabulary of an LSTM, in id order; empty for every other encoder
    dna_length: int = 1000  # Bases read of a gene, from its start, unless its encoder is pretrained
    smiles_length: int = 200  # Characters read of a SMILES, likewise
    morgan: MorganConfig | None = None  # Of a fingerprint beside the encoder of molecules, as wide
    identities: IdentityConfig | None = None  # Of vectors of known genes and molecules beside their encoders

    @property
    def names(self) -> tuple[str, str]:
        """Names of the encoders of genes and of molecules."""
        molecule = _name(self.molecule) + (" + morgan" if self.morgan is not None else "")
        return _name(self.gene), molecule

    @property
    def kind(self) -> str:
        """The model in a few words: original, its encoders' names, or foundation with its encoders' names."""
        beside = "" if self.identities is None else " + identity"
        if isinstance(self.head, CrossAttentionConfig):
            return f"foundation{'-pooled' if self.head.pooled else ''} ({' + '.join(self.names)}{beside})"
        return ("original" if self.names == ("cnn", "lstm") else "-".join(self.names)) + beside

    @property
    def pretrained(self) -> dict[str, PretrainedConfig]:
        """The pretrained encoders, by side: gene, molecule."""
        both = {"gene": self.gene, "molecule": self.molecule}
        return {side: each for side, each in both.items() if isinstance(each, PretrainedConfig)}

    @property
    def frozen_parameters(self) -> int:
        """Parameters of frozen encoders, which are not in the model."""
        return sum(each.parameters for each in self.pretrained.values() if each.frozen)

    @property
    def frozen(self) -> "InteractionShape":
        """The same with every pretrained encoder frozen."""
        frozen: dict[str, Any] = {
            side: replace(each, encoder=None, lora_rank=0) for side, each in self.pretrained.items()
        }
        return replace(self, **frozen)

    @property
    def attends(self) -> bool:
        """Whether its head attends to states: else all states of a gene or molecule become one."""
        return isinstance(self.head, CrossAttentionConfig) and not self.head.pooled

    def tokens(
        self, texts: PairTexts | PairSet, genes: Source | None = None, molecules: Source | None = None
    ) -> PairTokens:
        """Return what the encoders read of all genes and molecules of a set.

        `genes` and `molecules` are cached states or windows of those whose encoder is pretrained.
        """
        gene, molecule = entry_of(self.gene), entry_of(self.molecule)
        if gene is not None:
            genes = Ragged([gene.tokenize(text, self.gene, self.dna_length, "") for text in texts.sequences])
        if molecule is not None:
            given = self.molecule, self.smiles_length, self.characters
            molecules = Ragged([molecule.tokenize(text, *given) for text in texts.smiles])
        assert genes is not None
        assert molecules is not None
        bits = None if self.morgan is None else Ragged(set_bits(texts.smiles, self.morgan))
        return PairTokens(genes, molecules, gene is None or not gene.counts_repeats, bits)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values from which `from_dict` makes the same shape."""
        head = {"name": next(name for name, kind in HEADS.items() if type(self.head) is kind)}
        return asdict(self) | {
            "gene": _as_dict(self.gene),
            "molecule": _as_dict(self.molecule),
            "head": head | asdict(self.head),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "InteractionShape":
        """Return the shape that `as_dict` has written."""
        head = dict(content["head"])
        morgan, identities = content.get("morgan"), content.get("identities")  # not in older models
        shape = cls(
            _from_dict(content["gene"], "gene"),
            _from_dict(content["molecule"], "molecule"),
            HEADS[head.pop("name", "pair")](**head),  # nor a name of the head
            *(content[key] for key in ("characters", "dna_length", "smiles_length")),
        )
        return replace(
            shape,
            morgan=None if morgan is None else MorganConfig(**morgan),
            identities=None if identities is None else IdentityConfig(**identities),
        )


def _name(config: Any) -> str:
    """Return the name of an encoder or head by its configuration."""
    if isinstance(config, PretrainedConfig):
        return str(config.identity.get("name", "kept"))
    entry = entry_of(config)
    assert entry is not None
    return entry.name


def _as_dict(config: Any) -> dict[str, Any]:
    if isinstance(config, PretrainedConfig):
        return config.as_dict()
    return {"name": _name(config), **asdict(config)}


def _from_dict(content: Mapping[str, Any], use: Use) -> Any:
    """Return the configuration that a checkpoint describes."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        values[key] = tuple(value) if isinstance(value, list) else value
    name = values.pop("name")
    kind = PretrainedConfig if name in ("kept", "tuned") else encoders_for(use)[name].config
    return kind(**values)
