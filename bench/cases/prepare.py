"""`dnalm prepare` against the published way, on a FASTA made up for the purpose."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.genomes import write_fasta
from bench.work import Build, Case, Settings, Target, Work

FASTA = 300_000_000
"""Bytes that dnalm prepares."""
PIECE = 10_000_000
"""Bytes that the published way is timed on: it takes the same for each character."""


def size(settings: Settings) -> int:
    """Return the size of the FASTA."""
    return FASTA // (300 if settings.quick else 1)


def setup(settings: Settings) -> None:
    """Write the FASTA."""
    write_fasta(settings.folder / "genome.fa", size(settings))


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
        kept = [character for character in text if character in "ACGT"]
        ids = {character: i for i, character in enumerate("ACGT")}
        np.array([ids[character] for character in kept], dtype=np.uint8)

    return Work(run, len(text) / 1e6)


def alone(work: Callable[[bytes], object]) -> Build:
    """Return one operation on all bytes of a part of the file: the machine's own measure."""

    def build(settings: Settings) -> Work:
        with (settings.folder / "genome.fa").open("rb") as file:
            chunks = [chunk for chunk in (file.read(1 << 20) for _ in range(64)) if chunk]

        def run() -> None:
            for chunk in chunks:
                work(chunk)

        return Work(run, sum(map(len, chunks)) / 1e6)

    return build


def translate(chunk: bytes) -> object:
    """Turn each byte into its code, and leave line ends out."""
    return chunk.translate(bytes(range(256)), b"\n")


CASE = Case(
    name="prepare",
    title="Preparing a genome",
    about=(
        "A FASTA of 300 MB, half of it soft-masked, into both vocabularies. published: the text in "
        "memory, the set of its characters, a look-up for each, written anew and timed on 10 MB, the "
        "peak memory too. bytes.translate and SHA-256 are what this machine takes for passing over the "
        "same bytes once."
    ),
    unit="MB",
    ours="dnalm",
    ways=lambda settings: {
        "dnalm": dnalm,
        "published": published,
        "bytes.translate alone": alone(translate),
        "SHA-256 alone": alone(lambda chunk: hashlib.sha256(chunk).digest()),
    },
    groups={"published": ("published",)},
    targets=lambda settings: [
        Target("100 MB/s", "dnalm", "rate", at_least=100.0),
        Target("under 500 MB of memory", "dnalm", "peak_memory_bytes", at_most=500e6),
        Target("20 times the published way", "published", "ratio", at_least=20.0),
    ],
    setup=setup,
)
