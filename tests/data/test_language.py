"""Tests for dnalm/data/language.py."""

import numpy as np
import pytest
import torch

from dnalm.data.language import PIECE_BASES, LanguageWindows, choose_pieces, fixed_windows, tile
from dnalm.errors import InputError
from dnalm.genome.folder import PreparedGenome
from dnalm.genome.plan import Plan
from dnalm.genome.prepare import prepare

MODES = ["full", "vocab4"]
NONE = np.zeros(0, dtype=np.int64)


def windows(genome, **settings):
    return LanguageWindows(genome, **{"length": 30, "batch_size": 64, "seed": 3, **settings})


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_is_tokens_and_what_follows_of_seed_and_step_alone(toy, mode):
    one, again = windows(toy[mode]), windows(toy[mode])
    one.batch(4)
    batch, text = one.batch(9), toy[mode].tokens("train")
    assert batch.tokens.shape == batch.targets.shape == (64, 30)
    assert (batch.tokens.dtype, batch.weights) == (torch.uint8, None)
    for tokens, targets, start in zip(*batch[:2], again.starts(9), strict=True):
        assert tokens.tolist() == text[start : start + 30].tolist()
        assert targets.tolist() == text[start + 1 : start + 31].tolist()
    assert not torch.equal(batch.tokens, one.batch(10).tokens)
    assert not torch.equal(batch.tokens, windows(toy[mode], seed=4).batch(9).tokens)
    shares = [again.batch(9, rank, 4).tokens for rank in range(4)]
    assert torch.equal(torch.stack(shares, dim=1).flatten(0, 1), batch.tokens)


def test_every_place_is_as_likely_and_no_window_crosses_a_break(toy):
    genome = toy["vocab4"]
    assert len(genome.segments("train")) == 3  # chr1 is cut by N and R, chr2 is whole
    with pytest.raises(InputError, match="no unbroken stretch of train holds 3001 tokens"):
        windows(genome, length=3000)
    starts = windows(genome, batch_size=50_000).starts(0)
    allowed = np.concatenate([np.arange(o, o + n - 30) for _c, _s, n, o in genome.segments("train")])
    counts = np.bincount(starts, minlength=allowed.max() + 1)[allowed]
    assert counts.sum() == 50_000
    # chi-square over 7,000 cells has mean 7,000 and deviation 118: five deviations either way
    expected = 50_000 / len(allowed)
    chi_square, deviation = ((counts - expected) ** 2 / expected).sum(), (2 * len(allowed)) ** 0.5
    assert chi_square == pytest.approx(len(allowed), abs=5 * deviation)


@pytest.mark.parametrize("mode", MODES)
def test_repeat_weight_falls_on_soft_masked_targets(toy, mode):
    genome = toy[mode]
    source = windows(genome, repeat_weight=0.25, batch_size=400)
    batch, starts = source.batch(0), source.starts(0)
    if mode == "full":
        text = genome.tokenizer.decode(np.array(genome.tokens("train")))
        masked = np.array([letter in "acgt" for letter in text])
        for at in (0, text.rindex(">")):  # the c of ">chr1" is no base
            masked[at : at + len(">chr1")] = False
            starts = np.where((starts > at) & (starts < at + len(">chr1")), -1, starts)  # known exception
    else:
        masked = np.zeros(len(genome.tokens("train")), dtype=bool)
        for start, end in genome.repeats("train"):
            masked[start:end] = True
    assert masked.sum() == 400
    expected = np.stack([np.where(masked[s + 1 : s + 31], 0.25, 1.0) for s in starts if s >= 0])
    assert batch.weights[torch.from_numpy(starts >= 0)].tolist() == expected.tolist()
    assert 0.25 in expected
    assert len(expected) > 390


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("case", "weight", "caution"),
    [("upper", 0.5, "none of"), ("upper", 0.0, "none of"), ("lower", 0.5, "all of"), ("lower", 1.0, "")],
)
def test_a_repeat_weight_without_effect_is_reported(tmp_path, mode, case, weight, caution):
    genome = genome_of(tmp_path, mode, case)
    found = windows(genome, repeat_weight=weight).caution
    assert bool(found) == bool(caution)
    assert caution in found


@pytest.mark.parametrize("mode", MODES)
def test_nothing_to_learn_is_refused(tmp_path, mode):
    with pytest.raises(InputError, match="`repeat_weight` 0"):
        windows(genome_of(tmp_path, mode, "lower"), repeat_weight=0.0)


def genome_of(folder, mode, case):
    """A genome without repeats, in upper or lower case."""
    letters = "".join(np.random.default_rng(1).choice(list("ACGT"), 4000))
    (folder / "g.fa").write_text(f">chr1\n{getattr(letters, case)()}\n")
    prepare(Plan(genomes=(folder / "g.fa",), out=folder))
    return PreparedGenome(folder / mode)


def targets_of(genome, pieces, length):
    """Every real target, in order, as letters."""
    out = []
    for rows in tile(genome, "train", pieces, length, batch_size=3):
        window = fixed_windows(genome, "train", rows, length, NONE)
        out.append(window.targets[window.scored].numpy())
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


def test_pieces_cover_each_segment_once_and_few_are_some_of_them(toy):
    genome = toy["vocab4"]
    seen, pieces = np.zeros(len(genome.tokens("train")), dtype=int), choose_pieces(genome, "train", 0)
    for start, end in pieces:
        assert end - start <= PIECE_BASES
        seen[start + 1 : end] += 1
    firsts = genome.segments("train")[:, 3]
    assert (seen[firsts] == 0).all()
    assert (np.delete(seen, firsts) == 1).all()
    (few,) = choose_pieces(genome, "train", 1).tolist()
    assert few in pieces.tolist()


def test_context_is_on_the_left_and_padding_on_the_right(toy):
    genome, pieces = toy["vocab4"], np.array([[0, 10], [100, 104]])
    second = int(genome.segments("train")[1, 3])  # no context crosses the start of a segment
    (rows,) = tile(genome, "train", np.append(pieces, [[second, second + 3]], axis=0), 7, batch_size=8)
    window = fixed_windows(genome, "train", rows, 7, NONE)
    assert window.real.tolist() == [[True] * 7] * 3 + [[True] * 2 + [False] * 5]
    scored = [[0] * 5 + [1] * 2, [0] * 4 + [1] * 3, [1] * 2 + [0] * 5]
    assert window.scored.int().tolist() == [[1] * 7, *scored]
    assert window.tokens[1:3].tolist() == [genome.bases("train", at, at + 7).tolist() for at in (2, 96)]
    assert window.tokens[3].tolist()[2:] == [0] * 5
    assert window.piece.tolist() == [0, 0, 1, 2]
