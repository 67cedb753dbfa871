"""Tests for dnalm/data/epochs.py: every row once an epoch; the batches of both tasks."""

import numpy as np
import pytest
import torch

from dnalm.data.binding import BindingBatches, BindingWindows
from dnalm.data.epochs import EpochBatches
from dnalm.data.pair_batches import PairBatches, PairRows, PairTokens, Ragged


@pytest.mark.parametrize(
    ("count", "least", "sizes"),
    [
        (23, 1, [4] * 5 + [3]),
        (25, 1, [4] * 6 + [1]),
        (3, 1, [3]),
        (24, 2, [4] * 6),
        (25, 2, [4] * 5 + [5]),  # no batch of one
        (26, 2, [4] * 6 + [2]),
        (5, 2, [5]),
    ],
)
def test_every_row_once_an_epoch_in_an_order_of_seed_and_epoch_alone(count, least, sizes):
    one, again, other = (EpochBatches(count, 4, seed, least) for seed in (3, 3, 4))
    steps = range(2 * len(sizes))
    assert one.steps_per_epoch == len(sizes)
    rows = [one.rows(step).tolist() for step in steps]
    assert [len(each) for each in rows] == 2 * sizes
    assert one.smallest == min(sizes)
    for epoch in (rows[: len(sizes)], rows[len(sizes) :]):
        assert sorted(sum(epoch, [])) == list(range(count))
    assert rows[0] != rows[len(sizes)]
    for step in reversed(steps):  # whatever was taken before
        assert again.rows(step).tolist() == rows[step]
    assert [other.rows(step).tolist() for step in steps] != rows


@pytest.mark.parametrize("kind", ["binding", "pairs"])
def test_ranks_divide_a_batch(kind):
    numbers = torch.arange(40, dtype=torch.uint8)[:, None]
    ragged = Ragged([np.array([number], dtype=np.int16) for number in range(40)])
    rows = np.arange(40)
    batches = {
        "binding": BindingBatches(BindingWindows(numbers, numbers), 16, seed=3),
        "pairs": PairBatches(PairTokens(ragged, ragged), PairRows(rows, rows, rows.astype(np.uint8)), 16, 3),
    }[kind]
    wanted = batches.rows(2).tolist()  # the last, of 8
    assert batches.batch(2)[0][:, 0].tolist() == wanted
    assert [batches.batch(2, rank, 3)[0][:, 0].tolist() for rank in range(3)] == [
        wanted[rank::3] for rank in range(3)
    ]
