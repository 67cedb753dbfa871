"""Figures of scores with their intervals, and of probabilities; each function returns a figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from textwrap import fill

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dnalm.bootstrap import Estimate
from dnalm.report.figures import ABOVE, BLUE, GREY, INK, VERMILION, legend_below, new_figure, styles
from dnalm.results.pairs import CountBin, Reliability

CHANCE = 0.5
"""AUROC of guessing."""
MIN_R_RANGE = 0.02
"""Least length of an axis of R, so that a small difference does not look large."""
BINS = 50
"""Of a histogram of probabilities."""
HEADING = 96  # characters of a line above a panel
MARKERS = "osD^v<>"
MIN_BIN = 200
"""Pairs in a bin of training counts whose AUROC is drawn."""
MIN_PAIRS = 10
"""Pairs in a bin whose fraction of positives is drawn: with fewer it is mostly chance."""


@dataclass(frozen=True)
class Panel:
    """Models and baselines evaluated on the same data."""

    heading: str
    scores: Mapping[str, Estimate]
    """In the order of the rows; NaN where undefined."""
    published: Mapping[str, float] = field(default_factory=dict)
    """The score as the published project computes it."""
    node_rate: float = math.nan
    """AUROC of the node rate on the same pairs."""


def performance_comparison(panels: Sequence[Panel], everyone: Sequence[str] | None = None) -> Figure:
    """Draw Pearson's R of each model as a dot with its interval, beside the published figure."""
    label = "over all bases, with 95 % bootstrap interval over windows"
    figure, axes = _interval_panels(panels, "Predicted against true binding scores", label, everyone)
    for panel, one in zip(panels, axes, strict=True):
        values = [panel.published.get(name, math.nan) for name in panel.scores]
        label = "mean over batches of 64 windows, as the published project reports it"
        rows = range(len(values))
        one.plot(values, rows, "D", color=GREY, markersize=9, fillstyle="none", zorder=3, label=label)
        low, high = _r_limits(_finite(panel))
        zoomed = " (zoomed in: the axis does not begin at 0)" if low > 0 else ""
        one.set_xlim(low, high)
        one.set_xlabel(f"Pearson R{zoomed}", fontsize=10)
    legend_below(figure, axes[0], 1)
    return figure


def auroc_intervals(
    panels: Sequence[Panel],
    title: str = "AUROC of models and baselines",
    everyone: Sequence[str] | None = None,
) -> Figure:
    """Draw AUROC as a dot with its interval, beside lines at the node rate and at chance; one common axis."""
    figure, axes = _interval_panels(panels, title, "AUROC and its 95 % interval", everyone)
    finite = [CHANCE, *(value for panel in panels for value in _finite(panel))]
    margin = max(0.08 * (max(finite) - min(finite)), 0.01)
    for panel, one in zip(panels, axes, strict=True):
        rate = "node rate (uses no feature)"
        one.axvline(panel.node_rate, color=VERMILION, linestyle="--", linewidth=1.6, zorder=2, label=rate)
        one.axvline(CHANCE, color=INK, linestyle=":", linewidth=1.4, zorder=2, label="chance")
        one.set_xlim(max(0.0, min(finite) - margin), min(1.0, max(finite) + margin))
        one.set_xlabel("AUROC", fontsize=10)
    legend_below(figure, axes[0], 1)
    return figure


def _interval_panels(
    panels: Sequence[Panel], title: str, label: str, everyone: Sequence[str] | None
) -> tuple[Figure, list[Axes]]:
    """Draw one panel below the other: a dot and its interval a row, the first on top; label them."""
    rows = [max(1, len(panel.scores)) for panel in panels]
    height, heights = 1.5 + sum(0.9 + 0.35 * count for count in rows), [count + 0.6 for count in rows]
    figure, grid = new_figure(title, 8.6, height, rows=len(panels), heights=heights)
    looks = styles([name for panel in panels for name in panel.scores], everyone)
    for axes, panel in zip(grid, panels, strict=True):
        axes.set_title(fill(panel.heading, HEADING), loc="left", fontsize=10.5, color=INK)
        axes.spines["left"].set_visible(False)
        axes.grid(False, axis="y")
        for row, (name, (value, low, high)) in enumerate(panel.scores.items()):
            hue = looks[name]["color"]
            axes.hlines(row, low, high, color=hue, linewidth=2.2, zorder=4)
            axes.plot([low, high], [row, row], "|", color=hue, markersize=9, markeredgewidth=1.6, zorder=4)
            axes.plot(value, row, "o", color=hue, markersize=7, zorder=5)
            text = "undefined" if math.isnan(value) else f"{value:.4f}"
            text += "" if math.isnan(low) or math.isnan(high) else f"  ({low:.4f} to {high:.4f})"
            where = ("axes fraction", "data")  # right of the axes
            axes.annotate(text, (1.02, row), xycoords=where, va="center", fontsize=9.5, color=INK)
        axes.plot([], [], "o-", color=INK, markersize=7, linewidth=1.8, label=label)
        axes.set(ylim=(max(1, len(panel.scores)) - 0.4, -0.6), yticks=range(len(panel.scores)))
        axes.set_yticklabels(panel.scores)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=9.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    return figure, grid


