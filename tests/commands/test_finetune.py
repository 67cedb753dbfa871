"""Tests for `dnalm finetune`, `dnalm baseline` and what they share."""

import json
import shutil

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import main
from dnalm.formats.binding import BindingSet, write_binding
from dnalm.models.open import open_binding
from dnalm.train.run import TrainingRun

SHORT = ["--epochs", "2", "--gap", "100", "--precision", "fp32"]


def finetune(binding, out, *flags):
    args = ["--checkpoint-dir", str(binding.outputs), "--out", str(out), *binding.flags, *SHORT, *flags]
    return main(["finetune", *args])


def baseline(binding, out, *flags):
    return main(["baseline", "--out", str(out), *binding.flags, *SHORT, *flags])


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


@pytest.mark.parametrize("name", ["full", "vocab4", "vocab4_random", "lora", "baseline"])
def test_every_file_is_there_and_opens(models, name):
    results = json.loads((models / f"results_{name}.json").read_text())
    run = json.loads((models / name / "run.json").read_text())
    assert (results["name"], run["status"]) == (name, "done")
    assert run["metrics"]["scores"] == results["scores"]
    assert results["training"]["epochs"] == 2
    assert results["training"]["history"]["epoch"] == [0, 1, 2]
    assert len(results["training"]["history"]["val_loss"]) == 3
    kept = np.load(models / name / "moments.npz")
    assert len(kept["names"]) == results["split"]["windows"]["validation"] == len(kept["moments"])
    for picture in (
        f"training_curves_{name}.png",
        "finetuning_time_comparison.png",
        "performance_comparison.png",
    ):
        assert (models / picture).read_bytes().startswith(b"\x89PNG")
    weights = "cnn_baseline_model.pt" if name == "baseline" else f"gpt_binding_model_{name}.pt"
    if name == "full":  # the toy genome's own alphabet, which such a file could not tell
        assert not (models / weights).exists()
        return
    content = torch.load(models / weights, weights_only=True)  # opens without any allowance
    assert ("model_state" in content) == (name == "baseline")


def test_what_was_trained_is_told(models, capsys):
    about = {
        name: json.loads((models / f"results_{name}.json").read_text())["model"]
        for name in ("vocab4", "vocab4_random", "lora", "baseline")
    }
    head = 2 * 16 + 16 * 128 * 11 + 128 + 129
    assert about["vocab4"]["trained_parameters"] == head
    assert about["vocab4"]["parameters"] > head
    assert about["vocab4"]["causal"]
    assert not about["baseline"]["causal"]
    assert about["baseline"]["trained_parameters"] == about["baseline"]["parameters"] == 186_497
    assert [about[name]["random_core"] for name in ("vocab4", "vocab4_random")] == [False, True]
    assert (about["lora"]["tune"], about["lora"]["both_strands"]) == ("lora", True)
    assert "toy.fa" in about["vocab4"]["core"]


def test_a_frozen_core_is_the_pretrained_one_to_the_bit(models, binding):
    core, _ = checkpoint.load(binding.outputs / "vocab4")
    kept = open_binding(models / "vocab4").model.encoder.state_dict()
    assert all(torch.equal(kept[name], core[f"transformer.{name}"]) for name in kept)
    other = open_binding(models / "vocab4_random").model.encoder.state_dict()
    assert not torch.equal(other["wte.weight"], kept["wte.weight"])


def test_a_random_core_begins_as_pretraining_did(models, binding):
    from dnalm.models.binding import BindingModel
    from dnalm.models.gpt import start_local

    shape = open_binding(models / "vocab4_random").model.shape
    torch.manual_seed(0)  # of the run
    untrained = BindingModel(shape)
    start_local(untrained.encoder)  # the default recipe's start
    kept = open_binding(models / "vocab4_random").model.encoder.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in untrained.encoder.state_dict().items())


