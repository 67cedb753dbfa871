"""Tests for dnalm/report/attention_plots.py."""

import io
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from matplotlib.image import imread, imsave

from dnalm.report import attention_plots as plots
from dnalm.report.attention_plots import CAUTION, atom_colors, attention_picture

RANGES = [(2, 6), (6, 10), (14, 20)]  # 10 to 14 is not read
SHARES = [0.5, 0.2, 0.3]
ATOMS = [0.6, 0.1, 0.0, 0.3]


@pytest.fixture(scope="module")
def drawing():
    """A picture to stand for a molecule."""
    file = io.BytesIO()
    imsave(file, np.random.default_rng(0).random((40, 60, 3)), format="png")
    return file.getvalue()


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been saved."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    return figures


def test_it_is_a_png_with_something_on_it_the_same_from_any_thread(drawing, tmp_path):
    paths = [tmp_path / "a new folder" / f"{i}.png" for i in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(
            threads.map(lambda p: attention_picture(RANGES, SHARES, 30, ATOMS, drawing, p, "A $title"), paths)
        )
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert imread(paths[0])[..., :3].std() > 0.05
    assert sorted(paths[0].parent.iterdir()) == paths


def test_each_range_is_a_step_and_what_is_not_read_is_empty(drawn, drawing, tmp_path):
    attention_picture(RANGES, SHARES, 30, ATOMS, drawing, tmp_path / "x.png", "T")
    track, molecule, bar = drawn[0].axes
    values, edges, _ = track.patches[0].get_data()
    assert list(edges) == [2, 6, 10, 14, 20]
    np.testing.assert_allclose(values, [50, 20, math.nan, 30])
    assert "read up to 20 of 30" in track.get_xlabel()
    assert track.lines[0].get_ydata()[0] == pytest.approx(100 / 3)  # all attended to alike
    assert bar.lines[-1].get_ydata()[0] == pytest.approx(100 / 4)
    assert bar.get_ylim() == pytest.approx((0, 60))
    assert molecule.images[0].get_array().shape[:2] == (40, 60)
    assert CAUTION in [text.get_text() for text in drawn[0].texts]


def test_of_ranges_that_overlap_each_is_drawn_to_the_next(drawn, drawing, tmp_path):
    ranges = [(at, at + 4) for at in range(6)]
    attention_picture(ranges, [1 / 6] * 6, 9, ATOMS, drawing, tmp_path / "x.png", "T")
    values, edges, _ = drawn[0].axes[0].patches[0].get_data()
    assert list(edges) == [0, 1, 2, 3, 4, 5, 9]
    np.testing.assert_allclose(values, 100 / 6)
    assert "read up to" not in drawn[0].axes[0].get_xlabel()


def test_many_ranges_have_no_outline_that_hides_them(drawn, drawing, tmp_path):
    for count in (plots.FEW, plots.FEW + 1):
        ranges = [(at, at + 1) for at in range(count)]
        attention_picture(ranges, [1 / count] * count, count, ATOMS, drawing, tmp_path / "x.png", "T")
    assert [len(figure.axes[0].patches) for figure in drawn] == [2, 1]


def test_the_larger_the_share_the_darker_the_atom():
    light = [sum(color) for color in atom_colors(ATOMS)]
    assert np.argsort(light).tolist() == [0, 3, 1, 2]
    assert atom_colors(ATOMS)[0] == pytest.approx(atom_colors([1.0])[0])  # the largest is always darkest
    assert atom_colors(ATOMS)[2] != pytest.approx((1, 1, 1))  # it is seen that it is looked at


@pytest.mark.parametrize(
    ("ranges", "shares", "atoms"), [([], [], ATOMS), (RANGES, [1.0], ATOMS), (RANGES, SHARES, [])]
)
def test_nothing_to_draw_is_refused(drawing, tmp_path, ranges, shares, atoms):
    with pytest.raises(ValueError, match="expected the share of each range and each atom"):
        attention_picture(ranges, shares, 30, atoms, drawing, tmp_path / "x.png", "T")
    assert not list(tmp_path.iterdir())
