"""Results of `dnalm interact train` and `interact evaluate`."""

from dataclasses import dataclass
from typing import NamedTuple

from dnalm.bootstrap import Estimate
from dnalm.results.schema import Training, check, check_curves


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


class CountBin(NamedTuple):
    """AUROC of pairs whose gene, or molecule, has `first` to `last` training pairs, or more if None."""

    first: int
    last: int | None
    rows: int
    auroc: float


class Gain(NamedTuple):
    """AUROC of a model minus that of the best baseline, paired."""

    baseline: str | None
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
    minus_best_baseline: Gain | None = None
    by_training_pairs: dict[str, list[CountBin]] | None = None  # of the gene, and of the molecule

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
            for key in ("model", "shuffled_genes", "shuffled_molecules", "minus_best_baseline"):
                check(getattr(entry, key) is not None, f"models.{name}.{key}")
