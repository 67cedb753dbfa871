"""Binding results on disk, read and checked: what `finetune`, `baseline` and `evaluate` left in a folder.

Shapes used below
    N  windows                       L  bases in a window
    K  bins of a density             E  epochs, the untrained model being the first
"""

import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.bootstrap import Estimate, Numbers, paired_difference
from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.report.read import COUNT, NUMBER, are_numbers, estimate, misshapen, misshapen_curves, read_result

RESULTS, EVALUATION = "dnalm-binding-results", "dnalm-binding-evaluation"
"""The two formats, as the files name them."""
VERSION = 1
_SPLIT = {"kind": str, "digest": str, "windows": dict}
_SCORES = {
    "pearson_r": {"value": NUMBER, "low": NUMBER, "high": NUMBER},
    **dict.fromkeys(("pearson_r_batches", "mse", "auroc", "auprc", "median_window_r"), NUMBER),
    **dict.fromkeys(("windows", "bases"), COUNT),
}
_MODEL = {
    **dict.fromkeys(("kind", "tune"), str),
    **dict.fromkeys(("both_strands", "random_core", "causal"), bool),
    "parameters": COUNT,
    "trained_parameters": NUMBER,
}
_SHAPES: dict[str, dict[str, Any]] = {
    RESULTS: {
        "model": _MODEL,
        "split": _SPLIT | {"part": str},
        "training": {
            **dict.fromkeys(("epochs", "best_epoch", "seconds", "states_seconds"), COUNT),
            "history": dict.fromkeys(("epoch", "train_loss", "val_loss", "pearson_r"), list),
        },
        "scores": _SCORES,
    },
    EVALUATION: {"part": str, "split": _SPLIT, "models": dict, "baselines": dict, "pairs": list},
}
"""What must be there: a name and the types it may have, or what must be inside it."""


@dataclass(frozen=True)
class Moments:
    """Sums of each window, see dnalm/bootstrap.py."""

    names: list[str]
    """[N] names of the windows."""
    sums: Numbers
    """[N, 6]."""


@dataclass(frozen=True)
class Judged:
    """One model, or one baseline without training, and what it came to on some windows."""

    scores: Mapping[str, Any]
    model: Mapping[str, Any] | None = None
    """None: a baseline."""
    detail: Mapping[str, Any] | None = None
    """Tracks, density and error by position, for the plots."""
    moments: Moments | None = None


@dataclass(frozen=True)
class Comparison:
    """Models and baselines that were judged on the same part of the same split of the same windows."""

    split: Mapping[str, Any]
    part: str
    judged: dict[str, Judged] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Estimate] = field(default_factory=dict)
    """R of the first less R of the second, as an evaluation found it."""

    def models(self) -> list[str]:
        """Names of the models, the highest R first and the undefined last."""
        return self._ranked([name for name, one in self.judged.items() if one.model is not None])

    def baselines(self) -> list[str]:
        """Names of the baselines, in the same order."""
        return self._ranked([name for name, one in self.judged.items() if one.model is None])

    def r(self, name: str) -> Estimate:
        """Pearson's R over all bases; NaN where it is undefined."""
        return estimate(self.judged[name].scores["pearson_r"])

    def difference(self, one: str, other: str) -> Estimate | str:
        """Return R of `one` less R of `other` over the same windows, or why that cannot be told."""
        if (one, other) in self.pairs:
            return self.pairs[one, other]
        if (other, one) in self.pairs:
            value, low, high = self.pairs[other, one]
            return Estimate(-value, -high, -low)
        undefined = [name for name in (one, other) if math.isnan(self.r(name).value)]
        if undefined:
            return f"R of {' and '.join(undefined)} is undefined"
        mine, theirs = self.judged[one].moments, self.judged[other].moments
        if mine is None or theirs is None:
            lacking = [name for name in (one, other) if self.judged[name].moments is None]
            return (
                f"the sums of each window are not there for {' and '.join(lacking)} (one dnalm evaluate of "
                "both models gives it)"
            )
        place = {name: row for row, name in enumerate(theirs.names)}
        if place.keys() != set(mine.names):
            return "they were judged on other windows"
        try:
            return paired_difference(mine.sums, theirs.sums[[place[name] for name in mine.names]])
        except ValueError:
            return "the true scores of their windows differ"

    def _ranked(self, names: list[str]) -> list[str]:
        return sorted(names, key=lambda name: (math.isnan(r := self.r(name).value), -r, name))


@dataclass(frozen=True)
class BindingResults:
    """Everything about binding that a folder holds."""

    folder: Path
    trained: dict[str, Mapping[str, Any]]
    """The content of each results_NAME.json, by NAME."""
    comparisons: list[Comparison]
    """By split; within a split the test part first."""
    missing: list[Path]
    """Files of moments that are not there."""


