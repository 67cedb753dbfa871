"""Tests for `dnalm evaluate`."""

import json
import shutil

import numpy as np
import pytest
import torch

from dnalm.cli import main
from dnalm.files import sha256, write_json
from dnalm.models.binding import BindingModel
from dnalm.report.binding import kind_of
from dnalm.report.read_binding import read_binding
from dnalm.results import BindingModelInfo, decode

SHORT = ["--epochs", "1", "--gap", "100", "--precision", "fp32"]
MOTIF = """MEME version 4

ALPHABET= ACGT

MOTIF GATAAC
letter-probability matrix: alength= 4 w= 6 nsites= 20 E= 0
"""
ROWS = {
    "A": "0.97 0.01 0.01 0.01",
    "C": "0.01 0.97 0.01 0.01",
    "G": "0.01 0.01 0.97 0.01",
    "T": "0.01 0.01 0.01 0.97",
}


@pytest.fixture(scope="module")
def models(binding, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated")
    assert main(["baseline", "--out", str(out), *binding.flags, *SHORT]) == 0
    core = ["--checkpoint-dir", str(binding.outputs)]
    assert main(["finetune", "--out", str(out), *core, *binding.flags, *SHORT]) == 0
    return out


def write_motif(folder):
    (folder / "m.meme").write_text(MOTIF + "\n".join(ROWS[base] for base in "GATAAC") + "\n")
    return folder / "m.meme"


def evaluate(binding, *args):
    return main(["evaluate", *map(str, args), *binding.flags, "--precision", "fp32"])


def test_validation_figures_are_those_of_training(binding, models, tmp_path):
    out = tmp_path / "r.json"
    assert evaluate(binding, models / "baseline", models / "vocab4", "--out", out) == 0
    found = json.loads(out.read_text())
    for name in ("baseline", "vocab4"):
        trained = json.loads((models / f"results_{name}.json").read_text())
        # vocab4 was judged on states kept in bfloat16, 8 bits of each
        near = 1e-6 if name == "baseline" else 0.02
        value = found["models"][name]["scores"]["pearson_r"]["value"]
        assert value == pytest.approx(trained["scores"]["pearson_r"]["value"], abs=near)
    assert found["warnings"] == []


def test_test_part_with_baselines_and_pairs(binding, models, tmp_path, capsys):
    write_motif(tmp_path)
    flags = [
        "--part",
        "test",
        "--motif",
        tmp_path / "m.meme",
        "--threshold",
        "5",
        "--out",
        tmp_path / "r.json",
    ]
    assert evaluate(binding, models / "baseline", models / "vocab4", *flags) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["part"] == "test"
    assert found["windows"] == found["split"]["windows"]["test"]
    # the sites were planted, so that their scan is right but for chance sites and another height of score
    assert found["baselines"]["motif scan"]["scores"]["pearson_r"]["value"] > 0.9
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
    if folder == "vocab4":  # a file whose vocabulary is A C G T needs nothing else
        shutil.copy(models / file, tmp_path / file)
    assert (
        evaluate(binding, models / file, models / folder, "--part", "all", "--split", "blocks", "--out", out)
        == 0
    )
    found = json.loads(out.read_text())
    values = [entry["scores"]["pearson_r"]["value"] for entry in found["models"].values()]
    assert values[0] == values[1]
    assert any("does not name the windows it was trained on" in warning for warning in found["warnings"])


def test_a_pt_file_is_said_to_be_no_more_than_it_tells(binding, models, tmp_path):
    shutil.copy(models / "gpt_binding_model_vocab4.pt", tmp_path)
    file, out = tmp_path / "gpt_binding_model_vocab4.pt", tmp_path / "evaluation_all.json"
    assert evaluate(binding, file, "--part", "all", "--out", out) == 0
    about = json.loads(out.read_text())["models"]["gpt_binding_model_vocab4"]["model"]
    assert (about["tune"], about["trained_parameters"]) == ("unknown", None)
    assert kind_of(decode(about, BindingModelInfo, tmp_path)) == "GPT from a .pt file, training unknown"
    assert main(["compare", str(tmp_path)]) == 0  # the page takes such a model


def test_models_of_different_splits_are_not_mixed(binding, models, tmp_path, capsys):
    other = tmp_path / "m"
    assert main(["baseline", "--out", str(other), *binding.flags, *SHORT, "--split", "published"]) == 0
    assert evaluate(binding, models / "vocab4", other / "baseline") == 2
    assert "different splits" in capsys.readouterr().err
    out = tmp_path / "all.json"
    assert evaluate(binding, models / "vocab4", other / "baseline", "--part", "all", "--out", out) == 0
    warnings = json.loads(out.read_text())["warnings"]
    assert [each.split(":")[0] for each in warnings] == ["vocab4", "baseline"]
    assert "it was trained on some of them" in warnings[0]
    assert "on other windows or another split; its training windows may be among these" in warnings[1]
    assert evaluate(binding, other / "baseline", "--part", "test") == 2
    assert "the published split has no such part" in capsys.readouterr().err


def test_what_does_not_decide_the_published_split_does_not_divide_models(binding, tmp_path):
    for name, gap in (("a", "7"), ("b", "9")):
        flags = ["--split", "published", "--gap", gap, "--name", name, "--epochs", "1"]
        assert main(["baseline", "--out", str(tmp_path), *binding.flags, *flags]) == 0
    assert evaluate(binding, tmp_path / "a", tmp_path / "b") == 0


def test_other_windows_are_said(binding, models, tmp_path, capsys):
    from dnalm.formats.binding import BindingSet, write_binding

    scores = np.ascontiguousarray(binding.windows.scores[:, ::-1])
    other = BindingSet(binding.windows.names, binding.windows.letters, scores)
    write_binding(tmp_path / "s.gz", tmp_path / "y.gz", other)
    changed = binding._replace(sequences=tmp_path / "s.gz", scores=tmp_path / "y.gz")
    assert evaluate(changed, models / "baseline") == 0
    assert "trained on other windows" in capsys.readouterr().err


def test_compare_knows_a_model_by_its_weights_and_tells_an_older_one_apart(binding, tmp_path, capsys):
    core = ["--checkpoint-dir", str(binding.outputs)]
    train = ["finetune", "--out", str(tmp_path), *core, *binding.flags, *SHORT]
    assert main(train) == 0
    for part in ("test", "validation"):
        out = tmp_path / f"evaluation_{part}.json"
        assert evaluate(binding, tmp_path / "vocab4", "--part", part, "--out", out) == 0
    (same,) = (each for each in read_binding([tmp_path]).comparisons if each.part == "validation")
    assert same.models() == ["vocab4"]  # kept states are in bfloat16, evaluated ones are not: one model still
    assert main([*train, "--lr", "1e-5", "--overwrite"]) == 0
    (test,) = (each for each in read_binding([tmp_path]).comparisons if each.part == "test")
    assert test.models() == ["vocab4 (evaluation_test, other weights)"]


def test_a_model_is_known_where_merging_gives_other_bits(binding, models, tmp_path, monkeypatch):
    """As on another device, or with another code path of the CPU's matrix library."""
    out = shutil.copytree(models, tmp_path / "models") / "evaluation_test.json"
    merge = BindingModel.merge

    @torch.no_grad()
    def nudged(model):
        merge(model)
        weight = model.head.conv1d.weight
        weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))

    monkeypatch.setattr(BindingModel, "merge", nudged)
    assert evaluate(binding, out.parent / "vocab4", "--part", "test", "--out", out) == 0
    (test,) = (each for each in read_binding([out.parent]).comparisons if each.part == "test")
    assert test.models() == ["vocab4"]
    weights = sha256(out.parent / "vocab4" / "checkpoint" / "model.safetensors")
    for content in (out.parent / "results_vocab4.json").read_text(), out.read_text():
        told = json.loads(content)
        assert told.get("models", {}).get("vocab4", told)["model"]["weights"] == weights


