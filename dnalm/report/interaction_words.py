"""What results on genes and molecules say, in plain words: who is best, by how much, how certainly."""

import math
from collections.abc import Sequence

from dnalm.bootstrap import Estimate
from dnalm.report.binding_words import figure_of
from dnalm.report.read_pairs import NODE_RATE, Comparison, Judged, auroc_of


def conditions(comparison: Comparison, with_seed: bool = False) -> str:
    """Say what an AUROC must never stand without: part, split, negatives and node rate.

    Args:
        comparison: whose pairs are meant.
        with_seed: name the seed of the split too, where there are several.
    """
    protocol = comparison.protocol
    ratio = "" if protocol.ratio is None or protocol.negatives == "none" else f", ratio {protocol.ratio:g}"
    seed = f" (seed {protocol.seed})" if with_seed else ""
    return (
        f"{comparison.part.capitalize()} part, {protocol.split} split{seed}, negatives {protocol.negatives}"
        f"{ratio}, node rate {figure(comparison.node_rate)}"
    )


def findings(comparison: Comparison) -> list[str]:
    """Say which model or rung is best, by how much, and what the other models are worth."""
    models, rungs = comparison.ranked(comparison.models), comparison.ranked(comparison.ladder)
    positives, rows = (int(comparison.scores[key]) for key in ("positives", "rows"))
    if not 0 < positives < rows:
        return [
            f"AUROC is undefined: all {rows:,} pairs are of one kind, {positives:,} of them positive. "
            "Nothing can be said of any model."
        ]
    if not rungs:
        return [_own_results(comparison, models)]
    if not models:
        best = rungs[0]
        return [
            f"the best rung of the ladder is {best}, with an AUROC of {_auroc(comparison.ladder[best])}; "
            "no model was judged beside it."
        ]
    sentences = [_beside_rung(models[0], comparison)]
    for name in models[1:]:
        sentences.append(_other(name, models[0], comparison))
    sentences += _sequenced(comparison, models[0])
    return [*sentences, *_shuffled(models[0], comparison.models[models[0]])]


def verdict(judged: Judged) -> str:
    """Return how a model stands to the best rung, in a word or two, with the paired interval."""
    if judged.gain is None or judged.rung is None or math.isnan(judged.gain.value):
        return "not told"
    value, low, high = (f"{number:+.4f}" for number in judged.gain)
    spread = f"{value} ({low} to {high})"
    if math.isnan(judged.gain.low):
        return f"{value}, no interval"
    word = "better" if judged.gain.low > 0 else "worse" if judged.gain.high < 0 else "cannot be told apart"
    return f"{spread}: {word}"


def figure(value: float | None, digits: int = 4) -> str:
    """Write a number, or "undefined"."""
    return "undefined" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _auroc(judged: Judged) -> str:
    return figure_of(auroc_of(judged.scores))


def _own_results(comparison: Comparison, models: Sequence[str]) -> str:
    """Tell the results of trainings beside which no ladder was fitted."""
    best = models[0]
    own = auroc_of(comparison.models[best].scores)
    said = f"{best} has an AUROC of {figure_of(own)}"
    if len(models) > 1:
        said = f"{best} has the highest AUROC, {figure_of(own)}"
        others = [f"{name} has {_auroc(comparison.models[name])}" for name in models[1:]]
        said += f" ({'; '.join(others)}; their difference has no paired interval)"
    rate = comparison.node_rate
    if not math.isnan(rate):
        place = "above" if own.low > rate else "below" if own.high < rate else "within its interval of"
        said += f", {place} the node rate, which looks at no feature and has {figure(rate)}"
    return f"{said}. The ladder of baselines was not judged: run dnalm interact evaluate RUN --part test."


