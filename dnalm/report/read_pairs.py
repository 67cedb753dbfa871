"""Results of models of genes and molecules: those evaluated on the same pairs stand together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dnalm.errors import InputError
from dnalm.report.read import check_folders, evaluations, format_of, labels_of, visible
from dnalm.results import PairEntry, PairEvaluation, PairResults, PairScores, Protocol, read

NODE_RATE = "node rate"
"""The baseline that knows how often each gene and each molecule was positive in training."""
SAME_AUROC = 1e-4
"""AUROCs no further apart belong to one model: processors differ by less, seeds by more."""


@dataclass
class PairComparison:
    """Models and baselines on the same part of the same prepared pairs."""

    protocol: Protocol
    part: str
    models: dict[str, PairEntry] = field(default_factory=dict)
    ladder: dict[str, PairEntry] = field(default_factory=dict)
    """The baselines; empty where only trainings report."""
    node_rate: float = math.nan
    """AUROC of the node rate."""
    warnings: list[str] = field(default_factory=list)

    @property
    def scores(self) -> PairScores:
        """Scores of any entry: rows, positives and prevalence are the same in all."""
        return next(iter((self.ladder | self.models).values())).scores


@dataclass(frozen=True)
class PairRuns:
    """All about pair models in some folders."""

    trained: dict[str, PairResults]
    """By the label of the model."""
    paths: dict[str, Path]
    """The folder of each run, by the same label."""
    comparisons: list[PairComparison]
    """By split and seed; of the same pairs the test part first."""


def ranked(entries: Mapping[str, PairEntry]) -> list[str]:
    """Return names by AUROC, the highest first and the undefined last."""

    def key(name: str) -> tuple[bool, float, str]:
        value = entries[name].scores.auroc.value
        return math.isnan(value), -value, name

    return sorted(entries, key=key)


def read_pairs(folders: Sequence[Path]) -> PairRuns:
    """Read every results.json and evaluation*.json in some folders and the folders below them.

    Args:
        folders: each was `out` of `dnalm interact train`, or holds such folders.

    Raises:
        InputError: if there is no such folder or no result, or a file is damaged or has another format.
    """
    check_folders(folders)
    results = {path.parent: read(path, PairResults) for path in visible(folders, "results.json")}
    labels = labels_of({path: content.name for path, content in results.items()}, folders)
    comparisons: dict[tuple[str, str], PairComparison] = {}
    for path, content in results.items():
        _add_training(comparisons, content, labels[path])
    for folder in folders:
        for path in evaluations(folder, PairEvaluation.FORMAT):
            _add_pairs(comparisons, path, read(path, PairEvaluation), results, labels)
    if not comparisons:
        raise InputError(
            f"{', '.join(map(str, folders))}: expected results.json or evaluation*.json, got neither; train "
            "a model with dnalm interact train, or evaluate one with dnalm interact evaluate"
        )
    order = sorted(
        comparisons.values(),
        key=lambda c: (
            (c.protocol.split, c.protocol.negatives, c.protocol.ratio or 0.0, c.protocol.seed)
            + (c.protocol.digest, c.part)
        ),
    )
    return PairRuns(
        {labels[path]: content for path, content in results.items()},
        {label: path for path, label in labels.items()},
        order,
    )


def read_pair_run(run: Path) -> tuple[PairResults, list[PairComparison]]:
    """Read the results of one run, with evaluations of its weights in its folder or beside it.

    Returns:
        The content of results.json; by part, the scores of the model on its own pairs.

    Raises:
        InputError: if there are no results, or a file is damaged or has another format.
    """
    path = run / "results.json"
    if not path.is_file():
        raise InputError(f"{path}: missing; dnalm interact train writes it last: train again")
    content, comparisons = read(path, PairResults), dict[tuple[str, str], PairComparison]()
    _add_training(comparisons, content, content.name)
    weights = content.model.weights
    for beside in sorted({*run.glob("evaluation*.json"), *run.resolve().parent.glob("evaluation*.json")}):
        if format_of(beside) != PairEvaluation.FORMAT:
            continue
        evaluation = read(beside, PairEvaluation)
        mine = {name: e for name, e in evaluation.models.items() if e.model and e.model.weights == weights}
        if weights is not None and mine and evaluation.digest == content.digest:
            evaluation.models.clear()
            evaluation.models.update(mine)
            _add_pairs(comparisons, beside, evaluation, {run: content}, {run: content.name})
    return content, list(comparisons.values())


def _pair_group(
    comparisons: dict[tuple[str, str], PairComparison], protocol: Protocol, part: str
) -> PairComparison:
    return comparisons.setdefault((protocol.digest, part), PairComparison(protocol, part))


def _add_training(
    comparisons: dict[tuple[str, str], PairComparison], content: PairResults, label: str
) -> None:
    group = _pair_group(comparisons, content.protocol, "validation")
    group.models[label] = PairEntry(content.validation, model=content.model)
    group.node_rate = content.node_rate_validation


def _add_pairs(
    comparisons: dict[tuple[str, str], PairComparison],
    path: Path,
    content: PairEvaluation,
    results: Mapping[Path, PairResults],
    labels: Mapping[Path, str],
) -> None:
    """Add an evaluation to the results on the same pairs."""
    group = _pair_group(comparisons, content.protocol, content.part)
    both = content.ladder.keys() & group.ladder.keys()
    if any(not _alike(content.ladder[name], group.ladder[name]) for name in both):
        group.warnings.append(
            f"{path}: its baselines differ from those of another evaluation of the same pairs, which is shown"
        )
    group.ladder = content.ladder | group.ladder
    if NODE_RATE in group.ladder:
        group.node_rate = group.ladder[NODE_RATE].scores.auroc.value
    group.warnings += [warning for warning in content.warnings if warning not in group.warnings]
    for name, entry in content.models.items():
        label = _label_of(name, entry, path, content.digest, results, labels)
        old = group.models.get(label)
        if old is not None and not _one_model(old, entry):
            label = f"{label} ({path})"
        if old is None or old.minus_best_rung is None or label not in group.models:
            group.models[label] = entry


def _label_of(
    name: str,
    entry: PairEntry,
    path: Path,
    digest: str,
    results: Mapping[Path, PairResults],
    labels: Mapping[Path, str],
) -> str:
    """Find the training of an evaluated model: by its weights, else by name and folder."""
    weights = entry.model.weights if entry.model else None
    same = {run: content for run, content in results.items() if content.digest == digest}
    for run, content in same.items():
        if weights and content.model.weights == weights:
            return labels[run]
    named = [run for run, content in same.items() if content.name in (name, Path(entry.path).name)]
    beside = [run for run in named if run in (path.parent, Path(entry.path))]
    candidates = named if len(named) == 1 else beside
    if len(candidates) != 1:
        return name
    (run,) = candidates
    trained_again = weights and same[run].model.weights and weights != same[run].model.weights
    return f"{labels[run]} (before it was trained again)" if trained_again else labels[run]


def _one_model(one: PairEntry, other: PairEntry) -> bool:
    digests = [entry.model.weights if entry.model else None for entry in (one, other)]
    return digests[0] == digests[1] if all(digests) else _alike(one, other)


def _alike(one: PairEntry, other: PairEntry) -> bool:
    a, b = one.scores.auroc.value, other.scores.auroc.value
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= SAME_AUROC