def test_an_evaluation_of_weights_that_an_unfinished_run_replaced_is_told_apart(
    binding, models, tmp_path, stopping
):
    out = shutil.copytree(models, tmp_path / "models") / "evaluation_test.json"
    assert evaluate(binding, out.parent / "vocab4", "--part", "test", "--out", out) == 0
    core = ["--checkpoint-dir", str(binding.outputs), "--epochs", "2", "--overwrite"]
    with stopping():
        train = ["finetune", "--out", str(out.parent), *core, *binding.flags, *SHORT[2:]]
        assert main([*train, "--lr", "1e-5"]) == 130
    assert not (out.parent / "results_vocab4.json").exists()
    (test,) = (each for each in read_binding([out.parent]).comparisons if each.part == "test")
    assert test.models() == ["vocab4 (evaluation_test, other weights)"]
    assert evaluate(binding, out.parent / "vocab4", "--part", "test", "--out", out) == 2  # it is there
    out.unlink()
    assert evaluate(binding, out.parent / "vocab4", "--part", "test", "--out", out) == 0
    (test,) = (each for each in read_binding([out.parent]).comparisons if each.part == "test")
    assert test.models() == ["vocab4"]  # of the checkpoint that the unfinished run has come to


def test_without_results_the_checkpoint_tells_whose_an_evaluation_is(binding, models, tmp_path):
    assert evaluate(binding, models / "vocab4", "--out", tmp_path / "evaluation_validation.json") == 0
    kept = tmp_path / "vocab4" / "checkpoint" / "checkpoint.json"

    def names():
        return read_binding([tmp_path]).comparisons[0].models()

    older = ["vocab4 (evaluation_validation, other weights)"]
    assert names() == ["vocab4"]  # an evaluation alone, copied here: there is nothing to compare it with
    write_json(tmp_path / "vocab4" / "run.json", {})
    assert names() == older  # a run was begun anew, and has no weights yet
    write_json(kept, {"files": {"model.safetensors": {"sha256": "others"}}})
    assert names() == older
    shutil.copy(models / "vocab4" / "checkpoint" / "checkpoint.json", kept)
    assert names() == ["vocab4"]
    write_json(kept, [])
    with pytest.raises(ValueError, match=r"checkpoint\.json"):
        names()
    shutil.copy(models / "results_vocab4.json", tmp_path)  # results say it themselves
    assert names() == ["vocab4"]


