"""Tests for dnalm/config.py."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from dnalm.config import check_fractions, check_minimum, fill, read_recipe, recipe_names
from dnalm.errors import InputError


@dataclass(frozen=True)
class Toy:
    steps: int = 1
    lr: float = 0.5
    bias: bool = False
    position: str = "rotary"


def test_recipes_are_those_that_come_along_and_files(tmp_path):
    assert {"default", "published"} <= set(recipe_names())
    for name in recipe_names():
        assert {"train"} < read_recipe(name).keys()
    (tmp_path / "my own.toml").write_text("[train]\nsteps = 3\n")
    assert read_recipe(str(tmp_path / "my own.toml")) == {"train": {"steps": 3}}
    with pytest.raises(InputError, match="publisht: .*did you mean published"):
        read_recipe("publisht")


def test_fields_are_replaced_and_all_wrong_ones_are_reported_at_once():
    assert fill(Toy(), {"steps": 3, "lr": 1}, "x") == Toy(3, 1.0)
    wrong = r"here: no field 'step'; did you mean steps\?; lr must be of type float, .*; bias .* bool, got 1"
    with pytest.raises(InputError, match=wrong):
        fill(Toy(), {"step": 3, "lr": "high", "bias": 1}, "here")


@pytest.mark.parametrize("content", [b"steps = ", b"\xff", b"steps = 3"])
def test_refuses_what_is_no_recipe(tmp_path, content):
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(InputError, match=r"`recipe` .*x\.toml: "):
        read_recipe(str(tmp_path / "x.toml"))


def test_published_recipe_is_what_was_published():
    # 4,000 steps of 64 windows of 300; AdamW on all parameters; the rest as the two descriptions say
    recipe = read_recipe("published")
    shape = {"n_layer": 4, "n_head": 4, "n_embd": 384, "block_size": 300}
    shape |= {"dropout": 0.2, "bias": False, "position": "learned"}
    assert recipe["encoder"] == shape | {"objective": "causal", "species_token": ""}
    train = {"steps": 4000, "batch_size": 64, "lr": 1e-3, "min_lr": 1e-4, "warmup": 100, "weight_decay": 0.1}
    train |= {"decay": "all", "clip": 0.0, "eval_every": 1000, "schedule": "cosine"}
    assert train.items() <= recipe["train"].items()
    assert recipe["task"] == {"local_start": False, "repeat_weight": 1.0, "rc_augment": False}


def test_fields_out_of_range_are_named_with_what_they_are():
    settings = SimpleNamespace(width=0, heads=2, rate=math.nan, dropout=1.0, other=0.0)
    assert check_minimum(settings, width=1, heads=2, rate=0) == [
        "width must be at least 1, got 0",
        "rate must be at least 0, got nan",
    ]
    assert check_fractions(settings, "dropout", "other", "rate") == [
        "dropout must be at least 0 and below 1, got 1.0",
        "rate must be at least 0 and below 1, got nan",
    ]
