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
FLAGS += ["--steps", "400", "--warmup", "2", "--eval-every", "100", "--checkpoint-every", "20"]

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads Linux's /proc")


@pytest.mark.parametrize(("kills", "seed"), [(12, 1), (12, 2), pytest.param(200, 3, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_with_the_same_bits(toy, tmp_path, kills, seed):
    command = [sys.executable, kill_worker.__file__, toy["vocab4"].folder, tmp_path, kills, seed]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=ENV, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    ends = json.loads(done.stdout.splitlines()[-1])["ends"]
    assert len([code for code in ends if code]) >= kills // 3  # it was stopped, and often
    assert content_of(tmp_path / "stopped") == content_of(tmp_path / "undisturbed")
    left = {path.name for path in (tmp_path / "stopped").iterdir()}
    assert left == {"last", "last-before", "checkpoint", "metrics.jsonl"}


def start(toy, out, *more):
    """Start two processes of one thread under torchrun."""
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "dnalm", "pretrain"]
    command += ["--data", str(toy["vocab4"].folder), "--out", str(out), *FLAGS, *more]
    return subprocess.Popen([sys.executable, *command], env=ENV, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def ended(process):
    """Wait for its end; return its exit code and its messages."""
    _, messages = process.communicate(timeout=240)
    return process.returncode, messages


def until_step(process, folder, step):
    """Wait until the log has a line of `step`."""
    log = folder / "vocab4" / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and f'{{"step": {step}, "loss"' in log.read_text()):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]


def second(process):
    """Return the number of the second process of a run."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError("no second process")


@pytest.fixture(scope="module")
def undisturbed(toy, tmp_path_factory):
    """The folder of a run of two processes that nothing stops."""
    out = tmp_path_factory.mktemp("undisturbed")
    code, messages = ended(start(toy, out))
    assert code == 0, messages[-3000:]
    return out


@needs_proc
@pytest.mark.parametrize("one_alone", [False, True], ids=["its launcher stops both", "one is killed"])
def test_a_run_of_two_processes_ends_with_the_same_bits(toy, undisturbed, tmp_path, one_alone):
    process, folder = start(toy, tmp_path), tmp_path / "vocab4"
    until_step(process, tmp_path, 50)
    if one_alone:
        os.kill(second(process), signal.SIGKILL)
    else:
        process.send_signal(signal.SIGTERM)
    code, messages = ended(process)
    assert code != 0
    assert "a fault in dnalm" not in messages, messages[-3000:]
    if not one_alone:
        assert messages.count("--resume goes on from step ") == 1, messages[-3000:]
        assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
        assert 50 <= checkpoint.describe(folder / "last")["step"] < 400
    assert ended(start(toy, tmp_path, "--resume"))[0] == 0
    assert json.loads((folder / "run.json").read_text())["status"] == "done"
    assert content_of(folder) == content_of(undisturbed / "vocab4")
