"""The final judgement of a language model: bits per base beside Markov models of the same bases."""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from dnalm.bootstrap import resamples
from dnalm.data.language import choose_pieces
from dnalm.evaluate.baselines.markov import Ladder, ladder
from dnalm.genome.folder import PreparedGenome
from dnalm.train.language import LanguageScores, LanguageTask

FEWEST_PIECES = 10
"""Pieces without which nothing is said of chance."""


def judge(task: LanguageTask, model: nn.Module, bases: int) -> dict[str, Any]:
    """Score `model` and the Markov models on the same validation bases.

    Args:
        task: gives the genome.
        model: a trained language model.
        bases: validation bases to score, about; 0 for all.

    Returns:
        `bits_per_base`, `ladder`, `gain` over its best rung and `verdict`, as they stand in run.json.
    """
    scores = task.score(model, "val", bases)
    rungs = markov_ladder(task.genome, bases)
    low, high = interval(scores.bits, scores.bases)
    bits = {"value": scores.bits_per_base, "low": low, "high": high, "bases": int(scores.bases.sum())}
    gain = gain_over(scores, rungs)
    words = verdict(scores, rungs)
    return {"bits_per_base": bits, "ladder": rungs.as_dict(), "gain": gain, "verdict": words}


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
    means = [(picks @ totals) / (picks @ counts) for picks in resamples(len(totals), seed)]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def gain_over(scores: LanguageScores, rungs: Ladder) -> dict[str, Any]:
    """Return the bits per base that the model saves over the best Markov model, paired piece by piece.

    Returns:
        `value`, `low` and `high` of the 95 % interval, and `winner`: model, markov, or neither where the
        interval holds 0 or there are fewer pieces than `FEWEST_PIECES`.
    """
    order, strands, best = rungs.best
    low, high = interval(rungs.pieces[strands - 1, order] - scores.bits, scores.bases)
    winner = "model" if low > 0 else "markov" if high < 0 else "neither"
    if len(scores.bases) < FEWEST_PIECES:
        winner = "neither"
    return {"value": best - scores.bits_per_base, "low": low, "high": high, "winner": winner}


def verdict(scores: LanguageScores, rungs: Ladder) -> str:
    """Say in one sentence whether the model knows more than the best Markov model of the same bases."""
    order, strands, best = rungs.best
    counted = "both strands" if strands == 2 else "one strand"
    rung = f"the best Markov model (order {order}, {counted} counted, {best:.4f})"
    gain = gain_over(scores, rungs)
    start = f"At {scores.bits_per_base:.4f} bits per base the model"
    spread = f"95 % interval of the gain {gain['low']:+.4f} to {gain['high']:+.4f}"
    if len(scores.bases) < FEWEST_PIECES:
        return f"{start} has gained {gain['value']:+.4f} on {rung}, on too few bases to tell more."
    if gain["winner"] == "model":
        return f"{start} beats {rung} by {gain['value']:.4f} ({spread})."
    if gain["winner"] == "markov":
        return f"{start} is behind {rung} by {-gain['value']:.4f} ({spread})."
    return f"{start} cannot be told from {rung}: gain {gain['value']:+.4f} ({spread})."
