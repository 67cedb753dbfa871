"""Preparing genomes of growing size: what a megabase costs must not grow."""

from bench.cases.prepare import preparing
from bench.genomes import write_fasta
from bench.work import Build, Case, Settings, Target

FLAT = 1.25
"""Times the cost at 1 MB that still count as flat."""


def sizes(settings: Settings) -> dict[str, int]:
    """Return the sizes in bytes, by name."""
    megabytes = [1, 10, 100] + ([1000] if settings.long else [])
    return {f"{each} MB": each * (20_000 if settings.quick else 1_000_000) for each in megabytes}


def targets(settings: Settings) -> list[Target]:
    """Return the targets: every size like the smallest."""
    first, *larger = sizes(settings)
    return [
        Target(f"{each} at the cost of {first} (up to {FLAT} times)", each, "ratio", at_most=FLAT)
        for each in larger
    ]


def setup(settings: Settings) -> None:
    """Write all genomes."""
    for name, size in sizes(settings).items():
        write_fasta(settings.folder / f"{name}.fa", size)


def preparation(name: str) -> Build:
    """Return the preparation of one of them."""
    return lambda settings: preparing(settings.folder / f"{name}.fa", settings.folder / name)


CASE = Case(
    name="growth",
    title="Growth: preparing",
    about="`dnalm prepare` into both vocabularies, of random genomes of growing size.",
    unit="MB",
    ours="1 MB",
    ways=lambda settings: {name: preparation(name) for name in sizes(settings)},
    targets=targets,
    setup=setup,
)
