"""Tests for dnalm/checkpoint.py."""

import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.errors import InputError

TENSORS = {"a": torch.randn(3, 4), "b.c": torch.arange(5), "half": torch.randn(2, 2).bfloat16()}


@pytest.fixture
def folder(tmp_path):
    checkpoint.save(tmp_path / "run" / "checkpoint", TENSORS, {"kind": "language", "step": 7})
    return tmp_path / "run" / "checkpoint"


def test_what_is_saved_comes_back_and_is_replaced_as_a_whole(folder):
    for path in (folder, folder.parent):  # a run's folder stands for the checkpoint in it
        loaded, about = checkpoint.load(path)
        assert loaded.keys() == TENSORS.keys()
        for name, tensor in TENSORS.items():
            assert loaded[name].dtype == tensor.dtype
            assert torch.equal(loaded[name], tensor)
        assert (about["kind"], about["step"], about["format"]) == ("language", 7, "dnalm-checkpoint")
    checkpoint.save(folder, {"x": torch.zeros(1)}, {})
    assert checkpoint.load(folder)[0].keys() == {"x"}
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_damage_is_named(folder):
    weights, about = folder / "model.safetensors", folder / "checkpoint.json"
    content = weights.read_bytes()
    for damaged in (content[:-1] + bytes([content[-1] ^ 1]), content[:-1]):
        weights.write_bytes(damaged)
        with pytest.raises(InputError, match=r"model\.safetensors: damaged"):
            checkpoint.load(folder)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: missing"):
        checkpoint.load(folder)
    weights.write_bytes(content)
    description = json.loads(about.read_text())
    about.write_text(json.dumps(description))  # another spacing is no change
    checkpoint.load(folder)
    about.write_text(json.dumps(description | {"step": 8}))
    with pytest.raises(InputError, match=r"checkpoint\.json: damaged"):
        checkpoint.load(folder)


