"""Tests for dnalm/ranks.py, dnalm/exchange.py, and that two processes of torchrun do what one does."""

import json
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dnalm import checkpoint, process
from dnalm.device import Compute, choose_strategy
from dnalm.files import lock
from dnalm.process import ProcessInfo, current, stop_signal

WORKER = Path(__file__).with_name("ranks_worker.py")
ROOT = WORKER.parents[1]
MOMENTS = {"rtol": 1e-3, "atol": 1e-6}
"""Sums of float32 are taken in another order."""
WEIGHTS = {"rtol": 1e-3, "atol": 5e-4}
"""A gradient that is mostly rounding moves a weight by up to the rate, 0.01: AdamW divides by its size."""
NOISE = 1e-12
"""Squares of gradients that are rounding alone: of a key's bias, which cancels in the softmax, and of one
that batch normalisation takes off again, whose mean it remembers."""


@pytest.fixture(scope="module")
def worker():
    """The jobs that the processes do, as a module of this one."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("ranks_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KINDS = {
    "plain": {"task": "language", "train": {"steps": 6}},
    "weighted": {"task": "language", "weight": 0.1, "train": {"steps": 6}},
    "uneven": {"task": "pairs", "train": {"steps": 6}},
    "bases": {"task": "bases", "train": {"steps": 6}},
}
"""Of 21 pairs or windows in batches of 8 the last has 5: of two shares one has three and one two, of four one
has two and three have one. The pairs' model normalises over the batch."""
WAYS = [
    ("plain", "ddp", 1), ("plain", "fsdp", 1), ("plain", "ddp", 2), ("weighted", "ddp", 1),
    ("weighted", "fsdp", 2), ("uneven", "ddp", 1), ("uneven", "fsdp", 1), ("bases", "ddp", 2),
    ("bases", "fsdp", 1),
]  # fmt: skip
TEXTS = ["ACGT"[i % 4] * (1 + i) for i in range(1100)]


def job(toy, folder, kind, strategy, accumulate=1, **more):
    made = {"data": str(toy["vocab4"].folder), "folder": str(folder), "strategy": strategy, **KINDS[kind]}
    return made | {"train": made["train"] | {"accumulate": accumulate}} | more


@pytest.fixture(scope="module")
def done(toy, worker, tmp_path_factory, torchrun):
    """The folder in which two processes have done all jobs of this file, started once."""
    out = tmp_path_factory.mktemp("ranks")
    jobs = [job(toy, out / "-".join(map(str, way)), *way) for way in WAYS]
    for strategy in ("ddp", "fsdp"):
        moved = job(toy, out / f"moved-{strategy}", "plain", strategy, stop_at=4)
        worker.train(moved | {"stop_at": 2})  # in one process, then in two
        jobs.append(moved)
    jobs.append({"task": "norm"})  # checks itself
    jobs.append({"task": "states", "folder": str(out / "states"), "texts": TEXTS})
    (out / "jobs.json").write_text(json.dumps(jobs))
    ended = torchrun(WORKER, out / "jobs.json")
    assert ended.returncode == 0, ended.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def alone(toy, worker, tmp_path_factory):
    """The same trained in one process, by kind."""
    out = tmp_path_factory.mktemp("alone")
    for kind in KINDS:
        worker.train(job(toy, out / kind, kind, "single"))
    return out


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def check_same(one, other, kind):
    """Losses, scores and the whole state are the same within rounding."""
    # A bias that batch normalisation takes off again has a gradient that is rounding alone (see WEIGHTS); in
    # evaluation it is not taken off, but the mean remembered from before.
    scores = 2e-3 if kind == "uneven" else 1e-5
    a, b = lines_of(one), lines_of(other)
    assert [line["step"] for line in a] == [line["step"] for line in b]
    for left, right in zip(a, b, strict=True):
        assert left.get("loss", 0) == pytest.approx(right.get("loss", 0), rel=1e-5)
        if "evaluation" in left:
            assert left["evaluation"] == pytest.approx(right["evaluation"], rel=scores, abs=1e-7)
    found, wanted = (checkpoint.load(folder / "last")[0] for folder in (one, other))
    check_weights(found, wanted)


