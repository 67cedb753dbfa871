"""`dnalm prepare` against the published way, on a random FASTA."""

import shutil
from pathlib import Path

from bench.genomes import write_fasta
from bench.work import Case, Settings, Target, Work

FASTA = 300_000_000
"""Bytes that dnalm prepares."""
PIECE = 10_000_000
"""Bytes that the published way is timed on: its time per character is constant."""


def setup(settings: Settings) -> None:
    """Write the FASTA."""
    write_fasta(settings.folder / "genome.fa", FASTA // (300 if settings.quick else 1))


def preparing(fasta: Path, out: Path) -> Work:
    """Return the work of `dnalm prepare` for both vocabularies, in MB of FASTA."""
    from dnalm.genome.plan import Plan
    from dnalm.genome.prepare import prepare

    def run() -> None:
        prepare(Plan((fasta,), out))

    clear = lambda: shutil.rmtree(out, ignore_errors=True)  # noqa: E731
    return Work(run, fasta.stat().st_size / 1e6, before=clear)


def dnalm(settings: Settings) -> Work:
    """Return dnalm's way."""
    return preparing(settings.folder / "genome.fa", settings.folder / "dnalm")


def published(settings: Settings) -> Work:
    """Return the published way: the text in memory, its set, and a look-up for each character."""
    import numpy as np

    with (settings.folder / "genome.fa").open() as file:
        text = file.read(PIECE)

    def run() -> None:
        ids = {character: i for i, character in enumerate(sorted(set(text)))}
        np.array([ids[character] for character in text], dtype=np.uint8)
        bases = [character for character in text if character in "ACGT"]
        ids = {character: i for i, character in enumerate("ACGT")}
        np.array([ids[character] for character in bases], dtype=np.uint8)

    return Work(run, len(text) / 1e6)


CASE = Case(
    name="prepare",
    title="Preparing a genome",
    about=(
        "A FASTA of 300 MB, half of it soft-masked, into both vocabularies. published: the text in "
        "memory, the set of its characters, a look-up for each, rewritten and timed on 10 MB, the "
        "peak memory too."
    ),
    unit="MB",
    ours="dnalm",
    ways=lambda settings: {"dnalm": dnalm, "published": published},
    groups={"published": ("published",)},
    targets=lambda settings: [
        Target("100 MB/s", "dnalm", "rate", at_least=100.0),
        Target("under 500 MB of memory", "dnalm", "peak_memory_bytes", at_most=500e6),
        Target("20 times the published way", "published", "ratio", at_least=20.0),
    ],
    setup=setup,
)
