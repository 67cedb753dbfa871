"""Language modelling of a genome: data + GPT + next-token head + loss + scores.

Shapes used below
    B  windows in the batch          L  tokens per window
    V  tokens in the vocabulary      P  evaluation pieces
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import process
from dnalm.data.language import (
    FixedWindows,
    LanguageBatch,
    LanguageWindows,
    Tile,
    choose_pieces,
    fixed_windows,
    tile,
)
from dnalm.dna import NOT_A_BASE
from dnalm.errors import InputError
from dnalm.genome.folder import Part, PreparedGenome
from dnalm.models.gpt import GPTConfig, start_local
from dnalm.models.language import LanguageModel, base_log_probabilities

EVALUATION_BATCH = 32
"""Windows scored at a time: no result depends on it."""
LEAST = 1e-9
"""Stands for the sum of weights that are all 0."""


@dataclass(frozen=True)
class LanguageConfig:
    """What is asked of a language model, beside its shape."""

    local_start: bool = True
    """Heads begin by attending to nearby tokens, each at a distance of its own (rotary positions alone)."""
    repeat_weight: float = 1.0
    """Weight of soft-masked (lower-case, repetitive) bases in the loss, 0 to 1."""
    eval_bases: int = 76_800
    """Bases of train and of validation scored at each evaluation; the same ones every time."""
    final_bases: int = 500_000
    """Validation bases for the final score and the Markov models; 0 for all."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.repeat_weight <= 1.0:
            raise InputError(f"repeat_weight must be from 0 to 1, got {self.repeat_weight}")
        if self.eval_bases < 1 or self.final_bases < 0:
            raise InputError(
                "eval_bases must be at least 1 and final_bases at least 0, "
                f"got {self.eval_bases} and {self.final_bases}"
            )


@dataclass(frozen=True)
class LanguageScores:
    """How well a model predicts fixed pieces of a genome."""

    nats_per_token: float
    bits: npt.NDArray[np.float64]
    """[P]: bits spent on the A/C/G/T targets of each piece."""
    bases: npt.NDArray[np.int64]
    """[P]: A/C/G/T targets in each piece."""

    @property
    def bits_per_base(self) -> float:
        """Mean over all bases."""
        return float(self.bits.sum() / self.bases.sum())


class _Spent(NamedTuple):
    """What a model spends on a batch of windows."""

    nats: float
    """On all its tokens."""
    tokens: int
    """How many those are."""
    piece: npt.NDArray[np.int64]
    """[B]: the piece each window belongs to."""
    bits: npt.NDArray[np.float64]
    """[B]: on the A/C/G/T targets of each."""
    bases: npt.NDArray[np.int64]
    """[B]: how many those are."""


class LanguageTask:
    """Next-token prediction on one prepared genome."""

    unit = "tokens"

    def __init__(self, genome: PreparedGenome, encoder: GPTConfig, config: LanguageConfig) -> None:
        self.genome, self.encoder, self.config = genome, encoder, config

    def windows(self, batch_size: int, seed: int) -> LanguageWindows:
        """Return the training windows."""
        return LanguageWindows(
            self.genome,
            "train",
            length=self.encoder.block_size,
            batch_size=batch_size,
            seed=seed,
            repeat_weight=self.config.repeat_weight,
        )

    def build_model(self) -> LanguageModel:
        """Return an untrained model."""
        model = LanguageModel(self.encoder, self.genome.tokenizer.vocab_size)
        if self.config.local_start and self.encoder.position == "rotary":
            start_local(model.transformer)
        return model

    def loss(self, model: nn.Module, batch: LanguageBatch) -> Tensor:
        """Return the mean cross-entropy in nats per token (weighted, where the batch has weights)."""
        logits = model(batch.tokens, torch.ones_like(batch.tokens, dtype=torch.bool)).float().flatten(0, 1)
        targets = batch.targets.long().flatten()
        if batch.weights is None:
            return F.cross_entropy(logits, targets)
        weights = batch.weights.flatten()
        each = F.cross_entropy(logits, targets, reduction="none")
        return (each * weights).sum() / weights.sum().clamp(min=LEAST)

    def counted(self, batch: LanguageBatch) -> float:
        """Return what the loss is a mean over: tokens, or the sum of their weights."""
        return float(batch.tokens.numel() if batch.weights is None else batch.weights.sum())

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score `model` on the fixed pieces of train and of validation."""
        train = self.score(model, "train", self.config.eval_bases, together=True)
        val = self.score(model, "val", self.config.eval_bases, together=True)
        return {
            "train_loss": train.nats_per_token,
            "val_loss": val.nats_per_token,
            "bits_per_base": val.bits_per_base,
        }

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the model's tensors by name, the tied head left out."""
        return {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}

    def model_args(self) -> dict[str, Any]:
        """Return what a published checkpoint says of its model; `position` only when it is not learned."""
        args = {**asdict(self.encoder), "vocab_size": self.genome.tokenizer.vocab_size}
        if self.encoder.position == "learned":
            del args["position"]
        return args

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again."""
        return {
            "kind": "language",
            "encoder": {"name": "gpt", **asdict(self.encoder)},
            "vocab_size": self.genome.tokenizer.vocab_size,
            "characters": self.genome.tokenizer.characters,
            "mode": self.genome.mode,
            "data_digest": self.genome.digest,
        }

    @torch.no_grad()
    def score(self, model: nn.Module, part: Part, bases: int, *, together: bool = False) -> LanguageScores:
        """Score `model` on the fixed pieces of `part` that hold about `bases` bases (0 for all).

        Args:
            model: a language model.
            part: train or val.
            bases: how many bases to predict, about.
            together: whether all processes of the run ask for the same at once: each then does its share.
        """
        pieces = choose_pieces(self.genome, part, bases)
        batches = tile(self.genome, part, pieces, self.encoder.block_size, EVALUATION_BATCH)

        def spent(rows: list[Tile]) -> _Spent:
            return self._spent(model, fixed_windows(self.genome, part, rows, self.encoder.block_size))

        was_training = model.training
        model.eval()
        found = process.map_over_ranks(batches, spent, together=together)
        model.train(was_training)
        bits, hits = np.zeros(len(pieces)), np.zeros(len(pieces), dtype=np.int64)
        for each in found:
            np.add.at(bits, each.piece, each.bits)
            np.add.at(hits, each.piece, each.bases)
        return LanguageScores(
            sum(each.nats for each in found) / sum(each.tokens for each in found), bits, hits
        )

    def _spent(self, model: nn.Module, windows: FixedWindows) -> "_Spent":
        """Return what `model` spends on the targets of some windows."""
        device = next(model.parameters()).device
        codes = torch.from_numpy(self.genome.tokenizer.base_of_token.astype(np.int64))
        logits = model(windows.tokens.to(device), windows.real.to(device)).float().cpu()
        targets = windows.targets.long()
        each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
        base = codes[targets]  # [B, L]
        is_base = (base != NOT_A_BASE) & windows.real
        log_p = base_log_probabilities(logits, self.genome.tokenizer)
        bits = -log_p.gather(-1, base.clamp(max=3).unsqueeze(-1)).squeeze(-1) / np.log(2)
        return _Spent(
            nats=float(each[windows.real].double().sum()),
            tokens=int(windows.real.sum()),
            piece=windows.piece.numpy(),
            bits=bits.masked_fill(~is_base, 0.0).double().sum(dim=1).numpy(),
            bases=is_base.sum(dim=1).numpy(),
        )
