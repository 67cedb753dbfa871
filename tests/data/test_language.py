"""Tests for dnalm/data/language.py."""

import numpy as np
import pytest
import torch

from dnalm.data.language import PIECE_BASES, LanguageWindows, choose_pieces, fixed_windows, tile
from dnalm.errors import InputError

MODES = ["full", "vocab4"]


def windows(genome, **settings):
    return LanguageWindows(genome, "train", **{"length": 30, "batch_size": 64, "seed": 3, **settings})


@pytest.mark.parametrize("mode", MODES)
def test_targets_are_the_tokens_that_follow(toy, mode):
    batch = windows(toy[mode]).batch(0)
    assert batch.tokens.shape == batch.targets.shape == (64, 30)
    assert batch.tokens.dtype == torch.uint8
    assert torch.equal(batch.tokens[:, 1:], batch.targets[:, :-1])
    text = toy[mode].tokens("train")
    starts = windows(toy[mode]).starts(0)
    for row, start in enumerate(starts):
        assert batch.targets[row].tolist() == text[start + 1 : start + 31].tolist()


@pytest.mark.parametrize("mode", MODES)
def test_the_batch_is_a_function_of_seed_and_step(toy, mode):
    one, again = windows(toy[mode]), windows(toy[mode])
    one.batch(4)
    assert torch.equal(one.batch(9).tokens, again.batch(9).tokens)
    assert not torch.equal(one.batch(9).tokens, one.batch(10).tokens)
    assert not torch.equal(one.batch(9).tokens, windows(toy[mode], seed=4).batch(9).tokens)


def test_ranks_share_the_batch(toy):
    source = windows(toy["vocab4"])
    shares = [source.batch(2, rank, 4).tokens for rank in range(4)]
    assert torch.equal(torch.stack(shares, dim=1).flatten(0, 1), source.batch(2).tokens)


def test_no_window_crosses_a_break(toy):
    genome = toy["vocab4"]
    segments = genome.segments("train")
    assert len(segments) == 3  # chr1 is cut by N and R, chr2 is whole
    starts = np.concatenate([windows(genome).starts(step) for step in range(200)])
    for start in starts:
        inside = (segments[:, 3] <= start) & (start + 31 <= segments[:, 3] + segments[:, 2])
        assert inside.sum() == 1


def test_every_place_is_as_likely(toy):
    genome = toy["vocab4"]
    source = windows(genome, batch_size=50_000)
    starts = source.starts(0)
    allowed = np.concatenate([np.arange(o, o + n - 30) for _c, _s, n, o in genome.segments("train")])
    counts = np.bincount(starts, minlength=allowed.max() + 1)[allowed]
    assert counts.sum() == 50_000
    # chi-square over 7,000 cells has mean 7,000 and deviation 118: five deviations either way
    expected = 50_000 / len(allowed)
    assert ((counts - expected) ** 2 / expected).sum() == pytest.approx(
        len(allowed), abs=5 * (2 * len(allowed)) ** 0.5
    )


@pytest.mark.parametrize("mode", MODES)
def test_repeat_weight_falls_on_soft_masked_targets(toy, mode):
    genome = toy[mode]
    source = windows(genome, repeat_weight=0.25, batch_size=400)
    batch, starts = source.batch(0), source.starts(0)
    masked = np.zeros(len(genome.tokens("train")), dtype=bool)
    if mode == "full":
        text = genome.tokenizer.decode(np.array(genome.tokens("train")))
        masked = np.array([letter in "acgt" for letter in text])
        for at in (0, text.rindex(">")):  # the c of ">chr1" is no base
            masked[at : at + len(">chr1")] = False
            starts = np.where((starts > at) & (starts < at + len(">chr1")), -1, starts)  # known exception
    else:
        for start, end in genome.repeats("train"):
            masked[start:end] = True
    assert masked.sum() == 400
    expected = np.stack([np.where(masked[s + 1 : s + 31], 0.25, 1.0) for s in starts if s >= 0])
    assert batch.weights[torch.from_numpy(starts >= 0)].tolist() == expected.tolist()
    assert 0.25 in expected
    assert len(expected) > 390


def test_weight_of_one_costs_nothing(toy):
    assert windows(toy["vocab4"]).batch(0).weights is None


def test_refuses_a_window_that_fits_nowhere(toy):
    with pytest.raises(InputError, match="no unbroken stretch of train holds 3001 tokens"):
        windows(toy["vocab4"], length=3000)


def targets_of(genome, pieces, length):
    """Every real target, in order, as letters."""
    out = []
    for rows in tile(genome, "train", pieces, length, batch_size=3):
        window = fixed_windows(genome, "train", rows, length)
        out.append(window.targets[window.real].numpy())
    return genome.tokenizer.decode(np.concatenate(out))


@pytest.mark.parametrize("length", [7, 30, 299, 5000])
def test_tiles_predict_every_base_but_a_pieces_first_once_in_both_vocabularies(toy, length):
    pieces = choose_pieces(toy["vocab4"], "train", 0)
    assert np.array_equal(pieces, choose_pieces(toy["full"], "train", 0))
    expected = "".join("ACGT"[c] for s, e in pieces for c in toy["vocab4"].bases("train", s, e)[1:])
    assert targets_of(toy["vocab4"], pieces, length) == expected
    full = targets_of(toy["full"], pieces, length)
    assert full.replace("\n", "").upper() == expected
    assert "\n" in full
    assert set("acgt") <= set(full)


def test_pieces_cover_each_segment_once(toy):
    genome = toy["vocab4"]
    seen = np.zeros(len(genome.tokens("train")), dtype=int)
    for start, end in choose_pieces(genome, "train", 0):
        assert end - start <= PIECE_BASES
        seen[start + 1 : end] += 1
    firsts = genome.segments("train")[:, 3]
    assert (seen[firsts] == 0).all()
    assert (np.delete(seen, firsts) == 1).all()


def test_fewer_pieces_are_spread_and_always_the_same(toy):
    few = choose_pieces(toy["vocab4"], "train", 1)
    assert len(few) == 1
    every = choose_pieces(toy["vocab4"], "train", 0)
    assert few.tolist()[0] in every.tolist()


def test_padding_is_on_the_right_and_marked(toy):
    pieces = np.array([[0, 10]])
    (rows,) = tile(toy["vocab4"], "train", pieces, 7, batch_size=8)
    window = fixed_windows(toy["vocab4"], "train", rows, 7)
    assert window.real.tolist() == [[True] * 7, [True] * 2 + [False] * 5]
    assert window.tokens[1].tolist()[2:] == [0] * 5
    assert window.piece.tolist() == [0, 0]