def test_a_trained_model_is_gone_on_from_core_and_head(models, binding, tmp_path):
    first = json.loads((models / "results_vocab4.json").read_text())
    flags = ["--init-from", str(models / "vocab4"), "--tune", "full", "--checkpoint-dir", "none"]
    assert finetune(binding, tmp_path, "--name", "second", "--lr", "1e-4", *flags) == 0
    found = json.loads((tmp_path / "results_second.json").read_text())
    history = found["training"]["history"]
    kept = first["training"]["best_val_loss"]  # on states that are kept in bf16
    assert history["val_loss"][0] == pytest.approx(kept, rel=3e-3)
    assert found["model"]["trained_parameters"] == found["model"]["parameters"]
    assert f"then trained as {models / 'vocab4'}" in found["model"]["core"]
    assert history["train_loss"][-1] < history["train_loss"][0]
    # Known to --resume by the file that it began from: what is merged of it has other bits elsewhere.
    identity = checkpoint.describe(tmp_path / "second" / "last")["identity"]
    stored = checkpoint.stored_digest(checkpoint.describe(models / "vocab4"))
    assert identity["core weights"] == stored


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("baseline", [], "expected a fine-tuned GPT of --config vocab4"),
        ("full", [], "expected a fine-tuned GPT of --config vocab4"),
        ("lora", [], "was trained on both strands; add --both-strands"),
        ("vocab4", ["--both-strands"], "was not trained on both strands; leave out --both-strands"),
        ("vocab4", ["--random-core"], "choose one"),
        ("vocab4", ["--split", "published"], "was trained on other windows or another split"),
    ],
)
def test_refuses_to_go_on_from_what_does_not_fit(models, binding, tmp_path, capsys, name, flags, message):
    assert finetune(binding, tmp_path / "r", "--init-from", str(models / name), *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_the_best_weights_are_kept_not_the_last(binding, tmp_path):
    # a rate that ruins the head after the first epochs: what is stored must be the best epoch's
    assert (
        finetune(binding, tmp_path, "--lr", "1.0", "--warmup-share", "0", "--epochs", "4", "--patience", "1")
        == 0
    )
    results = json.loads((tmp_path / "results_vocab4.json").read_text())
    losses = results["training"]["history"]["val_loss"]
    best = int(np.argmin(losses))
    assert results["training"]["best_epoch"] == best < len(losses) - 1
    assert results["scores"]["mse"] == pytest.approx(losses[best], rel=1e-5)


def test_the_head_starts_from_the_cores_states_and_the_cnns_does_not(binding, tmp_path):
    for verb in (finetune, baseline):  # at a rate of nothing a head stays as it started
        assert verb(binding, tmp_path, "--lr", "1e-30", "--min-lr", "0", "--weight-decay", "0") == 0
    scales = {
        name: open_binding(tmp_path / name).model.head.layer_norm.weight for name in ("vocab4", "baseline")
    }
    assert (scales["baseline"] == 1).all()
    assert not (scales["vocab4"] == 1).any()


def test_a_foreign_file_in_the_folder_does_not_fail_a_finished_run(binding, tmp_path, capsys):
    (tmp_path / "results_old.json").write_text("{}")
    assert baseline(binding, tmp_path) == 0
    shown = capsys.readouterr()
    assert "Pearson R" in shown.out
    assert "plots were not drawn" in shown.err
    assert "results_old.json" in shown.err


def test_kept_states_change_nothing_and_are_found_again(binding, tmp_path, capsys):
    for out, flags in ((tmp_path / "kept", []), (tmp_path / "anew", ["--max-cache", "0"])):
        assert finetune(binding, out, *flags) == 0
    kept, anew = (
        json.loads((tmp_path / out / "results_vocab4.json").read_text())["scores"]["pearson_r"]["value"]
        for out in ("kept", "anew")
    )
    assert kept == pytest.approx(anew, abs=0.02)  # kept in bfloat16: 8 bits of each state
    assert not (tmp_path / "anew" / "cache").exists()
    capsys.readouterr()
    assert finetune(binding, tmp_path / "kept", "--overwrite", "--lr", "1e-4") == 0
    assert "states of" not in capsys.readouterr().err
    again = json.loads((tmp_path / "kept" / "results_vocab4.json").read_text())
    assert again["training"]["states_seconds"] > 0  # what they took, though not in this run
    # Without the copies they are of the set alone, whatever its split.
    for split, said in (("published", 1), ("blocks", 0)):
        flags = ["--overwrite", "--max-shift", "0", "--split", split]
        assert finetune(binding, tmp_path / "kept", *flags) == 0
        assert capsys.readouterr().err.count("states of") == said


@pytest.mark.parametrize("strands", [[], ["--both-strands"]])
def test_each_window_and_each_copy_is_given_its_own_states(binding, tmp_path, monkeypatch, strands):
    tasks = []
    train = TrainingRun.train
    monkeypatch.setattr(
        TrainingRun, "train", lambda *given, **more: (tasks.append(given[1:3]), train(*given, **more))[1]
    )
    assert (
        finetune(binding, tmp_path, "--max-shift", "4", "--epochs", "1", "--precision", "fp32", *strands) == 0
    )
    task, model = tasks[0]
    assert len(task.train) > len(task.train.states) // 2  # copies too
    for part in (task.train, task.validation):
        for rows in np.array_split(np.arange(len(part)), 8):
            batch = part.take(rows)
            with torch.no_grad():
                wanted = model.eval().encode(batch.tokens)
            torch.testing.assert_close(batch.states.float(), wanted, rtol=0.01, atol=0.01)  # bfloat16


def test_a_stopped_run_resumes_to_the_same_bits(binding, tmp_path, stopping):
    assert baseline(binding, tmp_path / "a") == 0
    with stopping():
        assert baseline(binding, tmp_path / "b") == 130
    assert baseline(binding, tmp_path / "b", "--lr", "9e-3", "--resume") == 2  # other settings
    assert baseline(binding, tmp_path / "b", "--resume") == 0
    one, other = (open_binding(tmp_path / name / "baseline").model.state_dict() for name in "ab")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_states_kept_or_not_are_not_one_run(models, binding, capsys):
    flags = ["--config", "full", "--resume"]
    assert finetune(binding, models, *flags, "--max-cache", "0") == 2
    assert "kept states was True, is False" in capsys.readouterr().err
    assert finetune(binding, models, *flags) == 0


def test_the_test_part_is_not_looked_at(binding, tmp_path):
    from dnalm.data.binding import SplitConfig, split_of

    hidden = split_of(binding.windows, SplitConfig(gap=100)).test
    scores = binding.windows.scores.copy()
    scores[hidden] = 0.0
    scores[hidden, 3] = 500.0  # would ruin any loss it entered
    other = BindingSet(binding.windows.names, binding.windows.letters, scores)
    write_binding(tmp_path / "s.gz", tmp_path / "y.gz", other)
    assert baseline(binding, tmp_path / "a") == 0
    changed = binding._replace(sequences=tmp_path / "s.gz", scores=tmp_path / "y.gz")
    assert baseline(changed, tmp_path / "b") == 0
    one, two = (json.loads((tmp_path / x / "results_baseline.json").read_text())["scores"] for x in "ab")
    assert one == two


def test_a_head_of_another_size_has_its_folder_alone(binding, tmp_path):
    assert baseline(binding, tmp_path, "--channels", "8") == 0
    assert open_binding(tmp_path / "baseline").model.shape.head.channels == 8
    assert not (tmp_path / "cnn_baseline_model.pt").exists()


def test_plot_only_draws_and_trains_nothing(models, capsys):
    before = (models / "results_baseline.json").read_bytes()
    (models / "performance_comparison.png").unlink()
    assert main(["baseline", "--out", str(models), "--plot-only"]) == 0
    assert str(models / "performance_comparison.png") in capsys.readouterr().out
    assert (models / "performance_comparison.png").is_file()
    assert (models / "results_baseline.json").read_bytes() == before


def test_dry_run_writes_nothing(binding, tmp_path, capsys):
    assert finetune(binding, tmp_path / "new", "--dry-run") == 0
    assert "would train 2 epochs" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_a_published_checkpoint_is_a_core(binding, models, tmp_path):
    (tmp_path / "old").mkdir()
    shutil.copy(binding.outputs / "ckpt_vocab4.pt", tmp_path / "old")
    args = ["--checkpoint-dir", str(tmp_path / "old"), "--out", str(tmp_path / "m"), *binding.flags, *SHORT]
    assert main(["finetune", *args]) == 0
    scores = [json.loads((x / "results_vocab4.json").read_text())["scores"] for x in (tmp_path / "m", models)]
    assert scores[0] == scores[1]


def refused(capsys, code):
    assert code == 2
    return capsys.readouterr().err


def test_refuses_the_other_vocabulary(binding, tmp_path, capsys):
    flags = ["--config", "full", "--checkpoint-dir", str(binding.outputs / "vocab4")]
    message = refused(capsys, finetune(binding, tmp_path, *flags))
    assert "expected a model of --config full, got one of 4 tokens" in message


def test_refuses_a_folder_without_a_model(binding, tmp_path, capsys):
    message = refused(capsys, finetune(binding, tmp_path, "--checkpoint-dir", str(tmp_path)))
    assert "got neither; run dnalm pretrain --data data/vocab4" in message


def test_refuses_windows_longer_than_the_block(binding, tmp_path, capsys):
    long = np.tile(binding.windows.letters, 2)
    write_binding(
        tmp_path / "s.gz",
        tmp_path / "y.gz",
        BindingSet(binding.windows.names, long, np.zeros(long.shape, "f4")),
    )
    changed = binding._replace(sequences=tmp_path / "s.gz", scores=tmp_path / "y.gz")
    assert "80 bases and the model's block 40" in refused(capsys, finetune(changed, tmp_path / "m"))
    assert not (tmp_path / "m").exists()


def test_refuses_names_without_a_place_for_the_blocks_split(binding, tmp_path, capsys):
    names = [f"peak{i}" for i in range(240)]
    write_binding(
        tmp_path / "s.gz",
        tmp_path / "y.gz",
        BindingSet(names, binding.windows.letters, binding.windows.scores),
    )
    changed = binding._replace(sequences=tmp_path / "s.gz", scores=tmp_path / "y.gz")
    assert "use --split published" in refused(capsys, baseline(changed, tmp_path / "m"))
    assert baseline(changed, tmp_path / "m", "--split", "published") == 0


def test_refuses_to_write_over_a_run(models, binding, capsys):
    message = refused(capsys, baseline(binding, models))
    assert "use --resume, --overwrite or another --out or --name" in message
    assert "nothing to resume" in refused(capsys, baseline(binding, models, "--name", "new", "--resume"))


def test_refuses_a_cache_that_is_too_small(binding, tmp_path, capsys):
    message = refused(capsys, finetune(binding, tmp_path / "m", "--max-cache", "1e-6"))
    assert "--max-cache" in message
    assert not (tmp_path / "m" / "vocab4" / "run.json").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resume", "--overwrite"], "choose one"),
        (["--seed", "-1"], "--seed must be"),
        (["--name", "a/b"], "--name must be a plain file name"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--kernel", "4"], "kernel must be odd"),
        (["--recipe", "basline"], "did you mean baseline?"),
        (["--max-shift", "40"], "max-shift must be"),
    ],
)
def test_refuses_options_that_make_no_sense(binding, tmp_path, capsys, flags, message):
    assert message in refused(capsys, baseline(binding, tmp_path / "m", *flags))
    assert not (tmp_path / "m").exists()


