"""Results of `dnalm pretrain`."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from dnalm.bootstrap import Estimate
from dnalm.results.schema import check, check_curves


class MarkovModel(NamedTuple):
    """An interpolated Markov model and its bits per base."""

    order: int
    strands: int
    bits: float


class MarkovLadder(NamedTuple):
    """Bits per base of Markov models of order 0, 1, ... on the bases of the language model."""

    train_bases: int
    validation_bases: int
    one_strand: list[float]
    both_strands: list[float]
    best: MarkovModel


@dataclass(frozen=True)
class LanguageMetrics:
    """Results of a pretraining run: curves by evaluation, and who has fewer bits (model, markov, neither)."""

    mode: str
    vocab_size: int
    parameters: int
    step: int
    tokens: int
    best_val_loss: float
    bits_per_base: Estimate
    ladder: MarkovLadder
    gain: dict[str, Any]
    verdict: str
    history: dict[str, list[float]]

    def __post_init__(self) -> None:
        check("winner" in self.gain, "gain.winner")
        check_curves(self.history, "", "iterations", "train_losses", "val_losses", "bits_per_base")
