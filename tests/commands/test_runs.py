"""Tests for dnalm/commands/runs.py: what the verbs that train share."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from dnalm.commands.runs import TRIED, RunOptions, seconds_of_a_step


@pytest.mark.parametrize(("accumulate", "rank", "own"), [(1, 0, [0]), (1, 1, [1]), (3, 1, [3, 4, 5])])
def test_a_dry_run_goes_through_the_micro_batches_of_its_process(accumulate, rank, own):
    asked, taken = [], []

    def batch(step, share, pieces):
        asked.append((step, share, pieces))
        return share

    def loss(_model, batch):
        taken.append(batch)
        return torch.tensor(1.0, requires_grad=True)

    fabric = SimpleNamespace(
        global_rank=rank, world_size=2, to_device=lambda x: x, backward=lambda loss: loss.backward()
    )
    task, batches = SimpleNamespace(loss=loss), SimpleNamespace(batch=batch)
    assert seconds_of_a_step(task, torch.nn.Identity(), batches, fabric, accumulate) > 0
    assert asked == [(step, share, 2 * accumulate) for step in range(TRIED) for share in own]
    assert taken == own * TRIED


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        (7, "stopped at step 7; its state is saved, and --resume goes on from there"),
        (5, "stopped at step 7; the state of step 5 is saved, and --resume goes on from there"),
        (None, "stopped at step 7; no state is saved yet"),
    ],
)
def test_where_a_stopped_run_goes_on_is_said(capsys, saved, told):
    record = SimpleNamespace(ending=lambda _so_far: contextlib.nullcontext())
    loop = SimpleNamespace(step=7, saved=saved)
    with pytest.raises(KeyboardInterrupt), RunOptions().recording(record, loop, dict):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == told + "\n"
