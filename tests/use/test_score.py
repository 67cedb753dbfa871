"""Tests for dnalm/use/score.py and dnalm/use/knowledge.py."""

import tracemalloc

import numpy as np
import pytest

import dnalm
from dnalm.data.annotation import Annotation
from dnalm.data.labels import rename_rule
from dnalm.dna import BASES, encode, other_strand
from dnalm.errors import InputError
from dnalm.evaluate.annotation import Codon
from dnalm.evaluate.baselines.markov import MarkovModel
from dnalm.formats import bed
from dnalm.formats.gff import Gff
from dnalm.formats.indexed import IndexedGenome
from dnalm.use import score
from dnalm.use.knowledge import Knowledge, codon_ratios
from dnalm.use.regions import Regions
from dnalm.use.score import ScoredPiece, Scoring, region_scores, without_overlaps
from tests.use.test_load import BLOCK, save_language

CONTEXT = 12  # bases beside a piece: half a block, and the longest context of a Markov model
SAME = {"rtol": 1e-4, "atol": 1e-5}  # float32 in batches of other sizes


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A model of random weights, a genome of two contigs with N and lower case, a Markov model of it."""
    folder = tmp_path_factory.mktemp("score")
    save_language(folder / "vocab4")
    draws = np.random.default_rng(4)
    one, two = ("".join(draws.choice(list(BASES), size)) for size in (400, 90))
    one = one[:100] + "NNNNN" + one[105:200].lower() + "R" + one[201:]
    (folder / "toy.fa").write_text(f">I\n{one}\n>II\n{two}\n")
    genome = IndexedGenome(folder / "toy.fa")
    markov = MarkovModel([encode(two)], 2)
    return dnalm.load(folder / "vocab4", device="cpu"), genome, markov, {"I": one, "II": two}


def write_bed(path, *rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def scoring_of(toy, bed=None, **how):
    model, genome, markov, _ = toy
    return Scoring(model, genome, Regions(genome, bed, rename_rule(None)), **{"markov": markov, **how})


def expected(toy, contig, start, end):
    """Bits of each base of a piece by both models, each the mean of what either strand predicts."""
    model, _, markov, texts = toy
    begin = max(0, start - CONTEXT)
    text = texts[contig][begin : end + CONTEXT]
    codes = encode(text).astype(int)
    found = []
    for log_p, turned in zip(model.both_strands([text])[0], (False, True), strict=True):
        bits = [-log_p[at, code] / np.log(2) if code < 4 else np.nan for at, code in enumerate(codes)]
        counted = markov.bits([encode(other_strand(text) if turned else text)])[0]
        counted = counted[::-1] if turned else counted
        found.append([bits, np.where(np.isnan(bits), np.nan, counted)])
    with np.errstate(all="ignore"):
        sums = np.nansum(found, axis=0) / np.isfinite(found).sum(axis=0)
    return sums[:, start - begin : end - begin]


def test_a_base_is_the_mean_of_what_both_sides_predict(toy, tmp_path):
    rows = [
        ("I", 90, 120, "a"),
        ("I", 0, 20, "b"),
        ("II", 70, 90, "c"),
        ("I", 101, 104, "N"),
        ("I", 198, 199, "d"),
    ]
    found = list(scoring_of(toy, write_bed(tmp_path / "r.bed", *rows)).pieces())
    assert [each.piece.region.name for each in found] == [row[3] for row in rows]
    for (contig, start, end, _), (piece, model, markov) in zip(rows, found, strict=True):
        assert (piece.region.contig, piece.start, piece.end) == (contig, start, end)
        by_model, by_markov = expected(toy, contig, start, end)
        np.testing.assert_allclose(model, by_model, **SAME)
        np.testing.assert_allclose(markov, by_markov, **SAME)
    assert np.isnan(found[0].model[10:15]).all()
    assert np.isfinite(found[1].model).all()  # the first base of a contig has what lies to its right


def test_regions_add_up_their_pieces(toy, tmp_path, monkeypatch):
    rows = [("I", 90, 120, "a"), ("I", 100, 105, "N"), ("I", 90, 120, "a again"), ("II", 0, 90, "c")]
    path = write_bed(tmp_path / "r.bed", *rows)
    together = list(region_scores(scoring_of(toy, path).pieces()))
    assert [(each.region.name, each.bases) for each in together] == [
        ("a", 25),
        ("N", 0),
        ("a again", 25),
        ("c", 90),
    ]
    assert np.isnan([together[1].model, together[1].markov]).all()
    np.testing.assert_allclose(together[0][2:], np.nanmean(expected(toy, "I", 90, 120), axis=1), **SAME)
    np.testing.assert_allclose(together[0][2:], together[2][2:], **SAME)
    monkeypatch.setattr(score, "BLOCK", 30)
    monkeypatch.setattr(score, "AT_ONCE", 50)
    apart = scoring_of(toy, path)
    pieces = [(each.start, each.end) for each, *_ in apart.pieces()]
    assert pieces == [(90, 120), (100, 105), (90, 120), (0, 30), (30, 60), (60, 90)]
    for one, other in zip(together, region_scores(apart.pieces()), strict=True):
        assert one[:2] == other[:2]
        if one.bases and one.region.contig == "I":
            np.testing.assert_allclose(one[2:], other[2:], **SAME)


def test_without_a_markov_model_there_is_none(toy):
    one, two = region_scores(scoring_of(toy, markov=None).pieces())
    assert np.isnan([one.markov, two.markov]).all()
    assert (one.region.name, one.bases, two.bases) == ("I", 394, 90)


@pytest.mark.parametrize("bases", [30, 100, 200])
def test_a_sample_is_spread_evenly_and_is_the_same_each_time(toy, monkeypatch, bases):
    monkeypatch.setattr(score, "BLOCK", 10)
    scoring = scoring_of(toy, bases=bases)
    pieces = [each.piece for each in scoring.pieces()]
    assert pieces == [each.piece for each in scoring.pieces()]
    assert scoring.total == bases
    assert abs(sum(p.end - p.start for p in pieces) - bases) <= 10
    assert abs(sum(p.region.contig == "II" for p in pieces) - bases / 10 * 90 / 490) <= 1
    assert len(list(scoring_of(toy, bases=9999).pieces())) == 49  # all


def test_only_what_was_held_out_is_scored(toy, tmp_path):
    scoring = scoring_of(toy, held_out={"I": 350, "II": 0})
    assert [(p.region.contig, p.start, p.end) for p, *_ in scoring.pieces()] == [
        ("I", 350, 400),
        ("II", 0, 90),
    ]
    path = write_bed(tmp_path / "r.bed", ("I", 0, 350), ("I", 340, 360), ("I", 360, 370))
    scoring = scoring_of(toy, path, held_out={"I": 350})
    assert [(p.start, p.end) for p, *_ in scoring.pieces()] == [(350, 360), (360, 370)]
    assert scoring.training == 1
    with pytest.raises(InputError, match="every region lies in the training part"):
        scoring_of(toy, path, held_out={"II": 0})
    with pytest.raises(InputError, match="`bases`"):
        scoring_of(toy, bases=-1)


def test_overlaps_are_left_out_once_and_need_order(toy, tmp_path):
    rows = [("I", 0, 50), ("I", 0, 50), ("I", 20, 30), ("I", 40, 60), ("II", 10, 20)]
    scoring = scoring_of(toy, write_bed(tmp_path / "r.bed", *rows))
    scoring.check_sorted("track")
    fresh = list(without_overlaps(scoring.pieces()))
    assert [(p.start, p.end, len(model)) for p, model, _ in fresh] == [
        (0, 50, 50),
        (50, 60, 10),
        (10, 20, 10),
    ]
    turned = scoring_of(toy, write_bed(tmp_path / "r.bed", *rows[::-1]))
    with pytest.raises(InputError, match="`track` needs `regions` in the order"):
        turned.check_sorted("track")


def test_memory_does_not_grow_with_the_regions(toy, tmp_path, monkeypatch):
    model, genome, _, _ = toy
    monkeypatch.setattr(score, "AT_ONCE", 400)
    monkeypatch.setattr(bed, "HEAD", 10)
    zeros = {}

    def both_strands(texts):
        return [zeros.setdefault(len(text), np.zeros((2, len(text), 4), np.float32)) for text in texts]

    monkeypatch.setattr(model, "both_strands", both_strands)

    def peak(regions):
        rows = [("I", n % 300, n % 300 + 40) for n in range(regions)]
        scoring = scoring_of(toy, write_bed(tmp_path / "r.bed", *rows), markov=None)
        tracemalloc.start()
        count = sum(1 for _ in region_scores(scoring.pieces()))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == regions
        return highest

    peak(300)
    assert peak(3000) < 1.3 * peak(300)


def test_ratios_are_of_the_likelihood_of_a_window_on_both_strands(toy, tmp_path):
    model, _, markov, texts = toy
    changes = ((0, 3), (1, 0), (2, 2))
    codons = [Codon(0.0, "II", start, 0, changes) for start in (0, 40, 87)]
    found = codon_ratios(model, markov, toy[1], codons)
    for row, start in enumerate((0, 40 - (BLOCK + 1) // 2, 90 - (BLOCK + 1))):
        reference = texts["II"][start : start + BLOCK + 1]

        def bits(text):
            strands = [model.score([each]).per_base[0] for each in (text, other_strand(text))]
            return np.nansum(strands) / 2

        def counted(text):
            strands = [markov.bits([encode(each)])[0][1:] for each in (text, other_strand(text))]
            return np.sum(strands) / 2

        for column, (offset, new) in enumerate(changes):
            at = codons[row].start + offset - start
            changed = reference[:at] + BASES[new] + reference[at + 1 :]
            for name, of in (("model", bits), ("markov", counted)):
                expected = of(reference) - of(changed)
                assert found[name][row, column] == pytest.approx(expected, rel=1e-3, abs=1e-4)  # float32


def test_knowledge_compares_a_model_that_knows_a_gene_with_one_that_does_not(toy, tmp_path):
    model, genome, markov, _ = toy
    (tmp_path / "g.gff3").write_text("II\tx\tCDS\t1\t90\t.\t+\t0\tParent=t\n")
    annotation = Annotation(Gff(tmp_path / "g.gff3"), genome.lengths, rename_rule(None))
    knowledge = Knowledge(scoring_of(toy), annotation, codons=5)
    for contig in ("I", "II"):
        size = genome.lengths[contig]
        piece = next(p for p in scoring_of(toy)._sampled() if p.region.contig == contig)
        bits = np.full(size, 1.5 if contig == "II" else 2.0, np.float32)
        knowledge.add(ScoredPiece(piece, bits, np.full(size, 2.0, np.float32)))
    features, substitutions = knowledge.results()
    rows = {row.name: (row.bases, row.gain.value) for row in features}
    assert rows["coding"] == (90, 0.5)
    assert rows["intergenic"] == (400, 0.0)
    assert rows["codon position 2"] == (30, 0.5)
    assert 0 < substitutions[0].codons <= 5
    with pytest.raises(InputError, match="compares with a Markov model"):
        Knowledge(scoring_of(toy, markov=None), annotation)


def test_a_model_scores_regions_by_itself(toy, tmp_path):
    model, genome, _, _ = toy
    path = write_bed(tmp_path / "r.bed", ("chrII", 10, 40, "x"))
    (one,) = model.score_regions(genome.path, path, rename="chr", markov=False)
    assert (one.region.contig, one.region.name, one.bases) == ("II", "x", 30)
    assert one.model == pytest.approx(np.nanmean(expected(toy, "II", 10, 40)[0]), rel=1e-4)
    assert np.isfinite(next(model.score_regions(str(genome.path))).markov)
