"""Figures of predictions: tracks, their density and error, and attention; each function returns a figure.

Shapes used below
    L  bases in a window             K  ranges of bases
    A  atoms
"""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import MaxNLocator

from dnalm.errors import InputError
from dnalm.formats.binding import parse_name
from dnalm.report.figures import ABOVE, INK, VERMILION, legend_below, new_figure, styles
from dnalm.results.binding import BindingDetail, Density

SHADES = LinearSegmentedColormap.from_list("attention", ["#FBF3EE", VERMILION])
"""From no attention to the most; letters are readable on all of them."""
DRAWING_SIZE = (1200, 640)
"""Pixels of a molecule's drawing."""
CAUTION = "Attention is not an explanation: what is attended to need not be what decides."

Fractions = Sequence[float] | npt.NDArray[np.float64]


def tracks(details: Mapping[str, BindingDetail], everyone: Sequence[str] | None = None) -> Figure:
    """Draw windows one below the other: the truth as a filled area, each model as a line.

    The windows are those of the first model; of the others, predictions for the same windows are drawn.
    """
    windows = next(iter(details.values())).tracks
    height = 1.1 + 1.5 * len(windows)
    figure, panels = new_figure("Predicted and true tracks", 9.6, height, rows=len(windows))
    low, high = 0.0, 0.0
    for axes, window in zip(panels, windows, strict=True):
        bases = range(1, len(window.truth) + 1)
        axes.fill_between(bases, window.truth, color="#C9CED3", step="mid", linewidth=0, label="truth")
        for name, style in styles(list(details), everyone).items():
            for track in details[name].tracks:
                if (track.window, track.truth) == (window.window, window.truth):
                    axes.plot(bases, track.predicted, label=name, linewidth=1.3, **style)
                    low, high = min(low, np.nanmin(track.predicted)), max(high, np.nanmax(track.predicted))
        low, high = min(low, np.nanmin(window.truth)), max(high, np.nanmax(window.truth))
        axes.set_title(genome_position(window.window), loc="left", fontsize=10, color=INK)
        axes.set_xlim(0.5, len(bases) + 0.5)
        axes.tick_params(labelbottom=axes is panels[-1])
    margin = 0.06 * (high - low) or 1.0
    for axes in panels:
        axes.set_ylim(low - margin, high + margin)  # one scale, so that heights compare
    panels[-1].set_xlabel("base of the window, from its left")
    figure.supylabel("score", fontsize=11, color=INK)
    legend_below(figure, panels[0])
    return figure


def density(densities: Mapping[str, Density]) -> Figure:
    """Draw how many bases have a true and a predicted score, one panel a model, on one scale of colours."""
    across = min(3, math.ceil(math.sqrt(len(densities))))
    down = math.ceil(len(densities) / across)
    size = 1.3 + 3.3 * across, 0.8 + 3.2 * down
    figure, panels = new_figure("Predicted against true", *size, panels=across, rows=down)
    low = min(one.edges[0] for one in densities.values())
    high = max(one.edges[-1] for one in densities.values())
    scale = LogNorm(1, max(10.0, *(float(np.nanmax(one.counts)) for one in densities.values())))
    for axes, (name, one) in zip(panels, densities.items(), strict=False):
        shown = np.ma.masked_less(np.asarray(one.counts).T, 1)  # [predicted, truth]; no base, no colour
        mesh = axes.pcolormesh(one.edges, one.edges, shown, norm=scale, cmap="viridis_r", rasterized=True)
        axes.plot([low, high], [low, high], color=INK, linewidth=1, linestyle="--")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel="true score")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=6, integer=high - low > 6))
        axes.set_title(name, fontsize=11, color=INK)
    for axes in panels[::across]:
        axes.set_ylabel("predicted score")
    for axes in panels[len(densities) :]:
        axes.set_visible(False)
    figure.colorbar(mesh, ax=panels, shrink=0.8, pad=0.02).set_label("bases", fontsize=11, color=INK)
    return figure


