"""The state of a run on disk: the newest whole one is found again, whenever the run was stopped."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.files import recover, unfinished_files, write_text

LAST, BEFORE, BEST = "last", "last-before", "checkpoint"
"""Folders of a run: its state, the state before, the weights with the lowest validation loss."""
LOG = "metrics.jsonl"


def save_state(folder: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a run's state as `last/`; the one that was there becomes `last-before/`."""
    checkpoint.save(folder / LAST, tensors, about, before=folder / BEFORE)


def newest_state(folder: Path, say: Callable[[str], None]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the description of the newest whole state in a run's folder.

    Args:
        folder: of the run, cleared up (`recover_run`).
        say: told of a damaged state that is passed over.

    Raises:
        InputError: if there is none.
    """
    damaged = []
    found: list[tuple[int, str]] = []
    for name in (LAST, BEFORE):
        if (folder / name).exists():
            try:
                found.append((checkpoint.describe(folder / name)["step"], name))
            except ValueError as error:
                damaged.append(str(error))
    for _step, name in sorted(found, reverse=True):
        try:
            state = checkpoint.load(folder / name)
        except ValueError as error:
            damaged.append(str(error))
            continue
        for message in damaged:
            say(f"warning: {message}; going on from {folder / name} instead")
        return state
    what = f"no whole state: {'; '.join(damaged)}" if damaged else "nothing to resume here"
    raise InputError(f"{folder}: {what}; run without --resume" + (", with --overwrite" if damaged else ""))


def has_state(folder: Path) -> bool:
    """Tell whether a run's folder holds a state, even one that a killed process has set aside."""
    return any((folder / name).exists() or any(folder.glob(f".{name}.*.old")) for name in (LAST, BEFORE))


def recover_run(folder: Path) -> None:
    """Clear up in a run's folder after a process that was killed; the caller holds the lock there."""
    for name in (BEST, LAST, BEFORE):
        recover(folder / name)
    for path in unfinished_files(folder):
        path.unlink()


def clear_run(folder: Path) -> None:
    """Remove a run's states, best weights, log and record; states first, so that no half of it resumes."""
    for name in (BEFORE, LAST, BEST):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("run.json", LOG):
        (folder / name).unlink(missing_ok=True)


def cut_log(folder: Path, lines: int) -> None:
    """Keep the first `lines` of a run's log: the others were written after the state was saved."""
    path = folder / LOG
    if path.exists():
        write_text(path, "".join(line + "\n" for line in path.read_text().splitlines()[:lines]))


def check_identity(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that had other settings or data.

    Raises:
        InputError: naming what differs.
    """
    if differing := sorted(key for key in now if before.get(key) != now[key]):
        named = "; ".join(f"{key} was {before.get(key)}, is {now[key]}" for key in differing)
        raise InputError(
            f"{folder}: cannot resume with other settings: {named}; use --overwrite to start anew"
        )
