"""What the processes of a run tell each other: a few numbers and words, on the CPU.

Gradients go their own way (lightning-fabric). In a run of one process all of this is nothing.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from dnalm.ranks import Place, place

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = timedelta(days=1)
"""How long a process waits for another, which may be writing a large file; one that dies is noticed."""
TOLD = "dnalm/told"
"""Key of the processes' store: how many have asked to say what went wrong."""
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""Words of errors that say that another process is gone."""


def wait() -> None:
    """Go on when all processes are here."""
    total([0.0])


def first(value: T) -> T:
    """Return the first process's value in every process; what can be pickled, and it is one of our own."""
    if place().world == 1:
        return value
    import torch.distributed as dist

    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0, group=_group())
    found: T = box[0]
    return found


def total(numbers: Sequence[float]) -> list[float]:
    """Return the sums over all processes of as many numbers, the same in each."""
    if place().world == 1:
        return list(numbers)
    import torch
    import torch.distributed as dist

    sums = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(sums, group=_group())
    found: list[float] = sums.tolist()
    return found


def every(value: T) -> list[T]:
    """Return every process's value in every process, in their order; what can be pickled, and is our own."""
    world = place().world
    if world == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * world
    dist.all_gather_object(values, value, group=_group())
    return values


def in_turn(items: Sequence[T], do: Callable[[T], R], *, together: bool) -> list[R]:
    """Return what `do` makes of each item, in their order, in every process; each does its share of them.

    All take as many turns, so that `do` may itself wait for the others: where the items do not come out even,
    the last one stands in. What `do` makes can be pickled, and is our own. Unless `together`, this process
    alone asks, and does all of them.
    """
    here, count = place() if together else Place(), len(items)
    world, rank = here.world, here.rank
    own = [do(items[min(at + rank, count - 1)]) for at in range(0, count, world)]
    if world == 1:
        return own
    shares = every(own)
    return [shares[at % world][at // world] for at in range(count)]


def tells() -> bool:
    """Whether this process is to say what went wrong: the first that asks, so that it is said once."""
    here = place()
    if here.world == 1:
        return True
    import torch.distributed as dist

    if not dist.is_initialized():
        return here.rank == 0  # a mistake in the command, which is the same in all of them
    try:
        return int(dist.distributed_c10d._get_default_store().add(TOLD, 1)) == 1
    except RuntimeError:  # the process that kept the store is gone
        return True


def another_is_gone(error: Exception) -> bool:
    """Tell whether an error says that another process of the run has ended."""
    if place().world == 1 or not isinstance(error, RuntimeError):
        return False
    return type(error).__name__.startswith("Dist") or any(word in str(error) for word in LOST)


def end(code: int) -> int:
    """Return the exit code of a run of one process; of several, end this one with it.

    It ends at once: Python's own end was seen to abort a process whose threads of the exchange were at work.
    """
    if place().world > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


@functools.cache
def _group() -> Any:
    """Return the processes as a group that exchanges values on the CPU; all of them call this at once."""
    import torch.distributed as dist

    return dist.new_group(backend="gloo", timeout=PATIENCE)
