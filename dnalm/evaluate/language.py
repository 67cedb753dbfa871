"""Scores of a language model: bits per base, beside Markov models of the same bases.

Shapes: B windows in the batch; L tokens per window; P evaluation pieces.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from dnalm import process
from dnalm.bootstrap import resamples
from dnalm.data.language import FixedWindows, Tile, choose_pieces, context_starts, fixed_windows, tile
from dnalm.dna import NOT_A_BASE
from dnalm.evaluate.baselines.markov import HIGHEST_ORDER, Ladder, ladder
from dnalm.genome.folder import Part, PreparedGenome
from dnalm.models.language import base_log_probabilities
from dnalm.tokens.characters import CharacterTokenizer

EVALUATION_BATCH = 32
"""Windows scored at a time: no result depends on it."""
MIN_PIECES = 10
"""With fewer pieces than this an interval decides nothing."""


@dataclass(frozen=True)
class LanguageScores:
    """How well a model predicts fixed pieces of a genome."""

    nats_per_token: float
    bits: npt.NDArray[np.float64]  # [P]: bits spent on the A/C/G/T targets of each piece
    bases: npt.NDArray[np.int64]  # [P]: A/C/G/T targets in each piece

    @property
    def bits_per_base(self) -> float:
        """Mean over all bases."""
        return float(self.bits.sum() / self.bases.sum())


class BatchLogLoss(NamedTuple):
    """The log loss of a model on a batch of windows."""

    nats: float  # Sum over all tokens
    tokens: int  # Number of tokens
    piece: npt.NDArray[np.int64]  # [B]: the piece each window belongs to
    bits: npt.NDArray[np.float64]  # [B]: sum over the A/C/G/T targets of each window
    bases: npt.NDArray[np.int64]  # [B]: number of those targets


@torch.no_grad()
def score(
    model: nn.Module, genome: PreparedGenome, part: Part, bases: int, length: int, *, together: bool = False
) -> LanguageScores:
    """Score a language model on the fixed pieces of `part` that hold about `bases` bases (0: all).

    `genome` has the model's vocabulary; `length` is L, tokens per window. `together`: all processes call this
    at the same time, and divide the windows among them.
    """
    pieces = choose_pieces(genome, part, bases)
    batches = tile(genome, part, pieces, length, EVALUATION_BATCH)

    def loss_of(rows: list[Tile]) -> BatchLogLoss:
        return _batch_log_loss(model, fixed_windows(genome, part, rows, length), genome.tokenizer)

    was_training = model.training
    model.eval()
    losses = process.map_over_ranks(batches, loss_of, together=together)
    model.train(was_training)
    bits, counts = np.zeros(len(pieces)), np.zeros(len(pieces), dtype=np.int64)
    for each in losses:
        np.add.at(bits, each.piece, each.bits)
        np.add.at(counts, each.piece, each.bases)
    nats_per_token = sum(each.nats for each in losses) / sum(each.tokens for each in losses)
    return LanguageScores(nats_per_token, bits, counts)


def _batch_log_loss(model: nn.Module, windows: FixedWindows, tokenizer: CharacterTokenizer) -> BatchLogLoss:
    """Return the log loss of a batch of windows, over tokens and over bases."""
    device = next(model.parameters()).device
    codes = torch.from_numpy(tokenizer.base_of_token.astype(np.int64))
    logits = model(windows.tokens.to(device), windows.real.to(device)).float().cpu()
    targets = windows.targets.long()
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    base = codes[targets]  # [B, L]
    is_base = (base != NOT_A_BASE) & windows.scored
    log_p = base_log_probabilities(logits, tokenizer)
    bits = -log_p.gather(-1, base.clamp(max=3).unsqueeze(-1)).squeeze(-1) / np.log(2)
    return BatchLogLoss(
        nats=float(nats[windows.scored].double().sum()),
        tokens=int(windows.scored.sum()),
        piece=windows.piece.numpy(),
        bits=bits.masked_fill(~is_base, 0.0).double().sum(dim=1).numpy(),
        bases=is_base.sum(dim=1).numpy(),
    )


def evaluate_language(model: nn.Module, genome: PreparedGenome, bases: int, length: int) -> dict[str, Any]:
    """Score `model` and the Markov models on the same about `bases` validation bases (0: all).

    `length` is L, tokens per window.

    Returns:
        `bits_per_base`, `ladder`, `gain` over the best Markov model and `verdict`, as run.json has them.
    """
    scores = score(model, genome, "val", bases, length)
    baselines = markov_ladder(genome, bases)
    low, high = interval(scores.bits, scores.bases)
    bits = {"value": scores.bits_per_base, "low": low, "high": high, "bases": int(scores.bases.sum())}
    gain = gain_over(scores, baselines)
    return {
        "bits_per_base": bits,
        "ladder": baselines.as_dict(),
        "gain": gain,
        "verdict": verdict(scores, gain, baselines),
    }


def markov_ladder(genome: PreparedGenome, bases: int) -> Ladder:
    """Count the training bases, and score the Markov models on about `bases` validation bases (0: all).

    Their contexts may begin before a piece, in its segment, as a language model's does.
    """
    pieces = choose_pieces(genome, "val", bases)
    begins = np.maximum(context_starts(genome, "val", pieces), pieces[:, 0] + 1 - HIGHEST_ORDER)
    return ladder(
        genome.bases_of("train"),
        (genome.bases("val", int(b), int(end)) for b, end in zip(begins, pieces[:, 1], strict=True)),
        context=pieces[:, 0] + 1 - begins,
    )


def interval(
    totals: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of sum(totals) / sum(counts), resampling pieces (Efron 1979).

    `totals` [P] are for example bits spent on each piece, `counts` [P] bases in each piece.
    """
    means = [(picks @ totals) / (picks @ counts) for picks in resamples(len(totals), seed)]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def gain_over(scores: LanguageScores, baselines: Ladder) -> dict[str, Any]:
    """Return the bits per base that the model saves over the best Markov model, paired piece by piece.

    Returns:
        `value`, `low` and `high` of the 95 % interval, and `winner`: model, markov, or neither where the
        interval holds 0 or there are fewer pieces than `MIN_PIECES`.
    """
    order, strands, best = baselines.best
    low, high = interval(baselines.pieces[strands - 1, order] - scores.bits, scores.bases)
    winner = "model" if low > 0 else "markov" if high < 0 else "neither"
    if len(scores.bases) < MIN_PIECES:
        winner = "neither"
    return {"value": best - scores.bits_per_base, "low": low, "high": high, "winner": winner}


def verdict(scores: LanguageScores, gain: dict[str, Any], baselines: Ladder) -> str:
    """Return one sentence: is the model better than the best Markov model, by `gain` (of `gain_over`)?"""
    order, strands, best = baselines.best
    strand = "both strands" if strands == 2 else "one strand"
    baseline = f"the best Markov model (order {order}, {strand} counted, {best:.4f})"
    start = f"At {scores.bits_per_base:.4f} bits per base the model"
    spread = f"95 % interval of the gain {gain['low']:+.4f} to {gain['high']:+.4f}"
    if len(scores.bases) < MIN_PIECES:
        return f"{start} gains {gain['value']:+.4f} on {baseline}, on too few bases to decide."
    if gain["winner"] == "model":
        return f"{start} beats {baseline} by {gain['value']:.4f} ({spread})."
    if gain["winner"] == "markov":
        return f"{start} is behind {baseline} by {-gain['value']:.4f} ({spread})."
    return f"{start} is not distinguishable from {baseline}: gain {gain['value']:+.4f} ({spread})."
