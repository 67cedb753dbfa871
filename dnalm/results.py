"""What the result files hold: one schema, shared by the code that writes them and the reports that read them.

A file is JSON; its keys are the fields of the classes below, and it may hold more. Null for a float is NaN.

Shapes: L bases in a window, K bins of a histogram, E epochs (the untrained model is the first).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from dnalm.bootstrap import Estimate
from dnalm.errors import InputError
from dnalm.files import FieldError, finite, from_json, write_json
from dnalm.record import read_versioned

T = TypeVar("T")
VERSION = 1  # of all formats
PRETRAINED = "pretrained"  # The model of a label curve that the others are compared with
RULE = "rule"  # What needs no training in a label curve


def check(right: bool, name: str) -> None:
    """Raise FieldError with the name of the field unless its content is right."""
    if not right:
        raise FieldError(name)


def check_curves(history: Mapping[str, Sequence[float]], where: str, *names: str) -> None:
    """Raise FieldError unless the named curves have the same length, and at least one value."""
    for name in names:
        check(0 < len(history.get(names[0], [])) == len(history.get(name, [])), f"{where}history.{name}")


@dataclass(frozen=True)
class Training:
    """Training of a binding or pair model: curves by name, [E], and the epoch whose weights were saved."""

    epochs: int
    best_epoch: int
    seconds: float
    history: dict[str, list[float]]
    states_seconds: float = 0.0


class MarkovModel(NamedTuple):
    """An interpolated Markov model and its bits per base."""

    order: int
    strands: int
    bits: float


class MarkovLadder(NamedTuple):
    """Bits per base of Markov models of order 0, 1, ... on the bases of the language model."""

    train_bases: int
    validation_bases: int
    one_strand: list[float]
    both_strands: list[float]
    best: MarkovModel


@dataclass(frozen=True)
class LanguageMetrics:
    """Results of a pretraining run: curves by evaluation, and who has fewer bits (model, markov, neither)."""

    mode: str
    vocab_size: int
    parameters: int
    step: int
    tokens: int
    best_val_loss: float
    bits_per_base: Estimate
    ladder: MarkovLadder
    gain: dict[str, Any]
    verdict: str
    history: dict[str, list[float]]

    def __post_init__(self) -> None:
        check("winner" in self.gain, "gain.winner")
        check_curves(self.history, "", "iterations", "train_losses", "val_losses", "bits_per_base")


class BindingScores(NamedTuple):
    """Scores on some windows; `pearson_r_batches` is the mean over batches of 64 windows, as published."""

    pearson_r: Estimate
    pearson_r_batches: float
    mse: float
    auroc: float
    auprc: float
    median_window_r: float
    windows: int


@dataclass(frozen=True)
class BindingModelInfo:
    """What a binding model is; `weights` is their digest, `trained_as` the settings of its training.

    `features` is what its head reads, and of a mix `layer_weights` is the learned weight of each layer.
    """

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
    features: str = "last"
    layer_weights: list[float] | None = None


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
        check(0 < len(self.truth) == len(self.predicted), "predicted")


@dataclass(frozen=True)
class Density:
    """Bases by true score (row) and predicted score (column), [K, K], between edges [K + 1]."""

    edges: list[float]
    counts: list[list[float]]

    def __post_init__(self) -> None:
        bins = {len(self.edges) - 1, len(self.counts), *map(len, self.counts)}
        check(len(bins) == 1 and 0 not in bins, "counts")


class BindingDetail(NamedTuple):
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

    @property
    def score(self) -> Estimate:
        """Pearson's R over all bases."""
        return self.scores.pearson_r


class Difference(NamedTuple):
    """A score of the model `one` minus that of `other`, paired."""

    one: str
    other: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class BindingResults(BindingEntry):
    """results_NAME.json, written by `finetune` and `baseline`."""

    model: BindingModelInfo
    split: Split
    training: Training
    peak_memory_bytes: float | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        check(bool(self.split.part), "split.part")
        check_curves(self.training.history, "training.", "epoch", "train_loss", "val_loss", "pearson_r")


@dataclass(frozen=True)
class BindingEvaluation:
    """evaluation_*.json, written by `evaluate`."""

    part: str
    split: Split
    models: dict[str, BindingEntry]
    baselines: dict[str, BindingEntry]
    pairs: list[Difference]

    def __post_init__(self) -> None:
        for name, entry in self.models.items():
            check(entry.model is not None, f"models.{name}.model")


@dataclass(frozen=True)
class Reliability:
    """Mean prediction, fraction of positives and pairs of each bin, [K], between edges [K + 1]."""

    edges: list[float]
    predicted: list[float]
    observed: list[float]
    count: list[float]

    def __post_init__(self) -> None:
        bins = {len(self.edges) - 1, len(self.predicted), len(self.observed), len(self.count)}
        check(len(bins) == 1 and 0 not in bins, "edges")


