"""Tests for the masked objective's batches, and for dnalm/data/masking.py."""

import numpy as np
import pytest
import torch

from dnalm.data.language import LanguageWindows, choose_pieces
from dnalm.data.masking import STRIDE, fixed_positions, masked_windows, tile_masked

MODES = ["full", "vocab4"]


def windows(genome, **settings):
    return LanguageWindows(genome, **{"length": 30, "batch_size": 400, "seed": 3, "masked": True, **settings})


def letters(genome, tokens):
    """Tokens as letters; a mask is a star."""
    return np.array([*genome.tokenizer.characters, "*"])[tokens.numpy()]


@pytest.mark.parametrize("mode", MODES)
def test_fifteen_in_a_hundred_bases_are_chosen_and_eight_of_ten_of_them_masked(toy, mode):
    batch = windows(toy[mode]).batch(4)
    given, wanted = letters(toy[mode], batch.tokens), letters(toy[mode], batch.targets)
    chosen = batch.weights.numpy() == 1
    assert set(batch.weights.unique().tolist()) == {0, 1}
    is_base = np.isin(wanted, list("ACGTacgt"))
    assert not (chosen & ~is_base).any()
    assert (given == wanted)[~chosen].all()
    # 12,000 bases: the deviation of a fraction is 0.003; of 1,800 chosen ones 0.01
    assert chosen[is_base].mean() == pytest.approx(0.15, abs=0.012)
    assert (given == "*")[chosen].mean() == pytest.approx(0.8, abs=0.04)
    other = (given != "*") & (given != wanted)
    most = 3 / 4 if mode == "vocab4" else 7 / 8  # a random base may be the same one
    assert other[chosen].mean() == pytest.approx(0.1 * most, abs=0.03)
    assert set(given[other & chosen]) <= set("ACGTacgt")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rc_augment", [False, True])
def test_a_batch_is_of_seed_and_step_alone_however_it_is_divided(toy, mode, rc_augment):
    one, again = (windows(toy[mode], rc_augment=rc_augment, repeat_weight=0.5) for _ in range(2))
    one.batch(4)
    batch = one.batch(9)
    parts = [again.batch(9, rank, 4) for rank in range(4)]
    for whole, *divided in zip(batch, *parts, strict=True):
        if whole is not None:  # of a genome among several
            assert torch.equal(torch.stack(divided, dim=1).flatten(0, 1), whole)
    assert not torch.equal(batch.tokens, one.batch(10).tokens)
    causal = windows(toy[mode], masked=False)
    if not rc_augment:  # the windows are those of the causal objective
        assert torch.equal(causal.batch(9).tokens, batch.targets)


@pytest.mark.parametrize("mode", MODES)
def test_half_of_the_windows_are_of_the_other_strand_with_their_weights(toy, mode):
    genome, settings = toy[mode], {"masked": False, "repeat_weight": 0.25}
    plain = windows(genome, **settings).batch(2)
    turned = windows(genome, rc_augment=True, **settings).batch(2)
    complement = torch.from_numpy(genome.tokenizer.complement)
    joint = [torch.cat([each.tokens, each.targets[:, -1:]], dim=1) for each in (plain, turned)]
    other = complement[joint[0].long()].flip(1)
    same, flipped = (joint[0] == joint[1]).all(1), (other == joint[1]).all(1)
    assert (same | flipped).all()
    assert flipped.float().mean() == pytest.approx(0.5, abs=0.1)  # four deviations of 400
    if mode == "full":
        header = (joint[0] == genome.tokenizer.ids[ord(">")]).any(1)
        assert same[header].all()
    inner = turned.weights[flipped][:, :-1].flip(1)  # the target of a turned window is one further
    assert torch.equal(inner, plain.weights[flipped][:, :-1])


@pytest.mark.parametrize("length", [7, 30, 299, 5000])
def test_tiles_mask_every_fixed_position_once_with_both_sides_in_both_vocabularies(toy, length):
    found = {}
    for mode in MODES:
        genome = toy[mode]
        pieces = choose_pieces(genome, "train", 0)
        positions = fixed_positions(genome, "train", pieces)
        assert (positions.numbers % STRIDE == STRIDE // 2).all()
        segments, text = genome.segments("train"), genome.tokens("train")
        spans = [genome.text_span("train", int(r[3]), int(r[3] + r[2])) for r in segments]
        seen = []
        for rows in tile_masked(genome, "train", pieces, positions, length, batch_size=3):
            window = masked_windows(genome, "train", rows)
            assert torch.equal(window.tokens == genome.tokenizer.vocab_size, window.scored)
            assert torch.equal(window.tokens[~window.scored], window.targets[~window.scored])
            for row, tile in enumerate(rows):
                width = tile.end - tile.begin
                assert window.real[row].tolist() == [True] * width + [False] * (len(window.real[row]) - width)
                assert window.targets[row, :width].tolist() == text[tile.begin : tile.end].tolist()
                opens, closes = next(s for s in spans if s[0] <= tile.begin < s[1])
                assert opens <= tile.begin < tile.end <= closes
                assert width == min(length, closes - opens)
                for at in tile.masked.tolist():
                    assert at - tile.begin >= min(length // 4 - 1, at - opens)
                    assert tile.end - 1 - at >= min(length // 4 - 1, closes - 1 - at)
                seen += tile.masked.tolist()
        assert seen == positions.offsets.tolist()
        found[mode] = (positions.numbers.tolist(), genome.tokenizer.decode(text[positions.offsets]).upper())
    assert found["full"] == found["vocab4"]
