"""What results say in plain words: which model is better, by how much, how certainly.

A verdict follows the interval of a paired difference: above 0 better, below 0 worse, around 0 undecided. The
sentences are in templates/, which end in .txt.j2; empty lines separate them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import jinja2

from dnalm.bootstrap import Estimate
from dnalm.errors import counted
from dnalm.report.comparisons import BindingComparison, PairComparison, flipped, ranked
from dnalm.report.figures import same_bases, same_positions
from dnalm.results.binding import BindingModelInfo
from dnalm.results.language import LanguageMetrics
from dnalm.results.pairs import Gain, PairEntry

CHANCE = 0.5
"""AUROC of guessing."""


def number(value: float | None, digits: int = 4) -> str:
    """Write a number, or "undefined"."""
    return "undefined" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(estimate: Estimate | Gain, sign: str = "") -> str:
    """Write a figure with its interval, or "undefined"; small differences get more decimals.

    Args:
        estimate: of a score or a difference.
        sign: "+" to write the sign of positive numbers too.
    """
    if math.isnan(estimate.value):
        return "undefined"
    parts = (estimate.value, estimate.low, estimate.high)
    digits = 6 if any(abs(part) < 0.0005 for part in parts) else 4
    value, low, high = (f"{part:{sign}.{digits}f}" for part in parts)
    return value if math.isnan(estimate.low + estimate.high) else f"{value} ({low} to {high})"


def verdict(gap: Estimate | Gain | None) -> Literal["better", "worse", "undecided", "unknown"]:
    """Return what a paired difference with its interval shows of the first of two models."""
    if gap is None or math.isnan(gap.low) or math.isnan(gap.value):
        return "unknown"
    return "better" if gap.low > 0 else "worse" if gap.high < 0 else "undecided"


def own_intervals(one: Estimate, other: Estimate) -> str:
    """Say what two scores without a paired difference show."""
    if any(math.isnan(part) for part in (*one, *other)):
        return "they cannot be compared"
    if one.low > other.high or other.low > one.high:
        return "their own intervals do not overlap"
    return "their own intervals overlap, so this decides little"


def listed(words: Sequence[str]) -> str:
    """Join words: a, b and c."""
    return ", ".join(words[:-1]) + " and " * (len(words) > 1) + words[-1]


@cache
def templates() -> jinja2.Environment:
    """Return the templates of pages and texts."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("dnalm.report"),
        undefined=jinja2.StrictUndefined,
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "interval": interval,
        "flipped": flipped,
        "listed": listed,
        "counted": counted,
    }
    made.filters["with_commas"] = "{:,}".format
    made.globals |= {"counted": counted, "verdict": verdict, "own_intervals": own_intervals}
    return made


def paragraphs(template: str, **values: Any) -> list[str]:
    """Return the paragraphs of a text template; empty lines separate them."""
    text = templates().get_template(f"{template}.txt.j2").render(values)
    return [" ".join(block.split()) for block in text.split("\n\n") if block.strip()]


def language_findings(metrics: Mapping[str, LanguageMetrics]) -> list[str]:
    """Say whether language models beat the best count model, and which of two has fewer bits.

    Models of both objectives are compared at the positions by which masked models are scored.
    """
    masked = [name for name, one in metrics.items() if one.masked]
    bits = {name: one.at_fixed if masked else one.bits for name, one in metrics.items()}
    ranked_bits = sorted(((each, name) for name, each in bits.items() if each is not None))
    same = len(same_bases(metrics)) == 1
    if masked:
        same = len(ranked_bits) == len(metrics) and len(same_positions(metrics)) == 1
    return paragraphs(
        "findings_language", metrics=metrics, ranked=ranked_bits, same_bases=same, any_masked=bool(masked)
    )


def binding_findings(comparison: BindingComparison) -> list[str]:
    """Say which model is best, whether pretraining helped, and how the baselines compare."""
    models = ranked(comparison.models)
    gaps = {other: comparison.difference(models[0], other) for other in models[1:]}
    paired = {other: gap for other, gap in gaps.items() if isinstance(gap, Estimate)}
    known = bool(models) and not math.isnan(comparison.models[models[0]].score.value)
    return paragraphs(
        "findings_binding",
        c=comparison,
        models=models,
        gaps=gaps,
        beaten=[f"{other} by {interval(gap)}" for other, gap in paired.items() if verdict(gap) == "better"],
        tied=[f"{other}, {interval(gap, '+')}" for other, gap in paired.items() if verdict(gap) != "better"],
        twins={pair: comparison.difference(*pair) for pair in twins(comparison)},
        baselines={
            name: comparison.difference(models[0], name) if known else None
            for name in ranked(comparison.baselines)
        },
    )


def twins(comparison: BindingComparison) -> list[tuple[str, str]]:
    """Pair each pretrained model with those of the same size and training whose core is untrained."""

    def alike(model: BindingModelInfo) -> BindingModelInfo:
        return replace(model, random_core=False, core=None, weights=None, layer_weights=None)

    models = {name: one.model for name, one in comparison.entries.items() if one.model}
    return [
        (name, twin)
        for name, model in models.items()
        for twin, other in models.items()
        if other.random_core and not model.random_core and alike(model) == alike(other)
    ]


def conditions(comparison: PairComparison, with_seed: bool = False) -> str:
    """Return what an AUROC must not stand without: part, split, negatives and node rate.

    Args:
        comparison: of some pairs.
        with_seed: name the seed of the split, where there are several.
    """
    protocol = comparison.protocol
    ratio = "" if protocol.ratio is None or protocol.negatives == "none" else f", ratio {protocol.ratio:g}"
    seed = f" (seed {protocol.seed}, pairs {protocol.digest[:8]})" if with_seed else ""
    return (
        f"{comparison.part.capitalize()} part, {protocol.split} split{seed}, negatives {protocol.negatives}"
        f"{ratio}, node rate {number(comparison.node_rate)}"
    )


def gain_text(entry: PairEntry) -> str:
    """Return the difference to the best baseline, with its interval and verdict."""
    gain = entry.minus_best_baseline
    if gain is None or gain.baseline is None or math.isnan(gain.value):
        return "unknown"
    text = interval(gain, "+")
    return f"{text}, no interval" if math.isnan(gain.low) else f"{text}: {verdict(gain)}"


def pair_findings(comparison: PairComparison) -> list[str]:
    """Say which model or baseline is best, by how much, and what the other models reach."""
    sequenced = {name: one.sequenced for name, one in comparison.baselines.items() if one.sequenced}
    known = {name: one.auroc.value for name, one in sequenced.items() if not math.isnan(one.auroc.value)}
    return paragraphs(
        "findings_pairs",
        c=comparison,
        scores=next(iter(comparison.entries.values())).scores,
        models=ranked(comparison.models),
        baselines=ranked(comparison.baselines),
        top=max(known, key=known.__getitem__, default=None),
    )


def trust(comparisons: Sequence[PairComparison]) -> str:
    """Say how far to trust a model's ranking: by the test part, or by validation in its absence.

    Args:
        comparisons: scores of one model, by part.
    """
    best = next((c for c in comparisons if c.part == "test"), comparisons[0])
    model = next(iter(best.models.values()))
    known = not any(map(math.isnan, (*model.score, best.node_rate)))
    gain, floor = model.minus_best_baseline, max(best.node_rate, CHANCE)
    values = {"conditions": conditions(best), "auroc": model.score, "known": known, "gain": gain}
    (text,) = paragraphs("trust", c=best, floor=floor, **values)
    return text
