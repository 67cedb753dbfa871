"""Two processes of torchrun match one, up to rounding."""

import json
import shlex
from pathlib import Path

import pytest
import torch

from dnalm import checkpoint
from dnalm.files import lock
from tests.train import ranks_worker

ROOT = Path(ranks_worker.__file__).parents[2]
MOMENTS = {"rtol": 1e-3, "atol": 1e-6}
"""Sums of float32 are taken in another order."""
WEIGHTS = {"rtol": 1e-3, "atol": 5e-4}
"""A gradient that is mostly rounding moves a weight by up to the rate, 0.01: AdamW divides by its size."""
NOISE = 1e-12
"""Squares of gradients that are rounding alone: of a key's bias, which cancels in the softmax, and of one
that batch normalisation takes off again, whose mean it remembers."""


KINDS = {
    "plain": {"task": "language", "train": {"steps": 6}},
    "weighted": {"task": "language", "weight": 0.1, "train": {"steps": 6}},
    "uneven": {"task": "pairs", "train": {"steps": 6}},
    "bases": {"task": "bases", "train": {"steps": 6}},
}
"""Of 21 pairs or windows in batches of 8 the last has 5: of two shares one has three and one two, of four one
has two and three have one. The pairs' model normalises over the batch."""
WAYS = [
    ("plain", "ddp", 1),
    ("plain", "fsdp", 1),
    ("plain", "ddp", 2),
    ("weighted", "ddp", 1),
    ("weighted", "fsdp", 2),
    ("uneven", "ddp", 1),
    ("uneven", "fsdp", 1),
    ("bases", "ddp", 2),
    ("bases", "fsdp", 1),
]
TEXTS = ["ACGT"[i % 4] * (1 + i) for i in range(1100)]


def job(toy, folder, kind, strategy, accumulate=1, **more):
    made = {"data": str(toy["vocab4"].folder), "folder": str(folder), "strategy": strategy, **KINDS[kind]}
    return made | {"train": made["train"] | {"accumulate": accumulate}} | more


@pytest.fixture(scope="module")
def done(toy, tmp_path_factory, torchrun):
    """The folder in which two processes have done all jobs of this file, started once."""
    out = tmp_path_factory.mktemp("ranks")
    jobs = [job(toy, out / "-".join(map(str, way)), *way) for way in WAYS]
    for strategy in ("ddp", "fsdp"):
        moved = job(toy, out / f"moved-{strategy}", "plain", strategy, stop_at=4)
        ranks_worker.train(moved | {"stop_at": 2})  # in one process, then in two
        jobs.append(moved)
    jobs.append({"task": "norm"})  # checks itself
    jobs.append({"task": "states", "folder": str(out / "states"), "texts": TEXTS})
    (out / "jobs.json").write_text(json.dumps(jobs))
    ended = torchrun(ranks_worker.__file__, out / "jobs.json")
    assert ended.returncode == 0, ended.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def alone(toy, tmp_path_factory):
    """The same trained in one process, by kind."""
    out = tmp_path_factory.mktemp("alone")
    for kind in KINDS:
        ranks_worker.train(job(toy, out / kind, kind, "single"))
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
def test_a_run_goes_on_in_another_number_of_processes(done, toy, alone, strategy):
    loop = ranks_worker.train(job(toy, done / f"moved-{strategy}", "plain", "single"))
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


@pytest.mark.parametrize(("kind", "accumulate"), [("plain", 2), ("plain", 4), ("weighted", 4), ("bases", 8)])
def test_micro_batches_take_the_same_steps(toy, alone, tmp_path, kind, accumulate):
    ranks_worker.train(job(toy, tmp_path / "run", kind, "single", accumulate))
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
    ended = torchrun(*pretrain(toy, tmp_path / "odd", "--batch-size", "5"))
    assert ended.returncode != 0
    assert ended.stderr.count("--batch-size 5 cannot be divided equally among 2 processes") == 1
    assert "Traceback" not in ended.stderr.split("torch/distributed")[0]
    assert not (tmp_path / "odd").exists()
    with lock(tmp_path / "held" / "vocab4"):  # the first process alone finds out
        ended = torchrun(*pretrain(toy, tmp_path / "held", "--batch-size", "4"))
    assert ended.returncode != 0
    assert ended.stderr.count("is writing here") == 1
    assert "fault in dnalm" not in ended.stderr
    assert "exitcode  : 2" in ended.stderr
