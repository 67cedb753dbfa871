"""Made-up genomes of any size, quickly: random letters, so that speed is all they are good for."""

from pathlib import Path

import numpy as np


def write_fasta(path: Path, size: int) -> None:
    """Write about `size` bytes: contigs of 20 Mb in lines of 60, half of it soft-masked, an N gap in each."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        number = 0
        while file.tell() < size:
            number += 1
            length = min(20_000_040, (size - file.tell()) // 61 * 60 + 60)
            letters = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, length, dtype=np.uint8)]
            lower = np.repeat(rng.random(length // 300 + 1) < 0.5, 300)[:length]
            letters = letters + lower.astype(np.uint8) * 32
            letters[: min(50_000, length // 10)] = ord("N")
            lines = np.full((length // 60, 61), ord("\n"), dtype=np.uint8)
            lines[:, :60] = letters.reshape(-1, 60)
            file.write(f">chr{number}\n".encode() + lines.tobytes())


def prepare_genome(folder: Path, size: int) -> Path:
    """Make a genome of about `size` bytes ready for pretraining, and return its folder for A C G T."""
    from dnalm.genome.plan import Plan
    from dnalm.genome.prepare import prepare

    fasta = folder / "genome.fa"
    write_fasta(fasta, size)
    prepare(Plan((fasta,), folder / "data"))
    fasta.unlink()
    return folder / "data" / "vocab4"
