"""The processes of one run: which of them this is, and what they can share.

torchrun and srun start the processes and number them; a command that neither has started is a run of one.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

SHARED = (
    "pretrain",
    "finetune",
    "baseline",
    "evaluate",
    "interact train",
    "interact evaluate",
    "interact screen",
)
"""Verbs that several processes can share."""


class Place(NamedTuple):
    """Where this process stands among those of its run."""

    rank: int = 0
    """Its number, from 0."""
    world: int = 1
    """How many there are."""
    here: int = 1
    """How many of them are on this machine, as on every other; 0 where machines have not as many each."""
    launcher: str = ""
    """torchrun or srun; empty for a process that was started alone."""

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's share of what all do together: a stretch, in the order of the processes."""
        return items[len(items) * self.rank // self.world : len(items) * (self.rank + 1) // self.world]


def place(env: Mapping[str, str] = os.environ) -> Place:
    """Return this process's place, as its launcher's environment tells it."""
    if "TORCHELASTIC_RUN_ID" in env:
        names, launcher = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"), "torchrun"
    elif "SLURM_STEP_NUM_TASKS" in env:  # of srun's processes, not of the batch script
        names, launcher = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"), "srun"
    else:
        return Place()
    rank, world = int(env[names[0]]), int(env[names[1]])
    # srun writes 4(x2) for two machines of four, and 4,3 for one of four and one of three.
    told = env.get(names[2], str(world))
    here = 0 if "," in told else int(told.partition("(")[0])
    return Place(rank, world, here, launcher) if world > 1 else Place()


def leads() -> bool:
    """Whether this is the process that writes files and speaks: the first, or the only one."""
    return place().rank == 0


def check_verb(verb: str) -> None:
    """Refuse several processes for a verb that one does, and processes that are not shared alike.

    Raises:
        ValueError: naming the verbs that they can share, or the numbers.
    """
    if place().world > 1 and verb not in SHARED:
        raise ValueError(f"{verb} runs in one process; torchrun and srun are for {', '.join(SHARED)}")
    if not place().here or place().world % place().here:
        raise ValueError(
            f"{place().world} processes that machines do not share alike; start as many on each (srun "
            "--ntasks-per-node N, torchrun --nproc-per-node N)"
        )


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
