"""Tests for dnalm/data/state_cache.py."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dnalm.data import state_cache
from dnalm.data.state_cache import StateStore
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.pretrained import PretrainedConfig, PretrainedEncoder
from dnalm.process import silent

WIDTH = 6
IDENTITY = {"name": "letters", "weights": "abc"}
TEXTS = ["ACGT", "A", "GGGTTTACA", "CC", "ACGTACGTACGT"]


def states_of(text):
    """The mean of some states, and the states: as many as the text has letters."""
    values = torch.arange(len(text) * WIDTH, dtype=torch.float32).view(-1, WIDTH) + ord(text[0])
    return torch.cat([values.mean(0, keepdim=True), values])


class Counting:
    """An encoder that remembers what it was asked for."""

    def __init__(self, fail_at=None):
        self.asked, self.fail_at = [], fail_at

    def __call__(self, texts):
        self.asked += texts
        if self.fail_at is not None and len(self.asked) > self.fail_at:
            raise KeyboardInterrupt
        return [states_of(text) for text in texts]


def read_only(*_args, **_options):
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.fixture
def opened(tmp_path):
    """A function that opens the store anew."""
    return lambda identity=IDENTITY: StateStore(tmp_path / "my store", identity, WIDTH)


@pytest.fixture
def store(opened):
    return opened()


def test_each_distinct_text_is_encoded_once_ever_the_shortest_first(store, opened):
    encode = Counting()
    assert store.missing(TEXTS + TEXTS[:2]) == sorted(TEXTS, key=len)
    assert store.fill(TEXTS + TEXTS[:2], encode, silent) == 5
    assert store.missing([*TEXTS, "T"]) == ["T"]
    assert encode.asked == sorted(TEXTS, key=len)
    assert store.fill(TEXTS, encode, silent) == 0
    again = opened()
    assert 0 < again.seconds(TEXTS[:2]) < again.seconds(TEXTS) == store.seconds(TEXTS)
    assert again.fill([*TEXTS, "T"], encode, silent) == 1
    assert encode.asked[5:] == ["T"]
    for other in ({"name": "letters", "weights": "abd"}, {**IDENTITY, "pooling": 16}):
        assert opened(other).fill(TEXTS, Counting(), silent) == 5


def test_of_a_read_only_folder_states_are_read_and_nothing_is_written(store, opened, monkeypatch):
    store.fill(TEXTS, Counting(), silent)
    monkeypatch.setattr(Path, "touch", read_only)
    assert opened().fill(TEXTS, Counting(), silent) == 0
    monkeypatch.setattr("dnalm.data.state_cache.lock", read_only)
    encoder = PretrainedEncoder("x", torch.nn.Linear(1, 1), IDENTITY, Counting(), None)
    config = PretrainedConfig(width=WIDTH, identity=IDENTITY)
    shape = SimpleNamespace(pretrained={"gene": config}, attends=True)
    inputs = InputEncoder(store.folder.parent, Processor("cpu", "fp32"), silent)
    assert len(inputs._source("gene", shape, TEXTS, encoder)) == len(TEXTS)
    with pytest.raises(InputError, match="`store`"):
        inputs._source("gene", shape, ["TTT"], encoder)


def test_states_come_back_in_any_order_padded_with_zeros_or_their_mean(store, monkeypatch):
    monkeypatch.setattr(state_cache, "PER_SHARD", 2)  # three shards
    store.fill(TEXTS, Counting(), silent)
    cached, rows = store.states(TEXTS), np.array([2, 0, 2, 1])
    states, real = cached.take(rows)
    assert (states.shape, states.dtype) == ((4, 9, WIDTH), torch.bfloat16)
    assert real.sum(1).tolist() == cached.lengths(rows).tolist() == [9, 4, 9, 1]
    for place, row in enumerate(rows):
        wanted = states_of(TEXTS[row])[1:].to(torch.bfloat16)
        assert torch.equal(states[place, : len(wanted)], wanted)
        assert not states[place, len(wanted) :].any()
    means = cached.only_means()
    states, real = means.take(np.array([4, 1]))
    assert states.shape == (2, 1, WIDTH)
    assert real.all()
    assert torch.equal(states[0, 0], states_of(TEXTS[4])[0].to(torch.bfloat16))
    assert means.lengths(np.array([4, 1])).tolist() == [1, 1]


def test_what_was_encoded_before_a_crash_is_kept(store, opened, monkeypatch):
    monkeypatch.setattr(state_cache, "PER_SHARD", 2)
    monkeypatch.setattr(state_cache, "AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        store.fill(TEXTS, Counting(fail_at=3), silent)  # in the second shard
    encode = Counting()
    assert opened().fill(TEXTS, encode, silent) == len(encode.asked) == 3
    assert not list(store.folder.glob(".*.part"))


def test_a_damaged_or_foreign_store_is_refused(store, opened):
    store.fill(TEXTS, Counting(), silent)
    path, shard = store.folder / "store.json", store.folder / "000000.safetensors"
    before = path.read_text()
    for text, message in (
        (before.replace('"abc"', '"other"'), "expected states of these weights"),
        ('{"format": "other"}', "expected states of these weights"),
        (before, "000000.safetensors: damaged"),
    ):
        path.write_text(text)
        if text == before:
            shard.write_bytes(shard.read_bytes()[:-8])
        with pytest.raises(InputError, match=message):
            opened()


def test_a_shard_that_was_removed_is_computed_again_and_replaces_no_other(store, opened, monkeypatch):
    monkeypatch.setattr(state_cache, "PER_SHARD", 2)
    store.fill(TEXTS, Counting(), silent)  # three shards
    (store.folder / "000001.safetensors").unlink()
    again = opened()
    assert again.fill(TEXTS, Counting(), silent) == 2
    last = opened()
    assert last.missing(TEXTS) == []
    assert last.fill(["T"], Counting(), silent) == 1
    assert again.fill([*TEXTS, "T"], Counting(), silent) == 0  # it sees what another process has written
    states, _ = again.states([*TEXTS, "T"]).take(np.arange(6))
    assert [float(each[0, 0]) for each in states] == [float(states_of(text)[1, 0]) for text in [*TEXTS, "T"]]


def stores(root):
    return sorted(path.parent.name.split("-")[0] for path in root.glob("*/store.json"))


def test_the_least_recently_used_states_make_room(tmp_path):
    for age, name in enumerate("abc"):
        made = StateStore(tmp_path, {"name": name}, WIDTH)
        made.fill(TEXTS, Counting(), silent)
        os.utime(made.folder / "store.json", (1000 + age, 1000 + age))
    StateStore(tmp_path, {"name": "a"}, WIDTH).fill(TEXTS, Counting(), silent)  # b was used least recently
    used = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    new = StateStore(tmp_path, {"name": "d"}, WIDTH)
    new.make_room(TEXTS, 10, used, silent)
    assert stores(tmp_path) == ["a", "c"]
    own = StateStore(tmp_path, {"name": "a"}, WIDTH)
    with pytest.raises(InputError, match="`max_cache`"):
        own.make_room(["new", "more"], 100, 199, silent)
    assert stores(tmp_path) == ["a", "c"]
    own.make_room(["new"], 100, 100, silent)  # the states of other texts have to go, too
    assert stores(tmp_path) == []
    assert own.fill(TEXTS, Counting(), silent) == 5