def check_weights(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        squares = wanted.get(name.replace("model.", "exp_avg_sq."))
        if name.endswith("running_mean") or (squares is not None and squares.max() < NOISE):
            continue
        close = WEIGHTS if name.startswith("model.") else MOMENTS
        torch.testing.assert_close(found[name], wanted[name], **close)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way)))
def test_two_processes_take_the_steps_of_one(done, alone, way):
    check_same(done / "-".join(map(str, way)), alone / way[0], way[0])


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_run_goes_on_in_another_number_of_processes(done, toy, worker, alone, strategy):
    loop = worker.train(job(toy, done / f"moved-{strategy}", "plain", "single"))
    assert loop.step == 6
    check_weights(*(checkpoint.load(f / "last")[0] for f in (done / f"moved-{strategy}", alone / "plain")))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way)))
def test_each_process_scores_its_share_in_training(done, alone, way):
    whole = int((alone / way[0] / "scored0.json").read_text())
    assert whole > 0
    for rank in (0, 1):
        own = int((done / "-".join(map(str, way)) / f"scored{rank}.json").read_text())
        assert 0.4 < own / whole < 0.6  # of 6 batches three, of 7 four; of 21 pairs 10 or 11


def test_states_are_encoded_once_by_either_process(done):
    told = [json.loads((done / "states" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert sorted(told[0]["texts"] + told[1]["texts"]) == sorted(TEXTS)
    assert [len(each["texts"]) for each in told] == [512 + 76, 512]  # of three shards every second
    assert [each["filled"] for each in told] == [1100, 1100]
    assert [each["rows"] for each in told] == [128, 72]  # of four batches of up to 64 windows two each
    assert not list((done / "states" / "cache").glob(".*"))


@pytest.mark.parametrize(("kind", "accumulate"), [("plain", 2), ("plain", 4), ("weighted", 4), ("bases", 8)])
def test_micro_batches_take_the_same_steps(toy, worker, alone, tmp_path, kind, accumulate):
    worker.train(job(toy, tmp_path / "run", kind, "single", accumulate))
    check_same(tmp_path / "run", alone / kind, kind)


FLAGS = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "20", "--steps", "6"]
FLAGS += ["--eval-bases", "300", "--final-bases", "600", "--device", "cpu", "--precision", "fp32"]


def pretrain(toy, out, *flags):
    return ["-m", "dnalm", "pretrain", "--data", toy["vocab4"].folder, "--out", out, *FLAGS, *flags]


def test_the_command_line_in_two_processes(toy, tmp_path, torchrun):
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("torchrun"))
    shown = shlex.split(line.split(" #")[0])  # as the README has it, with other data and a smaller model
    assert shown[:3] == ["torchrun", "--nproc-per-node", "2"]
    shown = [{"data/vocab4": toy["vocab4"].folder, "outputs2": tmp_path / "two"}.get(s, s) for s in shown[3:]]
    ended = torchrun(*shown, *FLAGS, "--batch-size", "4", "--strategy", "fsdp")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("bits per base (95 % interval") == 1
    assert ended.stderr.count("vocab4: 824 parameters, on cpu") == 1
    from dnalm.cli import main

    assert main(list(map(str, pretrain(toy, tmp_path / "one", "--batch-size", "4")[2:]))) == 0
    one, two = (json.loads((tmp_path / n / "losses_vocab4.json").read_text()) for n in ("one", "two"))
    assert one["val_losses"] == pytest.approx(two["val_losses"], rel=1e-5)
    names = [{path.name for path in (tmp_path / n).rglob("*")} for n in ("one", "two")]
    assert names[0] == names[1]


def test_a_mistake_is_said_once_and_nobody_hangs(toy, tmp_path, torchrun):
    begin = time.monotonic()
    ended = torchrun(*pretrain(toy, tmp_path / "odd", "--batch-size", "5"))
    assert ended.returncode != 0
    assert ended.stderr.count("--batch-size 5 cannot be shared alike by 2 processes") == 1
    assert "Traceback" not in ended.stderr.split("torch/distributed")[0]
    assert not (tmp_path / "odd").exists()
    with lock(tmp_path / "held" / "vocab4"):  # the first process alone finds out
        ended = torchrun(*pretrain(toy, tmp_path / "held", "--batch-size", "4"))
    assert ended.returncode != 0
    assert ended.stderr.count("is writing here") == 1
    assert "fault in dnalm" not in ended.stderr
    assert "exitcode  : 2" in ended.stderr
    assert time.monotonic() - begin < 60


ONE = ProcessInfo(0, 1, 1, "")


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, ONE),
        ({"RANK": "1", "WORLD_SIZE": "4"}, ONE),  # left over from something else
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, ONE),  # a batch script, not started by srun
        (
            {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"},
            ProcessInfo(5, 8, 4, "torchrun"),
        ),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, ONE),
        (
            {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"},
            ProcessInfo(3, 8, 4, "srun"),
        ),
    ],
)
def test_the_launcher_is_known_by_its_environment(env, wanted):
    assert current(env) == wanted


