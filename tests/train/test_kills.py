"""Runs that are stopped or killed at random moments, in one process and in two, end with the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnalm import checkpoint
from tests.train import kill_worker
from tests.train.tasks import content_of

ROOT = Path(kill_worker.__file__).parents[2]
ENV = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
FLAGS = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "20", "--batch-size", "4"]
FLAGS += ["--eval-bases", "300", "--final-bases", "600", "--device", "cpu", "--precision", "fp32"]
FLAGS += ["--steps", "300", "--warmup", "2", "--eval-every", "100", "--checkpoint-every", "20"]


@pytest.mark.parametrize(("kills", "seed"), [(15, 1), pytest.param(200, 3, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_with_the_same_bits(toy, tmp_path, kills, seed):
    command = [sys.executable, kill_worker.__file__, toy["vocab4"].folder, tmp_path, kills, seed]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=ENV, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    ends = json.loads(done.stdout.splitlines()[-1])["ends"]
    assert len([code for code in ends if code]) >= kills // 3  # it was stopped, and often
    assert content_of(tmp_path / "stopped") == content_of(tmp_path / "undisturbed")
    left = {path.name for path in (tmp_path / "stopped").iterdir()}
    assert left == {"last", "last-before", "checkpoint", "metrics.jsonl"}


def words(toy, out):
    return ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(out), *FLAGS]


def stopped_at(toy, out, step, stop, *more):
    """Train in two processes up to `step`, and let `stop` end them; return the exit code and the messages."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "dnalm"]
    command += [*words(toy, out), *more]
    process = subprocess.Popen(command, env=ENV, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    log = out / "vocab4" / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and f'{{"step": {step}, "loss"' in log.read_text()):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]
    stop(process)
    _, messages = process.communicate(timeout=240)
    assert "a fault in dnalm" not in messages, messages[-3000:]
    return process.returncode, messages


def kill_the_second(process):
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            return os.kill(int(child), signal.SIGKILL)
    raise AssertionError("no second process")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads Linux's /proc")
def test_two_processes_stopped_by_their_launcher_and_by_a_kill_end_with_the_same_bits(
    toy, tmp_path, two_processes
):
    out, folder = tmp_path / "stopped", tmp_path / "stopped" / "vocab4"
    code, messages = stopped_at(toy, out, 50, lambda process: process.send_signal(signal.SIGTERM))
    assert code != 0
    assert messages.count("--resume goes on from step ") == 1, messages[-3000:]
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    assert 50 <= (step := checkpoint.describe(folder / "last")["step"]) < 200
    code, messages = stopped_at(toy, out, step // 10 * 10 + 50, kill_the_second, "--resume")
    assert code != 0
    commands = [[*words(toy, out), "--resume"], words(toy, tmp_path / "undisturbed")]
    ended, _ = two_processes(tmp_path, [{"task": "command", "words": each} for each in commands])
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert json.loads((folder / "run.json").read_text())["status"] == "done"
    assert content_of(folder) == content_of(tmp_path / "undisturbed" / "vocab4")
