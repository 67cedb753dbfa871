"""Results of binding and pair models: those evaluated on the same data stand together.

A model is known by the digest of its weights, else by its name: an evaluation of weights that a run no longer
has gets a label of its own.
"""

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from dnalm.bootstrap import Estimate, Numbers, paired_difference
from dnalm.errors import InputError
from dnalm.report.read import evaluations, find, labels_of, no_results
from dnalm.results import read
from dnalm.results.binding import BindingEntry, BindingEvaluation, BindingResults, Split
from dnalm.results.pairs import Gain, PairEntry, PairEvaluation, PairResults, Protocol

NODE_RATE = "node rate"
"""The baseline that knows how often each gene and each molecule was positive in training."""
Entry = TypeVar("Entry", BindingEntry, PairEntry)
Results = TypeVar("Results", BindingResults, PairResults)


class Run(NamedTuple):
    """A training, and what its evaluations are recognised by."""

    label: str
    name: str
    weights: str | None


@dataclass(kw_only=True)
class Comparison(Generic[Entry]):
    """Models and baselines evaluated on the same part of the same data, by label."""

    part: str
    models: dict[str, Entry] = field(default_factory=dict)
    baselines: dict[str, Entry] = field(default_factory=dict)

    @property
    def entries(self) -> dict[str, Entry]:
        """The models and then the baselines, each kind by score."""
        return {name: kind[name] for kind in (self.models, self.baselines) for name in ranked(kind)}

    def add(self, path: Path, models: Mapping[str, Entry], runs: Mapping[Path, Run]) -> dict[str, str]:
        """Add the models of an evaluation; return the label of each.

        Args:
            path: of the evaluation.
            models: by their names in it.
            runs: the trainings, by folder.
        """
        labels = {}
        for name, entry in models.items():
            weights, run = _weights(entry), _run_of(name, _weights(entry), path, runs)
            label = run.label if run else name
            known = run.weights if run else _weights(self.models.get(name))
            if weights and known and weights != known:
                label += f" ({path.parent.name}/{path.stem}, other weights)"
            self.models.setdefault(label, entry)
            labels[name] = label
        return labels


@dataclass(kw_only=True)
class BindingComparison(Comparison[BindingEntry]):
    """Binding models on the same windows.

    `sums` are those of each window by label, see dnalm/bootstrap.py; `pairs` holds R of the first minus R of
    the second, from an evaluation.
    """

    split: Split
    sums: dict[str, dict[str, Numbers]] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Estimate] = field(default_factory=dict)

    def difference(self, one: str, other: str) -> Estimate | str:
        """Return R of `one` minus R of `other` over the same windows, or why it is unknown."""
        if gap := self.pairs.get((one, other)):
            return gap
        entries = self.models | self.baselines
        if undefined := [name for name in (one, other) if math.isnan(entries[name].score.value)]:
            return f"R of {' and '.join(undefined)} is undefined"
        if missing := [name for name in (one, other) if name not in self.sums]:
            return f"the sums of each window are missing for {' and '.join(missing)}"
        mine, theirs = self.sums[one], self.sums[other]
        if mine.keys() != theirs.keys():
            return "they were evaluated on other windows"
        try:
            return paired_difference(np.stack(list(mine.values())), np.stack([theirs[name] for name in mine]))
        except InputError:
            return "the true scores of their windows differ"


@dataclass(kw_only=True)
class PairComparison(Comparison[PairEntry]):
    """Pair models on the same pairs; without baselines where only trainings report. Node rate: its AUROC."""

    protocol: Protocol
    node_rate: float = math.nan
    warnings: list[str] = field(default_factory=list)


AnyComparison = TypeVar("AnyComparison", BindingComparison, PairComparison)


@dataclass(frozen=True)
class Runs(Generic[Results, AnyComparison]):
    """Trainings and their folders, by the label of the model, and the comparisons in order."""

    trained: dict[str, Results]
    paths: dict[str, Path]
    comparisons: list[AnyComparison]


BindingRuns = Runs[BindingResults, BindingComparison]
PairRuns = Runs[PairResults, PairComparison]


def ranked(entries: Mapping[str, Entry]) -> list[str]:
    """Return names by score, the highest first and the undefined last."""
    values = {name: entry.score.value for name, entry in entries.items()}
    return sorted(values, key=lambda name: (math.isnan(values[name]), -values[name], name))


def flipped(gap: Estimate | Gain) -> Estimate:
    """Return the difference the other way round."""
    return Estimate(-gap.value, -gap.high, -gap.low)


