"""What the encoders of a pair model read: tokens, or cached states of frozen encoders."""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dnalm.checkpoint import load_strict, weights_digest
from dnalm.config import nearest
from dnalm.data.pair_batches import PairTokens, Source
from dnalm.data.pairs import PairSet
from dnalm.data.state_cache import StateStore
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.formats.hub import WEIGHTS, hub_folder
from dnalm.models.bags import MorganConfig
from dnalm.models.chemberta import open_chemberta
from dnalm.models.core import load_core
from dnalm.models.cross_attention import CrossAttentionConfig, PooledAttentionConfig
from dnalm.models.dnabert2 import open_dnabert2
from dnalm.models.heads import PairHeadConfig, Side
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import EncodersConfig, InteractionShape, PairTexts, TuningConfig
from dnalm.models.pretrained import PretrainedConfig, PretrainedEncoder, Spans, TokenWindows, Window
from dnalm.models.registry import encoders_for, entry_of
from dnalm.tokens.bpe import DNABPE, RUN, BPETokens
from dnalm.tokens.characters import CharacterTokenizer
from dnalm.tokens.smiles import How, SmilesTokens, SmilesVocabulary

ModelName = Literal["original", "foundation", "foundation-pooled"]
TOKENS = 510
"""Tokens read of a gene, from its start, unless it is read in windows."""
SEGMENTS = 32
"""States of a gene: consecutive segments of equally many tokens, each with the mean of its states."""
HUB_NAMES = {"dnabert2": "zhihan1996/DNABERT-2-117M", "chemberta": "DeepChem/ChemBERTa-77M-MLM"}
"""Short names of models on the hub."""
PINNED = {
    "zhihan1996/DNABERT-2-117M": "7bce263b15377fc15361f52cfab88f8b586abda0",
    "DeepChem/ChemBERTa-77M-MLM": "ed8a5374f2024ec8da53760af91a33fb8f6a15ff",
}
"""Commits of models on the hub that are taken unless a revision is given."""
FILES = ("config.json", "tokenizer.json", "vocab.json", "merges.txt", *WEIGHTS)
"""Files of a hub folder that are read."""


def attention_of(model: str, attention: CrossAttentionConfig) -> CrossAttentionConfig | None:
    """Return the config of the cross-attention of a `ModelName`; None if it has none."""
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

    `characters` returns the vocabulary of an LSTM; without `attention` the head is the published classifier.

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
    head, vocabulary = attention or PairHeadConfig(*poolings), characters() if reads_characters else ""
    morgan = MorganConfig(width=molecule.width) if config.morgan else None
    lengths = config.dna_length, config.smiles_length
    shape = InteractionShape(gene, molecule, head, vocabulary, *lengths, morgan)
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


def open_gene_encoder(name: str, revision: str, gene_windows: int) -> PretrainedEncoder:
    """Open a pretrained encoder of genes.

    Args:
        name: a model of `dnalm pretrain` (folder or `.pt` file), dnabert2, a hub name, or a hub folder.
        revision: commit of a hub name; empty for the pinned one.
        gene_windows: 0 to read the first `TOKENS` tokens, or how many windows, evenly spaced, to read.

    Raises:
        InputError: if there is none, a file is missing, damaged or of another model, or it is untrained.
    """
    path = Path(name)
    reading = {"windows": gene_windows or f"first {TOKENS}", "segments": SEGMENTS}
    if path.suffix == ".pt" or any((path / file).exists() for file in ("checkpoint.json", "checkpoint")):
        return _open_core(path, gene_windows, reading)
    tokenizer, module, revision = _open_hub(name, revision, DNABPE, open_dnabert2)

    def tokenize(sequence: str) -> list[Window]:
        """Return the windows of a gene and their tokens."""
        if gene_windows:
            return [_without_ends(each) for each in tokenizer.windows(sequence, gene_windows, TOKENS)]
        return [_without_ends(tokenizer.encode(sequence, TOKENS))]

    identity = _identity(name, module, tokenizer.digest) | reading
    return PretrainedEncoder(
        name, module, identity, tokenize, SEGMENTS, revision=revision, caution=module.left_out
    )


