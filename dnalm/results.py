"""What the result files hold: one schema, shared by the code that writes them and the reports that read them.

A file is JSON; its keys are the fields of the classes below, and it may hold more. Null for a float is NaN.

Shapes: L bases in a window, K bins of a histogram, E epochs (the untrained model is the first).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from dnalm.bootstrap import Estimate
from dnalm.errors import InputError
from dnalm.files import FieldError, finite, from_json, read_json, write_json

T = TypeVar("T")
VERSION = 1  # of all formats


@dataclass(frozen=True)
class Training:
    """Training of a binding or pair model: curves by name, [E], and the epoch whose weights were saved."""

    epochs: int
    best_epoch: int
    seconds: float
    history: dict[str, list[float]]
    states_seconds: float = 0.0

    def check_curves(self, *names: str) -> None:
        """Raise FieldError unless each named curve has one value an epoch."""
        epochs = self.history.get("epoch")
        for name in ("epoch", *names):
            if not epochs or len(self.history.get(name, [])) != len(epochs):
                raise FieldError(f"training.history.{name}")


@dataclass(frozen=True)
class MarkovModel:
    """An interpolated Markov model and its bits per base."""

    order: int
    strands: int
    bits: float


@dataclass(frozen=True)
class MarkovLadder:
    """Bits per base of Markov models of order 0, 1, ... on the bases of the language model."""

    train_bases: int
    validation_bases: int
    one_strand: list[float]
    both_strands: list[float]
    best: MarkovModel


@dataclass(frozen=True)
class MarkovGain:
    """Which has fewer bits per base: model, markov or neither."""

    winner: str


@dataclass(frozen=True)
class LanguageMetrics:
    """Results of a pretraining run; the curves of `history` are by evaluation."""

    mode: str
    vocab_size: int
    parameters: int
    step: int
    tokens: int
    best_val_loss: float
    bits_per_base: Estimate
    ladder: MarkovLadder
    gain: MarkovGain
    verdict: str
    history: dict[str, list[float]]


@dataclass(frozen=True)
class BindingScores:
    """Scores on some windows; `pearson_r_batches` is the mean over batches of 64 windows, as published."""

    pearson_r: Estimate
    pearson_r_batches: float
    mse: float
    auroc: float
    auprc: float
    median_window_r: float
    windows: int
    bases: int


@dataclass(frozen=True)
class BindingModelInfo:
    """What a binding model is; `weights` is their digest, `trained_as` the settings of its training."""

    kind: str
    tune: str
    both_strands: bool
    random_core: bool
    causal: bool
    parameters: int
    trained_parameters: int | None
    core: str | None = None
    weights: str | None = None
    trained_as: Any = None


@dataclass(frozen=True)
class Split:
    """How windows were divided into parts; `part` is the one that a training was evaluated on."""

    kind: str
    digest: str
    windows: dict[str, int | None]
    part: str | None = None
    near_duplicates: dict[str, int] | None = None


@dataclass(frozen=True)
class Track:
    """True and predicted scores of a window, each [L]."""

    window: str
    truth: list[float]
    predicted: list[float]

    def __post_init__(self) -> None:
        if not self.truth or len(self.truth) != len(self.predicted):
            raise FieldError("predicted")


@dataclass(frozen=True)
class Density:
    """Bases by true score (row) and predicted score (column), [K, K], between edges [K + 1]."""

    edges: list[float]
    counts: list[list[float]]

    def __post_init__(self) -> None:
        if not self.counts or {len(self.edges) - 1} != {len(self.counts), *map(len, self.counts)}:
            raise FieldError("counts")


@dataclass(frozen=True)
class BindingDetail:
    """What figures show of a model's predictions; `error_by_position` is a root mean square, [L]."""

    tracks: list[Track]
    density: Density
    error_by_position: list[float]


@dataclass(frozen=True)
class BindingEntry:
    """A model, or a baseline without training (`model` is None), in an evaluation."""

    scores: BindingScores
    model: BindingModelInfo | None = None
    detail: BindingDetail | None = None


@dataclass(frozen=True)
class Difference:
    """A score of the model `one` minus that of `other`, paired."""

    one: str
    other: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BindingResults:
    """results_NAME.json, written by `finetune` and `baseline`."""

    FORMAT: ClassVar[str] = "dnalm-binding-results"

    model: BindingModelInfo
    split: Split
    training: Training
    scores: BindingScores
    detail: BindingDetail | None = None
    peak_memory_bytes: float | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if not self.split.part:
            raise FieldError("split.part")
        self.training.check_curves("train_loss", "val_loss", "pearson_r")


@dataclass(frozen=True)
class BindingEvaluation:
    """evaluation_*.json, written by `evaluate`."""

    FORMAT: ClassVar[str] = "dnalm-binding-evaluation"

    part: str
    split: Split
    models: dict[str, BindingEntry]
    baselines: dict[str, BindingEntry]
    pairs: list[Difference]

    def __post_init__(self) -> None:
        if missing := [name for name, entry in self.models.items() if entry.model is None]:
            raise FieldError(f"models.{missing[0]}.model")


