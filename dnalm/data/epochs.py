"""The parts of a split set, and the order of training: every row once an epoch."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


class EpochBatches:
    """Which rows are in each batch: every row once an epoch, in an order that (seed, epoch) decides.

    Args:
        count: rows.
        batch_size: B of a full batch, over all processes; the last batch of an epoch may differ.
        seed: of the order.
        least: rows of a last batch; fewer are joined to the batch before.
    """

    def __init__(self, count: int, batch_size: int, seed: int, least: int = 1) -> None:
        self._count, self._batch_size, self._seed = count, batch_size, seed
        full, rest = divmod(count, batch_size)
        self.steps_per_epoch = max(1, full + (rest >= least))
        self._epoch, self._order = -1, np.arange(0)

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch."""
        return min(len(self.rows(step)) for step in (0, self.steps_per_epoch - 1))

    def rows(self, step: int) -> Rows:
        """Return which rows are in batch `step`, [B]."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if self._epoch != epoch:
            random = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
            self._epoch, self._order = epoch, random.permutation(self._count)
        end = None if number == self.steps_per_epoch - 1 else (number + 1) * self._batch_size
        return self._order[number * self._batch_size : end]
