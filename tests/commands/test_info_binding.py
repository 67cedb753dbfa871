"""Tests for dnalm/commands/info_binding.py, and for binding models in dnalm/commands/info_models.py."""

import gzip
import shlex
from dataclasses import asdict

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import VERBS, main
from dnalm.commands.info import Options, identify, run
from dnalm.errors import InputError
from dnalm.files import write_json
from dnalm.formats.binding import BindingSet, write_binding
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.published import binding_file_content

R = {"value": 0.98125, "low": 0.98, "high": 0.9825}
HOMER = ">WAAGTAAACA\tFOXA1(Forkhead)\t6.367\n0.48\t0.03\t0.01\t0.48\n0.64\t0.07\t0.24\t0.05\n"
JASPAR = ">MA0001.1 AGL3\nA  [ 3 0 ]\nC  [ 1 4 ]\nG  [ 0 0 ]\nT  [ 0 0 ]\n"


def words(command):
    """Return a command's words, after checking that its verb is one."""
    found = shlex.split(command)
    assert found[0] == "dnalm"
    assert found[1] in VERBS
    return found[1:]


def results(name="vocab4"):
    return {
        "format": "dnalm-binding-results",
        "format_version": 1,
        "name": name,
        "model": {"kind": "gpt", "tune": "frozen", "both_strands": False, "random_core": False, "core": None}
        | {"causal": True, "parameters": 7_739_777, "trained_parameters": 541_697},
        "split": {"kind": "blocks", "part": "validation", "digest": "x", "near_duplicates": None}
        | {"windows": {"train": 7, "validation": 2, "test": 2, "left_out": 1}},
        "training": {"epochs": 20, "best_epoch": 18, "seconds": 295.0, "states_seconds": 1.0, "history": {}},
        "scores": {"pearson_r": R, "pearson_r_batches": 0.98, "mse": 0.1, "auroc": 0.99, "auprc": None},
    }


def run_record(verb="finetune", status="done", paths=True, test=2):
    files = {
        what: {"name": f"{what}.txt.gz", "sha256": "digest"}
        | ({"path": f"a b/{what}.txt.gz"} if paths else {})
        for what in ("sequences", "scores")
    }
    return {
        "format": "dnalm-run",
        "format_version": 1,
        "verb": verb,
        "status": status,
        "command": ["dnalm", verb, "--overwrite", "--out", "models"],
        "data": {"files": files, "windows": {"test": test}},
        "metrics": {"scores": {"pearson_r": R}},
    }


def binding_checkpoint(folder):
    checkpoint.save(folder, {"a": torch.zeros(4, 8)}, {"kind": "binding", "characters": "ACGT"})


@pytest.fixture
def labelled(tmp_path):
    """Three windows of 8 bases, as `dnalm label` writes them."""
    folder = tmp_path / "my data"
    folder.mkdir()
    letters = np.frombuffer(b"ACGTACGT" * 3, np.uint8).reshape(3, 8)
    names = [f"chr1_{start}_{start + 7}" for start in (0, 8, 16)]
    written = BindingSet(names, letters, np.eye(3, 8, dtype=np.float32))
    write_binding(folder / "sequences.txt.gz", folder / "scores.txt.gz", written)
    return folder


@pytest.fixture
def models(tmp_path):
    """What fine-tuning and a baseline leave, the baseline unfinished."""
    folder = tmp_path / "models"
    binding_checkpoint(folder / "vocab4" / "checkpoint")
    write_json(folder / "vocab4" / "run.json", run_record())
    write_json(folder / "results_vocab4.json", results())
    write_json(folder / "baseline" / "run.json", run_record("baseline", "interrupted"))
    checkpoint.write_pt(folder / "gpt_binding_model_vocab4.pt", {})
    return folder


