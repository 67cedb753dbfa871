"""Tests for dnalm/train/loop.py, those of resuming for every kind of task."""

import os
import signal
from dataclasses import replace

import pytest
import torch

from dnalm import checkpoint
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.train.optim import TrainConfig
from tests.train.tasks import KINDS, content_of, log_of, make_loop

CONFIG = TrainConfig(steps=8, batch_size=4, lr=0.01, min_lr=0.001, warmup=2, eval_every=3, checkpoint_every=3)


@pytest.fixture(scope="module")
def start(toy):
    """A function that makes a loop in a folder, as a new process would."""

    def start(folder, config=CONFIG, kind="language", dropout=0.2, **settings):
        return make_loop(kind, folder, config, toy["vocab4"].folder, dropout=dropout, **settings)

    return start


def before(loop, method, action):
    """Call `action` before each call of a loop's method."""
    original = getattr(loop, method)

    def call(*args):
        action()
        return original(*args)

    setattr(loop, method, call)


def test_it_learns_and_logs_what_it_did_bitwise_equal_in_bf16(start, tmp_path):
    config = TrainConfig(steps=40, batch_size=16, lr=0.01, min_lr=0.01, warmup=2, eval_every=20)
    for name in "ab":
        loop, shown = start(tmp_path / name, config, processor=Processor("cpu", "bf16")), []
        with torch.no_grad():
            loop.model.transformer.wte.weight.mul_(20)  # certain, and wrong
        assert loop.run(progress=lambda *given, shown=shown: shown.append(given))
    assert [scores["step"] for scores in loop.evaluations] == [0, 20, 40]
    assert loop.evaluations[-1]["train_loss"] < loop.evaluations[0]["train_loss"] - 0.05
    assert [line["step"] for line in log_of(tmp_path / "a") if "loss" in line] == [10, 20, 30, 40]
    assert [given[:2] for given in shown] == [(step, 40) for step in range(41)]
    assert shown[-1][2] == f"loss {log_of(tmp_path / 'a')[-2]['loss']:.4f}"
    assert content_of(tmp_path / "a") == content_of(tmp_path / "b")


def test_every_micro_batch_has_random_numbers_of_its_own(start, tmp_path):
    loop, seeds = start(tmp_path / "run", replace(CONFIG, accumulate=2)), []
    loss = loop.task.loss
    loop.task.loss = lambda *given: seeds.append(torch.initial_seed()) or loss(*given)
    loop.run(stop_at=3)
    assert len(seeds) == len(set(seeds)) == 6


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    """The folder of a run of each kind that nothing stops."""
    out = tmp_path_factory.mktemp("undisturbed")
    for kind in KINDS:
        assert start(out / kind, kind=kind).run()
    return out


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def stop_at(loop, step):
    assert not loop.run(stop_at=step)


