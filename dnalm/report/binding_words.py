"""What a comparison of binding models says, in plain words: who is better, by how much, how certainly."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dnalm.bootstrap import Estimate
from dnalm.report.read_binding import Comparison


def ranking(comparison: Comparison) -> list[str]:
    """Say which model is best, or which cannot be told apart."""
    names = comparison.models()
    if not names:
        return []
    best, others = names[0], names[1:]
    r = comparison.r(best)
    if math.isnan(r.value):
        return [f"R of {_and(names)} is undefined: what is predicted, or the truth, does not vary."]
    if not others:
        return [f"{best} has a Pearson R of {figure_of(r)}; there is no other model beside it."]
    gaps = {other: comparison.difference(best, other) for other in others}
    beaten = [f"{o} by {figure_of(d)}" for o, d in gaps.items() if isinstance(d, Estimate) and d.low > 0]
    tied = [
        "{} (difference in R {}, interval {})".format(o, *_signed(d))
        for o, d in gaps.items()
        if isinstance(d, Estimate) and d.low <= 0
    ]
    unknown = {o: why for o, why in gaps.items() if isinstance(why, str)}
    said = f"{best} has the highest Pearson R, {figure_of(r)}."
    if tied:
        said = (
            f"no single winner. {best} has a Pearson R of {figure_of(r)} and cannot be told apart from "
            f"{_and(tied)}: an interval that includes 0."
        )
    if beaten:
        said += f" {best} beats {_and(beaten)}."
    sentences = [said]
    for other, why in unknown.items():
        sentences.append(f"{best} and {other}: {_unpaired(comparison, best, other, why)}")
    return sentences


def pretraining(comparison: Comparison) -> list[str]:
    """Say what pretraining bought, for each model that stands beside the same one with an untrained core."""
    sentences = []
    for name, twin in _twins(comparison):
        gap = comparison.difference(name, twin)
        if isinstance(gap, str):
            sentences.append(f"pretraining, {name} beside {twin}: {_unpaired(comparison, name, twin, gap)}")
        elif gap.low > 0:
            sentences.append(
                f"pretraining helped. {name} beats {twin}, the same model with an untrained core, by "
                f"{figure_of(gap)} in R."
            )
        elif gap.high < 0:
            sentences.append(
                f"pretraining did not help. {twin}, with an untrained core, beats the pretrained {name} by "
                f"{figure_of(_flipped(gap))} in R."
            )
        else:
            sentences.append(
                f"pretraining shows no effect. {name} and {twin}, the same model with an untrained core, "
                f"cannot be told apart: their difference in R is {figure_of(gap)}."
            )
    return sentences


def against_baselines(comparison: Comparison) -> list[str]:
    """Put the best model beside each baseline that needs no training."""
    names = [name for name in comparison.models() if not math.isnan(comparison.r(name).value)]
    sentences = []
    for baseline in comparison.baselines():
        r = comparison.r(baseline)
        if math.isnan(r.value):
            sentences.append(f"{baseline}, without training: R is undefined, since it does not vary.")
            continue
        said = f"{baseline}, without training, has a Pearson R of {figure_of(r)}"
        if names:
            said += f"; {_beside(comparison, names[0], baseline)}"
        sentences.append(f"{said}.")
    return sentences


def differences(comparison: Comparison) -> list[list[str]]:
    """Return a row for the best model against each other one, and each model against its untrained twin."""
    names = comparison.models()
    pairs = [(names[0], other) for other in names[1:]] if names else []
    pairs += [pair for pair in _twins(comparison) if pair not in pairs and pair[::-1] not in pairs]
    rows = []
    for one, other in pairs:
        gap = comparison.difference(one, other)
        if isinstance(gap, str):
            rows.append([f"{one} less {other}", "not told", "not told", gap])
            continue
        verdict = one if gap.low > 0 else other if gap.high < 0 else "cannot be told apart"
        rows.append([f"{one} less {other}", *_signed(gap), verdict])
    return rows


def figure_of(found: Estimate) -> str:
    """Write a figure with its interval, or "undefined"; small differences get more decimals."""
    if math.isnan(found.value):
        return "undefined"
    value, low, high = (f"{figure:.{_decimals(found)}f}" for figure in found)
    return value if "nan" in (low, high) else f"{value} ({low} to {high})"


def _decimals(found: Estimate) -> int:
    return 6 if any(abs(figure) < 0.0005 for figure in found) else 4


def _signed(gap: Estimate) -> list[str]:
    value, low, high = (f"{figure:+.{_decimals(gap)}f}" for figure in gap)
    return [value, f"{low} to {high}"]


def _twins(comparison: Comparison) -> list[tuple[str, str]]:
    """Pair each pretrained model with those of the same size and training whose core is untrained."""
    keys = ("kind", "tune", "both_strands", "parameters", "trained_parameters")

    def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        same_training = one.get("trained_as") == other.get("trained_as")
        return same_training and all(one[key] == other[key] for key in keys)

    models = {name: comparison.judged[name].model or {} for name in comparison.models()}
    return [
        (name, twin)
        for name, model in models.items()
        for twin, other in models.items()
        if other["random_core"] and not model["random_core"] and alike(model, other)
    ]


def _unpaired(comparison: Comparison, one: str, other: str, why: str) -> str:
    """Say what can be said of two models without a paired interval."""
    return f"no paired interval, for {why}; {_own_intervals(comparison.r(one), comparison.r(other))}."


def _own_intervals(one: Estimate, other: Estimate) -> str:
    if any(math.isnan(figure) for figure in (*one, *other)):
        return "they cannot be compared"
    if one.low > other.high or other.low > one.high:
        return "their own intervals do not overlap"
    return "their own intervals overlap, so that this settles little"


def _beside(comparison: Comparison, best: str, baseline: str) -> str:
    gap = comparison.difference(best, baseline)
    mine, theirs = comparison.r(best), comparison.r(baseline)
    if isinstance(gap, str):
        higher = "above" if mine.value > theirs.value else "below"
        return f"the best model, {best}, is {higher} it, and {_own_intervals(mine, theirs)}"
    if gap.low > 0:
        return f"the best model, {best}, beats it by {figure_of(gap)}"
    if gap.high < 0:
        return f"it beats the best model, {best}, by {figure_of(_flipped(gap))}"
    return f"the best model, {best}, cannot be told apart from it: the difference is {figure_of(gap)}"


def _flipped(gap: Estimate) -> Estimate:
    return Estimate(-gap.value, -gap.high, -gap.low)


def _and(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " * (len(words) > 1) + words[-1]
