"""Style of all figures, and those of training: curves, times, Markov models.

Each function returns a figure; `save` writes it and `png` gives its bytes. The colours are those of Okabe
and Ito (2008), which differ for every kind of colour vision; lines also differ in dash or marker. Figures are
drawn without pyplot and in matplotlib's own settings, so that no backend and no settings of a user decide.
`everyone`: all models of a page, so that each looks the same in every figure.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from dnalm.errors import counted
from dnalm.files import atomic_file
from dnalm.process import Say
from dnalm.results.language import LanguageMetrics
from dnalm.results.schema import Training

Draw = Callable[[], Figure]
"""Draws a figure; it is called by `png`."""
SETTINGS = {key: value for key, value in rcParamsDefault.items() if not key.startswith("backend")}
DRAWING = Lock()
"""matplotlib's settings are those of the process: one thread at a time changes them."""
DPI = 150
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
INK, GREY, LIGHT = "#222222", "#8A8A8A", "#E6E6E6"
MODE_COLORS = {"full": BLUE, "vocab4": VERMILION}
OTHER_COLORS = (GREEN, PURPLE, ORANGE, SKY)
"""In turn, for names other than those of the two vocabularies of `dnalm prepare`."""
DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (6, 1, 1, 1, 1, 1)))
"""Out of step with the colours, so that no two of twenty models look the same."""
ABOVE: dict[str, Any] = {
    "loc": "lower left",
    "bbox_to_anchor": (-0.02, 1.0),
    "borderaxespad": 0.3,
    "frameon": False,
    "fontsize": 9.5,
    "columnspacing": 1.2,
    "handlelength": 1.6,
    "handletextpad": 0.5,
}
"""A legend above the panel, where it hides no curve."""
EPOCH_AXES = {
    "val_loss": ("loss (mean squared error)", 0.0),
    "pearson_r": ("Pearson R over all bases", 0.0),
    "val_bce": ("cross-entropy (nats a pair)", 0.05),
    "val_auroc": ("AUROC of the validation part", 0.1),
}
"""Names of the axes of curves, and their least lengths, so that noise does not look like a change."""


def save(draw: Draw, path: Path) -> None:
    """Draw a figure and write it as PNG, complete or not at all; the same figure gives the same bytes."""
    with atomic_file(path) as file:
        file.write(png(draw))


def save_all(figures: Mapping[Path, Draw], say: Say) -> list[Path]:
    """Write figures beside results that are complete; return the paths of those that could be drawn.

    A figure never costs a result: `say` gets a warning for each that fails.
    """
    written = []
    for path, draw in figures.items():
        try:
            save(draw, path)
            written.append(path)
        except Exception as error:
            say(f"warning: {path} was not drawn ({type(error).__name__}: {error}); the results are complete")
    return written