def test_models_trained_otherwise_are_no_twins(binding, tmp_path, capsys):
    core = ["--checkpoint-dir", str(binding.outputs)]
    train = ["finetune", "--out", str(tmp_path), *core, *binding.flags, *SHORT]
    assert main(train) == 0
    assert main([*train, "--random-core", "--epochs", "2"]) == 0
    assert main(["compare", str(tmp_path)]) == 0
    assert "untrained core" not in capsys.readouterr().out
    assert main([*train, "--random-core", "--overwrite"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path)]) == 0
    assert "untrained core" in capsys.readouterr().out


class Evil:
    def __reduce__(self):
        return (open, ("/tmp/never", "w"))


def test_refuses_what_is_no_model(binding, models, tmp_path, capsys):
    for path, message in (
        (binding.outputs / "vocab4", "got a model of kind 'language'"),
        (tmp_path, "no checkpoint.json in it"),
        (binding.sequences, "expected a PyTorch file of tensors"),
    ):
        assert evaluate(binding, path) == 2
        assert message in capsys.readouterr().err
    torch.save({"model_state": Evil()}, tmp_path / "evil.pt")
    assert evaluate(binding, tmp_path / "evil.pt") == 2
    assert "refused, because opening it would run" in capsys.readouterr().err


def test_an_evaluation_that_ends_badly_is_recorded_so(binding, models, tmp_path, monkeypatch):
    import dnalm.evaluate.binding as verb

    def stop(*_, **_how):
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "predict", stop)
    assert evaluate(binding, models / "baseline", "--out", tmp_path / "r.json") == 130
    assert json.loads((tmp_path / "run_r.json").read_text())["status"] == "interrupted"
    assert not (tmp_path / "r.json").exists()