def read_results(folder: Path) -> BindingResults:
    """Read the binding results of a folder: results_NAME.json, NAME/moments.npz and evaluation_*.json.

    Args:
        folder: what was --out of `dnalm finetune` and `dnalm baseline`.

    Raises:
        InputError: if there is no such folder or nothing in it, or a file is damaged or none of dnalm's.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise InputError(f"{folder}: expected a folder of binding results, got {found}; check the path")
    trained: dict[str, Mapping[str, Any]] = {}
    missing: list[Path] = []
    comparisons: dict[tuple[str, str], Comparison] = {}
    for path in sorted(folder.glob("results_*.json")):
        name = path.stem.removeprefix("results_")
        content = trained[name] = read_result(path, RESULTS, VERSION, _problems)
        kept = folder / name / "moments.npz"
        moments = read_moments(kept) if kept.is_file() else None
        missing += [] if moments else [kept]
        home = _home(comparisons, content["split"], content["split"]["part"])
        home.judged[name] = Judged(content["scores"], content["model"], content.get("detail"), moments)
    for path in sorted(folder.glob("evaluation_*.json")):
        _add_evaluation(comparisons, path, read_result(path, EVALUATION, VERSION, _problems), trained)
    if not comparisons:
        raise InputError(
            f"{folder}: expected results_NAME.json or evaluation_NAME.json, got neither; train models with "
            f"dnalm finetune --out {folder} and dnalm baseline --out {folder}"
        )
    parts = ["test", "validation"]  # what was held out best comes first, "all" last
    order = sorted(
        comparisons.values(),
        key=lambda c: (c.split["kind"], c.split["digest"], c.part not in parts, c.part),
    )
    return BindingResults(folder, trained, order, missing)


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


def _home(comparisons: dict[tuple[str, str], Comparison], split: Mapping[str, Any], part: str) -> Comparison:
    return comparisons.setdefault((split["digest"], part), Comparison(split, part))


def _add_evaluation(
    comparisons: dict[tuple[str, str], Comparison],
    path: Path,
    content: Mapping[str, Any],
    trained: Mapping[str, Mapping[str, Any]],
) -> None:
    """Put what `dnalm evaluate` found beside what else was judged on the same windows.

    A model is known by the digest of its file of weights: one that was trained anew since is told apart by
    its name. Where a file tells no digest, two of one name are the same if their R is.
    """
    home = _home(comparisons, content["split"], content["part"])
    names: dict[str, str] = {}
    for name, one in (content["models"] | content["baselines"]).items():
        new = Judged(one["scores"], one.get("model"), one.get("detail"))
        old = home.judged.get(name)
        now = _weights_now(path.parent / name, trained.get(name))
        then = (new.model or {}).get("weights")
        if now is not None and then and now != then:  # it was trained anew since
            name_here = f"{name} ({path.stem}, other weights)"
            home.judged[name_here] = new
        elif old and not (now and then) and not _same(_value(old), _value(new)):
            name_here = f"{name} ({path.stem})"  # another model of that name
            home.judged[name_here] = new
        else:
            name_here = name
            home.judged.setdefault(name, new)
        names[name] = name_here
    for pair in content["pairs"]:
        found = estimate(pair)
        if all(map(math.isfinite, found)):
            home.pairs[names.get(pair["one"], pair["one"]), names.get(pair["other"], pair["other"])] = found


def _weights_now(folder: Path, results: Mapping[str, Any] | None) -> str | None:
    """Return the digest of the weights that a model has; None where it is not known, "" where there are none.

    Args:
        folder: of its run.
        results: its results_NAME.json; None where a run that was begun anew has not come so far.
    """
    if results is not None:
        told: str | None = results["model"].get("weights")
        return told
    kept = folder / "checkpoint" / "checkpoint.json"
    if not kept.is_file():
        return "" if (folder / "run.json").is_file() else None
    content = read_json(kept)
    try:
        return str(content["files"]["model.safetensors"]["sha256"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{kept}: expected the digest of model.safetensors, got none: damaged; train the model again"
        ) from error


def _value(judged: Judged) -> float | None:
    value: float | None = judged.scores["pearson_r"]["value"]
    return value


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, abs_tol=1e-6)  # bf16 is far coarser, and the sums are kept in float64


def _problems(content: Mapping[str, Any]) -> Iterator[str]:
    form = content["format"]
    wrong = list(misshapen(content, _SHAPES[form]))
    yield from wrong
    if wrong:
        return
    if form == RESULTS:
        yield from misshapen_curves(content, ("epoch", "train_loss", "val_loss", "pearson_r"))
        yield from _wrong_detail(content.get("detail"), "detail")
    else:
        yield from _wrong_evaluation(content)


def _wrong_evaluation(content: Mapping[str, Any]) -> Iterator[str]:
    for kind, shape in (("models", {"model": _MODEL, "scores": _SCORES}), ("baselines", {"scores": _SCORES})):
        for name, one in content[kind].items():
            yield from misshapen(one, shape, f"{kind}.{name}")
            if isinstance(one, dict):
                yield from _wrong_detail(one.get("detail"), f"{kind}.{name}.detail")
    pair_shape = {"one": str, "other": str} | dict.fromkeys(("value", "low", "high"), NUMBER)
    for row, pair in enumerate(content["pairs"]):
        yield from misshapen(pair, pair_shape, f"pairs.{row}")


def _wrong_detail(detail: Any, where: str) -> Iterator[str]:
    """Yield what cannot be drawn: tracks of [L], a density of [K, K] with [K + 1] edges, errors of [L]."""
    if detail is None:
        return
    kinds = {"tracks": list, "density": {"edges": list, "counts": list}, "error_by_position": list}
    wrong = list(misshapen(detail, kinds, where))
    yield from wrong
    if wrong:
        return
    for row, track in enumerate(detail["tracks"]):
        fine = isinstance(track, dict) and isinstance(track.get("window"), str)
        if (
            not fine
            or not are_numbers(track.get("truth"))
            or not are_numbers(track.get("predicted"), len(track["truth"]))
        ):
            yield f"{where}.tracks.{row}"
    edges, counts = detail["density"]["edges"], detail["density"]["counts"]
    bins = len(edges) - 1
    if not are_numbers(edges) or len(counts) != bins or not all(are_numbers(row, bins) for row in counts):
        yield f"{where}.density"
    if not are_numbers(detail["error_by_position"]):
        yield f"{where}.error_by_position"
