"""Tests for dnalm/states.py."""

import os
from types import SimpleNamespace

import pytest
import torch

from dnalm import process
from dnalm.data.binding_states import StateCache

TOKENS = torch.arange(300, dtype=torch.int64).remainder(4).to(torch.uint8).view(100, 3)
SIZE = 100 * 3 * 2 * 2
"""Bytes of the states of `TOKENS` at width 2 in bfloat16."""


@pytest.fixture
def calls():
    return []


@pytest.fixture
def encode(calls):
    """An encoder whose state is the token and its square; exact in bfloat16."""

    def encode(tokens):
        calls.append(len(tokens))
        return torch.stack([tokens.float(), tokens.float() ** 2], dim=-1)

    return encode


@pytest.fixture
def cache(tmp_path):
    return StateCache(tmp_path / "cache", 10 * SIZE, lambda message: None)


def test_computed_once_and_the_same_when_found(cache, encode, calls):
    first = cache.get(encode, TOKENS, 2, {"weights": "a"}).states
    assert sum(calls) == 100
    again = cache.get(encode, TOKENS, 2, {"weights": "a"}).states
    assert sum(calls) == 100
    assert first.dtype == torch.bfloat16
    assert torch.equal(first, again)
    assert torch.equal(first.float(), encode(TOKENS))


@pytest.mark.parametrize(
    ("tokens", "key"),
    [(TOKENS.flip(0), {"weights": "a"}), (TOKENS, {"weights": "b"})],
    ids=["tokens", "weights"],
)
def test_other_tokens_or_weights_are_other_states(cache, encode, calls, tokens, key):
    cache.get(encode, TOKENS, 2, {"weights": "a"})
    assert torch.equal(cache.get(encode, tokens, 2, key).states.float(), encode(tokens))
    assert sum(calls) == 300


def test_a_file_cut_short_is_made_anew(cache, encode, calls):
    cache.get(encode, TOKENS, 2, {})
    (path,) = cache.folder.glob("*.states")
    os.truncate(path, SIZE - 2)
    assert torch.equal(cache.get(encode, TOKENS, 2, {}).states.float(), encode(TOKENS))


def test_states_of_another_size_than_asked_for_are_not_lengthened_by_zeros(cache, encode):
    with pytest.raises(ValueError, match=r"is 1,200 bytes and not 1,800; remove it"):
        cache.get(encode, TOKENS, 3, {})


def test_two_runs_at_once_do_not_write_the_same_share(cache, encode, monkeypatch):
    cache.folder.mkdir()
    monkeypatch.setattr("dnalm.process.current", lambda: process.ProcessInfo(1, 2, 2, "torchrun"))
    monkeypatch.setattr("dnalm.process.barrier", lambda: None)
    for count in (1, 2):
        with pytest.raises(FileNotFoundError):  # the first process, which would join the shares, is not there
            cache.get(encode, TOKENS, 2, {})
        assert len(list(cache.folder.glob(".*.part"))) == count


def test_an_interrupted_encoding_leaves_nothing(cache):
    def stop(tokens):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get(stop, TOKENS, 2, {})
    assert list(cache.folder.iterdir()) == []


def test_least_recently_used_goes_first(tmp_path, encode, calls):
    cache = StateCache(tmp_path, 2 * SIZE, lambda message: None)
    for weights in "ab":
        cache.get(encode, TOKENS, 2, {"weights": weights})
    for age, path in enumerate(sorted(tmp_path.glob("*.states"), key=lambda path: path.stat().st_mtime)):
        os.utime(path, (1000 + age, 1000 + age))
    cache.get(encode, TOKENS, 2, {"weights": "a"})  # now b was used least recently
    cache.get(encode, TOKENS, 2, {"weights": "c"})
    before = sum(calls)
    cache.get(encode, TOKENS, 2, {"weights": "a"})
    assert sum(calls) == before
    assert len(list(tmp_path.glob("*.states"))) == len(list(tmp_path.glob("*.json"))) == 2


def test_size_is_said_before_writing(tmp_path, encode):
    said = []
    StateCache(tmp_path, 10**9, said.append).get(encode, TOKENS.repeat(2000, 1), 2, {})
    assert said[0] == f"states of 200,000 windows: 0.00 GB into {tmp_path}"


def test_refuses_states_larger_than_the_limit_and_keeps_the_others(tmp_path, encode):
    StateCache(tmp_path, SIZE, lambda message: None).get(encode, TOKENS, 2, {})
    small = StateCache(tmp_path, SIZE - 1, lambda message: None)
    with pytest.raises(ValueError, match="--max-cache is 0.0; raise it"):
        small.get(encode, TOKENS, 2, {"weights": "other"})
    assert len(list(tmp_path.glob("*.states"))) == 1


def test_refuses_a_disk_that_is_too_small(cache, encode, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(ValueError, match="are needed and 0 MB are free"):
        cache.get(encode, TOKENS, 2, {})
    assert not cache.folder.exists()


def test_time_is_that_of_the_computing_whenever_it_was(cache, encode):
    first = cache.get(encode, TOKENS, 2, {})
    assert cache.get(encode, TOKENS, 2, {}).seconds == first.seconds > 0


def test_what_a_killed_process_left_goes_once_it_is_old(cache, encode):
    cache.folder.mkdir()
    old, new = (cache.folder / f".{name}.states.x.part" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    cache.get(encode, TOKENS, 2, {})
    assert not old.exists()
    assert new.exists()  # perhaps another process is writing it


def test_states_larger_than_memory_can_be_opened(cache, encode):
    tokens, width = (
        TOKENS[:1, :1],
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    )  # twice the memory
    cache.folder.mkdir()
    path = cache.folder / f"{cache._digest(tokens, width, {})}.states"
    path.with_suffix(".json").write_text('{"seconds": 1}')
    with path.open("wb") as file:
        file.truncate(2 * width)  # a hole, which takes no room on the disk
    assert cache.get(encode, tokens, width, {}).states[0, 0, -1] == 0