def _finite(panel: Panel) -> list[float]:
    """Return all values of a panel's axis that are defined."""
    values = [value for score in panel.scores.values() for value in score]
    return [value for value in (*values, panel.node_rate, *panel.published.values()) if math.isfinite(value)]


def _r_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the axis of R that shows `values`: from 0 where they spread, or zoomed in, but never far."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low < 0.5 * high or low <= 0:  # they spread over most of the axis
        return min(0.0, low - 0.05), max(high + 0.05, 0.1)
    margin = max(0.08 * (high - low), (MIN_R_RANGE - (high - low)) / 2)
    return low - margin, high + margin


def reliability(bins: Mapping[str, Reliability], everyone: Sequence[str] | None = None) -> Figure:
    """Draw the fraction of positives against the mean prediction of each bin, and how many pairs it has."""
    title = "Reliability: predicted against observed"
    figure, (left, right) = new_figure(title, 9.6, 4.9, panels=2)
    left.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.2, label="perfect", zorder=1)
    for name, style in styles(list(bins), everyone).items():
        one, counts = bins[name], np.asarray(bins[name].count)
        full = counts >= MIN_PAIRS
        predicted, observed = np.asarray(one.predicted)[full], np.asarray(one.observed)[full]
        left.plot(predicted, observed, marker="o", markersize=4.5, linewidth=1.6, label=name, **style)
        percent = 100 * counts / max(1.0, counts.sum())
        right.stairs(percent, np.asarray(one.edges), linewidth=1.6, label=name, **style)
    left.set(xlabel="predicted probability, mean of a bin", ylabel="fraction of positives in the bin")
    left.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    right.set(xlabel="predicted probability", ylabel="pairs in the bin (%)", xlim=(0, 1))
    right.set_ylim(bottom=0)
    legend_below(figure, left)
    return figure


def auroc_by_training_pairs(
    bins: Mapping[str, Mapping[str, Sequence[CountBin]]], everyone: Sequence[str] | None = None
) -> Figure:
    """Draw AUROC against how many training pairs the gene has, and the molecule, of each model or baseline.

    Bins of fewer than `MIN_BIN` pairs are left out; what is outside of `everyone` is grey.
    """
    figure, axes = new_figure("AUROC by how often gene and molecule were in training", 9.6, 4.4, panels=2)
    for side, panel in zip(("gene", "molecule"), axes, strict=True):
        panel.axhline(CHANCE, color=INK, linestyle=":", linewidth=1.2)
        first = {one.first: one for each in bins.values() for one in each[side] if one.rows >= MIN_BIN}
        at = {key: place for place, key in enumerate(sorted(first))}
        for (name, style), marker in zip(styles(list(bins), everyone).items(), cycle(MARKERS), strict=False):
            some = [one for one in bins[name][side] if one.rows >= MIN_BIN]
            panel.plot(
                [at[one.first] for one in some],
                [one.auroc for one in some],
                marker=marker,
                markersize=5,
                linewidth=1.6,
                label=name,
                **style,
            )
        panel.set_xticks(range(len(at)), [_count_range(first[key]) for key in at])
        panel.set(xlabel=f"training pairs of the {side}", ylabel="AUROC")
    legend_below(figure, axes[0], 3)
    return figure


def _count_range(one: CountBin) -> str:
    """Return the range of a bin for a reader."""
    if one.last is None:
        return f"{one.first}+"
    return str(one.first) if one.last == one.first else f"{one.first}-{one.last}"


def probabilities(values: npt.NDArray[np.float64], prevalence: float) -> Figure:
    """Draw how many pairs of a screen have which probability, [N].

    Args:
        values: at least one.
        prevalence: fraction of positives where the probabilities were calibrated.
    """
    figure, (axes,) = new_figure("Probabilities of the ranked pairs", 8.4, 3.4)
    counts, edges = np.histogram(values, bins=BINS, range=(0.0, 1.0))
    axes.stairs(counts, edges, fill=True, color=BLUE)
    label = f"fraction of positives in calibration ({prevalence:.2f})"
    axes.axvline(prevalence, color=INK, linestyle="--", linewidth=1.4, label=label)
    axes.legend(**ABOVE)
    axes.set(xlabel="calibrated probability of an interaction", ylabel="pairs", xlim=(0, 1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return figure
