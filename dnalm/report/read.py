"""Results in folders: which kinds of run there are, their labels, and the pretraining runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.record import FORMAT, read_record
from dnalm.results import decode, read
from dnalm.results.binding import BindingEvaluation
from dnalm.results.language import LanguageMetrics
from dnalm.results.pairs import PairEvaluation

Kind = Literal["language", "binding", "labels", "pairs", "predict", "variants", "explain", "score"]
LABEL_CURVES = "**/label_curve_*.json"
USE: tuple[Kind, ...] = ("predict", "variants", "explain", "score")
T = TypeVar("T")


def kinds_of(folders: Sequence[Path]) -> list[Kind]:
    """Return which kinds of finished run the folders hold, by their files.

    Raises:
        InputError: if one of them is no folder, or none holds a run.
    """
    found: dict[Kind, object] = {
        "language": _pretraining(folders),
        "binding": find(folders, "**/results_*.json") or evaluations(folders, BindingEvaluation),
        "labels": find(folders, LABEL_CURVES),
        "pairs": find(folders, "**/results.json") or evaluations(folders, PairEvaluation),
        **{verb: use_records(folders, verb) for verb in USE},
    }
    if not any(found.values()):
        raise no_results(folders)
    return [kind for kind, files in found.items() if files]


def use_records(folders: Sequence[Path], verb: str) -> dict[Path, dict[str, Any]]:
    """Return the records of finished runs of a verb that uses a model, see `dnalm.results.use`, by path.

    Files of other programs with such a name are ignored.
    """
    paths = find(folders, "**/run_*.json", "**/run.json")
    records = {path: read_record(path) for path in paths if FORMAT.encode() in path.read_bytes()[:100]}
    return {path: one for path, one in records.items() if one["verb"] == verb and one["status"] == "done"}


@dataclass(frozen=True)
class UseRun(Generic[T]):
    """A finished run of a verb that uses a model: its record, its name in a page, and its results."""

    path: Path
    label: str
    metrics: T


def use_runs(folders: Sequence[Path], verb: str, kind: type[T]) -> list[UseRun[T]]:
    """Read the finished runs of a verb in some folders; InputError if there is none, or a damaged one."""
    runs = {path: decode(one["metrics"], kind, path) for path, one in use_records(folders, verb).items()}
    if not runs:
        raise no_results(folders)
    names = {
        path: path.parent.name if path.stem == "run" else path.name.removeprefix("run_").removesuffix(".json")
        for path in runs
    }
    labels = labels_of(names, folders)
    return [UseRun(path, labels[path], metrics) for path, metrics in runs.items()]


def no_results(folders: Sequence[Path]) -> InputError:
    """Return the error of folders without a run."""
    return InputError(
        f"{', '.join(map(str, folders))}: expected the results of a run, got none; name the folder that "
        "dnalm pretrain, finetune, baseline or interact train wrote to, once the run has finished"
    )


def find(folders: Sequence[Path], *patterns: str) -> list[Path]:
    """Return each matching file in some folders once; hidden folders hold unfinished ones.

    Raises:
        InputError: unless all of these are folders, and at least one.
    """
    if not folders:
        raise InputError("expected the folder of a run, got none; name one or more")
    paths: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            got = "a file" if folder.exists() else "nothing"
            raise InputError(f"{folder}: expected a folder of results, got {got}; check the path")
        for path in (path for pattern in patterns for path in sorted(folder.glob(pattern))):
            if not any(part.startswith(".") for part in path.relative_to(folder).parts):
                paths.setdefault(path.resolve(), path)
    return list(paths.values())


def evaluations(
    folders: Sequence[Path], kind: type[T], pattern: str = "**/evaluation*.json"
) -> dict[Path, T]:
    """Read the evaluations of a kind in some folders; raises InputError for one of neither kind."""
    found: dict[Path, T] = {}
    for path in find(folders, pattern):
        content = read_json(path)
        is_binding = isinstance(content, dict) and content.get("format") == "dnalm-binding-evaluation"
        one = read(path, BindingEvaluation if is_binding else PairEvaluation)
        if isinstance(one, kind):
            found[path] = one
    return found


def labels_of(names: Mapping[Path, str], folders: Sequence[Path]) -> dict[Path, str]:
    """Name each run folder: by its name, or by its path where two runs have the same name."""
    every, labels = list(names.values()), {}
    for path, name in names.items():
        if every.count(name) > 1:
            inside = len(folders) == 1 and path != folders[0]
            name = (path.relative_to(folders[0]) if inside else path).as_posix()
        labels[path] = name
    return labels


@dataclass(frozen=True)
class LanguageRun:
    """A pretraining run that was evaluated, with the seconds of training and the split of the bases."""

    folder: Path
    metrics: LanguageMetrics
    seconds: float
    split: Mapping[str, Any]


def read_language(folders: Sequence[Path]) -> dict[str, LanguageRun]:
    """Read the evaluated pretraining runs in some folders, by mode.

    Args:
        folders: each the folder given as `out` to `dnalm pretrain`, or of one mode in it.

    Raises:
        InputError: if there is none, or a file is damaged.
    """
    runs = {}
    for path, record in _pretraining(folders).items():
        metrics = decode(record["metrics"], LanguageMetrics, path)
        times, split = record["timings"], record["data"].get("split") or {}
        seconds = float(times.get("training_s", times["elapsed_s"]))
        runs[path.parent] = LanguageRun(path.parent, metrics, seconds, split)
    if not runs:
        raise no_results(folders)
    labels = labels_of({path: run.metrics.mode for path, run in runs.items()}, folders)
    return {labels[path]: run for path, run in runs.items()}


def _pretraining(folders: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """Return the run.json of each pretraining run that was evaluated, at its end or where it was to stop."""
    records = {path: read_record(path) for path in find(folders, "run.json", "*/run.json")}
    return {
        path: one
        for path, one in records.items()
        if one["verb"] == "pretrain" and "verdict" in one["metrics"]
    }
