"""Tests for `dnalm finetune --label-fractions`, and for dnalm/train/label_curve.py."""

import json
from itertools import product

import numpy as np
import pytest

from dnalm.cli import main
from dnalm.config import read_recipe
from dnalm.data.binding import SplitConfig, read_split_set
from dnalm.formats.binding import write_tracks
from dnalm.train.binding import BindingRun
from dnalm.train.label_curve import PointRun

MODELS = ("pretrained", "untrained", "CNN", "dilated CNN")
FAST = ["--epochs", "1", "--batch-size", "8", "--channels", "4", "--kernel", "3", "--features", "mix"]


def curve(binding, out, *flags):
    return binding.finetune(out, *FAST, "--seeds", "1", *flags)


@pytest.fixture
def trained(monkeypatch):
    """The points that are trained, by name."""
    points, train = [], BindingRun.train

    def seen(run, *given):
        if isinstance(run, PointRun):
            points.append((run.config.name, set(run.data.part("train").names), run))
        return train(run, *given)

    monkeypatch.setattr(BindingRun, "train", seen)
    return points


def test_a_curve_goes_on_where_it_was_stopped_and_is_a_chapter(binding, tmp_path, trained, capsys):
    assert curve(binding, tmp_path, "--label-fractions", "1") == 0
    first = json.loads((tmp_path / "label_curve_vocab4.json").read_text())
    windows = first["split"]["windows"]["train"]
    assert [name for name, *_ in trained] == [f"{m.replace(' ', '-')}_{windows}_seed0" for m in MODELS]
    assert all(len(run.task.train) >= 15 * 8 for *_, run in trained)  # steps of an epoch times batch
    assert "label_curve_vocab4.json" in capsys.readouterr().out
    assert curve(binding, tmp_path, "--label-fractions", "1,30") == 2
    assert "--resume" in capsys.readouterr().err
    more = ["--label-fractions", "1,30", "--rule", binding.scores]  # a rule that is right
    assert curve(binding, tmp_path, *more, "--resume") == 0
    assert [name.split("_")[1] for name, *_ in trained] == [f"{windows}"] * 4 + ["30"] * 4
    large, small = trained[0], trained[4]
    assert small[1] < large[1]
    assert len(small[2].task.train) >= 15 * 8
    assert np.array_equal(small[2].data.split.test, large[2].data.split.test)
    found = json.loads((tmp_path / "label_curve_vocab4.json").read_text())
    validation = found["split"]["windows"]["validation"]
    assert found["windows"] == [30, windows]
    assert found["validation_windows"] == [round(validation * 30 / windows), validation]
    assert found["bases"][1] == 40 * (windows + validation)
    assert [each["value"] for each in found["scores"]["rule"]] == pytest.approx([1.0, 1.0])
    gap = found["scores"]["pretrained"][0]["value"] - 1.0
    assert found["minus"]["rule"][0]["value"] == pytest.approx(gap)
    for model in MODELS:
        assert found["runs"][model][1] == first["runs"][model][0]
        assert -1.0 <= found["scores"][model][0]["value"] <= 1.0
    left = {path.name for path in (tmp_path / "label_curve_vocab4").iterdir()}
    points = {f"{m.replace(' ', '-')}_{size}_seed0.npz" for m, size in product(MODELS, (30, windows))}
    assert left == points  # the cached states are gone
    assert (tmp_path / "label_curve_vocab4.png").is_file()
    record = json.loads((tmp_path / "run_label_curve_vocab4.json").read_text())
    assert (record["status"], record["metrics"]["scores"]) == ("done", found["scores"])
    for model, recipe in (("CNN", "baseline"), ("dilated CNN", "dilated")):
        assert record["recipe"][model]["train"]["lr"] == read_recipe(recipe)["train"]["lr"]
    assert set(record["data"]["files"]) == {"sequences", "scores", "rule"}
    capsys.readouterr()
    assert main(["compare", str(tmp_path)]) == 0
    assert "retraining" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "How many labels pretraining saves" in page
    assert "dilated CNN" in page
    assert curve(binding, tmp_path, "--label-fractions", "1", "--resume", "--lr", "1e-4") == 2
    assert "other settings" in capsys.readouterr().err


