"""Tests for dnalm/device.py: what is chosen. What is set for the process: commands/test_runs.py."""

from types import SimpleNamespace

import pytest
import torch

from dnalm.device import Compute, Processor, choose_compiled, choose_precision, choose_strategy, compile_mode
from dnalm.errors import InputError


def test_auto_takes_something_that_is_there():
    processor = Compute().processor()
    assert processor.device in ("cpu", "cuda", "mps")
    assert processor.precision in ("fp32", "bf16", "fp16")


def test_a_fabric_computes_in_its_precision():
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        with Processor("cpu", precision).fabric().autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_one_process_in_a_batch_script_of_several_tasks_is_a_run_of_one(monkeypatch):
    for name, value in {"NTASKS": "4", "JOB_ID": "7", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert Processor("cpu", "fp32").fabric().world_size == 1


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


def test_bf16_on_a_cuda_device_that_lacks_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose_precision("auto", "cuda") == "fp16"
    with pytest.raises(InputError):
        choose_precision("bf16", "cuda")


def test_fsdp_needs_bf16_or_fp32(second_of_three):
    assert choose_strategy("auto", "cpu", "fp16") == "ddp"
    with pytest.raises(InputError):
        choose_strategy("fsdp", "cpu", "fp16")
    with pytest.raises(InputError):
        choose_strategy("auto", "mps", "fp32")


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


def test_refuses_to_compile_a_sharded_model():
    with pytest.raises(InputError):
        choose_compiled("on", Processor("cuda", "bf16", "fsdp"), 4000)


@pytest.mark.parametrize(
    ("device", "world", "accumulate", "mode"),
    [
        ("cuda", 1, 1, "reduce-overhead"),
        ("cuda", 1, 2, None),  # gradients of two micro-batches are added
        ("cuda", 2, 1, None),
        ("cpu", 1, 1, None),
    ],
)
def test_one_graph_for_one_process_and_one_micro_batch_on_cuda(device, world, accumulate, mode):
    fabric = SimpleNamespace(device=torch.device(device), world_size=world)
    assert compile_mode(fabric, accumulate) == mode
