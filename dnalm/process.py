"""The processes of one run: rank, collective operations on the CPU, graceful stop on SIGINT and SIGTERM.

torchrun and srun start the processes and number them; without them a run has one process, in which collective
operations are no-ops. Gradients are exchanged by lightning-fabric instead.
"""

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from dnalm.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
Say = Callable[[str], None]
"""Takes a message for a person."""

USE = ("predict", "variants", "explain", "score")
INTERACT = ("interact train", "interact evaluate", "interact screen")
PARALLEL_COMMANDS = ("pretrain", "finetune", "baseline", "evaluate", *USE, *INTERACT)
"""Commands that several processes can run together."""
LOST_PEER = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""Texts of errors that mean that another process has ended."""
WAIT, GRACE, POLL = 300.0, 3.0, 0.2
"""Seconds that the processes of srun wait for each other, until this is reported, and between two looks."""
ALONE = "to run in this process alone, unset SLURM_STEP_NUM_TASKS"


def silent(_message: str) -> None:
    """Drop a message."""


class ProcessInfo(NamedTuple):
    """This process among those of its run."""

    rank: int = 0  # Its number, from 0
    world_size: int = 1  # Number of processes
    local_world_size: int = 1  # Processes on this machine and on every other; 0 where their numbers differ
    launcher: str = ""  # torchrun or srun; empty for a single process


def current(env: Mapping[str, str] = os.environ) -> ProcessInfo:
    """Return this process's info from its launcher's environment variables."""
    if "TORCHELASTIC_RUN_ID" in env:
        names, launcher = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"), "torchrun"
    elif "SLURM_STEP_NUM_TASKS" in env:  # of srun's processes, not of the batch script
        names, launcher = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"), "srun"
    else:
        return ProcessInfo()
    rank, world = int(env[names[0]]), int(env[names[1]])
    # srun writes 4(x2) for two machines of four, and 4,3 for one of four and one of three.
    per_machine = env.get(names[2], str(world))
    local = 0 if "," in per_machine else int(per_machine.partition("(")[0])
    return ProcessInfo(rank, world, local, launcher) if world > 1 else ProcessInfo()


def is_rank_zero() -> bool:
    """Return whether this process writes files and messages: the first, or the only one."""
    return current().rank == 0


def check_verb(verb: str) -> None:
    """Raise InputError for several processes of a one-process command, or unequally many on machines."""
    info = current()
    if info.world_size > 1 and verb not in PARALLEL_COMMANDS:
        commands = ", ".join(PARALLEL_COMMANDS)
        hint = f"; {ALONE}" if info.launcher == "srun" else ""
        raise InputError(f"{verb} runs in one process; torchrun and srun are for {commands}{hint}")
    if not info.local_world_size or info.world_size % info.local_world_size:
        raise InputError(
            f"{info.world_size} processes, not equally many on each machine; start the same number on each "
            "(srun --ntasks-per-node N, torchrun --nproc-per-node N)"
        )


def check_batch(batch_size: int, accumulate: int) -> None:
    """Raise InputError for a batch that cannot be divided equally among the processes' micro-batches."""
    world = current().world_size
    if batch_size % (world * accumulate):
        raise InputError(
            f"`batch_size` {batch_size} cannot be divided equally among {world} processes of {accumulate} "
            f"micro-batches each; it is over all processes: choose a multiple of {world * accumulate}"
        )


def join(host: str, port: int, backend: str, say: Say = silent, seconds: float = WAIT) -> None:
    """Connect the processes of srun, all of which call this; torch would wait for ever and deaf to signals.

    Args:
        host: the machine of the first process.
        port: where it listens.
        backend: of torch.distributed.
        say: called with a message that others are waited for.
        seconds: to wait.

    Raises:
        InputError: if some have not started by then, as in an interactive step, where a person starts one.
    """
    import torch.distributed as dist
    from torch._C._distributed_c10d import TCPStore

    info, begin, store, reported = current(), time.monotonic(), None, False
    while True:
        if store is None and (info.rank == 0 or _listens(host, port)):
            store = TCPStore(host, port, info.world_size, info.rank == 0, wait_for_workers=False)
            store.add("dnalm/started", 1)
        missing = info.world_size - (store.add("dnalm/started", 0) if store else 1)
        if store is not None and not missing:
            break
        waiting = f"{missing} other {'process' if missing == 1 else 'processes'} of this step"
        if (waited := time.monotonic() - begin) >= seconds:
            message = f"waited {seconds:.0f} s for {waiting}; start all of them by srun; {ALONE}"
            if store is None:  # the first process, which reports mistakes, is one of those
                warnings.warn(message, stacklevel=2)
            raise InputError(message)
        if waited >= min(GRACE, seconds / 2) and not reported:
            say(f"waiting for {waiting}, at most {seconds:.0f} s; {ALONE}")
            reported = True
        time.sleep(POLL)
    dist.init_process_group(backend, store=store, rank=info.rank, world_size=info.world_size)


