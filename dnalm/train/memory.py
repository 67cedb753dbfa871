"""Memory in training: an error of the user's where it runs out, and reuse of freed memory."""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dnalm.errors import InputError

OUT_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
"""Texts of RuntimeErrors: of torch's allocator on a CPU, CUDA's runtime, MPS, cuBLAS."""


@contextlib.contextmanager
def raise_on_out_of_memory(what: str) -> Iterator[None]:
    """Raise an InputError that says `what` does not fit, if memory runs out in the block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not is_memory and not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        raise InputError(f"memory ran out: {what}") from error


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
