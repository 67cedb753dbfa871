"""Two processes of one thread against one of one thread: tokens/s of pretraining, in alternating rounds.

    python bench/ranks.py [--rounds 3] [--steps 12] [--strategy ddp|fsdp] [--out FILE.json]

Each round runs `dnalm pretrain` on a simulated genome once in one process and once in two that torchrun
starts, with the same whole batch, and reads the training speed from run.json. A machine with fewer than two
free cores cannot show more than it has: the load that other work puts on it is printed with the ratio.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

BASES = 200_000
FLAGS = ["--n-layer", "4", "--n-head", "4", "--n-embd", "384", "--block-size", "300", "--batch-size", "16"]
FLAGS += ["--eval-bases", "300", "--final-bases", "300", "--device", "cpu", "--threads", "1", "--quiet"]


def main() -> None:
    """Measure, print and, where asked, keep the figures."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument("--steps", type=int, default=12)
    flags.add_argument("--strategy", choices=["ddp", "fsdp"], default="ddp")
    flags.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    flags.add_argument("--out", type=Path)
    given = flags.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _run([], ["prepare", str(_genome(folder)), "--out", str(folder / "data"), "--vocab", "vocab4"])
        load = os.getloadavg()[0]
        speeds: dict[int, list[float]] = {1: [], 2: []}
        for number in range(given.rounds):
            for world in (1, 2) if number % 2 == 0 else (2, 1):
                speeds[world].append(_speed(folder, world, number, given))
                print(
                    f"round {number + 1}, {world} of one thread: {speeds[world][-1]:,.0f} tokens/s",
                    flush=True,
                )
    found = summary(speeds) | {
        "strategy": given.strategy,
        "steps": given.steps,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": load,
    }
    print(json.dumps(found, indent=2))
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=2) + "\n")


def summary(speeds: dict[int, list[float]]) -> dict[str, Any]:
    """Return medians of the speeds of one and of two processes, and their ratio's median and range."""
    ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    return {
        "one": statistics.median(speeds[1]),
        "two": statistics.median(speeds[2]),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "rounds": len(ratios),
    }


def _genome(folder: Path) -> Path:
    letters = np.random.default_rng(0).choice(list("ACGT"), BASES)
    path = folder / "genome.fa"
    path.write_text(">one\n" + "".join(letters) + "\n")
    return path


def _speed(folder: Path, world: int, number: int, given: argparse.Namespace) -> float:
    """Return the tokens a second of one run, without its start and its evaluations."""
    out = folder / f"{world}-{number}"
    more = ["--steps", str(given.steps), "--warmup", "1", "--precision", given.precision]
    launcher = []
    if world > 1:
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(world)]
        more += ["--strategy", given.strategy]
    _run(launcher, ["pretrain", "--data", str(folder / "data" / "vocab4"), "--out", str(out), *FLAGS, *more])
    metrics = json.loads((out / "vocab4" / "run.json").read_text())["metrics"]
    return float(metrics["tokens_per_second"])


def _run(launcher: list[str], command: list[str]) -> None:
    root = str(Path(__file__).resolve().parents[1])
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    subprocess.run(
        [sys.executable, *launcher, "-m", "dnalm", *command], check=True, env=env, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    main()
