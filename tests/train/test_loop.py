"""Tests for dnalm/fit.py."""

import json
import os
import signal

import pytest
import torch

from dnalm import checkpoint, process
from dnalm.device import Processor
from dnalm.models.gpt import GPTConfig
from dnalm.train.language import LanguageConfig, LanguageTask
from dnalm.train.loop import Loop
from dnalm.train.optim import TrainConfig

CONFIG = TrainConfig(steps=8, batch_size=4, lr=0.01, min_lr=0.001, warmup=2, eval_every=3, checkpoint_every=3)


@pytest.fixture
def start(toy):
    """A function that makes a loop in a folder, as a new process would."""

    def make(folder, config=CONFIG, seed=0, dropout=0.2, watch=None, precision="fp32"):
        folder.mkdir(exist_ok=True)
        shape = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20, dropout=dropout)
        task = LanguageTask(toy["vocab4"], shape, LanguageConfig(eval_bases=500))
        torch.manual_seed(seed)
        return Loop(
            task,
            task.build_model(),
            config,
            folder=folder,
            fabric=Processor("cpu", precision).fabric(),
            seed=seed,
            identity={"lr": config.lr, "seed": seed},
            watch=watch,
        )

    return make


def weights_of(loop):
    return {name: tensor.clone() for name, tensor in loop.model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def log_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "elapsed"} for line in lines]


def test_it_learns_and_says_what_it_did(start, tmp_path):
    loop = start(
        tmp_path / "a", TrainConfig(steps=60, batch_size=16, lr=0.01, min_lr=0.01, warmup=2, eval_every=30)
    )
    with torch.no_grad():
        loop.model.transformer.wte.weight.mul_(20)  # sure of itself, and wrong
    assert loop.run()
    assert [scores["step"] for scores in loop.evaluations] == [0, 30, 60]
    assert loop.evaluations[-1]["train_loss"] < loop.evaluations[0]["train_loss"] - 0.05
    steps = [line["step"] for line in log_of(tmp_path / "a") if "loss" in line]
    assert steps == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_runs_are_bitwise_equal(start, tmp_path, precision):
    loops = [start(tmp_path / name, precision=precision) for name in "ab"]
    for loop in loops:
        loop.run()
    assert same(weights_of(loops[0]), weights_of(loops[1]))
    assert log_of(tmp_path / "a") == log_of(tmp_path / "b")


@pytest.mark.parametrize("stop", [1, 3, 4, 7])
def test_a_resumed_run_ends_with_the_same_bits(start, tmp_path, stop):
    whole = start(tmp_path / "a")
    whole.run()
    assert not start(tmp_path / "b").run(stop_at=stop)
    rest = start(tmp_path / "b")
    rest.resume(print)
    assert rest.step == rest.saved == stop
    assert rest.run()
    assert same(weights_of(whole), weights_of(rest))
    # What is logged is the same, but for the evaluation where it was stopped.
    logs = [
        [
            line
            for line in log_of(tmp_path / name)
            if "loss" in line or not line["step"] % 3 or line["step"] == 8
        ]
        for name in "ab"
    ]
    assert logs[0] == logs[1]


def test_where_a_run_is_stopped_its_time_is_whole(start, tmp_path, monkeypatch):
    loop, waited = start(tmp_path / "a"), []
    item = torch.Tensor.item

    def waiting(tensor):
        if loop._unlogged and tensor is loop._unlogged[-1]:
            waited.append(loop.step)
        return item(tensor)

    monkeypatch.setattr(torch.Tensor, "item", waiting)
    loop.run(stop_at=3)
    assert waited == [3]


