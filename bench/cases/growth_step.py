"""The pretraining step on genomes of growing size: it must not grow with them."""

from bench.cases import growth_prepare, step
from bench.genomes import prepare_genome
from bench.work import Build, Case, Settings


def setup(settings: Settings) -> None:
    """Prepare all genomes."""
    for name, size in growth_prepare.sizes(settings).items():
        folder = settings.folder / name
        folder.mkdir()
        prepare_genome(folder, size)


def of_size(name: str) -> Build:
    """Return dnalm's step on one of them."""
    return lambda settings: step.dnalm_step("auto", settings.folder / name / "data" / "vocab4")(settings)


def ways(settings: Settings) -> dict[str, Build]:
    """Return a way for each size."""
    return growth_prepare.each(of_size, settings)


CASE = Case(
    name="growth-step",
    title="Growth: the pretraining step",
    about="dnalm's step as above, on made-up genomes of growing size.",
    unit="tokens",
    ours="1 MB",
    ways=ways,
    targets=lambda settings: growth_prepare.flat(growth_prepare.sizes(settings)),
    setup=setup,
    memory=8e9,
)
