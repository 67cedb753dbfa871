"""The final judgement of a language model: bits per base beside Markov models of the same bases."""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from dnalm.baselines.markov import Ladder, ladder
from dnalm.data.language import choose_pieces
from dnalm.genome import PreparedGenome
from dnalm.tasks.language import LanguageScores, LanguageTask

RESAMPLES = 2000
"""Bootstrap resamples behind an interval."""


def judge(task: LanguageTask, model: nn.Module, bases: int) -> dict[str, Any]:
    """Score `model` and the Markov models on the same validation bases.

    Args:
        task: gives the genome.
        model: a trained language model.
        bases: validation bases to score, about; 0 for all.

    Returns:
        `bits_per_base`, `ladder` and `verdict`, as they stand in run.json.
    """
    scores = task.score(model, "val", bases)
    rungs = markov_ladder(task.genome, bases)
    low, high = interval(scores.bits, scores.bases)
    bits = {"value": scores.bits_per_base, "low": low, "high": high, "bases": int(scores.bases.sum())}
    return {"bits_per_base": bits, "ladder": rungs.as_dict(), "verdict": verdict(scores, rungs)}


def markov_ladder(genome: PreparedGenome, bases: int) -> Ladder:
    """Count the training bases, and score the Markov models on about `bases` validation bases (0 for all)."""
    pieces = choose_pieces(genome, "val", bases)
    return ladder(
        genome.bases_of("train"), (genome.bases("val", int(start), int(end)) for start, end in pieces)
    )


def interval(
    totals: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of sum(totals) / sum(counts), resampling pieces (Efron 1979).

    Args:
        totals: [P], for example bits spent on each piece.
        counts: [P], for example bases in each piece.
        seed: of the resampling.
    """
    draws = np.random.default_rng(seed)
    picks = draws.multinomial(
        len(totals), np.full(len(totals), 1 / len(totals)), size=RESAMPLES
    )  # [R, P] how often
    means = (picks @ totals) / (picks @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def verdict(scores: LanguageScores, rungs: Ladder) -> str:
    """Say in one sentence whether the model knows more than the best Markov model of the same bases."""
    order, strands, best = rungs.best
    counted = "both strands" if strands == 2 else "one strand"
    rung = f"the best Markov model (order {order}, {counted} counted, {best:.4f})"
    gain = rungs.pieces[strands - 1, order] - scores.bits  # [P]: paired, piece by piece
    value = scores.bits_per_base
    low, high = interval(gain, scores.bases)
    spread = f"95 % interval {low:+.4f} to {high:+.4f}"
    if low > 0:
        return f"At {value:.4f} bits per base the model beats {rung} by {best - value:.4f} ({spread})."
    if high < 0:
        return f"At {value:.4f} bits per base the model is behind {rung} by {value - best:.4f} ({spread})."
    gained = f"gain {best - value:+.4f} ({spread})"
    return f"At {value:.4f} bits per base the model cannot be told from {rung}: {gained}."
