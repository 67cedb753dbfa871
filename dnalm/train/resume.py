"""The state of a run on disk: its newest complete copy can be read, whenever the run was stopped."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.files import recover, write_text
from dnalm.process import Say

LAST, BEFORE, BEST = "last", "last-before", "checkpoint"
"""Folders of a run: its state, the state before, the weights with the lowest validation loss."""
LOG = "metrics.jsonl"
ADDED = {"features": "last", "objective": "causal", "rc_augment": False, "species_token": "", "regions": []}
"""Settings that states of 0.1.0 do not name, with what they were then."""


def newest_state(folder: Path, say: Say) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the description of the newest complete state in a run's folder.

    Args:
        folder: of the run, after `recover_run`.
        say: called with a warning for each damaged state.

    Raises:
        InputError: if there is none.
    """
    states, damaged = [], []
    for path in (folder / LAST, folder / BEFORE):
        if path.exists():
            try:
                states.append((checkpoint.load(path), path))
            except InputError as error:
                damaged.append(str(error))
    if not states:
        what = f"no complete state: {'; '.join(damaged)}; begin anew with `overwrite` or in another folder"
        raise InputError(f"{folder}: {what if damaged else 'nothing to resume here; run without `resume`'}")
    state, path = max(states, key=lambda state: state[0][1]["step"])
    for message in damaged:
        say(f"warning: {message}; going on from {path} instead")
    return state


def has_state(folder: Path) -> bool:
    """Return whether a run's folder holds a state, even one that a killed process was replacing."""
    return any((folder / name).exists() or any(folder.glob(f".{name}.*.old")) for name in (LAST, BEFORE))


def recover_run(folder: Path) -> None:
    """Clean up a run's folder after a process that was killed; the caller holds the lock there."""
    for name in (BEST, LAST, BEFORE):
        recover(folder / name)
    for path in folder.glob(".*.part"):  # of `atomic_file`
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
    """Raise an InputError that names what differs, if a run to be continued had other settings or data."""
    before = ADDED | {**before}
    if differing := sorted(key for key in now if before.get(key) != now[key]):
        named = "; ".join(f"{key} was {before.get(key)}, is {now[key]}" for key in differing)
        advice = "to finish the run, give its settings again"
        if {"steps", "epochs"} & {*differing}:
            advice += (
                "; its learning rates were planned for its length: to train longer, begin a longer run in "
                "another folder, or in finetune and interact train go on from this model by `init_from`"
            )
        raise InputError(
            f"{folder}: cannot resume with other settings: {named}; {advice}; `overwrite` replaces it"
        )
