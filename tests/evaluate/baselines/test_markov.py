"""Tests for dnalm/baselines/markov.py."""

import gzip
import os
from collections import Counter
from math import log2
from pathlib import Path

import numpy as np
import pytest

from dnalm.dna import BASE_CODES, encode, reverse_complement
from dnalm.evaluate.baselines import markov
from dnalm.evaluate.baselines.markov import Ladder, ladder

GENOMES = Path(os.environ.get("DNALM_GENOMES", Path(__file__).parents[3] / "shared" / "data" / "genomes"))


def skewed(length, seed):
    """Bases in which each follows from the three before it more often than not."""
    generator = np.random.default_rng(seed)
    bases = generator.integers(0, 4, length).astype(np.uint8)
    for i in np.flatnonzero(generator.random(length) < 0.6):
        if i >= 3:
            bases[i] = (bases[i - 1] + 2 * bases[i - 3] + 1) % 4
    return bases


def reference(train, validation, max_order, weight):
    """The same ladder from the definition, one base at a time, counts in dictionaries."""
    ladders = []
    for strands in (train, [*train, *(reverse_complement(stretch) for stretch in train)]):
        pairs, contexts = Counter(), Counter()
        for stretch in strands:
            text = stretch.tolist()
            for i in range(len(text)):
                for order in range(min(i, max_order) + 1):
                    pairs[tuple(text[i - order : i + 1])] += 1
                    contexts[tuple(text[i - order : i])] += 1
        bits, scored = [0.0] * (max_order + 1), 0
        for piece in validation:
            text = piece.tolist()
            for i in range(1, len(text)):
                p, scored = 0.25, scored + 1
                for order in range(max_order + 1):
                    if order <= i:
                        context = tuple(text[i - order : i])
                        p = (pairs[(*context, text[i])] + weight * p) / (contexts[context] + weight)
                    bits[order] -= log2(p)
        ladders.append([value / scored for value in bits])
    return ladders


@pytest.mark.parametrize("max_order", [0, 1, 5, 12])
@pytest.mark.parametrize("batch", [7, 100, 1 << 18])
def test_equals_the_definition_wherever_batches_end(monkeypatch, max_order, batch):
    monkeypatch.setattr(markov, "BATCH", batch)
    train = [skewed(length, seed) for seed, length in enumerate((1, 2, 5, 250, 13, 100, 101))]
    validation = [skewed(length, 9 + seed) for seed, length in enumerate((1, 2, 90, 14, 101))]
    found = ladder(iter(train), iter(validation), max_order=max_order, weight=3.5)
    one_strand, both_strands = reference(train, validation, max_order, weight=3.5)
    # float64 sums of some hundred terms in another order
    np.testing.assert_allclose(found.one_strand, one_strand, rtol=1e-12)
    np.testing.assert_allclose(found.both_strands, both_strands, rtol=1e-12)
    assert (found.train_bases, found.validation_bases) == (472, 203)


def test_bases_of_context_are_not_scored():
    train, piece = [skewed(300, 0)], skewed(60, 1)
    parts = ladder(train, [piece, piece, piece[:30]], context=np.array([1, 25, 29]), max_order=5).pieces
    each = [ladder(train, [piece[:end]], max_order=5).pieces[..., 0] for end in (60, 25, 30, 29)]
    expected = [each[0], each[0] - each[1], each[2] - each[3]]
    np.testing.assert_allclose(parts, np.stack(expected, axis=-1), rtol=1e-9)


def test_value_worked_out_by_hand():
    # AAC counted: A 2, C 1; AA 1, AC 1. Scored: the C of AC, with w = 1.
    # p_0(C) = (1 + 1/4) / (3 + 1) = 5/16; p_1(C | A) = (1 + 5/16) / (2 + 1) = 7/16.
    # With GTT: A 2, C 1, G 1, T 2: p_0(C) = (1 + 1/4) / (6 + 1) = 5/28; AA, AC, GT, TT:
    # p_1(C | A) = (1 + 5/28) / (2 + 1) = 11/28.
    found = ladder([encode("AAC")], [encode("AC")], max_order=1, weight=1.0)
    assert found.one_strand == pytest.approx([log2(16 / 5), log2(16 / 7)], rel=1e-14)
    assert found.both_strands == pytest.approx([log2(28 / 5), log2(28 / 11)], rel=1e-14)


def test_two_bits_where_nothing_is_known():
    nothing = ladder([], [encode("ACGTTGCA")], max_order=4)
    assert nothing.one_strand == nothing.both_strands == [2.0] * 5
    bases = np.random.default_rng(0).integers(0, 4, 200_000).astype(np.uint8)
    noise = ladder([bases[:150_000]], [bases[150_000:]], max_order=3)
    # the ladder cannot win on noise; what it loses is about cells / (2 ln 2 * 150,000 bases) = 0.001 bits
    assert all(2.0 - 1e-3 < bits < 2.002 for bits in noise.one_strand + noise.both_strands)


