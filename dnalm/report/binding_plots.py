"""Plots of binding results: each function reads numbers and writes one PNG, whole or not at all.

Shapes used below
    L  bases in a window             K  bins of a density
    E  epochs, the untrained model being the first
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dnalm.errors import InputError
from dnalm.formats.binding import parse_name
from dnalm.report.plots import ABOVE, GREY, INK, epoch_curves, interval_rows, new_figure, save, styles
from dnalm.report.read import estimate, number

Scores = Mapping[str, Any]
"""The `scores` of one model."""

LEAST_SPAN = 0.02
"""Least width of an axis of R, so that a difference of a few ten-thousandths is not made to look large."""
_TRUTH = "#C9CED3"


def training_curves(
    history: Mapping[str, Sequence[float | None]], path: Path, title: str, best_epoch: int | None = None
) -> None:
    """Draw loss and Pearson's R against epoch, the best epoch marked.

    Args:
        history: `epoch`, `train_loss`, `val_loss` and `pearson_r`, each [E]; None where not measured.
        path: the PNG to write.
        title: over the picture.
        best_epoch: whose weights were kept; if None, that with the lowest validation loss.

    Raises:
        InputError: if there is no epoch, or the lists differ in length.
    """
    losses = _floats(history["val_loss"])
    if best_epoch is None and not all(map(math.isnan, losses)):
        best_epoch = int(history["epoch"][int(np.nanargmin(losses))] or 0)
    left, right = "loss (mean squared error)", "Pearson R over all bases"
    epoch_curves(history, path, title, {"val_loss": left, "pearson_r": right}, best_epoch)


def performance_comparison(
    panels: Mapping[str, Mapping[str, Scores]],
    path: Path,
    title: str = "Predicted against true binding scores",
    everyone: Sequence[str] | None = None,
) -> None:
    """Draw R of each model as a dot with its 95 % interval, and the figure the published project gives.

    Args:
        panels: what was judged on the same windows, under a heading: scores by name, in the order shown.
        path: the PNG to write.
        title: over the picture.
        everyone: the models that share out the colours, all of them if None; what is not among them is grey.
    """
    rows = [max(1, len(scores)) for scores in panels.values()]
    figure = Figure(figsize=(8.4, 1.5 + sum(0.75 + 0.36 * count for count in rows)), layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[count + 0.6 for count in rows])
    figure.suptitle(title, fontsize=13, color=INK, x=0.01, ha="left")
    names = list(dict.fromkeys(name for scores in panels.values() for name in scores))
    hues = {name: style["color"] for name, style in styles(names, everyone).items()}
    for axes, (heading, scores) in zip(grid.flat, panels.items(), strict=True):
        axes.set_title(heading, loc="left", fontsize=10.5, color=INK)
        _dots(axes, scores, [hues[name] for name in scores])
    handles = [
        grid[0, 0].plot([], [], "o-", color=INK, markersize=7, linewidth=1.8)[0],
        grid[0, 0].plot([], [], "D", color=GREY, markersize=9, fillstyle="none")[0],
    ]
    labels = [
        "over all bases, with 95 % bootstrap interval over windows",
        "mean over batches of 64 windows, as the published project reports it",
    ]
    figure.legend(handles, labels, loc="outside lower left", frameon=False, fontsize=9.5)
    save(figure, path)


def tracks(
    windows: Sequence[Mapping[str, Any]],
    path: Path,
    title: str = "Predicted and true tracks",
    everyone: Sequence[str] | None = None,
) -> None:
    """Draw windows one below the other: the truth as a filled area, each model as a line.

    Args:
        windows: each has `window` (its name), `truth` [L] and `predicted` ([L] by name of the model).
        path: the PNG to write.
        title: over the picture.
        everyone: the models that share out the colours.

    Raises:
        InputError: if there is no window.
    """
    if not windows:
        raise InputError(f"{title}: expected at least one window to draw, got none")
    names = list(dict.fromkeys(name for window in windows for name in window["predicted"]))
    figure, panels = new_figure(title, width=9.6, height=1.1 + 1.5 * len(windows), rows=len(windows))
    looks = styles(names, everyone)
    for axes, window in zip(panels, windows, strict=True):
        truth = _floats(window["truth"])
        axes.fill_between(_positions(truth), truth, color=_TRUTH, step="mid", linewidth=0, label="truth")
        for name, style in looks.items():
            if name in window["predicted"]:
                values = _floats(window["predicted"][name])
                axes.plot(_positions(values), values, label=name, linewidth=1.3, **style)
        axes.set_title(where(window["window"]), loc="left", fontsize=10, color=INK)
        axes.set_xlim(0.5, len(truth) + 0.5)
        axes.set_ylim(*_heights(windows))  # one scale, so that heights compare
        axes.tick_params(labelbottom=axes is panels[-1])
    panels[-1].set_xlabel("base of the window, from its left")
    figure.supylabel("score", fontsize=11, color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=5, frameon=False, fontsize=9.5)
    save(figure, path)


def density(
    densities: Mapping[str, Mapping[str, Any]], path: Path, title: str = "Predicted against true"
) -> None:
    """Draw how many bases have a true and a predicted score, one panel a model, on one scale of colours.

    Args:
        densities: of each model `edges` [K + 1], the same for both axes, and `counts` [K, K]: row truth,
            column prediction.
        path: the PNG to write.
        title: over the picture.

    Raises:
        InputError: if there is no model.
    """
    if not densities:
        raise InputError(f"{title}: expected the density of at least one model, got none")
    across = min(3, math.ceil(math.sqrt(len(densities))))
    down = math.ceil(len(densities) / across)
    figure, panels = new_figure(
        title, width=1.3 + 3.3 * across, height=0.8 + 3.2 * down, panels=across, rows=down
    )
    edges = {name: np.asarray(one["edges"], dtype=np.float64) for name, one in densities.items()}
    counts = {name: np.asarray(one["counts"], dtype=np.float64) for name, one in densities.items()}
    low, high = min(e[0] for e in edges.values()), max(e[-1] for e in edges.values())
    scale = LogNorm(1, max(10.0, *(float(np.nanmax(c)) for c in counts.values())))
    for axes, name in zip(panels, densities, strict=False):
        seen = np.ma.masked_less(counts[name].T, 1)  # [predicted, truth]; no base, no colour
        mesh = axes.pcolormesh(edges[name], edges[name], seen, norm=scale, cmap="viridis_r", rasterized=True)
        axes.plot([low, high], [low, high], color=INK, linewidth=1, linestyle="--")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=high - low > 6))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=high - low > 6))
        axes.set_title(name, fontsize=11, color=INK)
    for axes in panels[::across]:
        axes.set_ylabel("predicted score")
    for axes in panels[max(0, len(densities) - across) : len(densities)]:
        axes.set_xlabel("true score")
    for axes in panels[len(densities) :]:
        axes.set_visible(False)
    bar = figure.colorbar(mesh, ax=panels, shrink=0.8, pad=0.02)
    bar.set_label("bases", fontsize=11, color=INK)
    save(figure, path)


def error_by_position(
    errors: Mapping[str, Sequence[float | None]],
    path: Path,
    title: str = "Error by position in the window",
    everyone: Sequence[str] | None = None,
) -> None:
    """Draw the root mean squared error at each base of the window.

    Args:
        errors: [L] of each model, in units of the score.
        path: the PNG to write.
        title: over the picture.
        everyone: the models that share out the colours.

    Raises:
        InputError: if there is no model.
    """
    if not errors:
        raise InputError(f"{title}: expected the errors of at least one model, got none")
    figure, (axes,) = new_figure(title, width=8.4, height=4.2)
    for name, style in styles(list(errors), everyone).items():
        values = _floats(errors[name])
        axes.plot(_positions(values), values, label=name, linewidth=1.4, **style)
    longest = max(map(len, errors.values()))
    axes.set(xlabel="base of the window, from its left", ylabel="root mean squared error (score)")
    axes.set_xlim(0.5, longest + 0.5)
    axes.set_ylim(bottom=0)
    axes.legend(**ABOVE, ncols=5)
    save(figure, path)


PLOTS: dict[str, Callable[..., None]] = {
    "training_curves": training_curves,
    "performance_comparison": performance_comparison,
    "tracks": tracks,
    "density": density,
    "error_by_position": error_by_position,
}
"""Every plot of binding results, by name."""


def where(name: str) -> str:
    """Return the place of a window as people write it, counted from 1: chr22:301-600; else its name."""
    try:
        contig, start, end = parse_name(name)
    except ValueError:
        return name
    return f"{contig}:{start + 1}-{end}"


def _heights(windows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the lowest and highest score of all windows, with room, 0 included."""
    tracks = [track for w in windows for track in (w["truth"], *w["predicted"].values())]
    scores = [0.0, *(score for track in tracks for score in _floats(track) if math.isfinite(score))]
    room = 0.06 * (max(scores) - min(scores)) or 1.0
    return min(scores) - room, max(scores) + room


