"""Tests for dnalm/report/binding.py, binding_words.py and results.py, on small invented results."""

import re
import subprocess
import sys

import numpy as np
import pytest

from dnalm.bootstrap import moments, paired_difference, pearson, pearson_estimate
from dnalm.files import read_json, write_json
from dnalm.report import binding
from dnalm.report.binding import binding_chapter, refresh_comparisons
from dnalm.report.page import Picture, write_page
from dnalm.report.read_binding import read_moments, read_results

N, L = 60, 30
NAMES = [f"chr22_{300 * i}_{300 * i + L - 1}" for i in range(N)]
TRUTH = np.where(np.random.default_rng(0).random((N, L)) < 0.2, 8.0, 0.0)
SPLIT = {
    "kind": "blocks",
    "part": "validation",
    "windows": {"train": 300, "validation": N, "test": 50, "left_out": 7},
    "near_duplicates": {"validation": 3, "test": 2},
    "digest": "0123456789abcdef",
}


def guess(noise, seed):
    """The truth with noise, as a model might predict it."""
    return TRUTH + np.random.default_rng(seed).normal(0, noise, TRUTH.shape)


def scores_of(predicted):
    sums = moments(TRUTH, predicted)
    batches = float(np.mean([pearson(sums[i : i + 20].sum(0)) for i in range(0, N, 20)]))
    return {
        "pearson_r": pearson_estimate(sums)._asdict(), "pearson_r_batches": batches,
        "mse": float(((TRUTH - predicted) ** 2).mean()), "auroc": 0.9, "auprc": 0.8,
        "median_window_r": float(np.median(pearson(sums))), "windows": N, "bases": N * L,
    }  # fmt: skip


def detail_of(predicted):
    edges = np.linspace(-10, 20, 61)
    counts = np.histogram2d(TRUTH.ravel(), predicted.ravel(), bins=[edges, edges])[0]
    tracks = [
        {"window": NAMES[i], "truth": TRUTH[i].tolist(), "predicted": predicted[i].tolist()} for i in range(5)
    ]
    return {
        "tracks": tracks, "density": {"edges": edges.tolist(), "counts": counts.astype(int).tolist()},
        "error_by_position": np.sqrt(((TRUTH - predicted) ** 2).mean(0)).tolist(),
    }  # fmt: skip


def model_of(**changes):
    return {
        "kind": "gpt", "tune": "frozen", "both_strands": False, "random_core": False, "causal": True,
        "parameters": 7_739_777, "trained_parameters": 541_697, "core": "outputs/vocab4 (toy.fa)",
    } | changes  # fmt: skip


CNN = {"kind": "cnn", "tune": "all", "causal": False, "parameters": 186_497, "trained_parameters": 186_497}


def add(folder, name, noise, seed=1, split=SPLIT, **model):
    """Write the files of one trained model; return its predictions."""
    predicted = guess(noise, seed) if noise is not None else np.zeros_like(TRUTH)
    history = {
        "epoch": [0, 1, 2], "train_loss": [None, 1.0, 0.5], "val_loss": [3.0, 1.1, 0.6],
        "pearson_r": [None, 0.5, 0.7], "elapsed": [0.0, 10.0, 20.0],
    }  # fmt: skip
    content = {
        "format": "dnalm-binding-results", "format_version": 1, "name": name, "model": model_of(**model),
        "split": split,
        "training": {"epochs": 2, "best_epoch": 2, "seconds": 65.0, "history": history,
                     "states_seconds": 0.0 if model else 30.0},
        "peak_memory_bytes": 1.2e9, "device": "cpu (2 threads), bf16",
        "scores": scores_of(predicted), "detail": detail_of(predicted),
    }  # fmt: skip
    write_json(folder / f"results_{name}.json", content)
    (folder / name).mkdir(exist_ok=True)
    np.savez(folder / name / "moments.npz", names=np.array(NAMES), moments=moments(TRUTH, predicted))
    return predicted


