"""Runs that are stopped at random moments, for real, end with the bits of an undisturbed one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dnalm import checkpoint
from dnalm.train.resume import BEFORE, BEST, LAST, newest_state, recover_run, save_state

ROOT = Path(__file__).resolve().parents[2]


def stopped_and_whole(toy, out, kills, seed):
    """Run both; return their folders and how each sitting of the first ended."""
    worker = [sys.executable, str(Path(__file__).with_name("kill_worker.py")), str(toy["vocab4"].folder)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*worker, str(out), str(kills), str(seed)], capture_output=True, text=True, env=env, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out / "stopped", out / "whole", json.loads(done.stdout.splitlines()[-1])["ends"]


def content(folder):
    """Digests of both checkpoints' tensors, their scores, and the log, without the times."""
    found = [checkpoint.describe(folder / name) for name in (LAST, BEST)]
    scores = [{k: v for k, v in each.items() if k != "elapsed"} for each in found[0]["evaluations"]]
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return (
        [(each["files"], each["step"]) for each in found],
        scores,
        [{key: value for key, value in line.items() if key != "elapsed"} for line in log],
    )


@pytest.mark.parametrize(("kills", "seed"), [(12, 1), (12, 2), pytest.param(200, 3, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_with_the_same_bits(toy, tmp_path, kills, seed):
    stopped, whole, ends = stopped_and_whole(toy, tmp_path, kills, seed)
    assert len([code for code in ends if code]) >= kills // 3  # it was stopped, and often
    assert content(stopped) == content(whole)
    left = {path.name for path in stopped.iterdir()}
    assert left == {LAST, BEFORE, BEST, "metrics.jsonl"}


@pytest.fixture
def states(tmp_path):
    """A folder with the states of steps 1 and 2."""
    import torch

    for step in (1, 2):
        tensors = {"model.w": torch.full((3,), float(step))}
        save_state(tmp_path / "run", tensors, {"step": step})
    return tmp_path / "run"


def test_the_state_before_is_kept(states):
    assert checkpoint.describe(states / LAST)["step"] == 2
    assert checkpoint.describe(states / BEFORE)["step"] == 1
    assert sorted(path.name for path in states.iterdir()) == [LAST, BEFORE]


@pytest.mark.parametrize("harm", ["cut", "changed", "no weights", "no description", "half description"])
def test_a_damaged_state_is_passed_over_with_a_warning(states, harm):
    weights, about = states / LAST / "model.safetensors", states / LAST / "checkpoint.json"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif harm == "changed":
        weights.write_bytes(weights.read_bytes()[:-1] + b"\7")
    elif harm == "no weights":
        weights.unlink()
    elif harm == "no description":
        about.unlink()
    else:
        about.write_text(about.read_text()[:50])
    told = []
    tensors, found = newest_state(states, told.append)
    assert found["step"] == 1
    assert tensors["model.w"].tolist() == [1.0] * 3
    assert len(told) == 1
    assert told[0].startswith("warning: ")
    assert f"going on from {states / BEFORE} instead" in told[0]


def test_two_damaged_states_are_a_mistake_told(states):
    for name in (LAST, BEFORE):
        (states / name / "model.safetensors").unlink()
    with pytest.raises(
        ValueError, match="no whole state: .*missing.*missing.*run without --resume, with --over"
    ):
        newest_state(states, print)


def test_the_newest_is_taken_whatever_it_is_called(states):
    # As left by a process that was killed between the renames, with the oldest state put back as the last.
    old = states / ".last.x.old"
    shutil.copytree(states / BEFORE, old)
    shutil.rmtree(states / BEFORE)
    (states / LAST).rename(states / BEFORE)
    recover_run(states)
    assert checkpoint.describe(states / LAST)["step"] == 1
    assert newest_state(states, print)[1]["step"] == 2
    assert not old.exists()


def test_what_killed_writers_leave_is_cleared_up(states):
    (states / ".run.json.abc.part").write_text("half")
    (states / ".last.abc.part").mkdir()
    recover_run(states)
    assert sorted(path.name for path in states.iterdir()) == [LAST, BEFORE]
