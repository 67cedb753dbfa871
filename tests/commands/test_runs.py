"""Tests for dnalm/commands/runs.py: what is set for the process, and what goes to the terminal."""

import os

import pytest
import torch

from dnalm.commands import progress as bars
from dnalm.commands.progress import progress_bar
from dnalm.commands.runs import prepare_process
from dnalm.device import Compute, Processor
from dnalm.process import ProcessInfo


@pytest.fixture
def threads(monkeypatch):
    """The number of threads, which is restored."""
    before = torch.get_num_threads()
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", str(before))
    yield before
    torch.set_num_threads(before)


def test_threads_are_limited_where_wanted(threads):
    prepare_process(Compute(device="cpu"))
    assert torch.get_num_threads() == threads
    processor = prepare_process(Compute(device="cpu", precision="fp32", threads=threads + 1))
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"]) == threads + 1
    assert processor == Processor("cpu", "fp32")
    assert str(processor) == f"cpu ({threads + 1} threads), fp32"


def test_same_bits_every_time_on_cuda(monkeypatch):
    monkeypatch.setattr("dnalm.device.choose_device", lambda wanted: "cuda")
    monkeypatch.setattr("dnalm.device.choose_precision", lambda wanted, device: "bf16")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        prepare_process(Compute(device="cuda"))
        assert not torch.are_deterministic_algorithms_enabled()
        prepare_process(Compute(device="cuda", deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)


def test_processes_of_srun_need_not_be_given_their_number_on_a_machine(monkeypatch):
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # it sets one
    monkeypatch.setattr("dnalm.process.current", lambda: ProcessInfo(3, 8, 4, "srun"))
    joined = []
    monkeypatch.setattr(Processor, "fabric", lambda processor: joined.append(SLURMEnvironment().detect()))
    monkeypatch.setattr("dnalm.process.join", lambda *address: joined.append("waited"))
    monkeypatch.setattr("dnalm.process.barrier", lambda: joined.append("met"))
    assert prepare_process(Compute(device="cpu", precision="fp32")).strategy == "ddp"
    assert os.environ["SLURM_NTASKS_PER_NODE"] == "4"
    assert joined == ["waited", True, "met"]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(monkeypatch, capsys, terminal):
    console = bars.Console
    monkeypatch.setattr(bars, "Console", lambda stderr: console(stderr=stderr, force_terminal=terminal))
    with progress_bar(quiet=False) as progress:
        for step in range(3):
            progress(step, 2, f"loss {step}")
    shown = capsys.readouterr()
    assert ("loss 2" in shown.err) is terminal
    assert not shown.out
