"""Tests for dnalm/commands/info.py; those of genomic files are in tests/formats/test_detect.py."""

import json
import pickle
import shlex

import pytest
import torch

from dnalm import checkpoint
from dnalm.commands import prepare
from dnalm.commands.info import Options, identify, run
from dnalm.errors import InputError
from dnalm.files import write_json
from dnalm.models.gpt import GPT, GPTConfig


def record(status="done"):
    return {
        "format": "dnalm-run",
        "format_version": 1,
        "verb": "pretrain",
        "status": status,
        "command": ["dnalm", "pretrain", "--data", "my data/vocab4", "--overwrite"],
        "recipe": {},
        "seed": 0,
        "data": {"name": "genome.fa"},
        "hardware": {"device": "cpu"},
        "timings": {"elapsed_s": 12.5},
        "metrics": {"step": 4000, "bits_per_base": {"value": 1.9387, "low": 1.93, "high": 1.94}},
    }


def description():
    encoder = {"name": "gpt", "n_layer": 1, "n_embd": 8}
    return {"kind": "language", "encoder": encoder, "vocab_size": 4, "characters": "ACGT", "step": 50}


@pytest.fixture
def data(tmp_path):
    """A prepared genome of 5 kb, both vocabularies."""
    genome = tmp_path / "genome.fa"
    genome.write_text(">chrA\n" + "ACGTTGCAac" * 200 + "\n>chrB\n" + "N" * 300 + "GATTACA" * 400 + "\n")
    prepare.run(prepare.Options(genome=(genome,), out=tmp_path / "my data", quiet=True))
    return tmp_path / "my data"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_prepared_genomes(data, tmp_path):
    found = identify(data / "vocab4")
    assert found.kind == "prepared-genome"
    assert found.facts["mode"] == "vocab4"
    assert found.facts["characters"] == "ACGT"
    counts = found.facts["counts"]
    assert counts["bases"] == counts["train_bases"] + counts["val_bases"] == 4_800  # chrA 2,000, chrB 2,800
    assert (counts["soft_masked"], counts["n"]) == (400, 300)
    assert found.facts["first_contigs"] == ["chrA", "chrB"]
    assert found.facts["split"] == "the last 10% of the bases for validation"
    assert shlex.split(found.next[0])[:4] == ["dnalm", "pretrain", "--data", str(data / "vocab4")]
    assert identify(data / "vocab4" / "meta.json") == found
    both = identify(data)
    assert both.kind == "outputs"
    assert both.facts["vocab4"] == "prepared genome, vocab4"
    assert [shlex.split(command)[3] for command in both.next] == [str(data / "full"), str(data / "vocab4")]
    genome = write(tmp_path / "g.fa", ">c\n" + "ACGT" * 20_000 + "\n")
    prepare.run(prepare.Options((genome,), tmp_path / "b", vocab="full", val_fraction=0.0049, published=True))
    split = identify(tmp_path / "b" / "full").facts["split"]
    assert split == "the last 0.49% of the tokens (the published split) for validation"


def test_a_checkpoint_and_its_parameters_without_reading_them(tmp_path):
    folder = tmp_path / "checkpoint"
    checkpoint.save(folder, {"a": torch.zeros(4, 8), "b": torch.zeros(8)}, description())
    found = identify(folder)
    assert (found.kind, found.title) == ("checkpoint", "language model")
    assert found.facts["parameters"] == 40
    assert (found.facts["characters"], found.facts["step"]) == ("ACGT", 50)
    assert found.facts["encoder"]["n_embd"] == 8
    assert identify(folder / "checkpoint.json") == found
    weights = identify(folder / "model.safetensors")
    assert (weights.kind, weights.facts["parameters"]) == ("safetensors", 40)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model.safetensors: missing"):
        identify(folder)
    checkpoint.save(tmp_path / "last", {"a": torch.zeros(2)}, {"step": 7, "evaluations": []})
    assert identify(tmp_path / "last").kind == "training-state"


