"""Tests for dnalm/report/plots.py."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from matplotlib.image import imread

from dnalm.report import plots

FLAT = {"iterations": [0, 50], "train_losses": [1.38, 1.38], "val_losses": [1.38, 1.38]}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been saved."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    return figures


def lines(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def arguments(name, make_run):
    """What each plot of the registry is called with."""
    full, four = make_run("full", 1.945)["metrics"], make_run("vocab4", 1.972)["metrics"]
    return {
        "loss_curve": (full["history"],),
        "markov_ladder": ({"full": full, "vocab4": four},),
        "time_comparison": ({"full": 312.0, "vocab4": 80.4},),
    }[name]


@pytest.mark.parametrize("name", plots.PLOTS)
def test_every_plot_is_a_png_with_something_on_it(name, make_run, tmp_path):
    path = tmp_path / "a new folder" / f"{name}.png"
    plots.PLOTS[name](*arguments(name, make_run), path, title="A title")
    assert path.read_bytes().startswith(b"\x89PNG")
    picture = imread(path)
    assert picture.shape[1] >= 900
    assert picture[..., :3].std() > 0.05
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", plots.PLOTS)
def test_same_numbers_make_the_same_bytes_from_any_thread(name, make_run, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda p: plots.PLOTS[name](*arguments(name, make_run), p, title="t"), paths))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_loss_curve_draws_what_it_was_given(drawn, make_run, tmp_path):
    metrics = make_run("vocab4")["metrics"]
    history = metrics["history"]
    plots.loss_curve(history, tmp_path / "x.png", "t", metrics["ladder"])
    left, right = drawn[0].axes
    assert lines(left) == {"training": history["train_losses"], "validation": history["val_losses"]}
    best = metrics["ladder"]["best"]
    assert lines(right) == {
        "language model, validation": history["bits_per_base"],
        f"best Markov model (order {best['order']}, both strands)": [best["bits"]] * 2,
    }
    assert (left.get_xlabel(), left.get_ylabel()) == ("step", "loss (nats per token)")
    assert right.get_ylabel() == "bits per base"


def test_loss_curve_of_a_published_file_has_one_panel(drawn, tmp_path):
    plots.loss_curve(FLAT, tmp_path / "x.png", "t")
    assert len(drawn[0].axes) == 1


def test_the_untrained_loss_does_not_flatten_the_rest(drawn, tmp_path):
    losses = {"iterations": [0, 1, 2], "train_losses": [3.69, 1.40, 1.38], "val_losses": [3.69, 1.41, 1.39]}
    plots.loss_curve(losses, tmp_path / "x.png", "t")
    assert 1.41 < drawn[0].axes[0].get_ylim()[1] < 1.5
    assert "3.690" in drawn[0].axes[0].texts[0].get_text()  # and the reader is told


@pytest.mark.parametrize(
    "losses",
    [
        {"iterations": [], "train_losses": [], "val_losses": []},
        FLAT | {"val_losses": [1.38]},
        FLAT | {"bits_per_base": [2.0]},
    ],
    ids=["nothing", "a value missing", "bits missing"],
)
def test_loss_curve_refuses_lists_that_do_not_match(losses, tmp_path):
    with pytest.raises(ValueError, match="one value of each curve at every evaluation"):
        plots.loss_curve(losses, tmp_path / "x.png", "t")
    assert not list(tmp_path.iterdir())


def test_bars_are_as_long_as_the_times_and_say_them(drawn, tmp_path):
    plots.time_comparison({"full": 312.0, "vocab4": 80.4}, tmp_path / "x.png")
    axes = drawn[0].axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([5.2, 1.34])
    assert [text.get_text() for text in axes.texts] == ["5 min 12 s", "1 min 20 s"]
    assert axes.get_xlabel() == "elapsed time (minutes)"


def test_ladder_shows_both_strands_and_each_model_with_its_band(drawn, make_run, tmp_path):
    runs = {"full": make_run("full", 1.945)["metrics"], "vocab4": make_run("vocab4", 1.972)["metrics"]}
    plots.markov_ladder(runs, tmp_path / "x.png")
    (axes,) = drawn[0].axes  # the same bases: one panel
    shown, ladder = lines(axes), runs["full"]["ladder"]
    assert shown["Markov, one strand"] == ladder["one_strand"]
    assert shown["Markov, both strands"] == ladder["both_strands"]
    assert shown["best Markov"] == [ladder["best"]["bits"]]
    assert (shown["full language model"], shown["vocab4 language model"]) == ([1.945] * 2, [1.972] * 2)
    bands = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches]
    assert [edge for band in bands for edge in band] == pytest.approx([1.941, 1.949, 1.968, 1.976])


def test_runs_on_other_bases_do_not_share_a_panel(drawn, make_run, tmp_path):
    runs = {"full": make_run("full")["metrics"], "vocab4": make_run("vocab4", best=1.9)["metrics"]}
    plots.markov_ladder(runs, tmp_path / "x.png")
    assert len(drawn[0].axes) == 2
    assert "full language model" in lines(drawn[0].axes[0])
    assert "full language model" not in lines(drawn[0].axes[1])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (3599.7, "1 h 0 min")],
)
def test_duration(seconds, text):
    assert plots.duration(seconds) == text
