"""Tests for dnalm/train/resume.py: the states of a run on disk."""

import shutil

import pytest
import torch

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.train.resume import BEFORE, LAST, newest_state, recover_run


@pytest.fixture
def states(tmp_path):
    """A folder with the states of steps 1 and 2."""
    for step in (1, 2):
        tensors, folder = {"model.w": torch.full((3,), float(step))}, tmp_path / "run"
        checkpoint.save(folder / LAST, tensors, {"step": step}, before=folder / BEFORE)
    return tmp_path / "run"


def test_the_previous_state_is_kept(states):
    assert checkpoint.describe(states / LAST)["step"] == 2
    assert checkpoint.describe(states / BEFORE)["step"] == 1
    assert sorted(path.name for path in states.iterdir()) == [LAST, BEFORE]


@pytest.mark.parametrize("harm", ["cut", "changed", "no weights", "no description", "half description"])
def test_a_damaged_state_is_passed_over_with_a_warning(states, harm):
    weights, about = states / LAST / "model.safetensors", states / LAST / "checkpoint.json"
    if harm in ("cut", "changed"):
        weights.write_bytes(weights.read_bytes()[:-1] + (b"\7" if harm == "changed" else b""))
    elif harm == "half description":
        about.write_text(about.read_text()[:50])
    else:
        (weights if harm == "no weights" else about).unlink()
    messages = []
    tensors, found = newest_state(states, messages.append)
    assert found["step"] == 1
    assert tensors["model.w"].tolist() == [1.0] * 3
    assert len(messages) == 1
    assert str(states / BEFORE) in messages[0]


def test_two_damaged_states_are_refused(states):
    for name in (LAST, BEFORE):
        (states / name / "model.safetensors").unlink()
    with pytest.raises(InputError, match="missing.*missing.*`overwrite`"):
        newest_state(states, print)


def test_the_newest_is_taken_whatever_its_name(states):
    # As left by a process that was killed between the renames, with the oldest state put back as the last.
    old = states / ".last.x.old"
    shutil.copytree(states / BEFORE, old)
    shutil.rmtree(states / BEFORE)
    (states / LAST).rename(states / BEFORE)
    recover_run(states)
    assert checkpoint.describe(states / LAST)["step"] == 1
    assert newest_state(states, print)[1]["step"] == 2
    assert not old.exists()


def test_the_remains_of_killed_writers_are_removed(states):
    (states / ".run.json.abc.part").write_text("half")
    (states / ".last.abc.part").mkdir()
    recover_run(states)
    assert sorted(path.name for path in states.iterdir()) == [LAST, BEFORE]
