"""How fast cross-attention trains on kept states, and how fast it screens, on made-up genes and molecules.

    python bench/interaction.py [--rounds 12] [--batch 128] [--rows 190000] [--library 10000] [--threads N]

Kept states have the sizes of a genome model's (32 segments of 384) and of ChemBERTa's (60 tokens of 384).
Prints pairs a second of a training step, in bf16 and in float32, turn about, minutes for an epoch of --rows
pairs, and seconds to score a library for one gene, states at hand, as `dnalm interact screen` does.
"""

import argparse
import json
import statistics
import time

import numpy as np
import numpy.typing as npt
import torch

from dnalm.data.pair_batches import PairBatches, PairRows, PairTokens
from dnalm.encoders.kept import KeptConfig
from dnalm.heads.cross_attention import CrossAttentionConfig
from dnalm.tasks.interaction import InteractionTask, predict
from dnalm.tasks.interaction_model import InteractionModel
from dnalm.tasks.interaction_shape import InteractionShape

Rows = npt.NDArray[np.int64]
GENES, WIDTH, SEGMENTS, TOKENS = 2_000, 384, 32, 60


class MadeUp:
    """States of as many texts as asked for, of a few that repeat, so that they fit into memory."""

    def __init__(self, count: int, length: int) -> None:
        self.count, self.kept = count, torch.randn(256, length, WIDTH).to(torch.bfloat16)

    def __len__(self) -> int:
        return self.count

    def lengths(self, rows: Rows) -> Rows:
        """Return how many states each of `rows` has."""
        return np.full(len(rows), self.kept.shape[1])

    def take(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the states of `rows` and that all of them are real."""
        states = self.kept[torch.from_numpy(rows % len(self.kept))]
        return states, torch.ones(states.shape[:2], dtype=torch.bool)


def main() -> None:
    """Take turns, and print rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in (
        ("rounds", 12),
        ("batch", 128),
        ("rows", 190_000),
        ("library", 10_000),
        ("threads", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    shape = InteractionShape(KeptConfig(WIDTH), KeptConfig(WIDTH), CrossAttentionConfig())
    model = InteractionModel(shape)
    tokens = PairTokens(MadeUp(GENES, SEGMENTS), MadeUp(options.library, TOKENS), distinct_genes=True)
    draws = np.random.default_rng(0)
    rows = PairRows(
        draws.integers(GENES, size=20_000),
        draws.zipf(1.5, size=20_000) % 1_000,
        draws.integers(2, size=20_000).astype(np.uint8),
    )
    task = InteractionTask(shape, tokens, rows, rows.take(np.arange(64)))
    batches = PairBatches(tokens, rows, options.batch, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    taken: dict[str, list[float]] = {"bf16": [], "float32": []}
    for number in range(options.rounds + 2):
        for name, seconds in taken.items():
            start = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == "bf16"):
                loss = task.loss(model.train(), batches.batch(number))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            if number >= 2:  # the first ones build kernels
                seconds.append(time.perf_counter() - start)
    found = {
        name: {
            "pairs_a_second": round(options.batch / statistics.median(seconds), 1),
            "minutes_an_epoch": round(options.rows / options.batch * statistics.median(seconds) / 60, 2),
        }
        for name, seconds in taken.items()
    }
    start = time.perf_counter()
    predict(model, tokens, np.zeros(options.library, dtype=np.int64), np.arange(options.library))
    screened = round(time.perf_counter() - start, 1)
    print(
        json.dumps({"threads": torch.get_num_threads(), "training": found, "screening_s": screened}, indent=2)
    )


if __name__ == "__main__":
    main()
