"""What every verb that trains does alike: it resumes to the same bits, and spares what it begins from."""

import shutil
from dataclasses import replace

import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import main
from dnalm.commands.interact_train import run as interact_train
from dnalm.errors import InputError
from dnalm.files import read_json
from tests.commands.conftest import CORE, SHORT

PAIRS = ["--device", "cpu", "--precision", "fp32", "--epochs", "2", "--batch-size", "16", "--lr", "1e-3"]


@pytest.fixture
def words(toy, binding, pair_folder):
    """The command line of each verb without --out, what --resume refuses, its message, and its run's name."""
    core, pairs = str(binding.outputs / "vocab4"), ["interact", "train", "--data", str(pair_folder), *PAIRS]
    small = ["--width", "16", "--heads", "2", "--feed-forward", "16", "--head-dropout", "0.2"]
    encoders = ["--model", "foundation", "--dna-encoder", core, "--mol-encoder", "morgan"]
    genome = ["--data", str(toy["vocab4"].folder), "--eval-every", "1", "--dropout", "0.2"]
    tune = ["finetune", "--checkpoint-dir", str(binding.outputs), *binding.flags, *SHORT]
    return {
        "pretrain": (["pretrain", *CORE, *genome], "--lr 0.5", "lr was 0.0005, is 0.5", "vocab4"),
        "finetune": (tune, "--max-cache 0", "was True, is False", "vocab4"),
        "finetune all": ([*tune, "--tune", "full"], "--lr 9e-3", "lr was ", "vocab4"),
        "baseline": (["baseline", *binding.flags, *SHORT], "--lr 9e-3", "lr was ", "baseline"),
        "original": (pairs, "--dna-length 20", "dna_length was 1000, is 20", ""),
        "late": (
            [*pairs, *encoders, *small, "--unfreeze-at-epoch", "1"],
            "--unfreeze-last 1",
            "unfreeze_last was 0, is 1",
            "",
        ),
    }


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "finetune all", "baseline", "original", "late"])
def test_a_stopped_run_resumes_to_the_same_bits(words, verb, tmp_path, stopping, capsys):
    line, other, message, name = words[verb]
    one, two = ([*line, "--out", str(tmp_path / folder)] for folder in ("one", "two"))
    with stopping():
        assert main(two) == 130
    assert read_json(tmp_path / "two" / name / "run.json")["status"] == "interrupted"
    assert main(two) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*two, *other.split(), "--resume"]) == 2
    assert message in capsys.readouterr().err
    assert main([*two, "--resume"]) == main(one) == 0
    for state in ("last", "checkpoint"):
        found, wanted = (checkpoint.load(tmp_path / folder / name / state)[0] for folder in ("two", "one"))
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.fixture
def cores(toy, tmp_path):
    """--out of pretraining that was stopped before its first step, and of one after two steps."""
    untrained, unfinished = tmp_path / "untrained", tmp_path / "unfinished"
    flags = ["--data", str(toy["vocab4"].folder), "--eval-every", "1", "--stop-at", "2"]
    assert main(["pretrain", *CORE, *flags, "--out", str(unfinished)]) == 0
    shutil.copytree(unfinished, untrained)
    tensors, about = checkpoint.load(untrained / "vocab4")
    del about["sha256"]  # of what is replaced
    checkpoint.save(untrained / "vocab4" / "checkpoint", tensors, about | {"step": 0})
    return untrained, unfinished


def test_an_untrained_core_is_refused_and_an_unfinished_one_gives_a_warning(
    binding, foundation, cores, tmp_path, capsys
):
    untrained, unfinished = cores
    flags = ["--device", "cpu", "--dna-encoder", None, "--mol-encoder", "morgan"]
    pairs = ["--data", str(foundation.data), "--out", str(tmp_path / "r"), "--epochs", "1"]
    for verb in (["interact", "check"], ["interact", "train", "--model", "foundation", *pairs]):
        for core, code, message in (
            (untrained, 2, "got one that is untrained"),
            (unfinished, 0, "unfinished (2 steps, status "),
        ):
            capsys.readouterr()
            assert main([*verb, *(flag or str(core / "vocab4") for flag in flags)]) == code
            assert "".join(capsys.readouterr()).count(message) == 1
            assert code == 0 or not (tmp_path / "r").exists()
    (caution,) = read_json(tmp_path / "r" / "results.json")["model"]["cautions"]
    assert caution.startswith(str(unfinished / "vocab4"))
    assert binding.finetune(tmp_path / "m", core=untrained) == 2
    assert "untrained" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
    assert binding.finetune(tmp_path / "m", "--random-core", "--epochs", "1", core=untrained) == 0
    assert "unfinished" not in capsys.readouterr().err  # its weights are not taken
    assert binding.finetune(tmp_path / "m", "--epochs", "1", core=unfinished) == 0
    assert capsys.readouterr().err.count("pretraining is unfinished (2 steps, status interrupted)") == 1
    about = read_json(tmp_path / "m" / "results_vocab4.json")["model"]["core"]
    assert about.endswith("toy.fa, 2 steps, unfinished (interrupted)")


def test_what_training_begins_from_is_not_replaced(models, binding, foundation, tmp_path, capsys):
    shutil.copytree(binding.outputs, tmp_path / "o")
    shutil.copytree(models, tmp_path / "m")
    core = tmp_path / "c" / "vocab4"  # without a record it is not known to be a run
    shutil.copytree(binding.outputs / "vocab4" / "checkpoint", core / "checkpoint")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for flags in ([], ["--overwrite"], ["--resume"]):
        assert binding.finetune(tmp_path / "o", *flags, core=tmp_path / "o") == 2
        message = capsys.readouterr().err
        assert "a run of dnalm pretrain" in message
        assert "--overwrite" not in message
    for out, flag, path in (
        ("m", "--init-from", "m/vocab4"),
        ("m", "--init-from", "m/gpt_binding_model_vocab4.pt"),
        ("c", "--checkpoint-dir", "c/vocab4"),
    ):
        assert binding.finetune(tmp_path / out, flag, tmp_path / path, "--overwrite") == 2
        assert "would begin from it" in capsys.readouterr().err
    again = replace(foundation, out=tmp_path / "o" / "vocab4", run=replace(foundation.run, overwrite=True))
    with pytest.raises(InputError, match="a run of dnalm pretrain"):
        interact_train(again)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert binding.finetune(tmp_path / "o", "--name", "tuned", "--epochs", "1", core=tmp_path / "o") == 0
