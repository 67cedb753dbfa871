"""What the encoders of an interaction model read: tokens, or the states of frozen encoders, encoded once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from dnalm.config import nearest
from dnalm.data.pair_batches import PairTokens, Source
from dnalm.data.pairs import PairSet
from dnalm.data.state_cache import StateStore
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.formats.hub import in_cache, is_offline
from dnalm.models.backbone_names import dna_backbone, molecule_backbone
from dnalm.models.backbones import Backbone, Spans
from dnalm.models.bags import MorganConfig
from dnalm.models.cross_attention import CrossAttentionConfig, PooledAttentionConfig
from dnalm.models.heads import PairHeadConfig
from dnalm.models.kept import KeptConfig
from dnalm.models.pair import rebuilt
from dnalm.models.pair_shape import (
    GENE_ENCODERS,
    MOLECULE_ENCODERS,
    EncodersConfig,
    GeneShape,
    HeadShape,
    InteractionShape,
    MoleculeShape,
    Texts,
    TuningConfig,
    is_kept,
    pooling_of,
)
from dnalm.models.tuned import TunedConfig
from dnalm.models.windowed import WindowedTexts

ModelName = Literal["original", "foundation", "foundation-pooled"]
SideName = Literal["gene", "molecule"]


def attention_of(model: ModelName, attention: CrossAttentionConfig) -> CrossAttentionConfig | None:
    """Return the shape of a model's cross-attention; None where it has none."""
    if model == "original":
        return None
    kind = PooledAttentionConfig if model == "foundation-pooled" else CrossAttentionConfig
    return kind(**asdict(attention))


def shape_of(
    config: EncodersConfig,
    characters: Callable[[], str],
    attention: CrossAttentionConfig | None,
    tuning: TuningConfig | None = None,
) -> tuple[InteractionShape, dict[str, Backbone]]:
    """Return the shape that a command line asks for, and the pretrained encoders that it needs, by side.

    Args:
        config: what reads genes and molecules.
        characters: gives the vocabulary of an LSTM.
        attention: the shape of a cross-attention head; None for the published classifier.
        tuning: which weights of pretrained encoders are trained; None for none.

    Raises:
        InputError: if an encoder does not exist or is damaged, or there is nothing to tune.
    """
    backbones: dict[str, Backbone] = {}
    gene: GeneShape
    molecule: MoleculeShape
    if config.dna_encoder in GENE_ENCODERS:
        gene = GENE_ENCODERS[config.dna_encoder]()
    else:
        _check_name(config.dna_encoder, "--dna", config.dna_revision, [*GENE_ENCODERS, "dnabert2"])
        opened = dna_backbone(config.dna_encoder, config.dna_revision or None, config.gene_windows)
        backbones["gene"], gene = opened, _pretrained(opened, config.dna_revision, tuning)
    if config.mol_encoder in MOLECULE_ENCODERS:
        molecule = MOLECULE_ENCODERS[config.mol_encoder]()
    else:
        _check_name(config.mol_encoder, "--mol", config.mol_revision, [*MOLECULE_ENCODERS, "chemberta"])
        opened = molecule_backbone(config.mol_encoder, config.mol_revision or None, config.smiles_tokenizer)
        backbones["molecule"], molecule = opened, _pretrained(opened, config.mol_revision, tuning)
    if tuning and tuning.any and not backbones:
        raise InputError(
            "--no-freeze, --unfreeze-* and --lora-rank are for pretrained encoders, but "
            f"{config.dna_encoder} and {config.mol_encoder} begin untrained, and are trained anyway; leave "
            "them out, or give a model to --dna-encoder or --mol-encoder"
        )
    head: HeadShape = attention or PairHeadConfig(pooling_of(gene), pooling_of(molecule))
    vocabulary = characters() if config.mol_encoder == "lstm" else ""
    shape = InteractionShape(
        gene,
        molecule,
        head,
        vocabulary,
        config.dna_length,
        config.smiles_length,
        _fingerprint(molecule) if config.morgan else None,
    )
    return shape, backbones


def _pretrained(backbone: Backbone, revision: str, tuning: TuningConfig | None) -> KeptConfig | TunedConfig:
    """Return what stands in a model for a pretrained encoder, frozen or trained with it."""
    about = (backbone.width, backbone.causal, backbone.parameters, backbone.source)
    known = (*about, revision, dict(backbone.identity))
    if tuning is None or not tuning.any:
        return KeptConfig(*known)
    return TunedConfig(*known, encoder=rebuilt(backbone.encoder), lora_rank=tuning.lora_rank)


def _fingerprint(molecule: MoleculeShape) -> MorganConfig:
    """Return the shape of a fingerprint beside the encoder of molecules: as wide as its states.

    Raises:
        InputError: if that encoder reads a fingerprint itself.
    """
    if isinstance(molecule, MorganConfig):
        raise InputError(
            "--morgan adds a fingerprint to what another encoder reads of a molecule, but --mol-encoder "
            "morgan reads it already; leave --morgan out"
        )
    return MorganConfig(width=molecule.width)


