"""Tests for `dnalm finetune`, `dnalm baseline` and what they share."""

import json
import shutil

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import main
from dnalm.data.binding import SplitConfig, split_of
from dnalm.formats.binding import BindingSet, write_binding
from dnalm.models.binding import BindingModel
from dnalm.models.local_start import start_local
from dnalm.models.open import open_binding
from dnalm.train.run import TrainingRun

SHORT = ["--epochs", "2", "--gap", "100", "--precision", "fp32"]


def finetune(binding, out, *flags):
    args = ["--checkpoint-dir", str(binding.outputs), "--out", str(out), *binding.flags, *SHORT, *flags]
    return main(["finetune", *args])


def baseline(binding, out, *flags):
    return main(["baseline", "--out", str(out), *binding.flags, *SHORT, *flags])


def results(out, name="vocab4"):
    return json.loads((out / f"results_{name}.json").read_text())


def refused(capsys, code):
    assert code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def models(binding, tmp_path_factory):
    """A folder with both vocabularies, a random core, LoRA, and the baseline."""
    out = tmp_path_factory.mktemp("finetuned") / "my models"
    assert finetune(binding, out, "--config", "full") == 0
    assert finetune(binding, out) == 0
    assert finetune(binding, out, "--random-core") == 0
    assert finetune(binding, out, "--tune", "lora", "--both-strands", "--name", "lora") == 0
    assert baseline(binding, out) == 0
    return out


@pytest.fixture
def changed(binding, tmp_path):
    """A function that writes the windows with other fields, and returns the set."""

    def change(**fields):
        whole = vars(binding.windows) | fields
        write_binding(tmp_path / "s.gz", tmp_path / "y.gz", BindingSet(**whole))
        return binding._replace(sequences=tmp_path / "s.gz", scores=tmp_path / "y.gz")

    return change


