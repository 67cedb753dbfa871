"""Tests for dnalm/batch_norm.py; that of several processes is in test_ranks.py."""

from contextlib import nullcontext

import pytest
import torch

from dnalm import process
from dnalm.train.sharding import synchronize_batch_norm


@pytest.mark.parametrize(
    ("size", "accumulate", "world", "fits"),
    [
        (4, 2, 1, True),
        (4, 4, 1, False),
        (6, 4, 1, False),
        (2, 1, 2, True),
        (3, 3, 2, False),
        (1, 1, 2, False),
    ],
)
def test_a_share_of_one_row_cannot_be_normalised_by_itself(monkeypatch, size, accumulate, world, fits):
    monkeypatch.setattr("dnalm.process.current", lambda: process.ProcessInfo(0, world, world, "torchrun"))
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    refused = pytest.raises(ValueError, match=f"has {size} rows, too few for {world * accumulate} ")
    with nullcontext() if fits else refused:
        synchronize_batch_norm(model, accumulate, size)
