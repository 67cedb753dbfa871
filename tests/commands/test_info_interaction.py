"""Tests for dnalm/commands/info_interaction.py, and for its models in dnalm/commands/info_models.py."""

import json
import shlex
import shutil

import numpy as np
import pytest

from dnalm.cli import VERBS, main
from dnalm.commands import interact_evaluate, interact_prepare
from dnalm.commands.info import identify
from dnalm.commands.runs import EvaluationOptions
from dnalm.device import Compute
from dnalm.errors import InputError

CPU = Compute(device="cpu", precision="fp32")
GENES, CHAINS = 12, 10


def words(command):
    """Return a command's words behind its verb, after checking that the verb is one."""
    found = shlex.split(command)
    assert found[0] == "dnalm"
    assert " ".join(found[1:3]) in VERBS
    return found[1:]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ninety pairs of both labels, prepared; three rows are dropped."""
    folder = tmp_path_factory.mktemp("with space")
    draws = np.random.default_rng(0)
    genes = [f"{row},{''.join(draws.choice(list('ACGT'), 40))},promoter" for row in range(GENES)]
    (folder / "genes.csv").write_text("\n".join(["GeneID,sequence,kind", *genes]) + "\n")
    pairs = [(gene, "C" * (1 + chain) + "O") for gene in range(GENES) for chain in range(CHAINS)][:90]
    rows = [f"{gene},{smiles},{(gene + len(smiles)) % 2}" for gene, smiles in pairs]
    rows += ["99,CCN,1", "1,nonsense,1", "1,,0"]
    (folder / "pairs.csv").write_text("\n".join(["GeneID,SMILES,Label", *rows]) + "\n")
    interact_prepare.run(
        interact_prepare.Options(folder / "pairs.csv", folder / "genes.csv", folder / "set", quiet=True)
    )
    return folder / "set"


@pytest.fixture(scope="module")
def model(data):
    """A trained model of these pairs, with an evaluation beside it, made by the command line."""
    out = data.parent / "runs" / "small"
    argv = ["interact", "train", "--data", str(data), "--out", str(out), "--dna-encoder", "kmer"]
    flags = ["--mol-encoder", "morgan", "--epochs", "1", "--batch-size", "16", "--quiet", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["dnalm", *argv, *flags])  # what the record keeps
        assert main() == 0
    judging = EvaluationOptions(out=out / "evaluation_validation.json", compute=CPU, quiet=True)
    interact_evaluate.run(interact_evaluate.Options((out,), data, judging=judging))
    return out


def test_prepared_pairs(data):
    found = identify(data)
    assert found.kind == "pairs"
    assert found.facts["split"] == "random"
    assert found.facts["negatives"] == "given"
    assert (found.facts["rows_read"], found.facts["pairs_kept"]) == (93, 90)
    assert sum(found.facts["rows_dropped"].values()) == 3
    assert sum(found.facts["parts"][part]["rows"] for part in ("train", "validation", "test")) == 90
    assert (found.facts["genes"], found.facts["molecules"]) == (9, 10)
    assert found.facts["digest"] == json.loads((data / "meta.json").read_text())["digest"]
    assert [words(command)[:2] for command in found.next] == [["interact", "train"], ["interact", "evaluate"]]
    assert all(str(data) in words(command) for command in found.next)
    assert identify(data / "meta.json") == found


def test_damaged_pairs_are_refused(data, tmp_path):
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    (tmp_path / "pairs.npz").write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(InputError, match="damaged"):
        identify(tmp_path)


def test_a_model_its_run_and_its_results(model, data):
    judge = ["interact", "evaluate", str(model), "--data", str(data), "--part", "test"]
    results = json.loads((model / "results.json").read_text())
    folder = identify(model)
    assert folder.kind == "run-folder"
    assert folder.facts["auroc"] == results["validation"]["auroc"]["value"]
    assert folder.facts["node_rate_auroc"] == results["node_rate_validation"]
    assert words(folder.next[0]) == judge
    checkpoint = identify(model / "checkpoint")
    assert checkpoint.title == "interaction model"
    assert checkpoint.facts["parameters"] == results["model"]["parameters"]
    assert words(checkpoint.next[0]) == judge
    told = identify(model / "results.json")
    assert told.kind == "interaction-results"
    assert told.facts["kind"] == "kmer-morgan"
    assert told.facts["auroc"].startswith(f"{results['validation']['auroc']['value']:.4f} (")
    assert [words(command)[:2] for command in told.next] == [
        ["interact", "evaluate"],
        ["interact", "compare"],
    ]


def test_an_evaluation(model):
    found = identify(model / "evaluation_validation.json")
    content = json.loads((model / "evaluation_validation.json").read_text())
    assert found.kind == "interaction-evaluation"
    assert found.facts["judged_on"] == "validation"
    assert found.facts["best_baseline"] == content["best_rung"]
    assert set(content["ladder"]) == set(found.facts["baselines"])
    assert "auroc_minus_best_baseline" in found.facts["models"]["small"]
    assert "auroc_minus_best_baseline" not in found.facts["baselines"]["node rate"]
    assert words(found.next[0]) == ["interact", "compare", str(model)]


def test_what_its_record_lacks_is_not_offered(model, tmp_path):
    record = json.loads((model / "run.json").read_text()) | {"status": "interrupted"}
    (tmp_path / "run.json").write_text(json.dumps(record))
    again = words(identify(tmp_path / "run.json").next[0])
    assert again[:2] == ["interact", "train"]
    assert again[-1] == "--resume"
    (tmp_path / "run.json").unlink()
    shutil.copytree(model / "checkpoint", tmp_path / "checkpoint")
    command = words(identify(tmp_path / "checkpoint").next[0])
    assert command[command.index("--data") + 1] == "data/pairs"
