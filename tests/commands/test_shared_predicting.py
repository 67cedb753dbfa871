"""Two processes of torchrun predict what one does: `dnalm evaluate`, `interact evaluate` and `screen`."""

import json
from dataclasses import replace

import pytest
import torch

from dnalm import process
from dnalm.cli import main
from dnalm.commands.interact_train import run as train
from dnalm.data.binding import BindingWindows
from dnalm.evaluate.binding import predict

FULL = ["--device", "cpu", "--precision", "fp32"]


@pytest.fixture
def both(torchrun, tmp_path):
    """A function that runs a verb in one process and in two, and returns where each has written."""

    def run(*words):
        outs = [tmp_path / name for name in ("one", "two")]
        assert main([*map(str, words), "--out", str(outs[0]), *FULL]) == 0
        ended = torchrun("-m", "dnalm", *words, "--out", outs[1], *FULL)
        assert ended.returncode == 0, ended.stderr[-3000:]
        assert ended.stdout.count(str(outs[1])) == 1  # one process speaks
        return outs

    return run


@pytest.fixture
def pair_model(foundation):
    """The folder of a trained pair model."""
    pytest.importorskip("rdkit")
    train(replace(foundation, train=replace(foundation.train, epochs=1)))
    return foundation.out


def scores(entry):
    found = entry["scores"]
    return {
        key: found[key]["value"] for key in found if isinstance(found[key], dict) and "value" in found[key]
    }


def test_each_process_does_its_share(monkeypatch):
    seen = []

    class Counted(torch.nn.Linear):
        def forward(self, tokens, states):
            seen.append(len(tokens))
            return tokens.float()

    tokens = torch.arange(200, dtype=torch.uint8)[:, None].repeat(1, 3)
    windows = BindingWindows(tokens, torch.zeros(200, 3))
    whole = predict(Counted(1, 1), windows)
    assert seen == [64, 64, 64, 8]
    seen.clear()
    monkeypatch.setattr("dnalm.process.current", lambda: process.ProcessInfo(1, 2, 2, "torchrun"))
    monkeypatch.setattr("dnalm.process.all_gather", lambda own: [[whole[:64], whole[128:192]], own])
    assert (predict(Counted(1, 1), windows, together=True) == whole).all()
    assert seen == [64, 8]  # the second batch and the fourth
    seen.clear()
    predict(Counted(1, 1), windows)  # asked for by one process alone
    assert seen == [64, 64, 64, 8]


def test_evaluate(binding, both, tmp_path):
    short = ["--epochs", "1", "--gap", "100", *FULL]
    assert main(["baseline", "--out", str(tmp_path / "models"), *binding.flags, *short]) == 0
    outs = both("evaluate", tmp_path / "models" / "baseline", *binding.flags)
    one, two = (json.loads(path.read_text())["models"]["baseline"] for path in outs)
    assert scores(one)
    assert scores(one) == scores(two)
    assert one["detail"] == two["detail"]


def test_interact_evaluate(pair_folder, pair_model, both):
    outs = both("interact", "evaluate", pair_model, "--data", pair_folder)
    one, two = (json.loads(path.read_text()) for path in outs)
    for name, entry in one["models"].items():
        assert scores(entry)
        assert scores(entry) == pytest.approx(scores(two["models"][name]), abs=1e-6)
    assert one["ladder"] == two["ladder"]


def test_interact_screen(pair_folder, pair_model, both, tmp_path):
    (tmp_path / "library.smi").write_text("CCO\nCCCl\nc1ccccc1 benzene\n")
    library = ["--gene", "g3", "--molecules", tmp_path / "library.smi"]
    one, two = (
        path.read_text() for path in both("interact", "screen", pair_model, "--data", pair_folder, *library)
    )
    assert len(one.splitlines()) == 4
    assert one == two
