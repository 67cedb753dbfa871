"""Tests for dnalm/commands/pretrain.py: the verb on a small genome, and every mistake."""

import dataclasses
import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import main
from dnalm.commands import pretrain
from dnalm.commands.runs import RunOptions
from dnalm.config import NON_TRAINING_FIELDS, read_recipe
from dnalm.device import Compute, choose_precision
from dnalm.genome.folder import PreparedGenome
from dnalm.models.core import load_core
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel
from dnalm.train.language import LanguageConfig
from dnalm.train.optim import TrainConfig

SMALL = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "20", "--batch-size", "4"]
SMALL += ["--eval-bases", "300", "--final-bases", "600", "--device", "cpu", "--steps", "6", "--warmup", "2"]
OTHER = "fp32" if choose_precision("auto", "cpu") == "bf16" else "bf16"
FILES = ["ckpt_{}.pt", "loss_{}.png", "losses_{}.json", "summary_{}.json"]


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """Both vocabularies pretrained by the command line, in a path with a space."""
    out = tmp_path_factory.mktemp("pretrained") / "my outputs"
    for mode in ("full", "vocab4"):
        assert main(["pretrain", "--data", str(toy[mode].folder), "--out", str(out), *SMALL]) == 0
    return out


@pytest.mark.parametrize("mode", ["full", "vocab4"])
def test_every_file_is_there_and_opens(trained, toy, mode):
    for name in FILES:
        assert (trained / name.format(mode)).stat().st_size > 0
    assert (trained / "training_time_comparison.png").read_bytes().startswith(b"\x89PNG")
    assert (trained / f"loss_{mode}.png").read_bytes().startswith(b"\x89PNG")
    losses = json.loads((trained / f"losses_{mode}.json").read_text())
    assert losses["iterations"] == [0, 6]
    assert {"train_losses", "val_losses", "elapsed_time", "bits_per_base"} <= losses.keys()
    assert losses["vocab_size"] == toy[mode].tokenizer.vocab_size
    summary = json.loads((trained / f"summary_{mode}.json").read_text())
    assert summary["best_val_loss"] == min(losses["val_losses"])
    for key in ("checkpoint", "loss_curve", "loss_data"):
        assert (trained / summary[key]).is_file()
    assert summary["elapsed_time"] >= losses["elapsed_time"][-1] > 0


@pytest.mark.parametrize("mode", ["full", "vocab4"])
def test_record_tells_all(trained, toy, mode):
    run = json.loads((trained / mode / "run.json").read_text())
    metrics = run["metrics"]
    assert (run["status"], run["verb"], run["data"]["digest"]) == ("done", "pretrain", toy[mode].digest)
    assert run["recipe"]["name"] == "default, changed by flags"
    assert run["recipe"]["train"]["steps"] == 6
    assert (metrics["mode"], metrics["step"], metrics["tokens"]) == (mode, 6, 6 * 4 * 20)
    assert len(metrics["ladder"]["both_strands"]) == 13
    assert metrics["bits_per_base"]["bases"] == metrics["ladder"]["validation_bases"]
    assert "Markov" in metrics["verdict"]


@pytest.mark.parametrize("mode", ["full", "vocab4"])
def test_published_checkpoint_is_the_folders_best_model(trained, toy, mode):
    content = torch.load(trained / f"ckpt_{mode}.pt", weights_only=True)
    assert content.keys() == {"model_args", "characters", "model", "best_val_loss", "iter"}
    args = content["model_args"]
    assert args.pop("vocab_size") == toy[mode].tokenizer.vocab_size
    model = LanguageModel(GPTConfig(**args), toy[mode].tokenizer.vocab_size)
    model.load_state_dict(content["model"])  # strict: the published names, all of them
    tensors, about = checkpoint.load(trained / mode)
    assert about["characters"] == content["characters"] == toy[mode].tokenizer.characters
    by_folder, by_file = load_core(trained, mode), load_core(trained / f"ckpt_{mode}.pt", mode)
    assert by_file.characters == by_folder.characters
    assert by_file.encoder == by_folder.encoder
    for name, tensor in tensors.items():
        assert torch.equal(tensor, content["model"][name])
    assert content["best_val_loss"] == about["val_loss"]


