"""What the result files hold: one schema, shared by the code that writes them and the reports that read them.

A file is JSON; its keys are the field names of the classes below, and it may hold more. A float that is null
in the file is NaN in Python. Intervals are 95 % bootstrap intervals.

Shapes used below
    L  bases in a window             K  bins of a histogram
    E  epochs, the untrained model being the first
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from dnalm.bootstrap import Estimate
from dnalm.errors import InputError
from dnalm.files import finite, read_json, write_json

T = TypeVar("T")


class FieldError(Exception):
    """A field that is missing or has the wrong type; the message is its dotted name."""


@dataclass(frozen=True)
class Training:
    """How the training of a binding or pair model went."""

    epochs: int
    best_epoch: int
    """The epoch whose weights were saved."""
    seconds: float
    history: dict[str, list[float]]
    """Curves, each [E]; `epoch` is one of them."""
    states_seconds: float = 0.0
    """Time to compute the states of a frozen core."""

    def check_curves(self, *names: str) -> None:
        """Raise FieldError unless each named curve has one value an epoch."""
        epochs = self.history.get("epoch")
        for name in ("epoch", *names):
            if not epochs or len(self.history.get(name, [])) != len(epochs):
                raise FieldError(f"training.history.{name}")


# Language models: `metrics` of a run.json


@dataclass(frozen=True)
class MarkovModel:
    """An interpolated Markov model."""

    order: int
    strands: int
    bits: float
    """Bits per base."""


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
    """Bits per base of the best Markov model minus those of the language model."""

    value: float
    low: float
    high: float
    winner: str
    """model, markov or neither."""


@dataclass(frozen=True)
class LanguageMetrics:
    """Results of a pretraining run."""

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
    """Curves by evaluation; `iterations` counts steps."""


# Binding models: results_NAME.json and evaluation_*.json


@dataclass(frozen=True)
class BindingScores:
    """Scores of a binding model on some windows."""

    pearson_r: Estimate
    pearson_r_batches: float
    """Mean R over batches of 64 windows, as published."""
    mse: float
    auroc: float
    auprc: float
    median_window_r: float
    windows: int
    bases: int


@dataclass(frozen=True)
class BindingModelInfo:
    """What a binding model is."""

    kind: str
    tune: str
    both_strands: bool
    random_core: bool
    causal: bool
    parameters: int
    trained_parameters: int | None
    core: str | None = None
    weights: str | None = None
    """Digest of the weights."""
    trained_as: Any = None
    """Settings of the training."""


@dataclass(frozen=True)
class Split:
    """How windows were divided into parts."""

    kind: str
    digest: str
    windows: dict[str, int | None]
    part: str | None = None
    """The part that was evaluated, in results of a training."""
    near_duplicates: dict[str, int] | None = None
    """Windows of a part that nearly equal one of an earlier part."""


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
    """Bases by true score (row) and predicted score (column)."""

    edges: list[float]
    """[K + 1], of both axes."""
    counts: list[list[float]]
    """[K, K]."""

    def __post_init__(self) -> None:
        if not self.counts or {len(self.edges) - 1} != {len(self.counts), *map(len, self.counts)}:
            raise FieldError("counts")


@dataclass(frozen=True)
class BindingDetail:
    """What is drawn of a model's predictions."""

    tracks: list[Track]
    density: Density
    error_by_position: list[float]
    """Root mean squared error, [L]."""


@dataclass(frozen=True)
class BindingEntry:
    """A model, or a baseline without training, in an evaluation."""

    scores: BindingScores
    model: BindingModelInfo | None = None
    """None for a baseline."""
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
    VERSION: ClassVar[int] = 1

    model: BindingModelInfo
    split: Split
    training: Training
    scores: BindingScores
    detail: BindingDetail | None = None
    peak_memory_bytes: float | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.split.part is None:
            raise FieldError("split.part")
        self.training.check_curves("train_loss", "val_loss", "pearson_r")


@dataclass(frozen=True)
class BindingEvaluation:
    """evaluation_*.json, written by `evaluate`."""

    FORMAT: ClassVar[str] = "dnalm-binding-evaluation"
    VERSION: ClassVar[int] = 1

    part: str
    split: Split
    models: dict[str, BindingEntry]
    baselines: dict[str, BindingEntry]
    pairs: list[Difference]

    def __post_init__(self) -> None:
        for name, entry in self.models.items():
            if entry.model is None:
                raise FieldError(f"models.{name}.model")


# Pair models: results.json and evaluation*.json


@dataclass(frozen=True)
class GroupedAuroc:
    """Mean AUROC within one gene or one molecule."""

    value: float
    groups: int


@dataclass(frozen=True)
class Reliability:
    """Predicted probability against the observed fraction of positives."""

    edges: list[float]
    """[K + 1]."""
    predicted: list[float]
    """Mean of a bin, [K]."""
    observed: list[float]
    """[K]."""
    count: list[float]
    """Pairs, [K]."""

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
    """What a pair model is."""

    kind: str
    parameters: int
    trained_parameters: int
    weights: str | None = None
    """Digest of the weights."""


@dataclass(frozen=True)
class Gain:
    """AUROC of a model minus that of the best baseline, paired."""

    rung: str | None
    """Name of that baseline."""
    value: float
    low: float
    high: float

    @property
    def interval(self) -> Estimate:
        """The difference with its interval."""
        return Estimate(self.value, self.low, self.high)


