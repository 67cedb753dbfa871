"""What results say in plain words: which model is better, by how much, how certainly.

A verdict follows the interval of a paired difference: above 0 better, below 0 worse, around 0 undecided.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from dnalm.bootstrap import Estimate
from dnalm.report.read_binding import BindingComparison, flipped
from dnalm.report.read_pairs import NODE_RATE, PairComparison, ranked
from dnalm.results import BindingModelInfo, LanguageMetrics, PairEntry

CHANCE = 0.5
"""AUROC of guessing."""


def number(value: float | None, digits: int = 4) -> str:
    """Write a number, or "undefined"."""
    return "undefined" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(estimate: Estimate, sign: str = "") -> str:
    """Write a figure with its interval, or "undefined"; small differences get more decimals.

    Args:
        estimate: of a score or a difference.
        sign: "+" to write the sign of positive numbers too.
    """
    if math.isnan(estimate.value):
        return "undefined"
    digits = 6 if any(abs(part) < 0.0005 for part in estimate) else 4
    value, low, high = (f"{part:{sign}.{digits}f}" for part in estimate)
    return value if "nan" in (low, high) else f"{value} ({low} to {high})"


def verdict(gap: Estimate | None) -> Literal["better", "worse", "undecided", "unknown"]:
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


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: 1 molecule, 2 molecules."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# Language models


def language_finding(metrics: LanguageMetrics) -> str:
    """Say whether a language model beats the best Markov model, then the run's own verdict."""
    plain = {
        "model": "better than every Markov model.",
        "markov": "worse than a Markov model, which is far simpler.",
        "neither": "no winner: its interval includes the best Markov model.",
    }
    return f"{plain[metrics.gain.winner]} {metrics.verdict}"


# Binding models


def binding_findings(comparison: BindingComparison) -> list[str]:
    """Say which model is best, whether pretraining helped, and how the baselines compare."""
    return _ranking(comparison) + _pretraining(comparison) + _against_baselines(comparison)


def twins(comparison: BindingComparison) -> list[tuple[str, str]]:
    """Pair each pretrained model with those of the same size and training whose core is untrained."""

    def key(model: BindingModelInfo) -> tuple[object, ...]:
        return (model.kind, model.tune, model.both_strands, model.parameters, model.trained_parameters)

    entries = {name: comparison.entries[name].model for name in comparison.models()}
    models = {name: model for name, model in entries.items() if model is not None}
    return [
        (name, twin)
        for name, model in models.items()
        for twin, other in models.items()
        if other.random_core
        and not model.random_core
        and (key(model), model.trained_as) == (key(other), other.trained_as)
    ]


def _ranking(comparison: BindingComparison) -> list[str]:
    names = comparison.models()
    if not names:
        return []
    best, r = names[0], comparison.r(names[0])
    if math.isnan(r.value):
        return [f"R of {listed(names)} is undefined: the predictions or the truth do not vary."]
    if len(names) == 1:
        return [f"{best} has a Pearson R of {interval(r)}; no other model was evaluated beside it."]
    gaps = {other: comparison.difference(best, other) for other in names[1:]}
    paired = {other: gap for other, gap in gaps.items() if isinstance(gap, Estimate)}
    beaten = [f"{other} by {interval(gap)}" for other, gap in paired.items() if verdict(gap) == "better"]
    tied = [f"{other}, {interval(gap, '+')}" for other, gap in paired.items() if verdict(gap) != "better"]
    text = f"{best} has the highest Pearson R, {interval(r)}."
    if tied:
        text = (
            f"no single winner. {best} has a Pearson R of {interval(r)}; its difference to {listed(tied)}, "
            "has an interval that includes 0."
        )
    if beaten:
        text += f" {best} beats {listed(beaten)}."
    unpaired = [
        f"{best} and {other}: {_unpaired(comparison, best, other, gap)}"
        for other, gap in gaps.items()
        if isinstance(gap, str)
    ]
    return [text, *unpaired]


def _pretraining(comparison: BindingComparison) -> list[str]:
    sentences = []
    for name, twin in twins(comparison):
        gap = comparison.difference(name, twin)
        if isinstance(gap, str):
            sentences.append(f"pretraining, {name} and {twin}: {_unpaired(comparison, name, twin, gap)}")
            continue
        untrained = f"{twin}, the same model with an untrained core"
        sentences.append(
            {
                "better": f"pretraining helped. {name} beats {untrained}, by {interval(gap)} in R.",
                "worse": f"pretraining did not help. {untrained}, beats {name} by {interval(flipped(gap))} "
                "in R.",
            }.get(
                verdict(gap),
                f"pretraining shows no effect. The difference in R of {name} and {untrained}, is "
                f"{interval(gap)}: its interval includes 0.",
            )
        )
    return sentences


