"""Tests for `dnalm finetune`, `dnalm baseline` and what they share."""

import json
import shutil

import numpy as np
import pytest
import torch

import dnalm
from dnalm import checkpoint
from dnalm.cli import main, parse
from dnalm.config import read_recipe
from dnalm.data.binding import SplitConfig, split_of
from dnalm.formats.binding import BindingSet, write_binding
from dnalm.models.binding import BindingModel
from dnalm.models.local_start import start_local
from dnalm.models.open import open_binding
from dnalm.train.run import TrainingRun


def results(out, name="vocab4"):
    return json.loads((out / f"results_{name}.json").read_text())


def refused(capsys, code):
    assert code == 2
    return capsys.readouterr().err


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
        # What the published scripts draw; their R is a mean over batches of windows.
        assert content["pearson_r"] == found["scores"]["pearson_r_batches"]
        history = content["training_history"]
        assert history["epochs"] == [1, 2]
        assert history["val_losses"] == found["training"]["history"]["val_loss"][1:]
        assert len(history["train_losses"]) == len(history["pearson_scores"]) == 2
        assert (content["epoch"], len(content["epoch_times"])) == (found["training"]["best_epoch"], 2)
        assert 0 < sum(content["epoch_times"]) <= content["elapsed_time"]
        assert name == "baseline" or content["vocab_size"] == 4


def test_what_was_trained_is_in_the_results(models):
    names = ("vocab4", "vocab4_random", "lora", "baseline")
    vocab4, random, lora, cnn = (results(models, name)["model"] for name in names)
    mix, head = 2, 2 * 16 + 16 * 128 * 11 + 128 + 129
    assert vocab4["trained_parameters"] == mix + head < vocab4["parameters"]
    assert vocab4["features"] == "mix"  # the default
    assert cnn["trained_parameters"] == cnn["parameters"] == 186_497
    assert (vocab4["causal"], cnn["causal"]) == (True, False)
    assert (vocab4["random_core"], random["random_core"]) == (False, True)
    assert (lora["tune"], lora["both_strands"]) == ("lora", True)
    assert "toy.fa" in vocab4["core"]
    assert vocab4["trained_as"] == random["trained_as"]  # they are compared


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


def test_training_goes_on_from_core_and_head_of_a_trained_model(models, binding, tmp_path, capsys):
    for name, flags, message in (
        ("baseline", [], "--config vocab4"),
        ("full", [], "--config vocab4"),
        ("lora", [], "add --both-strands"),
        ("vocab4", ["--both-strands"], "leave out --both-strands"),
        ("vocab4", ["--random-core"], "choose one"),
        ("vocab4", ["--split", "published"], "other windows or another split"),
    ):
        code = binding.finetune(tmp_path / "r", "--init-from", models / name, *flags)
        assert message in refused(capsys, code)
        assert not (tmp_path / "r").exists()
    flags = ["--init-from", models / "vocab4", "--tune", "full", "--name", "second", "--lr", "1e-4"]
    assert binding.finetune(tmp_path, *flags, core="none") == 0
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


def test_constant_scores_are_not_trained_on_and_an_undefined_r_is_explained(
    changed, models, tmp_path, capsys
):
    flat = np.full_like(changed().windows.scores, 2.0)
    code = changed(scores=flat).baseline(tmp_path / "o")
    assert "every base has a true score of 2" in refused(capsys, code)
    assert not (tmp_path / "o").exists()
    out = ["--out", str(tmp_path / "e.json")]
    assert main(["evaluate", str(models / "baseline"), *changed(scores=flat).flags, *out]) == 0
    assert "every base has a true score of 2" in capsys.readouterr().err
    assert "every base has a true score of 2" in "".join(
        json.loads((tmp_path / "e.json").read_text())["warnings"]
    )


