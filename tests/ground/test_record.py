"""Tests for dnalm/record.py."""

import json
import socket

import pytest
import torch

from dnalm.errors import InputError
from dnalm.record import Record, peak_memory, read_record


def test_a_record_is_there_from_the_start_and_complete_at_the_end(tmp_path):
    path = tmp_path / "run.json"
    recipe, data = {"train": {"lr": 0.1}}, {"digest": "d"}
    record = Record(path, "pretrain", recipe=recipe, seed=3, data=data, device="cpu")
    begun = read_record(path)
    assert begun["status"] == "running"
    assert begun["versions"]["dnalm"]
    assert {"torch", "numpy", "python"} <= begun["versions"].keys()
    assert begun["hardware"].keys() == {"processor", "cores", "memory_bytes", "system", "device"}
    record.finish("done", {"val_loss": 1.5}, training_s=2.0)
    done = read_record(path)
    assert (done["status"], done["metrics"], done["seed"]) == ("done", {"val_loss": 1.5}, 3)
    assert done["timings"]["elapsed_s"] >= 0
    assert done["timings"]["training_s"] == 2.0
    assert done["peak_memory_bytes"] > 10e6  # Python and NumPy alone take more
    assert (done["recipe"], done["data"]) == (recipe, data)
    assert json.dumps(socket.gethostname()) not in path.read_text()


def test_memory_is_the_device_s_where_one_is_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 5)
    assert peak_memory() == 5


@pytest.mark.parametrize("content", [{"a": 1}, [], {"format": "dnalm-run", "format_version": 99}])
def test_refuses_other_files(tmp_path, content):
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"run\.json: "):
        read_record(tmp_path / "run.json")
