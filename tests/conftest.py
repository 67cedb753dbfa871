"""Settings and fixtures shared by all tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from dnalm.genome.folder import PreparedGenome
from dnalm.genome.plan import Plan
from dnalm.genome.prepare import prepare

pytest_plugins = ("tests.hub_models",)

torch.set_num_threads(1)  # tiny tensors: threads only fight each other, 30 times slower on a busy machine

# The same examples in every run, and no clock: a busy machine must not fail a law that holds.
settings.register_profile("dnalm", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("dnalm")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: $DNALM_TEST_DATA, or `shared/data` beside the project; or skip."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DNALM_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"needs real data: {folder} is not there; set DNALM_TEST_DATA to a folder that holds it")
    return folder


@pytest.fixture(scope="session")
def toy_fasta(tmp_path_factory) -> Path:
    """Three contigs of a genome with soft-masked bases, N and an IUPAC code: 9,000 bases in all."""
    draws = np.random.default_rng(7)
    path = tmp_path_factory.mktemp("toy") / "toy.fa"
    with path.open("w") as file:
        for name, length in (("chr1", 5000), ("chr2", 2500), ("chr3", 1500)):
            letters = draws.choice(list("ACGT"), length)
            letters[1000:1200] = np.char.lower(letters[1000:1200])
            if name == "chr1":
                letters[:50] = "N"
                letters[2500] = "R"
            text = "".join(letters)
            file.write(f">{name} a toy\n" + "".join(text[i : i + 60] + "\n" for i in range(0, length, 60)))
    return path


@pytest.fixture(scope="session")
def toy(toy_fasta, tmp_path_factory) -> dict[str, PreparedGenome]:
    """The toy genome prepared in both vocabularies, contig chr3 held out."""
    out = tmp_path_factory.mktemp("prepared")
    prepare(Plan(genomes=(toy_fasta,), out=out, val_contigs=("chr3",)))
    return {mode: PreparedGenome(out / mode) for mode in ("full", "vocab4")}


@pytest.fixture
def second_of_three(monkeypatch):
    """The environment of the second of three processes of torchrun."""
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def two_processes():
    """A function that does jobs of tests/train/ranks_worker.py in two processes of one thread.

    It returns how torchrun ended, and of each command line the exit codes and the texts that both printed.
    """
    worker = Path(__file__).with_name("train") / "ranks_worker.py"

    def run(folder, jobs):
        (folder / "jobs.json").write_text(json.dumps(jobs))
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(worker.parents[2])}
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
        command += [str(worker), str(folder / "jobs.json")]
        ended = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
        shown = []
        for number in [at for at, job in enumerate(jobs) if job["task"] == "command"]:
            ranks = [folder / f"shown{number}-{rank}.json" for rank in (0, 1)]
            assert all(path.exists() for path in ranks), ended.stderr[-3000:]
            one, two = (json.loads(path.read_text()) for path in ranks)
            texts = {key: one[key] + two[key] for key in ("out", "err")}
            shown.append(texts | {"code": [one["code"], two["code"]]})
        return ended, shown

    return run
