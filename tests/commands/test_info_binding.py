"""Tests for dnalm/commands/info*.py: labelled windows, and binding models with their results."""

import gzip
import json
import shlex

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import VERBS, main
from dnalm.commands.info import identify
from dnalm.errors import InputError
from dnalm.files import write_json
from dnalm.formats.binding import BindingSet, write_binding
from dnalm.models.binding import BindingModel, BindingShape, TuneConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.published import published_content

HOMER = ">WAAGTAAACA\tFOXA1(Forkhead)\t6.367\n0.48\t0.03\t0.01\t0.48\n0.64\t0.07\t0.24\t0.05\n"
JASPAR = ">MA0001.1 AGL3\nA  [ 3 0 ]\nC  [ 1 4 ]\nG  [ 0 0 ]\nT  [ 0 0 ]\n"


def words(command):
    """Return a command's words, after checking that its verb is one."""
    found = shlex.split(command)
    assert found[0] == "dnalm"
    assert found[1] in VERBS
    return found[1:]


def labelled(folder):
    """Write three windows of 8 bases, as `dnalm label` does, and return the flags that name them."""
    folder.mkdir()
    letters = np.frombuffer(b"ACGTACGT" * 3, np.uint8).reshape(3, 8)
    names = [f"chr1_{start}_{start + 7}" for start in (0, 8, 16)]
    files = folder / "sequences.txt.gz", folder / "scores.txt.gz"
    write_binding(*files, BindingSet(names, letters, np.eye(3, 8, dtype=np.float32)))
    return ["--sequences", str(files[0]), "--scores", str(files[1]), "--out", "models"]


def test_a_folder_of_labelled_windows_and_its_tables(tmp_path):
    folder = tmp_path / "my data"
    flags = labelled(folder)
    found = identify(folder)
    assert found.kind == "binding-set"
    assert (found.facts["windows"], found.facts["window_bp"]) == (3, 8)
    assert found.facts["scores"] == ["scores.txt.gz"]
    core = ["--config", "vocab4", "--checkpoint-dir", "outputs"]
    assert list(map(words, found.next)) == [["baseline", *flags], ["finetune", *core, *flags]]
    write_json(folder / "run.json", {"format": "dnalm-run"})  # does not hide it
    assert identify(folder).kind == "binding-set"
    sequences, scores = identify(folder / "sequences.txt.gz"), identify(folder / "scores.txt.gz")
    assert sequences.kind == scores.kind == "table"
    assert sequences.next == scores.next == found.next
    assert (sequences.facts["window_bp"], scores.facts["windows"]) == (8, 3)


def test_what_the_head_cuts_is_left_out(tmp_path):
    names = "\t".join(f"chr1_{i}_{i}" for i in range(100_000))
    (tmp_path / "scores.txt.gz").write_bytes(gzip.compress(names.encode() + b"\n", 1))
    (tmp_path / "sequences.txt.gz").write_bytes(gzip.compress(b"sequence\twindow_name\nACG"))
    found = identify(tmp_path)
    assert found.kind == "binding-set"
    assert not found.facts.keys() & {"windows", "window_bp"}


@pytest.mark.parametrize("text", [HOMER, JASPAR, JASPAR * 2], ids=["homer", "jaspar", "library"])
def test_a_motif(tmp_path, text):
    path = tmp_path / "m"
    path.write_text(text.replace("AGL3", "AGL4", 1).replace("MA0001", "MA0002", 1))
    found = identify(path)
    assert (found.kind, found.facts["motifs"]) == ("motif", 1 + (text == JASPAR * 2))
    command = words(found.next[0])
    assert command[:4] == ["label", "GENOME", "--motif", str(path)]
    assert ("--pvalue" in command) == (text != HOMER)  # JASPAR has no threshold
    assert ("--name" in command) == (text == JASPAR * 2)


@pytest.mark.parametrize("text", [HOMER.replace("0.64", "0.94"), ">P1\n1. hello\n", "MOTIF x\n", ">a\n"])
def test_what_is_no_motif(tmp_path, text):
    (tmp_path / "x.motif").write_text(text)
    with pytest.raises(InputError, match=r"x\.motif: "):
        identify(tmp_path / "x.motif")


def test_real_files(shared_data, tmp_path):
    found = identify(shared_data / "binding")
    assert (found.facts["windows"], found.facts["window_bp"]) == (23_139, 300)
    assert identify(shared_data / "binding" / "chr22_scores.txt.gz").next == found.next
    (tmp_path / "p.bed").write_text("chr1\t10\t20\tpeak\n")
    for path, flag in (
        (shared_data / "motifs/foxa1.homer.motif", "--motif"),
        (shared_data / "motifs/foxa1.jaspar", "--motif"),
        (shared_data / "motifs/jaspar_2024_consensus.meme", "--motif"),
        (shared_data / "tracks/hg38_chr22_K562_accessibility.bw", "--track"),
        (tmp_path / "p.bed", "--peaks"),
    ):
        assert words(identify(path).next[0])[:4] == ["label", "GENOME", flag, str(path)]


