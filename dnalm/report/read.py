"""Results in folders: which kinds of run there are, and the pretraining runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.record import read_record
from dnalm.results import BindingEvaluation, LanguageMetrics, PairEvaluation, decode

Kind = Literal["language", "binding", "pairs"]
KINDS: tuple[Kind, ...] = ("language", "binding", "pairs")


def kinds_of(folders: Sequence[Path], needed: bool = True) -> list[Kind]:
    """Return which kinds of finished run the folders hold, by their files.

    Args:
        folders: as given by the user.
        needed: whether it is a mistake that none of them holds a run.

    Raises:
        InputError: if one of them is no folder, or holds no run where one is needed.
    """
    check_folders(folders)
    kinds: set[Kind] = set()
    for folder in folders:
        if any(_is_evaluated(record) for _, record in _pretraining(folder)):
            kinds.add("language")
        if any(folder.glob("results_*.json")) or evaluations(folder, BindingEvaluation.FORMAT):
            kinds.add("binding")
        if visible([folder], "results.json") or evaluations(folder, PairEvaluation.FORMAT):
            kinds.add("pairs")
    if needed and not kinds:
        raise InputError(
            f"{', '.join(map(str, folders))}: expected the results of a run, got none; name the folder that "
            "dnalm pretrain, finetune, baseline or interact train wrote to, once the run has finished"
        )
    return [kind for kind in KINDS if kind in kinds]


def check_folders(folders: Sequence[Path]) -> None:
    """Raise InputError unless all of these are folders, and at least one."""
    if not folders:
        raise InputError("expected the folder of a run, got none; name one or more")
    for folder in folders:
        if not folder.is_dir():
            got = "a file" if folder.exists() else "nothing"
            raise InputError(f"{folder}: expected a folder of results, got {got}; check the path")


def evaluations(folder: Path, form: str) -> list[Path]:
    """Return the evaluation files of a format in a folder; those of pair models may lie deeper."""
    is_binding = form == BindingEvaluation.FORMAT
    paths = sorted(folder.glob("evaluation_*.json")) if is_binding else visible([folder], "evaluation*.json")
    return [path for path in paths if format_of(path) == form]


def format_of(path: Path) -> str:
    """Return the format of an evaluation; what names neither counts as the one that its folder suggests."""
    content = read_json(path)
    form = str(content.get("format")) if isinstance(content, dict) else type(content).__name__
    if form in (BindingEvaluation.FORMAT, PairEvaluation.FORMAT):
        return form
    is_binding = any(path.parent.glob("results_*.json"))
    return BindingEvaluation.FORMAT if is_binding else PairEvaluation.FORMAT


def visible(folders: Sequence[Path], pattern: str) -> list[Path]:
    """Return each file below some folders once; hidden folders hold unfinished ones."""
    paths: dict[Path, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob(pattern)):
            if not any(part.startswith(".") for part in path.relative_to(folder).parts):
                paths.setdefault(path.resolve(), path)
    return list(paths.values())


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
    """A pretraining run that was evaluated."""

    metrics: LanguageMetrics
    seconds: float
    """Of training."""
    record: Mapping[str, Any]
    """Its run.json."""


def read_language(folders: Sequence[Path]) -> dict[str, LanguageRun]:
    """Read the evaluated pretraining runs in some folders, by mode.

    Args:
        folders: each the folder given as `out` to `dnalm pretrain`, or of one mode in it.

    Raises:
        InputError: if there is none, or a file is damaged.
    """
    check_folders(folders)
    records = {
        path.parent: record
        for folder in folders
        for path, record in _pretraining(folder)
        if _is_evaluated(record)
    }
    if not records:
        raise InputError(
            f"{', '.join(map(str, folders))}: expected a finished pretraining run, got none; "
            "run dnalm pretrain"
        )
    runs = {}
    for path, record in records.items():
        metrics = decode(record["metrics"], LanguageMetrics, path / "run.json")
        times = record["timings"]
        runs[path] = LanguageRun(metrics, float(times.get("training_s", times["elapsed_s"])), record)
    labels = labels_of({path: run.metrics.mode for path, run in runs.items()}, folders)
    return {labels[path]: run for path, run in runs.items()}


def _pretraining(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the run.json of each pretraining run of a folder."""
    for path in [folder / "run.json", *sorted(folder.glob("*/run.json"))]:
        if path.is_file() and not path.parent.name.startswith("."):
            record = read_record(path)
            if record["verb"] == "pretrain":
                yield path, record


def _is_evaluated(record: Mapping[str, Any]) -> bool:
    """Whether a run reached its end, or the step at which it was to stop."""
    return "verdict" in record["metrics"]
