"""A small binding set and cores to fine-tune, made once."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dnalm.cli import main
from dnalm.formats.binding import BindingSet, write_binding

CORE = ["--n-layer", "1", "--n-head", "2", "--n-embd", "16", "--block-size", "40", "--batch-size", "4"]
CORE += ["--eval-bases", "300", "--final-bases", "600", "--device", "cpu", "--steps", "3", "--warmup", "1"]
SITE = np.frombuffer(b"GATAAC", dtype=np.uint8)


class Binding(NamedTuple):
    """Files of a set, and the folder of its cores."""

    sequences: Path
    scores: Path
    outputs: Path
    windows: BindingSet

    @property
    def flags(self) -> list[str]:
        """What tells the verbs where the windows are, on one processor in full precision."""
        return ["--sequences", str(self.sequences), "--scores", str(self.scores), "--device", "cpu"]


@pytest.fixture(scope="session")
def binding(toy, tmp_path_factory) -> Binding:
    """240 windows of 40 bases, 60 apart, with a site of 6 in each; full and vocab4 cores of a toy genome."""
    draws = np.random.default_rng(5)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[draws.integers(0, 4, (240, 40))]
    scores = np.zeros((240, 40), dtype=np.float32)
    for row, start in enumerate(draws.integers(5, 30, 240)):
        letters[row, start : start + 6] = SITE
        scores[row, start : start + 6] = 6.0
    folder = tmp_path_factory.mktemp("binding") / "my set"
    windows = BindingSet([f"chr1_{100 * i}_{100 * i + 39}" for i in range(240)], letters, scores)
    folder.mkdir()
    made = Binding(folder / "s.txt.gz", folder / "y.txt.gz", folder / "outputs", windows)
    write_binding(made.sequences, made.scores, windows)
    for mode in ("full", "vocab4"):
        assert main(["pretrain", "--data", str(toy[mode].folder), "--out", str(made.outputs), *CORE]) == 0
    return made
