"""Results on genes and molecules, read and checked: what `interact train` and `interact evaluate` left.

Shapes used below
    K  bins of a reliability plot    E  epochs, the untrained model being the first
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from dnalm.bootstrap import Estimate
from dnalm.errors import InputError
from dnalm.report.read import (
    COUNT,
    NUMBER,
    are_numbers,
    estimate,
    misshapen,
    misshapen_curves,
    number,
    read_result,
)

Scores = Mapping[str, Any]
"""What `dnalm.evaluate.interaction.interaction_scores` returns, from JSON."""

RESULTS, EVALUATION = "dnalm-interaction-results", "dnalm-interaction-evaluation"
"""The two formats, as the files name them."""
VERSION = 1
NODE_RATE = "node rate"
SAME = 1e-4
"""AUROCs no further apart are of one model: processors differ in far smaller digits, seeds in larger ones."""

_ESTIMATE = dict.fromkeys(("value", "low", "high"), NUMBER)
_GROUPED = {"value": NUMBER, "groups": COUNT}
_BINS = dict.fromkeys(("edges", "predicted", "observed", "count"), list)
_SCORES: dict[str, Any] = {
    **dict.fromkeys(("auroc", "auprc"), _ESTIMATE),
    **dict.fromkeys(("auroc_per_gene", "auroc_per_molecule"), _GROUPED),
    **dict.fromkeys(("prevalence", "ef1", "brier", "ece"), NUMBER),
    "reliability": _BINS,
    **dict.fromkeys(("rows", "positives"), COUNT),
}
_MODEL = {"kind": str, "parameters": COUNT, "trained_parameters": COUNT}
_PROTOCOL = {"split": str, "negatives": str, "ratio": NUMBER, "seed": COUNT, "digest": str}
_HISTORY = ("epoch", "train_loss", "val_bce", "val_auroc")
_RESULTS = {
    "name": str,
    "model": _MODEL,
    **_PROTOCOL,
    "training": {
        **dict.fromkeys(("epochs", "best_epoch", "seconds"), COUNT),
        "history": dict.fromkeys(_HISTORY, list),
    },
    "validation": _SCORES,
    "node_rate_validation": NUMBER,
}
_EVALUATION = {
    "part": str,
    **_PROTOCOL,
    **dict.fromkeys(("rows", "positives"), COUNT),
    **dict.fromkeys(("models", "ladder"), dict),
    "best_rung": (str, NoneType),
    "warnings": list,
}
_RUNG = {"scores": _SCORES}
_EVALUATED = {
    "model": _MODEL,
    "path": str,
    **dict.fromkeys(("scores", "shuffled_genes", "shuffled_molecules"), _SCORES),
    "minus_best_rung": {"rung": (str, NoneType), **_ESTIMATE},
}
_SCORED = ("scores", "sequenced", "shuffled_genes", "shuffled_molecules")
_SHAPES: dict[str, dict[str, Any]] = {RESULTS: _RESULTS, EVALUATION: _EVALUATION}
"""What must be there: a name and the types it may have, or what must be inside it."""


class Protocol(NamedTuple):
    """How pairs were divided and negatives made: without it an AUROC says nothing."""

    split: str
    negatives: str
    ratio: float | None
    """Negatives drawn for each positive."""
    seed: int
    digest: str
    """Of the prepared pairs and their parts."""


@dataclass(frozen=True)
class Judged:
    """One model or one rung of the ladder, and what it came to on a part."""

    scores: Scores
    sequenced: Scores | None = None
    """The same over the pairs whose gene has an mRNA or CDS."""
    model: Mapping[str, Any] | None = None
    """None: a rung."""
    shuffled_genes: Scores | None = None
    shuffled_molecules: Scores | None = None
    rung: str | None = None
    """The best rung of the ladder on these pairs, for a model that was judged beside one."""
    gain: Estimate | None = None
    """AUROC of the model less that of `rung`, paired."""


@dataclass
class Comparison:
    """Models and the ladder on the same part of the same prepared pairs."""

    protocol: Protocol
    part: str
    models: dict[str, Judged] = field(default_factory=dict)
    ladder: dict[str, Judged] = field(default_factory=dict)
    """Empty where only the training's own results are there."""
    node_rate: float = math.nan
    """AUROC of the node rate: known also without the ladder."""
    warnings: list[str] = field(default_factory=list)

    def ranked(self, judged: Mapping[str, Judged]) -> list[str]:
        """Names by AUROC, the highest first and the undefined last."""
        return sorted(judged, key=lambda name: _rank(judged[name], name))

    @property
    def scores(self) -> Scores:
        """Scores of any of them: rows, positives and prevalence are of the part, the same in all."""
        return next(iter((self.ladder | self.models).values())).scores