def error_by_position(errors: Mapping[str, Sequence[float]], everyone: Sequence[str] | None = None) -> Figure:
    """Draw the root mean squared error at each base of the window, [L], in units of the score."""
    figure, (axes,) = new_figure("Error by position in the window", 8.4, 4.2)
    for name, style in styles(list(errors), everyone).items():
        axes.plot(range(1, len(errors[name]) + 1), errors[name], label=name, linewidth=1.4, **style)
    axes.set(xlabel="base of the window, from its left", ylabel="root mean squared error (score)")
    axes.set_xlim(0.5, max(map(len, errors.values())) + 0.5)
    axes.set_ylim(bottom=0)
    axes.legend(**ABOVE, ncols=5)
    return figure


def genome_position(name: str) -> str:
    """Return the position of a window counted from 1, as in chr22:301-600; another name stays as it is."""
    try:
        contig, start, end = parse_name(name)
    except InputError:
        return name
    return f"{contig}:{start + 1}-{end}"


def atom_colors(weights: Fractions) -> list[tuple[float, float, float]]:
    """Return red, green and blue of each atom, from 0 to 1, [A]: the more attention the darker."""
    shades = SHADES(_scale(weights)(100 * np.asarray(weights)))
    return [(red, green, blue) for red, green, blue, _ in shades.tolist()]


def attention_picture(
    ranges: Sequence[tuple[int, int]],
    weights: Fractions,
    length: int,
    atoms: Fractions,
    drawing: bytes,
    title: str,
) -> Figure:
    """Draw the attention of a pair along its gene (above) and on the atoms of its molecule (below).

    Args:
        ranges: 0-based half-open bases, [K], in order; each is drawn to where the next one begins.
        weights: fraction of the attention on the gene, of each range, [K].
        length: of the gene in bases.
        atoms: fraction of the attention on the molecule, of each atom, [A].
        drawing: the molecule as PNG, its atoms in `atom_colors`, `DRAWING_SIZE` pixels.
        title: above the figure.
    """
    figure, (track, molecule) = new_figure(title, 8.8, 6.8, rows=2, heights=[1.0, 2.2])
    _attention_track(track, ranges, weights, length)
    molecule.imshow(imread(BytesIO(drawing)), interpolation="antialiased")
    molecule.set_axis_off()
    bar = figure.colorbar(ScalarMappable(_scale(atoms), SHADES), ax=molecule, shrink=0.8, pad=0.02)
    bar.set_label("attention on the molecule (%)", fontsize=9.5)
    bar.ax.axhline(100 / len(atoms), color=INK, linestyle="--", linewidth=1.4)
    bar.ax.tick_params(labelsize=9.5, colors=INK)
    figure.supxlabel(CAUTION, fontsize=9.5, color=INK, x=0.01, ha="left")
    return figure


def _attention_track(axes: Axes, ranges: Sequence[tuple[int, int]], weights: Fractions, length: int) -> None:
    """Draw the weight of each range as a step, and a line at that of uniform attention."""
    edges: list[float] = [ranges[0][0]]
    heights: list[float] = []
    following = [*(begin for begin, _ in ranges[1:]), ranges[-1][1]]
    for (begin, end), after, weight in zip(ranges, following, weights, strict=True):
        if begin > edges[-1]:  # bases that are not read have no step
            edges.append(begin)
            heights.append(math.nan)
        edges.append(min(end, after))
        heights.append(100 * weight)
    axes.stairs(heights, edges, fill=True, color=VERMILION, alpha=0.8, linewidth=0)
    axes.axhline(100 / len(ranges), color=INK, linestyle="--", linewidth=1.2, label="uniform attention")
    last = max(end for _, end in ranges)
    rest = f"; read up to {last:,} of {length:,}" if last < length else ""
    axes.tick_params(labelsize=9.5)
    axes.set_xlabel(f"base of the gene, counted from 0{rest}", fontsize=10)
    axes.set_ylabel("attention on the gene (%)", fontsize=9.5)
    axes.set(xlim=(0, last), ylim=(0, None))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, steps=[1, 2, 5, 10]))
    axes.legend(**ABOVE)


def _scale(weights: Fractions) -> Normalize:
    """Return the scale of colours: percent from 0 to the largest weight."""
    return Normalize(0.0, 100 * max(weights))