def test_a_motif_is_looked_at_before_anything_is_written(binding, models, tmp_path, capsys):
    out = tmp_path / "r.json"
    for flags, message in (
        (["--motif", tmp_path / "none.meme"], "there is no such file"),
        (["--motif", write_motif(tmp_path), "--threshold", "99"], "at most"),
        (["--motif", write_motif(tmp_path), "--threshold", "5", "--pvalue", "0.1"], "choose one"),
    ):
        assert evaluate(binding, models / "baseline", *flags, "--out", out) == 2
        assert message in capsys.readouterr().err
        assert {path.name for path in tmp_path.iterdir()} <= {"m.meme"}


def test_refuses_to_replace_results(binding, models, tmp_path, capsys):
    out = tmp_path / "r.json"
    out.write_text("mine")
    assert evaluate(binding, models / "baseline", "--out", out) == 2
    assert out.read_text() == "mine"
    assert evaluate(binding, models / "baseline", models / "baseline") == 2
    assert "given twice" in capsys.readouterr().err


def test_refuses_to_judge_nothing(binding, tmp_path, capsys):
    out = tmp_path / "r.json"
    for flags in ([], ["--split", "blocks"], ["--part", "all"]):
        assert evaluate(binding, *flags, "--out", out) == 2
        assert "no model is given; give folders of dnalm finetune" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def small_set(binding, folder, count, length):
    """Write the first bases of some windows as a set of its own, and return its files."""
    from dnalm.formats.binding import BindingSet, write_binding

    windows = binding.windows
    names = [f"chr9_{100 * i}_{100 * i + length - 1}" for i in range(count)]
    begin = slice(15, 15 + length) if length < 40 else slice(None)
    small = BindingSet(names, windows.letters[:count, begin], windows.scores[:count, begin])
    folder.mkdir()
    write_binding(folder / "s.gz", folder / "y.gz", small)
    return binding._replace(sequences=folder / "s.gz", scores=folder / "y.gz")


@pytest.mark.parametrize("length", [40, 10])
@pytest.mark.parametrize("split", ["auto", "published"])
def test_all_of_a_set_too_small_to_split_is_judged(binding, models, tmp_path, capsys, length, split):
    few = small_set(binding, tmp_path / "few", 3, length)
    out = tmp_path / "evaluation_all.json"
    flags = ["--motif", write_motif(tmp_path), "--threshold", "5", "--split", split, "--out", out]
    assert evaluate(few, models / "baseline", *flags) == 2  # of the validation part there is none
    assert not out.exists()
    capsys.readouterr()
    assert evaluate(few, models / "baseline", *flags, "--part", "all") == 0
    told = capsys.readouterr()
    assert told.err.count("the mean score is no baseline here") == 1
    assert f"all of the set, which is not split: 3 windows, {3 * length} bases" in told.out
    found = json.loads(out.read_text())
    assert (found["windows"], set(found["baselines"])) == (3, {"motif scan"})
    assert found["split"]["kind"] == "none"
    assert found["split"]["near_duplicates"] is None
    assert any("cannot be split" in warning for warning in found["warnings"])
    assert main(["compare", str(tmp_path)]) == 0  # the page takes it
    assert "without a split" in (tmp_path / "report.html").read_text()


def test_all_of_a_set_too_short_to_search_is_judged_with_the_mean_score(binding, models, tmp_path):
    short = small_set(binding, tmp_path / "short", 240, 10)
    out = tmp_path / "r.json"
    assert evaluate(short, models / "baseline", "--out", out) == 2
    assert evaluate(short, models / "baseline", "--out", out, "--part", "all") == 0
    found = json.loads(out.read_text())
    assert (found["split"]["kind"], found["split"]["near_duplicates"]) == ("blocks", None)
    assert set(found["baselines"]) == {"mean score"}