class PairScores(NamedTuple):
    """Scores of a model or a baseline on some pairs; `value` per gene or molecule is a mean AUROC."""

    auroc: Estimate
    auprc: Estimate
    auroc_per_gene: dict[str, float]
    auroc_per_molecule: dict[str, float]
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
    weights: str | None = None


class Gain(NamedTuple):
    """AUROC of a model minus that of the best baseline, `rung` (its name in files since 0.1.0), paired."""

    rung: str | None
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairEntry:
    """A model or a baseline (`model` is None); of a training's own results only scores and model are known.

    `sequenced`: over the pairs whose gene has an mRNA or a CDS; shuffled: with other genes or molecules.
    """

    scores: PairScores
    sequenced: PairScores | None = None
    model: PairModelInfo | None = None
    shuffled_genes: PairScores | None = None
    shuffled_molecules: PairScores | None = None
    minus_best_rung: Gain | None = None

    @property
    def score(self) -> Estimate:
        """AUROC."""
        return self.scores.auroc


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How pairs were divided, and `ratio` negatives made for each positive: what an AUROC depends on."""

    split: str
    negatives: str
    ratio: float | None
    seed: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class PairResults(Protocol):
    """results.json, written by `interact train`."""

    name: str
    model: PairModelInfo
    training: Training
    validation: PairScores
    node_rate_validation: float

    def __post_init__(self) -> None:
        check_curves(self.training.history, "training.", "epoch", "train_loss", "val_bce", "val_auroc")


@dataclass(frozen=True, kw_only=True)
class PairEvaluation(Protocol):
    """evaluation*.json, written by `interact evaluate`."""

    part: str
    models: dict[str, PairEntry]
    ladder: dict[str, PairEntry]
    warnings: list[str]

    def __post_init__(self) -> None:
        check(bool(self.ladder), "ladder")
        for name, entry in self.models.items():
            for key in ("model", "shuffled_genes", "shuffled_molecules", "minus_best_rung"):
                check(getattr(entry, key) is not None, f"models.{name}.{key}")


class Saving(NamedTuple):
    """How many times the labels other models need for a score; `at_least`: the largest number is too few."""

    value: float
    low: float
    high: float
    at_least: bool


@dataclass(frozen=True)
class LabelCurve:
    """label_curve_NAME.json, written by `finetune`: scores by the number of labels, F of them, ascending.

    `scores` and `runs` (of each seed) are by model; `minus` is the pretrained model's score minus another's.
    `bases` are those of the training windows and the validation windows together. `RULE` is among the models
    where a rule was given; its score is the same for all F.
    """

    name: str
    split: Split
    core: str
    seeds: list[int]
    windows: list[int]
    validation_windows: list[int]
    bases: list[int]
    scores: dict[str, list[Estimate]]
    runs: dict[str, list[list[float]]]
    minus: dict[str, list[Estimate]]
    saving: list[Saving]

    def __post_init__(self) -> None:
        check(self.scores.keys() == {*self.minus, PRETRAINED}, "minus")
        columns: list[Sequence[object]] = [self.validation_windows, self.bases, self.saving]
        columns += [*self.scores.values(), *self.minus.values()]
        check({len(self.windows)} == {len(each) for each in columns}, "windows")


SCHEMAS: dict[str, type[Any]] = {
    "dnalm-binding-results": BindingResults,
    "dnalm-binding-evaluation": BindingEvaluation,
    "dnalm-label-curve": LabelCurve,
    "dnalm-interaction-results": PairResults,
    "dnalm-interaction-evaluation": PairEvaluation,
}
"""The class of each format."""


def read(path: Path, kind: type[T]) -> T:
    """Read a result file as one of the classes in SCHEMAS; raises InputError as `decode` does."""
    (form,) = (form for form, schema in SCHEMAS.items() if schema is kind)
    return decode(read_versioned(path, form, VERSION), kind, path)


def decode(content: Any, kind: type[T], path: Path) -> T:
    """Return JSON content as one of the classes above.

    Raises:
        InputError: naming `path` and the field, if a field is missing or has the wrong type.
    """
    try:
        made: T = from_json(content, kind)
    except FieldError as error:
        what = f"{error} is missing or of the wrong type"
        raise InputError(f"{path}: damaged: {what}; make it again") from error
    return made


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result file: `format`, `format_version`, all fields of that format, and any others.

    Raises:
        FieldError: if `content` does not fit the schema.
    """
    from_json(finite(dict(content)), SCHEMAS[content["format"]])
    write_json(path, dict(content))