@dataclass(frozen=True)
class InteractionResults:
    """Everything about genes and molecules that was found."""

    trained: dict[str, Mapping[str, Any]]
    """The content of each results.json, by the label that its model has everywhere."""
    comparisons: list[Comparison]
    """By split and seed; of the same pairs the test part first."""


def auroc_of(scores: Scores) -> Estimate:
    """AUROC with its interval; NaN where it is undefined."""
    return estimate(scores["auroc"])


def read_results(folders: Sequence[Path]) -> InteractionResults:
    """Read every results.json and evaluation*.json in some folders and the folders in them.

    Args:
        folders: such as those that were --out of `dnalm interact train`, or one that holds them.

    Raises:
        InputError: if there is no such folder or nothing in them, or a file is damaged or of another kind.
    """
    for folder in folders:
        if not folder.is_dir():
            found = "a file" if folder.exists() else "nothing"
            raise InputError(
                f"{folder}: expected a folder of interaction results, got {found}; check the path"
            )
    contents = {
        path: read_result(path, RESULTS, VERSION, _problems) for path in _found(folders, "results.json")
    }
    labels = _labels(contents, folders)
    comparisons: dict[tuple[str, str], Comparison] = {}
    for path, content in contents.items():
        home = _home(comparisons, content, "validation")
        home.models[labels[path]] = Judged(content["validation"], model=content["model"])
        home.node_rate = number(content["node_rate_validation"])
    for path in _found(folders, "evaluation*.json"):
        _add(comparisons, path, read_result(path, EVALUATION, VERSION, _problems), contents, labels)
    if not comparisons:
        raise InputError(
            f"{', '.join(map(str, folders))}: expected results.json or evaluation*.json, got neither; train "
            "a model with dnalm interact train, or judge one with dnalm interact evaluate --out FILE.json"
        )
    order = sorted(comparisons.values(), key=lambda c: (c.protocol[:4], c.protocol.digest, c.part))
    return InteractionResults({labels[path]: content for path, content in contents.items()}, order)


def read_run(run: Path) -> tuple[Mapping[str, Any], list[Comparison]]:
    """Read what a model came to: its own results, and evaluations of its weights in its folder or beside it.

    Returns:
        The content of results.json; by part, what the model was judged at on its own pairs.

    Raises:
        InputError: if there are no results, or a file is damaged or of another kind.
    """
    path = run / "results.json"
    if not path.is_file():
        raise InputError(f"{path}: missing; it is what dnalm interact train writes last: train again")
    content = read_result(path, RESULTS, VERSION, _problems)
    comparisons: dict[tuple[str, str], Comparison] = {}
    home = _home(comparisons, content, "validation")
    home.models[content["name"]] = Judged(content["validation"], model=content["model"])
    home.node_rate = number(content["node_rate_validation"])
    weights = content["model"].get("weights")
    for beside in sorted({*run.glob("evaluation*.json"), *run.resolve().parent.glob("evaluation*.json")}):
        told = read_result(beside, EVALUATION, VERSION, _problems)
        same = told["digest"] == content["digest"] and weights is not None
        mine = {name: one for name, one in told["models"].items() if one["model"].get("weights") == weights}
        if same and mine:
            _add(comparisons, beside, told | {"models": mine}, {path: content}, {path: content["name"]})
    return content, list(comparisons.values())


def _found(folders: Sequence[Path], pattern: str) -> list[Path]:
    """Return each file once, by path; what lies in hidden folders is unfinished."""
    paths: dict[Path, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob(pattern)):
            if not any(part.startswith(".") for part in path.relative_to(folder).parts):
                paths.setdefault(path.resolve(), path)
    return list(paths.values())


def _labels(contents: Mapping[Path, Mapping[str, Any]], folders: Sequence[Path]) -> dict[Path, str]:
    """Name each trained model: by its name, or by its folder where two share one."""
    names = [content["name"] for content in contents.values()]
    labels = {}
    for path, content in contents.items():
        name, folder = content["name"], path.parent
        if names.count(name) > 1:
            inside = len(folders) == 1 and folder != folders[0]
            name = (folder.relative_to(folders[0]) if inside else folder).as_posix()
        labels[path] = name
    return labels


def _home(
    comparisons: dict[tuple[str, str], Comparison], content: Mapping[str, Any], part: str
) -> Comparison:
    protocol = Protocol(*(content[key] for key in Protocol._fields))
    return comparisons.setdefault((protocol.digest, part), Comparison(protocol, part))


