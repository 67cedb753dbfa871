"""Tests for dnalm/records.py."""

import json
import socket

import pytest
import torch

from dnalm.record import Record, peak_memory, read_record


def test_a_record_is_there_from_the_start_and_complete_at_the_end(tmp_path):
    path = tmp_path / "run.json"
    record = Record(
        path, "pretrain", recipe={"train": {"lr": 0.1}}, seed=3, data={"digest": "d"}, device="cpu"
    )
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
    assert done["recipe"] == {"train": {"lr": 0.1}}


def test_memory_is_the_device_s_where_one_is_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 5)
    assert peak_memory() == 5
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert peak_memory() > 10e6


def test_a_record_does_not_name_the_machine(tmp_path):
    Record(tmp_path / "run.json", "x", recipe={}, seed=0, data={}, device="cpu").finish("done", {})
    assert json.dumps(socket.gethostname()) not in (tmp_path / "run.json").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "expected a run record written by dnalm"),
        ([], "expected a run record written by dnalm"),
        ({"format": "dnalm-run", "format_version": 99}, "run record of format 99, this dnalm reads 1"),
    ],
)
def test_refuses_other_files(tmp_path, content, message):
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_record(tmp_path / "run.json")
