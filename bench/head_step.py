"""How long a training step of the regression head takes on a CPU, and what three decisions in it are worth.

    python bench/head_step.py [--windows 64] [--width 384] [--rounds 15] [--threads N]

States of a frozen core need no gradient, and the head knows it; whitened states cost one more product; and
bf16 is compared with float32. Each way takes its turn in every round, so that what else runs on the machine
meets all of them alike; the ratio is the median over rounds.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from dnalm.heads.regression import RegressionHead, RegressionHeadConfig

BASES = 300
"""Of a window, as in the published set."""
WAYS = {
    "as dnalm trains": (False, True, torch.bfloat16),
    "with a gradient of the states": (True, True, torch.bfloat16),
    "not whitened": (False, False, torch.bfloat16),
    "in float32": (False, True, torch.float32),
}
"""Whether states ask for a gradient, whether they are whitened, and the precision."""


def stepper(
    windows: int, width: int, of_states: bool, whitened: bool, precision: torch.dtype
) -> Callable[[], None]:
    """Return a function that takes one training step."""
    torch.manual_seed(0)
    states = torch.randn(windows, BASES, width).to(torch.bfloat16).float().requires_grad_(of_states)
    target, real = torch.randn(windows, BASES), torch.ones(windows, BASES, dtype=torch.bool)
    head = RegressionHead(width, RegressionHeadConfig())
    if whitened:
        head.add_whitening()
    head.calibrate(states.detach())
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)

    def step() -> None:
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            loss = F.mse_loss(head(states, real).float(), target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        states.grad = None

    return step


def main() -> None:
    """Take turns, and print each way's median time and its ratio to the first's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--windows", type=int, default=64, help="windows a batch")
    parser.add_argument("--width", type=int, default=384, help="width of the core's states")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="0: as PyTorch chooses")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    steps = {name: stepper(options.windows, options.width, *way) for name, way in WAYS.items()}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(options.rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number >= 2:  # the first ones build kernels
                taken[name].append(time.perf_counter() - start)
    first = next(iter(taken.values()))
    found = {
        name: {
            "seconds": round(statistics.median(times), 4),
            "times_the_first": round(
                statistics.median(one / other for one, other in zip(times, first, strict=True)), 3
            ),
        }
        for name, times in taken.items()
    }
    print(json.dumps({"threads": torch.get_num_threads(), "ways": found}, indent=2))


if __name__ == "__main__":
    main()