def test_a_mix_of_layers_is_saved_opened_and_continued(binding, tmp_path, capsys):
    assert binding.finetune(tmp_path, "--epochs", "1", "--name", "mix") == 0
    assert "gpt_binding_model_mix.pt has a mix of layers" in capsys.readouterr().err
    found = results(tmp_path, "mix")["model"]
    assert (found["features"], len(found["layer_weights"])) == ("mix", 2)  # embedding and one layer
    assert sum(found["layer_weights"]) == pytest.approx(1.0)
    letters = [bytes(row).decode() for row in binding.windows.letters[:3]]
    folder, file = (dnalm.load(tmp_path / name) for name in ("mix", "gpt_binding_model_mix.pt"))
    for one, other in zip(folder.predict(letters), file.predict(letters), strict=True):
        assert np.array_equal(one, other)
    again = ["--init-from", tmp_path / "mix", "--tune", "full", "--lr", "1e-4", "--epochs", "1"]
    assert binding.finetune(tmp_path, *again, "--name", "more", "--features", "last") == 0
    assert results(tmp_path, "more")["model"]["features"] == "mix"  # as the model that it began from
    layer = ["--features", "0", "--epochs", "1", "--name", "layer", "--tune", "lora"]
    assert binding.finetune(tmp_path, *layer) == 0
    assert "gpt_binding_model_layer.pt is not written" in capsys.readouterr().err
    assert not (tmp_path / "gpt_binding_model_layer.pt").exists()
    assert binding.finetune(tmp_path, "--recipe", "finetune-published", "--epochs", "1", "--name", "p") == 0
    assert results(tmp_path, "p")["model"]["features"] == "last"
    # States of all layers that do not fit are computed anew in each epoch, and not cached.
    assert binding.finetune(tmp_path / "o", "--epochs", "1", "--max-cache", "1e-6") == 0
    assert "computed anew in each epoch" in capsys.readouterr().err
    assert not (tmp_path / "o" / "cache").exists()


def test_the_dilated_cnn_is_a_baseline_by_its_own_name(binding, tmp_path):
    flags = ["--encoder", "dilated", "--width", "8", "--channels", "4", "--epochs", "1"]
    assert binding.baseline(tmp_path, *flags) == 0
    found = results(tmp_path, "dilated")
    assert (found["model"]["kind"], found["name"]) == ("dilated", "dilated")
    assert open_binding(tmp_path / "dilated").model.encoder.config.width == 8


def test_each_baseline_has_its_recipe_unless_another_is_given():
    rates = {}
    for flags in ([], ["--encoder", "dilated"], ["--encoder", "dilated", "--recipe", "baseline"]):
        options = parse("baseline", [*flags, "--sequences", "s", "--scores", "t"])
        rates[options.recipe, options.kind] = options.train.lr
    dilated = read_recipe("dilated")["train"]["lr"]
    assert rates["dilated", "dilated"] == dilated < rates["baseline", "cnn"] == rates["baseline", "dilated"]


def test_the_best_weights_are_stored_not_the_last(binding, tmp_path):
    # a rate that ruins the head after the first epochs: what is stored must be the best epoch's
    flags = ["--lr", "1.0", "--warmup-share", "0", "--epochs", "4", "--patience", "1"]
    assert binding.finetune(tmp_path, *flags) == 0
    found = results(tmp_path)
    losses = found["training"]["history"]["val_loss"]
    best = int(np.argmin(losses))
    assert found["training"]["best_epoch"] == best < len(losses) - 1
    assert found["scores"]["mse"] == pytest.approx(losses[best], rel=1e-5)


def test_a_foreign_file_in_the_folder_does_not_fail_a_finished_run(binding, tmp_path, capsys):
    (tmp_path / "results_old.json").write_text("{}")
    assert binding.baseline(tmp_path, "--channels", "8", "--epochs", "1") == 0
    shown = capsys.readouterr()
    assert "Pearson R" in shown.out
    assert "results_old.json" in shown.err
    # A head of another size has no published file.
    assert open_binding(tmp_path / "baseline").model.shape.head.channels == 8
    assert not (tmp_path / "cnn_baseline_model.pt").exists()


def test_cached_states_change_nothing_and_are_computed_once(models, binding, tmp_path, capsys):
    assert binding.finetune(tmp_path, "--max-cache", "0") == 0
    assert not (tmp_path / "cache").exists()
    cached, computed = (results(out)["scores"]["pearson_r"]["value"] for out in (models, tmp_path))
    assert computed == pytest.approx(cached, abs=0.02)  # bf16
    shutil.copytree(models / "cache", tmp_path / "cache")
    capsys.readouterr()  # without the copies fewer windows are read
    assert binding.finetune(tmp_path, "--overwrite", "--lr", "1e-4", "--max-shift", "0") == 0
    assert "encoding" not in capsys.readouterr().err
    assert results(tmp_path)["training"]["states_seconds"] > 0  # whenever they were computed
    assert results(tmp_path)["model"]["trained_as"] != results(models)["model"]["trained_as"]


