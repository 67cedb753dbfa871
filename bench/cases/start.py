"""How long the program takes to start."""

import subprocess
import sys

from bench.work import Build, Case, Settings, Target, Work


def started(*words: str) -> Build:
    """Return the way that starts Python with `words` and waits for the end."""

    def build(settings: Settings) -> Work:
        def run() -> None:
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)

        return Work(run)

    return build


CASE = Case(
    name="start",
    title="The start of the program",
    about="A process from its start to its end; Python alone and with torch stand beside it.",
    unit="starts",
    ours="dnalm --help",
    ways=lambda settings: {
        "dnalm --help": started("-m", "dnalm", "--help"),
        "dnalm pretrain --help": started("-m", "dnalm", "pretrain", "--help"),
        "python -c pass": started("-c", "pass"),
        "python -c 'import torch'": started("-c", "import torch"),
    },
    targets=lambda settings: [
        Target("dnalm --help in 0.5 s", "dnalm --help", "seconds", at_most=0.5),
        Target("a verb's start in 4 s", "dnalm pretrain --help", "seconds", at_most=4.0),
    ],
)