def open_molecule_encoder(name: str, revision: str, smiles_tokenizer: How) -> PretrainedEncoder:
    """Open a pretrained encoder of molecules.

    Args:
        name: chemberta, a hub name, or a hub folder.
        revision: commit of a hub name; empty for the pinned one.
        smiles_tokenizer: hub, as the hub's tokenizer splits a SMILES; atomwise, atom by atom.

    Raises:
        InputError: if there is none, or a file is missing, damaged or of another model.
    """
    vocabulary, module, revision = _open_hub(name, revision, SmilesVocabulary, open_chemberta)
    longest = module.config.longest

    def tokenize(smiles: str) -> list[Window]:
        return [_without_ends(vocabulary.encode(smiles, smiles_tokenizer, longest))]

    def report_losses(molecules: Sequence[str]) -> str:
        return str(vocabulary.report(molecules, smiles_tokenizer, longest))

    identity = _identity(name, module, vocabulary.digest) | {"smiles_tokenizer": smiles_tokenizer}
    return PretrainedEncoder(name, module, identity, tokenize, None, report_losses, revision, module.left_out)


def reopen(side: str, config: PretrainedConfig) -> PretrainedEncoder:
    """Open the pretrained encoder, gene or molecule, that a trained pair model was trained with.

    Raises:
        InputError: if it cannot be opened, or is another one than in training.
    """
    source, revision, identity = config.source, config.revision, config.identity
    try:
        if side == "gene":
            windows = identity["windows"]
            opened = open_gene_encoder(source, revision, windows if isinstance(windows, int) else 0)
        else:
            opened = open_molecule_encoder(source, revision, identity["smiles_tokenizer"])
    except InputError as error:
        raise InputError(
            f"{source}: the encoder that the model was trained with cannot be opened ({error}); restore it "
            "or train again"
        ) from error
    ignored = () if config.frozen else ("weights",)  # those that were trained further are in the model
    different = [name for name, value in identity.items() if opened.identity.get(name) != value]
    if changed := " and ".join(name for name in different if name not in ignored):
        raise InputError(
            f"{source}: has other {changed} than the encoder that the model was trained with; restore that "
            "one, or train again"
        )
    return opened


def _open_hub(
    name: str, revision: str, tokenizer: Callable[[Path], Any], encoder: Callable[[Path], Any]
) -> tuple[Any, Any, str]:
    """Return the tokenizer, the module and the commit; of a hub folder the revision as it was given."""
    if not Path(name).exists():
        name = HUB_NAMES.get(name, name)
        revision = revision or PINNED.get(name, "")
    folder = hub_folder(name, revision or None, FILES)
    module, tokens = encoder(folder), tokenizer(folder)
    if tokens.vocab_size > module.config.vocab_size:
        raise InputError(
            f"{folder}: its tokenizer has {tokens.vocab_size:,} tokens and its weights have rows for "
            f"{module.config.vocab_size:,}: files of two models are mixed; fetch the model again"
        )
    return tokens, module, revision


def _open_core(path: Path, gene_windows: int, reading: dict[str, Any]) -> PretrainedEncoder:
    """Open a core of `dnalm pretrain`, whose tokens are bases."""
    core = load_core(path, None)
    tokenizer = CharacterTokenizer(core.characters)
    entry = entry_of(core.encoder)
    assert entry is not None
    module = entry.build(core.encoder, core.characters)
    load_strict(core.tensors, module.state_dict(), core.origin)

    def tokenize(sequence: str) -> list[Window]:
        windows = []
        for begin, bases in cut(sequence, core.encoder.block_size, gene_windows):
            first = begin + np.arange(len(bases))
            ids = tokenizer.encode(bases).astype(np.int32)
            windows.append(Window(ids, np.ones(len(bases), np.bool_), np.stack([first, first + 1], axis=1)))
        return windows

    identity = _identity(str(path), module, core.characters) | reading
    return PretrainedEncoder(str(path), module, identity, tokenize, SEGMENTS, caution=core.caution)


