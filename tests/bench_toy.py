"""A case of two ways of waiting and one that cannot run: what the harness is tested with."""

import time

from bench.work import Case, Target, Work


def waiting(name, seconds):
    """A way that waits, notes its turn beside its scratch folder, and tells how long it was to wait."""

    def build(settings):
        print("a library talks on stdout")

        def run():
            with (settings.folder.parent / "turns").open("a") as file:
                file.write(name + "\n")
            time.sleep(seconds)
            return seconds

        return Work(run, units=6.0, flops=12.0, precision="slow", facts={"waits": seconds})

    return build


def broken(settings):
    raise ImportError("no such library")


CASE = Case(
    name="toy",
    title="Waiting",
    about="A short wait and one four times as long.",
    unit="waits",
    ours="short",
    ways=lambda settings: {
        "short": waiting("short", 0.01),
        "long": waiting("long", 0.04),
        "product": waiting("product", 0.005),
        "broken": broken,
    },
    groups={"others": ("long", "broken")},
    peaks={"slow": "product"},
    targets=lambda settings: [
        Target("twice the others", "others", "ratio", at_least=2.0),
        Target("under a millisecond", "short", "seconds", at_most=0.001, must=False),
        Target("never measured", "broken", "rate", at_least=1.0),
    ],
    amounts={"a thousand": 1000.0},
    memory=1e8,
)