def test_runs_their_records_and_a_folder_of_them(tmp_path, capsys):
    folder = tmp_path / "vocab4"
    checkpoint.save(folder / "checkpoint", {"a": torch.zeros(4, 8)}, description())
    write_json(folder / "run.json", record("interrupted"))
    found = identify(folder)
    assert (found.kind, found.facts["status"]) == ("run-folder", "interrupted")
    assert found.facts["metrics"]["bits_per_base"] == "1.9387 (1.9300 to 1.9400)"
    assert found.facts["parameters"] == 32
    assert found.next == ["dnalm pretrain --data 'my data/vocab4' --resume"]
    write_json(tmp_path / "full" / "run.json", record())
    found = identify(tmp_path / "full" / "run.json")
    assert (found.kind, found.title, found.next) == ("run", "pretrain run (done)", [])
    checkpoint.write_pt(tmp_path / "ckpt_full.pt", {})
    found = identify(tmp_path)
    assert found.kind == "outputs"
    assert found.facts["full"] == "folder of a pretrain run (done)"
    assert found.facts["files"] == ["ckpt_full.pt"]
    assert [shlex.split(command)[1] for command in found.next] == ["compare", "pretrain"]
    run(Options(folder))
    shown = capsys.readouterr().out
    assert "bits per base 1.9387 (1.9300 to 1.9400)" in shown
    run(Options(folder, json=True))
    assert json.loads(capsys.readouterr().out)["kind"] == "run-folder"


def test_losses_summary_and_metrics(tmp_path):
    losses = {"iterations": [0, 1000], "train_losses": [1.4, 1.34], "val_losses": [1.39, 1.35]}
    write_json(tmp_path / "losses_vocab4.json", losses | {"vocab_size": 4})
    found = identify(tmp_path / "losses_vocab4.json")
    assert found.kind == "losses"
    assert found.facts == {"iterations": 1000, "train_losses": 1.34, "val_losses": 1.35, "vocab_size": 4}
    write_json(tmp_path / "s.json", {"elapsed_time": 5.0, "best_val_loss": 1.3, "checkpoint": None})
    assert identify(tmp_path / "s.json").kind == "summary"
    assert identify(write(tmp_path / "metrics.jsonl", '{"step": 10}\n{"step": 20}\n')).kind == "metrics"


def test_a_published_language_model(tmp_path):
    core = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20, position="learned"), 4)
    args = {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 20, "vocab_size": 4}
    args |= {"bias": False, "dropout": 0.0}
    state = {f"transformer.{name}": tensor for name, tensor in core.state_dict().items()}
    content = {"model_args": args, "model": state, "iter": 4000, "best_val_loss": 1.35}
    path = tmp_path / "outputs" / "ckpt_vocab4.pt"
    path.parent.mkdir()
    checkpoint.write_pt(path, content)
    found = identify(path)
    assert found.kind == "published-gpt"
    assert found.facts["model_args"]["n_embd"] == 8
    assert found.facts["parameters"] == sum(parameter.numel() for parameter in core.parameters())
    assert (found.facts["characters"], found.facts["best_val_loss"]) == ("ACGT", 1.35)
    for where in (path, path.parent):
        words = shlex.split(identify(where).next[-1])
        assert words == ["dnalm", "finetune", "--config", "vocab4", "--checkpoint-dir", str(path)]
    other = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20, position="learned"), 14)
    state = {f"transformer.{name}": tensor for name, tensor in other.state_dict().items()}
    content |= {"model_args": args | {"vocab_size": 14}, "model": state}
    checkpoint.write_pt(path.with_name("ckpt_full.pt"), content)  # whose letters are not known
    found = identify(path.parent)
    assert [shlex.split(command)[-1] for command in found.next] == [str(path)]
    assert "14 different" in found.facts["ckpt_full.pt"]
    torch.save({"w": torch.zeros(3)}, tmp_path / "old", _use_new_zipfile_serialization=False)
    assert identify(tmp_path / "old").kind == "pt"  # as before PyTorch 1.6


def test_one_that_would_run_code_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "was run"

    class Evil:
        def __reduce__(self):
            return (type(tmp_path).touch, (marker,))

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    write(tmp_path / "evil.bin", pickle.dumps(Evil()))
    for name in ("evil.pt", "evil.bin"):
        with pytest.raises(InputError, match=name):
            identify(tmp_path / name)
    assert not marker.exists()