def evaluate(folder, models, split=SPLIT, part="test", baselines=True):
    """Write an evaluation of `models`: predictions and the model's facts by name."""
    names = list(models)
    sums = {name: moments(TRUTH, predicted) for name, (predicted, _) in models.items()}
    pairs = [
        {"one": a, "other": b, **paired_difference(sums[a], sums[b])._asdict()}
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    flat = scores_of(np.zeros_like(TRUTH))
    judged = {
        name: {"model": model, "scores": scores_of(predicted), "detail": detail_of(predicted)}
        for name, (predicted, model) in models.items()
    }
    content = {
        "format": "dnalm-binding-evaluation", "format_version": 1, "part": part,
        "split": split | {"part": part}, "windows": N, "bases": N * L, "models": judged,
        "baselines": {"motif scan": {"scores": scores_of(guess(0.5, 9))}, "mean score": {"scores": flat}}
        if baselines else {},
        "pairs": pairs,
    }  # fmt: skip
    write_json(folder / f"evaluation_{part}.json", content)


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests of the text: pictures are not drawn."""
    monkeypatch.setattr(binding, "draw", lambda plot, caption, alt: Picture(b"", caption, alt))


def change(path, *keys, to):
    content = inner = read_json(path)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    write_json(path, content)


def test_better_model_is_named_with_the_paired_interval(no_pictures, tmp_path):
    one, other = add(tmp_path, "baseline", 1.0, **CNN), add(tmp_path, "vocab4", 4.0)
    chapter = binding_chapter(tmp_path)
    r = pearson_estimate(moments(TRUTH, one))
    gap = paired_difference(moments(TRUTH, one), moments(TRUTH, other))
    assert chapter.findings == [
        f"Validation part: baseline has the highest Pearson R, {r.value:.4f} ({r.low:.4f} to {r.high:.4f}). "
        f"baseline beats vocab4 by {gap.value:.4f} ({gap.low:.4f} to {gap.high:.4f})."
    ]
    assert chapter.tables[1].rows == [
        ["baseline less vocab4", f"{gap.value:+.4f}", f"{gap.low:+.4f} to {gap.high:+.4f}", "baseline"]
    ]


def test_models_alike_cannot_be_told_apart(no_pictures, tmp_path):
    add(tmp_path, "a", 2.0, seed=1)
    add(tmp_path, "b", 2.0, seed=2)
    chapter = binding_chapter(tmp_path)
    assert "no single winner" in chapter.findings[0]
    assert "cannot be told apart from" in chapter.findings[0]
    assert not re.search("highest|beats", chapter.findings[0])
    assert chapter.tables[1].rows[0][-1] == "cannot be told apart"


@pytest.mark.parametrize(
    ("pretrained", "untrained", "words"),
    [
        (1.0, 4.0, "pretraining helped. vocab4 beats vocab4_random"),
        (4.0, 1.0, "pretraining did not help. vocab4_random, with an untrained core, beats"),
        (2.0, 2.0, "pretraining shows no effect. vocab4 and vocab4_random"),
    ],
)
def test_pretraining_is_judged_beside_the_untrained_core(no_pictures, tmp_path, pretrained, untrained, words):
    add(tmp_path, "vocab4", pretrained, seed=1)
    add(tmp_path, "vocab4_random", untrained, seed=2, random_core=True, core=None)
    add(tmp_path, "full", 3.0, seed=3, parameters=7_753_601)  # another model: no twin of the untrained one
    said = [finding for finding in binding_chapter(tmp_path).findings if "pretraining" in finding]
    assert len(said) == 1
    assert said[0].startswith(f"Validation part: {words}")


def test_evaluation_of_the_test_part_comes_first_with_its_baselines(no_pictures, tmp_path):
    one, other = add(tmp_path, "baseline", 1.0, **CNN), add(tmp_path, "vocab4", 4.0)
    evaluate(tmp_path, {"vocab4": (other, model_of()), "baseline": (one, model_of(**CNN))})
    chapter = binding_chapter(tmp_path)
    gap = paired_difference(moments(TRUTH, one), moments(TRUTH, other), seed=0)
    first, scan, mean, last = chapter.findings
    assert first.startswith("Test part: baseline has the highest")
    assert f"beats vocab4 by {gap.value:.4f}" in first  # told as vocab4 less baseline in the file
    assert scan.startswith("Test part: motif scan, without training, has a Pearson R of")
    assert "the best model, baseline, is below it" in scan
    assert "mean score, without training: R is undefined" in mean
    assert last.startswith("Validation part")
    rows = {row[0]: row[1:] for row in chapter.tables[0].rows}
    assert list(rows) == ["baseline", "vocab4", "motif scan", "mean score"]
    assert rows["mean score"][0] == "undefined"
    text = " ".join(chapter.paragraphs)
    assert "the validation part chose the epoch" in text
    assert "The test part had no say" in text


def test_evaluation_of_the_same_windows_stands_beside_the_results(no_pictures, tmp_path):
    predicted = add(tmp_path, "vocab4", 2.0)
    other = guess(1.0, 5)
    evaluate(
        tmp_path, {"vocab4": (predicted, model_of()), "cnn": (other, model_of(**CNN))}, part="validation"
    )
    (comparison,) = read_results(tmp_path).comparisons
    assert comparison.models() == ["cnn", "vocab4"]
    assert comparison.baselines() == ["motif scan", "mean score"]
    change(
        tmp_path / "evaluation_validation.json", "models", "vocab4", "scores", "pearson_r", "value", to=0.1
    )
    (comparison,) = read_results(tmp_path).comparisons
    assert comparison.models() == ["cnn", "vocab4", "vocab4 (evaluation_validation)"]  # another model


def test_figures_of_windows_trained_on_come_last_and_say_so(no_pictures, tmp_path):
    predicted = add(tmp_path, "vocab4", 2.0)
    evaluate(tmp_path, {"vocab4": (predicted, model_of())}, part="all", baselines=False)
    first, last = binding_chapter(tmp_path).findings
    assert first.startswith("Validation part: ")
    assert last.startswith("All windows, those trained on included: ")


def test_without_a_test_part_the_page_says_so(no_pictures, tmp_path):
    add(tmp_path, "vocab4", 2.0)
    text = " ".join(binding_chapter(tmp_path).paragraphs)
    assert "only the validation part is judged here, which also chose the epoch" in text
    assert "run dnalm evaluate MODEL --part test" in text
    change(tmp_path / "results_vocab4.json", "split", "kind", to="published")
    text = " ".join(binding_chapter(tmp_path).paragraphs)
    assert "the published split has no test part" in text
    assert "neighbours in the genome lie on both sides" in text


def test_text_counts_near_duplicates_and_tells_what_a_causal_model_sees(no_pictures, tmp_path):
    add(tmp_path, "vocab4", 2.0)
    add(tmp_path, "both", 2.0, both_strands=True, seed=3)
    text = " ".join(binding_chapter(tmp_path).paragraphs)
    assert f"3 of the {N} validation windows and 2 of the 50 test windows" in text
    assert "vocab4 is causal and reads one strand" in text
    assert "both is causal" not in text
    change(tmp_path / "results_vocab4.json", "split", "near_duplicates", to=None)
    change(tmp_path / "results_both.json", "split", "near_duplicates", to=None)
    assert "Near-duplicates across parts were not counted" in " ".join(binding_chapter(tmp_path).paragraphs)


def test_cost_table(no_pictures, tmp_path):
    add(tmp_path, "vocab4", 2.0)
    add(tmp_path, "baseline", 1.0, **CNN)
    rows = {row[0]: row[1:] for row in binding_chapter(tmp_path).tables[-1].rows}
    assert rows == {
        "baseline": ["CNN, trained whole", "both sides of each base", "186,497 of 186,497 (100 %)", "2 (2)",
                     "1 min 5 s", "1,200 MB"],
        "vocab4": ["GPT, pretrained core, frozen", "the left of each base", "541,697 of 7,739,777 (7 %)",
                   "2 (2)", "1 min 5 s, 30 s for the states", "1,200 MB"],
    }  # fmt: skip


def test_other_data_is_never_compared(no_pictures, tmp_path):
    add(tmp_path, "vocab4", 4.0)
    add(tmp_path, "baseline", 1.0, split=SPLIT | {"digest": "fedcba9876543210"}, **CNN)
    chapter = binding_chapter(tmp_path)
    assert len(chapter.findings) == 2
    assert not any("beats" in finding for finding in chapter.findings)
    assert "2 different splits or sets of windows" in chapter.paragraphs[0]
    assert {finding.split(":")[0] for finding in chapter.findings} == {
        "Validation part of the blocks split 01234567",
        "Validation part of the blocks split fedcba98",
    }


def test_missing_moments_leave_out_the_paired_statement_and_say_so(no_pictures, tmp_path):
    add(tmp_path, "vocab4", 4.0)
    add(tmp_path, "baseline", 1.0, **CNN)
    (tmp_path / "vocab4" / "moments.npz").unlink()
    chapter = binding_chapter(tmp_path)
    assert "no paired interval, for the sums of each window are not there for vocab4" in chapter.findings[1]
    assert "their own intervals do not overlap" in chapter.findings[1]
    assert "vocab4/moments.npz" in " ".join(chapter.paragraphs)
    assert [row[0] for row in chapter.tables[0].rows] == ["baseline", "vocab4"]


def test_difference_matches_windows_by_name_and_checks_their_truth(tmp_path):
    one, other = add(tmp_path, "a", 1.0), add(tmp_path, "b", 4.0, seed=2)
    sums, wanted = moments(TRUTH, other), paired_difference(moments(TRUTH, one), moments(TRUTH, other))
    np.savez(tmp_path / "b" / "moments.npz", names=np.array(NAMES[::-1]), moments=sums[::-1])
    assert read_results(tmp_path).comparisons[0].difference("a", "b") == wanted
    np.savez(tmp_path / "b" / "moments.npz", names=np.array(NAMES), moments=moments(TRUTH + 1, other))
    assert "true scores" in read_results(tmp_path).comparisons[0].difference("a", "b")
    np.savez(tmp_path / "b" / "moments.npz", names=np.array(NAMES[1:]), moments=sums[1:])
    assert "other windows" in read_results(tmp_path).comparisons[0].difference("a", "b")


def test_constant_prediction_is_undefined_and_last(no_pictures, tmp_path):
    add(tmp_path, "flat", None)
    assert "R of flat is undefined" in binding_chapter(tmp_path).findings[0]
    add(tmp_path, "vocab4", 2.0)
    chapter = binding_chapter(tmp_path)
    assert [row[:2][1] for row in chapter.tables[0].rows][1] == "undefined"
    assert "no paired interval, for R of flat is undefined" in chapter.findings[1]
    assert read_results(tmp_path).comparisons[0].models() == ["vocab4", "flat"]


def test_page_holds_every_picture(tmp_path):
    add(tmp_path, "vocab4", 4.0)
    predicted = add(tmp_path, "baseline", 1.0, **CNN)
    evaluate(tmp_path, {"baseline": (predicted, model_of(**CNN))})
    chapter = binding_chapter(tmp_path)
    assert len(chapter.figures) == 7  # performance; tracks, density, error; two curves; times
    assert all(
        figure.png.startswith(b"\x89PNG") and figure.alt and figure.caption for figure in chapter.figures
    )
    assert [table.caption for table in chapter.details] == ["How baseline was made", "How vocab4 was made"]
    write_page([chapter], tmp_path / "page.html", "A report")
    assert len(re.findall("<img ", (tmp_path / "page.html").read_text())) == 7


def test_refresh_draws_what_is_there(tmp_path):
    add(tmp_path, "vocab4", 4.0)
    paths = refresh_comparisons(tmp_path)
    assert [path.name for path in paths] == ["finetuning_time_comparison.png", "performance_comparison.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    one = paths[1].read_bytes()
    add(tmp_path, "baseline", 1.0, **CNN)
    refresh_comparisons(tmp_path)
    assert paths[1].read_bytes() != one


def test_a_model_without_detail_has_no_tracks(no_pictures, tmp_path):
    add(tmp_path, "vocab4", 4.0)
    change(tmp_path / "results_vocab4.json", "detail", to=None)
    assert len(binding_chapter(tmp_path).figures) == 3  # performance, curves, times


@pytest.mark.parametrize(
    ("keys", "to", "message"),
    [
        (("format",), "dnalm-run", "expected the format dnalm-binding-results, got dnalm-run"),
        (("format_version",), 2, "expected version 1 of its format, got 2"),
        (("scores",), {}, r"damaged: scores.pearson_r, .* and 5 more missing"),
        (("scores", "pearson_r", "low"), "0.5", "damaged: scores.pearson_r.low missing or not of the right"),
        (("model", "causal"), None, "damaged: model.causal"),
        (("training", "history", "val_loss"), [1.0], "damaged: training.history.val_loss"),
        (("training", "history", "epoch"), [], "damaged: training.history.epoch"),
        (("detail", "density", "counts"), [[1]], "damaged: detail.density"),
        (("detail", "tracks", 1, "predicted"), [1.0], "damaged: detail.tracks.1"),
        (("detail", "error_by_position"), ["x"], "damaged: detail.error_by_position"),
    ],
)
def test_damaged_results_are_named(tmp_path, keys, to, message):
    add(tmp_path, "vocab4", 4.0)
    change(tmp_path / "results_vocab4.json", *keys, to=to)
    with pytest.raises(ValueError, match=rf"results_vocab4\.json: {message}"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("keys", "to", "message"),
    [
        (("models", "vocab4"), 3, "damaged: models.vocab4"),
        (("models", "vocab4", "scores"), None, "damaged: models.vocab4.scores"),
        (("baselines", "motif scan", "scores", "mse"), "1", "damaged: baselines.motif scan.scores.mse"),
        (("models", "vocab4", "detail"), {"tracks": []}, r"damaged: models\.vocab4\.detail\.density"),
        (("pairs",), [{"one": "a"}], "damaged: pairs.0.other"),
        (("split",), None, "damaged: split"),
    ],
)
def test_damaged_evaluations_are_named(tmp_path, keys, to, message):
    evaluate(tmp_path, {"vocab4": (guess(1.0, 1), model_of())})
    change(tmp_path / "evaluation_test.json", *keys, to=to)
    with pytest.raises(ValueError, match=rf"evaluation_test\.json: {message}"):
        read_results(tmp_path)


def test_results_that_are_not_json_are_named(tmp_path):
    (tmp_path / "results_x.json").write_text('{"format": ')
    with pytest.raises(ValueError, match=r"results_x\.json: expected JSON"):
        read_results(tmp_path)
    (tmp_path / "results_x.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"results_x\.json: expected the format .*, got list"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "arrays",
    [
        {"names": np.array(["a"])},
        {"names": np.array(["a"]), "moments": np.zeros((2, 6))},
        {"names": np.array(["a"]), "moments": np.zeros((1, 5))},
        {"names": np.array(["a"]), "moments": np.full((1, 6), np.nan)},
        {"names": np.array(["a"], dtype=object), "moments": np.zeros((1, 6))},
        {"names": np.array(["a"]), "moments": np.array([["x"] * 6])},
    ],
    ids=["one missing", "counts differ", "five sums", "not finite", "pickled", "text"],
)
def test_damaged_moments_are_named(tmp_path, arrays):
    path = tmp_path / "moments.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"moments\.npz: expected"):
        read_moments(path)


def test_moments_cut_short_are_named(tmp_path):
    add(tmp_path, "a", 1.0)
    path = tmp_path / "a" / "moments.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a/moments\.npz: expected an npz"):
        read_results(tmp_path)


def test_report_of_binding_never_imports_torch():
    code = "import dnalm.report.binding, dnalm.commands.compare, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
