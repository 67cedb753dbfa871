"""The chapter on scored variants: what became of them, and whether the scores tell rare from common ones."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dnalm.errors import counted
from dnalm.report.figures import BLUE, GREY, INK, new_figure
from dnalm.report.pages import Chapter, Table, picture
from dnalm.report.read import use_runs
from dnalm.report.sentences import interval, verdict
from dnalm.results.use import VariantMetrics

TRAINED = ("LLR", "DEP", "DMAX", "DSUM")
"""Scores of a model; others are baselines."""
CHANCE = 0.5


def variants_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on all `dnalm variants` runs in some folders."""
    runs = {run.label: run.metrics for run in use_runs(folders, "variants", VariantMetrics)}
    figures = [
        picture(
            partial(calibration_figure, metrics, name),
            f"{name}: AUROC of rare against common SNVs with its 95 % interval over blocks of 100,000 bases. "
            "Right of the dotted line rare ones look more harmful, as selection would have it.",
            f"AUROC of rare against common SNVs, {name}",
        )
        for name, metrics in runs.items()
        if metrics.contrasts
    ]
    described = {name: text for metrics in runs.values() for name, text in metrics.columns.items()}
    meanings = Table("What each score is", ["score", ""], [[name, text] for name, text in described.items()])
    baselines = [[name, each.baseline] for name, each in runs.items() if each.baseline]
    details = [Table("Markov models", ["", ""], baselines)] if baselines else []
    return Chapter(
        "Variants", variant_findings(runs), variant_tables(runs), figures, (), [meanings, *details]
    )


def variant_tables(runs: Mapping[str, VariantMetrics]) -> list[Table]:
    """Return what became of the records of each run, and its scores on rare against common SNVs."""
    rows = [
        [
            name,
            *(f"{number:,}" for number in (each.counts.read, each.counts.written, each.alleles)),
            f"{each.alleles - sum(each.not_scored.values()):,}",
            ", ".join(f"{count:,} {reason}" for reason, count in each.not_scored.items()) or "none",
            f"{each.mismatched:,} of {each.checked:,}",
            f"{each.per_second:,.1f}",
        ]
        for name, each in runs.items()
    ]
    columns = ["file", "records read", "written", "alleles", "scored", "not scored", "REF wrong", "a second"]
    tables = [Table("Variants.", columns, rows, printed=True)]
    for name, each in runs.items():
        for contrast in each.contrasts:
            caption = (
                f"{name}: {contrast.rare:,} rare SNVs ({contrast.name}) against {contrast.common:,} common "
                f"ones (minor frequency {each.common_share:.0%} or more), 95 % intervals over "
                f"{counted(contrast.blocks, 'block')}; odds of being rare in the most harmful share"
            )
            every = contrast.scores.values()
            tails = [
                tail
                for tail in next(iter(every)).odds
                if not all(np.isnan(one.odds[tail].value) for one in every)
            ]
            lines = [
                [
                    score,
                    interval(one.auroc),
                    interval(one.gain, "+") if score in TRAINED else "",
                    *(interval(one.odds[tail]) for tail in tails),
                ]
                for score, one in contrast.scores.items()
            ]
            columns = ["score", "AUROC", "minus MARKOV", *(f"odds ratio, {tail}" for tail in tails)]
            tables.append(Table(caption, columns, lines, printed=True))
    return tables


def variant_findings(runs: Mapping[str, VariantMetrics]) -> list[str]:
    """Say of each run whether its scores tell rare from common SNVs."""
    sentences = []
    for name, metrics in runs.items():
        for contrast in metrics.contrasts[:1]:
            for score in (each for each in TRAINED if each in contrast.scores):
                area, gain = contrast.scores[score].auroc, contrast.scores[score].gain
                above = verdict(
                    area._replace(value=area.value - CHANCE, low=area.low - CHANCE, high=area.high - CHANCE)
                )
                does = {"better": "tells", "worse": "tells the wrong way round", "undecided": "does not tell"}
                than = {"better": "better than", "worse": "worse than"}.get(
                    verdict(gain), "not clearly unlike"
                )
                beside = "" if np.isnan(gain.value) else f", {than} the Markov model ({interval(gain, '+')})"
                sentences.append(
                    f"{name}: {score} {does.get(above, 'may tell')} rare SNVs from common ones "
                    f"(AUROC {interval(area)}){beside}."
                )
    return sentences


def calibration_figure(metrics: VariantMetrics, title: str) -> Figure:
    """Draw AUROC of each score as a dot with its interval, a panel for each kind of rare SNV."""
    figure, axes = new_figure(title, 4.2 * len(metrics.contrasts) + 1, 3.0, panels=len(metrics.contrasts))
    for panel, contrast in zip(axes, metrics.contrasts, strict=True):
        for row, (score, one) in enumerate(contrast.scores.items()):
            color = BLUE if score in TRAINED else GREY
            panel.plot([one.auroc.low, one.auroc.high], [row, row], color=color, linewidth=2.5)
            panel.plot([one.auroc.value], [row], "o", color=color, markersize=8)
        panel.axvline(CHANCE, color=INK, linestyle=":", linewidth=1.4)
        panel.set_yticks(range(len(contrast.scores)), list(contrast.scores))
        panel.invert_yaxis()
        panel.set_xlabel(f"AUROC\n{contrast.name}: {contrast.rare:,} against {contrast.common:,}")
    return figure
