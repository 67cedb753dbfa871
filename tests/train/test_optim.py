"""Tests for dnalm/train/optim.py, and for the batch sizes that sharding.py takes."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from dnalm import process
from dnalm.errors import InputError
from dnalm.train.optim import EpochConfig, TrainConfig, build_optimizer, learning_rate
from dnalm.train.sharding import synchronize_batch_norm


def rates(config):
    return [learning_rate(step, config) for step in range(config.steps)]


def test_cosine():
    found = rates(TrainConfig(steps=1101, warmup=100, lr=1e-3, min_lr=1e-4, schedule="cosine"))
    # at 600, half-way, the mean of both
    assert [found[at] for at in (0, 99, 100, 600, 1100)] == pytest.approx([1e-5, 1e-3, 1e-3, 5.5e-4, 1e-4])
    assert found[100:] == sorted(found[100:], reverse=True)


def test_warm_down():
    found = rates(TrainConfig(steps=100, warmup=10, lr=1e-3, min_lr=2e-4, schedule="warm-down"))
    assert found[:10] == pytest.approx([1e-4 * step for step in range(1, 11)])
    assert found[10:51] == pytest.approx([1e-3] * 41)
    assert found[75] == pytest.approx(6e-4)  # half-way: the mean of both
    assert found[99] == pytest.approx(2e-4 + 8e-4 / 50)
    found = rates(TrainConfig(steps=20, warmup=15, lr=1e-3, min_lr=0.0, schedule="warm-down"))
    # a warm-up longer than half of the run
    assert [found[at] for at in (14, 15, 16, 19)] == pytest.approx([1e-3, 1e-3, 8e-4, 2e-4])


@pytest.mark.parametrize("seed", range(3))
def test_plateau_reduces_the_rate_as_torch_does(seed):
    config = TrainConfig(
        steps=600, warmup=5, lr=1e-3, min_lr=2e-4, schedule="plateau", plateau_patience=2, plateau_factor=0.6
    )
    torch.manual_seed(seed)
    losses = (torch.rand(30) * 0.2 + 1.0).tolist()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.6, patience=2, min_lr=2e-4)
    for epoch, loss in enumerate(losses):
        rate = learning_rate(10 + epoch, config, [9.0, *losses[:epoch]])
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        theirs.step(loss)
    assert learning_rate(500, config, [9.0, *losses]) < 1e-3
    assert learning_rate(0, config, [9.0, *losses]) == pytest.approx(1e-3 / 5)  # warm-up comes first
    assert learning_rate(9, config, [0.1, 1.0, 0.9, 0.8, 0.7]) == 1e-3  # the untrained model does not count


@pytest.mark.parametrize("schedule", ["cosine", "warm-down"])
def test_rate_is_sane_for_runs_shorter_than_warm_up(schedule):
    for steps in (1, 2, 5):
        config = TrainConfig(steps=steps, warmup=3, schedule=schedule)
        assert all(0 < rate <= config.lr for rate in rates(config))


@pytest.mark.parametrize(("decay", "shrinks"), [("all", {"weight", "bias"}), ("matrices", {"weight"})])
def test_only_the_chosen_parameters_decay_and_frozen_ones_are_left_out(decay, shrinks):
    layer = nn.Linear(3, 2)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    optimizer = build_optimizer(layer, TrainConfig(lr=0.1, min_lr=0.1, weight_decay=0.5, decay=decay))
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in layer.named_parameters():
        expected = 1 - 0.1 * 0.5 if name in shrinks else 1.0  # AdamW: lr times decay, apart from the gradient
        assert parameter.flatten()[0].item() == pytest.approx(expected)
    layer.bias.requires_grad = False
    groups = build_optimizer(layer, TrainConfig(decay=decay)).param_groups
    assert sum(len(group["params"]) for group in groups) == 1


WRONG = [
    {"batch_size": 0},
    {"lr": 0.0},
    {"accumulate": 0},
    {"batch_size": 64, "accumulate": 3},
    {"min_lr": 1.0},
    {"patience": -1},
    {"schedule": "step"},
    {"plateau_factor": 1.0},
    *({name: float("nan")} for name in ("lr", "clip", "weight_decay", "beta2")),
]


def test_refuses_wrong_settings_and_reports_all_of_them():
    epochs = [{"epochs": 0}, {"warmup_share": 1.5}, {"warmup_share": float("nan")}]
    for kind, settings in (
        (TrainConfig, [*WRONG, {"steps": 0}, {"decay": "some"}]),
        (EpochConfig, WRONG + epochs),
    ):
        for wrong in settings:
            with pytest.raises(InputError, match=f"{next(iter(wrong))}.* must be"):
                kind(**wrong)
    with pytest.raises(InputError, match=r"steps.* must be at least 1, got 0; .*batch_size"):
        TrainConfig(steps=0, batch_size=0)


def test_epochs_in_steps():
    own = {"patience": 2, "lr": 1e-2, "min_lr": 1e-3, "batch_size": 8, "accumulate": 4}
    config = EpochConfig(epochs=5, warmup_share=0.2, **own).in_steps(30)
    assert (config.steps, config.warmup, config.eval_every, config.checkpoint_every) == (150, 30, 30, 30)
    assert {name: getattr(config, name) for name in own} == own


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
    refused = pytest.raises(InputError, match=f"has {size} rows, too few for {world * accumulate} ")
    with nullcontext() if fits else refused:
        synchronize_batch_norm(nn.Sequential(nn.BatchNorm1d(3)), accumulate, size)
    with pytest.raises(InputError, match="normalises over the full batch"):
        synchronize_batch_norm(nn.Sequential(nn.BatchNorm2d(3)), accumulate, size)