def test_a_training_whose_labels_are_all_alike_is_refused_before_the_others(binding, tmp_path, capsys):
    few = read_split_set(binding.sequences, binding.scores, SplitConfig(gap=100), None).labelled(16, 1)
    scores, table = binding.windows.scores.copy(), tmp_path / "scores.gz"
    scores[[binding.windows.names.index(name) for name in few.part("train").names]] = 0.0
    write_tracks(tmp_path / "s.gz", binding.windows.names, binding.windows.letters, {table: scores})
    flags = ("--label-fractions", "16,1", "--seeds", "2", "--scores", table)
    assert curve(binding, tmp_path / "m", *flags) == 2
    message = capsys.readouterr().err
    assert "16 training windows of seed 1" in message
    assert "every base has a score of 0" in message
    assert not (tmp_path / "m").exists()


def test_mistakes_are_refused_before_anything_is_trained(binding, tmp_path, capsys):
    constant = tmp_path / "rule.txt.gz"
    none = np.zeros_like(binding.windows.scores)
    write_tracks(tmp_path / "s.gz", binding.windows.names, binding.windows.letters, {constant: none})
    for flags, message in (
        (["--label-fractions", "0.01,8,1"], "got 2 and 0; 8 and 2; take larger ones"),
        (["--label-fractions", "0.5,0.5"], "--label-fractions: expected different fractions above 0"),
        (["--label-fractions", "half"], "got 'half'"),
        (["--label-fractions", "1.5"], "or numbers of training windows from 2 to"),
        (["--label-fractions", "9999"], "got '9999'"),
        (["--label-fractions", "0,1"], "got '0,1'"),
        (["--label-fractions", "nan"], "got 'nan'"),
        (["--rule", binding.scores], "give --label-fractions too"),
        (["--label-fractions", "1", "--rule", constant], "every base has the rule's score of 0"),
        (["--label-fractions", "1", "--split", "published"], "test part"),
        (["--label-fractions", "1", "--random-core"], "leave --init-from and --random-core out"),
        (["--label-fractions", "1", "--seeds", "0"], "--seeds"),
        (["--label-fractions", "1", "--features", "9"], "has layers 0"),
        (["--label-fractions", "1", "--compare-with", "cnn,cnn"], "each once, got 'cnn,cnn'"),
        (["--label-fractions", "1", "--compare-with", "gpt"], "some of untrained, cnn, dilated"),
        (["--label-fractions", "1", "--test-contigs", "chrZ"], "no window on chrZ"),
        (["--test-contigs", "chr1", "--split", "published"], "of the blocks split"),
    ):
        assert curve(binding, tmp_path / "m", *flags) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "m").exists()
    assert curve(binding, tmp_path / "m", "--label-fractions", "0.2,1", "--dry-run") == 0
    assert "8 models" in capsys.readouterr().out
    assert curve(binding, tmp_path / "m", "--label-fractions", "1", "--compare-with", "cnn", "--dry-run") == 0
    assert "2 models" in capsys.readouterr().out
    assert not (tmp_path / "m").exists()


def test_contigs_of_the_test_part_are_it_in_an_evaluation_too(binding, tmp_path):
    names = [f"chr{1 + (at < 60)}{name[4:]}" for at, name in enumerate(binding.windows.names)]
    tables = ["--sequences", tmp_path / "s.gz", "--scores", tmp_path / "y.gz"]
    windows = binding.windows
    write_tracks(tmp_path / "s.gz", names, windows.letters, {tmp_path / "y.gz": windows.scores})
    assert binding.finetune(tmp_path, *FAST, *tables, "--test-contigs", "chr2") == 0
    out = tmp_path / "evaluation_test.json"
    words = ["evaluate", tmp_path / "vocab4", *tables, "--part", "test", "--out", out]
    assert main(list(map(str, words))) == 0
    split = json.loads(out.read_text())["split"]
    assert split["windows"]["test"] == 60
    assert split["digest"] == json.loads((tmp_path / "results_vocab4.json").read_text())["split"]["digest"]
