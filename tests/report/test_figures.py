"""Tests for dnalm/report/figures*.py: a figure shows the numbers that it was given."""

import io
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import rc_context, rcParams
from matplotlib.image import imread

from dnalm.bootstrap import Estimate
from dnalm.report import figures as training
from dnalm.report import figures_predictions as predictions
from dnalm.report import figures_scores as scores
from dnalm.report.figures_scores import Panel
from dnalm.results import decode
from dnalm.results.binding import BindingDetail, Density, Track
from dnalm.results.language import LanguageMetrics
from dnalm.results.pairs import CountBin, Reliability
from dnalm.results.schema import Training
from tests.report.invented import make_run

NAN = math.nan
BINDING = {"epoch": [0.0, 1.0, 2.0], "train_loss": [NAN, 0.9, 0.5], "val_loss": [2.0, 0.6, 0.7]}
BINDING |= {"pearson_r": [NAN, 0.8, 0.79]}
PAIRS = {"epoch": [0.0, 1.0], "train_loss": [NAN, 0.6], "val_bce": [0.7, 0.65], "val_auroc": [0.5, 0.6]}
R = Panel("Test part", {"cnn": Estimate(0.98, 0.97, 0.99), "gpt": Estimate(0.9, 0.88, 0.91)}, {"cnn": 0.981})
RATE = Estimate(0.58, 0.57, 0.59)
AUROC = Panel("Test", {"a": Estimate(0.7, 0.69, 0.71), "node rate": RATE}, node_rate=0.58)
UNKNOWN = Panel("Validation", {"a": Estimate(NAN, NAN, NAN), "b": Estimate(0.45, NAN, NAN)})
DENSITY = Density([0.0, 5.0, 10.0], [[100.0, 3.0], [0.0, 20.0]])
NAMED = ("chr22_300_599", [0.0, 7.0, 7.0, 0.0]), ("my peak", [0.0, 0.0, 9.0, 9.0])
TRACKS = {"a": [[0.1, 6.0, 6.5, 0.2], [0.0, 1.0, 8.0, 9.5]], "b": [[1.0] * 4, [1.0, NAN, 1.0, 1.0]]}
DETAILS = {
    name: BindingDetail([Track(*one, each) for one, each in zip(NAMED, rows, strict=True)], DENSITY, [])
    for name, rows in TRACKS.items()
}
EDGES, PREDICTED, OBSERVED = [0.0, 0.25, 0.5, 0.75, 1.0], [0.2, 0.4, NAN, 0.9], [0.1, 0.45, NAN, 0.8]
BINS = Reliability(EDGES, PREDICTED, OBSERVED, [300, 500, 0, 200])
DRAWING = training.png(lambda: training.time_comparison({"a": 60.0}))
RANGES, WEIGHTS, ATOMS = [(2, 6), (6, 10), (14, 20)], [0.5, 0.2, 0.3], [0.6, 0.1, 0.0, 0.3]


def metrics(mode="full", bits=1.945, **more):
    return decode(make_run(mode, bits, **more)["metrics"], LanguageMetrics, "run.json")


def trained(history, best_epoch=1):
    return Training(len(history["epoch"]) - 1, best_epoch, 9.0, history)


COUNTS = {
    "gene": [
        CountBin(0, 0, 500, 0.55),
        CountBin(1, 3, scores.MIN_BIN - 1, 0.9),
        CountBin(1024, None, scores.MIN_BIN, 0.7),
    ],
    "molecule": [CountBin(1, 3, 1000, 0.6)],
}
EVERY = {
    "loss_curve": lambda: training.loss_curve(metrics(), "A title"),
    "markov_ladder": lambda: training.markov_ladder({"full": metrics(), "vocab4": metrics("vocab4", 1.972)}),
    "time_comparison": lambda: training.time_comparison({"full": 312.0, "vocab4": 80.4}),
    "binding_curves": lambda: training.epoch_curves(trained(BINDING), "A title"),
    "pair_curves": lambda: training.epoch_curves(trained(PAIRS), "A title", 0.58),
    "performance_comparison": lambda: scores.performance_comparison([R, UNKNOWN]),
    "auroc_intervals": lambda: scores.auroc_intervals([AUROC, UNKNOWN]),
    "reliability": lambda: scores.reliability({"a": BINS}),
    "auroc_by_training_pairs": lambda: scores.auroc_by_training_pairs({"a": COUNTS}),
    "probabilities": lambda: scores.probabilities(np.array([0.1, 0.55, 1.0]), 0.25),
    "tracks": lambda: predictions.tracks(DETAILS),
    "density": lambda: predictions.density({"a": DENSITY, "b": DENSITY}),
    "error_by_position": lambda: predictions.error_by_position({"a": [0.5, 0.4], "b": [1.0, NAN]}),
    "attention": lambda: predictions.attention_picture(RANGES, WEIGHTS, 30, ATOMS, DRAWING, "A $title"),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_figure_is_a_png_with_something_on_it_the_same_from_any_thread(name, tmp_path):
    paths = [tmp_path / "a new folder" / f"{i}.png" for i in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda path: training.save(EVERY[name], path), paths))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert imread(paths[0])[..., :3].std() > 0.05
    assert sorted(paths[0].parent.iterdir()) == paths


