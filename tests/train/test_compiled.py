"""Training on CUDA and through torch.compile: the losses of a CPU, and the same bits after a stop."""

import json

import pytest
import torch

from dnalm.commands.runs import prepare_process
from dnalm.device import Compute, Processor
from dnalm.evaluate.language import score
from dnalm.models.gpt import GPTConfig
from dnalm.train.language import LanguageConfig, LanguageTask
from dnalm.train.loop import Loop
from dnalm.train.optim import TrainConfig

ON_CUDA = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)
CONFIG = TrainConfig(
    steps=30, batch_size=4, lr=0.01, min_lr=0.001, warmup=2, eval_every=15, checkpoint_every=10
)


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=ON_CUDA)])
def device(request):
    """Where it is tried."""
    return request.param


@pytest.fixture
def start(toy):
    """A function that makes a loop in a folder, as a new process would."""

    def make(folder, device, precision="fp32", dropout=0.0, config=CONFIG, compiled=False):
        folder.mkdir(exist_ok=True)
        shape = GPTConfig(n_layer=2, n_head=2, n_embd=32, block_size=20, dropout=dropout)
        task = LanguageTask(toy["vocab4"], shape, LanguageConfig(eval_bases=500))
        torch.manual_seed(0)
        fabric = Processor(device, precision).fabric()
        return Loop(
            task,
            task.build_model(),
            config,
            folder=folder,
            fabric=fabric,
            seed=0,
            identity={},
            compiled=compiled,
        )

    return make


@pytest.fixture
def deterministic(device):
    """Kernels that give the same bits every time."""
    prepare_process(Compute(device=device, deterministic=True))
    yield
    torch.use_deterministic_algorithms(False)
    torch._dynamo.reset()


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line] + [
        line["evaluation"]["val_loss"] for line in lines if "evaluation" in line
    ]


def trained(loop):
    loop.run()
    return losses(loop.folder)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("compiled", [False, True])
def test_losses_are_those_of_a_cpu(start, tmp_path, device, compiled, accumulate):
    wanted = trained(start(tmp_path / "cpu", "cpu"))
    config = TrainConfig(**{**vars(CONFIG), "accumulate": accumulate})
    found = trained(start(tmp_path / "other", device, config=config, compiled=compiled))
    assert found == pytest.approx(wanted, abs=2e-4)
    scores = wanted[-3:]  # of the evaluations at steps 0, 15 and 30
    assert scores[0] - scores[-1] > 2e-3  # they do change


def test_losses_in_bf16_are_near_those_in_fp32(start, tmp_path, device):
    wanted = trained(start(tmp_path / "fp32", device))
    for compiled in (False, True):
        found = trained(start(tmp_path / f"bf16-{compiled}", device, precision="bf16", compiled=compiled))
        assert found == pytest.approx(wanted, abs=0.02)


def test_what_is_judged_at_the_end_is_not_compiled(start, tmp_path, device):
    loop = start(tmp_path / "a", device, compiled=True)
    loop.run(stop_at=1)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    score(loop.eval_model(), loop.task.genome, "val", 300, loop.task.encoder.block_size)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before > 0


@pytest.mark.parametrize("compiled", [False, True])
def test_a_resumed_run_ends_with_the_same_bits(start, tmp_path, device, deterministic, compiled):
    how = {"device": device, "precision": "bf16", "dropout": 0.2, "compiled": compiled}
    whole = start(tmp_path / "whole", **how)
    whole.run()
    stopped = start(tmp_path / "stopped", **how)
    assert not stopped.run(stop_at=13)
    again = start(tmp_path / "stopped", **how)
    again.resume(print)
    assert again.step == 13
    assert again.run()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    assert whole.evaluations[-1]["val_loss"] == again.evaluations[-1]["val_loss"]


def test_running_out_of_memory_says_what_fits(start, tmp_path, device, monkeypatch):
    loop = start(tmp_path / "a", device)
    right = LanguageTask.loss

    def loss(task, model, batch):
        if len(batch.tokens) > 1:
            torch.empty(2**50, dtype=torch.uint8, device=device)
        return right(task, model, batch)

    monkeypatch.setattr(LanguageTask, "loss", loss)
    with pytest.raises(ValueError, match="micro-batch of 4 rows does not fit, one of 1 does"):
        loop.run()