@dataclass(frozen=True)
class PairEntry:
    """A model or a baseline in an evaluation; only `scores` is known of a model's own training."""

    scores: PairScores
    sequenced: PairScores | None = None
    """Over the pairs whose gene has an mRNA or a CDS."""
    model: PairModelInfo | None = None
    """None for a baseline."""
    path: str = ""
    """The run, as it was named to `interact evaluate`."""
    shuffled_genes: PairScores | None = None
    """With each gene's sequence replaced by another one's."""
    shuffled_molecules: PairScores | None = None
    minus_best_rung: Gain | None = None


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How pairs were divided and negatives made: an AUROC means nothing without it."""

    split: str
    negatives: str
    ratio: float | None
    """Negatives for each positive."""
    seed: int
    digest: str
    """Of the prepared pairs and their parts."""

    @property
    def protocol(self) -> "Protocol":
        """These fields alone."""
        return Protocol(**{each.name: getattr(self, each.name) for each in dataclasses.fields(Protocol)})


@dataclass(frozen=True, kw_only=True)
class PairResults(Protocol):
    """results.json, written by `interact train`."""

    FORMAT: ClassVar[str] = "dnalm-interaction-results"
    VERSION: ClassVar[int] = 1

    name: str
    model: PairModelInfo
    training: Training
    validation: PairScores
    node_rate_validation: float
    """AUROC of the node-rate baseline on the validation part."""
    temperature: float | None = None

    def __post_init__(self) -> None:
        self.training.check_curves("train_loss", "val_bce", "val_auroc")


@dataclass(frozen=True, kw_only=True)
class PairEvaluation(Protocol):
    """evaluation*.json, written by `interact evaluate`."""

    FORMAT: ClassVar[str] = "dnalm-interaction-evaluation"
    VERSION: ClassVar[int] = 1

    part: str
    rows: int
    positives: int
    models: dict[str, PairEntry]
    ladder: dict[str, PairEntry]
    """Baselines by name."""
    best_rung: str | None
    warnings: list[str]
    pairs: list[Difference] = field(default_factory=list)
    """Absent before 0.1.0."""

    def __post_init__(self) -> None:
        if not self.ladder:
            raise FieldError("ladder")
        required = ("model", "shuffled_genes", "shuffled_molecules", "minus_best_rung")
        for name, entry in self.models.items():
            for key in required:
                if getattr(entry, key) is None:
                    raise FieldError(f"models.{name}.{key}")


# Reading and writing

SCHEMAS: dict[str, type[Any]] = {
    kind.FORMAT: kind for kind in (BindingResults, BindingEvaluation, PairResults, PairEvaluation)
}
"""The class of each format."""


def read(path: Path, kind: type[T]) -> T:
    """Read a result file.

    Args:
        path: of the file.
        kind: a class above with a FORMAT.

    Raises:
        InputError: naming the file and the field, if it has another format or version, or is damaged.
    """
    schema: Any = kind
    content, form, version = read_json(path), schema.FORMAT, schema.VERSION
    name = content.get("format") if isinstance(content, dict) else type(content).__name__
    if name != form:
        raise InputError(f"{path}: expected the format {form}, got {name}; move the file out of this folder")
    if content.get("format_version") != version:
        raise InputError(
            f"{path}: expected version {version} of its format, got {content.get('format_version')}; "
            "was it written by another version of dnalm?"
        )
    return decode(content, kind, path)


def decode(content: Any, kind: type[T], path: Path) -> T:
    """Return JSON content as one of the classes above.

    Raises:
        InputError: naming `path` and the field, if a field is missing or has the wrong type.
    """
    try:
        made: T = _decode(content, kind)
    except FieldError as error:
        raise InputError(
            f"{path}: damaged: {error} is missing or has the wrong type; run the command that wrote it again"
        ) from error
    return made


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result file.

    Args:
        path: of the file.
        content: `format`, `format_version`, all fields of that format, and any others.

    Raises:
        FieldError: if `content` does not fit the schema.
    """
    _decode(finite(dict(content)), SCHEMAS[content["format"]])
    write_json(path, dict(content))


def _decode(value: Any, kind: Any) -> Any:
    """Return JSON as `kind`; a FieldError has the dotted name of what is wrong, "" for `value` itself."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if NoneType in inner:
        return None if value is None else _decode(value, inner[0])
    if kind is float:
        if value is None:
            return math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif kind in (int, str, bool):
        if type(value) is kind:
            return value
    elif origin is list:
        if isinstance(value, list):
            return [_inside(item, inner[0], str(row)) for row, item in enumerate(value)]
    elif origin is dict:
        if isinstance(value, dict):
            return {name: _inside(item, inner[1], name) for name, item in value.items()}
    elif isinstance(value, dict):
        return _object(value, kind)
    raise FieldError("")


def _object(value: dict[str, Any], kind: Any) -> Any:
    """Return a JSON object as a dataclass or a NamedTuple."""
    hints = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        every = dataclasses.fields(kind)
        optional = {
            each.name
            for each in every
            if each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING
        }
        names = [each.name for each in every]
    else:
        names, optional = list(kind._fields), set()
    for name in names:
        if name not in value and name not in optional:
            raise FieldError(name)
    return kind(**{name: _inside(value[name], hints[name], name) for name in names if name in value})


def _inside(value: Any, kind: Any, name: str) -> Any:
    try:
        return _decode(value, kind)
    except FieldError as error:
        raise FieldError(f"{name}.{error}" if str(error) else name) from error
