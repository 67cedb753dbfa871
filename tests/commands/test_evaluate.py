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
from dnalm.models.binding import BindingModel
from dnalm.report.binding import kind_of
from dnalm.report.comparisons import ranked, read_binding
from dnalm.results import BindingModelInfo, decode

SHORT = ["--epochs", "1", "--gap", "100", "--precision", "fp32"]
OLDER = ["vocab4 (models/evaluation_test, other weights)"]


@pytest.fixture(scope="module")
def models(binding, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated")
    assert main(["baseline", "--out", str(out), *binding.flags, *SHORT]) == 0
    assert main(finetune(binding, out)) == 0
    return out


@pytest.fixture
def copied(models, tmp_path):
    """The folder of the models, to be changed."""
    return shutil.copytree(models, tmp_path / "models")


@pytest.fixture
def motif(tmp_path):
    """Flags that scan for the planted site."""
    rows = "\n".join(" ".join("0.97" if letter == base else "0.01" for letter in "ACGT") for base in "GATAAC")
    head = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF GATAAC\nletter-probability matrix: "
    (tmp_path / "m.meme").write_text(f"{head}alength= 4 w= 6 nsites= 20 E= 0\n{rows}\n")
    return ["--motif", tmp_path / "m.meme"]


def finetune(binding, out):
    return ["finetune", "--checkpoint-dir", str(binding.outputs), "--out", str(out), *binding.flags, *SHORT]


def evaluate(binding, *args):
    return main(["evaluate", *map(str, args), *binding.flags, "--precision", "fp32"])


def compared(folder, part="test"):
    """The models of a part, as the page names them."""
    (one,) = (each for each in read_binding([folder]).comparisons if each.part == part)
    return ranked(one.models)


def write_set(binding, folder, windows):
    folder.mkdir()
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


@pytest.mark.parametrize(
    ("file", "folder"), [("cnn_baseline_model.pt", "baseline"), ("gpt_binding_model_vocab4.pt", "vocab4")]
)
def test_a_pt_file_scores_as_its_folder(binding, models, tmp_path, file, folder):
    out = tmp_path / "r.json"
    flags = ["--part", "all", "--split", "blocks", "--out", out]
    assert evaluate(binding, models / file, models / folder, *flags) == 0
    found = json.loads(out.read_text())
    one, other = map(r_of, found["models"].values())
    assert one == other
    assert len(found["warnings"]) == 2  # the file does not name its windows, the folder was trained on some


def test_of_a_pt_file_it_is_not_known_how_it_was_trained(binding, models, tmp_path):
    name = "gpt_binding_model_vocab4"
    file = shutil.copy(models / f"{name}.pt", tmp_path)  # A C G T: it needs nothing else
    out = tmp_path / "evaluation_all.json"
    assert evaluate(binding, file, "--part", "all", "--out", out) == 0
    about = json.loads(out.read_text())["models"][name]["model"]
    assert (about["tune"], about["trained_parameters"]) == ("unknown", None)
    assert "from a .pt file" in kind_of(decode(about, BindingModelInfo, tmp_path))
    assert main(["compare", str(tmp_path)]) == 0  # the page takes such a model


def test_models_of_different_splits_are_not_mixed(binding, models, tmp_path, capsys):
    for name, gap in (("a", "7"), ("b", "9")):  # the gap does not decide the published split
        flags = ["--split", "published", "--gap", gap, "--name", name]
        assert main(["baseline", "--out", str(tmp_path), *binding.flags, *SHORT, *flags]) == 0
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


def test_other_windows_give_a_warning(binding, models, tmp_path, capsys):
    scores = np.ascontiguousarray(binding.windows.scores[:, ::-1])
    other = BindingSet(binding.windows.names, binding.windows.letters, scores)
    assert evaluate(write_set(binding, tmp_path / "other", other), models / "baseline") == 0
    assert "trained on other windows" in capsys.readouterr().err


def test_compare_knows_a_model_by_its_weights_and_distinguishes_an_older_one(binding, copied):
    for part in ("test", "validation"):
        out = copied / f"evaluation_{part}.json"
        assert evaluate(binding, copied / "vocab4", "--part", part, "--out", out) == 0
    # Cached states are in bfloat16, evaluated ones are not: one model still.
    assert "vocab4" in compared(copied, "validation")
    assert len(compared(copied, "validation")) == 2
    assert main([*finetune(binding, copied), "--lr", "1e-5", "--overwrite"]) == 0
    assert compared(copied) == OLDER


def test_a_model_is_known_where_merging_gives_other_bits(binding, copied, monkeypatch):
    """As on another device, or with another code path of the CPU's matrix library."""
    out = copied / "evaluation_test.json"
    merge = BindingModel.merge

    @torch.no_grad()
    def nudged(model):
        merge(model)
        weight = model.head.conv1d.weight
        weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))

    monkeypatch.setattr(BindingModel, "merge", nudged)
    assert evaluate(binding, copied / "vocab4", "--part", "test", "--out", out) == 0
    assert compared(copied) == ["vocab4"]
    weights = sha256(copied / "vocab4" / "checkpoint" / "model.safetensors")
    for file in (copied / "results_vocab4.json", out):
        content = json.loads(file.read_text())
        assert content.get("models", {}).get("vocab4", content)["model"]["weights"] == weights


