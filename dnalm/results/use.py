"""What `predict`, `variants`, `explain` and `score` record: one schema for writing and reading.

Each is the `metrics` of a run.json, which stands beside the results as run_OUT.json, or in their folder as
run.json. Null for a float is NaN.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Estimate

Array = npt.NDArray[np.float32]


def as_json(value: Any) -> Any:
    """Return results as JSON values: named tuples and dataclasses become objects."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


class Counts(NamedTuple):
    """What became of the records of an input: `read` is `written` plus all of `left_out`, by reason."""

    read: int
    written: int
    left_out: dict[str, int]


class Match(NamedTuple):
    """A motif of a library that resembles a stretch (Tomtom, Gupta et al. 2007)."""

    motif: str
    p_value: float
    e_value: float  # p_value times the motifs of the library
    strand: str  # + or -: which strand of the stretch
    overlap: int  # Positions that are aligned


class Stretch(NamedTuple):
    """A stretch of a sequence that matters, 0-based and half-open in it."""

    start: int
    end: int
    score: float  # Sum of the attributions
    matches: list[Match]  # The best first; empty without a library


class Explanation(NamedTuple):
    """Why a model predicts what it does for one sequence of L letters; floats are NaN where unknown.

    The output that is explained is the sum of a binding model's track, or a language model's log-likelihood
    of the sequence in nats; both are means of what the model reads on either strand.
    """

    sequence: str
    method: str  # deeplift or mutagenesis: what `attribution` is of
    output: float
    reference: float  # Mean output of shuffled sequences
    strands: float  # Correlation of the attributions of the two strands
    delta: float  # Convergence of DeepLIFT: mean error over mean difference from the references
    effects: Array  # [L, 4]: output with A, C, G or T here, minus the output; NaN where there is no base
    attribution: Array  # [L]: of the base that is there
    stretches: list[Stretch]  # The most important first
    track: Array | None = None  # [L]: predicted track of a binding model
    contributions: Array | None = None  # [L, 4]: DeepLIFT's, of each base if it were there
    probabilities: Array | None = None  # [L, 4]: of a language model, given both sides
    dependencies: Array | None = None
    """[L, L]: row i, column j: largest change of the log-odds of a base at j, in nats, when i is changed."""

    @property
    def completeness(self) -> float:
        """Sum of the attributions over output minus reference; 1 if they add up to it."""
        difference = self.output - self.reference
        return float(np.nansum(self.attribution)) / difference if difference else float("nan")


class SiteShare(NamedTuple):
    """How many of the bases with the highest attributions, as many as lie in known sites, lie in them."""

    bases: int  # In sites
    share: float
    chance: float  # Share of all bases of the regions that lie in sites


class ExplainMetrics(NamedTuple):
    """What `dnalm explain` records: medians over the regions, and what motifs came first."""

    model: str
    kind: str  # binding or language
    counts: Counts
    methods: dict[str, int]  # Regions by the method of their attributions
    completeness: float
    strands: float
    delta: float
    motifs: str | None  # The library
    first_matches: dict[str, int]  # Motifs that came first for the top stretch of a region, with how often
    sites: SiteShare | None
    pictures: list[str]  # Names of regions, in the order of their pictures


class VariantScores(NamedTuple):
    """Scores of n alternative alleles, one after another."""

    alleles: list[tuple[str, int, str, str]]  # Contig, start from 0, REF, ALT
    scores: dict[str, npt.NDArray[np.float64]]  # [n] each, by name; NaN where there is none
    reasons: list[str]  # Why there is no score, see `dnalm.use.variants.REASONS`; empty where there is one


class VariantScore(NamedTuple):
    """How well one score of variants tells rare from common ones."""

    auroc: Estimate  # Above 0.5: rare ones look more harmful
    gain: Estimate  # AUROC minus that of the Markov model, paired; NaN for baselines
    odds: dict[str, Estimate]
    """Odds of being rare in the most harmful share, such as 10 %, divided by those of all others."""


class Contrast(NamedTuple):
    """Rare against common SNVs."""

    name: str  # What is rare
    rare: int
    common: int
    blocks: int  # Of the genome, which the intervals resample
    scores: dict[str, VariantScore]


class VariantMetrics(NamedTuple):
    """What `dnalm variants` did: `alleles` are those with scores and those of `not_scored`, by reason."""

    model: str
    counts: Counts  # Of records
    alleles: int
    not_scored: dict[str, int]
    checked: int  # Records whose REF was compared with the genome
    mismatched: int
    window: int  # Bases
    columns: dict[str, str]  # What each score is
    baseline: str  # The Markov model, in words; empty for a binding model
    per_second: float  # Alleles scored
    common_share: float  # Of the rarer allele of a common SNV
    contrasts: list[Contrast]


class FeatureGain(NamedTuple):
    """Bits per base of a language model and of a Markov model on the bases of a feature."""

    name: str
    bases: int
    blocks: int  # Of the genome, that hold some of them
    model: float
    markov: float
    gain: Estimate  # Markov minus model, with its interval over blocks; NaN for too few


class SubstitutionAuroc(NamedTuple):
    """How well likelihood ratios tell a class of substitutions from synonymous ones of the same codons."""

    name: str  # nonsense or missense
    codons: int
    genes: int
    model: Estimate  # AUROC, with its interval over genes
    markov: Estimate
    difference: Estimate  # model minus Markov, paired


@dataclass(frozen=True)
class ScoreMetrics:
    """Results of `dnalm score`; `markov` is NaN, and its `baseline` empty, where there was none."""

    model: str
    regions: Counts
    bases: int  # Scored: those that both models predict
    bits_per_base: float
    markov: float
    baseline: str  # What the Markov model counted, in words
    scored_part: str  # Which part of the genome was scored, in words
    features: list[FeatureGain] = field(default_factory=list)
    substitutions: list[SubstitutionAuroc] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # What was left out, in sentences


class TrackExample(NamedTuple):
    """A stretch of a predicted track."""

    contig: str
    start: int  # From 0
    highest: float  # The largest of its values
    values: list[float]  # At each base; null where the genome has no A, C, G or T
    truth: list[float] | None  # Of the known track, at the same bases


class TruthMetrics(NamedTuple):
    """How well a predicted track agrees with a known one, over the bases that have both."""

    track: str  # Name of the file of the known one
    bases: int
    r: Estimate  # Pearson's R over these bases; the interval is from resampling blocks of the genome
    blocks: int
    block: int  # Bases of a block


class PredictMetrics(NamedTuple):
    """What `dnalm predict` wrote."""

    model: str
    regions: Counts
    overlapping: int  # Regions that hold a base of a region before them: each base is written once
    bases: int  # In all regions
    predicted: int  # Bases with a score; the others are no A, C, G or T
    mean: float  # Of the scores
    window: int  # Bases that the model reads at once
    stride: int  # Bases from a window to the next
    both_strands: bool  # Whether each score is the mean of both strands
    examples: list[TrackExample]
    """The highest scores with the bases around them."""
    truth: TruthMetrics | None
