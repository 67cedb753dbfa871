"""The chapter on predicted tracks: what they hold, where they are highest, how well they agree."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from dnalm.errors import counted
from dnalm.report.figures import GREEN, INK, legend_below, new_figure
from dnalm.report.pages import Chapter, Table, picture
from dnalm.report.read import use_runs
from dnalm.report.sentences import interval, number
from dnalm.results.use import PredictMetrics, TrackExample

HOW_TO_READ = (
    "The examples are the highest scores of a track with the bases around them: they show what a model "
    "finds, not how often it is right; for that give `dnalm predict` a known track as --truth. A base that "
    "is no A, C, G or T has no score: it is a gap in the file."
)


def predict_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on the tracks of `dnalm predict` in some folders; InputError if there is none."""
    runs = {run.label: run.metrics for run in use_runs(folders, "predict", PredictMetrics)}
    pictures = [
        picture(
            partial(example_tracks, metrics.examples, f"{label}: {metrics.model}"),
            f"{label}: the highest scores of {metrics.model}, and the bases around them.",
            f"Stretches of {label}",
        )
        for label, metrics in runs.items()
        if metrics.examples
    ]
    return Chapter(
        title="Predicted tracks",
        findings=[_finding(label, metrics) for label, metrics in runs.items()],
        tables=[_table(runs)],
        figures=pictures,
        paragraphs=[HOW_TO_READ],
    )


def example_tracks(examples: Sequence[TrackExample], title: str) -> Figure:
    """Draw stretches one below the other: the predicted scores as a line, a known track as a filled area."""
    figure, panels = new_figure(title, 9.6, 1.1 + 1.5 * len(examples), rows=len(examples))
    for axes, example in zip(panels, examples, strict=True):
        end = example.start + len(example.values)
        bases = range(example.start + 1, end + 1)
        if example.truth is not None:
            axes.fill_between(bases, example.truth, color="#C9CED3", step="mid", linewidth=0, label="truth")
        axes.plot(bases, example.values, color=GREEN, linewidth=1.3, label="predicted")
        place = f"{example.contig}:{example.start + 1:,}-{end:,}"
        axes.set_title(place, loc="left", fontsize=10, color=INK, parse_math=False)
        axes.set_xlim(bases[0] - 0.5, bases[-1] + 0.5)
        axes.xaxis.set_major_formatter("{x:,.0f}")
    panels[-1].set_xlabel("base of the contig, from 1")
    figure.supylabel("score", fontsize=11, color=INK)
    legend_below(figure, panels[0])
    return figure


def _finding(label: str, metrics: PredictMetrics) -> str:
    """Return what a track holds, in a sentence."""
    regions = counted(metrics.regions.written, "region")
    text = f"{label}: {metrics.model} gave {counted(metrics.predicted, 'base')} of {regions} a score"
    if metrics.truth is not None:
        return f"{text}; Pearson R with {metrics.truth.track} is {interval(metrics.truth.r)}."
    return f"{text}, {number(metrics.mean)} on average."


def _table(runs: dict[str, PredictMetrics]) -> Table:
    """Return the table of counts, a row a track."""
    columns = ["", "model", "regions", "left out", "overlapping", "bases", "with a score", "mean score"]
    columns += ["window", "stride", "strands", "Pearson R (95 % interval)"]
    rows = []
    for label, m in runs.items():
        counts = [m.regions.written, sum(m.regions.left_out.values()), m.overlapping, m.bases, m.predicted]
        how = [f"{m.window:,}", f"{m.stride:,}", "both" if m.both_strands else "one"]
        r = "no truth given" if m.truth is None else interval(m.truth.r)
        rows.append([label, m.model, *(f"{each:,}" for each in counts), number(m.mean), *how, r])
    return Table("Predicted tracks.", columns, rows, printed=True)
