"""Tests for dnalm/optim.py."""

import pytest
import torch
from torch import nn

from dnalm.train.optim import EpochConfig, TrainConfig, build_optimizer, learning_rate


def test_rate_rises_falls_by_cosine_and_ends_at_the_lowest():
    config = TrainConfig(steps=1101, warmup=100, lr=1e-3, min_lr=1e-4, schedule="cosine")
    assert learning_rate(0, config) == pytest.approx(1e-5)
    assert learning_rate(99, config) == pytest.approx(1e-3)
    assert learning_rate(100, config) == pytest.approx(1e-3)
    assert learning_rate(600, config) == pytest.approx(5.5e-4)  # half-way: the mean of both
    assert learning_rate(1100, config) == pytest.approx(1e-4)
    falling = [learning_rate(step, config) for step in range(100, 1101)]
    assert falling == sorted(falling, reverse=True)


def test_warmed_down_the_rate_is_flat_and_then_a_line():
    config = TrainConfig(steps=100, warmup=10, lr=1e-3, min_lr=2e-4, schedule="warm-down")
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[:10] == pytest.approx([1e-4 * step for step in range(1, 11)])
    assert rates[10:51] == pytest.approx([1e-3] * 41)
    assert rates[75] == pytest.approx(6e-4)  # half-way: the mean of both
    assert rates[99] == pytest.approx(2e-4 + 8e-4 / 50)


@pytest.mark.parametrize("seed", range(5))
def test_on_a_plateau_the_rate_falls_as_torch_lets_it(seed):
    config = TrainConfig(
        steps=600, warmup=5, lr=1e-3, min_lr=2e-4, schedule="plateau", plateau_patience=2, plateau_factor=0.6
    )
    torch.manual_seed(seed)
    losses = (torch.rand(30) * 0.2 + 1.0).tolist()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.6, patience=2, min_lr=2e-4)
    for epoch, loss in enumerate(losses):
        assert learning_rate(10 + epoch, config, [9.0, *losses[:epoch]]) == pytest.approx(
            optimizer.param_groups[0]["lr"]
        )
        theirs.step(loss)
    assert learning_rate(500, config, [9.0, *losses]) < 1e-3
    assert learning_rate(0, config, [9.0, *losses]) == pytest.approx(1e-3 / 5)  # warm-up comes first
    assert learning_rate(9, config, [0.1, 1.0, 0.9, 0.8, 0.7]) == 1e-3  # the untrained model is no epoch


def test_after_a_warm_up_longer_than_half_the_run_the_rate_falls_at_once():
    config = TrainConfig(steps=20, warmup=15, lr=1e-3, min_lr=0.0, schedule="warm-down")
    assert [learning_rate(step, config) for step in (14, 15, 16, 19)] == pytest.approx(
        [1e-3, 1e-3, 8e-4, 2e-4]
    )


@pytest.mark.parametrize("schedule", ["cosine", "warm-down"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_rate_is_sane_for_runs_shorter_than_warm_up(steps, schedule):
    config = TrainConfig(steps=steps, warmup=3, schedule=schedule)
    assert all(0 < learning_rate(step, config) <= config.lr for step in range(steps))


@pytest.mark.parametrize(("decay", "shrinks"), [("all", {"weight", "bias"}), ("matrices", {"weight"})])
def test_decay_falls_on_what_it_should(decay, shrinks):
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


def test_frozen_parameters_are_not_touched():
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad = False
    groups = build_optimizer(layer, TrainConfig()).param_groups
    assert sum(len(group["params"]) for group in groups) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"steps": 0, "batch_size": 0},
            "steps must be at least 1, got 0; batch_size must be at least 1, got 0",
        ),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"batch_size": 64, "accumulate": 3}, "batch_size must be a multiple of accumulate, got 64 and 3"),
        ({"min_lr": 1.0}, "min_lr must be from 0 to lr"),
        ({"decay": "some"}, "decay must be all or matrices, got 'some'"),
        ({"schedule": "step"}, "schedule must be cosine, plateau, warm-down, got 'step'"),
        ({"plateau_factor": 1.0}, "plateau_factor must be above 0 and below 1"),
    ],
)
def test_refuses_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**wrong)


def test_epochs_in_steps():
    config = EpochConfig(epochs=5, patience=2, lr=1e-2, min_lr=1e-3, warmup_share=0.2, batch_size=8).in_steps(
        30
    )
    assert (config.steps, config.warmup, config.eval_every, config.checkpoint_every) == (150, 30, 30, 30)
    assert (config.patience, config.batch_size, config.lr, config.min_lr) == (2, 8, 1e-2, 1e-3)
    assert EpochConfig(accumulate=4).in_steps(30).accumulate == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"patience": -1}, "patience must be at least 0"),
        ({"batch_size": 64, "accumulate": 5}, "batch_size must be a multiple of accumulate, got 64 and 5"),
        ({"warmup_share": 1.5}, "warmup_share must be from 0 to 1"),
        ({"lr": 1e-3, "min_lr": 1e-2}, "min_lr must be from 0 to lr"),
    ],
)
def test_refuses_epochs_that_make_no_sense(wrong, message):
    with pytest.raises(ValueError, match=message):
        EpochConfig(**wrong)


@pytest.mark.parametrize("name", ["lr", "clip", "weight_decay", "beta2"])
@pytest.mark.parametrize("kind", [TrainConfig, EpochConfig])
def test_refuses_what_is_no_number(kind, name):
    with pytest.raises(ValueError, match=f"{name}.* must be"):
        kind(**{name: float("nan")})


def test_a_share_that_is_no_number_is_told_plainly():
    with pytest.raises(ValueError, match=r"^warmup_share must be from 0 to 1, got nan$"):
        EpochConfig(warmup_share=float("nan"))
