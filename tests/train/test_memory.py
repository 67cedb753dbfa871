"""Tests for dnalm/memory.py."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dnalm.train.memory import advice, largest_that_fits, raise_on_out_of_memory, ran_out


def attempt(most, tried):
    def go(rows):
        tried.append(rows)
        if rows > most:
            raise MemoryError

    return go


@pytest.mark.parametrize(
    ("rows", "most", "path", "found"),
    [
        (48, 5, [24, 16, 12, 8, 6, 4], 4),
        (64, 32, [32], 32),
        (10, 3, [5, 2], 2),
        (7, 3, [1], 1),
        (4, 0, [2, 1], 0),
        (1, 0, [], 0),
    ],
)
def test_even_shares_are_tried_down_to_one_row(rows, most, path, found):
    tried = []
    assert largest_that_fits(rows, attempt(most, tried)) == found
    assert tried == path


def test_the_advice_is_the_same_training():
    # 64 windows over 2 processes in 2 micro-batches are 16 rows; in 8 they are 4.
    assert "use `accumulate` 8 (the same training in less memory), or `batch_size` 16" in advice(16, 2, 64, 4)
    assert "a smaller model" in advice(1, 1, 1, 0)
    assert "a higher `accumulate`" in advice(16, 2, 64, None)


def test_only_memory_is_said_to_be_short():
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory"))
    assert not ran_out(RuntimeError("shape"))
    assert not ran_out(ValueError("out of memory"))
    with (
        pytest.raises(ValueError, match="memory ran out: too many weights"),
        raise_on_out_of_memory("too many weights"),
    ):
        torch.empty(2**60)
    with pytest.raises(RuntimeError, match="shape"), raise_on_out_of_memory("too many weights"):
        raise RuntimeError("shape")


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at alloc_cpu.cpp:128] err == 0. DefaultCPUAllocator: can't allocate memory",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "MPS backend out of memory (MPS allocated: 9.05 GB, max allowed: 9.07 GB)",
    ],
)
def test_memory_that_runs_out_elsewhere_is_known_by_its_words(words):
    assert ran_out(RuntimeError(words))


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
told = open("/proc/self/smaps").read().split("[heap]")[1].split("VmFlags:")[1].split(chr(10))[0]
print("hg" in told.split())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc on Linux")
def test_memory_that_was_freed_is_used_again_in_large_pages():
    def faults(how):
        done = subprocess.run(
            [sys.executable, "-c", AGAIN, how], capture_output=True, text=True, check=True
        ).stdout.split()
        return int(done[0]), done[1] == "True"

    fresh, large = faults("as it is")
    assert fresh > 10_000  # 64 MiB are 16,384 pages of 4 KiB
    assert not large
    again, large = faults("kept")
    assert again < 100
    there = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    assert large or not there.exists() or "[never]" in there.read_text()
