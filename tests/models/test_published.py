"""Tests for dnalm/tasks/published.py."""

import os
import subprocess
import sys

import pytest
import torch

from dnalm.checkpoint import write_pt
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.published import binding_file_content, read_binding_file

SCRIPT = """
import sys, numpy, torch
from dataclasses import dataclass
from torch import nn

@dataclass
class GPTConfig:
    block_size: int = 300
    vocab_size: int = 4
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 384
    dropout: float = 0.0
    bias: bool = False

torch.manual_seed(0)
states = torch.load(sys.argv[1], weights_only=True)
cnn = {"model_state": states["cnn"], "best_val_loss": numpy.float64(0.05), "pearson": numpy.float32(0.5)}
torch.save(cnn | {"elapsed_time": 6396.0, "epochs": numpy.int64(40)}, sys.argv[2])
gpt = {"gpt_state": states["gpt"], "regressor_state": states["head"], "config": GPTConfig()}
torch.save(gpt | {"best_val_loss": 0.25, "name": "vocab4"}, sys.argv[3])
"""
"""Saves as the published scripts do, its own dataclass and numpy's numbers included."""
SHAPE = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20, position="learned")
CONFIG = {
    "block_size": 20,
    "vocab_size": 4,
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 8,
    "dropout": 0.0,
    "bias": False,
}


def head_of(width):
    """Return the published head on states of a width, layer by layer."""
    layers = {
        "layer_norm": torch.nn.LayerNorm(width),
        "conv1d": torch.nn.Conv1d(width, 128, 11, padding="same"),
        "fc": torch.nn.Linear(128, 1),
    }
    return torch.nn.ModuleDict(layers).state_dict()


def cnn():
    first = torch.nn.Conv1d(4, 128, 11, padding="same")
    named = {f"initial_conv.{name}": tensor for name, tensor in first.state_dict().items()}
    return named | {f"head.{name}": tensor for name, tensor in head_of(128).items()}


def gpt_state(shape=SHAPE, vocab_size=4, tied=True):
    core = GPT(shape, vocab_size)
    state = {f"transformer.{name}": tensor for name, tensor in core.state_dict().items()}
    return state | ({"lm_head.weight": core.wte.weight.detach().clone()} if tied else {})