def test_each_window_and_each_copy_is_given_its_own_states(binding, tmp_path, monkeypatch):
    runs, scales, fit = [], [], TrainingRun.fit

    def seen(run, *given, **more):
        runs.append(run)
        scales.append(run.model.head.layer_norm.weight.clone())
        return fit(run, *given, **more)

    monkeypatch.setattr(TrainingRun, "fit", seen)
    assert binding.finetune(tmp_path, "--max-shift", "4", "--epochs", "1", "--both-strands") == 0
    assert (scales[0] != 1).all()  # it starts from the core's states
    task, model = runs[0].task, runs[0].model.eval()
    assert len(task.train) > 1.5 * results(tmp_path)["split"]["windows"]["train"]  # copies too
    for part in (task.train, task.validation):
        for rows in np.array_split(np.arange(len(part)), 8):
            batch = part.take(rows)
            with torch.no_grad():
                wanted = model.encode(batch.tokens)
            torch.testing.assert_close(batch.states.float(), wanted, rtol=0.01, atol=0.01)  # bfloat16


def test_the_test_part_is_not_looked_at(models, binding, tmp_path, changed):
    hidden = split_of(binding.windows, SplitConfig(gap=100)).test
    scores = binding.windows.scores.copy()
    scores[hidden] = 0.0
    scores[hidden, 3] = 500.0  # would ruin any loss it entered
    assert changed(scores=scores).baseline(tmp_path) == 0
    assert results(tmp_path, "baseline")["scores"] == results(models, "baseline")["scores"]


def test_plot_only_draws_and_a_dry_run_writes_nothing(models, binding, tmp_path, capsys):
    before = {path: path.read_bytes() for path in models.glob("results_*.json")}
    (models / "performance_comparison.png").unlink()
    assert main(["baseline", "--out", str(models), "--plot-only"]) == 0
    assert str(models / "performance_comparison.png") in capsys.readouterr().out
    assert (models / "performance_comparison.png").is_file()
    assert before == {path: path.read_bytes() for path in models.glob("results_*.json")}
    assert binding.finetune(tmp_path / "new", "--dry-run") == 0
    assert not (tmp_path / "new").exists()


def test_a_published_checkpoint_is_a_core(binding, models, tmp_path):
    shutil.copy(binding.outputs / "ckpt_vocab4.pt", tmp_path)
    assert binding.finetune(tmp_path / "m", core=tmp_path) == 0
    assert results(tmp_path / "m")["scores"] == results(models)["scores"]


def test_names_without_a_position_are_for_the_published_split(tmp_path, capsys, changed):
    unnamed = changed(names=[f"peak{i}" for i in range(240)])
    assert "use --split published" in refused(capsys, unnamed.baseline(tmp_path / "m"))
    assert unnamed.baseline(tmp_path / "m", "--split", "published", "--epochs", "1") == 0
    assert "--part test" not in capsys.readouterr().out  # it has none


def test_mistakes_are_refused_and_nothing_is_written(models, binding, tmp_path, capsys, changed):
    long = np.tile(binding.windows.letters, 2)
    doubled, cores = changed(letters=long, scores=np.zeros(long.shape, "f4")), str(binding.outputs / "vocab4")
    for train, flags, message in (
        (binding.finetune, ["--config", "full", "--checkpoint-dir", cores], "--config full"),
        (binding.finetune, ["--checkpoint-dir", str(tmp_path)], "run dnalm pretrain"),
        (doubled.finetune, [], "80 bases"),
        (binding.finetune, ["--max-cache", "1e-6", "--features", "last"], "--max-cache"),
        (binding.baseline, ["--resume", "--overwrite"], "choose one"),
        (binding.baseline, ["--resume"], "nothing to resume"),
        (binding.baseline, ["--seed", "-1"], "seed"),
        (binding.baseline, ["--name", "a/b"], "--name"),
        (binding.baseline, ["--epochs", "0"], "epochs"),
        (binding.baseline, ["--kernel", "4"], "kernel"),
        (binding.baseline, ["--recipe", "basline"], "did you mean baseline?"),
        (binding.baseline, ["--max-shift", "40"], "max-shift"),
    ):
        assert message in refused(capsys, train(tmp_path / "m", *flags))
        assert not list(tmp_path.glob("m/*/run.json"))
    assert "--overwrite" in refused(capsys, binding.baseline(models))