def _dots(axes: Axes, scores: Mapping[str, Scores], hues: Sequence[str]) -> None:
    """Draw one row a model: R with its interval, and behind it the published figure."""
    found = {name: estimate(one["pearson_r"]) for name, one in scores.items()}
    published = [number(one.get("pearson_r_batches")) for one in scores.values()]
    for row, value in enumerate(published):
        axes.plot(value, row, "D", color=GREY, markersize=9, fillstyle="none", zorder=3)
    interval_rows(axes, found, hues)
    values = [*published, *(value for one in found.values() for value in one)]
    left, right = _limits([value for value in values if math.isfinite(value)])
    axes.set_xlim(left, right)
    zoomed = " (zoomed in: the axis does not begin at 0)" if left > 0 else ""
    axes.set_xlabel(f"Pearson R{zoomed}", fontsize=10)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the axis of R that shows `values`: from 0 where they spread, or zoomed in, but never far."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if low < 0.5 * high or low <= 0:  # they spread over most of the axis
        return min(0.0, low - 0.05), max(high + 0.05, 0.1)
    margin = max(0.08 * (high - low), (LEAST_SPAN - (high - low)) / 2)
    return low - margin, high + margin


def _positions(values: Sequence[float]) -> range:
    return range(1, len(values) + 1)


def _floats(values: Sequence[float | None]) -> list[float]:
    return [*map(number, values)]