def ctrl_c(loop, step):
    """Press Ctrl-C during a step, which is completed; at step 0 during the first evaluation."""
    handler = signal.getsignal(signal.SIGINT)
    if step:
        before(loop, "_take_step", lambda: interrupt() if loop.step == step - 1 else None)
    else:
        before(loop.task, "evaluate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert signal.getsignal(signal.SIGINT) is handler


def crash(loop, step):
    """Fail three steps after the last save, and leave half a line in the log."""

    def watch(line):
        if line["step"] == step + 3:
            raise RuntimeError("power cut")

    loop.watch = watch
    with pytest.raises(RuntimeError, match="power cut"):
        loop.run()
    with (loop.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')


STOPS = [(stop_at, 1), (stop_at, 3), (stop_at, 7), (ctrl_c, 0), (ctrl_c, 5), (crash, 3)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stop", "step"), STOPS)
def test_a_stopped_run_is_resumed_to_the_same_bits(start, undisturbed, tmp_path, kind, stop, step):
    stop(start(tmp_path / "a", kind=kind), step)
    rest = start(tmp_path / "a", kind=kind)
    rest.resume(print)
    assert rest.step == rest.saved == step
    assert rest.run()
    assert content_of(tmp_path / "a")[0][0] == content_of(undisturbed / kind)[0][0]  # the last state
    # The log is the same too, but for the evaluation where the run was stopped.
    planned = [
        [line for line in log_of(folder) if "loss" in line or not line["step"] % 3 or line["step"] == 8]
        for folder in (tmp_path / "a", undisturbed / kind)
    ]
    assert planned[0] == planned[1]


def test_the_best_weights_are_saved_and_not_the_last(start, tmp_path):
    config = TrainConfig(steps=40, batch_size=4, lr=0.01, min_lr=0.01, warmup=0, eval_every=10)
    loop = start(tmp_path / "a", config)

    def ruin():
        if loop.step > 20:
            with torch.no_grad():
                loop.model.transformer.wte.weight.mul_(2.0)

    before(loop, "_take_step", ruin)
    loop.run()
    losses = {scores["step"]: scores["val_loss"] for scores in loop.evaluations}
    tensors, about = checkpoint.load(tmp_path / "a")
    assert losses[40] > min(losses.values()) == about["val_loss"] == loop.best
    assert about["step"] == min(losses, key=losses.get) <= 20
    checkpoint.load_strict(tensors, loop.task.weights(loop.model), "best")
    assert loop.task.evaluate(loop.model)["val_loss"] == pytest.approx(about["val_loss"], rel=1e-6)


def test_dropout_differs_from_step_to_step(start, tmp_path):
    loop = start(tmp_path / "a", TrainConfig(steps=3, batch_size=4, lr=1e-12, min_lr=0.0, warmup=0))
    first = loop._batches.batch(0)
    loop._batches.batch = lambda *_: first  # the same batch and, at this rate, the same weights
    assert len({loop._take_step().item() for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "how", [{"schedule": "plateau", "plateau_patience": 0, "plateau_factor": 0.5}, {"patience": 2}]
)
def test_the_evaluation_where_a_run_was_stopped_decides_nothing(start, tmp_path, how):
    config = replace(CONFIG, steps=12, lr=1e-9, min_lr=1e-12, **how)

    def run(name, stop=None, resume=False):
        loop = start(tmp_path / name, config)
        loop.task.evaluate = lambda _model: {"val_loss": 1.0 + loop.step}  # never lower again
        if resume:
            loop.resume(print)
        loop.run(stop_at=stop)
        return loop.step, {line["step"]: line["lr"] for line in log_of(tmp_path / name) if "lr" in line}

    for stop in (4, 5, 7):
        run("stopped", stop, resume=stop > 4)
    assert run("stopped", resume=True) == run("undisturbed")


def test_refuses_to_resume_another_run_and_resumes_with_other_micro_batches(start, tmp_path):
    start(tmp_path / "a", dropout=0.0).run(stop_at=3)
    other = start(tmp_path / "a", TrainConfig(lr=0.5), seed=1)
    with pytest.raises(InputError, match=r"lr was 0\.01, is 0\.5; seed was 0, is 1; .*`overwrite`"):
        other.resume(print)
    with pytest.raises(InputError, match="nothing to resume here"):
        start(tmp_path / "empty").resume(print)
    rest = start(tmp_path / "a", replace(CONFIG, accumulate=4), dropout=0.0)
    rest.resume(print)
    full = start(tmp_path / "b", dropout=0.0)
    assert rest.run()
    assert full.run()
    losses = [loop.evaluations[-1]["val_loss"] for loop in (rest, full)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # float32 sums in another order


def test_patience_ends_a_run_that_no_longer_improves(start, tmp_path):
    config = TrainConfig(steps=40, batch_size=4, lr=1.0, min_lr=1.0, warmup=0, eval_every=2, patience=3)
    loop = start(tmp_path / "a", config)  # a rate of 1 makes it worse at once
    assert loop.run()
    losses = [scores["val_loss"] for scores in loop.evaluations]
    best = losses.index(min(losses))
    assert len(losses) - 1 - best == 3
    # The last state is saved, though no save was due.
    steps = [checkpoint.describe(tmp_path / "a" / name)["step"] for name in ("checkpoint", "last")]
    assert steps == [loop.evaluations[best]["step"], loop.step]
    again = start(tmp_path / "a", config)
    again.resume(print)
    assert again.run()
    assert again.step == loop.step < 40
    endless = start(tmp_path / "b", replace(config, steps=8, eval_every=1, patience=0))
    assert endless.run()
    assert endless.step == 8


def test_a_loss_that_is_not_finite_stops_the_run(start, tmp_path):
    loop = start(tmp_path / "a", replace(CONFIG, eval_every=100, checkpoint_every=100))
    with torch.no_grad():
        loop.model.transformer.ln_f.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="the validation loss is nan at step 0"):
        loop.run()
    assert not (tmp_path / "a" / "checkpoint").exists()
    loop.evaluations.append({"step": 0, "val_loss": 1.0})
    with pytest.raises(InputError, match="the loss became nan at step 8; choose a lower `lr`"):
        loop.run()
    assert checkpoint.describe(tmp_path / "a" / "last")["step"] == 0


@pytest.mark.parametrize("method", ["evaluate", "loss"])
def test_a_lack_of_memory_is_the_users_mistake(start, tmp_path, method):
    loop = start(tmp_path / "a")

    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    before(loop.task, method, fail)
    with pytest.raises(InputError):
        loop.run()
