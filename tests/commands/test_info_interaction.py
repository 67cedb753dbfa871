"""Tests for dnalm/commands/info*.py: pairs of genes and molecules, and their models."""

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
    assert found[1] in VERBS or " ".join(found[1:3]) in VERBS
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


def test_prepared_pairs(data, tmp_path, pair_set, write_set):
    found = identify(data)
    assert found.kind == "pairs"
    assert (found.facts["split"], found.facts["negatives"]) == ("random", "given")
    assert (found.facts["counts"]["read"], found.facts["counts"]["kept"]) == (93, 90)
    assert sum(found.facts["parts"][part]["rows"] for part in ("train", "validation", "test")) == 90
    assert found.facts["digest"] == json.loads((data / "meta.json").read_text())["digest"]
    assert [words(command)[:2] for command in found.next] == [["interact", "train"], ["interact", "evaluate"]]
    assert all(str(data) in words(command) for command in found.next)
    assert identify(data / "meta.json") == found
    pair_set.label[:] = 1
    assert identify(write_set(tmp_path / "positives", pair_set)).next == []  # no model can be trained
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    (tmp_path / "pairs.npz").write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(InputError, match="damaged"):
        identify(tmp_path)


def test_a_model_its_run_and_its_results(model, data, tmp_path):
    evaluate = ["interact", "evaluate", str(model), "--data", str(data), "--part", "test"]
    results = json.loads((model / "results.json").read_text())
    folder, auroc = identify(model), f"{results['validation']['auroc']['value']:.4f} ("
    assert folder.kind == "run-folder"
    assert folder.facts["metrics"]["validation"]["auroc"].startswith(auroc)
    assert words(folder.next[0]) == evaluate
    checkpoint = identify(model / "checkpoint")
    assert checkpoint.title == "interaction model"
    assert checkpoint.facts["parameters"] == results["model"]["parameters"]
    assert words(checkpoint.next[0]) == evaluate
    found = identify(model / "results.json")
    assert found.kind == "interaction-results"
    assert found.facts["model"]["kind"] == "kmer-morgan"
    assert found.facts["validation"]["auroc"].startswith(auroc)
    assert list(map(words, found.next)) == [["compare", str(model)], evaluate]
    record = json.loads((model / "run.json").read_text()) | {"status": "interrupted"}
    (tmp_path / "run.json").write_text(json.dumps(record))
    again = words(identify(tmp_path / "run.json").next[0])
    assert (again[:2], again[-1]) == (["interact", "train"], "--resume")
    (tmp_path / "run.json").unlink()
    shutil.copytree(model / "checkpoint", tmp_path / "checkpoint")
    assert "--data data/pairs" in identify(tmp_path / "checkpoint").next[0]  # not known


def test_an_evaluation(model):
    found = identify(model / "evaluation_validation.json")
    content = json.loads((model / "evaluation_validation.json").read_text())
    assert found.kind == "interaction-evaluation"
    assert found.facts["part"] == "validation"
    assert set(content["ladder"]) == set(found.facts["ladder"])
    assert content["best_baseline"] in found.facts["models"]["small"]["minus_best_baseline"]
    assert "minus_best_baseline" not in found.facts["ladder"]["node rate"]
    assert words(found.next[0]) == ["compare", str(model)]