def test_after_a_crash_it_goes_on_from_the_last_save(start, tmp_path):
    whole = start(tmp_path / "a")
    whole.run()

    def crash(line):
        if line["step"] == 6:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        start(tmp_path / "b", watch=crash).run()
    with (tmp_path / "b" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # half a line
    rest = start(tmp_path / "b")
    rest.resume(print)
    assert rest.step == 3
    rest.run()
    assert same(weights_of(whole), weights_of(rest))
    assert log_of(tmp_path / "a") == log_of(tmp_path / "b")


def test_ctrl_c_ends_the_step_and_saves(start, tmp_path):
    loop = start(tmp_path / "a")
    take = loop._take_step

    def interrupted():
        if loop.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return take()

    loop._take_step = interrupted
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert signal.getsignal(signal.SIGINT) is before
    rest = start(tmp_path / "a")
    rest.resume(print)
    assert rest.step == 5
    rest.run()
    whole = start(tmp_path / "b")
    whole.run()
    assert same(weights_of(whole), weights_of(rest))


def test_the_best_weights_are_kept_and_not_the_last(start, tmp_path):
    ruin = TrainConfig(steps=40, batch_size=4, lr=0.01, min_lr=0.01, warmup=0, eval_every=10)
    loop = start(tmp_path / "a", ruin)
    take = loop._take_step

    def worse_and_worse():
        loss = take()
        if loop.step > 20:
            with torch.no_grad():
                loop.model.transformer.wte.weight.mul_(2.0)
        return loss

    loop._take_step = worse_and_worse
    loop.run()
    losses = {scores["step"]: scores["val_loss"] for scores in loop.evaluations}
    tensors, about = checkpoint.load(tmp_path / "a")
    assert losses[40] > min(losses.values()) == about["val_loss"] == loop.best
    assert about["step"] == min(losses, key=losses.get) <= 20
    checkpoint.put(tensors, loop.task.weights(loop.model), "best")
    assert loop.task.evaluate(loop.model)["val_loss"] == pytest.approx(about["val_loss"], rel=1e-6)


def test_dropout_differs_from_step_to_step(start, tmp_path):
    loop = start(tmp_path / "a", TrainConfig(steps=3, batch_size=4, lr=1e-12, min_lr=0.0, warmup=0))
    first = loop._batches.batch(0)
    loop._batches.batch = lambda *_: first  # the same batch and, at this rate, the same weights
    losses = [loop._take_step().item() for _ in range(3)]
    assert len(set(losses)) == 3


@pytest.mark.parametrize(
    "how", [{"schedule": "plateau", "plateau_patience": 0, "plateau_factor": 0.5}, {"patience": 2}]
)
def test_scores_of_where_a_run_was_stopped_do_not_decide_how_it_goes_on(start, tmp_path, how):
    config = TrainConfig(
        **{**CONFIG.__dict__, "steps": 12, "eval_every": 3, "lr": 1e-9, "min_lr": 1e-12, **how}
    )
    whole = start(tmp_path / "whole", config)
    whole.task.evaluate = lambda _model: {"val_loss": 1.0 + whole.step}  # never lower again
    whole.run()
    for stop in (4, 5, 7):
        part = start(tmp_path / "part", config)
        part.task.evaluate = lambda _model, part=part: {"val_loss": 1.0 + part.step}
        if stop > 4:
            part.resume(print)
        part.run(stop_at=stop)
    last = start(tmp_path / "part", config)
    last.task.evaluate = lambda _model: {"val_loss": 1.0 + last.step}
    last.resume(print)
    last.run()
    assert last.step == whole.step
    rates = [
        {line["step"]: line["lr"] for line in log_of(tmp_path / name) if "lr" in line}
        for name in ("whole", "part")
    ]
    assert rates[0] == rates[1]


def test_refuses_to_resume_another_run(start, tmp_path):
    start(tmp_path / "a").run(stop_at=2)
    other = start(tmp_path / "a", TrainConfig(lr=0.5), seed=1)
    with pytest.raises(ValueError, match=r"lr was 0\.01, is 0\.5; seed was 0, is 1; use `overwrite`"):
        other.resume(print)
    with pytest.raises(ValueError, match="nothing to resume here"):
        start(tmp_path / "empty").resume(print)


def test_a_loss_that_is_no_number_stops_the_run(start, tmp_path):
    loop = start(tmp_path / "a")
    with torch.no_grad():
        loop.model.transformer.ln_f.weight.fill_(float("nan"))
    loop.evaluations.append({"step": 0, "val_loss": 1.0})
    loop.config = TrainConfig(**{**CONFIG.__dict__, "eval_every": 100, "checkpoint_every": 100})
    with pytest.raises(ValueError, match="the loss became nan at step 8; choose a lower `lr`"):
        loop.run()
    assert not (tmp_path / "a" / "last").exists()


def test_ctrl_c_in_the_first_evaluation_leaves_something_to_resume(start, tmp_path):
    loop = start(tmp_path / "a")
    evaluate = loop.task.evaluate

    def interrupted(model):
        os.kill(os.getpid(), signal.SIGINT)
        return evaluate(model)

    loop.task.evaluate = interrupted
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    rest = start(tmp_path / "a")
    rest.resume(print)
    assert rest.run()
    whole = start(tmp_path / "b")
    whole.run()
    assert same(weights_of(whole), weights_of(rest))


def test_patience_ends_a_run_that_no_longer_improves_and_keeps_the_best(start, tmp_path):
    config = TrainConfig(steps=40, batch_size=4, lr=1.0, min_lr=1.0, warmup=0, eval_every=2, patience=3)
    loop = start(tmp_path / "a", config)  # a rate of 1 makes it worse at once
    assert loop.run()
    losses = [scores["val_loss"] for scores in loop.evaluations]
    best = losses.index(min(losses))
    assert len(losses) - 1 - best == 3
    assert loop.step < 40
    assert checkpoint.describe(tmp_path / "a")["step"] == loop.evaluations[best]["step"]
    # The state of the end was kept, though no save was due.
    assert checkpoint.describe(tmp_path / "a" / "last")["step"] == loop.step
    again = start(tmp_path / "a", config)
    again.resume(print)
    assert again.run()
    assert again.step == loop.step


def test_without_patience_it_goes_to_the_end(start, tmp_path):
    config = TrainConfig(steps=8, batch_size=4, lr=1.0, min_lr=1.0, warmup=0, eval_every=1)
    loop = start(tmp_path / "a", config)
    assert loop.run()
    assert loop.step == 8


def test_a_validation_loss_that_is_no_number_ends_the_run(start, tmp_path):
    loop = start(tmp_path / "a")
    with torch.no_grad():
        loop.model.transformer.wte.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="the validation loss is nan at step 0; choose a lower `lr`"):
        loop.run()
    assert not (tmp_path / "a" / "checkpoint").exists()


