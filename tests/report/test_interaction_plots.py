"""Tests for dnalm/report/interaction_plots.py."""

import math

import pytest

from dnalm.bootstrap import Estimate
from dnalm.report import interaction_plots as plots
from dnalm.report import plots as shared
from dnalm.report.interaction_plots import Panel

NAN = float("nan")
PANELS = [
    Panel(
        "Test part", {"original": Estimate(0.7, 0.69, 0.71), "node rate": Estimate(0.58, 0.57, 0.59)}, 0.58
    ),
    Panel("Validation part", {"original": Estimate(NAN, NAN, NAN), "kmer": Estimate(0.45, NAN, NAN)}, NAN),
]
BINS = {
    "edges": [0.0, 0.25, 0.5, 0.75, 1.0],
    "predicted": [0.2, 0.4, None, 0.9],
    "observed": [0.1, 0.45, None, 0.8],
    "count": [300, 500, 0, 200],
}
HISTORY = {
    "epoch": [0, 1, 2],
    "train_loss": [None, 0.6, 0.5],
    "val_bce": [0.7, 0.65, 0.66],
    "val_auroc": [0.5, 0.6, 0.65],
}
ARGUMENTS = {
    "auroc_intervals": PANELS,
    "reliability": {"a": BINS},
    "training_curves": HISTORY,
    "probabilities": [0.1, 0.55, 0.58, 0.999, 1.0],
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been saved."""
    figures = []
    for module in (plots, shared):
        monkeypatch.setattr(module, "save", lambda figure, path: figures.append(figure))
    return figures


@pytest.mark.parametrize("name", plots.PLOTS)
def test_every_plot_is_a_png_with_something_on_it_the_same_from_any_thread(name, drawn_alike):
    drawn_alike(lambda path: plots.PLOTS[name](ARGUMENTS[name], path, title="A title"))


def marked(axes, marker):
    return [x for line in axes.lines if line.get_marker() == marker for x in line.get_xdata()]


def upright(axes):
    """Where the vertical lines stand."""
    return [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]


def test_auroc_is_dots_with_intervals_beside_chance_and_node_rate(drawn, tmp_path):
    plots.auroc_intervals(PANELS, tmp_path / "x.png", models=["original", "kmer"])
    top, bottom = drawn[0].axes
    assert [label.get_text() for label in top.get_yticklabels()] == ["original", "node rate"]
    assert marked(top, "o")[:2] == [0.7, 0.58]
    assert marked(top, "|") == [0.69, 0.71, 0.57, 0.59]
    assert upright(top) == [0.5, 0.58]
    assert [text.get_text() for text in top.texts] == [
        "0.7000  (0.6900 to 0.7100)",
        "0.5800  (0.5700 to 0.5900)",
    ]
    assert [text.get_text() for text in bottom.texts] == ["undefined", "0.4500"]
    assert top.get_ylim()[0] > top.get_ylim()[1]  # the first on top
    assert top.get_xlim() == bottom.get_xlim()  # lengths compare
    assert 0.4 < top.get_xlim()[0] < 0.45
    assert top.get_xlim()[1] > 0.71


def test_models_have_their_colours_and_rungs_are_grey(drawn, tmp_path):
    plots.auroc_intervals(PANELS, tmp_path / "x.png", models=["original", "kmer"])
    plots.reliability({"original": BINS}, tmp_path / "x.png", everyone=["original", "kmer"])
    model, rung = [line.get_color() for line in drawn[0].axes[0].lines if line.get_marker() == "o"][:2]
    assert rung == plots.GREY
    assert model == drawn[1].axes[0].lines[1].get_color() != rung


def test_reliability_leaves_almost_empty_bins_out_and_shows_how_many_pairs(drawn, tmp_path):
    plots.reliability({"a": BINS}, tmp_path / "x.png")
    left, right = drawn[0].axes
    perfect, line = left.lines
    assert list(perfect.get_xdata()) == list(perfect.get_ydata())
    assert list(line.get_xdata()) == [0.2, 0.4, 0.9]
    assert list(line.get_ydata()) == [0.1, 0.45, 0.8]
    assert list(right.patches[0].get_data().values) == [30.0, 50.0, 0.0, 20.0]
    assert left.get_xlim() == left.get_ylim()
    plots.reliability(
        {"a": BINS | {"count": [plots.LEAST_PAIRS, plots.LEAST_PAIRS - 1, 0, 200]}}, tmp_path / "x"
    )
    assert list(drawn[1].axes[0].lines[1].get_xdata()) == [0.2, 0.9]


def test_training_curves_draw_what_they_were_given(drawn, tmp_path):
    plots.training_curves(HISTORY, tmp_path / "x.png", "t", best_epoch=2, node_rate=0.58)
    left, right = ({line.get_label(): [*line.get_ydata()] for line in axes.lines} for axes in drawn[0].axes)
    assert left["validation"] == HISTORY["val_bce"]
    assert math.isnan(left["training"][0])
    assert left["training"][1:] == HISTORY["train_loss"][1:]
    assert right["_validation"] == HISTORY["val_auroc"]
    assert right["node rate (0.5800)"] == [0.58, 0.58]
    for axes in drawn[0].axes:
        assert axes.lines[-1].get_label() == "best epoch (2)"
        assert list(axes.lines[-1].get_xdata()) == [2, 2]


def test_noise_does_not_look_like_a_change(drawn, tmp_path):
    flat = HISTORY | {"train_loss": [0.693] * 3, "val_bce": [0.6931] * 3, "val_auroc": [0.5, 0.501, 0.5]}
    plots.training_curves(flat, tmp_path / "x.png", "t", node_rate=0.502)
    heights = [high - low for low, high in (axes.get_ylim() for axes in drawn[0].axes)]
    assert heights == pytest.approx([0.05, 0.1])


@pytest.mark.parametrize(
    "history", [HISTORY | {"val_auroc": [1.0]}, dict.fromkeys(HISTORY, [])], ids=["values missing", "nothing"]
)
def test_training_curves_refuse_lists_that_do_not_match(history, tmp_path):
    with pytest.raises(ValueError, match="one value of each curve at every epoch"):
        plots.training_curves(history, tmp_path / "x.png", "t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("plot", "nothing"), [(plots.auroc_intervals, []), (plots.reliability, {})])
def test_nothing_to_draw_is_refused(plot, nothing, tmp_path):
    with pytest.raises(ValueError, match="expected .*, got none"):
        plot(nothing, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_twenty_models_look_different():
    styles = plots.styles([f"m{i}" for i in range(20)], None)
    assert len({(style["color"], style["linestyle"]) for style in styles.values()}) == 20


def test_a_probability_is_counted_where_it_belongs(drawn, tmp_path):
    plots.probabilities([0.0, 0.05, 0.05, 1.0], tmp_path / "x.png", prevalence=0.25)
    plots.probabilities([0.5], tmp_path / "x.png")
    axes, alone = (figure.axes[0] for figure in drawn)
    counts, edges, _ = axes.patches[0].get_data()
    assert counts[0] == 1
    assert counts[2] == 2  # of 0.04 to 0.06
    assert counts[-1] == 1
    assert counts.sum() == 4
    assert edges[2] == pytest.approx(0.04)
    assert upright(axes) == [0.25]
    assert alone.get_legend() is None
    with pytest.raises(ValueError, match="expected the probability of at least one pair"):
        plots.probabilities([], tmp_path / "x.png")
