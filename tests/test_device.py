"""Tests for dnalm/device.py: what is chosen. What is set for the process: commands/test_runs.py."""

from types import SimpleNamespace

import pytest
import torch

from dnalm.device import Compute, Processor, choose_compiled, choose_precision, choose_strategy, compile_mode
from dnalm.errors import InputError


def test_auto_takes_something_that_is_there_and_a_fabric_computes_in_its_precision(monkeypatch):
    processor = Compute().processor()
    assert processor.device in ("cpu", "cuda", "mps")
    assert processor.precision in ("fp32", "bf16", "fp16")
    for name, value in {"NTASKS": "4", "JOB_ID": "7", "PROCID": "0"}.items():  # a batch script, not srun
        monkeypatch.setenv(f"SLURM_{name}", value)
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        fabric = Processor("cpu", precision).fabric()
        assert fabric.world_size == 1
        with fabric.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"device": "cuda"}, "device"),
        ({"device": "mps"}, "device"),
        ({"device": "cpu", "precision": "fp16"}, "precision"),
        ({"device": "cpu", "strategy": "ddp"}, "strategy"),  # one process
        ({"threads": -1}, "threads"),
    ],
)
def test_refuses_what_the_machine_has_not(settings, named, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"^`{named}`"):
        Compute(**settings).processor()


def test_bf16_and_fsdp_where_they_cannot_be(second_of_three, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose_precision("auto", "cuda") == "fp16"
    assert choose_strategy("auto", "cpu", "fp16") == "ddp"
    for choose, wanted in (
        (choose_precision, ("bf16", "cuda")),
        (choose_strategy, ("fsdp", "cpu", "fp16")),
        (choose_strategy, ("auto", "mps", "fp32")),
        (choose_compiled, ("on", Processor("cuda", "bf16", "fsdp"), 4000)),
    ):
        with pytest.raises(InputError):
            choose(*wanted)


@pytest.mark.parametrize(
    ("wanted", "device", "strategy", "steps", "compiled"),
    [
        ("auto", "cuda", "single", 2000, True),
        ("auto", "cuda", "ddp", 4000, True),
        ("auto", "cuda", "single", 1999, False),  # over before compiling has paid
        ("auto", "cuda", "fsdp", 4000, False),
        ("auto", "cpu", "single", 4000, False),
        ("on", "cpu", "single", 1, True),
        ("off", "cuda", "single", 4000, False),
    ],
)
def test_compiles_where_it_pays_or_as_wanted(wanted, device, strategy, steps, compiled):
    assert choose_compiled(wanted, Processor(device, "bf16", strategy), steps) is compiled


@pytest.mark.parametrize(
    ("device", "world", "accumulate"), [("cuda", 1, 1), ("cuda", 1, 2), ("cuda", 2, 1), ("cpu", 1, 1)]
)
def test_one_graph_for_one_process_and_one_micro_batch_on_cuda(device, world, accumulate):
    fabric = SimpleNamespace(device=torch.device(device), world_size=world)
    one = (device, world, accumulate) == ("cuda", 1, 1)
    assert compile_mode(fabric, accumulate) == ("reduce-overhead" if one else None)
