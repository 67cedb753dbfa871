"""The picture of where a model looks: a track along the gene above, the molecule with shaded atoms below.

Shapes used below
    K  ranges of bases               A  atoms
"""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import MaxNLocator

from dnalm.errors import InputError
from dnalm.report.plots import ABOVE, INK, VERMILION, save

SHADES = LinearSegmentedColormap.from_list("attention", ["#FBF3EE", VERMILION])
"""From no attention to the most; letters are readable on all of them."""
WIDTH, HEIGHT, DRAWN = 8.8, 6.8, (1200, 640)
"""Of the picture in inches, and of the molecule's drawing in pixels."""
FEW = 150
"""Ranges whose steps have an outline: more than these are narrower than the line."""
CAUTION = "Attention is not an explanation: what is attended to need not be what decides."
"""Stands on every picture."""

Shares = Sequence[float] | npt.NDArray[np.float64]


def atom_colors(shares: Shares) -> list[tuple[float, float, float]]:
    """Return the colour of each atom, red, green and blue from 0 to 1, [A]: the larger its share the darker.

    Args:
        shares: of the attention that falls on the molecule, [A].
    """
    percent = 100 * np.asarray(shares)
    return [(red, green, blue) for red, green, blue, _ in SHADES(_scale(shares)(percent)).tolist()]


def attention_picture(
    ranges: Sequence[tuple[int, int]],
    shares: Shares,
    length: int,
    atoms: Shares,
    drawing: bytes,
    path: Path,
    title: str,
) -> None:
    """Draw the attention of a pair along its gene and on the atoms of its molecule.

    Args:
        ranges: begin and end of bases, 0-based half-open, [K], in order. Of ranges that overlap each is drawn
            to where the next one begins.
        shares: of the attention that falls on the gene, of each range, [K].
        length: of the gene in bases.
        atoms: shares of the attention that falls on the molecule, of each atom, [A].
        drawing: the molecule as PNG, its atoms in `atom_colors`, `DRAWN` in size.
        path: the PNG to write.
        title: over the picture.

    Raises:
        InputError: if there is no range or no atom, or not one share a range.
    """
    if not len(ranges) or not len(atoms) or len(ranges) != len(shares):
        raise InputError(
            f"{title}: expected the share of each range and each atom, got {len(ranges)} ranges, "
            f"{len(shares)} shares of them, {len(atoms)} atoms"
        )
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    figure.suptitle(title, fontsize=13, color=INK, x=0.01, ha="left", parse_math=False)
    track, molecule = figure.subplots(2, 1, height_ratios=[1.0, 2.2])
    _track(track, ranges, shares, length)
    molecule.imshow(imread(BytesIO(drawing)), interpolation="antialiased")
    molecule.set_axis_off()
    bar = figure.colorbar(ScalarMappable(_scale(atoms), SHADES), ax=molecule, shrink=0.8, pad=0.02)
    bar.set_label("share of the attention on the molecule (%)", fontsize=9.5)
    bar.ax.axhline(100 / len(atoms), color=INK, linestyle="--", linewidth=1.4)
    bar.ax.tick_params(labelsize=9.5, colors=INK)
    figure.supxlabel(CAUTION, fontsize=9.5, color=INK, x=0.01, ha="left")
    save(figure, path)


def _track(axes: Axes, ranges: Sequence[tuple[int, int]], shares: Shares, length: int) -> None:
    """Draw the share of each range as a step, and what it would be were all attended to alike."""
    edges: list[float] = [ranges[0][0]]
    heights: list[float] = []
    nexts = [*(begin for begin, _ in ranges[1:]), ranges[-1][1]]
    for (begin, end), following, share in zip(ranges, nexts, shares, strict=True):
        if begin > edges[-1]:  # what is not read has no step
            edges.append(begin)
            heights.append(math.nan)
        edges.append(min(end, following))
        heights.append(100 * share)
    few = len(ranges) <= FEW
    axes.stairs(heights, edges, fill=True, color=VERMILION, alpha=0.3 if few else 0.8, linewidth=0)
    if few:
        axes.stairs(heights, edges, color=VERMILION, linewidth=1.4)
    even = "were all attended to alike"
    axes.axhline(100 / len(ranges), color=INK, linestyle="--", linewidth=1.2, label=even)
    last = max(end for _, end in ranges)
    rest = f"; read up to {last:,} of {length:,}" if last < length else ""
    axes.set_xlabel(f"base of the gene, counted from 0{rest}", fontsize=10)
    axes.set_ylabel("share of the attention\non the gene (%)", fontsize=9.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9.5, colors=INK)
    axes.set_xlim(0, last)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, steps=[1, 2, 5, 10]))
    axes.legend(**ABOVE)


def _scale(shares: Shares) -> Normalize:
    """Return the scale of colours: percent from 0 to the largest share."""
    return Normalize(0.0, 100 * max(shares))