class TestSets:
    def test_a_folder_of_labelled_windows(self, labelled):
        found = identify(labelled)
        assert found.kind == "binding-set"
        assert (found.facts["windows"], found.facts["window_bp"]) == (3, 8)
        assert found.facts["first_window"] == "chr1_0_7"
        assert found.facts["scores"] == ["scores.txt.gz"]
        flags = ["--sequences", str(labelled / "sequences.txt.gz")]
        flags += ["--scores", str(labelled / "scores.txt.gz"), "--out", "models"]
        assert words(found.next[0]) == ["baseline", *flags]
        core = ["--config", "vocab4", "--checkpoint-dir", "outputs"]
        assert words(found.next[1]) == ["finetune", *core, *flags]
        write_json(labelled / "run.json", run_record("label"))  # does not hide it
        found = identify(labelled)
        assert found.kind == "binding-set"
        assert found.facts["command"].startswith("dnalm label")

    def test_either_table_knows_the_other(self, labelled):
        whole = identify(labelled).next
        sequences, scores = identify(labelled / "sequences.txt.gz"), identify(labelled / "scores.txt.gz")
        assert sequences.kind == scores.kind == "table"
        assert sequences.next == scores.next == whole
        assert (sequences.facts["window_bp"], scores.facts["windows"]) == (8, 3)
        (labelled / "scores.txt.gz").rename(labelled / "scores_K562.txt.gz")
        assert words(identify(labelled / "scores_K562.txt.gz").next[0])[0] == "baseline"
        assert identify(labelled / "sequences.txt.gz").next == []  # its scores are not said which

    def test_what_the_head_cuts_is_left_out(self, tmp_path):
        names = "\t".join(f"chr1_{i}_{i}" for i in range(100_000))
        (tmp_path / "scores.txt.gz").write_bytes(gzip.compress(names.encode() + b"\n", 1))
        (tmp_path / "sequences.txt.gz").write_bytes(gzip.compress(b"sequence\twindow_name\nACG"))
        found = identify(tmp_path)
        assert found.kind == "binding-set"
        assert not found.facts.keys() & {"windows", "window_bp", "first_window"}

    def test_the_real_set(self, shared_data):
        found = identify(shared_data / "binding")
        assert (found.facts["windows"], found.facts["window_bp"]) == (23_139, 300)
        scores = identify(shared_data / "binding" / "chr22_scores.txt.gz")
        assert scores.next == found.next


class TestLabels:
    @pytest.mark.parametrize("text", [HOMER, JASPAR, JASPAR * 2], ids=["homer", "jaspar", "library"])
    def test_a_motif(self, tmp_path, text):
        path = tmp_path / "m"
        path.write_text(text.replace("AGL3", "AGL4", 1).replace("MA0001", "MA0002", 1))
        found = identify(path)
        assert (found.kind, found.facts["motifs"]) == ("motif", 1 + (text == JASPAR * 2))
        command = words(found.next[0])
        assert command[:4] == ["label", "GENOME", "--motif", str(path)]
        assert ("--pvalue" in command) == (text != HOMER)  # JASPAR has no threshold
        assert ("--name" in command) == (text == JASPAR * 2)

    @pytest.mark.parametrize("text", [HOMER.replace("0.64", "0.94"), ">P1\n1. hello\n", "MOTIF x\n", ">a\n"])
    def test_what_is_no_motif(self, tmp_path, text):
        (tmp_path / "x.motif").write_text(text)
        with pytest.raises(InputError, match=r"x\.motif: "):
            identify(tmp_path / "x.motif")

    def test_peaks(self, tmp_path):
        (tmp_path / "p.bed").write_text("chr1\t10\t20\tpeak\n")
        found = identify(tmp_path / "p.bed")
        assert words(found.next[0]) == ["label", "GENOME", "--peaks", str(tmp_path / "p.bed")]

    @pytest.mark.parametrize(
        ("file", "kind"),
        [
            ("motifs/foxa1.homer.motif", "motif"),
            ("motifs/foxa1.jaspar", "motif"),
            ("motifs/jaspar_2024_consensus.meme", "motif"),
            ("tracks/hg38_chr22_K562_accessibility.bw", "bigwig"),
        ],
    )
    def test_real_files(self, shared_data, file, kind):
        found = identify(shared_data / file)
        assert found.kind == kind
        flag = "--motif" if kind == "motif" else "--track"
        assert words(found.next[0])[:4] == ["label", "GENOME", flag, str(shared_data / file)]