def test_settings_of_a_user_do_not_decide_and_stay():
    before = training.png(EVERY["time_comparison"])
    with rc_context({"text.usetex": True, "font.size": 30.0, "savefig.bbox": "tight"}):
        assert training.png(EVERY["time_comparison"]) == before
        assert rcParams["font.size"] == 30.0


def test_a_figure_that_fails_gives_a_warning_and_the_others_are_drawn(tmp_path):
    said, paths = [], [tmp_path / f"{name}.png" for name in "ab"]
    written = training.save_all({paths[0]: lambda: 1 / 0, paths[1]: EVERY["time_comparison"]}, said.append)
    assert written == list(tmp_path.iterdir()) == paths[1:]
    assert [str(paths[0]) in message for message in said] == [True]


def lines(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def marked(axes, marker):
    return [x for line in axes.lines if line.get_marker() == marker for x in line.get_xdata()]


def upright(axes):
    return [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]


def test_loss_curve():
    one = metrics("vocab4")
    left, right = training.loss_curve(one, "t").axes
    assert lines(left) == {"training": one.history["train_losses"], "validation": one.history["val_losses"]}
    model, markov = lines(right).values()
    assert model == one.history["bits_per_base"]
    assert markov == [one.ladder.best.bits] * 2
    losses = {"train_losses": [3.69, *[1.38] * 10], "val_losses": [3.69, *[1.41] * 10]}
    axes = training.loss_curve(replace(one, history=one.history | losses), "t").axes[0]
    assert 1.41 < axes.get_ylim()[1] < 1.5
    assert "3.690" in axes.texts[0].get_text()  # and the reader is told


def test_epoch_curves():
    left, right = training.epoch_curves(trained(BINDING), "t").axes
    assert lines(left)["validation"] == BINDING["val_loss"]
    np.testing.assert_equal(lines(left)["training"], BINDING["train_loss"])
    np.testing.assert_equal(lines(right)["validation"], BINDING["pearson_r"])
    for axes in (left, right):
        assert list(axes.lines[-1].get_xdata()) == [1, 1]
        assert all(tick == int(tick) for tick in axes.get_xticks())
    _, right = training.epoch_curves(trained(PAIRS), "t", 0.58).axes
    assert [0.58, 0.58] in lines(right).values()
    assert PAIRS["val_auroc"] in lines(right).values()
    one = {name: values[1:2] for name, values in BINDING.items()}
    assert training.png(lambda: training.epoch_curves(trained(one), "t"))
    flat = PAIRS | {"train_loss": [0.693] * 2, "val_bce": [0.6931] * 2, "val_auroc": [0.5, 0.501]}
    axes = training.epoch_curves(trained(flat), "t", 0.502).axes
    assert [high - low for low, high in (one.get_ylim() for one in axes)] == pytest.approx([0.05, 0.1])


def test_times_are_bars_as_long_as_they_say():
    (axes,) = EVERY["time_comparison"]().axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([5.2, 1.34])
    assert [text.get_text() for text in axes.texts] == ["5 min 12 s", "1 min 20 s"]
    texts = [training.duration(seconds) for seconds in (0, 9.96, 59.6, 3599.7)]
    assert texts == ["0.0 s", "10 s", "1 min 0 s", "1 h 0 min"]


def test_markov_ladder_shows_both_strands_and_each_model_with_its_band():
    (axes,) = EVERY["markov_ladder"]().axes  # the same bases: one panel
    shown, ladder = lines(axes), metrics().ladder
    assert shown["Markov, one strand"] == ladder.one_strand
    assert shown["Markov, both strands"] == ladder.both_strands
    assert shown["best Markov"] == [ladder.best.bits]
    assert (shown["full language model"], shown["vocab4 language model"]) == ([1.945] * 2, [1.972] * 2)
    bands = [edge for p in axes.patches for edge in (p.get_y(), p.get_y() + p.get_height())]
    assert bands == pytest.approx([1.941, 1.949, 1.968, 1.976])
    other = {"full": metrics(), "vocab4": metrics("vocab4", best=1.9)}  # other bases
    panels = training.markov_ladder(other).axes
    assert ["full language model" in lines(panel) for panel in panels] == [True, False]


@pytest.mark.parametrize("panel", [R, AUROC])
def test_scores_are_dots_with_their_intervals_and_figures(panel):
    draw = scores.performance_comparison if panel is R else scores.auroc_intervals
    top, bottom = draw([panel, UNKNOWN]).axes
    assert [label.get_text() for label in top.get_yticklabels()] == list(panel.scores)
    assert marked(top, "o")[:2] == [one.value for one in panel.scores.values()]
    assert marked(top, "|") == [edge for one in panel.scores.values() for edge in (one.low, one.high)]
    for text, one in zip(top.texts, panel.scores.values(), strict=True):
        assert text.get_text() == f"{one.value:.4f}  ({one.low:.4f} to {one.high:.4f})"
    assert [text.get_text() for text in bottom.texts] == ["undefined", "0.4500"]
    assert top.get_ylim()[0] > top.get_ylim()[1]  # the first on top
    if panel is R:
        assert marked(top, "D")[0] == 0.981  # the published figure
    else:
        assert upright(top) == [0.58, 0.5]  # the node rate and guessing
        assert top.get_xlim() == bottom.get_xlim()  # lengths compare
        assert 0.4 < top.get_xlim()[0] < 0.45


def test_the_axis_of_r_says_when_it_is_zoomed_and_never_zooms_far():
    near = Panel("", {"a": Estimate(0.9853, 0.9852, 0.9854), "b": Estimate(0.9854, 0.9853, 0.9855)})
    far = Panel("", {"a": Estimate(0.2, 0.1, 0.3), "b": Estimate(0.98, 0.97, 0.99)})
    panels = scores.performance_comparison([far, near]).axes
    assert ["does not begin at 0" in panel.get_xlabel() for panel in panels] == [False, True]
    (left, _), (low, high) = (panel.get_xlim() for panel in panels)
    assert left == 0
    assert high - low >= scores.MIN_R_RANGE - 1e-12  # rounding


def test_a_model_looks_the_same_in_every_figure_and_baselines_are_grey():
    everyone = ["a", "lora", "cnn"]
    (line,) = predictions.error_by_position({"cnn": [1.0]}, everyone).axes[0].lines
    panel = Panel("", {"cnn": RATE, "scan": RATE})
    (axes,) = scores.performance_comparison([panel], everyone).axes
    dots = [dot.get_color() for dot in axes.lines if dot.get_marker() == "o"]
    assert dots[:2] == [line.get_color(), training.GREY]
    styles = training.styles([f"m{i}" for i in range(20)])
    assert len({(style["color"], style["linestyle"]) for style in styles.values()}) == 20


def test_a_probability_is_counted_in_its_bin_and_almost_empty_bins_are_left_out():
    left, right = scores.reliability({"a": BINS}).axes
    perfect, line = (line.get_data() for line in left.lines)
    assert list(perfect[0]) == list(perfect[1])
    assert [list(values) for values in line] == [[0.2, 0.4, 0.9], [0.1, 0.45, 0.8]]
    assert list(right.patches[0].get_data().values) == [30.0, 50.0, 0.0, 20.0]
    few = replace(BINS, count=[scores.MIN_PAIRS, scores.MIN_PAIRS - 1, 0, 200])
    assert list(scores.reliability({"a": few}).axes[0].lines[1].get_xdata()) == [0.2, 0.9]
    (axes,) = scores.probabilities(np.array([0.0, 0.05, 0.05, 1.0]), prevalence=0.25).axes
    counts, edges, _ = axes.patches[0].get_data()
    assert [counts[0], counts[2], counts[-1], counts.sum()] == [1, 2, 1, 4]
    assert edges[2] == pytest.approx(0.04)
    assert upright(axes) == [0.25]


def test_auroc_by_training_pairs_leaves_small_bins_out_and_names_ranges():
    other = {"gene": [CountBin(4, 15, 900, 0.6)], "molecule": []}
    gene, molecule = scores.auroc_by_training_pairs({"a": COUNTS, "b": other}, ["a"]).axes
    chance, first, second = (line.get_data() for line in gene.lines)
    assert [list(values) for values in first] == [[0, 2], [0.55, 0.7]]
    assert [list(values) for values in second] == [[1], [0.6]]
    assert [text.get_text() for text in gene.get_xticklabels()] == ["0", "4-15", "1024+"]
    assert [text.get_text() for text in molecule.get_xticklabels()] == ["1-3"]
    assert chance[1] == [0.5, 0.5]


def test_tracks_show_truth_as_area_and_the_position_in_the_genome():
    other = [replace(DETAILS["b"].tracks[0], window="elsewhere"), DETAILS["b"].tracks[1]]
    first, second = predictions.tracks(DETAILS | {"b": DETAILS["b"]._replace(tracks=other)}).axes
    assert first.get_title("left") == "chr22:301-600"  # 0-based inclusive in the name, 1-based on the page
    assert second.get_title("left") == "my peak"
    assert lines(first) == {"a": TRACKS["a"][0]}  # windows of the first model alone
    assert set(lines(second)) == {"a", "b"}
    assert list(first.lines[0].get_xdata()) == [1, 2, 3, 4]
    assert second.collections[0].get_paths()[0].vertices[:, 1].max() == 9.0
    assert first.get_ylim() == second.get_ylim()  # heights compare
    assert first.get_ylim()[1] > 9.5


def test_density_has_truth_to_the_right_and_prediction_upwards_and_errors_begin_at_zero():
    axes = predictions.density({"a": DENSITY}).axes[0]
    shown = np.ma.asarray(axes.collections[0].get_array()).reshape(2, 2)  # [predicted, truth]
    assert shown[1, 0] == 3  # a true score near 0, a predicted one near 10
    assert shown[0, 1] is np.ma.masked  # no base, no colour
    assert list(axes.lines[0].get_xdata()) == list(axes.lines[0].get_ydata())
    (axes,) = predictions.error_by_position({"a": [0.5, 0.4], "b": [1.0, 0.9]}).axes
    assert lines(axes) == {"a": [0.5, 0.4], "b": [1.0, 0.9]}
    assert axes.get_ylim()[0] == 0


def test_attention_is_a_step_for_each_range_and_darker_for_each_atom():
    figure = EVERY["attention"]()
    track, molecule, bar = figure.axes
    values, edges, _ = track.patches[0].get_data()
    assert list(edges) == [2, 6, 10, 14, 20]
    np.testing.assert_allclose(values, [50, 20, math.nan, 30])
    assert "20 of 30" in track.get_xlabel()
    assert track.lines[0].get_ydata()[0] == pytest.approx(100 / 3)  # uniform attention
    assert bar.lines[-1].get_ydata()[0] == pytest.approx(100 / 4)
    assert bar.get_ylim() == pytest.approx((0, 60))
    np.testing.assert_array_equal(molecule.images[0].get_array(), imread(io.BytesIO(DRAWING)))
    assert predictions.CAUTION in [text.get_text() for text in figure.texts]
    overlapping = [(at, at + 4) for at in range(6)]
    figure = predictions.attention_picture(overlapping, [1 / 6] * 6, 9, ATOMS, DRAWING, "T")
    values, edges, _ = figure.axes[0].patches[0].get_data()
    assert list(edges) == [0, 1, 2, 3, 4, 5, 9]  # each is drawn to the next
    np.testing.assert_allclose(values, 100 / 6)
    light = [sum(color) for color in predictions.atom_colors(ATOMS)]
    assert np.argsort(light).tolist() == [0, 3, 1, 2]
    assert predictions.atom_colors(ATOMS)[2] != pytest.approx((1, 1, 1))  # no attention is visible too