def too_large(loop, most):
    """Let a loss run out of memory where it is of more than `most` windows."""
    loss = loop.task.loss

    def limited(model, batch):
        if len(batch.tokens) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return loss(model, batch)

    loop.task.loss = limited


def test_a_batch_that_does_not_fit_is_told_with_the_largest_that_does(start, tmp_path):
    config = TrainConfig(steps=4, batch_size=16, warmup=0, accumulate=1)
    loop = start(tmp_path / "a", config)
    too_large(loop, 4)
    told = r"a micro-batch of 16 rows does not fit, one of 4 does: use `accumulate` 4 .*or `batch_size` 4$"
    with pytest.raises(ValueError, match=told):
        loop.run()
    advised = start(tmp_path / "b", TrainConfig(steps=4, batch_size=16, warmup=0, accumulate=4))
    too_large(advised, 4)
    assert advised.run()


def test_one_of_several_processes_does_not_try_what_fits(start, tmp_path, monkeypatch):
    loop = start(tmp_path / "a")
    too_large(loop, 0)
    monkeypatch.setattr(loop, "_attempt", lambda _rows: pytest.fail("it tries alone"))
    monkeypatch.setattr("dnalm.process.current", lambda: process.ProcessInfo(0, 2, 2, "torchrun"))
    monkeypatch.setattr("dnalm.process.all_reduce_sum", list)
    with pytest.raises(ValueError, match="a micro-batch of 2 rows does not fit; use a higher `accumulate`"):
        loop._step_that_fits()


def test_nothing_that_fits_is_told_too(start, tmp_path):
    loop = start(tmp_path / "a")
    too_large(loop, 0)
    with pytest.raises(ValueError, match="nor does one of a single row; choose a smaller model"):
        loop.run()


def test_memory_that_runs_out_in_evaluation_is_told(start, tmp_path):
    loop = start(tmp_path / "a")

    def greedy(_model):
        raise torch.OutOfMemoryError("CUDA out of memory")

    loop.task.evaluate = greedy
    with pytest.raises(ValueError, match="memory ran out: the model does not fit when it is evaluated"):
        loop.run()


def test_another_error_is_not_taken_for_memory(start, tmp_path):
    loop = start(tmp_path / "a")

    def broken(_model, _batch):
        raise RuntimeError("shape mismatch")

    loop.task.loss = broken
    with pytest.raises(RuntimeError, match="shape mismatch"):
        loop.run()


def test_a_step_of_torch_that_asks_for_too_much_is_told(start, tmp_path):
    loop = start(tmp_path / "a")
    loss = loop.task.loss

    def greedy(model, batch):
        torch.empty(2**60)  # the CPU allocator's own refusal
        return loss(model, batch)

    loop.task.loss = greedy
    with pytest.raises(ValueError, match="memory ran out: a micro-batch of 4 rows does not fit"):
        loop.run()


def test_a_model_that_normalises_in_a_layer_of_its_own_is_not_cut(start, tmp_path, monkeypatch):
    build = LanguageTask.build_model

    def with_statistics(task):
        model = build(task)
        model.norm = torch.nn.BatchNorm2d(3)
        return model

    monkeypatch.setattr(LanguageTask, "build_model", with_statistics)
    start(tmp_path / "a")
    with pytest.raises(ValueError, match=r"normalises over the full batch"):
        start(tmp_path / "b", TrainConfig(batch_size=4, accumulate=2))


def test_the_number_of_micro_batches_may_change_on_the_way(start, tmp_path):
    start(tmp_path / "a", dropout=0.0).run(stop_at=3)
    rest = start(tmp_path / "a", TrainConfig(**(CONFIG.__dict__ | {"accumulate": 4})), dropout=0.0)
    rest.resume(print)
    rest.run()
    whole = start(tmp_path / "b", dropout=0.0)
    whole.run()
    found = [loop.evaluations[-1]["val_loss"] for loop in (rest, whole)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)  # float32 sums in another order
