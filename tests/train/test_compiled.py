"""Training on CUDA and through torch.compile: the losses of a CPU, and the same bits after a stop."""

from dataclasses import replace

import pytest
import torch

from dnalm.commands.runs import prepare_process
from dnalm.device import Compute, Processor
from dnalm.evaluate.language import score
from dnalm.genome.plan import Plan
from dnalm.genome.prepare import prepare
from dnalm.train.optim import TrainConfig
from tests.train.tasks import content_of, log_of, make_loop

ON_CUDA = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))
CONFIG = TrainConfig(
    steps=30, batch_size=4, lr=0.01, min_lr=1e-3, warmup=2, eval_every=15, checkpoint_every=10
)


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=ON_CUDA)])
def device(request):
    """Where it is tried."""
    return request.param


@pytest.fixture(scope="module")
def periodic(tmp_path_factory):
    """A prepared genome that a small model learns in 30 steps."""
    folder = tmp_path_factory.mktemp("periodic")
    (folder / "genome.fa").write_text(">chr1\n" + "ACGGTCATTG\n" * 500)
    prepare(Plan(genomes=(folder / "genome.fa",), out=folder / "data"))
    return folder / "data" / "vocab4"


@pytest.fixture
def start(periodic):
    """A function that makes a loop in a folder, as a new process would."""

    def start(folder, device, precision="fp32", config=CONFIG, **settings):
        processor = Processor(device, precision)
        return make_loop("language", folder, config, periodic, processor=processor, **settings)

    return start


@pytest.fixture
def deterministic(device):
    """Kernels that give the same bits every time."""
    prepare_process(Compute(device=device, deterministic=True))
    yield
    torch.use_deterministic_algorithms(False)
    torch._dynamo.reset()


def trained(loop):
    """The losses that are logged, and then those of the evaluations at steps 0, 15 and 30."""
    loop.run()
    lines = log_of(loop.folder)
    losses = [line["loss"] for line in lines if "loss" in line]
    return losses + [line["evaluation"]["val_loss"] for line in lines if "evaluation" in line]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("accumulate", "precision", "near"), [(1, "fp32", 2e-4), (2, "fp32", 2e-4), (1, "bf16", 0.1)]
)
def test_losses_are_those_of_a_cpu(start, tmp_path, device, compiled, accumulate, precision, near):
    wanted = trained(start(tmp_path / "cpu", "cpu"))
    config = replace(CONFIG, accumulate=accumulate)
    found = trained(start(tmp_path / "other", device, precision, config, compiled=compiled))
    assert found == pytest.approx(wanted, abs=near)
    assert wanted[-3] - wanted[-1] > 0.3  # it learns, by more than bf16 rounds in 30 steps


def test_the_final_evaluation_is_not_compiled(start, tmp_path, device):
    loop, stats = start(tmp_path / "a", device, compiled=True), torch._dynamo.utils.counters["stats"]
    loop.run(stop_at=1)
    before = stats["unique_graphs"]
    score(loop.eval_model(), loop.task.genome, "val", 300, loop.task.encoder.block_size)
    assert stats["unique_graphs"] == before > 0


@pytest.mark.parametrize("compiled", [False, True])
def test_a_resumed_run_ends_with_the_same_bits(start, tmp_path, device, deterministic, compiled):
    how = {"device": device, "precision": "bf16", "dropout": 0.2, "compiled": compiled}
    undisturbed = start(tmp_path / "undisturbed", **how)
    undisturbed.run()
    assert not start(tmp_path / "stopped", **how).run(stop_at=13)
    again = start(tmp_path / "stopped", **how)
    again.resume(print)
    assert again.step == 13
    assert again.run()
    assert content_of(tmp_path / "stopped")[0][0] == content_of(tmp_path / "undisturbed")[0][0]
    assert undisturbed.evaluations[-1]["val_loss"] == again.evaluations[-1]["val_loss"]
