"""Tests for dnalm/devices.py."""

import os
from types import SimpleNamespace

import pytest
import torch

from dnalm.device import Compute, Processor, _environment, choose_compiled, choose_precision, compile_mode
from dnalm.process import ProcessInfo


@pytest.fixture
def threads_as_before(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", str(before))
    yield
    torch.set_num_threads(before)


def test_threads_are_limited_where_asked(threads_as_before):
    before = torch.get_num_threads()
    Compute(device="cpu").resolve()
    assert torch.get_num_threads() == before
    processor = Compute(device="cpu", precision="fp32", threads=before + 1).resolve()
    assert torch.get_num_threads() == before + 1
    assert processor == Processor("cpu", "fp32")
    assert str(processor) == f"cpu ({before + 1} threads), fp32"


def test_auto_takes_something_that_is_there():
    processor = Compute().resolve()
    assert processor.device in ("cpu", "cuda", "mps")
    assert processor.precision in ("fp32", "bf16", "fp16")


def test_refuses_fewer_threads_than_none():
    with pytest.raises(ValueError, match="--threads must be at least 0, got -1"):
        Compute(threads=-1)


def test_a_fabric_computes_in_the_precision_asked_for():
    with Processor("cpu", "bf16").fabric().autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with Processor("cpu", "fp32").fabric().autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_one_process_in_a_batch_script_of_several_tasks_is_a_run_of_one(monkeypatch):
    for name, value in {"NTASKS": "4", "JOB_ID": "7", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert Processor("cpu", "fp32").fabric().world_size == 1


def test_processes_of_srun_need_not_be_told_how_many_there_are_on_a_machine(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # it sets one
    assert _environment(ProcessInfo(3, 8, 4, "srun")).detect()
    assert os.environ["SLURM_NTASKS_PER_NODE"] == "4"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "cuda"}, "--device cuda: there is no such device here, only .*cpu; use --device auto"),
        ({"device": "mps"}, "--device mps: there is no such device here"),
        (
            {"device": "cpu", "precision": "fp16"},
            "--precision fp16: not available on cpu; use --precision auto",
        ),
    ],
)
def test_refuses_what_is_not_there(settings, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        Compute(**settings).resolve()


def test_refuses_bf16_on_a_cuda_device_that_lacks_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose_precision("auto", "cuda") == "fp16"
    with pytest.raises(ValueError, match="--precision bf16: not available on cuda"):
        choose_precision("bf16", "cuda")


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
def test_compiles_where_it_pays_or_as_asked(wanted, device, strategy, steps, compiled):
    assert choose_compiled(wanted, Processor(device, "bf16", strategy), steps) is compiled


def test_refuses_to_compile_a_model_in_parts():
    with pytest.raises(ValueError, match="--compile on: not with --strategy fsdp"):
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


def test_same_bits_every_time_are_asked_of_cuda(monkeypatch):
    monkeypatch.setattr("dnalm.device.choose_device", lambda wanted: "cuda")
    monkeypatch.setattr("dnalm.device.choose_precision", lambda wanted, device: "bf16")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        Compute(device="cuda").resolve()
        assert not torch.are_deterministic_algorithms_enabled()
        Compute(device="cuda", deterministic=True).resolve()
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