@pytest.mark.parametrize("name", ["full", "vocab4", "vocab4_random", "lora", "baseline"])
def test_every_file_is_there_and_opens(models, name):
    found, run = results(models, name), json.loads((models / name / "run.json").read_text())
    assert (found["name"], run["status"]) == (name, "done")
    assert run["metrics"]["scores"] == found["scores"]
    assert found["training"]["epochs"] == 2
    assert found["training"]["history"]["epoch"] == [0, 1, 2]
    assert len(found["training"]["history"]["val_loss"]) == 3
    sums = np.load(models / name / "moments.npz")
    assert len(sums["names"]) == found["split"]["windows"]["validation"] == len(sums["moments"])
    for picture in ("finetuning_time_comparison", "performance_comparison", f"training_curves_{name}"):
        assert (models / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    weights = models / ("cnn_baseline_model.pt" if name == "baseline" else f"gpt_binding_model_{name}.pt")
    assert weights.exists() == (name != "full")  # the toy genome's own alphabet is in no published file
    if name != "full":
        content = torch.load(weights, weights_only=True)  # opens without any allowance
        assert ("model_state" in content) == (name == "baseline")


def test_what_was_trained_is_in_the_results(models):
    vocab4, random, lora, cnn = (
        results(models, name)["model"] for name in ("vocab4", "vocab4_random", "lora", "baseline")
    )
    assert vocab4["trained_parameters"] == 2 * 16 + 16 * 128 * 11 + 128 + 129 < vocab4["parameters"]
    assert cnn["trained_parameters"] == cnn["parameters"] == 186_497
    assert (vocab4["causal"], cnn["causal"]) == (True, False)
    assert (vocab4["random_core"], random["random_core"]) == (False, True)
    assert (lora["tune"], lora["both_strands"]) == ("lora", True)
    assert "toy.fa" in vocab4["core"]


def test_a_frozen_core_is_the_pretrained_one_and_a_random_one_begins_as_pretraining_did(models, binding):
    pretrained, _ = checkpoint.load(binding.outputs / "vocab4")
    stored = open_binding(models / "vocab4").model.encoder.state_dict()
    assert all(torch.equal(stored[name], pretrained[f"transformer.{name}"]) for name in stored)
    opened = open_binding(models / "vocab4_random").model
    torch.manual_seed(0)  # of the run
    untrained = BindingModel(opened.shape)
    start_local(untrained.encoder)  # the default recipe's start
    random = opened.encoder.state_dict()
    assert all(torch.equal(random[name], tensor) for name, tensor in untrained.encoder.state_dict().items())
    assert not torch.equal(random["wte.weight"], stored["wte.weight"])


def test_training_goes_on_from_core_and_head_of_a_trained_model(models, binding, tmp_path):
    flags = ["--init-from", str(models / "vocab4"), "--tune", "full", "--checkpoint-dir", "none"]
    assert finetune(binding, tmp_path, "--name", "second", "--lr", "1e-4", *flags) == 0
    found = results(tmp_path, "second")
    history = found["training"]["history"]
    before = results(models)["training"]["best_val_loss"]  # on states in bf16
    assert history["val_loss"][0] == pytest.approx(before, rel=3e-3)
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert found["model"]["trained_parameters"] == found["model"]["parameters"]
    assert f"then trained as {models / 'vocab4'}" in found["model"]["core"]
    # --resume knows it by the file that it began from: merging gives other bits on another machine.
    identity = checkpoint.describe(tmp_path / "second" / "last")["identity"]
    assert identity["core weights"] == checkpoint.stored_digest(checkpoint.describe(models / "vocab4"))


def test_refuses_to_go_on_from_what_does_not_fit(models, binding, tmp_path, capsys):
    for name, flags, message in (
        ("baseline", [], "--config vocab4"),
        ("full", [], "--config vocab4"),
        ("lora", [], "add --both-strands"),
        ("vocab4", ["--both-strands"], "leave out --both-strands"),
        ("vocab4", ["--random-core"], "choose one"),
        ("vocab4", ["--split", "published"], "other windows or another split"),
    ):
        code = finetune(binding, tmp_path / "r", "--init-from", str(models / name), *flags)
        assert message in refused(capsys, code)
        assert not (tmp_path / "r").exists()


def test_the_best_weights_are_stored_not_the_last(binding, tmp_path):
    # a rate that ruins the head after the first epochs: what is stored must be the best epoch's
    flags = ["--lr", "1.0", "--warmup-share", "0", "--epochs", "4", "--patience", "1"]
    assert finetune(binding, tmp_path, *flags) == 0
    found = results(tmp_path)
    losses = found["training"]["history"]["val_loss"]
    best = int(np.argmin(losses))
    assert found["training"]["best_epoch"] == best < len(losses) - 1
    assert found["scores"]["mse"] == pytest.approx(losses[best], rel=1e-5)


def test_the_head_starts_from_the_cores_states_and_the_cnns_does_not(binding, tmp_path):
    flags = ["--lr", "1e-30", "--min-lr", "0", "--epochs", "1"]  # at no rate a head stays as it started
    for verb, name in ((finetune, "vocab4"), (baseline, "baseline")):
        assert verb(binding, tmp_path, "--weight-decay", "0", *flags) == 0
        scale = open_binding(tmp_path / name).model.head.layer_norm.weight
        assert (scale == 1).any() == (name == "baseline")


def test_a_foreign_file_in_the_folder_does_not_fail_a_finished_run(binding, tmp_path, capsys):
    (tmp_path / "results_old.json").write_text("{}")
    assert baseline(binding, tmp_path, "--channels", "8") == 0
    shown = capsys.readouterr()
    assert "Pearson R" in shown.out
    assert "results_old.json" in shown.err
    # A head of another size has no published file.
    assert open_binding(tmp_path / "baseline").model.shape.head.channels == 8
    assert not (tmp_path / "cnn_baseline_model.pt").exists()


def test_cached_states_change_nothing_and_are_computed_once(models, binding, tmp_path, capsys):
    assert finetune(binding, tmp_path, "--max-cache", "0") == 0
    assert not (tmp_path / "cache").exists()
    for r in results(tmp_path)["scores"]["pearson_r"], results(models)["scores"]["pearson_r"]:
        assert r["value"] == pytest.approx(results(models)["scores"]["pearson_r"]["value"], abs=0.02)  # bf16
    shutil.copytree(models / "cache", tmp_path / "cache")
    capsys.readouterr()
    for flags in (["--lr", "1e-4"], ["--max-shift", "0"]):  # without the copies fewer windows are read
        assert finetune(binding, tmp_path, "--overwrite", *flags) == 0
        assert "encoding" not in capsys.readouterr().err
        assert results(tmp_path)["training"]["states_seconds"] > 0  # whenever they were computed


def test_each_window_and_each_copy_is_given_its_own_states(binding, tmp_path, monkeypatch):
    runs, train = [], TrainingRun.fit

    def seen(*given, **more):
        runs.append(given[0])
        return train(*given, **more)

    monkeypatch.setattr(TrainingRun, "fit", seen)
    assert finetune(binding, tmp_path, "--max-shift", "4", "--epochs", "1", "--both-strands") == 0
    task, model = runs[0].task, runs[0].model.eval()
    assert len(task.train) > 1.5 * results(tmp_path)["split"]["windows"]["train"]  # copies too
    for part in (task.train, task.validation):
        for rows in np.array_split(np.arange(len(part)), 8):
            batch = part.take(rows)
            with torch.no_grad():
                wanted = model.encode(batch.tokens)
            torch.testing.assert_close(batch.states.float(), wanted, rtol=0.01, atol=0.01)  # bfloat16


def test_a_stopped_run_resumes_to_the_same_bits(models, binding, tmp_path, stopping, capsys):
    with stopping():
        assert baseline(binding, tmp_path) == 130
    assert baseline(binding, tmp_path, "--lr", "9e-3", "--resume") == 2  # other settings
    assert baseline(binding, tmp_path, "--resume") == 0
    one, other = (open_binding(out / "baseline").model.state_dict() for out in (models, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)
    flags = ["--config", "full", "--resume"]
    capsys.readouterr()
    message = refused(capsys, finetune(binding, models, *flags, "--max-cache", "0"))
    assert "was True, is False" in message  # states cached or not are not one run
    assert finetune(binding, models, *flags) == 0


def test_the_test_part_is_not_looked_at(models, binding, tmp_path, changed):
    hidden = split_of(binding.windows, SplitConfig(gap=100)).test
    scores = binding.windows.scores.copy()
    scores[hidden] = 0.0
    scores[hidden, 3] = 500.0  # would ruin any loss it entered
    assert baseline(changed(scores=scores), tmp_path) == 0
    assert results(tmp_path, "baseline")["scores"] == results(models, "baseline")["scores"]


def test_plot_only_draws_and_trains_nothing(models, capsys):
    before = (models / "results_baseline.json").read_bytes()
    (models / "performance_comparison.png").unlink()
    assert main(["baseline", "--out", str(models), "--plot-only"]) == 0
    assert str(models / "performance_comparison.png") in capsys.readouterr().out
    assert (models / "performance_comparison.png").is_file()
    assert (models / "results_baseline.json").read_bytes() == before


def test_dry_run_writes_nothing(binding, tmp_path):
    assert finetune(binding, tmp_path / "new", "--dry-run") == 0
    assert not (tmp_path / "new").exists()


def test_a_published_checkpoint_is_a_core(binding, models, tmp_path):
    shutil.copy(binding.outputs / "ckpt_vocab4.pt", tmp_path)
    assert finetune(binding, tmp_path / "m", "--checkpoint-dir", str(tmp_path)) == 0
    assert results(tmp_path / "m")["scores"] == results(models)["scores"]


def test_refuses_a_core_that_does_not_fit(binding, tmp_path, capsys, changed):
    long = np.tile(binding.windows.letters, 2)
    doubled = changed(letters=long, scores=np.zeros(long.shape, "f4"))
    for windows, flags, message in (
        (binding, ["--config", "full", "--checkpoint-dir", str(binding.outputs / "vocab4")], "--config full"),
        (binding, ["--checkpoint-dir", str(tmp_path)], "run dnalm pretrain"),
        (doubled, [], "80 bases and the model's block 40"),
        (binding, ["--max-cache", "1e-6"], "--max-cache"),
    ):
        assert message in refused(capsys, finetune(windows, tmp_path / "m", *flags))
        assert not (tmp_path / "m" / "vocab4" / "run.json").exists()


def test_names_without_a_position_are_for_the_published_split(tmp_path, capsys, changed):
    unnamed = changed(names=[f"peak{i}" for i in range(240)])
    assert "use --split published" in refused(capsys, baseline(unnamed, tmp_path / "m"))
    assert baseline(unnamed, tmp_path / "m", "--split", "published", "--epochs", "1") == 0


def test_mistakes_are_refused_and_nothing_is_written(models, binding, tmp_path, capsys):
    assert "--overwrite" in refused(capsys, baseline(binding, models))
    for flags, message in (
        (["--resume", "--overwrite"], "choose one"),
        (["--resume"], "nothing to resume"),
        (["--seed", "-1"], "seed"),
        (["--name", "a/b"], "--name"),
        (["--epochs", "0"], "epochs"),
        (["--kernel", "4"], "kernel"),
        (["--recipe", "basline"], "did you mean baseline?"),
        (["--max-shift", "40"], "max-shift"),
    ):
        assert message in refused(capsys, baseline(binding, tmp_path / "m", *flags))
        assert not (tmp_path / "m").exists()


def test_an_untrained_core_is_refused_and_an_unfinished_one_gives_a_warning(
    binding, stopped_core, tmp_path, capsys
):
    untrained, unfinished = (["--checkpoint-dir", str(stopped_core(step))] for step in (0, 2))
    capsys.readouterr()
    assert "untrained" in refused(capsys, finetune(binding, tmp_path / "m", *untrained))
    assert not (tmp_path / "m").exists()
    assert finetune(binding, tmp_path / "m", *untrained, "--random-core", "--epochs", "1") == 0
    assert "unfinished" not in capsys.readouterr().err  # its weights are not taken
    assert finetune(binding, tmp_path / "m", *unfinished, "--epochs", "1") == 0
    assert capsys.readouterr().err.count("pretraining is unfinished (2 steps, status interrupted)") == 1
    assert results(tmp_path / "m")["model"]["core"].endswith("toy.fa, 2 steps, unfinished (interrupted)")


def test_what_training_begins_from_is_not_replaced(models, binding, tmp_path, capsys):
    shutil.copytree(binding.outputs, tmp_path / "o")
    shutil.copytree(models, tmp_path / "m")
    core = tmp_path / "c" / "vocab4"  # without a record it is not known to be a run
    shutil.copytree(binding.outputs / "vocab4" / "checkpoint", core / "checkpoint")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    of_core = ["--checkpoint-dir", str(tmp_path / "o")]
    for start in (of_core, []):  # another core, too
        for flags in ([], ["--overwrite"], ["--resume"]):
            message = refused(capsys, finetune(binding, tmp_path / "o", *start, *flags))
            assert "a run of dnalm pretrain" in message
            assert "--overwrite" not in message
    starts = [("m", "--init-from", f"m/{path}") for path in ("vocab4", "vocab4/checkpoint")]
    starts += [("m", "--init-from", "m/gpt_binding_model_vocab4.pt"), ("c", "--checkpoint-dir", "c/vocab4")]
    for out, flag, path in starts:
        for more in (["--overwrite"], []) if out == "m" else (["--overwrite"],):
            code = finetune(binding, tmp_path / out, flag, str(tmp_path / path), *more)
            assert "would begin from it" in refused(capsys, code)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert finetune(binding, tmp_path / "o", *of_core, "--name", "tuned", "--epochs", "1") == 0
