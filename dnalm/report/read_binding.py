"""Results of binding models: those evaluated on the same windows stand together.

Shapes used below
    N  windows
"""

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dnalm.bootstrap import Estimate, Numbers, paired_difference
from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.report.read import check_folders, evaluations, labels_of
from dnalm.results import BindingEntry, BindingEvaluation, BindingResults, Split, read

SAME_R = 1e-6
"""Values of R no further apart belong to one model: bf16 is far coarser."""


@dataclass(frozen=True)
class Moments:
    """Sums of each window, see dnalm/bootstrap.py."""

    names: list[str]
    """[N]."""
    sums: Numbers
    """[N, 6]."""


@dataclass(frozen=True)
class BindingComparison:
    """Models and baselines evaluated on the same part of the same split of the same windows."""

    split: Split
    part: str
    entries: dict[str, BindingEntry] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Estimate] = field(default_factory=dict)
    """R of the first minus R of the second, from an evaluation."""

    def models(self) -> list[str]:
        """Names of the models, the highest R first and the undefined last."""
        return self._ranked([name for name, entry in self.entries.items() if entry.model is not None])

    def baselines(self) -> list[str]:
        """Names of the baselines, in the same order."""
        return self._ranked([name for name, entry in self.entries.items() if entry.model is None])

    def r(self, name: str) -> Estimate:
        """Pearson's R over all bases; NaN where it is undefined."""
        return self.entries[name].scores.pearson_r

    def difference(self, one: str, other: str) -> Estimate | str:
        """Return R of `one` minus R of `other` over the same windows, or why it is unknown."""
        if (one, other) in self.pairs:
            return self.pairs[one, other]
        if (other, one) in self.pairs:
            return flipped(self.pairs[other, one])
        undefined = [name for name in (one, other) if math.isnan(self.r(name).value)]
        if undefined:
            return f"R of {' and '.join(undefined)} is undefined"
        missing = [name for name in (one, other) if name not in self.moments]
        if missing:
            return f"the sums of each window are missing for {' and '.join(missing)}"
        mine, theirs = self.moments[one], self.moments[other]
        row = {name: index for index, name in enumerate(theirs.names)}
        if row.keys() != set(mine.names):
            return "they were evaluated on other windows"
        try:
            return paired_difference(mine.sums, theirs.sums[[row[name] for name in mine.names]])
        except InputError:
            return "the true scores of their windows differ"

    def _ranked(self, names: list[str]) -> list[str]:
        return sorted(names, key=lambda name: (math.isnan(r := self.r(name).value), -r, name))


@dataclass(frozen=True)
class BindingRuns:
    """All about binding models in some folders."""

    trained: dict[str, BindingResults]
    """By the label of the model."""
    paths: dict[str, Path]
    """The folder of each run, by the same label."""
    comparisons: list[BindingComparison]
    """By split; within a split the test part first."""
    missing: list[Path]
    """Files of sums that are not there."""


def flipped(gap: Estimate) -> Estimate:
    """Return the difference the other way round."""
    return Estimate(-gap.value, -gap.high, -gap.low)


