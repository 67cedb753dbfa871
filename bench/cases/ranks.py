"""Two processes of one thread against one of one thread: pretraining with the same batch."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.cases.step import data, setup
from bench.work import Build, Case, Settings, Target, Work


def ranks(world: int, strategy: str = "") -> Build:
    """Return the way of so many processes, which torchrun starts anew for each round."""

    def build(settings: Settings) -> Work:
        steps, batch, length = (2, 4, 30) if settings.quick else (4, 64, 300)
        out = Path(tempfile.mkdtemp(dir=settings.scratch))
        many = f"-m torch.distributed.run --nproc-per-node {world} " if world > 1 else ""
        line = (
            f"{many}-m dnalm pretrain --steps {steps} --batch-size {batch} --block-size {length} --warmup 1 "
            f"--eval-bases 300 --final-bases 300 --threads 1 --quiet --overwrite --device {settings.device}"
        )
        line += " --n-layer 1 --n-head 2 --n-embd 16" if settings.quick else ""
        line += f" --strategy {strategy}" if strategy else ""
        command = [sys.executable, *line.split(), "--data", str(data(settings)), "--out", str(out)]
        tokens = float(steps * batch * length)

        def run() -> float:
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
            metrics = json.loads((out / "vocab4" / "run.json").read_text())["metrics"]
            return tokens / float(metrics["tokens_per_second"])

        return Work(run, tokens)

    return build


CASE = Case(
    name="ranks",
    title="Two processes that share a batch",
    about=(
        "Four steps of `dnalm pretrain` with the default recipe (64 windows of 300 tokens) in one process of "
        "one thread, and in two of one thread each that torchrun starts and that exchange gradients (gloo). "
        "The start, evaluation and saving do not count."
    ),
    unit="tokens",
    ours="two, ddp",
    ways=lambda settings: {
        "one process": ranks(1),
        "two, ddp": ranks(2, "ddp"),
        "two, fsdp": ranks(2, "fsdp"),
    },
    groups={"one": ("one process",)},
    targets=lambda settings: [
        Target("1.7 times the throughput of one", "one", "ratio", at_least=1.7, must=False)
    ],
    setup=setup,
    memory=6e9,
)
