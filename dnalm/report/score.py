"""The chapter on scored genomes: bits per base by feature, and whether a model sees what breaks a protein."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dnalm.bootstrap import Estimate
from dnalm.errors import counted
from dnalm.report.figures import BLUE, GREY, INK, VERMILION, new_figure
from dnalm.report.pages import Chapter, Table, how_made, picture
from dnalm.report.read import use_runs
from dnalm.report.sentences import CHANCE, interval, number, paragraphs, verdict
from dnalm.results.use import FeatureGain, ScoreMetrics

ALL = "all bases"
CODON = "codon position"
WORDS = {"better": "better than", "worse": "worse than", "undecided": "not distinguishable from"}


def score_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on the runs of `dnalm score` in some folders; InputError for a damaged record."""
    runs = use_runs(folders, "score", ScoreMetrics)
    findings, tables, figures = [], [], []
    for run in runs:
        metrics = run.metrics
        findings += score_findings(metrics)
        tables += score_tables(metrics, run.label)
        if metrics.features:
            caption = (
                "Left: bits per base that the model saves over the Markov model, by feature; above 0 it is "
                "better. Right: AUROC of the log-likelihood ratio, of each class of substitutions against "
                "synonymous ones of the same codons. Bars are 95 % bootstrap intervals, over blocks of the "
                "genome and over genes."
            )
            alt = f"Gain by feature and AUROC of substitutions of {run.label}"
            figures.append(picture(partial(score_figure, metrics), f"{run.label}. {caption}", alt))
    return Chapter(
        title="What language models know of a genome",
        findings=findings,
        tables=tables,
        figures=figures,
        paragraphs=paragraphs("score", runs={run.label: run.metrics for run in runs}),
        details=[how_made(run.label, run.path) for run in runs],
    )


def score_findings(metrics: ScoreMetrics) -> list[str]:
    """Say how well a model predicts, beside the Markov model, and whether it sees substitutions."""
    whole = f"{metrics.model} needs {number(metrics.bits_per_base)} bits per base on {metrics.bases:,} bases"
    gaps = {row.name: row.gain for row in metrics.features}
    if metrics.baseline:
        whole += f", the Markov model ({metrics.baseline}) {number(metrics.markov)}"
    if ALL in gaps:
        whole += f": a gain of {interval(gaps[ALL], '+')}"
    findings = [f"{whole}."]
    regions = [row for row in metrics.features if row.name != ALL and not row.name.startswith(CODON)]
    better, worse = (
        ", ".join(f"{row.name} ({interval(row.gain, '+')})" for row in regions if verdict(row.gain) == word)
        for word in ("better", "worse")
    )
    if regions and math.isnan(gaps[ALL].low):
        findings.append("Too few blocks of the genome were scored for intervals of the gain by feature.")
    elif regions:
        parts = [f"predicts better than the Markov model in {better}"] * bool(better)
        parts += [f"worse in {worse}"] * bool(worse)
        findings.append(f"It {' and '.join(parts) or 'is nowhere clearly better or worse than it'}.")
    findings += [
        f"{row.name.capitalize()} against synonymous substitutions: AUROC {interval(row.model)}, "
        f"{WORDS.get(verdict(row.difference), 'not compared with')} the Markov model's "
        f"{interval(row.markov)}; paired difference {interval(row.difference, '+')}."
        for row in metrics.substitutions
    ]
    return findings


def score_tables(metrics: ScoreMetrics, name: str = "") -> list[Table]:
    """Return the tables by feature and by class of substitution; none without an annotation."""
    if not metrics.features:
        return []
    of = f"{name}: " if name else ""
    rows = [
        [row.name, f"{row.bases:,}", number(row.model), number(row.markov), interval(row.gain, "+")]
        for row in metrics.features
    ]
    columns = ["", "bases", metrics.model, "Markov", "gain (95 % interval)"]
    tables = [Table(f"{of}bits per base, {metrics.scored_part}", columns, rows, printed=True)]
    if metrics.substitutions:
        columns = ["against synonymous", "codons", "genes", metrics.model, "Markov", "difference"]
        rows = [
            [s.name, f"{s.codons:,}", f"{s.genes:,}", *map(interval, (s.model, s.markov))]
            + [interval(s.difference, "+")]
            for s in metrics.substitutions
        ]
        tables.append(Table(f"{of}AUROC of the log-likelihood ratio", columns, rows, printed=True))
    return tables


def score_figure(metrics: ScoreMetrics) -> Figure:
    """Draw the gain of each feature, and the AUROC of each class of substitutions, with intervals."""
    height = 1.6 + 0.34 * max(len(metrics.features), 2)
    panels = 2 if metrics.substitutions else 1
    figure, axes = new_figure(f"What {metrics.model} knows beyond a Markov model", 10.5, height, panels)
    _gains(axes[0], metrics.features)
    if metrics.substitutions:
        right, count = axes[1], len(metrics.substitutions)
        for shift, which, color in ((-0.12, "model", BLUE), (0.12, "markov", VERMILION)):
            label = metrics.model if which == "model" else "Markov model"
            estimates = [getattr(row, which) for row in metrics.substitutions]
            _intervals(right, estimates, shift, color, label)
        right.axvline(CHANCE, color=INK, linestyle=":", linewidth=1.4, label="chance")
        names = [f"{row.name}\nagainst\nsynonymous" for row in metrics.substitutions]
        right.set(ylim=(count - 0.5, -0.5), yticks=range(count), yticklabels=names)
        right.set_xlabel("AUROC of the log-likelihood ratio")
        right.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)
    return figure


def _gains(axes: Axes, features: Sequence[FeatureGain]) -> None:
    """Draw the gain of each feature."""
    for color, is_codon in ((BLUE, False), (GREY, True)):
        estimates = [
            row.gain if row.name.startswith(CODON) == is_codon else Estimate(*[float("nan")] * 3)
            for row in features
        ]
        _intervals(axes, estimates, 0.0, color, "")
    axes.axvline(0, color=INK, linestyle=":", linewidth=1.4)
    names = [f"{row.name} ({row.bases:,})" for row in features]
    axes.set(ylim=(len(features) - 0.4, -0.6), yticks=range(len(features)), yticklabels=names)
    axes.set_xlabel("gain over the Markov model (bits per base)")


def _intervals(axes: Axes, estimates: Sequence[Estimate], shift: float, color: str, label: str) -> None:
    """Draw each figure as a dot and its interval as a bar, one a row."""
    for row, (value, low, high) in enumerate(estimates):
        axes.hlines(row + shift, low, high, color=color, linewidth=2.2)
        axes.plot(value, row + shift, "o", color=color, markersize=6, label=label if row == 0 else "")
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def left_out_text(metrics: ScoreMetrics) -> str:
    """Return how many regions were read, written and left out."""
    counts = metrics.regions
    reasons = "".join(f", {count:,} left out ({why})" for why, count in counts.left_out.items())
    return f"{counted(counts.read, 'region')} read, {counts.written:,} written{reasons}"
