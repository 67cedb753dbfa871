"""Runs of two processes that are stopped or killed, for real, end with the bits of an undisturbed one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnalm import checkpoint
from dnalm.train.resume import BEST, LAST

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "20", "--batch-size", "4"]
FLAGS += ["--eval-bases", "300", "--final-bases", "600", "--device", "cpu", "--precision", "fp32"]
FLAGS += ["--steps", "600", "--warmup", "2", "--eval-every", "150", "--checkpoint-every", "20"]

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into Linux's /proc")


def start(toy, out, *more):
    """Start two processes of one thread under torchrun."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "dnalm", "pretrain"]
    words += ["--data", toy["vocab4"].folder, "--out", out, *FLAGS, *more]
    return subprocess.Popen(
        [sys.executable, *map(str, words)], env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def ended(process):
    """Wait for its end; return its exit code and what it said."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said


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


def content(folder):
    """Digests of both checkpoints' tensors, and the log, without the times."""
    log = [json.loads(line) for line in (folder / "vocab4" / "metrics.jsonl").read_text().splitlines()]
    found = [checkpoint.describe(folder / "vocab4" / name) for name in (LAST, BEST)]
    return (
        [(each["files"], each["step"]) for each in found],
        [{key: value for key, value in line.items() if key != "elapsed"} for line in log],
    )


def status(folder):
    return json.loads((folder / "vocab4" / "run.json").read_text())["status"]


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """The folder of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole")
    code, said = ended(start(toy, out))
    assert code == 0, said[-3000:]
    return out


def test_a_run_that_its_launcher_stops_ends_with_the_same_bits(toy, whole, tmp_path):
    process = start(toy, tmp_path)
    until_step(process, tmp_path, 50)
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert code != 0
    assert said.count("its state is saved, and --resume goes on from there") == 1, said[-3000:]
    assert status(tmp_path) == "interrupted"
    stopped_at = checkpoint.describe(tmp_path / "vocab4" / LAST)["step"]
    assert 50 <= stopped_at < 600
    assert ended(start(toy, tmp_path, "--resume"))[0] == 0
    assert status(tmp_path) == "done"
    assert content(tmp_path) == content(whole)


def test_a_run_of_which_one_process_is_killed_ends_with_the_same_bits(toy, whole, tmp_path):
    process = start(toy, tmp_path)
    until_step(process, tmp_path, 50)
    os.kill(second(process), signal.SIGKILL)
    code, said = ended(process)
    assert code != 0
    assert "a fault in dnalm" not in said, said[-3000:]
    assert ended(start(toy, tmp_path, "--resume"))[0] == 0
    assert content(tmp_path) == content(whole)
