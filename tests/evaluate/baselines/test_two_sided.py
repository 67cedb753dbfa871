"""Tests for dnalm/evaluate/baselines/two_sided.py."""

from collections import Counter
from math import log2

import numpy as np
import pytest

from dnalm.dna import encode, reverse_complement
from dnalm.evaluate.baselines.markov import HIGHEST_ORDER, count_kmers, ladder
from dnalm.evaluate.baselines.two_sided import REACH, Contexts, ladders_at, two_sided_bits


def contexts(pieces, at):
    """The bases around positions `at` of each piece."""
    rows = []
    for number, (piece, own) in enumerate(zip(pieces, at, strict=True)):
        around = np.pad(piece, (HIGHEST_ORDER, REACH))
        for i in own:
            row = around[i : i + HIGHEST_ORDER + 1 + REACH]
            rows.append((row, i, len(piece) - 1 - i, number))
    return Contexts(*map(np.array, zip(*rows, strict=True)))


def reference(train, pieces, at, weight):
    """Bits of the two-sided models, by strands and reach, from the definition: counts in dictionaries."""
    found = np.zeros((2, REACH + 1))
    for strand, stretches in enumerate((train, [*train, *map(reverse_complement, train)])):
        counts = Counter()
        for stretch in stretches:
            text = stretch.tolist()
            for k in range(REACH + 1):
                counts.update(tuple(text[i - k : i + k + 1]) for i in range(k, len(text) - k))
        for piece, own in zip(pieces, at, strict=True):
            text = piece.tolist()
            for i in own:
                p = 0.25
                for k in range(REACH + 1):
                    if k <= i < len(text) - k:
                        left, right = text[i - k : i], text[i + 1 : i + k + 1]
                        four = [counts[(*left, base, *right)] for base in range(4)]
                        p = (four[text[i]] + weight * p) / (sum(four) + weight)
                    found[strand, k] -= log2(p)
    return found / sum(map(len, at))


@pytest.mark.parametrize("batches", [1, 3])
def test_equals_the_definition_however_positions_are_batched(batches):
    draws = np.random.default_rng(0)
    train = [
        draws.integers(0, 2 + seed % 3, length).astype(np.uint8) for seed, length in enumerate((300, 5, 200))
    ]
    pieces = [draws.integers(0, 4, length).astype(np.uint8) for length in (40, 3, 25)]
    at = [range(0, 40, 3), [1], [0, 2, 24]]
    given = contexts(pieces, at)
    cut = [Contexts(*(each[first::batches] for each in given)) for first in range(batches)]
    markov, found = ladders_at(count_kmers(train, HIGHEST_ORDER), cut, 3, 3.5)
    expected = reference(train, pieces, at, 3.5)
    # float64 sums in another order
    np.testing.assert_allclose([found.one_strand, found.both_strands], expected, rtol=1e-12)
    np.testing.assert_allclose(found.pieces.sum(axis=2), expected * 18, rtol=1e-12)
    assert (found.train_bases, found.validation_bases) == (505, 18)
    # Markov models at the same positions: a position is a piece of its own in the other code.
    ends = [piece[: i + 1] for piece, own in zip(pieces, at, strict=True) for i in own if i]
    alone = ladder(train, ends, context=np.array([len(end) - 1 for end in ends]), weight=3.5)
    first = markov.pieces.sum(axis=2) - alone.pieces.sum(axis=2)  # the two without a base to the left
    np.testing.assert_allclose(first, np.repeat(first[:, :1], HIGHEST_ORDER + 1, axis=1), atol=1e-9)


def test_value_worked_out_by_hand():
    # ACACG counted, one strand: A 2, C 2, G 1; ACA, CAC, ACG once each. Scored: the C of ACA, with w = 1.
    # p_0(C) = (2 + 1/4) / (5 + 1) = 3/8; A.A was seen once, with C: p_1 = (1 + 3/8) / (1 + 1) = 11/16.
    # With CGTGT: A 2, C 3, G 3, T 2: p_0(C) = (3 + 1/4) / 11 = 13/44; A.A once: p_1 = 57/44 / 2 = 57/88.
    counts = count_kmers([encode("ACACG")], 2)
    zero, one = two_sided_bits(counts, encode("ACA")[None], np.array([1]), 1.0)
    np.testing.assert_allclose(zero[:, 0], [-log2(3 / 8), -log2(13 / 44)], rtol=1e-12)
    np.testing.assert_allclose(one[:, 0], [-log2(11 / 16), -log2(57 / 88)], rtol=1e-12)
