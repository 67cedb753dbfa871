"""Tests for dnalm/data/annotation.py."""

from collections import Counter

import numpy as np
import pytest

from dnalm.data.annotation import CONFLICT, FEATURES, Annotation
from dnalm.data.labels import rename_rule
from dnalm.dna import encode
from dnalm.errors import InputError
from dnalm.evaluate.annotation import AMINO_ACIDS
from dnalm.formats.gff import Gff
from dnalm.formats.indexed import IndexedGenome

LENGTHS = {"I": 300, "II": 100}


def write_gff(path, *rows):
    """Write rows of kind, start and end (from 1), strand, phase, column 9; a contig before them if not I."""
    rows = [row if len(row) == 7 else ("I", *row) for row in rows]
    lines = [f"{c}\tx\t{kind}\t{a}\t{b}\t.\t{s}\t{p}\t{about}\n" for c, kind, a, b, s, p, about in rows]
    path.write_text("".join(lines))
    return Gff(path)


@pytest.fixture
def annotate(tmp_path):
    """A function that makes an annotation of rows."""

    def make(*rows, rename=None, **how):
        gff = write_gff(tmp_path / "genes.gff3", *rows)
        return Annotation(gff, LENGTHS, rename_rule(rename), **how)

    return make


def names(painted):
    """What each base is in, as runs of name and length."""
    edges = np.flatnonzero(np.diff(painted.feature, prepend=255, append=255))
    runs = zip(edges[:-1], np.diff(edges), strict=True)
    return [(FEATURES[painted.feature[at]], int(length)) for at, length in runs]


def test_a_cds_in_pieces_on_the_minus_strand_counts_codons_across_them(annotate):
    # 10 bases are read first, from 60 down to 51; 8 more from 38 down to 31.
    rows = [("CDS", 31, 38, "-", 2, "Parent=t"), ("CDS", 51, 60, "-", 0, "Parent=t")]
    for order in (rows, rows[::-1]):
        painted = annotate(*order, ("intron", 39, 50, "-", ".", "Parent=t")).paint("I", 0, 300)
        read = [*range(59, 49, -1), *range(37, 29, -1)]
        assert painted.frame[read].tolist() == [4, 5, 6] * 6
        assert np.count_nonzero(painted.frame) == 18
        assert names(painted)[1:4] == [("coding", 8), ("intron", 12), ("coding", 10)]


@pytest.mark.parametrize(("phase", "expected"), [(0, [1, 2, 3]), (1, [3, 1, 2]), (2, [2, 3, 1])])
def test_the_phase_of_the_first_piece_is_where_the_first_codon_begins(annotate, phase, expected):
    painted = annotate(("CDS", 11, 19 + phase, "+", phase, "Parent=t")).paint("I", 10, 19)
    assert painted.frame.tolist() == expected * 3


@pytest.mark.parametrize(
    ("rows", "fits"),
    [
        ([(11, 19, "+", 0), (31, 33, "+", 0)], True),
        ([(11, 19, "+", "."), (31, 33, "+", ".")], True),  # no phases: they follow from the lengths
        ([(11, 20, "+", 0), (31, 35, "+", 2)], True),
        ([(11, 20, "+", 0), (31, 35, "+", 0)], False),  # the second begins inside a codon
        ([(11, 20, "+", 0)], False),  # the last codon is not complete
        ([(11, 19, "+", 0), (31, 33, "-", 0)], False),  # both strands
        ([(11, 19, ".", 0)], False),
    ],
)
def test_phases_that_do_not_fit_cost_the_codon_positions_and_are_counted(annotate, rows, fits):
    annotation = annotate(*[("CDS", a, b, strand, phase, "Parent=t") for a, b, strand, phase in rows])
    painted = annotation.paint("I", 0, 300)
    assert np.count_nonzero(painted.feature) == sum(b - a + 1 for a, b, *_ in rows)
    assert painted.frame.any() == fits
    assert (annotation.summary() == []) == fits
    if not fits:
        assert annotation.summary()[0].startswith("1 transcript: without codon positions")


def test_codons_of_mitochondria_and_other_codes_are_not_known(annotate):
    annotation = annotate(("CDS", 1, 9, "+", 0, "Parent=t;transl_table=3"))
    assert not annotation.paint("I", 0, 9).frame.any()
    gff = annotation.gff
    mito = Annotation(
        write_gff(gff.path, ("Mito", "CDS", 1, 9, "+", 0, "Parent=t")), {"Mito": 9}, rename_rule(None)
    )
    assert not mito.paint("Mito", 0, 9).frame.any()
    assert "another genetic code" in mito.summary()[0]


def test_where_features_overlap_the_more_special_one_counts(annotate):
    annotation = annotate(
        ("gene", 1, 90, "+", ".", "ID=g"),
        ("mRNA", 1, 90, "+", ".", "ID=t;Parent=g"),
        ("exon", 1, 30, "+", ".", "Parent=t"),
        ("exon", 41, 60, "+", ".", "Parent=t"),
        ("exon", 63, 90, "+", ".", "Parent=t"),  # 2 bases from the other: a frameshift, no intron
        ("CDS", 22, 30, "+", 0, "Parent=t"),
        ("CDS", 41, 49, "+", 0, "Parent=t"),
        ("LTR_retrotransposon", 47, 55, "+", ".", "ID=x"),
        ("tRNA_gene", 101, 110, "+", ".", "ID=y"),
        ("gene", 121, 130, "+", ".", "ID=z;biotype=tRNA"),
        ("snoRNA_gene", 141, 150, "+", ".", "ID=v"),
        ("chromosome", 1, 300, ".", ".", "ID=I"),
    )
    first = [("UTR", 21), ("coding", 9), ("intron", 10), ("coding", 6), ("mobile element", 9), ("UTR", 5)]
    gap, trna = ("intergenic", 10), ("tRNA", 10)
    then = [("other gene", 2), ("UTR", 28), gap, trna, gap, trna, gap, ("other gene", 10)]
    painted = annotation.paint("I", 0, 150)
    assert names(painted) == [*first, *then]
    assert annotation.genes == ["g"]
    assert painted.frame[40:55].tolist() == [1, 2, 3, 1, 2, 3] + [0] * 9  # a mobile element's are not used
    assert annotation.used + sum(annotation.gff.left_out.values()) == annotation.gff.read == 12


