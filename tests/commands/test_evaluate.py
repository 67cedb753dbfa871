"""Tests for `dnalm evaluate`."""

import json
import shutil

import numpy as np
import pytest
import torch

import dnalm.evaluate.binding
from dnalm.cli import main
from dnalm.files import sha256
from dnalm.formats.binding import BindingSet, write_binding
from dnalm.report.binding import kind_of
from dnalm.report.comparisons import ranked, read_binding
from dnalm.results import decode
from dnalm.results.binding import BindingModelInfo

OLDER = ["vocab4 (models/evaluation_test, other weights)"]


@pytest.fixture
def copied(models, tmp_path):
    """A folder with two of the models, to be changed."""
    for name in ("vocab4", "baseline"):
        shutil.copytree(models / name, tmp_path / "models" / name)
        shutil.copy(models / f"results_{name}.json", tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def motif(tmp_path):
    """Flags that scan for the planted site."""
    rows = "\n".join(" ".join("0.97" if letter == base else "0.01" for letter in "ACGT") for base in "GATAAC")
    head = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF GATAAC\nletter-probability matrix: "
    (tmp_path / "m.meme").write_text(f"{head}alength= 4 w= 6 nsites= 20 E= 0\n{rows}\n")
    return ["--motif", tmp_path / "m.meme"]


def evaluate(binding, *args):
    return main(["evaluate", *map(str, args), *binding.flags, "--precision", "fp32"])


def compared(folder, part="test"):
    """The models of a part, as the page names them."""
    (one,) = (each for each in read_binding([folder]).comparisons if each.part == part)
    return ranked(one.models)


def subset(binding, folder, *, count=240, cut=np.s_[:], **fields):
    """Write some windows, and of each a stretch, as a set of its own."""
    letters, scores = (each[:count, cut] for each in (binding.windows.letters, binding.windows.scores))
    names = [f"chr9_{100 * i}_{100 * i + letters.shape[1] - 1}" for i in range(count)]
    folder.mkdir()
    windows = BindingSet(**({"names": names, "letters": letters, "scores": scores} | fields))
    write_binding(folder / "s.gz", folder / "y.gz", windows)
    return binding._replace(sequences=folder / "s.gz", scores=folder / "y.gz")


def r_of(entry):
    return entry["scores"]["pearson_r"]["value"]


def test_validation_figures_are_those_of_training(binding, models, tmp_path):
    out = tmp_path / "r.json"
    assert evaluate(binding, models / "baseline", models / "vocab4", "--out", out) == 0
    found = json.loads(out.read_text())
    for name, near in (("baseline", 1e-6), ("vocab4", 0.02)):  # on states cached in bfloat16, 8 bits of each
        trained = json.loads((models / f"results_{name}.json").read_text())
        assert r_of(found["models"][name]) == pytest.approx(r_of(trained), abs=near)
    assert found["warnings"] == []


def test_test_part_with_baselines_and_pairs(binding, models, tmp_path, capsys, motif):
    flags = ["--part", "test", *motif, "--threshold", "5", "--out", tmp_path / "r.json"]
    assert evaluate(binding, models / "baseline", models / "vocab4", *flags) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["part"] == "test"
    assert found["windows"] == found["split"]["windows"]["test"]
    # the sites were planted, so that their scan is right but for chance sites and another height of score
    assert r_of(found["baselines"]["motif scan"]) > 0.9
    assert set(found["baselines"]) == {"mean score", "motif scan"}
    assert len(found["pairs"]) == 6
    run = json.loads((tmp_path / "run_r.json").read_text())
    assert (run["verb"], run["status"], run["metrics"]["pairs"]) == ("evaluate", "done", found["pairs"])
    assert run["metrics"]["models"]["vocab4"]["scores"] == found["models"]["vocab4"]["scores"]
    assert "detail" not in run["metrics"]["models"]["vocab4"]
    table = capsys.readouterr().out
    assert all(name in table for name in ("baseline", "vocab4", "mean score", "motif scan", "95 % interval"))


def test_a_pt_file_scores_as_its_folder_but_it_is_not_known_how_it_was_trained(binding, models, tmp_path):
    out = tmp_path / "evaluation_all.json"
    files = [
        shutil.copy(models / f"{name}.pt", tmp_path)
        for name in ("cnn_baseline_model", "gpt_binding_model_vocab4")
    ]
    given = (*files, models / "baseline", models / "vocab4")  # letters A C G T need no other file
    assert evaluate(binding, *given, "--part", "all", "--split", "blocks", "--out", out) == 0
    found = json.loads(out.read_text())
    cnn, gpt, *folders = found["models"].values()
    assert [r_of(cnn), r_of(gpt)] == list(map(r_of, folders))
    assert (
        len(found["warnings"]) == 4
    )  # the files do not name their windows, the folders were trained on some
    assert (gpt["model"]["tune"], gpt["model"]["trained_parameters"]) == ("unknown", None)
    assert "from a .pt file" in kind_of(decode(gpt["model"], BindingModelInfo, tmp_path))
    assert main(["compare", str(tmp_path)]) == 0  # the page takes such models


def test_models_of_different_splits_and_windows_are_not_mixed(binding, models, tmp_path, capsys):
    for name, gap in (("a", "7"), ("b", "9")):  # the gap does not decide the published split
        flags = ["--split", "published", "--gap", gap, "--name", name, "--epochs", "1"]
        assert binding.baseline(tmp_path, *flags) == 0
    assert evaluate(binding, tmp_path / "a", tmp_path / "b") == 0
    capsys.readouterr()
    for given, message in (
        ([models / "vocab4", tmp_path / "a"], "different splits"),
        ([tmp_path / "a", "--part", "test"], "the published split"),
    ):
        assert evaluate(binding, *given) == 2
        assert message in capsys.readouterr().err
    out = tmp_path / "all.json"
    assert evaluate(binding, models / "vocab4", tmp_path / "a", "--part", "all", "--out", out) == 0
    first, second = json.loads(out.read_text())["warnings"]
    assert "vocab4: " in first
    assert "trained on some of them" in first
    assert "a: trained on other windows or another split" in second
    capsys.readouterr()
    scores = np.ascontiguousarray(binding.windows.scores[:, ::-1])
    other = subset(binding, tmp_path / "other", names=binding.windows.names, scores=scores)
    assert evaluate(other, models / "baseline") == 0
    assert "trained on other windows" in capsys.readouterr().err


def test_compare_knows_a_model_by_its_weights_and_distinguishes_an_older_one(binding, copied):
    evaluations = {part: copied / f"evaluation_{part}.json" for part in ("test", "validation")}
    for part, out in evaluations.items():
        assert evaluate(binding, copied / "vocab4", "--part", part, "--out", out) == 0
    # Cached states are in bfloat16, evaluated ones are not: one model still, known by its file on disk.
    assert "vocab4" in compared(copied, "validation")
    weights = sha256(copied / "vocab4" / "checkpoint" / "model.safetensors")
    for file in (copied / "results_vocab4.json", *evaluations.values()):
        content = json.loads(file.read_text())
        assert content.get("models", {}).get("vocab4", content)["model"]["weights"] == weights
    assert len(compared(copied, "validation")) == 2
    assert binding.finetune(copied, "--overwrite", "--lr", "1e-5") == 0
    assert compared(copied) == OLDER


class Evil:
    def __reduce__(self):
        return (open, ("/tmp/never", "w"))


def test_mistakes_are_refused_before_anything_is_written(
    binding, models, tmp_path, capsys, motif, monkeypatch
):
    cnn, out, evil = models / "baseline", tmp_path / "r.json", tmp_path / "evil.pt"
    torch.save({"model_state": Evil()}, evil)
    for given, message in (
        *(([path], str(path)) for path in (binding.outputs / "vocab4", tmp_path, binding.sequences, evil)),
        ([cnn, "--motif", tmp_path / "none.meme"], "no such file"),
        ([cnn, *motif, "--threshold", "99"], "at most"),
        ([cnn, *motif, "--threshold", "5", "--pvalue", "0.1"], "choose one"),
        ([], "no model is given"),
        (["--split", "blocks"], "no model is given"),
        ([cnn, cnn], "given twice"),
    ):
        assert evaluate(binding, *given, "--out", out) == 2
        assert message in capsys.readouterr().err
        assert {path.name for path in tmp_path.iterdir()} == {"m.meme", "evil.pt"}
    out.write_text("mine")
    assert evaluate(binding, cnn, "--out", out) == 2
    assert out.read_text() == "mine"

    def stop(*_, **_how):
        raise KeyboardInterrupt

    monkeypatch.setattr(dnalm.evaluate.binding, "predict", stop)
    assert evaluate(binding, cnn, "--out", tmp_path / "s.json") == 130
    assert json.loads((tmp_path / "run_s.json").read_text())["status"] == "interrupted"
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize(
    ("count", "length", "split", "kind"),
    [(3, 40, "auto", "none"), (3, 10, "published", "none"), (240, 10, "auto", "blocks")],
)
def test_all_of_a_set_too_small_or_too_short_to_split_is_evaluated(
    binding, models, tmp_path, capsys, motif, count, length, split, kind
):
    some = subset(
        binding, tmp_path / "few", count=count, cut=np.s_[15 : 15 + length] if length < 40 else np.s_[:]
    )
    out = tmp_path / "evaluation_all.json"
    flags = [*motif, "--threshold", "5", "--split", split, "--out", out]
    assert evaluate(some, models / "baseline", *flags) == 2  # there is no validation part, or no search
    assert not out.exists()
    capsys.readouterr()
    assert evaluate(some, models / "baseline", *flags, "--part", "all") == 0
    assert capsys.readouterr().err.count("the mean score is no baseline here") == (kind == "none")
    found = json.loads(out.read_text())
    baselines = {"motif scan"} if kind == "none" else {"mean score", "motif scan"}
    assert (found["windows"], found["bases"], set(found["baselines"])) == (count, count * length, baselines)
    assert (found["split"]["kind"], found["split"]["near_duplicates"]) == (kind, None)
    if length == 40:  # the page takes it
        assert main(["compare", str(tmp_path)]) == 0
        assert "without a split" in (tmp_path / "report.html").read_text()
