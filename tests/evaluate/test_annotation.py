"""Tests for dnalm/evaluate/annotation.py."""

import math

import numpy as np
import pytest

from dnalm.data.annotation import CODING, FEATURES, INTERGENIC, INTRON, Painted
from dnalm.dna import BASES, encode, other_strand
from dnalm.evaluate.annotation import (
    AMINO_ACIDS,
    BLOCK,
    CLASSES,
    HAS_EACH,
    SUBSTITUTIONS,
    Codon,
    CodonSample,
    FeatureSums,
    substitution_aurocs,
)


def translate(codon):
    first, second, third = encode(codon).tolist()
    return AMINO_ACIDS[16 * first + 4 * second + third]


def test_the_genetic_code_and_its_substitutions_are_the_known_ones():
    for codon, amino in {"ATG": "M", "TGG": "W", "TAA": "*", "AGA": "R", "TTC": "F", "GGG": "G"}.items():
        assert translate(codon) == amino
    counts = [
        sum(len(SUBSTITUTIONS[codon][which]) for codon, amino in enumerate(AMINO_ACIDS) if amino != "*")
        for which in range(3)
    ]
    assert counts == [23, 392, 134]  # of the 549 of 61 sense codons
    assert sum(HAS_EACH) == 17  # 18 are one base from a stop, and TGG has no synonymous one


def painted_of(feature, frame=None, gene=None):
    feature = np.array(feature, dtype=np.uint8)
    frame = np.zeros(len(feature), np.uint8) if frame is None else np.array(frame, dtype=np.uint8)
    gene = np.zeros(len(feature), np.int64) if gene is None else np.array(gene)
    return Painted(feature, frame, gene)


class TestFeatureSums:
    def test_a_row_is_the_mean_over_the_bases_of_a_feature(self):
        painted = painted_of([CODING] * 4 + [INTRON, INTERGENIC], [1, 2, 3, 7, 0, 0])
        model = np.array([1, 2, 3, np.nan, 1.5, 2.0])
        markov = np.array([2, 2, 2, 2, 2, np.nan])
        sums = FeatureSums()
        sums.add("I", 0, painted, model, markov)
        rows = {row.name: row for row in sums.gains()}
        assert list(rows) == ["all bases", "coding", "intron", *[f"codon position {n}" for n in (1, 2, 3)]]
        assert (rows["coding"].bases, rows["coding"].model, rows["coding"].gain.value) == (3, 2, 0)
        assert (rows["all bases"].bases, rows["all bases"].model) == (4, 7.5 / 4)
        assert rows["codon position 1"].gain.value == 1
        assert math.isnan(rows["coding"].gain.low)  # one block decides nothing

    def test_pieces_add_up_and_blocks_are_places_of_the_genome(self):
        draws = np.random.default_rng(0)
        length = 12 * BLOCK
        painted = painted_of(draws.integers(0, len(FEATURES), length), draws.integers(0, 8, length))
        model, markov = draws.random((2, length)) + 1
        together, apart = FeatureSums(), FeatureSums()
        together.add("I", 0, painted, model, markov)
        for start, end in ((0, 70), (70, BLOCK + 1), (BLOCK + 1, 7 * BLOCK), (7 * BLOCK, length)):
            part = Painted(*(each[start:end] for each in painted))
            apart.add("I", start, part, model[start:end], markov[start:end])
        for one, other in zip(together.gains(), apart.gains(), strict=True):
            assert one[:3] == other[:3]
            np.testing.assert_allclose([*one[3:5], *one[5]], [*other[3:5], *other[5]], rtol=1e-9)
        row = together.gains()[0]
        assert (row.name, row.bases, row.blocks) == ("all bases", length, 12)
        assert row.gain.low < row.gain.value < row.gain.high
        assert row.gain.value == pytest.approx((markov - model).mean())


def gene_of(codons, strand):
    """Letters and frames of a gene of some codons."""
    text = "".join(codons)
    if strand == "+":
        return text, [1, 2, 3] * len(codons)
    return other_strand(text), [6, 5, 4] * len(codons)


class TestCodonSample:
    @pytest.mark.parametrize("strand", ["+", "-"])
    def test_each_codon_has_a_substitution_of_each_class(self, strand):
        codons = ["".join(np.random.default_rng(n).choice(list(BASES), 3)) for n in range(200)]
        text, frame = gene_of(codons, strand)
        sample = CodonSample(1000)
        sample.add("I", 50, painted_of([CODING] * len(text), frame, [7] * len(text)), encode(text))
        eligible = [c for c in codons if HAS_EACH[int(np.dot(encode(c).astype(int), [16, 4, 1]))]]
        assert len(sample.codons) == len(eligible) > 20
        for codon in sample.codons:
            at = codon.start - 50
            amino = translate(text[at : at + 3] if strand == "+" else other_strand(text[at : at + 3]))
            assert codon.gene == 7
            for kind, (offset, new) in zip(CLASSES, codon.changes, strict=True):
                changed = text[at : at + 3]
                changed = changed[:offset] + BASES[new] + changed[offset + 1 :]
                assert changed != text[at : at + 3]
                found = translate(changed if strand == "+" else other_strand(changed))
                known = "nonsense" if found == "*" else "synonymous" if found == amino else "missense"
                assert known == kind

    def test_the_sample_does_not_depend_on_the_order_and_skips_what_is_no_base(self):
        text, frame = gene_of(["AAA", "CAA", "GAA", "TTA"] * 50, "+")
        pieces = [(contig, start) for contig in ("I", "II") for start in (0, 600, 1200)]
        samples = [CodonSample(40), CodonSample(40)]
        for sample, order in zip(samples, (pieces, pieces[::-1]), strict=True):
            for contig, start in order:
                sample.add(contig, start, painted_of([CODING] * 600, frame), encode(text))
        assert samples[0].codons == samples[1].codons
        assert len({(c.contig, c.start) for c in samples[0].codons}) == 40
        empty = CodonSample(9)
        empty.add("I", 0, painted_of([CODING] * 3, [1, 2, 3]), encode("ANA"))
        empty.add("I", 0, painted_of([CODING] * 2, [1, 2]), encode("AA"))
        assert empty.codons == []


def test_aurocs_are_of_damage_and_paired_by_gene():
    codons = [Codon(0.1, "I", 3 * n, n // 4, ((0, 0),) * 3) for n in range(80)]
    draws = np.random.default_rng(1)
    model, markov = draws.normal(size=(2, 80, 3))
    model[:, 0] -= 20  # nonsense is always less likely
    model[5, 1] = np.nan
    nonsense, missense = substitution_aurocs(codons, {"model": model, "markov": markov})
    assert nonsense.name, missense.name == CLASSES[:2]
    assert (nonsense.codons, nonsense.genes, nonsense.model.value) == (79, 20, 1.0)
    assert nonsense.difference.value == pytest.approx(1.0 - nonsense.markov.value)
    assert nonsense.difference.low > 0.2
    assert missense.difference.low < 0 < missense.difference.high
    nothing = substitution_aurocs([], {"model": np.zeros((0, 3)), "markov": np.zeros((0, 3))})
    assert math.isnan(nothing[0].model.value)