def read_binding(folders: Sequence[Path]) -> BindingRuns:
    """Read results_NAME.json, NAME/moments.npz and evaluation_*.json of some folders.

    Args:
        folders: each was `out` of `dnalm finetune` and `dnalm baseline`.

    Raises:
        InputError: if there is no such folder or no result, or a file is damaged or has another format.
    """
    check_folders(folders)
    results = {
        folder / path.stem.removeprefix("results_"): read(path, BindingResults)
        for folder in folders
        for path in sorted(folder.glob("results_*.json"))
    }
    labels = labels_of({path: path.name for path in results}, folders)
    comparisons: dict[tuple[str, str], BindingComparison] = {}
    missing = []
    for path, content in results.items():
        group = _binding_group(comparisons, content.split, str(content.split.part))
        group.entries[labels[path]] = BindingEntry(content.scores, content.model, content.detail)
        if (path / "moments.npz").is_file():
            group.moments[labels[path]] = read_moments(path / "moments.npz")
        else:
            missing.append(path / "moments.npz")
    for folder in folders:
        for path in evaluations(folder, BindingEvaluation.FORMAT):
            _add_binding(comparisons, path, results, labels)
    if not comparisons:
        raise InputError(
            f"{', '.join(map(str, folders))}: expected results_NAME.json or evaluation_NAME.json, got "
            "neither; train models with dnalm finetune and dnalm baseline"
        )
    order = sorted(
        comparisons.values(),  # "all" last
        key=lambda c: (c.split.kind, c.split.digest, c.part not in ("test", "validation"), c.part),
    )
    return BindingRuns(
        {labels[path]: content for path, content in results.items()},
        {label: path for path, label in labels.items()},
        order,
        missing,
    )


def read_moments(path: Path) -> Moments:
    """Read NAME/moments.npz.

    Raises:
        InputError: if it is damaged, or its arrays are not [N] names and [N, 6] sums.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names, sums = arrays["names"], arrays["moments"].astype(np.float64)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: expected an npz of `names` and `moments`, got something else or a damaged file "
            f"({error}); train the model again"
        ) from error
    right = sums.ndim == 2 and sums.shape[1] == 6 and names.shape == sums.shape[:1] and len(sums) > 0
    if not right or not np.isfinite(sums).all():
        raise InputError(
            f"{path}: expected N names and N rows of 6 finite sums, got {list(names.shape)} names and "
            f"{list(sums.shape)} sums; train the model again"
        )
    return Moments([str(name) for name in names], sums)


def _binding_group(
    comparisons: dict[tuple[str, str], BindingComparison], split: Split, part: str
) -> BindingComparison:
    return comparisons.setdefault((split.digest, part), BindingComparison(split, part))


def _add_binding(
    comparisons: dict[tuple[str, str], BindingComparison],
    path: Path,
    results: Mapping[Path, BindingResults],
    labels: Mapping[Path, str],
) -> None:
    """Add an evaluation to the results on the same windows.

    A model is known by the digest of its weights: one that was trained again since gets another label. Where
    a digest is unknown, two of one name are the same model if their R is.
    """
    content = read(path, BindingEvaluation)
    group = _binding_group(comparisons, content.split, content.part)
    names: dict[str, str] = {}
    for name, entry in (content.models | content.baselines).items():
        run = path.parent / name
        label = labels.get(run, name)
        old = group.entries.get(label)
        present = _present_weights(run, results.get(run))
        evaluated = entry.model.weights if entry.model else None
        if present is not None and evaluated and present != evaluated:
            label = f"{label} ({path.stem}, other weights)"
        elif old and not (present and evaluated) and not _same(old, entry):
            label = f"{label} ({path.stem})"
        group.entries.setdefault(label, entry)
        names[name] = label
    for pair in content.pairs:
        gap = Estimate(pair.value, pair.low, pair.high)
        if all(map(math.isfinite, gap)):
            group.pairs[names.get(pair.one, pair.one), names.get(pair.other, pair.other)] = gap


def _present_weights(run: Path, results: BindingResults | None) -> str | None:
    """Return the digest of the weights that a run has now: None if unknown, "" if it has none yet."""
    if results is not None:
        return results.model.weights
    described = run / "checkpoint" / "checkpoint.json"
    if not described.is_file():
        return "" if (run / "run.json").is_file() else None
    try:
        return str(read_json(described)["files"]["model.safetensors"]["sha256"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{described}: damaged: the digest of model.safetensors is missing; train the model again"
        ) from error


def _same(one: BindingEntry, other: BindingEntry) -> bool:
    r, s = one.scores.pearson_r.value, other.scores.pearson_r.value
    return (math.isnan(r) and math.isnan(s)) or abs(r - s) <= SAME_R