@pytest.fixture
def as_second_of_three(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)


def test_what_processes_cannot_share_is_refused(as_second_of_three):
    process.check_batch(6, 2)
    with pytest.raises(ValueError, match="--batch-size 8 cannot be shared alike by 3 processes; it stays"):
        process.check_batch(8, 1)
    with pytest.raises(ValueError, match="by 3 processes of 2 micro-batches each.* a multiple of 6"):
        process.check_batch(9, 2)
    with pytest.raises(ValueError, match="compare runs in one process; torchrun and srun are for pretrain"):
        process.check_verb("compare")
    with pytest.raises(ValueError, match="--strategy fsdp: not available in fp16"):
        choose_strategy("fsdp", "cpu", "fp16")
    assert not process.is_rank_zero()
    assert not process.is_error_reporter()  # before they have met, the first speaks for all


def test_no_further_signal_disturbs_how_one_of_several_ends(as_second_of_three):
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        with pytest.raises(KeyboardInterrupt), stop_signal():
            raise KeyboardInterrupt
        assert [signal.getsignal(number) for number in numbers] == [signal.SIG_IGN] * 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with stop_signal():
        pass
    assert {number: signal.getsignal(number) for number in numbers} == before


@pytest.mark.parametrize(("told", "count"), [("4,3", 7), ("4(x2),3", 11), ("4(x2)", 9)])
def test_machines_that_have_not_as_many_processes_each_are_refused(monkeypatch, told, count):
    for name, value in {"PROCID": "0", "STEP_NUM_TASKS": str(count), "STEP_TASKS_PER_NODE": told}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(ValueError, match=f"{count} processes that machines do not share alike"):
        process.check_verb("pretrain")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "4(x2)")
    process.check_verb("pretrain")


def test_a_strategy_needs_several_processes():
    with pytest.raises(
        ValueError, match="--strategy ddp: shares the work of several processes, and there is"
    ):
        Compute(device="cpu", strategy="ddp").resolve()


def test_one_process_talks_to_itself():
    assert process.all_reduce_sum([1.5, 2.0]) == [1.5, 2.0]
    assert process.broadcast({"a": np.pi}) == {"a": np.pi}
    assert process.is_rank_zero()
    assert process.is_error_reporter()
    assert not process.is_lost_peer(RuntimeError("gloo: Connection closed by peer"))


@pytest.mark.parametrize(("count", "world"), [(0, 2), (1, 3), (2, 3), (7, 3), (6, 3), (64, 5)])
def test_each_process_takes_its_turn_and_all_take_as_many(monkeypatch, count, world):
    def done_by(rank, others=None):
        monkeypatch.setattr("dnalm.process.current", lambda: ProcessInfo(rank, world, world, "torchrun"))
        made = []
        monkeypatch.setattr(
            "dnalm.process.all_gather", lambda own: made.append(own) or others or [own] * world
        )
        return process.map_over_ranks(range(count), lambda item: 10 * item, together=True), made[0]

    shares = [done_by(rank)[1] for rank in range(world)]
    assert {len(share) for share in shares} == {-(-count // world)}
    assert sum(len(set(share)) for share in shares) <= count + world - 1
    for rank in range(world):
        assert done_by(rank, shares)[0] == [10 * item for item in range(count)]


@pytest.mark.parametrize(("count", "world"), [(0, 2), (1, 3), (7, 3), (64, 5)])
def test_shares_are_all_of_it_in_order_and_alike(count, world):
    shares = [ProcessInfo(rank, world, world, "torchrun").share(range(count)) for rank in range(world)]
    assert [item for share in shares for item in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert ONE.share("abc") == "abc"