def _add(
    comparisons: dict[tuple[str, str], Comparison],
    path: Path,
    content: Mapping[str, Any],
    contents: Mapping[Path, Mapping[str, Any]],
    labels: Mapping[Path, str],
) -> None:
    """Put what one evaluation found beside what else was judged on the same pairs."""
    home = _home(comparisons, content, content["part"])
    rungs = {name: Judged(one["scores"], one.get("sequenced")) for name, one in content["ladder"].items()}
    if any(not _alike(rungs[name], home.ladder[name]) for name in rungs.keys() & home.ladder.keys()):
        home.warnings.append(
            f"{path}: its ladder differs from that of another evaluation of the same pairs, which is shown"
        )
    home.ladder = rungs | home.ladder
    if NODE_RATE in home.ladder:
        home.node_rate = auroc_of(home.ladder[NODE_RATE].scores).value
    home.warnings += [str(warning) for warning in content["warnings"] if warning not in home.warnings]
    for name, one in content["models"].items():
        gain = one["minus_best_rung"]
        new = Judged(
            one["scores"],
            one.get("sequenced"),
            one["model"],
            one["shuffled_genes"],
            one["shuffled_molecules"],
            gain["rung"],
            estimate(gain),
        )
        label = _label_of(name, one, path, content["digest"], contents, labels)
        old = home.models.get(label)
        if old is not None and not _one_model(old, new):
            label = f"{label} ({path})"  # another model of that name
        if old is None or old.gain is None or label not in home.models:
            home.models[label] = new


def _label_of(
    name: str,
    one: Mapping[str, Any],
    path: Path,
    digest: str,
    contents: Mapping[Path, Mapping[str, Any]],
    labels: Mapping[Path, str],
) -> str:
    """Find the training whose model an evaluation judged: by its weights, else by name and folder."""
    weights = one["model"].get("weights")
    same = {where: content for where, content in contents.items() if content["digest"] == digest}
    for where, content in same.items():
        if weights and content["model"].get("weights") == weights:
            return labels[where]
    run = Path(one["path"])
    named = [where for where, content in same.items() if content["name"] in (name, run.name)]
    beside = [where for where in named if where.parent == path.parent or where.parent == run]
    fitting = named if len(named) == 1 else beside
    if len(fitting) != 1:
        return name
    kept = same[fitting[0]]["model"].get("weights")
    if weights and kept and weights != kept:
        return f"{labels[fitting[0]]} (before it was trained anew)"
    return labels[fitting[0]]


def _one_model(one: Judged, other: Judged) -> bool:
    digests = [(judged.model or {}).get("weights") for judged in (one, other)]
    return digests[0] == digests[1] if all(digests) else _alike(one, other)


def _alike(one: Judged, other: Judged) -> bool:
    values = [auroc_of(judged.scores).value for judged in (one, other)]
    return all(map(math.isnan, values)) or abs(values[0] - values[1]) <= SAME


def _rank(judged: Judged, name: str) -> tuple[bool, float, str]:
    value = auroc_of(judged.scores).value
    return math.isnan(value), -value, name


def _problems(content: Mapping[str, Any]) -> Iterator[str]:
    form = content["format"]
    wrong = list(misshapen(content, _SHAPES[form]))
    yield from wrong
    if wrong:
        return
    if form == RESULTS:
        yield from misshapen_curves(content, _HISTORY)
        yield from _wrong_scores(content["validation"], "validation")
    else:
        yield from _wrong_evaluation(content)


def _wrong_scores(scores: Any, where: str) -> Iterator[str]:
    wrong = list(misshapen(scores, _SCORES, where))
    yield from wrong
    if not wrong and not _bins_fit(scores["reliability"]):
        yield f"{where}.reliability"


def _bins_fit(bins: Mapping[str, Any]) -> bool:
    """Whether there are [K + 1] edges and [K] of the rest."""
    count = len(bins["count"]) if isinstance(bins.get("count"), list) else 0
    sizes = {"edges": count + 1, "predicted": count, "observed": count, "count": count}
    return count > 0 and all(are_numbers(bins.get(name), size) for name, size in sizes.items())


def _wrong_evaluation(content: Mapping[str, Any]) -> Iterator[str]:
    for kind, shape in (("models", _EVALUATED), ("ladder", _RUNG)):
        for name, one in content[kind].items():
            where = f"{kind}.{name}"
            wrong = list(misshapen(one, shape, where))
            yield from wrong
            if not wrong:
                for scores in _SCORED:
                    if one.get(scores) is not None:
                        yield from _wrong_scores(one[scores], f"{where}.{scores}")
    if not content["ladder"]:
        yield "ladder"
