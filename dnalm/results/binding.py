"""Results of `dnalm finetune`, `baseline` and `evaluate`.

Shapes: L bases in a window, K bins of a histogram.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from dnalm.bootstrap import Estimate
from dnalm.results.schema import Training, check, check_curves


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
