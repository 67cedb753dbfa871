"""The state of a run on disk: its newest complete copy can be read, whenever the run was stopped."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.files import recover, unfinished_files, write_text
from dnalm.process import Say

LAST, BEFORE, BEST = "last", "last-before", "checkpoint"
"""Folders of a run: its state, the state before, the weights with the lowest validation loss."""
LOG = "metrics.jsonl"


def save_state(folder: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a run's state as `last/`; the previous one becomes `last-before/`."""
    checkpoint.save(folder / LAST, tensors, about, before=folder / BEFORE)


def newest_state(folder: Path, say: Say) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the description of the newest complete state in a run's folder.

    Args:
        folder: of the run, after `recover_run`.
        say: called with a warning for each damaged state.

    Raises:
        InputError: if there is none.
    """
    damaged: list[str] = []
    steps: list[tuple[int, str]] = []
    for name in (LAST, BEFORE):
        if (folder / name).exists():
            try:
                steps.append((checkpoint.describe(folder / name)["step"], name))
            except InputError as error:
                damaged.append(str(error))
    for _step, name in sorted(steps, reverse=True):
        try:
            state = checkpoint.load(folder / name)
        except InputError as error:
            damaged.append(str(error))
            continue
        for message in damaged:
            say(f"warning: {message}; going on from {folder / name} instead")
        return state
    if damaged:
        raise InputError(f"{folder}: no complete state: {'; '.join(damaged)}; run with `overwrite`")
    raise InputError(f"{folder}: nothing to resume here; run without `resume`")


def has_state(folder: Path) -> bool:
    """Return whether a run's folder holds a state, even one that a killed process was replacing."""
    return any((folder / name).exists() or any(folder.glob(f".{name}.*.old")) for name in (LAST, BEFORE))


def recover_run(folder: Path) -> None:
    """Clean up a run's folder after a process that was killed; the caller holds the lock there."""
    for name in (BEST, LAST, BEFORE):
        recover(folder / name)
    for path in unfinished_files(folder):
        path.unlink()


def clear_run(folder: Path) -> None:
    """Remove a run's states, best weights, logs and record; states first, so that no rest of it resumes."""
    for name in (BEFORE, LAST, BEST, "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("run.json", LOG):
        (folder / name).unlink(missing_ok=True)


def cut_log(folder: Path, lines: int) -> None:
    """Cut a run's log to its first `lines`: the others were written after the state was saved."""
    path = folder / LOG
    if path.exists():
        write_text(path, "".join(line + "\n" for line in path.read_text().splitlines()[:lines]))


def check_identity(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue a run that had other settings or data.

    Raises:
        InputError: naming what differs.
    """
    if differing := sorted(key for key in now if before.get(key) != now[key]):
        named = "; ".join(f"{key} was {before.get(key)}, is {now[key]}" for key in differing)
        raise InputError(
            f"{folder}: cannot resume with other settings: {named}; use `overwrite` to start anew"
        )
