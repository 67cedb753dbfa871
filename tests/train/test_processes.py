"""Two processes of torchrun match one, up to rounding."""

import json
import shlex
from pathlib import Path

import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import main
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
    "plain": {"task": "language"},
    "weighted": {"task": "language", "weight": 0.1},
    "uneven": {"task": "pairs"},
    "bases": {"task": "bases"},
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
FLAGS = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "20", "--steps", "6"]
FLAGS += ["--eval-bases", "300", "--final-bases", "600", "--device", "cpu", "--precision", "fp32"]


def job(toy, folder, kind, strategy="single", accumulate=1, **more):
    about = {"strategy": strategy, "accumulate": accumulate}
    return about | {"data": str(toy["vocab4"].folder), "folder": str(folder), **KINDS[kind], **more}


def pretrain(toy, out, *flags):
    words = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(out), *FLAGS, *flags]
    return {"task": "command", "words": words}


def as_in_the_readme(toy, out):
    """The README's line for torchrun, with other data and a smaller model."""
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("torchrun"))
    shown = shlex.split(line.split(" #")[0])
    assert shown[:5] == ["torchrun", "--nproc-per-node", "2", "-m", "dnalm"]
    words = [{"data/vocab4": str(toy["vocab4"].folder), "outputs2": str(out)}.get(s, s) for s in shown[5:]]
    return {"task": "command", "words": [*words, *FLAGS, "--batch-size", "4", "--strategy", "fsdp"]}


@pytest.fixture(scope="module")
def done(toy, tmp_path_factory, two_processes):
    """The folder in which two processes have done all jobs of this file, and what each of them printed."""
    out = tmp_path_factory.mktemp("ranks")
    jobs = [pretrain(toy, out / "odd", "--batch-size", "5")]  # a mistake that both find
    jobs += [job(toy, out / "-".join(map(str, way)), *way) for way in WAYS]
    for strategy in ("ddp", "fsdp"):
        moved = job(toy, out / f"moved-{strategy}", "plain", strategy, stop_at=4)
        ranks_worker.train(moved | {"strategy": "single", "stop_at": 2})  # in one process, then in two
        jobs.append(moved)
    jobs.append({"task": "norm"})  # checks itself
    jobs.append({"task": "states", "folder": str(out / "states"), "texts": TEXTS})
    jobs.append(as_in_the_readme(toy, out / "two"))
    jobs.append(pretrain(toy, out / "held", "--batch-size", "4"))  # the first process alone finds a mistake
    with lock(out / "held" / "vocab4"):
        ended, shown = two_processes(out, jobs)
    assert "exitcode  : 2" in ended.stderr, ended.stderr[-3000:]
    return out, shown


@pytest.fixture(scope="module")
def alone(toy, tmp_path_factory):
    """The same trained in one process, by kind."""
    out = tmp_path_factory.mktemp("alone")
    for kind in KINDS:
        ranks_worker.train(job(toy, out / kind, kind))
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
    check_weights(one, other)


def check_weights(one, other):
    found, wanted = (checkpoint.load(folder / "last")[0] for folder in (one, other))
    assert found.keys() == wanted.keys()
    for name in wanted:
        squares = wanted.get(name.replace("model.", "exp_avg_sq."))
        if name.endswith("running_mean") or (squares is not None and squares.max() < NOISE):
            continue
        close = WEIGHTS if name.startswith("model.") else MOMENTS
        torch.testing.assert_close(found[name], wanted[name], **close)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way)))
def test_two_processes_take_the_steps_of_one_and_score_a_half_each(done, alone, way):
    folder = done[0] / "-".join(map(str, way))
    check_same(folder, alone / way[0], way[0])
    whole = int((alone / way[0] / "scored0.json").read_text())
    for rank in (0, 1):
        own = int((folder / f"scored{rank}.json").read_text())
        assert 0.4 < own / whole < 0.6  # of 6 batches three, of 7 four; of 21 pairs 10 or 11


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_run_goes_on_in_another_number_of_processes(done, toy, alone, strategy):
    folder = done[0] / f"moved-{strategy}"
    assert ranks_worker.train(job(toy, folder, "plain")).step == 6
    check_weights(folder, alone / "plain")


def test_states_are_encoded_once_by_either_process(done):
    own = [json.loads((done[0] / "states" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert sorted(own[0]["texts"] + own[1]["texts"]) == sorted(TEXTS)
    assert [len(each["texts"]) for each in own] == [512 + 76, 512]  # of three shards every second
    assert [each["filled"] for each in own] == [1100, 1100]


@pytest.mark.parametrize(("kind", "accumulate"), [("plain", 4), ("weighted", 4), ("bases", 8)])
def test_micro_batches_take_the_same_steps(toy, alone, tmp_path, kind, accumulate):
    ranks_worker.train(job(toy, tmp_path / "run", kind, accumulate=accumulate))
    check_same(tmp_path / "run", alone / kind, kind)


def test_the_command_line_in_two_processes(done, toy, tmp_path):
    out, (_, both, _) = done
    assert both["code"] == [0, 0]
    assert both["out"].count("bits per base (95 % interval") == 1
    assert both["err"].count("vocab4: 824 parameters, on cpu") == 1
    assert main(pretrain(toy, tmp_path, "--batch-size", "4")["words"]) == 0
    one, two = (json.loads((folder / "losses_vocab4.json").read_text()) for folder in (tmp_path, out / "two"))
    assert one["val_losses"] == pytest.approx(two["val_losses"], rel=1e-5)
    names = [{path.name for path in folder.rglob("*")} for folder in (tmp_path, out / "two")]
    assert names[0] == names[1]


def test_a_mistake_is_reported_once_and_no_process_waits_for_ever(done):
    out, (odd, _, held) = done
    assert odd["code"] == [2, 2]
    assert held["code"][0] == 2  # torchrun may have stopped the other process before it noticed
    assert odd["err"].count("dnalm pretrain: --batch-size 5 cannot be divided equally among 2 processes") == 1
    assert not (out / "odd").exists()
    assert held["err"].count("is writing here") == held["err"].count("dnalm pretrain: ") == 1
