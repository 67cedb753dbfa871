"""The process of one contestant: builds it, and does a round whenever it is told to.

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
from typing import IO, Any

from bench.cases import load
from bench.work import Settings, Work

UNCOUNTED = 2
"""Calls at the start of a round: in the first ones memory given back is touched anew."""


def peak_memory() -> int:
    """Return the most memory this process or one it started has held; of the device, where it uses one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
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
    told = work.run()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start if told is None else told


def rest() -> None:
    """Give freed memory back to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def serve(work: Work, orders: IO[str], answer: IO[str]) -> None:
    """Answer each line of `orders` until it says `end` or is closed."""

    def say(**content: Any) -> None:
        answer.write(json.dumps(content) + "\n")
        answer.flush()

    first = once(work)
    rest()
    say(ready=first)
    while (order := orders.readline().strip()) == "round":
        for _ in range(UNCOUNTED):
            once(work)
        seconds = once(work)
        rest()
        say(seconds=seconds)
    if order != "end":
        return  # who asks is gone
    peak = peak_memory()  # of the work, not of the profiler
    say(
        units=work.units,
        flops=work.flops,
        precision=work.precision,
        peak_memory_bytes=peak,
        facts=dict(work.facts),
        profile=work.profile() if work.profile else None,
    )


def give_way() -> None:
    """Be the first that the system ends when memory runs out: others on the machine must not pay for this."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")


def main(name: str, way: str, settings: Settings) -> None:
    """Build the contestant and serve."""
    give_way()
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