class TestResults:
    def test_results(self, models):
        found = identify(models / "results_vocab4.json")
        assert (found.kind, found.title) == ("binding-results", "results of the binding model vocab4")
        assert found.facts["pearson_r"] == "0.9812 (0.9800 to 0.9825)"
        assert (found.facts["judged_on"], found.facts["windows"]["left_out"]) == ("validation", 1)
        assert found.facts["trained_parameters"] == 541_697
        assert "auprc" not in found.facts  # null: undefined
        assert words(found.next[0]) == ["compare", str(models)]
        used = ["--sequences", "a b/sequences.txt.gz", "--scores", "a b/scores.txt.gz"]
        assert words(found.next[1]) == ["evaluate", str(models / "vocab4"), "--part", "test", *used]

    def test_an_evaluation(self, tmp_path):
        content = {
            "format": "dnalm-binding-evaluation",
            "format_version": 1,
            "part": "test",
            "split": {"kind": "blocks"},
            "windows": 2,
            "bases": 16,
            "models": {"full": {"model": {}, "scores": {"pearson_r": R, "mse": 0.1}}},
            "baselines": {"mean score": {"scores": {"pearson_r": dict.fromkeys(R), "mse": 0.5}}},
            "pairs": [{"one": "full", "other": "vocab4", "value": -0.01, "low": -0.02, "high": 0.0}],
        }
        write_json(tmp_path / "evaluation_a.json", content)
        found = identify(tmp_path / "evaluation_a.json")
        assert found.kind == "binding-evaluation"
        assert found.facts["models"]["full"] == {"pearson_r": "0.9812 (0.9800 to 0.9825)", "mse": 0.1}
        assert found.facts["baselines"]["mean score"] == {"mse": 0.5}
        assert found.facts["differences_in_r"] == ["full minus vocab4: -0.0100 (-0.0200 to 0.0000)"]
        assert [words(command) for command in found.next] == [["compare", str(tmp_path)]]

    @pytest.mark.parametrize("form", ["dnalm-binding-results", "dnalm-binding-evaluation"])
    @pytest.mark.parametrize("rest", [{}, {"scores": 3, "models": {"a": 1}, "pairs": [1], "model": []}])
    def test_a_strange_one_gives_no_traceback(self, tmp_path, form, rest):
        write_json(tmp_path / "results_x.json", {"format": form} | rest)
        assert identify(tmp_path / "results_x.json").kind.startswith("binding-")
        assert identify(tmp_path).kind == "binding-models"

    def test_a_folder_of_models(self, models, capsys):
        found = identify(models)
        assert found.kind == "binding-models"
        assert found.facts["vocab4"]["status"] == "done"
        assert found.facts["vocab4"]["pearson_r"].startswith("0.9812")
        assert found.facts["baseline"]["status"] == "interrupted"
        assert found.facts["files"] == ["gpt_binding_model_vocab4.pt"]
        verbs = [words(command) for command in found.next]
        assert [one[0] for one in verbs] == ["compare", "baseline", "evaluate"]
        assert verbs[1] == ["baseline", "--out", "models", "--resume"]
        run(Options(models))
        assert "pearson_r 0.9812 (0.9800 to 0.9825)" in capsys.readouterr().out

    def test_a_folder_of_published_models_alone(self, tmp_path):
        files = [tmp_path / name for name in ("cnn_baseline_model.pt", "gpt_binding_model_full.pt")]
        for path in files:
            checkpoint.write_pt(path, {})
        found = identify(tmp_path)
        assert found.kind == "binding-models"
        assert [words(command)[1] for command in found.next] == list(map(str, files))