def _listens(host: str, port: int) -> bool:
    """Return whether a process listens at an address."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=POLL):
        return True
    return False


def barrier() -> None:
    """Wait for all processes."""
    all_reduce_sum([0.0])


def broadcast(value: T) -> T:
    """Return the first process's value (picklable, made by dnalm) in every process."""
    if current().world_size == 1:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0, group=_group())
    return box[0]


def all_reduce_sum(numbers: Sequence[float]) -> list[float]:
    """Return the element-wise sums over all processes."""
    if current().world_size == 1:
        return list(numbers)
    import torch
    import torch.distributed as dist

    sums = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(sums, group=_group())
    result: list[float] = sums.tolist()
    return result


def all_gather(value: T) -> list[T]:
    """Return every process's value (picklable, made by dnalm) in rank order, in every process."""
    if current().world_size == 1:
        return [value]
    import torch.distributed as dist

    values = [value] * current().world_size
    dist.all_gather_object(values, value, group=_group())
    return values


def map_over_ranks(items: Sequence[T], do: Callable[[T], R], *, together: bool) -> list[R]:
    """Return `do(item)`, picklable, for each item, in order; each process computes a part of them.

    All processes make equally many calls, so that `do` may use collective operations: the last item is
    repeated. Unless `together`, this process alone calls, and computes all of them.
    """
    info, count = current() if together else ProcessInfo(), len(items)
    world, rank = info.world_size, info.rank
    own = [do(items[min(at + rank, count - 1)]) for at in range(0, count, world)]
    if world == 1:
        return own
    parts = all_gather(own)
    return [parts[at % world][at // world] for at in range(count)]


def is_error_reporter() -> bool:
    """Return whether this process reports an error: the first that asks, so that it appears once."""
    info = current()
    if info.world_size == 1:
        return True
    import torch.distributed as dist

    if not dist.is_initialized():
        return info.rank == 0  # a mistake in the command, the same in all processes
    try:
        return int(dist.distributed_c10d._get_default_store().add("dnalm/error-reporters", 1)) == 1
    except RuntimeError:  # the process that held the store has ended
        return True


def is_lost_peer(error: Exception) -> bool:
    """Return whether an error means that another process of the run has ended."""
    if current().world_size == 1 or not isinstance(error, RuntimeError):
        return False
    return type(error).__name__.startswith("Dist") or any(text in str(error) for text in LOST_PEER)


def end(code: int) -> int:
    """Return the exit code in a single process; end one of several with it, at once.

    Python's own exit was seen to abort a process whose communication threads were busy.
    """
    if current().world_size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


@functools.cache
def _group() -> Any:
    """Return the group of all processes for values on the CPU; all of them call this at the same time."""
    import torch.distributed as dist

    return dist.new_group(backend="gloo", timeout=timedelta(days=1))  # one may be writing a large file


@contextlib.contextmanager
def stop_signal(say: Say = silent) -> Iterator[threading.Event]:
    """Graceful stop on SIGINT and SIGTERM: the first one sets the event, a second one stops at once.

    One of several processes ignores the second: it gets one from the terminal, another from its launcher.
    """
    stopped, single = threading.Event(), current().world_size == 1

    def set_stopped(_number: int, _frame: FrameType | None) -> None:
        if stopped.is_set() and single:
            raise KeyboardInterrupt
        if not stopped.is_set() and is_rank_zero():
            say("stopping after this step" + ("; once more to stop at once" if single else ""))
        stopped.set()

    with _handler(set_stopped, signal.SIGINT, signal.SIGTERM):
        yield stopped


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt; while one of several processes ends, ignore further ones."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handler(interrupt, signal.SIGTERM):
        yield


@contextlib.contextmanager
def _handler(handle: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals in the block; from an error in one of several processes on they are ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    after: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    except BaseException:
        if current().world_size > 1:
            after = dict.fromkeys(numbers, signal.SIG_IGN)
        raise
    finally:
        for number, handler in after.items():
            signal.signal(number, handler)


def any_set(event: threading.Event) -> bool:
    """Return whether the event is set in any process, the same in all: they stop after the same step."""
    return all_reduce_sum([float(event.is_set())]) != [0.0]
