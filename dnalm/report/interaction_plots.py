"""Plots of results on genes and molecules: each function writes one PNG, whole or not at all.

Shapes used below
    K  bins of a reliability plot    E  epochs, the untrained model being the first
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dnalm.bootstrap import Estimate
from dnalm.errors import InputError
from dnalm.report.plots import (
    ABOVE,
    BLUE,
    GREY,
    INK,
    VERMILION,
    epoch_curves,
    interval_rows,
    new_figure,
    save,
    styles,
)
from dnalm.report.read import number

CHANCE = 0.5
"""AUROC of guessing."""
LEAST_SPAN = (0.05, 0.1)
"""Least height of the axes of cross-entropy and AUROC, so that noise is not made to look like a change."""
BINS = 50
"""Of a histogram of probabilities."""
LEAST_PAIRS = 10
"""Of a bin whose share of positives is drawn: of fewer, it is mostly chance."""


@dataclass(frozen=True)
class Panel:
    """What was judged on the same pairs."""

    heading: str
    """Part, split and negatives."""
    auroc: Mapping[str, Estimate]
    """By name, in the order shown; NaN where it is undefined."""
    node_rate: float
    """AUROC of the node rate on these pairs; NaN where it is not known."""


def auroc_intervals(
    panels: Sequence[Panel],
    path: Path,
    title: str = "AUROC of models and baselines",
    models: Sequence[str] | None = None,
) -> None:
    """Draw AUROC as a dot with its interval, beside a line at the node rate and one at chance.

    Args:
        panels: one below the other.
        path: the PNG to write.
        title: over the picture.
        models: the names that share out the colours, all of them if None; what is not among them is grey.

    Raises:
        InputError: if there is no panel.
    """
    if not panels:
        raise InputError(f"{title}: expected models or baselines to draw, got none")
    rows = [max(1, len(panel.auroc)) for panel in panels]
    figure = Figure(figsize=(8.8, 1.5 + sum(1.0 + 0.34 * count for count in rows)), layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[count + 0.6 for count in rows])
    figure.suptitle(title, fontsize=13, color=INK, x=0.01, ha="left")
    names = list(dict.fromkeys(name for panel in panels for name in panel.auroc))
    looks = styles(names, models)
    limits = _limits(panels)
    for axes, panel in zip(grid.flat, panels, strict=True):
        _dots(axes, panel, [looks[name]["color"] for name in panel.auroc])
        axes.set_xlim(*limits)  # one scale, so that lengths compare
    first = grid[0, 0]
    handles = [
        first.plot([], [], "o-", color=INK, markersize=7, linewidth=1.8)[0],
        first.plot([], [], "--", color=VERMILION, linewidth=1.6)[0],
        first.plot([], [], ":", color=INK, linewidth=1.4)[0],
    ]
    labels = ["AUROC and its 95 % interval", "node rate (looks at no feature)", "chance"]
    figure.legend(handles, labels, loc="outside lower left", frameon=False, fontsize=9.5, ncols=3)
    save(figure, path)


def _dots(axes: Axes, panel: Panel, hues: Sequence[str]) -> None:
    """Draw one row a model or rung, and the lines at chance and at the node rate."""
    axes.set_title(panel.heading, loc="left", fontsize=10.5, color=INK)
    axes.axvline(CHANCE, color=INK, linestyle=":", linewidth=1.4, zorder=2)
    axes.axvline(panel.node_rate, color=VERMILION, linestyle="--", linewidth=1.6, zorder=2)
    interval_rows(axes, panel.auroc, hues)
    axes.set_xlabel("AUROC", fontsize=10)


def _limits(panels: Sequence[Panel]) -> tuple[float, float]:
    """Return the axis that shows every figure and chance, with room."""
    found = [value for panel in panels for estimate in panel.auroc.values() for value in estimate]
    found += [panel.node_rate for panel in panels]
    seen = [CHANCE, *(value for value in found if math.isfinite(value))]
    room = max(0.08 * (max(seen) - min(seen)), 0.01)
    return max(0.0, min(seen) - room), min(1.0, max(seen) + room)


def reliability(
    bins: Mapping[str, Mapping[str, Sequence[float | None]]],
    path: Path,
    title: str = "Reliability: predicted against observed",
    everyone: Sequence[str] | None = None,
) -> None:
    """Draw the share of positives against the mean prediction of each bin, and how many pairs are in it.

    Args:
        bins: of each model `edges` [K + 1], `predicted`, `observed` and `count`, each [K]; None where empty.
        path: the PNG to write.
        title: over the picture.
        everyone: the models that share out the colours.

    Raises:
        InputError: if there is no model.
    """
    if not bins:
        raise InputError(f"{title}: expected the bins of at least one model, got none")
    figure, (left, right) = new_figure(title, width=9.6, height=4.9, panels=2)
    left.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.2, label="perfect", zorder=1)
    for name, style in styles(list(bins), everyone).items():
        one = bins[name]
        full = [row for row, count in enumerate(one["count"]) if number(count) >= LEAST_PAIRS]
        predicted, observed = ([number(one[key][row]) for row in full] for key in ("predicted", "observed"))
        left.plot(predicted, observed, marker="o", markersize=4.5, linewidth=1.6, label=name, **style)
        edges, counts = [number(e) for e in one["edges"]], [number(c) for c in one["count"]]
        share = [100 * count / max(1.0, sum(counts)) for count in counts]
        right.stairs(share, edges, linewidth=1.6, label=name, **style)
    left.set(xlabel="predicted probability, mean of a bin", ylabel="share of positives in the bin")
    left.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    right.set(xlabel="predicted probability", ylabel="pairs in the bin (%)", xlim=(0, 1))
    right.set_ylim(bottom=0)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=5, frameon=False, fontsize=9.5)
    save(figure, path)


def training_curves(
    history: Mapping[str, Sequence[float | None]],
    path: Path,
    title: str,
    best_epoch: int | None = None,
    node_rate: float = math.nan,
) -> None:
    """Draw cross-entropy and validation AUROC against epoch, the best epoch and the node rate marked.

    Args:
        history: `epoch`, `train_loss`, `val_bce` and `val_auroc`, each [E]; None where not measured.
        path: the PNG to write.
        title: over the picture.
        best_epoch: whose weights were kept.
        node_rate: AUROC of the node rate on the validation part.

    Raises:
        InputError: if there is no epoch, or the lists differ in length.
    """
    left, right = "cross-entropy (nats a pair)", "AUROC of the validation part"
    floor = {f"node rate ({node_rate:.4f})": node_rate}
    epoch_curves(history, path, title, {"val_bce": left, "val_auroc": right}, best_epoch, LEAST_SPAN, floor)


def probabilities(
    values: Sequence[float] | npt.NDArray[np.float64],
    path: Path,
    title: str = "Probabilities of all that is ranked",
    prevalence: float = math.nan,
) -> None:
    """Draw how many pairs of a screen have which probability.

    Args:
        values: from 0 to 1, of each pair.
        path: the PNG to write.
        title: over the picture.
        prevalence: share of positives where the probabilities were fitted; NaN where it is not known.

    Raises:
        InputError: if there is no pair.
    """
    if not len(values):
        raise InputError(f"{title}: expected the probability of at least one pair, got none")
    figure, (axes,) = new_figure(title, width=8.4, height=3.4)
    counts, edges = np.histogram(values, bins=BINS, range=(0.0, 1.0))
    axes.stairs(counts, edges, fill=True, color=BLUE)
    label = f"share of positives where they were fitted ({prevalence:.2f})"
    axes.axvline(prevalence, color=INK, linestyle="--", linewidth=1.4, label=label)
    axes.set(xlabel="calibrated probability of an interaction", ylabel="pairs", xlim=(0, 1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    if not math.isnan(prevalence):
        axes.legend(**ABOVE)
    save(figure, path)


PLOTS: dict[str, Callable[..., None]] = {
    "auroc_intervals": auroc_intervals,
    "reliability": reliability,
    "training_curves": training_curves,
    "probabilities": probabilities,
}
"""Every plot of results on genes and molecules, by name."""