def test_summary_names_bits_and_verdict(toy, tmp_path, capfd):
    assert main(["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o"), *SMALL]) == 0
    shown = capfd.readouterr()
    assert "bits per base (95 % interval" in shown.out
    assert "Markov model (order" in shown.out
    assert "vocab4: 824 parameters, on cpu" in shown.err  # 4 * 8 + (12 * 8 * 8 + 2 * 8) + 8
    assert "training" not in shown.err  # no bar where stderr is no terminal


def test_stopping_and_resuming_gives_the_same_weights(toy, trained, tmp_path):
    data = ["--data", str(toy["vocab4"].folder), "--out", str(tmp_path)]
    assert main(["pretrain", *data, *SMALL, "--stop-at", "2"]) == 0
    assert json.loads((tmp_path / "vocab4" / "run.json").read_text())["status"] == "interrupted"
    assert main(["pretrain", *data, *SMALL, "--resume"]) == 0
    whole, _ = checkpoint.load(trained / "vocab4" / "last")
    parts, _ = checkpoint.load(tmp_path / "vocab4" / "last")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_another_run_is_not_written_over(toy, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "o")
    command = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o"), *SMALL]
    before = (tmp_path / "o" / "ckpt_vocab4.pt").read_bytes()
    assert main(command) == 2
    assert "holds another run (done); use --resume, --overwrite or another --out" in capsys.readouterr().err
    assert main([*command, "--resume", "--lr", "0.5"]) == 2
    assert "lr was 0.0005, is 0.5" in capsys.readouterr().err
    assert main([*command, "--resume", "--overwrite"]) == 2
    assert "choose one" in capsys.readouterr().err
    assert (tmp_path / "o" / "ckpt_vocab4.pt").read_bytes() == before
    assert main([*command, "--overwrite", "--seed", "5"]) == 0
    assert (tmp_path / "o" / "ckpt_vocab4.pt").read_bytes() != before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--eval-bases", "299"], "eval_bases was 300, is 299"),
        (["--precision", OTHER], f"is {OTHER}"),
        (["--final-bases", "301"], None),
        (["--eval-every", "4"], None),
        (["--patience", "5", "--eval-every", "4"], "eval_every was None, is 4; patience was 0, is 5"),
    ],
)
def test_what_decides_a_run_cannot_be_changed_on_the_way(toy, trained, tmp_path, capsys, flags, named):
    shutil.copytree(trained, tmp_path / "o")
    where = ["--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o")]
    code = main(["pretrain", *where, *SMALL, *flags, "--resume"])
    assert code == (2 if named else 0)
    assert (named or "") in capsys.readouterr().err


def test_another_genome_is_not_gone_on_with(toy, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "o")
    fasta = tmp_path / "other.fa"
    fasta.write_text(">chr1\n" + "ACGTTGCA" * 400 + "\n>chr3\n" + "GATTACAA" * 100 + "\n")
    assert main(["prepare", str(fasta), "--out", str(tmp_path / "d"), "--val-contigs", "chr3"]) == 0
    where = ["--data", str(tmp_path / "d" / "vocab4"), "--out", str(tmp_path / "o")]
    assert main(["pretrain", *where, *SMALL, "--resume"]) == 2
    told = capsys.readouterr().err
    assert "cannot resume with other settings: data was " in told


