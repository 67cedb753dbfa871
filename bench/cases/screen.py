"""Screening a library of molecules for one gene: kept states, against encoding both of every pair."""

from bench.work import Case, Settings, Work

LIBRARY, FEW = 2_000, 4
"""Molecules scored in a round; by the way that encodes them all."""


def kept(settings: Settings) -> Work:
    """Return dnalm's way: states of the library and of the gene at hand, as in `dnalm interact screen`."""
    import numpy as np

    from bench.pair_sets import made_up
    from dnalm.models.pair import predict

    pairs, count = made_up(), 20 if settings.quick else LIBRARY
    pairs.model.to(settings.device)

    def run() -> None:
        predict(pairs.model, pairs.tokens, np.zeros(count, dtype=np.int64), np.arange(count))

    return Work(run, float(count), precision="fp32")


def encoded(settings: Settings) -> Work:
    """Return the way that encodes gene and molecule of each pair before it scores them."""
    import numpy as np

    from bench.encoding import encoding
    from bench.pair_sets import made_up
    from dnalm.models.pair import predict

    pairs = made_up()
    pairs.model.to(settings.device)
    encode = encoding(FEW, settings.device, tiny=settings.quick)

    def run() -> None:
        encode()
        predict(pairs.model, pairs.tokens, np.zeros(FEW, dtype=np.int64), np.arange(FEW))

    return Work(run, float(FEW), precision="bf16")


CASE = Case(
    name="screen",
    title="Screening molecules for a gene",
    about=(
        "The same model scores 2,000 molecules for one gene, in fp32, with kept states; and with "
        "DNABERT-2 and ChemBERTa reading both of each of 4 pairs in bf16."
    ),
    unit="molecules",
    ours="kept",
    ways=lambda settings: {"kept": kept, "encoding every pair": encoded},
    groups={"encoding": ("encoding every pair",)},
    amounts={"a library of 10,000 molecules": 10_000},
)
