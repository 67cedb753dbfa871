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
    """Bits per base of Markov models of order 0, 1, ..., or of two-sided ones that see so many a side."""

    train_bases: int
    validation_bases: int
    one_strand: list[float]
    both_strands: list[float]
    best: MarkovModel


class FixedPositions(NamedTuple):
    """Bits per base of a causal model at the positions by which masked models are scored."""

    value: float
    low: float
    high: float
    markov: MarkovModel
    two_sided: MarkovModel


@dataclass(frozen=True)
class LanguageMetrics:
    """Results of a pretraining run: curves by evaluation, and who has fewer bits (model, markov, neither).

    Of a masked run bits are per masked base, and the other model is the best of `two_sided`.
    """

    mode: str
    vocab_size: int
    parameters: int
    step: int
    tokens: int
    best_val_loss: float
    ladder: MarkovLadder
    gain: dict[str, Any]
    verdict: str
    history: dict[str, list[float]]
    objective: str = "causal"
    bits_per_base: Estimate | None = None
    fixed_positions: FixedPositions | None = None
    bits_per_masked_base: Estimate | None = None
    two_sided: MarkovLadder | None = None

    def __post_init__(self) -> None:
        check("winner" in self.gain, "gain.winner")
        for name in ("bits_per_masked_base", "two_sided") if self.masked else ("bits_per_base",):
            check(getattr(self, name) is not None, name)
        check_curves(self.history, "", "iterations", "train_losses", "val_losses", self.measure)

    @property
    def masked(self) -> bool:
        """Whether the model predicts masked bases from both sides."""
        return self.objective == "masked"

    @property
    def measure(self) -> str:
        """The name of its bits, which do not compare with those of the other objective."""
        return "bits_per_masked_base" if self.masked else "bits_per_base"

    @property
    def bits(self) -> Estimate:
        """Bits per base, or per masked base."""
        found: Estimate = getattr(self, self.measure)
        return found

    @property
    def counts(self) -> MarkovLadder:
        """The count models to compare with: Markov, or of a masked run two-sided."""
        return self.ladder if self.two_sided is None else self.two_sided

    @property
    def at_fixed(self) -> Estimate | None:
        """Bits at the positions by which masked models are scored; None if not known."""
        known = None if self.fixed_positions is None else Estimate(*self.fixed_positions[:3])
        return self.bits if self.masked else known