def _beside_rung(name: str, comparison: Comparison) -> str:
    """Put the best model beside the best rung."""
    model = comparison.models[name]
    rung, gain = model.rung, model.gain
    if math.isnan(auroc_of(model.scores).value):
        return f"AUROC of {name} is undefined."
    if rung is None or gain is None or math.isnan(gain.low):
        best = comparison.ranked(comparison.ladder)[0]
        return (
            f"{name} is the best model, with an AUROC of {_auroc(model)}, and {best} the best rung, with "
            f"{_auroc(comparison.ladder[best])}; there is no paired interval of their difference."
        )
    theirs = f", {_auroc(comparison.ladder[rung])}," if rung in comparison.ladder else ""
    if gain.low > 0:
        return (
            f"{name} has the highest AUROC, {_auroc(model)}. It beats the best rung of the ladder, "
            f"{rung}{theirs} by {figure_of(gain)}."
        )
    if gain.high < 0:
        return (
            f"{rung}, a rung of the ladder, has the highest AUROC{theirs.rstrip(',')}. No model beats it: "
            f"the best model, {name}, has {_auroc(model)} and is behind by {figure_of(_flipped(gain))}."
        )
    return (
        f"no single winner. The best model, {name}, has an AUROC of {_auroc(model)} and cannot be told "
        f"apart from the best rung of the ladder, {rung}{theirs} for the difference, "
        f"{_signed(gain)}, has an interval that includes 0."
    )


def _other(name: str, best: str, comparison: Comparison) -> str:
    """Say of another model how it stands to the best rung and to the best model."""
    model = comparison.models[name]
    mine, theirs = auroc_of(model.scores), auroc_of(comparison.models[best].scores)
    if math.isnan(mine.value):
        return f"AUROC of {name} is undefined."
    said = f"{name} has {figure_of(mine)}"
    if model.rung is not None and model.gain is not None and not math.isnan(model.gain.low):
        gain = model.gain
        stands = (
            f"beats {model.rung} by {figure_of(gain)}"
            if gain.low > 0
            else f"is behind {model.rung} by {figure_of(_flipped(gain))}"
            if gain.high < 0
            else f"cannot be told apart from {model.rung} ({_signed(gain)})"
        )
        said += f" and {stands}"
    return f"{said}; beside {best}, {_own_intervals(mine, theirs)}."


def _sequenced(comparison: Comparison, best: str) -> list[str]:
    """Tell the pairs apart whose gene has an mRNA or a CDS."""
    model = comparison.models[best].sequenced
    rungs = {name: one.sequenced for name, one in comparison.ladder.items() if one.sequenced is not None}
    known = [name for name, scores in rungs.items() if not math.isnan(auroc_of(scores).value)]
    if model is None or not known:
        return []
    rung = max(known, key=lambda name: auroc_of(rungs[name]).value)
    rate = f" and the node rate {figure(auroc_of(rungs[NODE_RATE]).value)}" if NODE_RATE in rungs else ""
    mine, theirs = auroc_of(model), auroc_of(rungs[rung])
    return [
        f"where the gene has an mRNA or a CDS ({int(model['rows']):,} of {int(comparison.scores['rows']):,} "
        f"pairs), {best} has {figure_of(mine)}, the best rung there, {rung}, {figure_of(theirs)}{rate}; "
        f"{_own_intervals(mine, theirs)}."
    ]


def _shuffled(name: str, model: Judged) -> list[str]:
    """Say what a model loses when it is given another gene or molecule."""
    if model.shuffled_genes is None or model.shuffled_molecules is None:
        return []
    genes, molecules = (figure_of(auroc_of(s)) for s in (model.shuffled_genes, model.shuffled_molecules))
    return [
        f"given the sequences of other genes, {name} has an AUROC of {genes}; given other molecules, "
        f"{molecules}. What it loses by that is what it took from that side."
    ]


def _own_intervals(one: Estimate, other: Estimate) -> str:
    if any(math.isnan(number) for number in (*one, *other)):
        return "they cannot be compared"
    if one.low > other.high or other.low > one.high:
        return "their own intervals do not overlap"
    return "their own intervals overlap, so that this settles little"


def _signed(gain: Estimate) -> str:
    value, low, high = (f"{number:+.4f}" for number in gain)
    return f"{value} ({low} to {high})"


def _flipped(gain: Estimate) -> Estimate:
    return Estimate(-gain.value, -gain.high, -gain.low)
