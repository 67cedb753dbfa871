"""What the encoders of a pair model read: tokens, or cached states of frozen encoders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dnalm.config import nearest
from dnalm.data.pair_batches import PairTokens, Source
from dnalm.data.pairs import PairSet
from dnalm.data.state_cache import StateStore
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.models.bags import MorganConfig
from dnalm.models.cross_attention import CrossAttentionConfig, PooledAttentionConfig
from dnalm.models.heads import PairHeadConfig, Side
from dnalm.models.pair_shape import (
    EncodersConfig,
    InteractionShape,
    PairTexts,
    TuningConfig,
)
from dnalm.models.pretrained import PretrainedConfig, PretrainedEncoder, Spans, TokenWindows
from dnalm.models.pretrained_open import (
    open_gene_encoder,
    open_molecule_encoder,
    reopen,
)
from dnalm.models.registry import encoders_for

ModelName = Literal["original", "foundation", "foundation-pooled"]


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
    tuning = tuning or TuningConfig()
    names: dict[Side, str] = {"gene": config.dna_encoder, "molecule": config.mol_encoder}
    entries = {side: encoders_for(side).get(name) for side, name in names.items()}
    pretrained = {side: _open(side, config) for side, entry in entries.items() if entry is None}
    if tuning.any and not pretrained:
        raise InputError(
            "`no_freeze`, `unfreeze_last`, `unfreeze_at_epoch` and `lora_rank` are for pretrained encoders, "
            f"but {config.dna_encoder} and {config.mol_encoder} are trained from the start; leave them out, "
            "or give a pretrained model as `dna_encoder` or `mol_encoder`"
        )
    gene, molecule = (
        pretrained[side].config(tuning.any, tuning.lora_rank) if entry is None else entry.config()
        for side, entry in entries.items()
    )
    if config.morgan and isinstance(molecule, MorganConfig):
        raise InputError(
            "`morgan` adds a fingerprint to what another encoder reads of a molecule, but the `mol_encoder` "
            "morgan reads it already; leave `morgan` out"
        )
    poolings: list[Any] = [entry.pooling if entry is not None else "mean" for entry in entries.values()]
    reads_characters = any(entry is not None and entry.has_vocabulary for entry in entries.values())
    shape = InteractionShape(
        gene,
        molecule,
        attention or PairHeadConfig(*poolings),
        characters() if reads_characters else "",
        config.dna_length,
        config.smiles_length,
        MorganConfig(width=molecule.width) if config.morgan else None,
    )
    return shape, {str(side): opened for side, opened in pretrained.items()}


def _open(side: Side, config: EncodersConfig) -> PretrainedEncoder:
    """Open the pretrained encoder of one side."""
    if side == "gene":
        option, name, short = "dna_encoder", config.dna_encoder, "dnabert2"
    else:
        option, name, short = "mol_encoder", config.mol_encoder, "chemberta"
    try:
        if side == "gene":
            return open_gene_encoder(name, config.dna_revision, config.gene_windows)
        return open_molecule_encoder(name, config.mol_revision, config.smiles_tokenizer)
    except InputError as error:
        hint = nearest(name, [*encoders_for(side), short])
        raise InputError(f"`{option}`: {error}{hint}") from error


def store_of(store: Path | None, data: Path) -> Path:
    """Return the folder of cached states: as given, or beside the pairs."""
    return data.parent / "states" if store is None else store


@dataclass(frozen=True)
class InputEncoder:
    """Turns genes and molecules into what a pair model reads; states of frozen encoders are cached."""

    store: Path  # Folder of the caches of all encoders
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
        sources: dict[str, Source] = {}
        for side, config in shape.pretrained.items():
            read = texts.sequences if side == "gene" else texts.smiles
            opened = (pretrained or {}).get(side)
            sources[side] = self._source(side, config, read, opened, shape.attends)
        return shape.tokens(texts, sources.get("gene"), sources.get("molecule"))

    def missing(self, shape: InteractionShape, texts: PairTexts | PairSet) -> int:
        """Return how many genes and molecules frozen encoders would have to encode first."""
        read = {"gene": texts.sequences, "molecule": texts.smiles}
        return sum(
            len(self._cache(config).missing(read[side]))
            for side, config in shape.pretrained.items()
            if config.frozen
        )

    def spans(self, side: Side, config: PretrainedConfig, texts: Sequence[str]) -> list[Spans]:
        """Return which letters of each text its states stand for, [S, 2]; opens the pretrained encoder.

        Raises:
            InputError: if the encoder is gone, or is another one than in training.
        """
        opened = reopen(side, config)
        return [opened.spans(text) for text in texts]

    def _cache(self, config: PretrainedConfig) -> StateStore:
        return StateStore(self.store, config.identity, config.width)

    def _source(
        self,
        side: str,
        config: PretrainedConfig,
        texts: Sequence[str],
        opened: PretrainedEncoder | None,
        attends: bool,
    ) -> Source:
        """Return windows of tokens, or of a frozen encoder cached states; means unless attended to."""
        cache = self._cache(config) if config.frozen else None
        missing = cache is not None and cache.missing(texts)
        if opened is None and (missing or cache is None):
            opened = reopen(side, config)
        if opened is not None and (losses := opened.report_losses(texts)):
            self.say(losses)
        if cache is None:
            assert opened is not None
            return TokenWindows(texts, opened.tokenize, opened.segments if attends else 1)
        if missing:
            assert opened is not None
            opened.module.to(self.processor.fabric().device)
            cache.fill(texts, opened.encode, self.say)
        states = cache.states(texts)
        return states if attends else states.only_means()
