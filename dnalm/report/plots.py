"""Plots of results: each function reads numbers and writes one PNG, whole or not at all.

The colours are those of Okabe and Ito (2008), which stay apart for every kind of colour vision; lines also
differ in dash or marker. Figures are made without pyplot, so a plot may be drawn from any thread.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from dnalm.bootstrap import Estimate
from dnalm.errors import InputError
from dnalm.files import atomic_file
from dnalm.report.read import number

DPI = 150
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
)  # fmt: skip
INK, GREY = "#222222", "#8A8A8A"
MODE_COLORS = {"full": BLUE, "vocab4": VERMILION}
_DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (6, 1, 1, 1, 1, 1)))
"""As many as are out of step with the colours, so that no two of twenty models look the same."""
OTHER_COLORS = (GREEN, PURPLE, ORANGE, SKY)
"""For other names than those of the two vocabularies of `dnalm prepare`, in turn."""

Metrics = Mapping[str, Any]
"""The `metrics` of one pretraining run.json."""


def loss_curve(
    losses: Mapping[str, Any], path: Path, title: str, ladder: Mapping[str, Any] | None = None
) -> None:
    """Draw losses against step and, where they were measured, bits per base beside them.

    Args:
        losses: what losses_MODE.json holds; losses in nats per token.
        path: the PNG to write.
        title: over the picture.
        ladder: the run's Markov ladder; its best rung becomes a dashed line at its bits per base.

    Raises:
        InputError: if there is no evaluation to draw, or the lists differ in length.
    """
    steps = losses["iterations"]
    bits = losses.get("bits_per_base") or []
    series = {"train_losses": losses["train_losses"], "val_losses": losses["val_losses"]}
    if bits:
        series["bits_per_base"] = bits
    if not steps or any(len(values) != len(steps) for values in series.values()):
        raise InputError(
            f"{title}: expected one value of each curve at every evaluation, got "
            f"{len(steps)} iterations and {', '.join(f'{len(v)} {k}' for k, v in series.items())}"
        )
    figure, panels = new_figure(title, width=9.6 if bits else 5.4, height=4.2, panels=2 if bits else 1)
    curve(panels[0], steps, losses["train_losses"], "training", ORANGE, "--s")
    curve(panels[0], steps, losses["val_losses"], "validation", BLUE, "-o")
    panels[0].set(xlabel="step", ylabel="loss (nats per token)")
    fit_height(panels[0], [losses["train_losses"], losses["val_losses"]])
    panels[0].legend(**ABOVE)
    if bits:
        curve(panels[1], steps, bits, "language model, validation", BLUE, "-o")
        panels[1].set(xlabel="step", ylabel="bits per base")
        heights = [bits]
        if ladder:
            best = ladder["best"]
            panels[1].axhline(best["bits"], color=INK, linestyle="--", linewidth=1.4, label=rung_name(best))
            heights.append([best["bits"]])
        fit_height(panels[1], heights)
        panels[1].legend(**ABOVE)
    save(figure, path)


def time_comparison(
    seconds: Mapping[str, float],
    path: Path,
    title: str = "Pretraining time",
    everyone: Sequence[str] | None = None,
) -> None:
    """Draw one bar a model, as long as its time, labelled with it.

    Args:
        seconds: elapsed time of each mode.
        path: the PNG to write.
        title: over the picture.
        everyone: names that share out the colours, where other plots show more models than this one.
    """
    figure, (axes,) = new_figure(title, width=6.4, height=1.3 + 0.6 * max(1, len(seconds)))
    modes = list(seconds)
    longest = max(seconds.values(), default=0.0)
    scale, unit = (
        (3600.0, "hours") if longest >= 7200 else (60.0, "minutes") if longest >= 120 else (1.0, "s")
    )
    bars = axes.barh(
        modes, [seconds[m] / scale for m in modes], color=colors(list(everyone or modes), modes), height=0.6
    )
    axes.bar_label(bars, [duration(seconds[m]) for m in modes], padding=5, fontsize=10)
    axes.set_xlim(0, max(longest / scale * 1.22, 1e-9))  # room for the label
    axes.set_xlabel(f"elapsed time ({unit})")
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    save(figure, path)


def markov_ladder(runs: Mapping[str, Metrics], path: Path, title: str = "Against Markov models") -> None:
    """Draw bits per base against Markov order, with each language model as a line and its 95 % band.

    Runs judged on the same bases share a panel; a run on other bases gets its own.

    Args:
        runs: metrics of each mode.
        path: the PNG to write.
        title: over the picture.
    """
    groups = same_bases(runs)
    figure, panels = new_figure(
        title, width=6.8 * max(1, len(groups)), height=4.9, panels=max(1, len(groups))
    )
    for axes, modes in zip(panels, groups, strict=False):
        ladder = runs[modes[0]]["ladder"]
        orders = range(len(ladder["one_strand"]))
        axes.plot(orders, ladder["one_strand"], "--s", color=GREY, label="Markov, one strand", **_MARKERS)
        axes.plot(orders, ladder["both_strands"], "-o", color=INK, label="Markov, both strands", **_MARKERS)
        best = ladder["best"]
        axes.plot(best["order"], best["bits"], "*", color=INK, markersize=14, label="best Markov", zorder=5)
        for mode, color in zip(modes, colors(list(runs), modes), strict=True):
            bits = runs[mode]["bits_per_base"]
            axes.axhspan(bits["low"], bits["high"], color=color, alpha=0.18, linewidth=0)
            line = "-." if mode == "full" else "-"
            axes.axhline(
                bits["value"], color=color, linestyle=line, linewidth=1.8, label=f"{mode} language model"
            )
        axes.set(xlabel="order of the Markov model (bases of context)", ylabel="bits per base")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=len(orders) + 1))
        axes.margins(y=0.08)
        axes.legend(**ABOVE, ncols=2)
    save(figure, path)


PLOTS: dict[str, Callable[..., None]] = {
    "loss_curve": loss_curve,
    "markov_ladder": markov_ladder,
    "time_comparison": time_comparison,
}
"""Every plot dnalm makes, by name."""


def same_bases(runs: Mapping[str, Metrics]) -> list[list[str]]:
    """Group modes whose runs were trained and judged on the same bases: their ladders are equal."""
    groups: list[list[str]] = []
    for mode, metrics in runs.items():
        home = next((g for g in groups if _equal(runs[g[0]]["ladder"], metrics["ladder"])), None)
        if home is None:
            groups.append([mode])
        else:
            home.append(mode)
    return groups


def rung_name(best: Mapping[str, Any]) -> str:
    """Name the best rung of a ladder, as in "best Markov model (order 11, both strands)"."""
    strands = "both strands" if best["strands"] == 2 else "one strand"
    return f"best Markov model (order {best['order']}, {strands})"


def duration(seconds: float) -> str:
    """Write a time as a person would: 42 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if any(one[key] != other[key] for key in ("train_bases", "validation_bases")):
        return False
    pairs = zip(one["both_strands"], other["both_strands"], strict=False)
    return all(math.isclose(a, b, abs_tol=1e-6) for a, b in pairs)  # sums may differ in their last digits