def test_other_folders_are_refused_by_name(tmp_path, folder):
    for path, message in ((tmp_path / "nowhere", "no such folder"), (tmp_path, r"no checkpoint\.json in it")):
        with pytest.raises(InputError, match=rf"{path}: expected a model folder .*{message}"):
            checkpoint.load(path)
    about = json.loads((folder / "checkpoint.json").read_text())
    for content, message in ((about | {"format_version": 2}, "of format 2"), ({}, "another")):
        (folder / "checkpoint.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match=message):
            checkpoint.load(folder)


def test_names_and_shapes_must_be_the_models():
    found = {"a": torch.zeros(2), "b": torch.zeros(3), "old": torch.zeros(1)}
    wanted = {"a": torch.zeros(2), "b": torch.zeros(4), "new": torch.zeros(1)}
    with pytest.raises(InputError, match=r"x: .*missing new; .* old; b is \[3\], wanted \[4\]"):
        checkpoint.check_names(found, wanted, "x")
    checkpoint.check_names(found, found, "x")


PUBLISHED = """
import sys, numpy, torch
from dataclasses import dataclass

@dataclass
class GPTConfig:
    block_size: int = 300
    n_layer: int = 4
    dropout: float = 0.0
    bias: bool = False
    n_head: int = 4

config = GPTConfig(n_head=numpy.int64(8))
numbers = {"best": numpy.float64(0.5), "loss": [numpy.float32(2.0)], "epoch": numpy.int64(-7)}
numbers |= {"big": numpy.dtype(">f8").type(3.0), "done": numpy.bool_(True), "elapsed": 12.5}
torch.save({"w": torch.arange(3), "config": config, "again": [config]} | numbers, sys.argv[1])
"""
"""A script that saves as the published ones do: its dataclass is pickled as `__main__.GPTConfig`."""
CONFIG = {"block_size": 300, "n_layer": 4, "dropout": 0.0, "bias": False, "n_head": 8}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "model.pt"
    subprocess.run([sys.executable, "-c", PUBLISHED, str(path)], check=True)
    return path


def repacked(source, path, edit):
    """Write the `.pt` file `source` to `path` with its pickle edited."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, edit(content) if name.endswith("/data.pkl") else content)
    return path


def test_a_published_dataclass_and_numpys_numbers_become_plain(published, tmp_path):
    before = set(map(str, torch.serialization.get_safe_globals()))  # their order may change
    content = checkpoint.read_pt(published)
    assert set(map(str, torch.serialization.get_safe_globals())) == before
    with pytest.raises(pickle.UnpicklingError):  # torch alone would not
        torch.load(published, weights_only=True)
    assert torch.equal(content.pop("w"), torch.arange(3))
    numbers = {"best": 0.5, "loss": [2.0], "epoch": -7, "big": 3.0, "done": True, "elapsed": 12.5}
    assert content == {"config": CONFIG, "again": [CONFIG]} | numbers
    assert isinstance(content["config"], dict)
    kept = [content["loss"], content["best"], content["epoch"], content["done"], content["config"]["n_head"]]
    assert [type(value) for value in kept] == [list, float, int, bool, int]
    older = lambda text: text.replace(b"numpy._core.multi", b"numpy.core.multi")  # noqa: E731  # numpy 1
    assert checkpoint.read_pt(repacked(published, tmp_path / "x.pt", older))["best"] == 0.5


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f8", "f4", "i8"])
def test_numpys_numbers_of_either_byte_order(tmp_path, kind, order):
    # numpy itself makes every number native, so the other order is written by hand.
    data = np.array(3, dtype=order + kind).tobytes()
    code = b"cnumpy._core.multiarray\nscalar\n" + dtype_code(kind)
    code += b"(K\x03" + text_code(order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    code += b"c_codecs\nencode\n" + text_code(data.decode("latin1")) + text_code("latin1") + b"\x86R\x86R"
    path = pickled(tmp_path, in_dictionary(code))
    assert checkpoint.read_pt(path) == {"x": 3}
    scalar = (np._core.multiarray.scalar, "numpy._core.multiarray.scalar")
    with torch.serialization.safe_globals([scalar, np.dtype, type(np.dtype(kind))]):
        assert torch.load(path, weights_only=True) == {"x": 3}  # numpy agrees


def text_code(text):
    return b"X" + len(text.encode()).to_bytes(4, "little") + text.encode()


def dtype_code(name):
    return b"cnumpy\ndtype\n" + text_code(name) + b"\x89\x88\x87R"


def in_dictionary(code):
    return b"\x80\x02}" + text_code("x") + code + b"s."


def pickled(folder, code):
    """Write a `.pt` file whose pickle is `code`."""
    torch.save({}, folder / "empty.pt")
    return repacked(folder / "empty.pt", folder / "x.pt", lambda _: code)


STAND_IN = b"c__main__\nGPTConfig\n"
SCALAR = b"cnumpy._core.multiarray\nscalar\n"
CALL = b"cposix\nmkdir\n" + text_code("owned") + b"\x85R"
ABUSES = {
    "called with arguments": (STAND_IN + b"K\x01\x85R", "something else"),
    "state is a tuple": (STAND_IN + b")\x81K\x01\x85b", "something else"),
    "calls from inside": (STAND_IN + b")\x81}" + text_code("n") + CALL + b"sb", r"would run posix\.mkdir;"),
    "another class": (b"c__main__\nOther\n)\x81", r"would run __main__\.Other;"),
    "a module's function": (b"cnumpy\nload\n" + text_code("owned") + b"\x85R", r"would run numpy\.load;"),
    "number of any object": (SCALAR + dtype_code("O8") + b"K\x01\x86R", "something else"),
    "number without bytes": (SCALAR + dtype_code("f8") + b"K\x01\x86R", "something else"),
    "number without kind": (SCALAR + b"K\x01K\x01\x86R", "something else"),
    "kind with a strange state": (dtype_code("f8") + b"}b", "something else"),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch, before it refuses
@pytest.mark.parametrize(("code", "message"), ABUSES.values(), ids=ABUSES.keys())
def test_what_is_allowed_cannot_be_abused(tmp_path, monkeypatch, code, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"x\.pt: .*{message}"):
        checkpoint.read_pt(pickled(tmp_path, in_dictionary(code)))
    (tmp_path / "old.pt").write_bytes(in_dictionary(code))  # a plain pickle, as old files were
    with pytest.raises(InputError, match=r"old\.pt: "):
        checkpoint.read_pt(tmp_path / "old.pt")
    assert sorted(os.listdir()) == ["empty.pt", "old.pt", "x.pt"]


def test_torchscript_is_named_and_no_raw_warning_is_shown(tmp_path, recwarn):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "x.pt")
    with pytest.raises(InputError, match="TorchScript"):
        checkpoint.read_pt(tmp_path / "x.pt")
    assert not recwarn.list


@pytest.mark.parametrize("new_format", [True, False])
def test_a_cut_pt_file_or_another_is_refused(tmp_path, new_format):
    torch.save({"w": torch.randn(20), "n": 3}, tmp_path / "x.pt", _use_new_zipfile_serialization=new_format)
    whole = (tmp_path / "x.pt").read_bytes()
    cut = [whole[:at] for at in range(0, len(whole) - 200, len(whole) // 40)]
    for content in [b"hello", b"PK\x03\x04 cut", *cut]:
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(InputError, match=r"x\.pt: "):
            checkpoint.read_pt(tmp_path / "x.pt")


def test_digest_sees_each_weight():
    one = torch.nn.Linear(2, 2)
    digest = checkpoint.weights_digest(one)
    with torch.no_grad():
        one.bias[1] += 1e-3
    assert checkpoint.weights_digest(one) != digest
