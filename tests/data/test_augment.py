"""Tests for dnalm/data/augment.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnalm.data.binding import reverse_complements, shifted_copies
from dnalm.formats.binding import read_binding

LETTERS = np.frombuffer(b"ACGT", np.uint8)


def text(rows):
    return [row.tobytes().decode() for row in rows]


def made(count=200, length=40, site=6, seed=0):
    """Random windows with one site each, anywhere."""
    draws = np.random.default_rng(seed)
    letters = LETTERS[draws.integers(0, 4, (count, length))]
    scores = np.zeros((count, length), np.float32)
    for row, start in zip(scores, draws.integers(0, length - site + 1, count), strict=True):
        row[start : start + site] = draws.uniform(5, 10)
    return letters, scores


def shift_of(letters, copy):
    """Return by how much a window of A, C, G and T was moved to the right: N stands only at the freed end."""
    is_n = copy == ord("N")
    by = int(is_n.sum())
    assert 0 < by < len(copy)
    assert is_n[:by].all() or is_n[-by:].all()
    return by if is_n[0] else -by


@given(length=st.integers(2, 30), count=st.integers(0, 8), max_shift=st.integers(1, 29), data=st.data())
def test_laws(length, count, max_shift, data):
    max_shift = min(max_shift, length - 1)
    draws = np.random.default_rng(data.draw(st.integers(0, 1000)))
    letters = LETTERS[draws.integers(0, 4, (count, length))]
    scores = np.where(draws.random((count, length)) < data.draw(st.sampled_from([0, 0.1, 0.5])), -2.5, 0)
    scores = scores.astype(np.float32)
    moved, moved_scores, kept = shifted_copies(letters, scores, max_shift=max_shift, seed=1)
    assert (moved.dtype, moved_scores.dtype, kept.dtype) == (np.uint8, np.float32, np.int64)
    for i in range(count):
        if i not in kept:
            assert scores[i, 0] != 0  # no room on either side
            assert scores[i, -1] != 0
    assert kept.tolist() == sorted(set(kept.tolist()))
    for i, copy, copy_scores in zip(kept, moved, moved_scores, strict=True):
        by = shift_of(letters[i], copy)
        assert 1 <= abs(by) <= max_shift
        here = slice(max(by, 0), length + min(by, 0))
        there = slice(max(-by, 0), length + min(-by, 0))
        assert np.array_equal(copy[here], letters[i, there])  # shifting back restores what stayed inside
        assert np.array_equal(copy_scores[here], scores[i, there])
        assert (copy_scores != 0).sum() == (scores[i] != 0).sum()  # and no scored base has left
        freed = np.ones(length, dtype=bool)
        freed[here] = False
        assert (copy[freed] == ord("N")).all()
        assert (copy_scores[freed] == 0).all()


def test_every_shift_that_is_possible_is_as_likely():
    # A site of 6 in the middle of 40: 17 bases are free on either side, and 3 may be used.
    count = 6_000
    letters, _ = made(count)
    scores = np.zeros((count, 40), np.float32)
    scores[:, 17:23] = 8.0
    moved, _, kept = shifted_copies(letters, scores, max_shift=3, seed=0)
    assert len(kept) == count
    by = np.array([shift_of(one, copy) for one, copy in zip(letters, moved, strict=True)])
    shifts, times = np.unique(by, return_counts=True)
    assert shifts.tolist() == [-3, -2, -1, 1, 2, 3]
    assert np.abs(times - 1000).max() < 5 * np.sqrt(1000)  # 5 standard deviations of a count of 1,000


def test_a_site_at_an_edge_goes_the_other_way_and_one_at_both_stays():
    letters = np.tile(np.frombuffer(b"ACGTACGT", np.uint8), (3, 1))
    scores = np.zeros((3, 8), np.float32)
    scores[0, :2] = 1.0
    scores[1, 5:7] = 1.0
    scores[2, [0, 7]] = 1.0
    moved, moved_scores, kept = shifted_copies(letters, scores, max_shift=1, seed=0)
    assert kept[0] == 0
    assert 2 not in kept
    assert text(moved)[0] == "NACGTACG"
    assert moved_scores[0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    for max_shift, seed in ((7, 1), (7, 2), (7, 3)):
        _, more, _ = shifted_copies(letters[1:2], scores[1:2], max_shift=max_shift, seed=seed)
        assert more.sum() == 2.0


def test_how_a_window_moves_does_not_depend_on_the_others():
    letters, scores = made()
    moved, moved_scores, kept = shifted_copies(letters, scores, max_shift=5, seed=3)
    order = np.random.default_rng(1).permutation(len(letters))[:50]
    again, again_scores, again_kept = shifted_copies(letters[order], scores[order], max_shift=5, seed=3)
    place = {window: row for row, window in enumerate(kept.tolist())}
    rows = [place[window] for window in order[again_kept].tolist()]
    assert np.array_equal(again, moved[rows])
    assert np.array_equal(again_scores, moved_scores[rows])


def test_a_seed_is_another_set_of_shifts():
    letters, scores = made()
    one, _, kept = shifted_copies(letters, scores, max_shift=5, seed=3)
    other, _, _ = shifted_copies(letters, scores, max_shift=5, seed=4)
    same = (one == other).all(axis=1).mean()
    assert same < 0.5  # of 10 shifts (fewer at an edge) a tenth or two agree by chance
    assert np.array_equal(one, shifted_copies(letters, scores, max_shift=5, seed=3)[0])
    assert len(kept) == len(letters)


def test_a_track_that_is_nowhere_zero_gives_no_copies():
    letters, _ = made(5)
    moved, moved_scores, kept = shifted_copies(letters, np.ones((5, 40), np.float32), max_shift=5, seed=0)
    assert (moved.shape, moved_scores.shape, kept.shape) == ((0, 40), (0, 40), (0,))


@pytest.mark.parametrize("max_shift", [0, -1, 40])
def test_bad_shift(max_shift):
    letters, scores = made()
    with pytest.raises(ValueError, match=rf"`max_shift` must be .* windows' 40 bases, got {max_shift}"):
        shifted_copies(letters, scores, max_shift=max_shift, seed=0)


def test_other_strand_of_every_iupac_letter():
    # A letter's complement stands for the complements of its bases (Cornish-Bowden 1985).
    letters = np.frombuffer(b"ACGTRYSWKMBDHVN", np.uint8)[None]
    others, scores = reverse_complements(letters, np.arange(15, dtype=np.float32)[None])
    assert text(others) == ["NBDHVKMWSRYACGT"]
    assert scores[0].tolist() == list(range(14, -1, -1))


def test_other_strand_twice_is_the_first():
    letters, scores = made()
    letters[0, 3], letters[1, 5] = ord("N"), ord("R")
    once = reverse_complements(letters, scores)
    assert not np.array_equal(once[0], letters)
    twice = reverse_complements(*once)
    assert np.array_equal(twice[0], letters)
    assert np.array_equal(twice[1], scores)


def test_the_real_set(shared_data):
    folder = shared_data / "binding"
    real = read_binding(folder / "chr22_sequences.txt.gz", folder / "chr22_scores.txt.gz")
    moved, scores, kept = shifted_copies(real.letters, real.scores, max_shift=10, seed=0)
    assert len(moved) == len(kept) > 0.99 * len(real.names)
    assert np.array_equal(np.sort(scores, axis=1), np.sort(real.scores[kept], axis=1))  # no site is cut
    assert (moved == ord("N")).sum(axis=1).min() == 1
    assert (moved == ord("N")).sum(axis=1).max() == 10
