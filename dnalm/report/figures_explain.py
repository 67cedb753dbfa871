"""Figures of explanations: sequence logos, heat maps of mutagenesis, maps of dependencies.

Each function returns a figure; `save_pictures` writes it as PNG and SVG. The logo is drawn here: those of
libraries come with pandas or torch.

Shapes: L letters of a sequence.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D

from dnalm.dna import BASES, encode
from dnalm.files import atomic_file
from dnalm.report.figures import (
    BLUE,
    DPI,
    DRAWING,
    GREEN,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    SETTINGS,
    VERMILION,
    Draw,
    style_panel,
)
from dnalm.results.use import Explanation, Match

Array = npt.NDArray[np.float32]
COLORS = dict(zip(BASES, (GREEN, BLUE, ORANGE, VERMILION), strict=True))
FONT = FontProperties(family="DejaVu Sans", weight="bold")
GLYPHS = {base: TextPath((0, 0), base, size=1, prop=FONT) for base in BASES}
ZOOM = 44
"""Bases of the panel that shows the most important stretch."""
LEAST = 0.01
"""A letter lower than this part of the highest is not drawn."""


def save_pictures(draw: Draw, path: Path) -> None:
    """Draw a figure, and write it as `path`.png and `path`.svg, each complete or not at all."""
    with DRAWING, rc_context(SETTINGS | {"svg.hashsalt": "dnalm"}):
        figure = draw()
        for end, about in (("png", {"Software": None}), ("svg", {"Date": None})):
            file = io.BytesIO()
            figure.savefig(file, format=end, dpi=DPI, facecolor="white", metadata=about)
            with atomic_file(path.with_name(f"{path.name}.{end}")) as written:
                written.write(file.getvalue())


def explanation_figure(one: Explanation, title: str, start: int = 0) -> Figure:
    """Draw the attributions of a sequence, its most important stretch, and the effect of each change.

    Args:
        one: the explanation.
        title: above the figure.
        start: position of the first letter, from 0.
    """
    extra = one.track is not None or one.probabilities is not None
    heights = [*([1.0] if extra else []), 1.5, 1.1, 1.5]
    figure = Figure(figsize=(13, 1.4 + 1.55 * sum(heights)), layout="constrained")
    figure.suptitle(title, fontsize=13, color=INK, x=0.01, ha="left", parse_math=False)
    panels = list(figure.subplots(len(heights), 1, height_ratios=heights))
    for axes in panels:
        style_panel(axes)
        axes.grid(False)
    positions = (start, start + len(one.sequence))
    if one.track is not None:
        at = np.arange(*positions) + 1
        panels[0].fill_between(at, one.track, color=BLUE, alpha=0.35, step="mid", linewidth=0)
        panels[0].set(ylabel="predicted\nscore", xlim=(positions[0] + 0.5, positions[1] + 0.5))
    elif one.probabilities is not None:
        _information_logo(panels[0], one.probabilities, start)
    whole, heat, zoom = panels[-3:]
    own = _own_letters(one)
    logo(whole, own, start)
    whole.set_ylabel("attribution")
    whole.set_title(checks(one), loc="left", fontsize=9.5, color="#555555")
    _mark_stretches(whole, one, start)
    _heat_map(figure, heat, one, start)
    first = one.stretches[0] if one.stretches else None
    middle = (first.start + first.end) // 2 if first else len(one.sequence) // 2
    left = max(0, min(middle - ZOOM // 2, len(one.sequence) - ZOOM))
    logo(zoom, own[left : left + ZOOM], start + left)
    zoom.set(xlabel="position (base pairs, from 1)", ylabel="attribution")
    if first:
        zoom.axvspan(start + first.start + 0.5, start + first.end + 0.5, color=LIGHT, zorder=0)
        zoom.set_title(
            f"the most important stretch{_named(first.matches)}", loc="left", fontsize=9.5, color="#555555"
        )
    for axes in panels[:-2]:
        axes.tick_params(labelbottom=False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    return figure


def checks(one: Explanation) -> str:
    """Return the checks of an explanation in words."""
    words = {"deeplift": f"DeepLIFT (delta {one.delta:.1g})", "mutagenesis": "mutagenesis"}[one.method]
    return (
        f"{words}; output {one.output:.2f}, of shuffled sequences {one.reference:.2f}; attributions sum to "
        f"{one.completeness:.2f} of the difference; strands agree with r = {one.strands:.2f}"
    )


def dependency_figure(one: Explanation, title: str, start: int = 0) -> Figure:
    """Draw the map of dependencies of a language model, below its logo."""
    assert one.dependencies is not None
    assert one.probabilities is not None
    figure = Figure(figsize=(9, 10), layout="constrained")
    figure.suptitle(title, fontsize=13, color=INK, x=0.01, ha="left", parse_math=False)
    above, axes = figure.subplots(2, 1, height_ratios=[1, 7], sharex=True)
    for panel in (above, axes):
        style_panel(panel)
        panel.grid(False)
    _information_logo(above, one.probabilities, start)
    above.tick_params(labelbottom=False)
    end = start + len(one.sequence)
    box = (start + 0.5, end + 0.5, end + 0.5, start + 0.5)
    known = one.dependencies[np.isfinite(one.dependencies)]
    high = float(np.quantile(known, 0.995)) if known.size else 1.0
    image = axes.imshow(
        one.dependencies,
        cmap="magma_r",
        vmin=0,
        vmax=high or 1.0,
        extent=box,
        aspect="auto",
        interpolation="none",
    )
    axes.set(
        xlabel="base that is predicted (position, from 1)", ylabel="base that is changed (position, from 1)"
    )
    axes.ticklabel_format(useOffset=False, style="plain")
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.6, pad=0.02, extend="max")
    bar.set_label("largest change of the log-odds (nats)", fontsize=10)
    return figure


def _information_logo(axes: Axes, probabilities: Array, start: int) -> None:
    """Draw how much a language model knows of each base; 2 bits would be all."""
    logo(axes, information(probabilities), start)
    axes.set(ylabel="information\n(of 2 bits)", ylim=(0, max(0.1, axes.get_ylim()[1])))


def information(probabilities: Array) -> Array:
    """Return the heights of a logo, [L, 4] in bits: probabilities times 2 less the entropy."""
    p = np.maximum(probabilities, 1e-9)
    heights: Array = p * (2 + (p * np.log2(p)).sum(axis=1, keepdims=True))
    return heights


def logo(axes: Axes, heights: Array, start: int = 0) -> None:
    """Draw letters of heights [L, 4], the highest on top, those below zero upside down below the axis."""
    heights = np.nan_to_num(heights)
    totals = np.maximum(heights, 0).sum(axis=1), np.minimum(heights, 0).sum(axis=1)
    high, low = float(totals[0].max(initial=0.0)), float(totals[1].min(initial=0.0))
    least, letters = LEAST * max(high, -low), []
    for at, column in enumerate(heights):
        above = below = 0.0
        for code in np.argsort(np.abs(column)):
            value = float(column[code])
            if abs(value) <= least:
                continue
            bottom = above if value > 0 else below
            letters.append(_glyph(BASES[code], start + at + 1, bottom, value))
            above, below = (above + value, below) if value > 0 else (above, below + value)
    axes.add_collection(PatchCollection(letters, match_original=True))
    margin = 0.05 * (high - low) or 1.0
    axes.set(xlim=(start + 0.5, start + len(heights) + 0.5), ylim=(low - margin * (low < 0), high + margin))
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    axes.ticklabel_format(axis="x", useOffset=False, style="plain")


def _glyph(base: str, at: float, bottom: float, height: float) -> PathPatch:
    """Return a letter that fills a box one base wide; a negative height turns it upside down."""
    path = GLYPHS[base]
    box = path.get_extents()
    move = Affine2D().translate(-(box.x0 + box.x1) / 2, -box.y0)
    move = move.scale(0.92 / box.width, height / box.height).translate(at, bottom)
    return PathPatch(path.transformed(move), facecolor=COLORS[base], edgecolor="none")


def _own_letters(one: Explanation) -> Array:
    """Return the attribution of each base in the row of that base, [L, 4]."""
    codes = encode(one.sequence)
    heights = np.zeros((len(codes), len(BASES)), dtype=np.float32)
    known = np.flatnonzero(codes < len(BASES))
    heights[known, codes[known]] = one.attribution[known]
    return heights


def _mark_stretches(axes: Axes, one: Explanation, start: int) -> None:
    """Shade the important stretches, with the motif that comes first."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))
    for row, stretch in enumerate(sorted(one.stretches)):
        axes.axvspan(start + stretch.start + 0.5, start + stretch.end + 0.5, color=LIGHT, zorder=0)
        name = stretch.matches[0].motif if stretch.matches else ""
        at = start + (stretch.start + stretch.end) / 2 + 0.5
        axes.text(
            at,
            high + (0.26, 0.14)[row % 2] * (high - low),
            name,
            fontsize=8,
            ha="center",
            va="top",
            color=INK,
            parse_math=False,
        )


def _heat_map(figure: Figure, axes: Axes, one: Explanation, start: int) -> None:
    """Draw the change of the output with each base at each position."""
    effects = one.effects.T  # [4, L]
    high = float(np.nanmax(np.abs(effects), initial=0.0)) or 1.0
    box = (start + 0.5, start + len(one.sequence) + 0.5, 3.5, -0.5)
    image = axes.imshow(
        effects,
        cmap="RdBu_r",
        norm=TwoSlopeNorm(0, -high, high),
        extent=box,
        aspect="auto",
        interpolation="none",
    )
    axes.set_yticks(range(len(BASES)), list(BASES))
    axes.set_ylabel("changed to")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=10)
    bar.set_label("change of\nthe output", fontsize=9)


def _named(matches: Sequence[Match]) -> str:
    if not matches:
        return ""
    return ": like " + ", ".join(f"{each.motif} (p = {each.p_value:.1g})" for each in matches[:3])