def _identity(source: str, module: Any, tokenizer: str) -> dict[str, Any]:
    """Return what determines an encoder's states, but for how it reads: its name, weights and shape."""
    path = Path(source)
    return {
        "name": path.parent.name if path.name == "checkpoint" else path.name,
        "weights": weights_digest(module),
        "config": asdict(module.config),
        "tokenizer": tokenizer,
    }


def _without_ends(tokens: BPETokens | SmilesTokens) -> Window:
    """Return a window whose special tokens at both ends have no state, except in a text without a token."""
    has_state = np.ones(len(tokens.ids), dtype=np.bool_)
    has_state[[0, -1]] = len(tokens.ids) == 2
    return Window(tokens.ids, has_state, tokens.spans)


def cut(sequence: str, longest: int, count: int) -> list[tuple[int, str]]:
    """Cut a gene into the pieces that an encoder reads whose tokens are bases: first base, from 0, and bases.

    Args:
        sequence: DNA or RNA, in either case; it is cut at every other letter, N above all.
        longest: bases of a piece, at most.
        count: 0 for the first `TOKENS` bases, or how many pieces, evenly spaced over the gene.

    Raises:
        InputError: if there is no base.
    """
    pieces = [
        (run.start() + at, run[0][at : at + longest].upper().replace("U", "T"))
        for run in RUN.finditer(sequence)
        for at in range(0, len(run[0]), longest)
    ]
    if not pieces:
        raise InputError(
            f"a gene has no base: expected A, C, G and T, got {sequence[:20]!r} ({len(sequence):,} letters)"
        )
    if count:
        chosen = np.unique(np.linspace(0, len(pieces) - 1, min(count, len(pieces))).round().astype(int))
        return [pieces[at] for at in chosen]
    first, left = [], TOKENS
    for begin, bases in pieces:
        if left > 0:
            first.append((begin, bases[:left]))
        left -= len(bases)
    return first


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
        model: InteractionModel,
        texts: PairTexts | PairSet,
        pretrained: Mapping[str, PretrainedEncoder] | None = None,
        *,
        all_frozen: bool = False,
    ) -> PairTokens:
        """Return what the encoders of a model read; a frozen one encodes each gene and molecule once, ever.

        `pretrained` encoders are open already; others are opened if needed, InputError if they are gone.
        With `all_frozen` those that the model trains count as frozen too.
        """
        shape = model.shape.frozen if all_frozen else model.shape
        sources: dict[str, Source] = {}
        for side in shape.pretrained:
            read = texts.sequences if side == "gene" else texts.smiles
            sources[side] = self._source(side, shape, read, (pretrained or {}).get(side))
        tokens = shape.tokens(texts, sources.get("gene"), sources.get("molecule"))
        return replace(tokens, identity=model.identity_rows(texts))

    def missing(self, shape: InteractionShape, texts: PairTexts | PairSet) -> int:
        """Return how many genes and molecules frozen encoders would have to encode first."""
        read = {"gene": texts.sequences, "molecule": texts.smiles}
        return sum(
            len(self._cache(config).missing(read[side]))
            for side, config in shape.pretrained.items()
            if config.frozen
        )

    def spans(self, side: Side, config: PretrainedConfig, texts: Sequence[str]) -> list[Spans]:
        """Return which letters of each text its states stand for, [S, 2]; opens the pretrained encoder."""
        opened = reopen(side, config)
        return [opened.spans(text) for text in texts]

    def _cache(self, config: PretrainedConfig) -> StateStore:
        return StateStore(self.store, config.identity, config.width)

    def _source(
        self, side: str, shape: InteractionShape, texts: Sequence[str], opened: PretrainedEncoder | None
    ) -> Source:
        """Return windows of tokens, or of a frozen encoder cached states; means unless attended to."""
        config, attends = shape.pretrained[side], shape.attends
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
            try:
                cache.fill(texts, opened.encode, self.say)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                raise InputError(
                    f"{self.store}: states of the {side} encoder cannot be cached here ({error.strerror}); "
                    "set `store` to a folder that can be written"
                ) from error
        states = cache.states(texts)
        return states if attends else states.only_means()