def _against_baselines(comparison: BindingComparison) -> list[str]:
    models = [name for name in comparison.models() if not math.isnan(comparison.r(name).value)]
    sentences = []
    for baseline in comparison.baselines():
        r = comparison.r(baseline)
        if math.isnan(r.value):
            sentences.append(f"{baseline}, without training: R is undefined, since it does not vary.")
            continue
        text = f"{baseline}, without training, has a Pearson R of {interval(r)}"
        if models:
            best, gap = models[0], comparison.difference(models[0], baseline)
            if isinstance(gap, str):
                text += f"; beside the best model, {best}, {own_intervals(comparison.r(best), r)}"
            else:
                text += {
                    "better": f"; the best model, {best}, beats it by {interval(gap)}",
                    "worse": f"; it beats the best model, {best}, by {interval(flipped(gap))}",
                }.get(verdict(gap), f"; its difference to the best model, {best}, is undecided")
        sentences.append(f"{text}.")
    return sentences


def _unpaired(comparison: BindingComparison, one: str, other: str, why: str) -> str:
    return f"no paired interval, because {why}; {own_intervals(comparison.r(one), comparison.r(other))}."


# Pair models


def conditions(comparison: PairComparison, with_seed: bool = False) -> str:
    """Return what an AUROC must not stand without: part, split, negatives and node rate.

    Args:
        comparison: of some pairs.
        with_seed: name the seed of the split, where there are several.
    """
    protocol = comparison.protocol
    ratio = "" if protocol.ratio is None or protocol.negatives == "none" else f", ratio {protocol.ratio:g}"
    seed = f" (seed {protocol.seed})" if with_seed else ""
    return (
        f"{comparison.part.capitalize()} part, {protocol.split} split{seed}, negatives {protocol.negatives}"
        f"{ratio}, node rate {number(comparison.node_rate)}"
    )


def gain_text(entry: PairEntry) -> str:
    """Return the difference to the best baseline, with its interval and verdict."""
    gain = entry.minus_best_rung
    if gain is None or gain.rung is None or math.isnan(gain.value):
        return "unknown"
    text = interval(gain.interval, "+")
    return f"{text}, no interval" if math.isnan(gain.low) else f"{text}: {verdict(gain.interval)}"


def pair_findings(comparison: PairComparison) -> list[str]:
    """Say which model or baseline is best, by how much, and what the other models reach."""
    models, baselines = ranked(comparison.models), ranked(comparison.ladder)
    positives, rows = comparison.scores.positives, comparison.scores.rows
    if not 0 < positives < rows:
        return [f"AUROC is undefined: of {rows:,} pairs {positives:,} are positive."]
    if not baselines:
        return [_training_only(comparison, models)]
    if not models:
        auroc = interval(comparison.ladder[baselines[0]].scores.auroc)
        return [f"the best baseline is {baselines[0]}, with an AUROC of {auroc}; no model was evaluated."]
    best = comparison.models[models[0]]
    return [
        _beside_baseline(models[0], comparison),
        *(_other_model(name, models[0], comparison) for name in models[1:]),
        *_sequenced(comparison, models[0]),
        *_shuffled(models[0], best),
    ]


def _training_only(comparison: PairComparison, models: Sequence[str]) -> str:
    """Report trainings without an evaluation beside the baselines."""
    best, own = models[0], comparison.models[models[0]].scores.auroc
    text = f"{best} has {'the highest' if len(models) > 1 else 'an'} AUROC{',' if len(models) > 1 else ' of'}"
    text += f" {interval(own)}"
    rate = comparison.node_rate
    if not math.isnan(rate):
        where = "above" if own.low > rate else "below" if own.high < rate else "not clearly different from"
        text += f", {where} the node rate, which uses no feature and has {number(rate)}"
    return f"{text}. The baselines were not evaluated: run dnalm interact evaluate RUN --part test."