class TestModels:
    def test_the_folder_of_a_run_and_its_checkpoint(self, models):
        found = identify(models / "vocab4")
        assert found.kind == "run-folder"
        assert found.facts["pearson_r"] == 0.98125
        stored = identify(models / "vocab4" / "checkpoint")
        assert (stored.title, stored.next) == ("binding model", found.next)
        assert words(found.next[0])[:2] == ["evaluate", str(models / "vocab4")]

    def test_the_command_that_is_offered_for_a_trained_model_works(self, binding, tmp_path, monkeypatch):
        monkeypatch.chdir(binding.sequences.parent)  # paths as a user types them, from where they are
        train = ["--epochs", "1", "--gap", "100", "--out", str(tmp_path), "--device", "cpu"]
        files = ["--sequences", binding.sequences.name, "--scores", binding.scores.name]
        assert main(["baseline", *train, *files]) == 0
        command = words(identify(tmp_path / "baseline").next[0])
        assert command == ["evaluate", str(tmp_path / "baseline"), "--part", "test", *files]
        assert main([*command, "--device", "cpu"]) == 0

    def test_what_a_record_lacks_is_not_offered(self, models):
        for changes, part in (
            ({"paths": False}, "test"),
            ({"test": 0}, "validation"),
        ):  # of the published split
            write_json(models / "vocab4" / "run.json", run_record(**changes))
            command = words(identify(models / "vocab4").next[0])
            assert command[:4] == ["evaluate", str(models / "vocab4"), "--part", part]
            assert ("--sequences" in command) == ("paths" not in changes)

    def test_a_pretrained_model_is_offered_to_finetune(self, tmp_path):
        for mode, characters in (("vocab4", "ACGT"), ("full", "ACGTN")):
            folder = tmp_path / mode / "checkpoint"
            checkpoint.save(folder, {"a": torch.zeros(2)}, {"kind": "language", "characters": characters})
            command = words(identify(folder).next[0])
            assert command == ["finetune", "--config", mode, "--checkpoint-dir", str(folder)]
        path = tmp_path / "outputs" / "ckpt_vocab4.pt"
        path.parent.mkdir()
        model = {"transformer.wte.weight": torch.zeros(4, 8)}
        checkpoint.write_pt(path, {"model": model, "model_args": {"vocab_size": 4}})
        for where, index in ((path, 0), (path.parent, -1)):
            command = words(identify(where).next[index])
            assert command == ["finetune", "--config", "vocab4", "--checkpoint-dir", str(where)]

    def test_a_published_gpt(self, tmp_path):
        config = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20, position="learned")
        core = GPT(config, 4)
        shapes = {"layer_norm.weight": (16,), "layer_norm.bias": (16,), "conv1d.weight": (128, 16, 11)}
        shapes |= {"conv1d.bias": (128,), "fc.weight": (1, 128), "fc.bias": (1,)}
        head = {name: torch.zeros(shape) for name, shape in shapes.items()}
        path = tmp_path / "my model.pt"
        args = asdict(config) | {"vocab_size": 4}
        content = binding_file_content("gpt", args, core.state_dict(), head, {"best_val_loss": 0.5})
        checkpoint.write_pt(path, content)
        found = identify(path)
        assert found.kind == "published-binding-gpt"
        # 2 * 16 of the LayerNorm, 128 * 16 * 11 + 128 of the convolution, 129 of the readout
        assert found.facts["parameters_of_the_head"] == 32 + 22_656 + 129
        own = sum(parameter.numel() for parameter in core.parameters())
        assert found.facts["parameters"] == own + found.facts["parameters_of_the_head"]
        assert (found.facts["both_strands"], found.facts["best_val_loss"]) == (True, 0.5)
        assert [words(command) for command in found.next] == [["evaluate", str(path)]]
        del content["regressor_state"]["fc.bias"]
        checkpoint.write_pt(path, content)
        with pytest.raises(InputError, match=r"my model\.pt, regressor_state: .*fc\.bias"):
            identify(path)
        checkpoint.write_pt(path, {"model_state": {"layer.weight": torch.zeros(3)}})
        assert identify(path).kind == "pt"  # of another project
