"""The chapter on label curves: how many labels does pretraining save?

Of each number of labels F there is a score of every model; the first is the smallest.
"""

from collections.abc import Sequence
from functools import partial
from itertools import cycle, takewhile
from pathlib import Path

from matplotlib.figure import Figure

from dnalm.bootstrap import RESAMPLES
from dnalm.report.figures import GREY, LIGHT, legend_below, new_figure, styles
from dnalm.report.pages import Chapter, Table, picture
from dnalm.report.read import LABEL_CURVES, find, no_results
from dnalm.report.sentences import interval, paragraphs, verdict
from dnalm.results import read
from dnalm.results.labels import RULE, STRETCH, LabelCurve


def label_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on the label curves in some folders; InputError if none, or one is damaged."""
    curves = {path: read(path, LabelCurve) for path in find(folders, LABEL_CURVES)}
    if not curves:
        raise no_results(folders)
    pictures = [
        picture(
            partial(label_curve, one),
            f"{one.name}: Pearson R over the bases of the test part by the number of labelled bases, "
            "training and validation together; the mean of all seeds with its 95 % interval.",
            f"Score by labelled bases: {one.name}",
        )
        for one in curves.values()
    ]
    dilated = all("dilated CNN" in one.scores for one in curves.values())
    about = {"resamples": RESAMPLES, "stretch": STRETCH, "dilated": dilated}
    details = [
        Table(f"Seeds of {one.name}.", ["", *map("{:,}".format, one.bases)], _seeds(one))
        for one in curves.values()
    ]
    return Chapter(
        title="How many labels pretraining saves",
        findings=[f"{one.name}: {text}" for one in curves.values() for text in curve_findings(one)],
        tables=[score_table(one) for one in curves.values()],
        figures=pictures,
        paragraphs=paragraphs("labels", curves=list(curves.values()), **about),
        details=details,
    )


def curve_findings(curve: LabelCurve) -> list[str]:
    """Say by what factor pretraining saves labels, where it no longer does, and where it is worse."""
    others = {name: curve.scores[name] for name in curve.minus if not name.startswith(RULE)}
    ahead = [
        all(verdict(curve.minus[name][at]) == "better" for name in others) and (each.at_least or each.low > 1)
        for at, each in enumerate(curve.saving)
    ]
    first = ahead.index(True) if True in ahead else None
    last = None if first is None else first + len(list(takewhile(bool, ahead[first:]))) - 1
    rivals = [max(others, key=lambda name: others[name][at].value) for at in range(len(curve.bases))]
    of_rule = [verdict(gap) for gap in curve.minus.get(RULE, [])]
    beyond = [bases for bases, found in zip(curve.bases, of_rule, strict=False) if found == "better"]
    behind = [
        (bases, name, curve.minus[name][at])
        for at, bases in enumerate(curve.bases)
        for name in others
        if verdict(curve.minus[name][at]) == "worse"
    ]
    about = {"first": first, "last": last, "rivals": rivals, "beyond": beyond, "behind": behind}
    return paragraphs("findings_labels", c=curve, rule=curve.scores.get(RULE), **about)


def score_table(curve: LabelCurve) -> Table:
    """Return the table of scores, and of the pretrained model's lead."""
    columns = [
        "labelled bases (windows to train + to validate)",
        *curve.scores,
        *(f"pretrained minus {name}" for name in curve.minus),
    ]
    rows = []
    for at, bases in enumerate(curve.bases):
        labels = f"{bases:,} ({curve.windows[at]:,} + {curve.validation_windows[at]:,})"
        scores = [interval(each[at]) for each in curve.scores.values()]
        rows.append([labels, *scores, *(interval(each[at], "+") for each in curve.minus.values())])
    return Table(f"Pearson R of the test part, {curve.name}.", columns, rows)


def _seeds(curve: LabelCurve) -> list[list[str]]:
    """Return the rows of the table of the single trainings."""
    return [
        [f"{name}, seed {seed}", *(f"{runs[row]:.4f}" for runs in by_labels)]
        for name, by_labels in curve.runs.items()
        for row, seed in enumerate(curve.seeds)
    ]


def label_curve(curve: LabelCurve) -> Figure:
    """Draw the score of each model against labelled bases, with intervals."""
    figure, (axes,) = new_figure(f"Score by number of labels: {curve.name}", 8.4, 4.6)
    trained = {name: scores for name, scores in curve.scores.items() if not name.startswith(RULE)}
    looks = styles(list(trained))
    for row, (name, scores) in enumerate(trained.items()):
        values = [each.value for each in scores]
        # Beside each other, so that no interval hides another
        bases = [each * 1.02 ** (row - len(looks) / 2) for each in curve.bases]
        low = [each.value - each.low for each in scores]
        high = [each.high - each.value for each in scores]
        errors = [[max(0.0, each) for each in side] for side in (low, high)]
        axes.errorbar(bases, values, errors, marker="o", markersize=5, capsize=3, label=name, **looks[name])
    rules = {name: scores[0] for name, scores in curve.scores.items() if name.startswith(RULE)}
    for (name, rule), line in zip(rules.items(), cycle((":", "--", "-."))):
        axes.axhspan(rule.low, rule.high, color=LIGHT, linewidth=0)
        axes.axhline(
            rule.value, color=GREY, linestyle=line, label="rule, no labels" if name == RULE else name
        )
    axes.set(xscale="log", xlabel="labelled bases, training and validation", ylabel="Pearson R, test part")
    axes.set_xlim(curve.bases[0] / 1.15, curve.bases[-1] * 1.15)
    axes.set_xticks(curve.bases, [f"{each:,}" for each in curve.bases])
    axes.minorticks_off()
    legend_below(figure, axes, 3 if len(rules) > 1 else 5)
    return figure
