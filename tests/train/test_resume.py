"""Tests for dnalm/train/resume.py: the states of a run on disk."""

import shutil

import pytest
import torch

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.train.resume import BEFORE, LAST, check_identity, newest_state, recover_run


@pytest.fixture
def states(tmp_path):
    """A folder with the states of steps 1 and 2."""
    for step in (1, 2):
        tensors, folder = {"model.w": torch.full((3,), float(step))}, tmp_path / "run"
        checkpoint.save(folder / LAST, tensors, {"step": step}, before=folder / BEFORE)
    return tmp_path / "run"


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
    assert {path.name for path in states.iterdir()} == {LAST, BEFORE}
    tensors, found = newest_state(states, messages.append)
    assert found["step"] == 1
    assert tensors["model.w"].tolist() == [1.0] * 3
    assert len(messages) == 1
    assert str(states / BEFORE) in messages[0]
    (states / BEFORE / "model.safetensors").unlink()
    with pytest.raises(InputError, match="`overwrite`"):
        newest_state(states, print)


@pytest.mark.parametrize("setting", ["steps", "epochs"])
def test_more_steps_are_refused_with_a_way_to_train_on(tmp_path, setting):
    check_identity(tmp_path, {setting: 4}, {setting: 4})
    with pytest.raises(InputError, match=f"{setting} was 4, is 8.*another folder.*`init_from`"):
        check_identity(tmp_path, {setting: 4}, {setting: 8})


def test_the_newest_is_taken_whatever_its_name_and_remains_of_killed_writers_are_removed(states):
    # As left by a process that was killed between the renames, with the oldest state put back as the last.
    shutil.copytree(states / BEFORE, states / ".last.x.old")
    shutil.rmtree(states / BEFORE)
    (states / LAST).rename(states / BEFORE)
    (states / ".run.json.abc.part").write_text("half")
    (states / ".last.abc.part").mkdir()
    recover_run(states)
    assert checkpoint.describe(states / LAST)["step"] == 1
    assert newest_state(states, print)[1]["step"] == 2
    assert sorted(path.name for path in states.iterdir()) == [LAST, BEFORE]
