"""Tests for dnalm/devices.py."""

import os

import pytest
import torch

from dnalm.devices import Compute, Processor, choose_precision


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