def test_models_trained_otherwise_are_no_twins(binding, copied, capsys):
    for flags, twins in ((["--epochs", "2"], False), (["--overwrite"], True)):
        assert main([*finetune(binding, copied), "--random-core", *flags]) == 0
        capsys.readouterr()
        assert main(["compare", str(copied)]) == 0
        assert ("untrained core" in capsys.readouterr().out) == twins


class Evil:
    def __reduce__(self):
        return (open, ("/tmp/never", "w"))


def test_refuses_what_is_no_model(binding, tmp_path, capsys):
    torch.save({"model_state": Evil()}, tmp_path / "evil.pt")
    for path in (binding.outputs / "vocab4", tmp_path, binding.sequences, tmp_path / "evil.pt"):
        assert evaluate(binding, path) == 2
        assert str(path) in capsys.readouterr().err


def test_an_interrupted_evaluation_is_recorded_so(binding, models, tmp_path, monkeypatch):
    def stop(*_, **_how):
        raise KeyboardInterrupt

    monkeypatch.setattr(dnalm.evaluate.binding, "predict", stop)
    assert evaluate(binding, models / "baseline", "--out", tmp_path / "r.json") == 130
    assert json.loads((tmp_path / "run_r.json").read_text())["status"] == "interrupted"
    assert not (tmp_path / "r.json").exists()


def test_mistakes_are_refused_before_anything_is_written(binding, models, tmp_path, capsys, motif):
    cnn, out = models / "baseline", tmp_path / "r.json"
    for given, message in (
        ([cnn, "--motif", tmp_path / "none.meme"], "no such file"),
        ([cnn, *motif, "--threshold", "99"], "at most"),
        ([cnn, *motif, "--threshold", "5", "--pvalue", "0.1"], "choose one"),
        ([], "no model is given"),
        (["--split", "blocks"], "no model is given"),
        ([cnn, cnn], "given twice"),
    ):
        assert evaluate(binding, *given, "--out", out) == 2
        assert message in capsys.readouterr().err
        assert {path.name for path in tmp_path.iterdir()} == {"m.meme"}
    out.write_text("mine")
    assert evaluate(binding, cnn, "--out", out) == 2
    assert out.read_text() == "mine"


def small_set(binding, folder, count, length):
    """Write a stretch of some windows as a set of its own."""
    names = [f"chr9_{100 * i}_{100 * i + length - 1}" for i in range(count)]
    cut = np.s_[:count, 15 : 15 + length] if length < 40 else np.s_[:count]
    windows = binding.windows
    return write_set(binding, folder, BindingSet(names, windows.letters[cut], windows.scores[cut]))


@pytest.mark.parametrize(("length", "split"), [(40, "auto"), (10, "published")])
def test_all_of_a_set_too_small_to_split_is_evaluated(
    binding, models, tmp_path, capsys, length, split, motif
):
    few = small_set(binding, tmp_path / "few", 3, length)
    out = tmp_path / "evaluation_all.json"
    flags = [*motif, "--threshold", "5", "--split", split, "--out", out]
    assert evaluate(few, models / "baseline", *flags) == 2  # of the validation part there is none
    assert not out.exists()
    capsys.readouterr()
    assert evaluate(few, models / "baseline", *flags, "--part", "all") == 0
    assert capsys.readouterr().err.count("the mean score is no baseline here") == 1
    found = json.loads(out.read_text())
    assert (found["windows"], found["bases"], set(found["baselines"])) == (3, 3 * length, {"motif scan"})
    assert (found["split"]["kind"], found["split"]["near_duplicates"]) == ("none", None)
    assert main(["compare", str(tmp_path)]) == 0  # the page takes it
    assert "without a split" in (tmp_path / "report.html").read_text()


def test_all_of_a_set_too_short_to_search_is_evaluated_with_the_mean_score(binding, models, tmp_path):
    short = small_set(binding, tmp_path / "short", 240, 10)
    out = tmp_path / "r.json"
    assert evaluate(short, models / "baseline", "--out", out) == 2
    assert evaluate(short, models / "baseline", "--out", out, "--part", "all") == 0
    found = json.loads(out.read_text())
    assert (found["split"]["kind"], found["split"]["near_duplicates"]) == ("blocks", None)
    assert set(found["baselines"]) == {"mean score"}
