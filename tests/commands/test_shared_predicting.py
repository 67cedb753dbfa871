"""Two processes of torchrun predict what one does: `dnalm evaluate`, `interact evaluate` and `screen`."""

import json
from dataclasses import replace

import pytest

from dnalm.cli import main
from dnalm.commands.interact_train import run as train


def scores(entry):
    return {
        key: each["value"]
        for key, each in entry["scores"].items()
        if isinstance(each, dict) and "value" in each
    }


def test_two_processes_predict_what_one_does(binding, foundation, two_processes, tmp_path):
    pytest.importorskip("rdkit")
    train(replace(foundation, train=replace(foundation.train, epochs=1)))
    assert binding.baseline(tmp_path / "models", "--epochs", "1") == 0
    (tmp_path / "library.smi").write_text("CCO\nCCCl\nc1ccccc1 benzene\n")
    model, data = str(foundation.out), ["--data", str(foundation.data), "--device", "cpu"]
    library = ["--gene", "g3", "--molecules", str(tmp_path / "library.smi")]
    verbs = {
        "binding": ["evaluate", str(tmp_path / "models" / "baseline"), *binding.flags],
        "pairs": ["interact", "evaluate", model, *data],
        "screen": ["interact", "screen", model, *data, *library],
    }
    lines = [
        [*words, "--precision", "fp32", "--out", str(tmp_path / f"NUMBER {name}")]
        for name, words in verbs.items()
    ]
    jobs = [[word.replace("NUMBER", number) for word in line] for number in ("one", "two") for line in lines]
    assert [main(words) for words in jobs[:3]] == [0, 0, 0]
    ended, shown = two_processes(tmp_path, [{"task": "command", "words": words} for words in jobs[3:]])
    assert ended.returncode == 0, ended.stderr[-3000:]
    for words, each in zip(jobs[3:], shown, strict=True):
        assert each["out"].count(words[-1]) == 1  # one process speaks
    one, two = ([(tmp_path / f"{number} {name}").read_text() for name in verbs] for number in ("one", "two"))
    cnn, other = (json.loads(each[0])["models"]["baseline"] for each in (one, two))
    assert scores(cnn) == scores(other) != {}
    assert cnn["detail"] == other["detail"]
    pairs, other = (json.loads(each[1]) for each in (one, two))
    assert pairs["ladder"] == other["ladder"]
    for name, entry in pairs["models"].items():
        assert scores(entry) == pytest.approx(scores(other["models"][name]), abs=1e-6)
        assert scores(entry)
    assert one[2] == two[2]
    assert len(one[2].splitlines()) == 4
