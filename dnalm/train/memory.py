"""Memory in training: advice where a batch does not fit, and reuse of freed memory."""

import contextlib
import ctypes
import functools
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from dnalm.errors import InputError

OUT_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
"""Texts of RuntimeErrors: of torch's allocator on a CPU, CUDA's runtime, MPS, cuBLAS."""


def ran_out(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a device or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


@contextlib.contextmanager
def raise_on_out_of_memory(what: str) -> Iterator[None]:
    """Turn running out of memory in the block into an InputError that says `what` does not fit.

    Raises:
        InputError: saying so.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise InputError(f"memory ran out: {what}") from error


def largest_that_fits(rows: int, attempt: Callable[[int], None]) -> int:
    """Return the largest divisor of `rows` that fits, from a half down to 1; 0 if none does.

    Args:
        rows: what did not fit.
        attempt: computes a micro-batch of so many rows, or raises.
    """
    for size in (rows // parts for parts in range(2, rows + 1) if rows % parts == 0):
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(size)
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
        else:
            return size
    return 0


def advice(rows: int, accumulate: int, batch_size: int, fits: int | None) -> str:
    """Return the message for a micro-batch that does not fit.

    Args:
        rows: of the micro-batch.
        accumulate: micro-batches a step of each process.
        batch_size: of the full batch, over all processes.
        fits: rows that fit; 0 if not even one does, None if it was not tried.
    """
    start = f"memory ran out: a micro-batch of {rows:,} rows does not fit"
    if fits is None:
        return (
            f"{start}; use a higher `accumulate` (the same training in less memory) or a lower `batch_size`"
        )
    if not fits:
        return f"{start}, nor does one of a single row; choose a smaller model or shorter windows"
    return (
        f"{start}, one of {fits:,} does: use `accumulate` {accumulate * rows // fits} (the same training in "
        f"less memory), or `batch_size` {batch_size * fits // rows}"
    )


@functools.cache
def keep_freed_memory() -> None:
    """Make glibc reuse freed memory, in large pages: large tensors otherwise page-fault in each step.

    Large pages must be requested before memory is first touched. So the heap is grown once, by half of the
    free memory, which takes none of it.
    """
    libc: Any = ctypes.CDLL(None)
    if sys.platform != "linux" or not hasattr(libc, "mallopt"):
        return
    libc.mallopt(-4, 0)  # M_MMAP_MAX: no allocation by mmap
    libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD: never shrink the heap
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    free = 1024 * int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
    libc.free(libc.malloc(ctypes.c_size_t(free // 2)))
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[heap]"):
            begin, end = (int(edge, 16) for edge in line.split()[0].split("-"))
            libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), 14)  # MADV_HUGEPAGE
