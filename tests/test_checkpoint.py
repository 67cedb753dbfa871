"""Tests for dnalm/checkpoint.py."""

import json
import os
import pickle

import numpy as np
import pytest
import torch

from dnalm import checkpoint


@pytest.fixture
def tensors():
    return {"a": torch.randn(3, 4), "b.c": torch.arange(5), "half": torch.randn(2, 2).bfloat16()}


@pytest.fixture
def folder(tmp_path, tensors):
    checkpoint.save(tmp_path / "run" / "checkpoint", tensors, {"kind": "language", "step": 7})
    return tmp_path / "run" / "checkpoint"


def test_what_is_saved_comes_back(folder, tensors):
    for path in (folder, folder.parent):  # a run's folder stands for the checkpoint in it
        loaded, about = checkpoint.load(path)
        assert loaded.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert loaded[name].dtype == tensor.dtype
            assert torch.equal(loaded[name], tensor)
        assert (about["kind"], about["step"], about["format"]) == ("language", 7, "dnalm-checkpoint")


def test_saving_again_replaces_the_whole(folder):
    checkpoint.save(folder, {"x": torch.zeros(1)}, {})
    assert checkpoint.load(folder)[0].keys() == {"x"}
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_damage_is_seen_and_named(folder):
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors: damaged"):
        checkpoint.load(folder)
    weights.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"model\.safetensors: damaged"):
        checkpoint.load(folder)
    weights.unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors: missing"):
        checkpoint.load(folder)


def test_foreign_folders_are_refused_by_name(tmp_path, folder):
    with pytest.raises(
        ValueError, match="nowhere: expected a model folder written by dnalm, but it is not there"
    ):
        checkpoint.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no checkpoint\.json in it"):
        checkpoint.load(tmp_path)
    about = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(about | {"format_version": 2}))
    with pytest.raises(ValueError, match="checkpoint of format 2, this dnalm reads 1"):
        checkpoint.load(folder)
    (folder / "checkpoint.json").write_text("{}")
    with pytest.raises(ValueError, match=r"got another checkpoint\.json"):
        checkpoint.load(folder)


def test_names_and_shapes_must_be_the_models():
    found = {"a": torch.zeros(2), "b": torch.zeros(3), "old": torch.zeros(1)}
    wanted = {"a": torch.zeros(2), "b": torch.zeros(4), "new": torch.zeros(1)}
    with pytest.raises(
        ValueError, match=r"x: .*missing new; not in this model old; b is \[3\], wanted \[4\]"
    ):
        checkpoint.check_names(found, wanted, "x")
    checkpoint.check_names(found, found, "x")


def test_pt_files_need_no_allowance(tmp_path):
    content = {"model": {"w": torch.randn(2)}, "model_args": {"n_layer": 4, "bias": False}, "iter": 3}
    checkpoint.write_pt(tmp_path / "x.pt", content)
    opened = torch.load(tmp_path / "x.pt", weights_only=True)
    assert torch.equal(opened["model"]["w"], content["model"]["w"])
    assert checkpoint.read_pt(tmp_path / "x.pt")["model_args"] == content["model_args"]


def test_numpys_numbers_are_harmless(tmp_path):
    torch.save({"best": np.float64(0.5), "loss": [np.float32(2.0)]}, tmp_path / "x.pt")
    assert checkpoint.read_pt(tmp_path / "x.pt") == {"best": 0.5, "loss": [2.0]}


class Bomb:
    """What a hostile file would hold."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_in_a_pt_file_is_run(tmp_path):
    torch.save({"model": Bomb(str(tmp_path / "owned"))}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt: refused, because opening it would run .*mkdir"):
        checkpoint.read_pt(tmp_path / "bad.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Bomb(str(tmp_path / "owned"))))
    with pytest.raises(ValueError, match=r"old\.pt: "):
        checkpoint.read_pt(tmp_path / "old.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut"])
def test_what_is_no_pt_file_is_said(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pt: expected a PyTorch file"):
        checkpoint.read_pt(tmp_path / "x.pt")


def test_a_changed_description_is_damage(folder):
    about = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(about))  # another spacing is no change
    checkpoint.load(folder)
    (folder / "checkpoint.json").write_text(json.dumps(about | {"step": 8}))
    with pytest.raises(ValueError, match=r"checkpoint\.json: damaged"):
        checkpoint.load(folder)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_cut_pt_file_is_refused_wherever_it_is_cut(tmp_path, new_format):
    torch.save({"w": torch.randn(20), "n": 3}, tmp_path / "x.pt", _use_new_zipfile_serialization=new_format)
    whole = (tmp_path / "x.pt").read_bytes()
    for at in range(0, len(whole) - 200, len(whole) // 40):
        (tmp_path / "x.pt").write_bytes(whole[:at])
        with pytest.raises(ValueError, match=r"x\.pt: "):
            checkpoint.read_pt(tmp_path / "x.pt")
