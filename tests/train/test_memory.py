"""Tests for dnalm/train/memory.py."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dnalm.errors import InputError
from dnalm.train.memory import raise_on_out_of_memory


def test_only_a_lack_of_memory_is_the_users_mistake():
    with pytest.raises(InputError, match="too many weights"), raise_on_out_of_memory("too many weights"):
        torch.empty(2**60)
    with pytest.raises(RuntimeError, match="shape"), raise_on_out_of_memory("too many weights"):
        raise RuntimeError("shape")


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
def test_a_lack_of_memory_is_recognised(error, memory):
    with pytest.raises(InputError if memory else type(error)), raise_on_out_of_memory("x"):
        raise error


AGAIN = """
import resource, sys, torch
from dnalm.train.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    x = torch.ones(2**24)
    del x
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
flags = open("/proc/self/smaps").read().split("[heap]")[1].split("VmFlags:")[1].split(chr(10))[0]
print("hg" in flags.split())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc on Linux")
def test_freed_memory_is_used_again_in_large_pages():
    def faults(how):
        command = [sys.executable, "-c", AGAIN, how]
        count, large = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return int(count), large == "True"

    fresh, large = faults("as it is")
    assert fresh > 10_000  # 64 MiB are 16,384 pages of 4 KiB
    assert not large
    again, large = faults("kept")
    assert again < 100
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    assert large or not setting.exists() or "[never]" in setting.read_text()
