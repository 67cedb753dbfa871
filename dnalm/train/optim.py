"""Optimiser and learning-rate schedule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from dnalm.config import check_fractions, check_minimum
from dnalm.errors import InputError

Schedule = Literal["cosine", "plateau", "warm-down"]
LOWER = 1e-4
"""By what share a validation loss must be below the best one to count as lower, for a plateau."""


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained, whatever the task."""

    steps: int = 4000
    """Optimiser steps of the whole run."""
    batch_size: int = 64
    """Windows per step, over all processes."""
    accumulate: int = 1
    """Micro-batches of a step in each process: less memory for more of them, the same training but for what
    dropout draws."""
    lr: float = 5e-4
    """Highest learning rate, reached after warm-up."""
    min_lr: float = 5e-5
    """Learning rate at the last step."""
    warmup: int = 50
    """Steps of linear warm-up."""
    weight_decay: float = 0.1
    """Decoupled weight decay of AdamW."""
    decay: Literal["all", "matrices"] = "matrices"
    """Which parameters decay: all, or those with two axes (not LayerNorms and biases)."""
    beta2: float = 0.999
    """Decay of AdamW's second moment (the first is 0.9)."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""
    eval_every: int = 250
    """Steps between evaluations; there is always one at the end."""
    checkpoint_every: int = 250
    """Steps between saves of the state that --resume goes on from."""
    patience: int = 0
    """Evaluations in a row without a lower validation loss after which training stops; 0 for never."""
    schedule: Schedule = "warm-down"
    """The learning rate after warm-up: warm-down, as it is to the middle of the run and then in a line to
    min_lr; cosine, to min_lr at the last step; plateau, see below."""
    plateau_patience: int = 3
    """With plateau, evaluations in a row without a lower validation loss that leave the rate as it is: with
    the next one it falls."""
    plateau_factor: float = 0.5
    """With plateau, by what the rate is multiplied, not below min_lr."""

    def __post_init__(self) -> None:
        wrong = check_minimum(
            self,
            steps=1,
            batch_size=1,
            accumulate=1,
            warmup=0,
            eval_every=1,
            checkpoint_every=1,
            patience=0,
            weight_decay=0,
            clip=0,
            plateau_patience=0,
        )
        if not wrong and self.batch_size % self.accumulate:
            wrong.append(
                f"batch_size must be a multiple of accumulate, got {self.batch_size} and {self.accumulate}"
            )
        if not 0.0 < self.lr < math.inf:
            wrong.append(f"lr must be above 0, got {self.lr}")
        if not 0.0 <= self.min_lr <= self.lr:
            wrong.append(f"min_lr must be from 0 to lr, got {self.min_lr}")
        wrong += check_fractions(self, "beta2")
        if self.schedule not in get_args(Schedule):
            wrong.append(f"schedule must be {', '.join(get_args(Schedule))}, got {self.schedule!r}")
        if not 0.0 < self.plateau_factor < 1.0:
            wrong.append(f"plateau_factor must be above 0 and below 1, got {self.plateau_factor}")
        if self.decay not in ("all", "matrices"):
            wrong.append(f"decay must be all or matrices, got {self.decay!r}")
        if wrong:
            raise InputError("; ".join(wrong))


@dataclass(frozen=True)
class EpochConfig:
    """How a model is trained on a set of windows that is gone through several times."""

    epochs: int = 20
    """Times that every training window is seen, at most; the schedule of the learning rate spans them."""
    patience: int = 10
    """Epochs in a row without a lower validation loss after which training stops; 0 for never."""
    schedule: Schedule = "cosine"
    """The learning rate after warm-up: cosine, to min_lr at the last step; warm-down, as it is to the middle
    of the run and then in a line to min_lr; plateau: as it is, and multiplied by --plateau-factor whenever
    more than --plateau-patience epochs in a row brought no lower validation loss."""
    plateau_patience: int = 3
    """With plateau, epochs in a row without a lower validation loss that leave the rate as it is."""
    plateau_factor: float = 0.5
    """With plateau, by what the rate is multiplied, not below min_lr."""
    batch_size: int = 64
    """Windows per step, over all processes."""
    accumulate: int = 1
    """Micro-batches of a step in each process: less memory for more of them, the same training but for what
    dropout draws."""
    lr: float = 2e-3
    """Highest learning rate, reached after warm-up."""
    min_lr: float = 0.0
    """Learning rate at the last step."""
    warmup_share: float = 0.1
    """Share of all steps that is linear warm-up."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""
    beta2: float = 0.999
    """Decay of AdamW's second moment (the first is 0.9)."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""

    def __post_init__(self) -> None:
        wrong = []
        if self.epochs < 1:
            wrong.append(f"epochs must be at least 1, got {self.epochs}")
        if not 0.0 <= self.warmup_share <= 1.0:
            wrong.append(f"warmup_share must be from 0 to 1, got {self.warmup_share}")
        elif self.epochs >= 1:  # the rest is what a run in steps must keep
            try:
                self.in_steps(1)
            except ValueError as error:
                wrong.append(str(error))
        if wrong:
            raise InputError("; ".join(wrong))

    def in_steps(self, steps_per_epoch: int) -> TrainConfig:
        """Return the same in steps: an evaluation and a save of the state after each epoch."""
        steps = self.epochs * steps_per_epoch
        return TrainConfig(
            steps=steps,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            lr=self.lr,
            min_lr=self.min_lr,
            warmup=round(steps * self.warmup_share),
            weight_decay=self.weight_decay,
            decay="matrices",
            beta2=self.beta2,
            clip=self.clip,
            eval_every=steps_per_epoch,
            checkpoint_every=steps_per_epoch,
            patience=self.patience,
            schedule=self.schedule,
            plateau_patience=self.plateau_patience,
            plateau_factor=self.plateau_factor,
        )


def learning_rate(step: int, config: TrainConfig, losses: Sequence[float] = ()) -> float:
    """Return the rate of step `step` (from 0): linear warm-up, then the schedule.

    Args:
        step: from 0.
        config: of the run.
        losses: validation losses of the evaluations so far, that of the untrained model first; only plateau
            looks at them.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "plateau":
        return max(config.min_lr, config.lr * config.plateau_factor ** _falls(losses[1:], config))
    if config.schedule == "warm-down":
        falls = config.steps - max(0.5 * config.steps, config.warmup)
        left = min(1.0, (config.steps - step) / falls)
        return config.min_lr + (config.lr - config.min_lr) * left
    share = (step - config.warmup) / max(1, config.steps - 1 - config.warmup)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


def _falls(losses: Sequence[float], config: TrainConfig) -> int:
    """Return how often the rate has fallen, by the rule of torch's ReduceLROnPlateau with its threshold."""
    best, worse, falls = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1.0 - LOWER):
            best, worse = loss, 0
        else:
            worse += 1
        if worse > config.plateau_patience:
            worse, falls = 0, falls + 1
    return falls


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter 2019), its fused kernel where the device has one."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decays = [p for p in parameters if config.decay == "all" or p.ndim >= 2]
    rest = [p for p in parameters if not (config.decay == "all" or p.ndim >= 2)]
    groups = [{"params": decays, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.lr, betas=(0.9, config.beta2), fused=fused
    )