def test_both_strands_are_symmetric():
    train, validation = [skewed(3_000, 0), skewed(50, 1)], [skewed(1_000, 2)]
    turned = [reverse_complement(stretch) for stretch in train]
    forward, backward = ladder(train, validation, max_order=6), ladder(turned, validation, max_order=6)
    assert forward.both_strands == backward.both_strands
    assert max(abs(a - b) for a, b in zip(forward.one_strand, backward.one_strand, strict=True)) > 0.01


def test_no_context_crosses_the_end_of_a_stretch_or_piece():
    stretches = [encode("AAAC"), encode("GTTT")]
    apart = ladder(stretches, [encode("CG")], max_order=1)
    assert apart.one_strand[1] == apart.one_strand[0]  # nothing was seen to follow C
    joined = ladder([np.concatenate(stretches)], [encode("CG")], max_order=1)
    assert joined.one_strand[1] < joined.one_strand[0] == apart.one_strand[0]
    # of pieces laid end to end no base is scored from the piece before: AC and GT give p(C | A) and p(T | G)
    pair = ladder(stretches, [encode("AC"), encode("GT")], max_order=1)
    each = [ladder(stretches, [encode(piece)], max_order=1) for piece in ("AC", "GT")]
    assert pair.one_strand[1] == pytest.approx(sum(one.one_strand[1] for one in each) / 2, rel=1e-14)


def test_best_is_the_lowest_and_the_simplest_of_equals():
    found = Ladder(
        20.0, 9, 8, one_strand=[1.9, 1.7, 1.8], both_strands=[1.9, 1.7, 1.6], pieces=np.zeros((2, 3, 0))
    )
    assert found.best == (2, 2, 1.6)
    assert Ladder(20.0, 9, 8, [2.0, 2.0], [2.0, 2.0], np.zeros((2, 2, 0))).best == (0, 1, 2.0)
    assert found.as_dict()["best"] == {"order": 2, "strands": 2, "bits": 1.6}


@pytest.mark.parametrize(
    ("train", "validation", "settings", "message"),
    [
        ("ACGN", "ACGT", {}, "base codes must be 0 to 3"),
        ("ACGT", "ANGT", {}, "base codes must be 0 to 3"),
        ("ACGT", "A", {}, "a piece of 2 bases or more"),
        ("ACGT", "", {}, "a piece of 2 bases or more"),
        ("ACGT", "ACGT", {"max_order": 13}, "max_order must be 0 to 12, got 13"),
    ],
)
def test_refuses(train, validation, settings, message):
    with pytest.raises(ValueError, match=message):
        ladder([encode(train)], [encode(validation)], **{"max_order": 2, **settings})


@pytest.mark.slow
def test_yeast_against_known_figures():
    path = GENOMES / "yeast_R64-1-1.fa.gz"
    if not path.exists():
        pytest.skip(f"needs {path}; set DNALM_GENOMES to the folder that holds it")
    contigs = {}
    for record in gzip.decompress(path.read_bytes())[1:].split(b"\n>"):
        header, _, sequence = record.partition(b"\n")
        contigs[header.split()[0]] = BASE_CODES[np.frombuffer(sequence.replace(b"\n", b""), dtype=np.uint8)]
    held_out = [contigs.pop(b"XV"), contigs.pop(b"XVI")]
    found = ladder(contigs.values(), held_out)
    # figures from an independent implementation, given to four decimals
    assert (np.argmin(found.one_strand), round(min(found.one_strand), 4)) == (7, 1.9371)
    assert (found.best[:2], round(found.best[2], 4)) == ((8, 2), 1.9349)


class TestMarkovModel:
    @pytest.mark.parametrize("order", [0, 3, 5])
    @pytest.mark.parametrize("strands", [1, 2])
    def test_bits_add_up_to_those_of_the_ladder(self, monkeypatch, order, strands):
        monkeypatch.setattr(markov, "BATCH", 50)
        train, pieces = [skewed(400, 0), skewed(90, 1)], [skewed(130, 2), skewed(7, 3)]
        model = markov.MarkovModel(train, order, both_strands=strands == 2)
        sums = [bits[1:].sum() for bits in model.bits(pieces)]  # the ladder does not score the first base
        expected = ladder(train, pieces, max_order=5).pieces[strands - 1, order]
        np.testing.assert_allclose(sums, expected, rtol=1e-9)
        assert model.bases == 490

    def test_value_worked_out_by_hand(self):  # see above; the first A: p_0(A) = (2 + 1/4) / (3 + 1)
        (bits,) = markov.MarkovModel([encode("AAC")], 1, both_strands=False, weight=1.0).bits([encode("AC")])
        assert bits == pytest.approx([log2(16 / 9), log2(16 / 7)], rel=1e-14)

    def test_what_is_no_base_breaks_a_sequence_in_two(self):
        model = markov.MarkovModel([skewed(400, 0)], 4)
        texts = ("ACGTNNTTGCA", "ACGT", "TTGCA", "NN")
        broken, first, second, none = model.bits([encode(text) for text in texts])
        np.testing.assert_allclose(broken, [*first, np.nan, np.nan, *second])
        assert np.isnan(none).all()
        assert model.bits([]) == []
