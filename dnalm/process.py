"""The processes of one run: which of them this is, and what they can share.

torchrun and srun start the processes and number them; a command that neither has started is a run of one.

What the processes of a run tell each other: a few numbers and words, on the CPU.

Gradients go their own way (lightning-fabric). In a run of one process all of this is nothing.

Ctrl-C and SIGTERM as a wish to stop, which several processes grant after the same step in each.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from dnalm.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

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


class ProcessInfo(NamedTuple):
    """Where this process stands among those of its run."""

    rank: int = 0
    """Its number, from 0."""
    world_size: int = 1
    """How many there are."""
    local_world_size: int = 1
    """How many of them are on this machine, as on every other; 0 where machines have not as many each."""
    launcher: str = ""
    """torchrun or srun; empty for a process that was started alone."""

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's share of what all do together: a stretch, in the order of the processes."""
        return items[
            len(items) * self.rank // self.world_size : len(items) * (self.rank + 1) // self.world_size
        ]


def current(env: Mapping[str, str] = os.environ) -> ProcessInfo:
    """Return this process's place, as its launcher's environment tells it."""
    if "TORCHELASTIC_RUN_ID" in env:
        names, launcher = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"), "torchrun"
    elif "SLURM_STEP_NUM_TASKS" in env:  # of srun's processes, not of the batch script
        names, launcher = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"), "srun"
    else:
        return ProcessInfo()
    rank, world = int(env[names[0]]), int(env[names[1]])
    # srun writes 4(x2) for two machines of four, and 4,3 for one of four and one of three.
    told = env.get(names[2], str(world))
    here = 0 if "," in told else int(told.partition("(")[0])
    return ProcessInfo(rank, world, here, launcher) if world > 1 else ProcessInfo()


def is_rank_zero() -> bool:
    """Whether this is the process that writes files and speaks: the first, or the only one."""
    return current().rank == 0


def check_verb(verb: str) -> None:
    """Refuse several processes for a verb that one does, and processes that are not shared alike.

    Raises:
        InputError: naming the verbs that they can share, or the numbers.
    """
    if current().world_size > 1 and verb not in SHARED:
        raise InputError(f"{verb} runs in one process; torchrun and srun are for {', '.join(SHARED)}")
    if not current().local_world_size or current().world_size % current().local_world_size:
        raise InputError(
            f"{current().world_size} processes that machines do not share alike; start as many on each (srun "
            "--ntasks-per-node N, torchrun --nproc-per-node N)"
        )


def check_batch(batch_size: int, accumulate: int) -> None:
    """Refuse a batch that the processes cannot share alike.

    Raises:
        InputError: naming the numbers.
    """
    world = current().world_size
    if batch_size % (world * accumulate):
        among = f"{world} processes" + (f" of {accumulate} micro-batches each" if accumulate > 1 else "")
        raise InputError(
            f"--batch-size {batch_size} cannot be shared alike by {among}; it stays the whole batch however "
            f"many processes there are: choose a multiple of {world * accumulate}, or other processes"
        )


PATIENCE = timedelta(days=1)
"""How long a process waits for another, which may be writing a large file; one that dies is noticed."""
TOLD = "dnalm/told"
"""Key of the processes' store: how many have asked to say what went wrong."""
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""Words of errors that say that another process is gone."""


def barrier() -> None:
    """Go on when all processes are here."""
    all_reduce_sum([0.0])


def broadcast(value: T) -> T:
    """Return the first process's value in every process; what can be pickled, and it is one of our own."""
    if current().world_size == 1:
        return value
    import torch.distributed as dist

    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0, group=_group())
    found: T = box[0]
    return found


def all_reduce_sum(numbers: Sequence[float]) -> list[float]:
    """Return the sums over all processes of as many numbers, the same in each."""
    if current().world_size == 1:
        return list(numbers)
    import torch
    import torch.distributed as dist

    sums = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(sums, group=_group())
    found: list[float] = sums.tolist()
    return found


def all_gather(value: T) -> list[T]:
    """Return every process's value in every process, in their order; what can be pickled, and is our own."""
    world = current().world_size
    if world == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * world
    dist.all_gather_object(values, value, group=_group())
    return values


def map_over_ranks(items: Sequence[T], do: Callable[[T], R], *, together: bool) -> list[R]:
    """Return what `do` makes of each item, in their order, in every process; each does its share of them.

    All take as many turns, so that `do` may itself wait for the others: where the items do not come out even,
    the last one stands in. What `do` makes can be pickled, and is our own. Unless `together`, this process
    alone asks, and does all of them.
    """
    info, count = current() if together else ProcessInfo(), len(items)
    world, rank = info.world_size, info.rank
    own = [do(items[min(at + rank, count - 1)]) for at in range(0, count, world)]
    if world == 1:
        return own
    shares = all_gather(own)
    return [shares[at % world][at // world] for at in range(count)]


def is_error_reporter() -> bool:
    """Whether this process is to say what went wrong: the first that asks, so that it is said once."""
    info = current()
    if info.world_size == 1:
        return True
    import torch.distributed as dist

    if not dist.is_initialized():
        return info.rank == 0  # a mistake in the command, which is the same in all of them
    try:
        return int(dist.distributed_c10d._get_default_store().add(TOLD, 1)) == 1
    except RuntimeError:  # the process that kept the store is gone
        return True


def is_lost_peer(error: Exception) -> bool:
    """Tell whether an error says that another process of the run has ended."""
    if current().world_size == 1 or not isinstance(error, RuntimeError):
        return False
    return type(error).__name__.startswith("Dist") or any(word in str(error) for word in LOST)


def end(code: int) -> int:
    """Return the exit code of a run of one process; of several, end this one with it.

    It ends at once: Python's own end was seen to abort a process whose threads of the exchange were at work.
    """
    if current().world_size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


@functools.cache
def _group() -> Any:
    """Return the processes as a group that exchanges values on the CPU; all of them call this at once."""
    import torch.distributed as dist

    return dist.new_group(backend="gloo", timeout=PATIENCE)


@contextlib.contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """Catch Ctrl-C and SIGTERM: the first asks the loop to stop, a second one stops at once.

    Of several processes, each gets one from the terminal and another from its launcher: the first counts, and
    no other one disturbs how they end.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if stopped.is_set() and current().world_size == 1:
            raise KeyboardInterrupt
        if not stopped.is_set() and is_rank_zero():
            once_more = "; once more to stop at once" if current().world_size == 1 else ""
            print(f"stopping after this step{once_more}", file=sys.stderr)
        stopped.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    ending = False
    try:
        yield stopped
    except KeyboardInterrupt:
        ending = current().world_size > 1
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ending else handler)


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt; of several processes, none after it disturbs how one ends."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    after = before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except BaseException:
        after = signal.SIG_IGN if current().world_size > 1 else before
        raise
    finally:
        signal.signal(signal.SIGTERM, after)


def any_asked(stopped: threading.Event) -> bool:
    """Tell whether any process was asked to stop: all of them stop after the same step."""
    return all_reduce_sum([float(stopped.is_set())]) != [0.0]