ABOVE: dict[str, Any] = {
    "loc": "lower left",
    "bbox_to_anchor": (-0.02, 1.0),
    "borderaxespad": 0.3,
    "frameon": False,
    "fontsize": 9.5,
}
"""A legend over the panel, where it can hide no curve."""
_MARKERS: dict[str, Any] = {"markersize": 4.5, "linewidth": 1.4}


def new_figure(
    title: str, width: float, height: float, panels: int = 1, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """Make a figure of `panels` side by side in each of `rows`; width and height in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=13, color=INK, x=0.01, ha="left")
    axes: list[Axes] = list(figure.subplots(rows, panels, squeeze=False).flat)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(True, color="#E6E6E6", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.tick_params(labelsize=10, colors=INK)
        panel.xaxis.label.set_fontsize(11)
        panel.yaxis.label.set_fontsize(11)
    return figure, axes


def curve(axes: Axes, steps: list[int], values: list[float], label: str, color: str, style: str) -> None:
    """Draw one line against whole steps, with a marker at each value while they are few."""
    size = 4.5 if len(steps) <= 30 else 0.0  # a marker an evaluation, until they would touch
    axes.plot(steps, values, style, color=color, label=label, markersize=size, linewidth=1.6)
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if max(steps) >= 10_000 else "{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))


def epoch_curves(
    history: Mapping[str, Sequence[float | None]],
    path: Path,
    title: str,
    validation: Mapping[str, str],
    best_epoch: int | None,
    least: tuple[float, float] = (0.0, 0.0),
    floor: Mapping[str, float] | None = None,
) -> None:
    """Draw losses (left) and a score (right) against epoch, the best epoch marked.

    Args:
        history: `epoch`, `train_loss` and the two of `validation`, of one length; None where not measured.
        path: the PNG to write.
        title: over the picture.
        validation: of the loss and of the score: its name in `history`, and what its axis says.
        best_epoch: whose weights were kept.
        least: heights of the two axes, at least.
        floor: a score to be beaten, by what is said of it.

    Raises:
        InputError: if there is no epoch, or the lists differ in length.
    """
    epochs = [int(epoch or 0) for epoch in history["epoch"]]
    loss, score = validation
    series = {key: [*map(number, history[key])] for key in ("train_loss", loss, score)}
    if not epochs or any(len(values) != len(epochs) for values in series.values()):
        raise InputError(
            f"{title}: expected one value of each curve at every epoch, got {len(epochs)} epochs and "
            f"{', '.join(f'{len(values)} {name}' for name, values in series.items())}"
        )
    figure, (left, right) = new_figure(title, width=9.6, height=4.2, panels=2)
    curve(left, epochs, series["train_loss"], "training", ORANGE, "--s")
    curve(left, epochs, series[loss], "validation", BLUE, "-o")
    fit_height(left, [[0.0 if math.isnan(v) else v for v in series[n]] for n in ("train_loss", loss)])
    named = "_validation" if floor else "validation"  # beside a floor it is the axis that names it
    curve(right, epochs, series[score], named, BLUE, "-o")
    for label, value in (floor or {}).items():
        right.axhline(value, color=VERMILION, linestyle="--", linewidth=1.6, label=label, zorder=1)
    for axes, says, height in zip((left, right), validation.values(), least, strict=True):
        axes.set(xlabel="epoch", ylabel=says, xlim=(min(epochs) - 0.5, max(epochs) + 0.5))
        low, high = axes.get_ylim()
        room = max(0.0, height - (high - low)) / 2
        axes.set_ylim(low - room, high + room)
        if best_epoch is not None:
            label = f"best epoch ({best_epoch})"
            axes.axvline(best_epoch, color=GREEN, linestyle=":", linewidth=1.8, label=label, zorder=1)
        axes.legend(**ABOVE, ncols=3)
    save(figure, path)


def fit_height(axes: Axes, curves: list[list[float]]) -> None:
    """Leave the untrained model's value off the top where it would flatten everything after it."""
    later = [value for curve in curves for value in (curve[1:] if len(curve) > 2 else curve) if value]
    first = max(curve[0] or 0.0 for curve in curves)
    low, high = min(later, default=first), max(later, default=first)
    margin = 0.08 * (high - low) or 0.01
    if first > high + 2 * (high - low):
        axes.set_ylim(low - margin, high + 2 * margin)
        note = f"the first evaluation, {first:.3f}, is off the top"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # readable where a line crosses it
        at: dict[str, Any] = {"xy": (0.99, 0.95), "xycoords": "axes fraction", "ha": "right"}
        axes.annotate(note, **at, fontsize=9, color="#555555", bbox=box)


def colors(modes: list[str], wanted: list[str] | None = None) -> list[str]:
    """Return the colours of the `wanted` among `modes`, the same in each plot; of all, if None."""
    others = [mode for mode in modes if mode not in MODE_COLORS]
    table = MODE_COLORS | {mode: OTHER_COLORS[i % len(OTHER_COLORS)] for i, mode in enumerate(others)}
    return [table[mode] for mode in wanted or modes]


def styles(names: Sequence[str], everyone: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Colour and dash of each model, the same in every plot with the same `everyone`; grey for others."""
    shared = list(names if everyone is None else everyone)
    hues = dict(zip(shared, colors(shared), strict=True))
    dashes = {name: _DASHES[row % len(_DASHES)] for row, name in enumerate(shared)}
    return {name: {"color": hues.get(name, GREY), "linestyle": dashes.get(name, ":")} for name in names}


def interval_rows(axes: Axes, found: Mapping[str, Estimate], hues: Sequence[str]) -> None:
    """Draw a dot and its interval a row, the first on top; its figures stand right of the axes."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(True, axis="x", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    for row, ((value, low, high), hue) in enumerate(zip(found.values(), hues, strict=True)):
        axes.hlines(row, low, high, color=hue, linewidth=2.2, zorder=4)
        axes.plot([low, high], [row, row], "|", color=hue, markersize=9, markeredgewidth=1.6, zorder=4)
        axes.plot(value, row, "o", color=hue, markersize=7, zorder=5)
        text = "undefined" if math.isnan(value) else f"{value:.4f}"
        text += "" if math.isnan(low) or math.isnan(high) else f"  ({low:.4f} to {high:.4f})"
        at = (1.02, row)
        axes.annotate(text, at, xycoords=("axes fraction", "data"), va="center", fontsize=9.5, color=INK)
    axes.set_ylim(max(1, len(found)) - 0.4, -0.6)
    axes.set_yticks(range(len(found)), list(found))
    axes.tick_params(axis="y", length=0, labelsize=10, labelcolor=INK)
    axes.tick_params(axis="x", labelsize=9.5, colors=INK)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all; the same figure makes the same bytes."""
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