def test_transcripts_that_disagree_on_the_frame_leave_none(annotate):
    rows = [("CDS", 1, 9, "+", 0, "Parent=a"), ("CDS", 1, 18, "+", 0, "Parent=b")]
    painted = annotate(*rows, ("CDS", 5, 10, "+", 0, "Parent=c")).paint("I", 0, 18)
    assert painted.frame.tolist() == [1, 2, 3, 1, *[CONFLICT] * 6, 2, 3, 1, 2, 3, 1, 2, 3]


def test_gtf_has_the_stop_codon_outside_the_cds(annotate):
    about = 'gene_id "g"; transcript_id "t";'
    rows = [
        ("CDS", 1, 9, "+", 0, about),
        ("stop_codon", 10, 12, "+", 0, about),
        ("exon", 1, 20, "+", ".", about),
    ]
    annotation = annotate(*rows)
    assert names(annotation.paint("I", 0, 20)) == [("coding", 12), ("UTR", 8)]
    assert annotation.genes == ["g"]


def test_lines_that_cannot_be_used_are_counted_by_reason(annotate):
    rows = [
        ("CDS", 1, 9, "+", 0, "Parent=a"),
        ("CDS", 11, 19, "+", 0, "Parent=b;orf_classification=Dubious"),
        ("CDS", 290, 301, "+", 0, "Parent=c"),
        ("chrIV", "CDS", 1, 9, "+", 0, "Parent=d"),
        ("tRNA", 9, 8, "+", ".", "ID=e"),
        ("exon", 30, 40, "+", ".", "Parent=noncoding"),
    ]
    annotation = annotate(*rows)
    assert annotation.used == 1
    assert sorted(annotation.gff.left_out.values()) == [1] * 5
    assert len(annotation.summary()) == 5
    assert names(annotation.paint("I", 0, 300)) == [("coding", 9), ("intergenic", 291)]
    kept = annotate(*rows, keep_dubious=True)
    assert (kept.used, kept.paint("I", 10, 13).frame.tolist()) == (2, [1, 2, 3])


def test_contigs_are_renamed_and_no_common_one_is_a_mistake(annotate, tmp_path):
    row = ("chrII", "CDS", 1, 9, "+", 0, "Parent=a")
    assert annotate(row, rename="chr").paint("II", 0, 9).frame.tolist() == [1, 2, 3] * 3
    (tmp_path / "names.tsv").write_text("chrII I\n")
    assert annotate(row, rename=str(tmp_path / "names.tsv")).paint("I", 0, 9).frame.any()
    with pytest.raises(InputError, match="chrII.*`rename` to chr"):
        annotate(row)
    with pytest.raises(InputError, match="no feature"):
        annotate()


def test_pieces_of_a_contig_are_painted_as_the_contig(annotate):
    draws = np.random.default_rng(3)
    rows = []
    for number in range(60):
        start, size = int(draws.integers(1, 250)), 3 * int(draws.integers(1, 16))
        strand, kind = "+-"[number % 2], ("CDS", "intron", "gene", "tRNA")[int(draws.integers(0, 4))]
        rows.append((kind, start, start + size - 1, strand, 0, f"Parent=t{number}"))
    annotation = annotate(*rows)
    full = annotation.paint("I", 0, 300)
    for start, end in ((0, 1), (7, 64), (64, 299), (250, 300), (5, 5)):
        piece = annotation.paint("I", start, end)
        for part, of in zip(piece, full, strict=True):
            np.testing.assert_array_equal(part, of[start:end])
    assert not annotation.paint("II", 0, 100).feature.any()


def test_yeast_genes_have_stops_at_their_ends_alone(shared_data):
    with IndexedGenome(shared_data / "genomes" / "yeast_R64-1-1.fa.gz") as genome:
        gff = Gff(shared_data / "yeast" / "sgd_R64.gff3.gz")
        annotation = Annotation(gff, genome.lengths, rename_rule("chr"))
        painted = annotation.paint("XVI", 0, genome.lengths["XVI"])
        codes = encode(genome.letters("XVI", 0, genome.lengths["XVI"]))
    starts = np.flatnonzero((painted.frame[:-2] == 1) & (painted.frame[2:] == 3))
    codons = codes[starts] * 16 + codes[starts + 1] * 4 + codes[starts + 2]
    stops = Counter(
        painted.gene[start] for start, codon in zip(starts, codons, strict=True) if AMINO_ACIDS[codon] == "*"
    )
    genes = set(painted.gene[starts].tolist())
    assert set(stops.values()) == {1}
    assert len(genes - stops.keys()) <= 3  # cut by an overlapping gene, or by an intron
    assert annotation.used + sum(gff.left_out.values()) == gff.read