def test_somebody_elses_folder_is_left_alone(toy, tmp_path, capsys):
    (tmp_path / "vocab4").mkdir()
    (tmp_path / "vocab4" / "thesis.txt").write_text("mine")
    command = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path), *SMALL]
    assert main([*command, "--overwrite"]) == 2
    assert "holds files that are not a run of dnalm" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "vocab4").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "/no/such"], "/no/such"),
        (["--n-hed", "3"], "--n-head"),
        (["--recipe", "publish"], "did you mean published?"),
        (["--n-embd", "10", "--n-head", "3"], "n_embd must be a multiple of n_head, got 10 and 3"),
        (["--block-size", "4000"], "no unbroken stretch of train holds 4001 tokens"),
        (["--device", "cuda"], "--device cuda: not available, only cpu"),
        (["--precision", "fp16"], "--precision fp16: not available on cpu"),
        (["--threads", "-1"], "at least 0, got -1"),
        (["--resume"], "nothing to resume here"),
        (["--repeat-weight", "3"], "from 0 to 1, got 3"),
        (["--steps", "many"], "--steps"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_written(toy, tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.setenv("COLUMNS", "200")
    if "cuda" in flags and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    command = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o"), *SMALL, *flags]
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "o").exists()


def test_recipe_file_sets_and_flags_win(tmp_path):
    (tmp_path / "mine.toml").write_text("[encoder]\nn_layer = 2\n[train]\nsteps = 7\nlr = 0.5\n")
    options = pretrain.default_options(str(tmp_path / "mine.toml"))
    assert (options.encoder.n_layer, options.train.steps, options.train.lr) == (2, 7, 0.5)
    (tmp_path / "bad.toml").write_text("[encoder]\nlayers = 2\n[train]\nstep = 7\n[extra]\nx = 1\n")
    with pytest.raises(ValueError, match=r"no table \[extra\]") as error:
        pretrain.default_options(str(tmp_path / "bad.toml"))
    assert "no field 'layers'; did you mean n_layer?" in str(error.value)
    assert "no field 'step'; did you mean steps?" in str(error.value)


def test_default_recipe_and_the_settings_of_the_code_are_one():
    options = pretrain.default_options("default")
    assert (options.encoder, options.train, options.task) == (GPTConfig(), TrainConfig(), LanguageConfig())


@pytest.mark.parametrize("name", ["default", "published"])
def test_a_recipe_tells_all_that_decides_what_is_trained(name):
    # so that a record can be held against it, whatever the code's own settings become
    told = {key for table in read_recipe(name).values() for key in table}
    parts = (GPTConfig(), TrainConfig(), LanguageConfig())
    fields = {field.name for part in parts for field in dataclasses.fields(part)}
    assert fields - told - NON_TRAINING_FIELDS == {
        "plateau_patience",
        "plateau_factor",
    }  # of a schedule that neither has


def test_a_recipe_is_called_changed_only_where_what_is_trained_is():
    told = pretrain.default_options("default")
    judged = replace(told.train, eval_every=7, checkpoint_every=9, accumulate=4)
    judged = replace(told, train=judged, task=replace(told.task, eval_bases=600, final_bases=700))
    assert pretrain._recipe_name(judged) == "default"
    assert pretrain._recipe_name(replace(told, train=replace(told.train, lr=1.0))).endswith("by flags")


def test_published_recipe_is_the_published_one():
    options = pretrain.default_options("published")
    assert options.encoder == GPTConfig(4, 4, 384, 300, 0.2, False, "learned")
    expected = TrainConfig(
        steps=4000, batch_size=64, lr=1e-3, min_lr=1e-4, warmup=100, weight_decay=0.1,
        decay="all", beta2=0.999, clip=0.0, eval_every=1000, schedule="cosine",
    )  # fmt: skip
    assert options.train == expected


def test_dry_run_writes_nothing(toy, tmp_path, capsys):
    command = [
        "pretrain",
        "--data",
        str(toy["vocab4"].folder),
        "--out",
        str(tmp_path / "o"),
        *SMALL,
        "--dry-run",
    ]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "would train 6 steps of 4 windows of 20 tokens" in shown
    assert not (tmp_path / "o").exists()


def test_a_record_tells_that_a_run_was_compiled(toy, tmp_path, monkeypatch):
    modes = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda _module, mode: modes.append(mode))  # slow
    command = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path), *SMALL]
    assert main([*command, "--compile", "on", "--dry-run"]) == 0
    assert modes == [None]
    assert main([*command, "--compile", "on"]) == 0
    told = json.loads((tmp_path / "vocab4" / "run.json").read_text())["hardware"]["device"]
    assert told.endswith(", compiled")
    assert main([*command, "--compile", "off", "--overwrite"]) == 0
    assert "compiled" not in (tmp_path / "vocab4" / "run.json").read_text().split('"hardware"')[1]
    assert len(modes) == 2


def test_damaged_data_is_refused(toy, tmp_path, capsys):
    shutil.copytree(toy["vocab4"].folder, tmp_path / "vocab4")
    with (tmp_path / "vocab4" / "train.bin").open("ab") as file:
        file.write(b"\0")
    assert main(["pretrain", "--data", str(tmp_path / "vocab4"), "--out", str(tmp_path / "o"), *SMALL]) == 2
    assert "damaged" in capsys.readouterr().err


def test_full_disk_is_one_message(toy, tmp_path, capsys, monkeypatch):
    def full(*_args, **_settings):
        raise OSError(28, "No space left on device", str(tmp_path / "o"))

    monkeypatch.setattr(checkpoint, "save", full)
    assert main(["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o"), *SMALL]) == 2
    assert "is full" in capsys.readouterr().err
    assert json.loads((tmp_path / "o" / "vocab4" / "run.json").read_text())["status"] == "failed"


