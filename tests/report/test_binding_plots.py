"""Tests for dnalm/report/binding_plots.py."""

import math

import numpy as np
import pytest
from matplotlib.image import imread

from dnalm.report import binding_plots as plots
from dnalm.report import plots as shared

HISTORY = {
    "epoch": [0, 1, 2, 3],
    "train_loss": [None, 0.9, 0.5, 0.3],
    "val_loss": [2.0, 1.0, 0.6, 0.7],
    "pearson_r": [None, 0.5, 0.8, 0.79],
}
WINDOWS = [
    {"window": "chr22_300_599", "truth": [0.0, 7.0, 7.0, 0.0], "predicted": {"a": [0.1, 6.0, 6.5, 0.2]}},
    {
        "window": "my peak",
        "truth": [0.0, 0.0, 9.0, 9.0],
        "predicted": {"a": [0.0, 1.0, 8.0, 9.5], "b": [1.0, None, 1.0, 1.0]},
    },
]
DENSITY = {"edges": [0.0, 5.0, 10.0], "counts": [[100, 3], [0, 20]]}


def scores(value, low=None, high=None, batches=None):
    return {"pearson_r": {"value": value, "low": low, "high": high}, "pearson_r_batches": batches}


PANELS = {
    "Test part": {"cnn": scores(0.98, 0.97, 0.99, 0.981), "vocab4": scores(0.9, 0.88, 0.91, 0.9)},
    "Validation part": {"vocab4": scores(0.4, 0.3, 0.5, 0.41), "mean score": scores(None)},
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been saved."""
    figures = []
    for module in (plots, shared):
        monkeypatch.setattr(module, "save", lambda figure, path: figures.append(figure))
    return figures


def lines(axes):
    return {line.get_label(): [*line.get_ydata()] for line in axes.lines}


ARGUMENTS = {
    "training_curves": HISTORY,
    "performance_comparison": PANELS,
    "tracks": WINDOWS,
    "density": {"a": DENSITY, "b": DENSITY},
    "error_by_position": {"a": [0.5, 0.4, 0.9], "b": [1.0, 1.0, None]},
}


@pytest.mark.parametrize("name", plots.PLOTS)
def test_every_plot_is_a_png_with_something_on_it_the_same_from_any_thread(name, drawn_alike):
    drawn_alike(lambda path: plots.PLOTS[name](ARGUMENTS[name], path, title="A title"))


def test_training_curves_draw_what_they_were_given(drawn, tmp_path):
    plots.training_curves(HISTORY, tmp_path / "x.png", "t")
    left, right = drawn[0].axes
    assert lines(left)["validation"] == HISTORY["val_loss"]
    assert lines(left)["training"][1:] == HISTORY["train_loss"][1:]
    assert math.isnan(lines(left)["training"][0])
    assert lines(right)["validation"][1:] == HISTORY["pearson_r"][1:]
    for axes in (left, right):  # 0.6 is the lowest validation loss
        assert axes.lines[-1].get_label() == "best epoch (2)"
        assert list(axes.lines[-1].get_xdata()) == [2, 2]
        assert all(tick == int(tick) for tick in axes.get_xticks())


def test_best_epoch_is_the_one_that_was_kept(drawn, tmp_path):
    plots.training_curves(HISTORY, tmp_path / "x.png", "t", best_epoch=3)
    assert drawn[0].axes[0].lines[-1].get_label() == "best epoch (3)"


def test_one_epoch_is_enough(tmp_path):
    one = {name: values[1:2] for name, values in HISTORY.items()}
    plots.training_curves(one, tmp_path / "x.png", "t")
    assert imread(tmp_path / "x.png").shape[1] >= 1200


@pytest.mark.parametrize(
    "history",
    [HISTORY | {"val_loss": [1.0]}, dict.fromkeys(HISTORY, [])],
    ids=["values missing", "nothing"],
)
def test_training_curves_refuse_lists_that_do_not_match(history, tmp_path):
    with pytest.raises(ValueError, match="one value of each curve at every epoch"):
        plots.training_curves(history, tmp_path / "x.png", "t")
    assert not list(tmp_path.iterdir())


def test_performance_is_dots_at_r_with_their_interval_and_figures(drawn, tmp_path):
    plots.performance_comparison(PANELS, tmp_path / "x.png")
    top, bottom = drawn[0].axes
    assert [label.get_text() for label in top.get_yticklabels()] == ["cnn", "vocab4"]
    at = {line.get_marker(): [] for line in top.lines}
    for line in top.lines:
        at[line.get_marker()] += list(line.get_xdata())
    assert at["o"] == [0.98, 0.9]
    assert at["|"] == [0.97, 0.99, 0.88, 0.91]
    bars = [segment[:, 0].tolist() for bar in top.collections for segment in bar.get_segments()]
    assert bars == [[0.97, 0.99], [0.88, 0.91]]
    assert [x for x in at["D"] if not isinstance(x, list)][:2] == [0.981, 0.9]
    assert [text.get_text() for text in top.texts] == [
        "0.9800  (0.9700 to 0.9900)",
        "0.9000  (0.8800 to 0.9100)",
    ]
    assert top.get_ylim()[0] > top.get_ylim()[1]  # the first on top
    assert [text.get_text() for text in bottom.texts][1] == "undefined"
    assert [line.get_xdata()[0] for line in bottom.lines if line.get_marker() == "o"][0] == 0.4
    assert all(math.isnan(line.get_xdata()[0]) for line in bottom.lines if list(line.get_ydata()) == [1])


def test_axis_of_r_says_when_it_is_zoomed_and_never_zooms_far(drawn, tmp_path):
    near = {"a": scores(0.9853, 0.9852, 0.9854), "b": scores(0.9854, 0.9853, 0.9855)}
    plots.performance_comparison({"far": {"a": scores(0.2), "b": scores(0.98)}, "near": near}, tmp_path / "x")
    far, zoomed = drawn[0].axes
    assert far.get_xlim()[0] == 0
    assert far.get_xlabel() == "Pearson R"
    assert "does not begin at 0" in zoomed.get_xlabel()
    assert zoomed.get_xlim()[1] - zoomed.get_xlim()[0] >= plots.LEAST_SPAN - 1e-12  # rounding


def test_negative_r_is_on_the_axis(drawn, tmp_path):
    plots.performance_comparison({"": {"a": scores(-0.1, -0.2, 0.0), "b": scores(0.3)}}, tmp_path / "x.png")
    left, right = drawn[0].axes[0].get_xlim()
    assert left < -0.2
    assert right > 0.3


def test_tracks_show_truth_as_area_and_place_as_people_write_it(drawn, tmp_path):
    plots.tracks(WINDOWS, tmp_path / "x.png")
    first, second = drawn[0].axes
    assert first.get_title("left") == "chr22:301-600"  # 0-based inclusive in the name, 1-based here
    assert second.get_title("left") == "my peak"
    assert lines(first) == {"a": WINDOWS[0]["predicted"]["a"]}
    assert set(lines(second)) == {"a", "b"}
    assert list(first.lines[0].get_xdata()) == [1, 2, 3, 4]
    area = second.collections[0].get_paths()[0].vertices
    assert area[:, 1].max() == 9.0
    assert first.get_ylim() == second.get_ylim()  # heights compare
    assert first.get_ylim()[1] > 9.5


def test_density_has_truth_to_the_right_and_prediction_upwards(drawn, tmp_path):
    plots.density({"a": DENSITY}, tmp_path / "x.png")
    mesh = drawn[0].axes[0].collections[0]
    shown = np.ma.asarray(mesh.get_array()).reshape(2, 2)  # [predicted, truth]
    assert shown[1, 0] == 3  # a true score near 0, a predicted one near 10
    assert shown[0, 1] is np.ma.masked  # no base there: no colour
    assert list(drawn[0].axes[0].lines[0].get_xdata()) == list(drawn[0].axes[0].lines[0].get_ydata())


def test_error_begins_at_zero(drawn, tmp_path):
    plots.error_by_position({"a": [0.5, 0.4], "b": [1.0, 0.9]}, tmp_path / "x.png")
    (axes,) = drawn[0].axes
    assert lines(axes) == {"a": [0.5, 0.4], "b": [1.0, 0.9]}
    assert axes.get_ylim()[0] == 0


def test_a_model_has_one_colour_whatever_is_drawn_beside_it(drawn, tmp_path):
    everyone = ["baseline", "lora", "vocab4"]
    plots.error_by_position({"lora": [1.0], "vocab4": [1.0]}, tmp_path / "x.png", everyone=everyone)
    plots.performance_comparison(
        {"": {"lora": scores(0.9), "motif scan": scores(0.8)}}, tmp_path / "x.png", everyone=everyone
    )
    line, dots = drawn[0].axes[0].lines[0], [d for d in drawn[1].axes[0].lines if d.get_marker() == "o"]
    assert dots[0].get_color() == line.get_color()
    assert dots[1].get_color() == plots.GREY


def test_twenty_models_look_different():
    styles = plots.styles([f"m{i}" for i in range(20)], None)
    assert len({(style["color"], style["linestyle"]) for style in styles.values()}) == 20


@pytest.mark.parametrize("name", ["tracks", "density", "error_by_position"])
def test_nothing_to_draw_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="expected .*, got none"):
        plots.PLOTS[name]([] if name == "tracks" else {}, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