def read_binding(folders: Sequence[Path]) -> BindingRuns:
    """Read every results_NAME.json, NAME/moments.npz and evaluation_*.json in and below some folders.

    Args:
        folders: each was `out` of `dnalm finetune` and `dnalm baseline`.

    Raises:
        InputError: if there is no such folder or no result, or a file is damaged or has another format.
    """
    files = find(folders, "**/results_*.json")
    results = {path.parent / path.stem.removeprefix("results_"): read(path, BindingResults) for path in files}
    labels = labels_of({path: path.name for path in results}, folders)
    runs = {path: Run(labels[path], path.name, one.model.weights) for path, one in results.items()}
    groups: dict[tuple[str, str], BindingComparison] = {}

    def group_of(split: Split, part: str) -> BindingComparison:
        return groups.setdefault((split.digest, part), BindingComparison(split=split, part=part))

    for path, one in evaluations(folders, BindingEvaluation).items():
        group = group_of(one.split, one.part)
        group.baselines = one.baselines | group.baselines
        names = {name: name for name in one.baselines} | group.add(path, one.models, runs)
        for pair in one.pairs:
            gap = Estimate(pair.value, pair.low, pair.high)
            if all(map(math.isfinite, gap)):
                group.pairs[names[pair.one], names[pair.other]] = gap
                group.pairs[names[pair.other], names[pair.one]] = flipped(gap)
    for path, content in results.items():
        group = group_of(content.split, str(content.split.part))
        group.models.setdefault(labels[path], content)
        if (path / "moments.npz").is_file():
            group.sums[labels[path]] = read_moments(path / "moments.npz")
    if not groups:
        raise no_results(folders)
    parts = ("test", "validation")  # "all" last
    order = sorted(groups.values(), key=lambda c: (c.split.kind, c.split.digest, c.part not in parts, c.part))
    return _runs(results, labels, order)


def read_moments(path: Path) -> dict[str, Numbers]:
    """Read NAME/moments.npz: the six sums of each window, by its name.

    Raises:
        InputError: if it is damaged, or its arrays are not [N] names and [N, 6] sums.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names, sums = arrays["names"], arrays["moments"].astype(np.float64)
        if not len(names) or sums.shape != (*names.shape, 6) or not np.isfinite(sums).all():
            raise ValueError(f"{list(names.shape)} names and {list(sums.shape)} sums")
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: expected `names`, [N], and finite `moments`, [N, 6], got something else or a damaged "
            f"file ({error}); train the model again"
        ) from error
    return dict(zip(map(str, names), sums, strict=True))


def read_pairs(folders: Sequence[Path]) -> PairRuns:
    """Read every results.json and evaluation*.json in and below some folders.

    Args:
        folders: each was `out` of `dnalm interact train`, or holds such folders.

    Raises:
        InputError: if there is no such folder or no result, or a file is damaged or has another format.
    """
    results = {path.parent: read(path, PairResults) for path in find(folders, "**/results.json")}
    labels = labels_of({path: one.name for path, one in results.items()}, folders)
    order = _pair_comparisons(results, labels, evaluations(folders, PairEvaluation))
    if not order:
        raise no_results(folders)
    return _runs(results, labels, order)


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
    content, evaluated = read(path, PairResults), {}
    folders, weights = [run, run.resolve().parent], content.model.weights
    for path, one in evaluations(folders, PairEvaluation, "evaluation*.json").items():
        mine = [entry for entry in one.models.values() if weights and _weights(entry) == weights]
        if mine and one.digest == content.digest:
            evaluated[path] = replace(one, models={content.name: mine[0]})
    return content, _pair_comparisons({run: content}, {run: content.name}, evaluated)


def _pair_comparisons(
    results: Mapping[Path, PairResults],
    labels: Mapping[Path, str],
    evaluated: Mapping[Path, PairEvaluation],
) -> list[PairComparison]:
    """Return the comparisons by split and seed; of the same pairs the test part first."""
    runs = {path: Run(labels[path], one.name, one.model.weights) for path, one in results.items()}
    groups: dict[tuple[str, str], PairComparison] = {}
    for path, one in evaluated.items():
        group = groups.setdefault((one.digest, one.part), PairComparison(protocol=one, part=one.part))
        group.baselines = one.ladder | group.baselines
        if NODE_RATE in group.baselines:
            group.node_rate = group.baselines[NODE_RATE].score.value
        group.warnings += [warning for warning in one.warnings if warning not in group.warnings]
        group.add(path, one.models, runs)
    for path, content in results.items():
        new = PairComparison(protocol=content, part="validation", node_rate=content.node_rate_validation)
        group = groups.setdefault((content.digest, "validation"), new)
        group.models.setdefault(labels[path], PairEntry(content.validation, model=content.model))

    def order(one: PairComparison) -> tuple[str, str, float, int, str, str]:
        p = one.protocol
        return p.split, p.negatives, p.ratio or 0.0, p.seed, p.digest, one.part

    return sorted(groups.values(), key=order)


def _runs(
    results: Mapping[Path, Results], labels: Mapping[Path, str], comparisons: list[AnyComparison]
) -> Runs[Results, AnyComparison]:
    """Return the results by label, with the comparisons in their order."""
    trained = {labels[path]: one for path, one in results.items()}
    return Runs(trained, {label: path for path, label in labels.items()}, comparisons)


def _weights(entry: BindingEntry | PairEntry | None) -> str | None:
    """Return the digest of a model's weights, if it is known."""
    return entry.model.weights if entry and entry.model else None


def _run_of(name: str, weights: str | None, path: Path, runs: Mapping[Path, Run]) -> Run | None:
    """Find the training of a model in an evaluation: by its weights, else by name, those beside it first."""
    beside = (path.parent, path.parent / name)
    near_first = sorted(runs, key=lambda folder: folder not in beside)
    same = [runs[folder] for folder in near_first if weights and runs[folder].weights == weights]
    named = [folder for folder in near_first if runs[folder].name == name]
    if not same and named and (named[0] in beside or len(named) == 1):
        return runs[named[0]]
    return same[0] if same else None