def test_options_can_be_built_in_python(toy, tmp_path):
    options = replace(
        pretrain.default_options("default"),
        data=toy["full"].folder,
        out=tmp_path,
        encoder=GPTConfig(1, 1, 8, 20),
        train=TrainConfig(steps=1, batch_size=1),
        task=LanguageConfig(eval_bases=10, final_bases=10),
        run=RunOptions(compute=Compute(device="cpu"), quiet=True),
    )
    pretrain.run(options)
    assert (tmp_path / "ckpt_full.pt").is_file()
    assert PreparedGenome(toy["full"].folder).mode == "full"


def test_tensorboard_gets_the_curves(toy, tmp_path):
    pytest.importorskip("tensorboard", reason="needs dnalm[log]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    command = [
        "pretrain",
        "--data",
        str(toy["vocab4"].folder),
        "--out",
        str(tmp_path),
        *SMALL,
        "--tensorboard",
    ]
    assert main(command) == 0
    events = EventAccumulator(str(tmp_path / "vocab4" / "tensorboard")).Reload()
    losses = json.loads((tmp_path / "losses_vocab4.json").read_text())
    assert [event.step for event in events.Scalars("val_loss")] == losses["iterations"]
    assert [event.value for event in events.Scalars("val_loss")] == pytest.approx(
        losses["val_losses"], rel=1e-6
    )
    assert [event.step for event in events.Scalars("loss")] == [6]


def test_data_changed_in_place_is_refused(toy, tmp_path, capsys):
    shutil.copytree(toy["vocab4"].folder, tmp_path / "vocab4")
    with (tmp_path / "vocab4" / "train.bin").open("r+b") as file:
        file.seek(100)
        file.write(bytes([3 - file.read(1)[0]]))
    assert main(["pretrain", "--data", str(tmp_path / "vocab4"), "--out", str(tmp_path / "o"), *SMALL]) == 2
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_refused_overwrite_leaves_the_old_run(toy, trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "o")
    command = [
        "pretrain",
        "--data",
        str(toy["vocab4"].folder),
        "--out",
        str(tmp_path / "o"),
        *SMALL,
        "--overwrite",
    ]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    assert main([*command, "--tensorboard"]) == 2
    assert main([*command, "--seed", str(10**13)]) == 2
    assert main([*command, "--stop-at", "-1"]) == 2
    for path in trained.rglob("*"):
        if path.is_file() and path.name != ".lock":
            assert (tmp_path / "o" / path.relative_to(trained)).read_bytes() == path.read_bytes()


def test_a_published_checkpoint_is_not_replaced_unasked(toy, tmp_path, capsys):
    (tmp_path / "ckpt_vocab4.pt").write_text("weeks of work")
    command = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path), *SMALL]
    assert main(command) == 2
    assert "ckpt_vocab4.pt: exists already" in capsys.readouterr().err
    assert (tmp_path / "ckpt_vocab4.pt").read_text() == "weeks of work"
    assert main([*command, "--overwrite"]) == 0


def test_memory_that_runs_out_is_one_message(toy, tmp_path, capsys):
    command = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path), *SMALL]
    assert main([*command, "--n-embd", "4000000"]) == 2
    assert "memory ran out" in capsys.readouterr().err


def test_ctrl_c_while_scoring_is_recorded(toy, tmp_path, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    command = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path), *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr("dnalm.train.language.evaluate_language", interrupted)
        assert main(command) == 130
    assert json.loads((tmp_path / "vocab4" / "run.json").read_text())["status"] == "interrupted"
    assert main([*command, "--resume"]) == 0
    assert json.loads((tmp_path / "vocab4" / "run.json").read_text())["status"] == "done"


def test_a_foreign_summary_does_not_stop_the_end(toy, tmp_path):
    (tmp_path / "summary_full.json").write_text("{}")
    assert main(["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path), *SMALL]) == 0
    assert not (tmp_path / "training_time_comparison.png").exists()


def test_a_run_of_another_kind_is_not_replaced(toy, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "o")
    record = tmp_path / "o" / "vocab4" / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"verb": "finetune"}))
    command = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o"), *SMALL]
    for flags in ([], ["--overwrite"]):
        assert main([*command, *flags]) == 2
        assert "holds a run of dnalm finetune, which dnalm pretrain does not" in capsys.readouterr().err
    assert (tmp_path / "o" / "vocab4" / "last").exists()