def gpt_file(path, **changes):
    """Write a small GPT binding model, with some of its parts changed."""
    content = {"gpt_state": gpt_state(), "regressor_state": head_of(8), "config": dict(CONFIG)}
    write_pt(path, content | changes)
    return path


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The two published files, and the tensors in them."""
    folder = tmp_path_factory.mktemp("published")
    full = GPTConfig(position="learned")
    states = {"cnn": cnn(), "gpt": gpt_state(full), "head": head_of(384)}
    torch.save(states, folder / "states")
    words = [folder / "states", folder / "cnn_baseline_model.pt", folder / "gpt_binding_model_vocab4.pt"]
    subprocess.run([sys.executable, "-c", SCRIPT, *map(str, words)], check=True)
    return words[1], words[2], states


def test_the_published_cnn(published):
    found = read_binding_file(published[0])
    assert (found.kind, found.config, found.core, found.both_strands) == ("cnn", None, None, False)
    assert same(found.head, published[2]["cnn"])
    assert found.numbers == {"best_val_loss": 0.05, "pearson": 0.5, "elapsed_time": 6396.0, "epochs": 40.0}
    assert found.parameter_count == 186_497  # published


def test_the_published_gpt(published):
    found = read_binding_file(published[1])
    assert found.kind == "gpt"
    assert found.config == CONFIG | {
        "block_size": 300,
        "n_layer": 4,
        "n_head": 4,
        "n_embd": 384,
        "position": "learned",
    }
    core = GPT(GPTConfig(**without(found.config, "vocab_size")), found.config["vocab_size"])
    core.load_state_dict(found.core)  # strict
    assert torch.equal(core.wte.weight, published[2]["gpt"]["transformer.wte.weight"])
    assert same(found.head, published[2]["head"])
    assert found.numbers == {"best_val_loss": 0.25}
    assert found.parameter_count == 7_739_777  # published; the tied head is counted once
    assert sum(tensor.numel() for tensor in found.head.values()) == 541_697


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_read_and_written_again_says_the_same_without_allowance(published, tmp_path, which):
    first = read_binding_file(published[which])
    content = binding_file_content(first.kind, first.config, first.core, first.head, first.numbers)
    write_pt(tmp_path / "again.pt", content)
    opened = torch.load(tmp_path / "again.pt", weights_only=True)
    if which == 1:
        assert opened["config"].keys() == CONFIG.keys()  # as published: no position
        assert same(opened["gpt_state"], published[2]["gpt"])
    again = read_binding_file(tmp_path / "again.pt")
    assert (again.kind, again.config, again.numbers) == (first.kind, first.config, first.numbers)
    assert same(again.head, first.head)
    assert again.core is first.core is None or same(again.core, first.core)


def test_the_tied_head_takes_no_second_place_on_disk(published, tmp_path):
    first = read_binding_file(published[1])
    write_pt(tmp_path / "x.pt", binding_file_content("gpt", first.config, first.core, first.head, {}))
    # 4 bytes a parameter; 64 kB are ample for the zip's own pages.
    assert (tmp_path / "x.pt").stat().st_size < 4 * first.parameter_count + (64 << 10)


def test_a_head_on_both_strands_is_twice_as_wide(tmp_path):
    found = read_binding_file(gpt_file(tmp_path / "x.pt", regressor_state=head_of(16)))
    assert found.both_strands
    assert not read_binding_file(gpt_file(tmp_path / "x.pt")).both_strands


def test_rotary_positions_are_told_and_come_back(tmp_path):
    rotary = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20)
    core = GPT(rotary, 4).state_dict()
    config = CONFIG | {"position": "rotary"}
    write_pt(tmp_path / "x.pt", binding_file_content("gpt", config, core, head_of(8), {"loss": 1.0}))
    found = read_binding_file(tmp_path / "x.pt")
    assert found.config == config
    assert same(found.core, core)
    with pytest.raises(ValueError, match=r"missing transformer\.wpe\.weight"):  # said to be learned
        read_binding_file(gpt_file(tmp_path / "y.pt", gpt_state={f"transformer.{n}": core[n] for n in core}))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_what_wrappers_put_before_the_names_is_taken_off(tmp_path, prefix):
    state, head = gpt_state(), head_of(8)
    wrapped = {
        "gpt_state": {prefix + name: tensor for name, tensor in state.items()},
        "regressor_state": {prefix + name: tensor for name, tensor in head.items()},
    }
    found = read_binding_file(gpt_file(tmp_path / "x.pt", **wrapped))
    assert same(found.head, head)
    assert torch.equal(found.core["wte.weight"], state["transformer.wte.weight"])


GOOD, GOOD_HEAD = gpt_state(), head_of(8)
CHANGES = {
    "no tensor of the core": (
        {"gpt_state": without(GOOD, "transformer.h.0.mlp.c_fc.weight")},
        r"gpt_state: .*missing transformer\.h\.0\.mlp\.c_fc\.weight",
    ),
    "no tensor of the head": (
        {"regressor_state": without(GOOD_HEAD, "fc.bias")},
        r"regressor_state: .*missing fc\.bias",
    ),
    "one too many": (
        {"regressor_state": GOOD_HEAD | {"fc2.weight": torch.zeros(1)}},
        r"not in this model fc2\.weight",
    ),
    "another shape": (
        {"regressor_state": GOOD_HEAD | {"conv1d.weight": torch.zeros(128, 8, 9)}},
        r"conv1d\.weight is \[128, 8, 9\], wanted \[128, 8, 11\]",
    ),
    "a head of another width": (
        {"regressor_state": head_of(12)},
        r"layer_norm\.weight is \[12\], wanted \[8\]",
    ),
    "another head of words": (
        {"gpt_state": GOOD | {"lm_head.weight": torch.zeros(4, 8)}},
        r"expected lm_head\.weight to equal transformer\.wte\.weight",
    ),
    "a head of words of another shape": (
        {"gpt_state": GOOD | {"lm_head.weight": torch.zeros(5, 8)}},
        r"expected lm_head\.weight to equal",
    ),
    "another vocabulary": (
        {"config": CONFIG | {"vocab_size": 40}},
        r"transformer\.wte\.weight is \[4, 8\], wanted \[40, 8\]",
    ),
    "other layers": ({"config": CONFIG | {"n_layer": 2}}, r"has 2 layers, it holds 1"),
    "heads that do not divide": ({"config": CONFIG | {"n_head": 3}}, r"n_embd must be a multiple of n_head"),
    "no config": ({"config": None}, r"expected config to hold block_size, .*got NoneType"),
    "a config with a gap": ({"config": without(CONFIG, "n_embd")}, r"n_embd missing"),
    "a config of words": ({"config": CONFIG | {"n_head": "2", "bias": 0}}, r"n_head 2; bias 0"),
    "a size that overflows": ({"config": CONFIG | {"block_size": 1 << 40}}, r"block_size 1099511627776"),
    "an unknown field": ({"config": CONFIG | {"experts": 2}}, r"unknown experts"),
    "an unknown position": (
        {"config": CONFIG | {"position": "alibi"}},
        r"position must be learned or rotary",
    ),
    "no tensors": ({"gpt_state": {"a": 1}}, r"expected gpt_state to be a dictionary of tensors"),
    "a tensor twice": (
        {"regressor_state": GOOD_HEAD | {"module.fc.bias": torch.zeros(1)}},
        r"holds fc\.bias twice, once as module\.fc\.bias",
    ),
}


@pytest.mark.parametrize(("changes", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_no_tensor_is_left_to_chance(tmp_path, changes, message):
    with pytest.raises(ValueError, match=rf"x\.pt.*{message}"):
        read_binding_file(gpt_file(tmp_path / "x.pt", **changes))


def test_a_cnn_of_another_shape_is_refused(tmp_path):
    write_pt(tmp_path / "x.pt", {"model_state": without(cnn(), "initial_conv.bias")})
    with pytest.raises(ValueError, match=r"x\.pt, model_state: .*missing initial_conv\.bias"):
        read_binding_file(tmp_path / "x.pt")


def test_other_files_are_named_for_what_they_are(tmp_path):
    write_pt(tmp_path / "ckpt.pt", {"model": {}, "model_args": {}})
    with pytest.raises(ValueError, match=r"got a pretrained language model; .*`dnalm finetune`"):
        read_binding_file(tmp_path / "ckpt.pt")
    write_pt(tmp_path / "x.pt", {"gpt_state": {}, "a": 1})
    with pytest.raises(ValueError, match=r"expected a binding model .*got a file that holds gpt_state, a"):
        read_binding_file(tmp_path / "x.pt")


def test_a_hostile_config_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    content = {"gpt_state": GOOD, "regressor_state": GOOD_HEAD, "config": CONFIG | {"bias": Bomb()}}
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt: refused, .*mkdir"):
        read_binding_file(tmp_path / "x.pt")
    assert not (tmp_path / "owned").exists()