def _check_name(name: str, side: str, revision: str, known: Sequence[str]) -> None:
    """Refuse what is neither here nor a name: a mistake in typing, most likely.

    What could be a hub name is one where its commit is told, or the hub's cache holds it; else only where no
    folder begins as it does, and it could be fetched.
    """
    path = Path(name)
    if name in known or path.exists():
        return
    if name.count("/") == 1:
        beside = path.parent.is_dir()
        if revision or in_cache(name) or not (beside or is_offline()):
            return
        inside = sorted(each.name for each in path.parent.iterdir() if each.is_dir()) if beside else []
        raise InputError(
            f"{side}-encoder: there is no folder {name}, and no model of this hub name in the hub's cache"
            f"{nearest(path.name, inside) or '; check the path.'} If the hub's is meant, run `hf download "
            f"{name} --revision COMMIT` where there is a network, with the same HF_HOME, and give "
            f"{side}-revision COMMIT: the 40 digits that https://huggingface.co/{name}/commits/main shows"
        )
    raise InputError(
        f"{side}-encoder: expected {', '.join(known)}, a hub name such as OWNER/NAME, or the folder of a "
        f"model, got {name!r}{nearest(name, list(known))}"
    )


def store_of(given: Path | None, data: Path) -> Path:
    """Return where states are kept: as given, or beside the pairs."""
    return data.parent / "states" if given is None else given


@dataclass(frozen=True)
class Reading:
    """Where states are kept, and how they are made where they are not."""

    store: Path
    """Folder of all stores."""
    processor: Processor
    say: Callable[[str], None]

    def tokens(
        self, shape: InteractionShape, texts: Texts | PairSet, backbones: Mapping[str, Backbone] | None = None
    ) -> PairTokens:
        """Return what the encoders of a model read of a set: each gene and molecule is encoded once, ever.

        Args:
            shape: of the model.
            texts: the genes and molecules of a set, or others.
            backbones: the pretrained encoders, where they are open already; else they are opened if needed.

        Raises:
            InputError: if a pretrained encoder is needed and is not where it was, or is another one.
        """
        kept: dict[str, Source | None] = {"gene": None, "molecule": None}
        sides: tuple[tuple[SideName, GeneShape | MoleculeShape, list[str]], ...] = (
            ("gene", shape.gene, texts.sequences),
            ("molecule", shape.molecule, texts.smiles),
        )
        for side, part, read in sides:
            opened = (backbones or {}).get(side)
            if isinstance(part, TunedConfig):
                opened = opened or _reopened(side, part, "it alone knows how a text is read")
                if told := opened.report(read):
                    self.say(told)
                segments = opened.segments if shape.attends else 1
                kept[side] = WindowedTexts(read, opened.windows, segments)
            elif isinstance(part, KeptConfig):
                kept[side] = self._states(side, part, read, opened, shape.attends)
        return shape.tokens(texts, kept["gene"], kept["molecule"])

    def missing(self, shape: InteractionShape, texts: Texts | PairSet) -> int:
        """Return how many genes and molecules a frozen encoder would have to read first."""
        return sum(
            StateStore(self.store, part.identity, part.width).lacks(read)
            for part, read in ((shape.gene, texts.sequences), (shape.molecule, texts.smiles))
            if is_kept(part)
        )

    def spans(self, side: SideName, part: KeptConfig, texts: Sequence[str]) -> list[Spans]:
        """Return which letters of each text its states stand for; the pretrained encoder is opened for it.

        Args:
            side: of the model.
            part: what stands there.
            texts: genes or molecules.

        Raises:
            InputError: if the encoder is not where it was, or is another one.
        """
        backbone = _reopened(side, part, "it alone knows which bases or atoms its states stand for")
        return [backbone.spans(text) for text in texts]

    def _states(
        self,
        side: SideName,
        part: KeptConfig,
        texts: Sequence[str],
        backbone: Backbone | None,
        attends: bool,
    ) -> Source:
        store = StateStore(self.store, part.identity, part.width)
        lacks = store.lacks(texts)
        if lacks and backbone is None:
            lacking = f"its states of these genes or molecules are not all in {self.store}"
            backbone = _reopened(side, part, lacking)
        if backbone is not None:
            if told := backbone.report(texts):
                self.say(told)
            if lacks:
                backbone.encoder.to(self.processor.fabric().device)
                store.fill(texts, backbone.encode, self.say)
        states = store.states(texts)
        return states if attends else states.only_means()


def _reopened(side: SideName, part: KeptConfig, needed: str) -> Backbone:
    """Return the pretrained encoder of a model that is trained; `needed` says why it must be there."""
    try:
        if side == "gene":
            windows = part.identity["windows"]
            count = windows if isinstance(windows, int) else 0
            backbone = dna_backbone(part.source, part.revision or None, count)
        else:
            how = part.identity["smiles_tokenizer"]
            backbone = molecule_backbone(part.source, part.revision or None, how)
    except ValueError as error:
        raise InputError(
            f"{part.source}: the encoder that the model was trained with cannot be opened ({error}), and "
            f"{needed}; put it back, or train again"
        ) from error
    decides = {name: value for name, value in part.identity.items() if not _is_own(part, name)}
    changed = [name for name, value in decides.items() if backbone.identity.get(name) != value]
    if changed:
        what = "weights" if "weights" in changed else " and ".join(changed)
        raise InputError(
            f"{part.source}: has other {what} than the encoder that the model was trained with; put "
            "that one back, or train again"
        )
    return backbone


def _is_own(part: KeptConfig, name: str) -> bool:
    """Whether a value of an encoder's identity is not needed again: weights that were trained further."""
    return isinstance(part, TunedConfig) and name == "weights"
