"""Tests for dnalm/evaluate/language.py."""

import tracemalloc

import numpy as np
import pytest

from dnalm.data.language import choose_pieces
from dnalm.evaluate.baselines.markov import Ladder, ladder
from dnalm.evaluate.language import (
    LanguageScores,
    evaluate_language,
    gain_over,
    interval,
    markov_ladder,
    verdict,
)
from dnalm.models.gpt import GPTConfig
from dnalm.train.language import LanguageConfig, LanguageTask


def test_interval_holds_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        counts = draws.integers(50, 150, 60)
        low, high = interval(1.9 * counts + draws.normal(0, 3, 60), counts)
        hits += low <= 1.9 <= high
    assert 180 <= hits <= 199  # 190 expected, deviation 3


def made_ladder(bits, pieces):
    ladder = np.full((2, 2, pieces), 5.0)
    ladder[1, 1] = bits
    return Ladder(20.0, 1000, 100 * pieces, [2.0, 1.98], [2.0, float(np.mean(bits) / 100)], ladder)


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (-1.0, "beats the best Markov model (order 1, both strands counted"),
        (1.0, "is behind"),
        (0.0, "is not distinguishable"),
    ],
)
def test_verdict_pairs_the_pieces(shift, words):
    """Pieces differ by 20 bits, model and ladder by 1 in each: only a paired comparison can tell."""
    draws = np.random.default_rng(1)
    ladder = 190 + draws.normal(0, 20, 50)
    model = ladder + shift + draws.normal(0, 0.2, 50)
    scores = LanguageScores(1.3, model, np.full(50, 100))
    gain = gain_over(scores, made_ladder(ladder, 50))
    assert gain["winner"] == {-1.0: "model", 1.0: "markov", 0.0: "neither"}[shift]
    assert words in verdict(scores, gain, made_ladder(ladder, 50))
    low, high = interval(model, np.full(50, 100))
    assert low < ladder.mean() / 100 < high  # unpaired, nothing could be said


def test_ladder_and_model_are_judged_on_the_same_bases(toy):
    for mode in ("full", "vocab4"):
        task = LanguageTask(
            toy[mode], GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=30), LanguageConfig()
        )
        found = evaluate_language(task.build_model(), toy[mode], 0, 30)
        assert found["bits_per_base"]["bases"] == found["ladder"]["validation_bases"] == 1499
        assert found["ladder"]["train_bases"] == 7449  # 5,000 + 2,500 less 50 N and one R
        bits = found["bits_per_base"]
        assert bits["low"] <= bits["value"] <= bits["high"]
    full, vocab4 = (markov_ladder(toy[mode], 0).as_dict() for mode in ("full", "vocab4"))
    assert full == vocab4


@pytest.mark.parametrize("bases", [0, 400])
def test_a_markov_model_has_its_context_wherever_a_piece_begins(toy, bases):
    """The reference reads segments from their first base on, in no pieces."""
    genome, scored = toy["vocab4"], choose_pieces(toy["vocab4"], "val", bases)
    train, (val,) = list(genome.bases_of("train")), genome.bases_of("val")
    ends = [end for start, end in scored.tolist() for end in range(start + 2, end + 1)]
    one = ladder(train, [val[:end] for end in ends], context=np.array(ends) - 1)  # one base at a time
    assert markov_ladder(genome, bases).both_strands == pytest.approx(one.both_strands, rel=1e-12)
    assert (len(ends), len(scored)) == ((1499, 5) if bases == 0 else (600, 2))


def test_an_interval_is_that_of_all_resamples_at_once():
    draws = np.random.default_rng(1)
    totals, counts = draws.normal(size=300) ** 2, draws.integers(1, 1000, 300)
    picks = np.random.default_rng(5).multinomial(300, np.full(300, 1 / 300), size=2000)
    wanted = np.quantile((picks @ totals) / (picks @ counts), [0.025, 0.975])
    assert interval(totals, counts, 5) == pytest.approx(tuple(wanted), rel=1e-12)  # of rounding
    tracemalloc.start()
    interval(np.ones(4000), np.ones(4000, dtype=np.int64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000  # all draws at once are 64 MB, twice
