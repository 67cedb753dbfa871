"""Memory in training: what is said when a batch does not fit, and how freed memory is kept for reuse."""

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

OUT = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
"""Words of the plain errors that say so: of torch's allocator on a CPU, CUDA's runtime, MPS, cuBLAS."""


def ran_out(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on a device or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT)


@contextlib.contextmanager
def raise_on_out_of_memory(what: str) -> Iterator[None]:
    """Turn running out of memory in the block into a mistake that is told.

    Args:
        what: does not fit, and what to change.

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
    """Return the largest even share of `rows` that fits, from a half down to 1; 0 if none does.

    Args:
        rows: what did not fit.
        attempt: goes through a step of a micro-batch of so many rows, or raises.
    """
    shares = (rows // parts for parts in range(2, rows + 1) if rows % parts == 0)
    return next((share for share in shares if _fits(share, attempt)), 0)


def _fits(rows: int, attempt: Callable[[int], None]) -> bool:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        attempt(rows)
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        return False
    return True


def advice(rows: int, accumulate: int, batch_size: int, fits: int | None) -> str:
    """Return what is said of a micro-batch that does not fit.

    Args:
        rows: of the micro-batch.
        accumulate: micro-batches a step of each process, as asked for.
        batch_size: of the whole batch, over all processes.
        fits: rows that were found to fit; 0 if not even one did, None if it was not tried.
    """
    start = f"memory ran out: a micro-batch of {rows:,} rows does not fit"
    if fits is None:
        return (
            f"{start}; use a higher --accumulate (the same training in less memory) or a lower --batch-size"
        )
    if not fits:
        return f"{start}, nor does one of a single row; choose a smaller model or shorter windows"
    more = accumulate * rows // fits
    return (
        f"{start}, one of {fits:,} does: use --accumulate {more} (the same training in less memory), or "
        f"--batch-size {batch_size * fits // rows}"
    )


@functools.cache
def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory, in large pages: large tensors otherwise page-fault in each step.

    Large pages must be asked for before memory is first touched. So the heap is grown to half of what is
    free, which takes none of it, and stays so.
    """
    libc: Any = ctypes.CDLL(None)
    if sys.platform != "linux" or not hasattr(libc, "mallopt"):
        return
    libc.mallopt(-4, 0)  # M_MMAP_MAX: no allocation by mmap
    libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD: never shrink the heap
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    room = libc.malloc(ctypes.c_size_t(_free_memory() // 2))
    libc.free(room)
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[heap]"):
            begin, end = (int(edge, 16) for edge in line.split()[0].split("-"))
            libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), 14)  # MADV_HUGEPAGE


def _free_memory() -> int:
    """Return the bytes of memory that nothing uses, as Linux tells."""
    return 1024 * int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
