"""What the encoders of a pair model read: tokens, or cached states of frozen encoders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dnalm.data.pair_batches import PairTokens, Source
from dnalm.data.pairs import PairSet
from dnalm.data.state_cache import StateStore
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.models.bags import MorganConfig
from dnalm.models.cross_attention import CrossAttentionConfig, PooledAttentionConfig
from dnalm.models.heads import PairHeadConfig, Pooling
from dnalm.models.pair_shape import (
    EncodersConfig,
    HeadShape,
    InteractionShape,
    PairTexts,
    TuningConfig,
)
from dnalm.models.pretrained import PretrainedConfig, PretrainedEncoder
from dnalm.models.pretrained_open import (
    check_encoder_name,
    open_gene_encoder,
    open_molecule_encoder,
    reopen,
)
from dnalm.models.registry import EncoderEntry, encoders_for
from dnalm.models.token_windows import Spans, TokenWindows

ModelName = Literal["original", "foundation", "foundation-pooled"]
SideName = Literal["gene", "molecule"]


def attention_of(model: ModelName, attention: CrossAttentionConfig) -> CrossAttentionConfig | None:
    """Return the config of a model's cross-attention; None if it has none."""
    if model == "original":
        return None
    kind = PooledAttentionConfig if model == "foundation-pooled" else CrossAttentionConfig
    return kind(**asdict(attention))


def shape_of(
    config: EncodersConfig,
    characters: Callable[[], str],
    attention: CrossAttentionConfig | None,
    tuning: TuningConfig | None = None,
) -> tuple[InteractionShape, dict[str, PretrainedEncoder]]:
    """Return the shape of a new pair model, and the pretrained encoders that it needs, by side.

    Args:
        config: of the encoders.
        characters: returns the vocabulary of an LSTM.
        attention: of a cross-attention head; None for the published classifier.
        tuning: which weights of pretrained encoders are trained; None for none.

    Raises:
        InputError: if an encoder does not exist or is damaged, or there is no pretrained encoder to tune.
    """
    pretrained: dict[str, PretrainedEncoder] = {}
    gene_encoders, molecule_encoders = encoders_for("gene"), encoders_for("molecule")
    gene_encoder = gene_encoders.get(config.dna_encoder)
    molecule_encoder = molecule_encoders.get(config.mol_encoder)
    if gene_encoder is None:
        known = [*gene_encoders, "dnabert2"]
        check_encoder_name(config.dna_encoder, "dna_encoder", config.dna_revision, known)
        pretrained["gene"] = open_gene_encoder(config.dna_encoder, config.dna_revision, config.gene_windows)
    if molecule_encoder is None:
        known = [*molecule_encoders, "chemberta"]
        check_encoder_name(config.mol_encoder, "mol_encoder", config.mol_revision, known)
        pretrained["molecule"] = open_molecule_encoder(
            config.mol_encoder, config.mol_revision, config.smiles_tokenizer
        )
    tuning = tuning or TuningConfig()
    if tuning.any and not pretrained:
        raise InputError(
            f"`no_freeze`, `unfreeze_last`, `unfreeze_at_epoch` and `lora_rank` are for pretrained encoders, "
            f"but {config.dna_encoder} and {config.mol_encoder} are trained from the start; leave them out, "
            "or give a pretrained model as `dna_encoder` or `mol_encoder`"
        )

    def config_of(side: str, encoder: EncoderEntry | None, revision: str) -> Any:
        if encoder is not None:
            return encoder.config()
        return pretrained[side].config(revision, trained=tuning.any, lora_rank=tuning.lora_rank)

    gene = config_of("gene", gene_encoder, config.dna_revision)
    molecule = config_of("molecule", molecule_encoder, config.mol_revision)
    head: HeadShape = attention or PairHeadConfig(_pooling(gene_encoder), _pooling(molecule_encoder))
    shape = InteractionShape(
        gene,
        molecule,
        head,
        characters() if molecule_encoder is not None and molecule_encoder.has_vocabulary else "",
        config.dna_length,
        config.smiles_length,
        _fingerprint(molecule) if config.morgan else None,
    )
    return shape, pretrained


