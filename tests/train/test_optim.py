"""Tests for dnalm/train/optim.py."""

import pytest
import torch
from torch import nn

from dnalm.errors import InputError
from dnalm.train.optim import EpochConfig, TrainConfig, build_optimizer, learning_rate


def test_cosine():
    config = TrainConfig(steps=1101, warmup=100, lr=1e-3, min_lr=1e-4, schedule="cosine")
    rates = [learning_rate(step, config) for step in range(1101)]
    assert [rates[step] for step in (0, 99, 100)] == pytest.approx([1e-5, 1e-3, 1e-3])
    assert rates[600] == pytest.approx(5.5e-4)  # half-way: the mean of both
    assert rates[1100] == pytest.approx(1e-4)
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_warm_down():
    config = TrainConfig(steps=100, warmup=10, lr=1e-3, min_lr=2e-4, schedule="warm-down")
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[:10] == pytest.approx([1e-4 * step for step in range(1, 11)])
    assert rates[10:51] == pytest.approx([1e-3] * 41)
    assert rates[75] == pytest.approx(6e-4)  # half-way: the mean of both
    assert rates[99] == pytest.approx(2e-4 + 8e-4 / 50)
    config = TrainConfig(steps=20, warmup=15, lr=1e-3, min_lr=0.0, schedule="warm-down")
    rates = [learning_rate(step, config) for step in (14, 15, 16, 19)]
    assert rates == pytest.approx([1e-3, 1e-3, 8e-4, 2e-4])  # a warm-up longer than half of the run


@pytest.mark.parametrize("seed", range(5))
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
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_rate_is_sane_for_runs_shorter_than_warm_up(steps, schedule):
    config = TrainConfig(steps=steps, warmup=3, schedule=schedule)
    assert all(0 < learning_rate(step, config) <= config.lr for step in range(steps))


@pytest.mark.parametrize(("decay", "shrinks"), [("all", {"weight", "bias"}), ("matrices", {"weight"})])
def test_only_the_chosen_parameters_decay(decay, shrinks):
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


def test_frozen_parameters_are_not_optimised():
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad = False
    groups = build_optimizer(layer, TrainConfig()).param_groups
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
WRONG_BY_KIND = [
    *((kind, wrong) for kind in (TrainConfig, EpochConfig) for wrong in WRONG),
    (TrainConfig, {"steps": 0}),
    (TrainConfig, {"decay": "some"}),
    (EpochConfig, {"epochs": 0}),
    (EpochConfig, {"warmup_share": 1.5}),
    (EpochConfig, {"warmup_share": float("nan")}),
]


@pytest.mark.parametrize(("kind", "wrong"), WRONG_BY_KIND)
def test_refuses_wrong_settings(kind, wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}.* must be"):
        kind(**wrong)


def test_all_that_is_wrong_is_reported():
    with pytest.raises(InputError, match=r"steps.* must be at least 1, got 0; .*batch_size"):
        TrainConfig(steps=0, batch_size=0)


def test_epochs_in_steps():
    config = EpochConfig(
        epochs=5, patience=2, lr=1e-2, min_lr=1e-3, warmup_share=0.2, batch_size=8, accumulate=4
    ).in_steps(30)
    assert (config.steps, config.warmup, config.eval_every, config.checkpoint_every) == (150, 30, 30, 30)
    assert (config.patience, config.batch_size, config.lr, config.min_lr) == (2, 8, 1e-2, 1e-3)
    assert config.accumulate == 4
