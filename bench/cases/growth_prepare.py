"""Preparing genomes of growing size: what a megabase costs must not grow with them."""

from collections.abc import Callable, Mapping

from bench.cases.prepare import preparing
from bench.genomes import write_fasta
from bench.work import Build, Case, Settings, Target, Work

FLAT = 1.25
"""Times the cost at 1 MB that is still called flat."""


def sizes(settings: Settings) -> dict[str, int]:
    """Return the sizes in bytes, by name."""
    megabytes = [1, 10, 100] + ([1000] if settings.long else [])
    return {f"{each} MB": each * (20_000 if settings.quick else 1_000_000) for each in megabytes}


def flat(ways: Mapping[str, object]) -> list[Target]:
    """Return what was asked for: every size like the smallest."""
    first, *larger = ways
    return [
        Target(f"{each} at the cost of {first} (up to {FLAT} times)", each, "ratio", at_most=FLAT)
        for each in larger
    ]


def setup(settings: Settings) -> None:
    """Write all genomes."""
    for name, size in sizes(settings).items():
        write_fasta(settings.folder / f"{name}.fa", size)


def of_size(name: str) -> Build:
    """Return the preparation of one of them."""

    def build(settings: Settings) -> Work:
        return preparing(settings.folder / f"{name}.fa", settings.folder / name)

    return build


def each(of: Callable[[str], Build], settings: Settings) -> dict[str, Build]:
    """Return a way for each size."""
    return {name: of(name) for name in sizes(settings)}


CASE = Case(
    name="growth-prepare",
    title="Growth: preparing",
    about="`dnalm prepare` into both vocabularies, of made-up genomes of growing size.",
    unit="MB",
    ours="1 MB",
    ways=lambda settings: each(of_size, settings),
    targets=lambda settings: flat(sizes(settings)),
    setup=setup,
)
