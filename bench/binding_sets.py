"""Made-up windows with a score at each base: a few bases of some windows score, as with a real motif."""

import numpy as np
import numpy.typing as npt

BASES = 300
"""Of a window, as in the published set."""


def made_up(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Return upper-case letters and scores, each [count, BASES]."""
    draws = np.random.default_rng(seed)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[draws.integers(4, size=(count, BASES))]
    scores = np.zeros((count, BASES), dtype=np.float32)
    for row, at in enumerate(draws.integers(BASES - 10, size=count)):
        scores[row, at : at + 10] = draws.random() < 0.5
    return letters, scores
