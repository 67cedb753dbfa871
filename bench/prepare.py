"""How fast `dnalm prepare` is, and how much memory it takes, on a FASTA made up for the purpose.

    python bench/prepare.py [--megabytes 300] [--gzip]

Prints MB of uncompressed FASTA a second for both vocabularies together, CPU seconds, the peak memory of a
process that does nothing else, what bytes.translate and SHA-256 alone reach here (the machine's own measure),
and the time of the published way: the whole text in memory, its set, a dictionary look-up for each character.
That way is written anew in a few lines and timed on the first 10 MB; for the whole file it is extrapolated.
"""

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dnalm.genome.part import CODES

PUBLISHED_PIECE = 10_000_000
"""Characters on which the published way is timed."""
PREPARE = """
import resource, sys, time
from pathlib import Path
from dnalm.genome.plan import Plan
from dnalm.genome.prepare import prepare
start = time.perf_counter()
prepare(Plan((Path(sys.argv[1]),), Path(sys.argv[2])))
seconds = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_SELF)
status = Path("/proc/self/status")  # on Linux, ru_maxrss begins with the parent's
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
if status.exists():
    peak = 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
print(seconds, usage.ru_utime + usage.ru_stime, peak)
"""


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


def published_way(text: str) -> None:
    """Make both token arrays the published way."""
    characters = sorted(set(text))
    ids = {character: i for i, character in enumerate(characters)}
    np.array([ids[character] for character in text], dtype=np.uint8)
    kept = [character for character in text if character in "ACGT"]
    ids = {character: i for i, character in enumerate("ACGT")}
    np.array([ids[character] for character in kept], dtype=np.uint8)


def rate(work: Callable[[bytes], object], chunks: list[bytes]) -> float:
    """Return MB/s of `work` over all chunks."""
    start = time.perf_counter()
    for chunk in chunks:
        work(chunk)
    return sum(map(len, chunks)) / (time.perf_counter() - start) / 1e6


def main() -> None:
    """Generate, time, print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--gzip", action="store_true", help="pack the FASTA first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "genome.fa"
        write_fasta(path, options.megabytes * 1_000_000)
        size = path.stat().st_size
        with path.open("rb") as file:
            chunks = [file.read(1 << 20) for _ in range(64)]
            file.seek(0)
            text = file.read(PUBLISHED_PIECE).decode()
        alone = {
            "translate": rate(lambda chunk: chunk.translate(CODES, b"\n"), chunks),
            "sha256": rate(lambda chunk: hashlib.sha256(chunk).digest(), chunks),
        }
        start = time.perf_counter()
        published_way(text)
        published = (time.perf_counter() - start) * size / len(text)
        if options.gzip:
            packed = path.with_suffix(".fa.gz")
            with gzip.open(packed, "wb", compresslevel=1) as out:
                out.write(path.read_bytes())
            path = packed
        command = [sys.executable, "-c", PREPARE, str(path), str(Path(folder) / "data")]
        seconds, cpu, memory = map(float, subprocess.check_output(command, text=True).split())
    result = {
        "input_mb": size / 1e6,
        "gzip": int(options.gzip),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "mb_per_s": size / seconds / 1e6,
        "peak_memory_mb": memory / 1e6,
        "translate_alone_mb_per_s": alone["translate"],
        "sha256_alone_mb_per_s": alone["sha256"],
        "published_way_seconds_extrapolated": published,
        "times_faster_than_published_way": published / seconds,
    }
    print(json.dumps({key: round(value, 1) for key, value in result.items()}, indent=2))


if __name__ == "__main__":
    main()
