"""Two ways of waiting: what the harness itself is tested with."""

import time

from bench.work import Build, Case, Settings, Target, Work


def waiting(seconds: float) -> Build:
    """Return a way that waits."""

    def build(settings: Settings) -> Work:
        """Return the waiting, told as long as asked: its units are 6 a call, its FLOPs 12."""
        print("a library talks on stdout")
        return Work(lambda: time.sleep(seconds), units=6.0, flops=12.0, facts={"waits": seconds})

    return build


def broken(settings: Settings) -> Work:
    """Stand for a way whose library is not there."""
    raise ImportError("no such library")


CASE = Case(
    name="toy",
    title="Waiting",
    about="A short wait and one four times as long.",
    unit="waits",
    ours="short",
    ways=lambda settings: {"short": waiting(0.02), "long": waiting(0.08), "broken": broken},
    groups={"others": ("long", "broken")},
    targets=lambda settings: [
        Target("twice the others", "others", "ratio", at_least=2.0),
        Target("under a second", "short", "seconds", at_most=1.0),
        Target("ten times the others", "others", "ratio", at_least=10.0, must=False),
    ],
)
