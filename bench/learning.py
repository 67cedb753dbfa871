"""Ways to a lower loss in as many steps, tried one against the other: what the speed records of GPTs use.

    python -m bench.learning DATA [--trials adamw muon ...] [--seeds 0 1 ...] [--steps 300] [--threads 1]

DATA is a folder made by `dnalm prepare`. Each trial trains the default recipe's model, scores it at the end
on the same validation bases, and writes bench/results/learning/NAME-SEED.json. Those of one seed have the
same batches and first weights. All have the same short schedule: 20 steps of warm-up, and a rate that falls
to 0 at the last step.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.harness import RESULTS
from dnalm.commands.pretrain import default_options
from dnalm.files import write_json
from dnalm.genome.folder import PreparedGenome
from dnalm.models.gpt import Block
from dnalm.models.language import LanguageModel
from dnalm.models.layers import look_up
from dnalm.record import git_state, hardware, versions
from dnalm.train.language import LanguageTask
from dnalm.train.optim import TrainConfig, build_optimizer, learning_rate

FORMAT, FORMAT_VERSION = "dnalm-learning", 2
WARMUP = 20
TAPS = 4
"""Tokens under a short convolution: its own and those before it."""


@dataclass(frozen=True)
class Trial:
    """One way to train."""

    about: str
    muon: bool = False
    warm_down: bool = False
    convolutions: bool = False
    zero_start: bool = False


TRIALS = {
    "adamw": Trial("AdamW, a cosine"),
    "warm-down": Trial(
        "the recipe: AdamW, a constant rate that falls in a line over the second half", warm_down=True
    ),
    "zero-start": Trial("what a layer adds begins at 0", zero_start=True),
    "convolutions": Trial("short causal convolutions of queries, keys and values", convolutions=True),
    "muon": Trial("Muon for the matrices of the blocks (torch.optim.Muon), twice the rate", muon=True),
    "muon-convolutions": Trial("Muon and short convolutions", muon=True, convolutions=True),
    "muon-warm-down": Trial("Muon, and the rate that falls in a line", muon=True, warm_down=True),
}


class ShortConvolution(nn.Module):
    """A linear layer; each channel is mixed with itself up to `TAPS` - 1 tokens back, at first not at all."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.taps = nn.Parameter(torch.zeros(linear.out_features, TAPS))
        with torch.no_grad():
            self.taps[:, 0] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, 3 D]."""
        joint = self.linear(x)
        taps = self.taps.to(joint.dtype)
        mixed = joint * taps[:, 0]
        for back in range(1, TAPS):
            mixed = mixed + F.pad(joint, (0, 0, back, 0))[:, :-back] * taps[:, back]
        return mixed


def convolved(model: LanguageModel) -> None:
    """Put short convolutions behind queries, keys and values, in place."""
    for block in model.transformer.h:
        assert isinstance(block, Block)
        block.attn.c_attn = ShortConvolution(block.attn.c_attn)  # type: ignore[assignment]
    first = model.transformer.h[0]
    plain = first.forward
    # The first block works them out for each token of the vocabulary, which has no neighbours.
    first.forward = lambda x, angles, tokens: plain(x if tokens is None else look_up(x, tokens), angles)


def optimizers(model: LanguageModel, train: TrainConfig, muon: bool) -> list[torch.optim.Optimizer]:
    """Return AdamW, or Muon (Jordan et al. 2024) for the matrices of the blocks with AdamW for the rest."""
    if not muon:
        return [build_optimizer(model, train)]
    matrices = [
        p for name, p in model.named_parameters() if ".h." in name and p.ndim == 2 and p.shape[1] > TAPS
    ]
    chosen = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    return [
        torch.optim.Muon(
            matrices, lr=2 * train.lr, weight_decay=train.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=train.lr, betas=(0.9, train.beta2), weight_decay=0.0),
    ]


def run_trial(
    trial: Trial, task: LanguageTask, train: TrainConfig, seed: int, say: Callable[[str], None]
) -> dict[str, float]:
    """Train and return the scores at the end."""
    torch.manual_seed(seed)
    model = task.build_model()
    if trial.zero_start:
        for name, parameter in model.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.zeros_(parameter)
    if trial.convolutions:
        convolved(model)
    used = optimizers(model, train, trial.muon)
    highest = [[group["lr"] for group in optimizer.param_groups] for optimizer in used]
    batches = task.windows(train.batch_size, seed)
    train = replace(train, schedule="warm-down" if trial.warm_down else "cosine")
    for step in range(train.steps):
        share = learning_rate(step, train) / train.lr
        for optimizer, rates in zip(used, highest, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
        with torch.autocast("cpu", torch.bfloat16):
            loss = task.loss(model.train(), batches.batch(step))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), train.clip or math.inf)
        for optimizer in used:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 25 == 0:
            say(f"step {step + 1}: {loss.item():.4f}")
    with torch.autocast("cpu", torch.bfloat16):
        return task.evaluate(model)


def result(name: str, data: Path, train: TrainConfig, seed: int, scores: dict[str, float]) -> dict[str, Any]:
    """Return what is kept of a trial."""
    genome = PreparedGenome(data)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "trial": name,
        "about": TRIALS[name].about,
        "steps": train.steps,
        "lr": train.lr,
        "seed": seed,
        "data": {"digest": genome.digest, "sources": [source["name"] for source in genome.meta["sources"]]},
        "threads": torch.get_num_threads(),
        "machine": hardware(),
        "versions": versions(),
        "git": git_state(),
        "scores": scores,
    }


def main() -> None:
    """Run the trials asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--trials", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS / "learning")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    options = default_options("default")
    task = LanguageTask(PreparedGenome(given.data), options.encoder, options.task)
    train = replace(options.train, steps=given.steps, warmup=WARMUP, min_lr=0.0)
    given.results.mkdir(parents=True, exist_ok=True)
    for seed, name in product(given.seeds, given.trials):
        about = f"{name}, seed {seed}"
        scores = run_trial(
            TRIALS[name], task, train, seed, lambda told, about=about: print(f"{about}: {told}", flush=True)
        )
        write_json(given.results / f"{name}-{seed}.json", result(name, given.data, train, seed, scores))
        print(f"{about}: validation loss {scores['val_loss']:.4f}", flush=True)


if __name__ == "__main__":
    main()
