"""The process of one contestant: builds it, and does a round on request.

    python -m bench.worker CASE WAY SETTINGS

It reads `round` or `end` from stdin, a line each, and answers each with a line of JSON on stdout. `setup` for
WAY makes what the contestants share, and ends.

Between rounds it gives freed memory back, so that all contestants fit side by side; that is why each round
begins with calls that are not counted.
"""

import ctypes
import gc
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import IO

from bench.cases import load
from bench.work import Settings, Work

UNCOUNTED = 2
"""Calls at the start of a round: in the first ones memory given back is touched anew."""


def on_device() -> bool:
    """Return whether this process uses a CUDA device."""
    return "torch" in sys.modules and bool(sys.modules["torch"].cuda.is_initialized())


def peak_memory() -> int:
    """Return the most memory this process or one it started has held; of the device, where it uses one."""
    if on_device():
        return int(sys.modules["torch"].cuda.max_memory_allocated())
    scale = 1 if sys.platform == "darwin" else 1024
    children = scale * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    status = Path("/proc/self/status")  # on Linux, ru_maxrss begins with the parent's
    if status.exists():
        return max(children, 1024 * int(status.read_text().split("VmHWM:")[1].split()[0]))
    return max(children, scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def once(work: Work) -> float:
    """Return the seconds of one call."""
    if work.before:
        work.before()
    start = time.perf_counter()
    measured = work.run()
    if on_device():
        sys.modules["torch"].cuda.synchronize()
    return time.perf_counter() - start if measured is None else measured


def free_memory() -> None:
    """Give freed memory back to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    if on_device():
        sys.modules["torch"].cuda.empty_cache()


def serve(work: Work, orders: IO[str], answer: IO[str]) -> None:
    """Answer each line of `orders` until it says `end` or is closed."""

    def say(**content: object) -> None:
        answer.write(json.dumps(content) + "\n")
        answer.flush()

    first = once(work)
    free_memory()
    say(ready=first)
    while (order := orders.readline().strip()) == "round":
        seconds = [once(work) for _ in range(UNCOUNTED + 1)][-1]
        free_memory()
        say(seconds=seconds)
    if order == "end":
        say(
            units=work.units,
            flops=work.flops,
            precision=work.precision,
            peak_memory_bytes=peak_memory(),
            facts=dict(work.facts),
        )


def main(name: str, way: str, settings: Settings) -> None:
    """Build the contestant and serve."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():  # the first that the system ends when memory runs out: others must not pay for this
        score.write_text("1000")
    # What libraries print must not come between the answers.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    case = load(name)
    if way == "setup":
        assert case.setup is not None
        case.setup(settings)
        return
    serve(case.ways(settings)[way](settings), sys.stdin, answer)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Settings(**json.loads(sys.argv[3])))
