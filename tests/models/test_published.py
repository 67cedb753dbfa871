"""Tests for dnalm/models/published.py."""

import subprocess
import sys

import pytest
import torch

from dnalm.checkpoint import write_pt
from dnalm.models.binding import BindingModel, BindingShape
from dnalm.models.cnn import CNNConfig
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.models.published import published_content, read_binding_file

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
torch.save(gpt | {"best_val_loss": 0.25, "name": "vocab4", "vocab_size": 4}, sys.argv[3])
"""
"""Saves as the published scripts do, its own dataclass and numpy's numbers included."""
SHAPE = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20, position="learned")
SIZES = {"block_size": 20, "vocab_size": 4, "n_layer": 1, "n_head": 2, "n_embd": 8}
CONFIG = SIZES | {"dropout": 0.0, "bias": False}


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


def published_states(model):
    """A model's tensors by the names of the files."""
    encoder, head = model.encoder.state_dict(), model.head.state_dict()
    if not model.shape.pretrained:
        return {"cnn": encoder | {f"head.{name}": tensor for name, tensor in head.items()}}
    gpt = {f"transformer.{name}": tensor for name, tensor in encoder.items()}
    return {"gpt": gpt | {"lm_head.weight": encoder["wte.weight"]}, "head": head}


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


@pytest.mark.parametrize(
    ("which", "shape", "numbers", "count"),  # a tied head is counted once
    [
        (0, BindingShape(CNNConfig()), {"pearson": 0.5, "elapsed_time": 6396.0, "epochs": 40.0}, 186_497),
        (1, BindingShape(GPTConfig(position="learned"), "ACGT"), {"vocab_size": 4.0}, 7_739_777),
    ],
)
def test_published_models(published, which, shape, numbers, count):
    model, found = read_binding_file(published[which])
    assert (model.shape, model.training, model.parameter_count) == (shape, False, count)
    assert found == numbers | {"best_val_loss": 0.25 if which else 0.05}
    states = published_states(model)
    assert all(same(states[part], published[2][part]) for part in states)


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_read_and_written_again_says_the_same_without_allowance(published, tmp_path, which):
    model, numbers = read_binding_file(published[which])
    write_pt(tmp_path / "again.pt", published_content(model, numbers))
    opened = torch.load(tmp_path / "again.pt", weights_only=True)
    if which == 1:
        assert opened["config"].keys() == CONFIG.keys()  # as published: no position
        assert same(opened["gpt_state"], published[2]["gpt"])
    again, same_numbers = read_binding_file(tmp_path / "again.pt")
    assert (again.shape, same_numbers) == (model.shape, numbers)
    assert same(again.state_dict(), model.state_dict())
    # The tied head takes no second place: 4 bytes a parameter; 64 kB are ample for the zip's own pages.
    assert (tmp_path / "again.pt").stat().st_size < 4 * model.parameter_count + (64 << 10)


@pytest.mark.parametrize(
    "shape",
    [
        BindingShape(CNNConfig(width=64)),
        BindingShape(CNNConfig(), head=RegressionHeadConfig(kernel=9)),
        BindingShape(SHAPE, "ACGTN"),
    ],
)
def test_what_the_layout_cannot_hold_is_not_written(shape):
    assert published_content(BindingModel(shape), {}) is None


def test_a_head_on_both_strands_is_twice_as_wide(tmp_path):
    for width, both in ((16, True), (8, False)):
        model, _ = read_binding_file(gpt_file(tmp_path / "x.pt", regressor_state=head_of(width)))
        assert model.shape.tuning.both_strands == both


def test_rotary_positions_are_named_and_come_back(tmp_path):
    model = BindingModel(BindingShape(GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20), "ACGT"))
    content = published_content(model, {"loss": 1.0})
    assert content["config"] == CONFIG | {"position": "rotary"}
    write_pt(tmp_path / "x.pt", content)
    found, _ = read_binding_file(tmp_path / "x.pt")
    assert found.shape == model.shape
    assert same(found.state_dict(), model.state_dict())
    with pytest.raises(ValueError, match=r"missing transformer\.wpe\.weight"):  # said to be learned
        read_binding_file(gpt_file(tmp_path / "y.pt", gpt_state=content["gpt_state"]))


GOOD, GOOD_HEAD = gpt_state(), head_of(8)
CHANGES = [
    (
        {"gpt_state": without(GOOD, "transformer.h.0.mlp.c_fc.weight")},
        r"gpt_state: .*missing .*mlp\.c_fc\.wei",
    ),
    ({"regressor_state": without(GOOD_HEAD, "fc.bias")}, r"regressor_state: .*missing fc\.bias"),
    ({"regressor_state": GOOD_HEAD | {"module.fc.bias": torch.zeros(1)}}, r"holds a tensor twice"),
    ({"regressor_state": GOOD_HEAD | {"fc2.weight": torch.zeros(1)}}, r"not in this model fc2\.weight"),
    ({"regressor_state": GOOD_HEAD | {"conv1d.weight": torch.zeros(128, 8, 9)}}, r"wanted \[128, 8, 11\]"),
    ({"gpt_state": GOOD | {"lm_head.weight": torch.zeros(4, 8)}}, r"expected lm_head\.weight to equal"),
    ({"gpt_state": {"a": 1}}, r"expected gpt_state to be a dictionary of tensors"),
    ({"config": CONFIG | {"vocab_size": 40}}, r"wte\.weight is \[4, 8\], wanted \[40, 8\]"),
    ({"config": CONFIG | {"n_layer": 2}}, r"has 2 layers, it holds others"),
    ({"config": CONFIG | {"n_head": 3}}, r"n_embd must be a multiple of n_head"),
    ({"config": without(CONFIG, "n_embd")}, r"n_embd missing"),
    ({"config": CONFIG | {"n_head": "2", "bias": 0}}, r"n_head 2; bias 0"),
    ({"config": CONFIG | {"block_size": 1 << 40}}, r"block_size 1099511627776"),
    ({"config": CONFIG | {"experts": 2}}, r"unknown experts"),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES)
def test_no_tensor_is_left_to_chance(tmp_path, changes, message):
    with pytest.raises(ValueError, match=rf"x\.pt.*{message}"):
        read_binding_file(gpt_file(tmp_path / "x.pt", **changes))


def test_other_files_are_named_for_what_they_are(tmp_path):
    for content, message in (
        ({"model_state": without(cnn(), "initial_conv.bias")}, "model_state: .*missing initial_conv.bias"),
        ({"model": {}, "model_args": {}}, "expected a binding model .*got .*`dnalm pretrain`"),
        ({"gpt_state": {}, "a": 1}, "expected a binding model .*got a file that holds gpt_state, a"),
    ):
        write_pt(tmp_path / "x.pt", content)
        with pytest.raises(ValueError, match=rf"x\.pt.*{message}"):
            read_binding_file(tmp_path / "x.pt")
