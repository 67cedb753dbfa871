"""Preparing, and pretraining on, genomes of growing size: what a megabase or a step costs must not grow."""

from bench.cases import step
from bench.cases.prepare import preparing
from bench.genomes import prepare_genome, write_fasta
from bench.work import Build, Case, Settings, Target

FLAT = 1.25
"""Times the cost at 1 MB that still count as flat."""


def sizes(settings: Settings) -> dict[str, int]:
    """Return the sizes in bytes, by name."""
    megabytes = [1, 10, 100] + ([1000] if settings.long else [])
    return {f"{each} MB": each * (20_000 if settings.quick else 1_000_000) for each in megabytes}


def flat(settings: Settings) -> list[Target]:
    """Return the targets: every size like the smallest."""
    first, *larger = sizes(settings)
    return [
        Target(f"{each} at the cost of {first} (up to {FLAT} times)", each, "ratio", at_most=FLAT)
        for each in larger
    ]


def write_genomes(settings: Settings) -> None:
    """Write all genomes."""
    for name, size in sizes(settings).items():
        write_fasta(settings.folder / f"{name}.fa", size)


def prepare_genomes(settings: Settings) -> None:
    """Prepare all genomes."""
    for name, size in sizes(settings).items():
        (settings.folder / name).mkdir()
        prepare_genome(settings.folder / name, size)


def preparation(name: str) -> Build:
    """Return the preparation of one of them."""
    return lambda settings: preparing(settings.folder / f"{name}.fa", settings.folder / name)


def step_on(name: str) -> Build:
    """Return dnalm's step on one of them."""
    return lambda settings: step.dnalm_step("auto", settings.folder / name / "data" / "vocab4")(settings)


PREPARE = Case(
    name="growth-prepare",
    title="Growth: preparing",
    about="`dnalm prepare` into both vocabularies, of random genomes of growing size.",
    unit="MB",
    ours="1 MB",
    ways=lambda settings: {name: preparation(name) for name in sizes(settings)},
    targets=flat,
    setup=write_genomes,
)
STEP = Case(
    name="growth-step",
    title="Growth: the pretraining step",
    about="dnalm's step as above, on random genomes of growing size.",
    unit="tokens",
    ours="1 MB",
    ways=lambda settings: {name: step_on(name) for name in sizes(settings)},
    targets=flat,
    setup=prepare_genomes,
    memory=8e9,
)