def _beside_baseline(name: str, comparison: PairComparison) -> str:
    model = comparison.models[name]
    gain, auroc = model.minus_best_rung, model.scores.auroc
    if math.isnan(auroc.value):
        return f"AUROC of {name} is undefined."
    if gain is None or gain.rung is None or math.isnan(gain.low):
        best = ranked(comparison.ladder)[0]
        theirs = interval(comparison.ladder[best].scores.auroc)
        return (
            f"{name} is the best model, with an AUROC of {interval(auroc)}, and {best} the best baseline, "
            f"with {theirs}; there is no paired interval of their difference."
        )
    baseline = gain.rung
    if baseline in comparison.ladder:
        baseline += f" ({interval(comparison.ladder[gain.rung].scores.auroc)})"
    if verdict(gain.interval) == "better":
        return (
            f"{name} has the highest AUROC, {interval(auroc)}. It beats the best baseline, {baseline}, by "
            f"{interval(gain.interval)}."
        )
    if verdict(gain.interval) == "worse":
        return (
            f"no model beats the best baseline, {baseline}. The best model, {name}, has an AUROC of "
            f"{interval(auroc)} and is behind by {interval(flipped(gain.interval))}."
        )
    return (
        f"no single winner. The best model, {name}, has an AUROC of {interval(auroc)}; its difference to the "
        f"best baseline, {baseline}, is {interval(gain.interval, '+')}: the interval includes 0."
    )


def _other_model(name: str, best: str, comparison: PairComparison) -> str:
    model = comparison.models[name]
    mine, theirs = model.scores.auroc, comparison.models[best].scores.auroc
    if math.isnan(mine.value):
        return f"AUROC of {name} is undefined."
    text, gain = f"{name} has {interval(mine)}", model.minus_best_rung
    if gain is not None and verdict(gain.interval) != "unknown":
        text += {
            "better": f" and beats {gain.rung} by {interval(gain.interval)}",
            "worse": f" and is behind {gain.rung} by {interval(flipped(gain.interval))}",
        }.get(
            verdict(gain.interval), f" and is undecided beside {gain.rung} ({interval(gain.interval, '+')})"
        )
    return f"{text}; beside {best}, {own_intervals(mine, theirs)}."


def _sequenced(comparison: PairComparison, best: str) -> list[str]:
    """Report the pairs whose gene has an mRNA or a CDS."""
    model = comparison.models[best].sequenced
    baselines = {name: one.sequenced for name, one in comparison.ladder.items() if one.sequenced}
    known = {name: one.auroc for name, one in baselines.items() if not math.isnan(one.auroc.value)}
    if model is None or not known:
        return []
    top = max(known, key=lambda name: known[name].value)
    rate = f" and the node rate {number(known[NODE_RATE].value)}" if NODE_RATE in known else ""
    return [
        f"where the gene has an mRNA or a CDS ({model.rows:,} of {comparison.scores.rows:,} pairs), {best} "
        f"has {interval(model.auroc)}, the best baseline, {top}, {interval(known[top])}{rate}; "
        f"{own_intervals(model.auroc, known[top])}."
    ]


def _shuffled(name: str, model: PairEntry) -> list[str]:
    """Report what a model loses when it reads another gene or molecule."""
    if model.shuffled_genes is None or model.shuffled_molecules is None:
        return []
    genes, molecules = interval(model.shuffled_genes.auroc), interval(model.shuffled_molecules.auroc)
    return [
        f"with the sequences of other genes, {name} has an AUROC of {genes}; with other molecules, "
        f"{molecules}. The loss is what it took from that side."
    ]


def trust(comparisons: Sequence[PairComparison]) -> str:
    """Say how far to trust a model's ranking: by the test part, or by validation in its absence.

    Args:
        comparisons: scores of one model, by part.
    """
    best = next((c for c in comparisons if c.part == "test"), comparisons[0])
    model, rate = next(iter(best.models.values())), best.node_rate
    auroc, gain = model.scores.auroc, model.minus_best_rung
    text = f"{conditions(best)}: the model's AUROC is {interval(auroc)}"
    if any(map(math.isnan, (*auroc, rate))):
        return f"{text}. It cannot be compared with the node rate: how far to trust this ranking is unknown."
    floor = "the node rate, which uses no feature" if rate > CHANCE else "guessing"
    if auroc.high < max(rate, CHANCE):
        return f"{text}, below {floor}: do not follow this ranking."
    if auroc.low <= max(rate, CHANCE):
        return f"{text}, not clearly above {floor}: the ranking may carry no information."
    if gain is not None and verdict(gain.interval) == "worse":
        return (
            f"{text}, above {floor}, but {gain.rung}, a baseline, ranks better by {-gain.value:.4f}: trust "
            "that one more."
        )
    return f"{text}, above {floor}: the ranking carries information."


def split_counts(windows: Mapping[str, int | None]) -> str:
    """Write the sizes of the parts of a split: 300 training, 60 validation."""
    names = {"train": "training", "validation": "validation", "test": "test"}
    return ", ".join(f"{windows[part]:,} {name}" for part, name in names.items() if windows.get(part))