def _pooling(encoder: EncoderEntry | None) -> Pooling:
    return "mean" if encoder is None else encoder.pooling


def _fingerprint(molecule: Any) -> MorganConfig:
    """Return the config of a fingerprint beside an encoder of molecules: as wide as its states."""
    if isinstance(molecule, MorganConfig):
        raise InputError(
            "`morgan` adds a fingerprint to what another encoder reads of a molecule, but the `mol_encoder` "
            "morgan reads it already; leave `morgan` out"
        )
    return MorganConfig(width=molecule.width)


def store_of(store: Path | None, data: Path) -> Path:
    """Return the folder of cached states: as given, or beside the pairs."""
    return data.parent / "states" if store is None else store


@dataclass(frozen=True)
class InputEncoder:
    """Turns genes and molecules into what a pair model reads; states of frozen encoders are cached."""

    store: Path
    """Folder of the caches of all encoders."""
    processor: Processor
    say: Callable[[str], None]

    def tokens(
        self,
        shape: InteractionShape,
        texts: PairTexts | PairSet,
        pretrained: Mapping[str, PretrainedEncoder] | None = None,
    ) -> PairTokens:
        """Return what the encoders of a model read; a frozen one encodes each gene and molecule once, ever.

        `pretrained` encoders are those that are open already; others are opened if needed.

        Raises:
            InputError: if a pretrained encoder is needed and is gone, or is another one than in training.
        """
        sources: dict[str, Source | None] = {"gene": None, "molecule": None}
        for side, config in shape.pretrained.items():
            opened = (pretrained or {}).get(side)
            read = texts.sequences if side == "gene" else texts.smiles
            if config.frozen:
                sources[side] = self._cached_states(side, config, read, opened, shape.attends)
                continue
            opened = opened or reopen(side, config, "only it can tokenize a text")
            self._say_losses(opened, read)
            sources[side] = TokenWindows(read, opened.tokenize, opened.segments if shape.attends else 1)
        return shape.tokens(texts, sources["gene"], sources["molecule"])

    def missing(self, shape: InteractionShape, texts: PairTexts | PairSet) -> int:
        """Return how many genes and molecules frozen encoders would have to encode first."""
        read = {"gene": texts.sequences, "molecule": texts.smiles}
        return sum(
            self._cache(config).count_missing(read[side])
            for side, config in shape.pretrained.items()
            if config.frozen
        )

    def spans(self, side: SideName, config: PretrainedConfig, texts: Sequence[str]) -> list[Spans]:
        """Return which letters of each text its states stand for, [S, 2]; opens the pretrained encoder.

        Raises:
            InputError: if the encoder is gone, or is another one than in training.
        """
        opened = reopen(side, config, "only it gives the bases or atoms that its states stand for")
        return [opened.spans(text) for text in texts]

    def _cache(self, config: PretrainedConfig) -> StateStore:
        return StateStore(self.store, config.identity, config.width)

    def _say_losses(self, encoder: PretrainedEncoder, texts: Sequence[str]) -> None:
        if losses := encoder.report_losses(texts):
            self.say(losses)

    def _cached_states(
        self,
        side: str,
        config: PretrainedConfig,
        texts: Sequence[str],
        opened: PretrainedEncoder | None,
        attends: bool,
    ) -> Source:
        """Return the cached states of texts, computed if missing; means unless attended to."""
        cache = self._cache(config)
        missing = cache.count_missing(texts)
        if missing and opened is None:
            opened = reopen(side, config, f"{self.store} lacks its states of some genes or molecules")
        if opened is not None:
            self._say_losses(opened, texts)
            if missing:
                opened.module.to(self.processor.fabric().device)
                cache.fill(texts, opened.encode, self.say)
        states = cache.states(texts)
        return states if attends else states.only_means()
