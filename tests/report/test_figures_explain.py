"""Tests for the figures of explanations: letters as high as they should be, and pictures that are written."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from dnalm.report.figures_explain import (
    dependency_figure,
    explanation_figure,
    information,
    logo,
    save_pictures,
)
from dnalm.results.use import Explanation, Match, Stretch

NAN = float("nan")


def explanation(text, **more):
    draws = np.random.default_rng(0)
    length = len(text)
    effects = draws.normal(size=(length, 4)).astype(np.float32)
    attribution = -effects.mean(1)
    match = Match("FOX$1_x", 1e-9, 1e-6, "+", 7)
    stretches = [Stretch(0, min(6, length), 2.0, [match])]
    how = {"sequence": text, "method": "mutagenesis", "output": 1.0, "reference": 0.0, "strands": 0.9}
    how |= {"delta": NAN, "effects": effects, "attribution": attribution, "stretches": stretches}
    return Explanation(**how | more)


def test_a_letter_is_as_high_as_its_value():
    heights = np.array([[1.0, 0, 0, 0], [0, 0.5, 0.25, 0], [0, 0, 0, -0.5], [np.nan] * 4], dtype=np.float32)
    axes = Figure().subplots()
    logo(axes, heights, start=10)
    boxes = [path.get_extents() for path in axes.collections[0].get_paths()]
    found = [(round((b.x0 + b.x1) / 2, 6), round(b.y0, 6), round(b.y1, 6)) for b in boxes]
    assert found == [(11, 0, 1), (12, 0, 0.25), (12, 0.25, 0.75), (13, -0.5, 0)]


def test_information_is_two_bits_for_a_certain_base_and_none_for_four_alike():
    found = information(np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(found.sum(1), [2, 0, 1], atol=1e-5)
    np.testing.assert_allclose(found[2], [0.5, 0.5, 0, 0], atol=1e-5)


@pytest.mark.parametrize("text", ["ACGTNACGTTGCA", "A", "NN"])
def test_every_explanation_is_drawn(text):
    length = len(text)
    track = np.ones(length, dtype=np.float32)
    map_ = np.full((length, length), np.nan, dtype=np.float32)
    language = explanation(text, probabilities=np.full((length, 4), 0.25, np.float32), dependencies=map_)
    some = [explanation(text, track=track), explanation(text, method="deeplift", delta=1e-7, stretches=[])]
    for one in [*some, language]:
        assert len(explanation_figure(one, "$x_1", 100_000).axes) in (4, 5)  # panels, and a bar of colours
    assert len(dependency_figure(language, "map").axes) == 3


def test_pictures_are_png_and_svg_with_the_same_bytes_each_time(tmp_path):
    for name in ("one", "two"):
        save_pictures(lambda: explanation_figure(explanation("ACGNT"), "$x_1"), tmp_path / name)
    for end, begin in (("png", b"PNG"), ("svg", b"<svg")):
        content = (tmp_path / f"one.{end}").read_bytes()
        assert begin in content
        assert content == (tmp_path / f"two.{end}").read_bytes()
