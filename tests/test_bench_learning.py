"""Tests for bench/learning.py, and for what the page says of its files."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from bench import learning
from bench.learning import TRIALS, ShortConvolution, Trial, convolved, run_trial
from dnalm.models.gpt import GPTConfig
from dnalm.train.language import LanguageConfig, LanguageTask
from dnalm.train.optim import TrainConfig
from docs.make import performance

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
    scores = {name: run_trial(trial, task, TRAIN, 0, lambda _told: None) for name, trial in TRIALS.items()}
    assert len({each["val_loss"] for each in scores.values()}) == len(TRIALS)
    assert scores["adamw"] == run_trial(Trial(""), task, TRAIN, 0, lambda _told: None)


def test_a_seed_is_of_the_first_weights_and_of_the_batches(task, monkeypatch):
    asked, weights = [], []
    windows, build = task.windows, task.build_model
    monkeypatch.setattr(task, "windows", lambda size, seed: asked.append(seed) or windows(size, seed))
    monkeypatch.setattr(task, "build_model", lambda: weights.append(torch.initial_seed()) or build())
    for seed in (0, 5):
        run_trial(Trial(""), task, TRAIN, seed, lambda _told: None)
    assert asked == weights == [0, 5]


def test_files_and_their_table(toy, task, tmp_path, monkeypatch, capsys):
    options = learning.default_options("default")
    small = replace(options, encoder=task.encoder, task=task.config, train=TRAIN)
    monkeypatch.setattr(learning, "default_options", lambda _name: small)
    threads = torch.get_num_threads()
    words = [toy["vocab4"].folder, "--trials", "adamw", "zero-start", "--steps", 3, "--seeds", 0, 1]
    words += ["--threads", threads, "--results", tmp_path / "learning"]
    monkeypatch.setattr(sys, "argv", ["learning", *map(str, words)])
    learning.main()
    trials = performance.read_trials(tmp_path)
    assert [(trial["trial"], trial["seed"]) for trial in trials] == [
        ("adamw", 0),
        ("adamw", 1),
        ("zero-start", 0),
        ("zero-start", 1),
    ]
    assert trials[0]["data"]["sources"] == ["toy.fa"]
    assert str(tmp_path) not in json.dumps(trials)
    assert f"adamw, seed 1: validation loss {trials[1]['scores']['val_loss']:.4f}" in capsys.readouterr().out
    table = performance.trials_table(trials)
    assert all(f"| {TRIALS[name].about} | 2 | " in table for name in ("adamw", "zero-start"))
    assert performance.read_trials(tmp_path / "none") == []
