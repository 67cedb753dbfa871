"""Tests for dnalm/commands/pretrain.py and dnalm/train/language.py: all files, and every mistake."""

import dataclasses
import json
import shutil
import sys
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import main
from dnalm.commands import pretrain
from dnalm.config import NON_TRAINING_FIELDS, read_recipe
from dnalm.device import Processor, choose_precision
from dnalm.errors import InputError
from dnalm.models.core import load_core
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel
from dnalm.train.language import LanguageConfig, PretrainConfig, PretrainRun
from dnalm.train.optim import TrainConfig

SMALL = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "20", "--batch-size", "4"]
SMALL += ["--eval-bases", "300", "--final-bases", "600", "--device", "cpu", "--steps", "6", "--warmup", "2"]
OTHER = "fp32" if choose_precision("auto", "cpu") == "bf16" else "bf16"
FILES = ["ckpt_{}.pt", "loss_{}.png", "losses_{}.json", "summary_{}.json"]
MODES = ("full", "vocab4")


def run(toy, out, *flags, mode="vocab4"):
    """Run the command on the toy genome and return its exit code."""
    return main(["pretrain", "--data", str(toy[mode].folder), "--out", str(out), *SMALL, *flags])


def record_of(out, mode="vocab4"):
    return json.loads((out / mode / "run.json").read_text())


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """Both vocabularies pretrained by the command line, in a path with a space."""
    out = tmp_path_factory.mktemp("pretrained") / "my outputs"
    for mode in MODES:
        assert run(toy, out, mode=mode) == 0
    return out


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of those runs."""
    return shutil.copytree(trained, tmp_path / "o")


@pytest.mark.parametrize("mode", MODES)
def test_every_file_exists_and_opens(trained, toy, mode):
    for name in FILES:
        assert (trained / name.format(mode)).stat().st_size > 0
    for picture in ("training_time_comparison.png", f"loss_{mode}.png"):
        assert (trained / picture).read_bytes().startswith(b"\x89PNG")
    losses = json.loads((trained / f"losses_{mode}.json").read_text())
    assert losses["iterations"] == [0, 6]
    assert {"train_losses", "val_losses", "elapsed_time", "bits_per_base", "tokens"} <= losses.keys()
    assert losses["vocab_size"] == toy[mode].tokenizer.vocab_size
    summary = json.loads((trained / f"summary_{mode}.json").read_text())
    assert summary["best_val_loss"] == min(losses["val_losses"])
    assert all((trained / summary[key]).is_file() for key in ("checkpoint", "loss_curve", "loss_data"))
    assert summary["elapsed_time"] >= losses["elapsed_time"][-1] > 0
    record = record_of(trained, mode)
    metrics = record["metrics"]
    assert (record["status"], record["verb"]) == ("done", "pretrain")
    assert record["data"]["digest"] == toy[mode].digest
    assert record["recipe"]["name"] == "default, changed by flags"
    assert record["recipe"]["train"]["steps"] == 6
    assert (metrics["mode"], metrics["step"], metrics["tokens"]) == (mode, 6, 6 * 4 * 20)
    assert len(metrics["ladder"]["both_strands"]) == 13
    assert metrics["bits_per_base"]["bases"] == metrics["ladder"]["validation_bases"]
    # The published checkpoint is the folder's best model.
    content = torch.load(trained / f"ckpt_{mode}.pt", weights_only=True)
    assert content.keys() == {"model_args", "characters", "model", "best_val_loss", "iter"}
    args = content["model_args"]
    assert args.pop("vocab_size") == toy[mode].tokenizer.vocab_size
    model = LanguageModel(GPTConfig(**args), toy[mode].tokenizer.vocab_size)
    model.load_state_dict(content["model"])  # strict: the published names, all of them
    tensors, about = checkpoint.load(trained / mode)
    assert about["characters"] == content["characters"] == toy[mode].tokenizer.characters
    by_folder, by_file = load_core(trained, mode), load_core(trained / f"ckpt_{mode}.pt", mode)
    assert (by_file.characters, by_file.encoder) == (by_folder.characters, by_folder.encoder)
    assert all(torch.equal(tensor, content["model"][name]) for name, tensor in tensors.items())
    assert content["best_val_loss"] == about["val_loss"]


def test_another_run_is_not_overwritten(toy, trained, copy, monkeypatch, capsys):
    record = copy / "vocab4" / "run.json"
    text = record.read_text()
    record.write_text(json.dumps(json.loads(text) | {"verb": "finetune"}))
    assert run(toy, copy, "--overwrite") == 2  # a run of another kind
    record.write_text(text)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    for flags, message in (
        ([], "--overwrite"),
        (["--resume", "--lr", "0.5"], "lr was 0.0005, is 0.5"),
        (["--resume", "--overwrite"], ""),
        *((["--overwrite", *flags.split()], "") for flags in ("--tensorboard", "--seed 10000000000000")),
        (["--overwrite", "--stop-at", "-1"], ""),
    ):
        assert run(toy, copy, *flags) == 2
        assert message in capsys.readouterr().err
    for path in trained.rglob("*"):
        if path.is_file() and path.name != ".lock":
            assert (copy / path.relative_to(trained)).read_bytes() == path.read_bytes()
    assert run(toy, copy, "--overwrite", "--seed", "5") == 0
    assert (copy / "ckpt_vocab4.pt").read_bytes() != (trained / "ckpt_vocab4.pt").read_bytes()
    shown = capsys.readouterr()
    assert "bits per base (95 % interval" in shown.out
    assert shown.out.endswith(f"dnalm compare {copy}\n")
    assert "824 parameters" in shown.err  # 4 * 8 + (12 * 8 * 8 + 2 * 8) + 8
    assert len((shown.out + shown.err).splitlines()) < 12  # no bar where stderr is no terminal


def test_the_files_of_others_are_left_alone(toy, tmp_path):
    (tmp_path / "ckpt_vocab4.pt").write_text("weeks of work")
    assert run(toy, tmp_path) == 2
    assert (tmp_path / "ckpt_vocab4.pt").read_text() == "weeks of work"
    (tmp_path / "summary_full.json").write_text("{}")  # of another program
    assert run(toy, tmp_path, "--overwrite") == 0
    assert not (tmp_path / "training_time_comparison.png").exists()
    (tmp_path / "p" / "vocab4").mkdir(parents=True)
    (tmp_path / "p" / "vocab4" / "thesis.txt").write_text("mine")
    assert run(toy, tmp_path / "p", "--overwrite") == 2
    assert [path.name for path in (tmp_path / "p" / "vocab4").iterdir()] == ["thesis.txt"]


def test_what_decides_a_run_cannot_be_changed_on_the_way(toy, copy, tmp_path, capsys):
    for flags, message in (
        ("--eval-bases 299", "eval_bases was 300, is 299"),
        (f"--precision {OTHER}", f"is {OTHER}"),
        ("--patience 5 --eval-every 4", "eval_every was None, is 4; patience was 0, is 5"),
        ("--final-bases 301 --eval-every 4", None),
    ):
        assert run(toy, copy, *flags.split(), "--resume") == (2 if message else 0)
        assert (message or "") in capsys.readouterr().err
    fasta = tmp_path / "other.fa"
    fasta.write_text(">chr1\n" + "ACGTTGCA" * 400 + "\n>chr3\n" + "GATTACAA" * 100 + "\n")
    assert main(["prepare", str(fasta), "--out", str(tmp_path / "d"), "--val-contigs", "chr3"]) == 0
    where = ["--data", str(tmp_path / "d" / "vocab4"), "--out", str(copy)]
    assert main(["pretrain", *where, *SMALL, "--resume"]) == 2
    assert "data was " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--data /no/such", "/no/such"),
        ("--n-hed 3", "--n-head"),
        ("--recipe publish", "did you mean published?"),
        ("--block-size 4000", "no unbroken stretch of train holds 4001 tokens"),
        ("--precision fp16", "--precision fp16: not available on cpu"),
        ("--resume", "nothing to resume here"),
        ("--steps many", "--steps"),
        ("--size 100", "1M, 3M, 7M, 10M, 30M, 100M, 350M"),
        ("--n-embd 4000000", "memory ran out"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_written(toy, tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(toy, tmp_path / "o", *flags.split()) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "o").exists()


def test_damaged_data_is_refused(toy, tmp_path, capsys):
    data = shutil.copytree(toy["vocab4"].folder, tmp_path / "vocab4")
    content = (data / "train.bin").read_bytes()
    for harmed in (content + b"\0", content[:100] + bytes([3 - content[100]]) + content[101:]):
        (data / "train.bin").write_bytes(harmed)
        assert main(["pretrain", "--data", str(data), "--out", str(tmp_path / "o"), *SMALL]) == 2
        assert "damaged" in capsys.readouterr().err
        assert not (tmp_path / "o").exists()


def test_a_run_that_ends_early_is_recorded_and_resumes_to_the_same_weights(
    toy, trained, tmp_path, capsys, monkeypatch
):
    full = OSError(28, "No space left on device", str(tmp_path))
    for target, error, code, status in (
        ("dnalm.checkpoint.save", full, 2, "failed"),
        ("dnalm.train.language.evaluate_language", KeyboardInterrupt(), 130, "interrupted"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, Mock(side_effect=error))
            assert run(toy, tmp_path, "--overwrite") == code
        assert record_of(tmp_path)["status"] == status
        assert (code == 2) == ("is full" in capsys.readouterr().err)
    assert run(toy, tmp_path, "--stop-at", "2", "--overwrite") == 0
    assert record_of(tmp_path)["status"] == "interrupted"
    assert run(toy, tmp_path, "--resume") == 0
    assert record_of(tmp_path)["status"] == "done"
    wanted, found = (checkpoint.load(out / "vocab4" / "last")[0] for out in (trained, tmp_path))
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_a_dry_run_writes_nothing_and_the_record_says_that_a_run_was_compiled(
    toy, tmp_path, monkeypatch, capsys
):
    modes = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda _module, mode: modes.append(mode))  # slow
    assert run(toy, tmp_path / "o", "--compile", "on", "--dry-run") == 0
    assert "would train 6 steps of 4 windows of 20 tokens" in capsys.readouterr().out
    assert not (tmp_path / "o").exists()
    for how in ("on", "off"):
        assert run(toy, tmp_path, "--compile", how, "--overwrite") == 0
        assert record_of(tmp_path)["hardware"]["device"].endswith(", compiled") == (how == "on")
    assert modes == [None, None]


def test_tensorboard_gets_the_curves(toy, tmp_path):
    pytest.importorskip("tensorboard", reason="needs dnalm[log]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run(toy, tmp_path, "--tensorboard") == 0
    events = EventAccumulator(str(tmp_path / "vocab4" / "tensorboard")).Reload()
    losses = json.loads((tmp_path / "losses_vocab4.json").read_text())
    found = {event.step: event.value for event in events.Scalars("val_loss")}
    wanted = zip(losses["iterations"], losses["val_losses"], strict=True)
    assert found == pytest.approx(dict(wanted), rel=1e-6)
    assert [event.step for event in events.Scalars("loss")] == [6]


def test_recipes(toy, tmp_path):
    preset = pretrain.default_options("default")
    assert (preset.encoder, preset.train, preset.task) == (GPTConfig(), TrainConfig(), LanguageConfig())
    options = pretrain.default_options("published")
    assert options.encoder == GPTConfig(4, 4, 384, 300, 0.2, False, "learned")
    rates = {"lr": 1e-3, "min_lr": 1e-4, "warmup": 100, "schedule": "cosine", "beta2": 0.999, "clip": 0.0}
    sizes = {"steps": 4000, "batch_size": 64, "eval_every": 1000}
    assert options.train == TrainConfig(weight_decay=0.1, decay="all", **rates, **sizes)
    # A recipe sets all that decides what is trained, so that a record can be compared with it later.
    parts = (GPTConfig(), TrainConfig(), LanguageConfig())
    fields = {field.name for part in parts for field in dataclasses.fields(part)}
    for name in ("default", "published"):
        given = {key for table in read_recipe(name).values() for key in table}
        assert fields - given - NON_TRAINING_FIELDS == {"plateau_patience", "plateau_factor"}
    (tmp_path / "mine.toml").write_text("[encoder]\nn_layer = 2\n[train]\nsteps = 7\nlr = 0.5\n")
    options = pretrain.default_options(str(tmp_path / "mine.toml"))
    assert (options.encoder.n_layer, options.train.steps, options.train.lr) == (2, 7, 0.5)
    (tmp_path / "bad.toml").write_text("[encoder]\nlayers = 2\n[train]\nstep = 7\n[extra]\nx = 1\n")
    with pytest.raises(InputError, match=r"(?s)(?=.*extra)(?=.*n_layer)(?=.*steps)"):
        pretrain.default_options(str(tmp_path / "bad.toml"))
    # It is called changed only where what is trained is.
    preset = replace(pretrain.default_options(data=str(toy["full"].folder)), data=toy["full"].folder)
    train = replace(preset.train, eval_every=7, checkpoint_every=9, accumulate=4)
    same = replace(preset, train=train, task=replace(preset.task, eval_bases=600, final_bases=700))
    assert pretrain._recipe_name(same) == "default"
    assert pretrain._recipe_name(replace(preset, train=replace(preset.train, lr=1.0))).endswith("by flags")


def test_a_python_user_trains_without_any_output(toy, tmp_path, capfd):
    config = PretrainConfig(
        data=toy["full"].folder,
        out=tmp_path,
        encoder=GPTConfig(1, 1, 8, 20),
        train=TrainConfig(steps=1, batch_size=1),
        task=LanguageConfig(eval_bases=10, final_bases=10),
    )
    assert PretrainRun(config, Processor("cpu", "fp32")).train()["step"] == 1
    assert record_of(tmp_path, "full")["recipe"]["name"] == "custom"
    assert (tmp_path / "ckpt_full.pt").is_file()
    assert capfd.readouterr() == ("", "")