def png(draw: Draw) -> bytes:
    """Draw a figure in matplotlib's own settings, and return it as PNG."""
    file = io.BytesIO()
    with DRAWING, rc_context(SETTINGS):
        draw().savefig(file, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def new_figure(
    title: str,
    width: float,
    height: float,
    panels: int = 1,
    rows: int = 1,
    heights: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, row by row; width and height in inches, heights of rows relative."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=13, color=INK, x=0.01, ha="left", parse_math=False)
    axes: list[Axes] = list(figure.subplots(rows, panels, squeeze=False, height_ratios=heights).flat)
    for panel in axes:
        style_panel(panel)
    return figure, axes


def legend_below(figure: Figure, axes: Axes, columns: int = 5) -> None:
    """Put the legend of a panel under the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=9.5)


def style_panel(axes: Axes) -> None:
    """Give a panel the common look."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color=LIGHT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=10, colors=INK)
    axes.xaxis.label.set_fontsize(11)
    axes.yaxis.label.set_fontsize(11)


def styles(names: Sequence[str], everyone: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return colour and dash of each model; names outside of `everyone` (`names` if None) are grey.

    The colours of the two vocabularies are always the same.
    """
    looks = {}
    shared = list(names if everyone is None else everyone)
    others = [name for name in shared if name not in MODE_COLORS]
    hues = MODE_COLORS | {name: OTHER_COLORS[row % len(OTHER_COLORS)] for row, name in enumerate(others)}
    for row, name in enumerate(shared):
        looks[name] = {"color": hues[name], "linestyle": DASHES[row % len(DASHES)]}
    return {name: looks.get(name, {"color": GREY, "linestyle": ":"}) for name in names}


def duration(seconds: float) -> str:
    """Write a time for people: 42 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def loss_curve(metrics: LanguageMetrics, title: str) -> Figure:
    """Draw losses against step and, beside them, bits per base with those of the best count model."""
    history, best, bits = metrics.history, metrics.counts.best, metrics.history[metrics.measure]
    steps = [int(step) for step in history["iterations"]]
    figure, (left, right) = new_figure(title, 9.6, 4.2, panels=2)
    _curve(left, steps, history["train_losses"], "training", ORANGE, "--s")
    _curve(left, steps, history["val_losses"], "validation", BLUE, "-o")
    left.set(xlabel="step", ylabel=f"loss (nats per {'masked ' * metrics.masked}token)")
    _fit_height(left, [history["train_losses"], history["val_losses"]])
    left.legend(**ABOVE, ncols=2)
    _curve(right, steps, bits, "language model, validation", BLUE, "-o")
    right.set(xlabel="step", ylabel=metrics.measure.replace("_", " "))
    strands = "both strands" if best.strands == 2 else "one strand"
    label = f"best Markov model (order {best.order}, {strands})"
    if metrics.masked:
        label = f"best two-sided count model ({counted(best.order, 'base')} a side, {strands})"
    right.axhline(best.bits, color=INK, linestyle="--", linewidth=1.4, label=label)
    _fit_height(right, [bits, [best.bits]])
    right.legend(**ABOVE)
    return figure


def epoch_curves(training: Training, title: str, node_rate: float | None = None) -> Figure:
    """Draw losses (left) and the score of the validation part (right) against epoch, the best epoch marked.

    Args:
        training: of a binding model, or of a pair model.
        title: above the figure.
        node_rate: of pair models, a line.
    """
    history, best = training.history, training.best_epoch
    names = [name for name in EPOCH_AXES if name in history]
    epochs = [int(epoch) for epoch in history["epoch"]]
    figure, panels = new_figure(title, 9.6, 4.2, panels=2)
    _curve(panels[0], epochs, history["train_loss"], "training", ORANGE, "--s")
    for axes, name in zip(panels, names, strict=True):
        _curve(axes, epochs, history[name], "validation", BLUE, "-o")
    _fit_height(panels[0], [history["train_loss"], history[names[0]]])
    if node_rate is not None:
        line: dict[str, Any] = {"color": VERMILION, "linestyle": "--", "linewidth": 1.6, "zorder": 1}
        panels[1].axhline(node_rate, label=f"node rate ({node_rate:.4f})", **line)
    for axes, (name, least) in zip(panels, map(EPOCH_AXES.__getitem__, names), strict=True):
        axes.set(xlabel="epoch", ylabel=name, xlim=(min(epochs) - 0.5, max(epochs) + 0.5))
        low, high = axes.get_ylim()
        margin = max(0.0, least - (high - low)) / 2
        axes.set_ylim(low - margin, high + margin)
        axes.axvline(best, label=f"best epoch ({best})", color=GREEN, linestyle=":", linewidth=1.8, zorder=1)
        axes.legend(**ABOVE, ncols=3)
    return figure


def _curve(
    axes: Axes, steps: Sequence[int], values: Sequence[float], label: str, color: str, style: str
) -> None:
    """Draw one curve; a single value is a point."""
    size = 4.5 if len(steps) <= 30 else 0.0  # markers, until they would touch
    axes.plot(steps, values, style, color=color, label=label, markersize=size, linewidth=1.6)
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if max(steps) >= 10_000 else "{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))


def _fit_height(axes: Axes, curves: Sequence[Sequence[float]]) -> None:
    """Leave the untrained model's value off the top where it would flatten everything after it."""
    first = max((curve[0] for curve in curves if not math.isnan(curve[0])), default=0.0)
    rest = [value for curve in curves for value in (curve[1:] if len(curve) > 2 else curve)]
    rest = [value for value in rest if not math.isnan(value)]
    low, high = min(rest, default=first), max(rest, default=first)
    margin = 0.08 * (high - low) or 0.01
    if first > high + 2 * (high - low):
        axes.set_ylim(low - margin, high + 2 * margin)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # readable where a line crosses it
        at: dict[str, Any] = {"xy": (0.99, 0.95), "xycoords": "axes fraction", "ha": "right"}
        axes.annotate(
            f"the first evaluation, {first:.3f}, is off the top", **at, fontsize=9, color="#555555", bbox=box
        )


def time_comparison(
    seconds: Mapping[str, float], title: str = "Pretraining time", everyone: Sequence[str] | None = None
) -> Figure:
    """Draw one bar a model, labelled with its time."""
    figure, (axes,) = new_figure(title, 6.4, 1.3 + 0.6 * max(1, len(seconds)))
    hues = [style["color"] for style in styles(list(seconds), everyone).values()]
    minutes = [value / 60 for value in seconds.values()]
    bars = axes.barh(list(seconds), minutes, color=hues, height=0.6)
    axes.bar_label(bars, [duration(value) for value in seconds.values()], padding=5, fontsize=10)
    axes.set(xlim=(0, max([1.22 * value for value in minutes], default=1.0)), xlabel="elapsed time (minutes)")
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure


def markov_ladder(runs: Mapping[str, LanguageMetrics], title: str = "Against count models") -> Figure:
    """Draw bits per base against the order of count models, with each model as a line and its 95 % band.

    Runs that were evaluated on the same bases share a panel; those of masked models have two-sided counts.
    """
    groups = same_bases(runs)
    figure, panels = new_figure(title, 6.8 * len(groups), 4.9, panels=len(groups))
    looks = styles(list(runs))
    markers: dict[str, Any] = {"markersize": 4.5, "linewidth": 1.4}
    for axes, names in zip(panels, groups, strict=True):
        first = runs[names[0]]
        ladder, kind = first.counts, "two-sided counts" if first.masked else "Markov"
        orders = range(len(ladder.one_strand))
        axes.plot(orders, ladder.one_strand, "--s", color=GREY, label=f"{kind}, one strand", **markers)
        axes.plot(orders, ladder.both_strands, "-o", color=INK, label=f"{kind}, both strands", **markers)
        best = ladder.best
        axes.plot(best.order, best.bits, "*", color=INK, markersize=14, label=f"best {kind}", zorder=5)
        if first.masked:
            markov = first.ladder.best
            label = f"best Markov (order {markov.order}, left alone)"
            axes.axhline(markov.bits, color=INK, linestyle="--", linewidth=1.4, label=label)
        for name in names:
            bits, hue, line = runs[name].bits, looks[name]["color"], "-." if name == "full" else "-"
            axes.axhspan(bits.low, bits.high, color=hue, alpha=0.18, linewidth=0)
            label = f"{name} language model"
            axes.axhline(bits.value, color=hue, linestyle=line, linewidth=1.8, label=label)
        context = "bases on each side" if first.masked else "order of the Markov model (bases of context)"
        axes.set(xlabel=context, ylabel=first.measure.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=len(orders) + 1))
        axes.margins(y=0.08)
        axes.legend(**ABOVE, ncols=2)
    return figure


def same_bases(runs: Mapping[str, LanguageMetrics]) -> list[list[str]]:
    """Group runs that were trained and evaluated on the same bases: their Markov models are equal."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, metrics in runs.items():
        ladder = metrics.ladder
        bits = (round(value, 5) for value in ladder.both_strands[:3])  # the last digits may differ
        groups.setdefault((metrics.masked, ladder.train_bases, ladder.validation_bases, *bits), []).append(
            name
        )
    return list(groups.values())


def same_positions(runs: Mapping[str, LanguageMetrics]) -> list[list[str]]:
    """Group runs whose bits at the positions of masked models are known and of the same bases."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, one in runs.items():
        fixed = one.fixed_positions
        best = one.counts.best if one.masked else None if fixed is None else fixed.two_sided
        if best is not None:
            key = (one.ladder.train_bases, best.order, best.strands, round(best.bits, 5))
            groups.setdefault(key, []).append(name)
    return list(groups.values())
