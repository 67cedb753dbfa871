"""Optimiser and learning-rate schedule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import nn

from dnalm.config import check_fractions, check_minimum, check_multiple, refuse

Schedule = Literal["cosine", "plateau", "warm-down"]
Decay = Literal["all", "matrices"]
LEAST = dict.fromkeys(("steps", "epochs", "eval_every", "checkpoint_every", "batch_size", "accumulate"), 1)
LEAST |= dict.fromkeys(("patience", "weight_decay", "clip", "plateau_patience", "warmup"), 0)
"""Smallest values of settings."""
PLATEAU_THRESHOLD = 1e-4
"""Relative decrease of the best validation loss that counts as lower, for a plateau."""


@dataclass(frozen=True)
class OptimizerConfig:
    """What training in steps and in epochs have in common."""

    batch_size: int = 64  # Windows per step, over all processes.
    accumulate: int = 1
    """Micro-batches of a step in each process: more of them need less memory, for the same training up to
    dropout."""
    lr: float = 5e-4  # Highest learning rate, reached after warm-up.
    min_lr: float = 5e-5  # Learning rate at the last step.
    weight_decay: float = 0.1  # Decoupled weight decay of AdamW.
    beta2: float = 0.999  # Decay of AdamW's second moment (the first is 0.9).
    clip: float = 1.0  # Largest norm of the gradient; 0 for no limit.
    patience: int = 0
    """Evaluations in a row without a lower validation loss after which training stops; 0 for never."""
    schedule: Schedule = "warm-down"
    """Learning rate after warm-up. warm-down: constant to the middle of the run, then linear to min_lr;
    cosine: to min_lr at the last step; plateau: constant, and multiplied by plateau_factor whenever more than
    plateau_patience evaluations in a row brought no lower validation loss."""
    plateau_patience: int = 3
    """With plateau: evaluations in a row without a lower validation loss that leave the rate unchanged."""
    plateau_factor: float = 0.5  # With plateau: factor of the rate, which does not fall below min_lr.

    def __post_init__(self) -> None:
        wrong = check_minimum(self, **{name: low for name, low in LEAST.items() if hasattr(self, name)})
        wrong += check_fractions(self, "beta2") + check_multiple(self, "batch_size", "accumulate")
        if not 0.0 < self.lr < math.inf:
            wrong.append(f"lr must be above 0, got {self.lr}")
        if not 0.0 <= self.min_lr <= self.lr:
            wrong.append(f"min_lr must be from 0 to lr, got {self.min_lr}")
        if not 0.0 < self.plateau_factor < 1.0:
            wrong.append(f"plateau_factor must be above 0 and below 1, got {self.plateau_factor}")
        if not 0.0 <= getattr(self, "warmup_share", 0.0) <= 1.0:
            wrong.append("warmup_share must be from 0 to 1")
        for name, choices in (("schedule", get_args(Schedule)), ("decay", get_args(Decay))):
            if (value := getattr(self, name, choices[0])) not in choices:
                wrong.append(f"{name} must be {', '.join(choices)}, got {value!r}")
        refuse(wrong)


@dataclass(frozen=True)
class TrainConfig(OptimizerConfig):
    """How a model is trained for a number of steps."""

    steps: int = 4000  # Optimiser steps of the run.
    warmup: int = 50  # Steps of linear warm-up.
    decay: Decay = "matrices"
    """Which parameters decay: all, or those with two axes (not LayerNorms and biases)."""
    eval_every: int = 250  # Steps between evaluations; there is always one at the end.
    checkpoint_every: int = 250  # Steps between saves of the state from which a run can be resumed.

    def in_steps(self, _steps_per_epoch: int) -> "TrainConfig":
        """Return the config itself: it is in steps."""
        return self


@dataclass(frozen=True)
class EpochConfig(OptimizerConfig):
    """How a model is trained for a number of epochs, each with an evaluation."""

    epochs: int = 20  # Largest number of epochs; the schedule of the learning rate spans them.
    patience: int = 10
    """Epochs in a row without a lower validation loss after which training stops; 0 for never."""
    schedule: Schedule = "cosine"
    """Learning rate after warm-up. cosine: to min_lr at the last step; warm-down: constant to the middle of
    the run, then linear to min_lr; plateau: constant, and multiplied by plateau_factor whenever more than
    plateau_patience epochs in a row brought no lower validation loss."""
    lr: float = 2e-3  # Highest learning rate, reached after warm-up.
    min_lr: float = 0.0  # Learning rate at the last step.
    warmup_share: float = 0.1  # Fraction of all steps that is linear warm-up.
    weight_decay: float = 0.01  # Decoupled weight decay of AdamW.

    def in_steps(self, steps_per_epoch: int) -> TrainConfig:
        """Return the same in steps: an evaluation and a save of the state after each epoch."""
        steps = self.epochs * steps_per_epoch
        return TrainConfig(
            **{field.name: getattr(self, field.name) for field in fields(OptimizerConfig)},
            steps=steps,
            warmup=round(steps * self.warmup_share),
            eval_every=steps_per_epoch,
            checkpoint_every=steps_per_epoch,
        )


def learning_rate(step: int, config: TrainConfig, losses: Sequence[float] = ()) -> float:
    """Return the rate of step `step` (from 0): linear warm-up, then the schedule.

    Args:
        step: from 0.
        config: of the run.
        losses: validation losses so far, that of the untrained model first; for plateau alone.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "plateau":
        return max(config.min_lr, config.lr * config.plateau_factor ** _reductions(losses[1:], config))
    if config.schedule == "warm-down":
        falling = config.steps - max(0.5 * config.steps, config.warmup)
        left = min(1.0, (config.steps - step) / falling)
        return config.min_lr + (config.lr - config.min_lr) * left
    done = (step - config.warmup) / max(1, config.steps - 1 - config.warmup)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def _reductions(losses: Sequence[float], config: TrainConfig) -> int:
    """Return how often the rate was reduced, by the rule of torch's ReduceLROnPlateau with its threshold."""
    best, worse, reductions = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1.0 - PLATEAU_THRESHOLD):
            best, worse = loss, 0
        else:
            worse += 1
        if worse > config.plateau_patience:
            worse, reductions = 0, reductions + 1
    return reductions


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter 2019), its fused kernel where the device has one."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decays = [p for p in parameters if config.decay == "all" or p.ndim >= 2]
    rest = [p for p in parameters if config.decay != "all" and p.ndim < 2]
    groups = [{"params": decays, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.lr, betas=(0.9, config.beta2), fused=fused
    )