@dataclass(frozen=True)
class GroupedAuroc:
    """Mean AUROC within one gene or one molecule."""

    value: float
    groups: int


@dataclass(frozen=True)
class Reliability:
    """Mean prediction, fraction of positives and pairs of each bin, [K], between edges [K + 1]."""

    edges: list[float]
    predicted: list[float]
    observed: list[float]
    count: list[float]

    def __post_init__(self) -> None:
        bins = len(self.count)
        if not bins or [len(self.edges) - 1, len(self.predicted), len(self.observed)] != [bins] * 3:
            raise FieldError("edges")


@dataclass(frozen=True)
class PairScores:
    """Scores of a model or a baseline on some pairs."""

    auroc: Estimate
    auprc: Estimate
    auroc_per_gene: GroupedAuroc
    auroc_per_molecule: GroupedAuroc
    prevalence: float
    ef1: float
    brier: float
    ece: float
    reliability: Reliability
    rows: int
    positives: int


@dataclass(frozen=True)
class PairModelInfo:
    """What a pair model is; `weights` is their digest."""

    kind: str
    parameters: int
    trained_parameters: int
    weights: str | None = None


@dataclass(frozen=True)
class Gain:
    """AUROC of a model minus that of the best baseline, `rung`, paired."""

    rung: str | None
    value: float
    low: float
    high: float

    @property
    def interval(self) -> Estimate:
        """The difference with its interval."""
        return Estimate(self.value, self.low, self.high)


@dataclass(frozen=True)
class PairEntry:
    """A model or a baseline (`model` is None) in an evaluation.

    `sequenced` is over the pairs whose gene has an mRNA or a CDS; shuffled: with each gene or molecule
    replaced by another one. Of a training's own results only `scores` and `model` are known.
    """

    scores: PairScores
    sequenced: PairScores | None = None
    model: PairModelInfo | None = None
    path: str = ""
    shuffled_genes: PairScores | None = None
    shuffled_molecules: PairScores | None = None
    minus_best_rung: Gain | None = None


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How pairs were divided, and `ratio` negatives made for each positive: what an AUROC depends on."""

    split: str
    negatives: str
    ratio: float | None
    seed: int
    digest: str

    @property
    def protocol(self) -> "Protocol":
        """These fields alone."""
        return Protocol(**{each.name: getattr(self, each.name) for each in dataclasses.fields(Protocol)})


@dataclass(frozen=True, kw_only=True)
class PairResults(Protocol):
    """results.json, written by `interact train`."""

    FORMAT: ClassVar[str] = "dnalm-interaction-results"

    name: str
    model: PairModelInfo
    training: Training
    validation: PairScores
    node_rate_validation: float
    temperature: float | None = None

    def __post_init__(self) -> None:
        self.training.check_curves("train_loss", "val_bce", "val_auroc")


@dataclass(frozen=True, kw_only=True)
class PairEvaluation(Protocol):
    """evaluation*.json, written by `interact evaluate`."""

    FORMAT: ClassVar[str] = "dnalm-interaction-evaluation"

    part: str
    rows: int
    positives: int
    models: dict[str, PairEntry]
    ladder: dict[str, PairEntry]
    best_rung: str | None
    warnings: list[str]
    pairs: list[Difference] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.ladder:
            raise FieldError("ladder")
        for name, entry in self.models.items():
            for key in ("model", "shuffled_genes", "shuffled_molecules", "minus_best_rung"):
                if getattr(entry, key) is None:
                    raise FieldError(f"models.{name}.{key}")


SCHEMAS: dict[str, type[Any]] = {
    kind.FORMAT: kind for kind in (BindingResults, BindingEvaluation, PairResults, PairEvaluation)
}
"""The class of each format."""


def read(path: Path, kind: type[T]) -> T:
    """Read a result file as one of the classes above that have a FORMAT.

    Raises:
        InputError: naming the file and the field, if it has another format or version, or is damaged.
    """
    content = read_json(path)
    got = content if isinstance(content, dict) else {"format": type(content).__name__}
    (form,) = (form for form, schema in SCHEMAS.items() if schema is kind)
    if (got.get("format"), got.get("format_version")) != (form, VERSION):
        raise InputError(
            f"{path}: expected {form}, version {VERSION}, got {got.get('format')}, version "
            f"{got.get('format_version')}; move it elsewhere"
        )
    return decode(content, kind, path)


def decode(content: Any, kind: type[T], path: Path) -> T:
    """Return JSON content as one of the classes above.

    Raises:
        InputError: naming `path` and the field, if a field is missing or has the wrong type.
    """
    try:
        made: T = from_json(content, kind)
    except FieldError as error:
        raise InputError(
            f"{path}: damaged: {error} is missing or of the wrong type; make it again"
        ) from error
    return made


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result file: `format`, `format_version`, all fields of that format, and any others.

    Raises:
        FieldError: if `content` does not fit the schema.
    """
    from_json(finite(dict(content)), SCHEMAS[content["format"]])
    write_json(path, dict(content))
