"""The processes of one run: which of them this is, and what they tell each other.

torchrun and srun start the processes and number them; a command that neither has started is a run of one.
What is told here are a few numbers and words on the CPU: gradients go their own way (lightning-fabric).
"""

import functools
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

SHARED = ("pretrain", "finetune", "baseline", "interact train")
"""Verbs that several processes can share."""
PATIENCE = timedelta(days=1)
"""How long a process waits for another, which may be writing a large file; one that dies is noticed."""
TOLD = "dnalm/told"
"""Key of the processes' store: how many have asked to say what went wrong."""
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""Words of errors that say that another process is gone."""


class Place(NamedTuple):
    """Where this process stands among those of its run."""

    rank: int = 0
    """Its number, from 0."""
    world: int = 1
    """How many there are."""
    here: int = 1
    """How many of them are on this machine."""
    launcher: str = ""
    """torchrun or srun; empty for a process that was started alone."""


def place(env: Mapping[str, str] = os.environ) -> Place:
    """Return this process's place, as its launcher's environment tells it."""
    if "TORCHELASTIC_RUN_ID" in env:
        names, launcher = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"), "torchrun"
    elif "SLURM_STEP_NUM_TASKS" in env:  # of srun's processes, not of the batch script
        names, launcher = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"), "srun"
    else:
        return Place()
    rank, world = int(env[names[0]]), int(env[names[1]])
    here = int(env.get(names[2], str(world)).partition("(")[0])  # srun writes 4(x2) for two machines of four
    return Place(rank, world, here, launcher) if world > 1 else Place()


def leads() -> bool:
    """Whether this is the process that writes files and speaks: the first, or the only one."""
    return place().rank == 0


def check_verb(verb: str) -> None:
    """Refuse several processes for a verb that one does.

    Raises:
        ValueError: naming the verbs that they can share.
    """
    if place().world > 1 and verb not in SHARED:
        raise ValueError(f"{verb} runs in one process; torchrun and srun are for {', '.join(SHARED)}")


def check_batch(batch_size: int, accumulate: int) -> None:
    """Refuse a batch that the processes cannot share alike.

    Raises:
        ValueError: naming the numbers.
    """
    world = place().world
    if batch_size % (world * accumulate):
        among = f"{world} processes" + (f" of {accumulate} micro-batches each" if accumulate > 1 else "")
        raise ValueError(
            f"--batch-size {batch_size} cannot be shared alike by {among}; it stays the whole batch however "
            f"many processes there are: choose a multiple of {world * accumulate}, or other processes"
        )


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


@functools.cache
def _group() -> Any:
    """Return the processes as a group that exchanges values on the CPU; all of them call this at once."""
    import torch.distributed as dist

    return dist.new_group(backend="gloo", timeout=PATIENCE)
