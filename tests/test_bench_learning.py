"""Tests for bench/learning.py, and for what the page says of its files."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from bench import learning
from bench.learning import TRIALS, ShortConvolution, Trial, convolved, run_trial
from dnalm.encoders.gpt import GPTConfig
from dnalm.optim import TrainConfig
from dnalm.report import performance
from dnalm.tasks.language import LanguageConfig, LanguageTask

TRAIN = TrainConfig(steps=4, batch_size=4, lr=0.01, min_lr=0.0, warmup=2)


@pytest.fixture
def task(toy):
    shape = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=20)
    return LanguageTask(toy["vocab4"], shape, LanguageConfig(eval_bases=300))


def test_a_short_convolution_begins_as_the_layer_and_sees_three_tokens_back():
    linear = torch.nn.Linear(4, 6)
    made, x = ShortConvolution(linear), torch.randn(2, 9, 4)
    torch.testing.assert_close(made(x), linear(x))
    torch.nn.init.ones_(made.taps)
    nudged = x.clone()
    nudged[:, 3] += 1.0
    moved = (made(nudged) != made(x)).any(-1).any(0)
    assert moved.nonzero().flatten().tolist() == [3, 4, 5, 6]


def test_a_model_with_convolutions_begins_as_it_was(task):
    torch.manual_seed(0)
    model = task.build_model().train()
    tokens = torch.randint(4, (2, 20))
    real = torch.ones_like(tokens, dtype=torch.bool)
    before = model(tokens, real)
    convolved(model)
    torch.testing.assert_close(model(tokens, real), before)
    model(tokens, real).sum().backward()
    assert all(block.attn.c_attn.taps.grad.any() for block in model.transformer.h)


def test_each_trial_is_another_way(task):
    scores = {name: run_trial(trial, task, TRAIN, lambda _told: None) for name, trial in TRIALS.items()}
    assert len({each["val_loss"] for each in scores.values()}) == len(TRIALS)
    assert scores["adamw"] == run_trial(Trial(""), task, TRAIN, lambda _told: None)


def test_files_and_their_table(toy, task, tmp_path, monkeypatch, capsys):
    options = learning.default_options("default")
    small = replace(options, encoder=task.encoder, task=task.config, train=TRAIN)
    monkeypatch.setattr(learning, "default_options", lambda _name: small)
    threads = torch.get_num_threads()
    words = [toy["vocab4"].folder, "--trials", "adamw", "zero-start", "--steps", 3]
    words += ["--threads", threads, "--results", tmp_path / "learning"]
    monkeypatch.setattr(sys, "argv", ["learning", *map(str, words)])
    learning.main()
    trials = performance.read_trials(tmp_path)
    assert sorted(trial["trial"] for trial in trials) == ["adamw", "zero-start"]
    assert trials[0]["scores"]["val_loss"] <= trials[1]["scores"]["val_loss"]
    assert trials[0]["data"]["sources"] == ["toy.fa"]
    assert str(tmp_path) not in json.dumps(trials)
    rows = performance.trials_table(trials).splitlines()[2:]
    assert rows[0].startswith(f"| {TRIALS[trials[0]['trial']].about} | ")
    assert f"{trials[0]['scores']['val_loss']:.4f} |" in rows[0]
    assert f"adamw: validation loss {trials[0]['scores']['val_loss']:.4f}"[:20] in capsys.readouterr().out
    assert performance.read_trials(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": "other"}, "another file than"), ({"steps": 7}, "of different data, steps or rates")],
)
def test_trials_that_cannot_be_compared_are_refused(tmp_path, change, message):
    kept = {"format": "dnalm-learning", "format_version": 1, "steps": 3, "lr": 0.1, "data": {"digest": "a"}}
    (tmp_path / "learning").mkdir()
    (tmp_path / "learning" / "a.json").write_text(json.dumps(kept | {"scores": {"val_loss": 1.0}}))
    (tmp_path / "learning" / "b.json").write_text(json.dumps(kept | {"scores": {"val_loss": 1.0}} | change))
    with pytest.raises(ValueError, match=message):
        performance.read_trials(tmp_path)
