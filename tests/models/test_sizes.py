"""Tests for dnalm/models/sizes.py, and for `dnalm pretrain --size`."""

import pytest
import torch

from dnalm.checkpoint import load
from dnalm.cli import main
from dnalm.commands.pretrain import default_options
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.sizes import SIZES


@pytest.mark.parametrize("name", SIZES)
def test_a_size_has_the_parameters_of_its_name(name):
    config = GPTConfig(**SIZES[name]._asdict())
    with torch.device("meta"):
        count = sum(p.numel() for p in GPT(config, 4).parameters())
    assert count == pytest.approx(int(name[:-1]) * 1e6, rel=0.05)
    assert config.n_embd % (64 if name != "7M" else 96) == 0


def test_larger_models_have_lower_rates_and_the_published_one_its_own():
    default = default_options("default")
    assert default_options("default", "7M").train == default.train
    assert default_options("default", "7M").encoder == default.encoder
    rates = [default_options("default", name).train.lr for name in ("1M", "3M", "10M", "30M", "100M", "350M")]
    assert rates == sorted(rates, reverse=True)
    assert rates[4] == pytest.approx(default.train.lr / 2**0.5)  # twice as wide


def test_flags_win_over_a_size(toy, tmp_path, capsys):
    flags = ["--size", "100M", "--n-layer", "1", "--n-embd", "8", "--n-head", "1", "--block-size", "16"]
    data = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o"), "--dry-run"]
    assert main([*data, *flags]) == 0
    assert "824 parameters" in capsys.readouterr().err  # 12 x 64, and 8 for each of 4 letters and 3 norms


def test_checkpointing_changes_no_weight(toy, tmp_path):
    shape = "--n-layer 2 --n-embd 8 --n-head 1 --block-size 16 --steps 3 --eval-bases 50 --quiet --device cpu"
    found = []
    for name, flags in (("plain", []), ("sparing", ["--gradient-checkpointing"])):
        out = tmp_path / name
        data = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(out), *shape.split(), *flags]
        assert main(data) == 0
        found.append(load(out / "vocab4" / "last")[0])
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