@pytest.mark.parametrize("form", ["dnalm-binding-results", "dnalm-binding-evaluation"])
@pytest.mark.parametrize("rest", [{}, {"scores": 3, "models": {"a": 1}, "pairs": [1], "model": []}])
def test_strange_results_give_no_traceback(tmp_path, form, rest):
    write_json(tmp_path / "results_x.json", {"format": form} | rest)
    assert identify(tmp_path / "results_x.json").kind.startswith("binding-")
    assert identify(tmp_path).kind == "outputs"


def test_the_commands_for_a_trained_model_work(binding, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(binding.sequences.parent)  # paths as a user types them, from where they are
    files = ["--sequences", binding.sequences.name, "--scores", binding.scores.name]
    flags = ["--epochs", "1", "--gap", "100", "--out", str(tmp_path), "--device", "cpu", *files]
    assert main(["baseline", *flags]) == 0
    model, results = tmp_path / "baseline", tmp_path / "results_baseline.json"
    found = identify(model)
    assert found.kind == "run-folder"
    evaluate = ["evaluate", str(model), "--part", "test", *files]
    assert f"for a claim run {shlex.join(['dnalm', *evaluate])}\n" in capsys.readouterr().out
    assert words(found.next[0]) == words(identify(model / "checkpoint").next[0]) == evaluate
    out = tmp_path / "evaluation_test.json"
    assert main([*evaluate, "--device", "cpu", "--out", str(out)]) == 0
    r = json.loads(results.read_text())["scores"]["pearson_r"]
    shown = identify(results)
    assert (shown.kind, shown.title) == ("binding-results", "results of the binding model baseline")
    assert shown.facts["scores"]["pearson_r"] == f"{r['value']:.4f} ({r['low']:.4f} to {r['high']:.4f})"
    assert shown.facts["split"]["part"] == "validation"
    assert list(map(words, shown.next)) == [["compare", str(tmp_path)], evaluate]
    shown = identify(out)
    assert shown.kind == "binding-evaluation"
    assert "mse" in shown.facts["models"]["baseline"]
    assert words(shown.next[0]) == ["compare", str(tmp_path)]
    checkpoint.write_pt(tmp_path / "gpt_binding_model_vocab4.pt", {})
    shown = identify(tmp_path)
    assert shown.kind == "outputs"
    assert shown.facts["baseline"] == "folder of a baseline run (done)"
    assert shown.facts["files"][1:] == [out.name, "gpt_binding_model_vocab4.pt", results.name]
    assert list(map(words, shown.next)) == [["compare", str(tmp_path)], evaluate]
    record = json.loads((model / "run.json").read_text())
    for file in record["data"]["files"].values():
        del file["path"]  # as in older records
    record["data"]["windows"]["test"] = 0  # the published split
    write_json(model / "run.json", record)
    assert words(identify(model).next[0]) == ["evaluate", str(model), "--part", "validation"]
    write_json(model / "run.json", record | {"status": "interrupted", "command": ["dnalm", "baseline"]})
    assert identify(model).next == ["dnalm baseline --resume"]


def test_a_pretrained_model_is_offered_to_finetune(tmp_path):
    for mode, characters in (("vocab4", "ACGT"), ("full", "ACGTN")):
        folder = tmp_path / mode / "checkpoint"
        checkpoint.save(folder, {"a": torch.zeros(2)}, {"kind": "language", "characters": characters})
        command = words(identify(folder).next[0])
        assert command == ["finetune", "--config", mode, "--checkpoint-dir", str(folder)]
    checkpoint.save(folder, {"a": torch.zeros(2)}, {"kind": "language", "characters": "ACGT", "step": 0})
    assert identify(folder).next == []  # untrained


def test_a_published_binding_model(tmp_path):
    config = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20, position="learned")
    model = BindingModel(BindingShape(config, "ACGT", tuning=TuneConfig(both_strands=True)))
    path = tmp_path / "gpt_binding_model_my own.pt"
    content = published_content(model, {"best_val_loss": 0.5})
    checkpoint.write_pt(path, content)
    found = identify(path)
    assert found.kind == "published-binding-gpt"
    assert found.facts["parameters"] == model.parameter_count
    assert (found.facts["both_strands"], found.facts["best_val_loss"]) == (True, 0.5)
    assert list(map(words, found.next)) == [["evaluate", str(path)]]
    assert identify(tmp_path).next == found.next
    del content["regressor_state"]["fc.bias"]
    checkpoint.write_pt(path, content)
    with pytest.raises(InputError, match=r"my own\.pt, regressor_state: .*fc\.bias"):
        identify(path)
    checkpoint.write_pt(path, {"model_state": {"layer.weight": torch.zeros(3)}})
    assert identify(path).kind == "pt"  # of another project
