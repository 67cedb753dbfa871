"""Tests for dnalm/data/binding.py: batches of windows, shifted copies, the other strand."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dnalm.data.binding import (
    AugmentConfig,
    BindingBatches,
    BindingWindows,
    SplitSet,
    reverse_complements,
    shifted_copies,
)
from dnalm.data.splits import Split
from dnalm.data.state_cache import CachedStates
from dnalm.errors import InputError
from dnalm.formats.binding import BindingSet

LETTERS = np.frombuffer(b"ACGT", np.uint8)
N = ord("N")


def cached(states):
    """The states [M, L, D] as a store returns them, behind a mean each."""
    count, length, width = states.shape
    rows_of_all = torch.cat([states.mean(1, keepdim=True), states], dim=1).to(torch.bfloat16)
    rows = np.arange(count)
    return CachedStates([rows_of_all.view(-1, width)], 0 * rows, rows * (length + 1) + 1, 0 * rows + length)


def test_tokens_scores_and_states_of_both_strands_stay_together():
    tokens = torch.arange(23, dtype=torch.uint8)[:, None].repeat(1, 5)  # window i holds i everywhere
    batch = BindingBatches(BindingWindows(tokens, tokens.float()), 8, seed=0).batch(1)
    assert torch.equal(batch.tokens.float(), batch.scores)
    assert batch.states is None
    forward = torch.arange(5.0)[:, None] + torch.arange(23.0)[:, None, None]  # [23, 5, 1]
    both = BindingWindows(tokens, tokens.float(), (cached(forward), cached(forward.flip(1))))
    batch = BindingBatches(both, 8, seed=0).batch(1)
    assert torch.equal(batch.states[..., 0].float(), batch.scores + torch.arange(5.0))
    assert torch.equal(batch.states[..., 1], batch.states[..., 0])  # reversed: each at its base


def made(count=200):
    """Random windows of 40 bases with a site of 6 each, anywhere."""
    draws = np.random.default_rng(0)
    scores = np.zeros((count, 40), np.float32)
    for row, start in zip(scores, draws.integers(0, 35, count), strict=True):
        row[start : start + 6] = draws.uniform(5, 10)
    return LETTERS[draws.integers(0, 4, (count, 40))], scores


def shift_of(copy):
    """Return by how much a window of A, C, G and T was moved to the right: N is only at the freed end."""
    is_n = copy == N
    by = int(is_n.sum())
    assert 0 < by < len(copy)
    assert is_n[:by].all() or is_n[-by:].all()
    return by if is_n[0] else -by


@given(length=st.integers(2, 30), count=st.integers(0, 8), max_shift=st.integers(1, 29), data=st.data())
def test_laws_of_shifted_copies(length, count, max_shift, data):
    max_shift = min(max_shift, length - 1)
    draws = np.random.default_rng(data.draw(st.integers(0, 1000)))
    letters = LETTERS[draws.integers(0, 4, (count, length))]
    scores = np.where(draws.random((count, length)) < data.draw(st.sampled_from([0, 0.1, 0.5, 1])), -2.5, 0)
    scores = scores.astype(np.float32)
    moved, moved_scores, rows = shifted_copies(letters, scores, max_shift=max_shift, seed=1)
    assert (moved.dtype, moved_scores.dtype, rows.dtype) == (np.uint8, np.float32, np.int64)
    without = np.setdiff1d(np.arange(count), rows)
    assert (scores[without][:, [0, -1]] != 0).all()  # no room on either side
    assert rows.tolist() == sorted(set(rows.tolist()))
    for i, copy, copy_scores in zip(rows, moved, moved_scores, strict=True):
        by = shift_of(copy)
        assert 1 <= abs(by) <= max_shift
        here, there = (slice(max(each, 0), length + min(each, 0)) for each in (by, -by))
        assert np.array_equal(copy[here], letters[i, there])  # shifting back restores what stayed inside
        assert np.array_equal(copy_scores[here], scores[i, there])
        assert (copy_scores != 0).sum() == (scores[i] != 0).sum()  # and no scored base has left
        freed = np.delete(np.arange(length), here)
        assert (copy[freed] == N).all()
        assert (copy_scores[freed] == 0).all()


def test_every_possible_shift_is_as_likely():
    # A site of 6 in the middle of 40: 17 bases are free on either side, and 3 may be used.
    letters, scores = made(6_000)
    scores[:], scores[:, 17:23] = 0.0, 8.0
    moved, _, _ = shifted_copies(letters, scores, max_shift=3, seed=0)
    shifts, times = np.unique([shift_of(copy) for copy in moved], return_counts=True)
    assert shifts.tolist() == [-3, -2, -1, 1, 2, 3]
    assert np.abs(times - 1000).max() < 5 * np.sqrt(1000)  # 5 standard deviations of a count of 1,000


def test_how_a_window_moves_depends_on_the_seed_and_not_on_the_others():
    letters, scores = made()
    moved, moved_scores, rows = shifted_copies(letters, scores, max_shift=5, seed=3)
    order = np.random.default_rng(1).permutation(len(letters))[:50]
    again, again_scores, again_rows = shifted_copies(letters[order], scores[order], max_shift=5, seed=3)
    same = np.searchsorted(rows, order[again_rows])
    assert np.array_equal(again, moved[same])
    assert np.array_equal(again_scores, moved_scores[same])
    for bad in (0, -1, 40):
        with pytest.raises(InputError, match=f"`max_shift`.*{bad}"):
            shifted_copies(letters, scores, max_shift=bad, seed=0)
    other = shifted_copies(letters, scores, max_shift=5, seed=4)[0]
    assert (moved == other).all(axis=1).mean() < 0.5  # of 10 shifts a tenth or two agree by chance


def test_other_strand_of_every_iupac_letter_and_copies_behind_the_windows():
    # A letter's complement stands for the complements of its bases (Cornish-Bowden 1985).
    letters = np.frombuffer(b"ACGTRYSWKMBDHVN", np.uint8)[None]
    others, moved = reverse_complements(letters, np.arange(15, dtype=np.float32)[None])
    assert others.tobytes() == b"NBDHVKMWSRYACGT"
    assert moved[0].tolist() == list(range(14, -1, -1))
    letters, scores = made(20)
    many, many_scores = AugmentConfig(max_shift=3, reverse_complement=True).augmented(letters, scores, seed=2)
    assert many.shape == many_scores.shape == (80, 40)
    assert np.array_equal(many[:20], letters)
    assert np.array_equal(many[20:40], shifted_copies(letters, scores, max_shift=3, seed=2)[0])
    assert np.array_equal(many[40:], reverse_complements(many[:40], many_scores[:40])[0])
    assert AugmentConfig(max_shift=0).augmented(letters, scores, seed=2)[0].shape == (20, 40)


def test_fewer_labels_are_inside_more_and_the_test_part_stays():
    rows = np.array([7, 3, 9, 1, 0, 5, 8, 2, 4, 6])  # in the order of the published split
    split = Split("blocks", rows, rows + 10, rows + 20, rows[:0])
    names, letters = [f"w{row}" for row in range(30)], np.full((30, 4), ord("A"), dtype=np.uint8)
    data = SplitSet(BindingSet(names, letters, np.zeros((30, 4), "f4")), split, {}, {})
    for seed in range(5):
        parts = [data.labelled(windows, seed).split for windows in (2, 5, 10)]
        assert [each.windows for each in parts[:2]] == [
            {"train": 2, "validation": 2, "test": 10, "left_out": 0},
            {"train": 5, "validation": 5, "test": 10, "left_out": 0},
        ]
        for small, large in itertools.pairwise(parts):
            assert set(small.train) < set(large.train)
            assert set(small.validation) < set(large.validation)
            assert np.array_equal(small.test, split.test)
        assert np.array_equal(parts[-1].train, split.train)  # all of them, in their order
    assert not np.array_equal(parts[1].train, data.labelled(5, seed=9).split.train)