def test_a_core_whose_training_never_began_is_none(binding, stopped_core, tmp_path, capsys):
    cores = stopped_core(0)
    capsys.readouterr()
    flags = ["--checkpoint-dir", str(cores)]
    assert "got one that is untrained" in refused(capsys, finetune(binding, tmp_path / "m", *flags))
    assert not (tmp_path / "m").exists()
    assert finetune(binding, tmp_path / "m", *flags, "--random-core") == 0
    assert "unfinished" not in capsys.readouterr().err  # its weights are not taken


def test_a_core_of_a_stopped_run_is_taken_and_told(binding, stopped_core, tmp_path, capsys):
    cores = stopped_core(2)
    capsys.readouterr()
    assert finetune(binding, tmp_path, "--checkpoint-dir", str(cores)) == 0
    said = f"{cores / 'vocab4'}: its pretraining is unfinished (2 steps, status interrupted)"
    assert capsys.readouterr().err.count(said) == 1
    about = json.loads((tmp_path / "results_vocab4.json").read_text())["model"]
    assert about["core"].endswith("toy.fa, 2 steps, unfinished (interrupted)")


def test_a_pretrained_model_is_not_replaced_by_what_is_trained_on_it(binding, tmp_path, capsys):
    shutil.copytree(binding.outputs, tmp_path / "o")
    before = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    for flags in ([], ["--overwrite"], ["--resume"]):
        for given in (["--checkpoint-dir", str(tmp_path / "o")], []):  # another core, too
            message = refused(capsys, finetune(binding, tmp_path / "o", *given, *flags))
            assert "holds a run of dnalm pretrain, which dnalm finetune does not replace" in message
            assert "--overwrite" not in message
    assert before == {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    given = ["--checkpoint-dir", str(tmp_path / "o")]
    assert finetune(binding, tmp_path / "o", *given, "--name", "tuned", "--epochs", "1") == 0


def test_a_model_is_not_replaced_by_one_that_goes_on_from_it(models, binding, tmp_path, capsys):
    shutil.copytree(models, tmp_path / "m")
    before = checkpoint.describe(tmp_path / "m" / "vocab4")
    for path in ("vocab4", "vocab4/checkpoint", "gpt_binding_model_vocab4.pt"):
        for flags in ([], ["--overwrite"]):
            flags = ["--init-from", str(tmp_path / "m" / path), *flags]
            message = refused(capsys, finetune(binding, tmp_path / "m", *flags))
            assert "would begin from it and overwrite it; choose another --out or --name" in message
    assert checkpoint.describe(tmp_path / "m" / "vocab4") == before
    assert (tmp_path / "m" / "gpt_binding_model_vocab4.pt").exists()


def test_a_core_in_the_models_own_folder_is_not_written_over(binding, tmp_path, capsys):
    core = tmp_path / "m" / "vocab4"
    shutil.copytree(binding.outputs / "vocab4" / "checkpoint", core / "checkpoint")
    shutil.copy(binding.outputs / "vocab4" / "metrics.jsonl", core)  # no record: it is not known to be a run
    flags = ["--checkpoint-dir", str(core), "--overwrite"]
    assert "would begin from it" in refused(capsys, finetune(binding, tmp_path / "m", *flags))
