"""Tests for dnalm/train/memory.py."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dnalm.errors import InputError
from dnalm.train.memory import raise_on_out_of_memory


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] err == 0. DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB, max allowed: 9.07 GB)"), True),
        (RuntimeError("shape"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_only_a_lack_of_memory_is_the_users_mistake(error, memory):
    with pytest.raises(InputError if memory else type(error)) as raised, raise_on_out_of_memory("too large"):
        raise error
    assert (raised.value is error) != memory


FAULTS = """
import resource, torch
from dnalm.train.memory import keep_freed_memory
def faults():
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        x = torch.ones(2**24)
        del x
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def large():
    flags = open("/proc/self/smaps").read().split("[heap]")[1].split("VmFlags:")[1].split(chr(10))[0]
    return "hg" in flags.split()
fresh = faults(), large()
keep_freed_memory()
print(*fresh, faults(), large())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc on Linux")
def test_freed_memory_is_used_again_in_large_pages():
    command = [sys.executable, "-c", FAULTS]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    fresh, large, again, larger = (int(word) if word.isdigit() else word == "True" for word in words)
    assert fresh > 10_000  # 64 MiB are 16,384 pages of 4 KiB
    assert not large
    assert again < 100
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    assert larger or not setting.exists() or "[never]" in setting.read_text()
