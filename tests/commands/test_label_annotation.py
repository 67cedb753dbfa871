"""Tests for `dnalm label` by an annotation, and for transformed tracks."""

import gzip

import numpy as np
import pytest

from dnalm.cli import main
from dnalm.formats.binding import read_binding
from dnalm.record import read_record

ROWS = [
    ("c1", "CDS", 9, 12, "+"),  # bases 8 to 11 from 0: across the edge of two windows of 10
    ("c1", "CDS", 11, 13, "+"),  # overlaps
    ("c1", "CDS", 21, 21, "-"),
    ("c1", "CDS", 25, 25, "."),
    ("c1", "gene", 1, 30, "+"),
    ("c2", "tRNA", 1, 5, "+"),  # c2 has no CDS
    ("zz", "CDS", 1, 5, "+"),  # not in the genome
    ("c1", "CDS", 29, 33, "+"),  # beyond the end
]


def row(contig, kind, start, end, strand):
    return f"{contig}\tx\t{kind}\t{start}\t{end}\t.\t{strand}\t0\tID=a\n"


@pytest.fixture
def files(tmp_path):
    """A genome of three contigs, and its annotation, which lacks the third."""
    (tmp_path / "g.fa").write_text("".join(f">c{i}\n{'ACGTC' * 6}\n" for i in (1, 2, 3)))
    text = "##gff-version 3\n" + "".join(row(*each) for each in ROWS) + "no feature\n"
    (tmp_path / "genes.gff3.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path / "g.fa", tmp_path / "genes.gff3.gz"


def label(capsys, genome, *flags, code=0):
    """Run the verb: (stdout, stderr)."""
    out = ["--out", genome.parent / "o", "--window", 10, "--overwrite"]
    assert main(["label", *map(str, [genome, *flags, *out])]) == code
    return capsys.readouterr()


def bases(genome):
    """Bases with score 1 of each contig, and the windows."""
    found = read_binding(genome.parent / "o/sequences.txt.gz", genome.parent / "o/scores.txt.gz")
    assert set(np.unique(found.scores)) <= {0, 1}
    ones = {"c1": set(), "c2": set()}
    for name, scores in zip(found.names, found.scores, strict=True):
        contig, start, _ = name.split("_")
        ones[contig] |= {int(start) + int(at) for at in np.flatnonzero(scores)}
    return ones, found.names


PLUS = {8, 9, 10, 11, 12, 28, 29}


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (["--strand", "+"], PLUS),
        (["--strand", "-"], {20}),
        ([], PLUS | {20, 24}),
        (["--feature", "gene"], set(range(30))),
    ],
)
def test_a_base_is_1_inside_a_feature_of_the_type_on_the_strand(files, flags, wanted, capsys):
    genome, genes = files
    label(capsys, genome, "--annotation", genes, "--all", *flags)
    ones, names = bases(genome)
    assert ones == {"c1": wanted, "c2": set()}
    # A contig with other features is labelled 0; of the one that the file lacks nothing is known.
    assert names == [f"c{i}_{at}_{at + 9}" for i in (1, 2) for at in (0, 10, 20)]


def test_what_is_not_used_is_reported(files, capsys):
    genome, genes = files
    out, err = label(capsys, genome, "--annotation", genes, "--strand", "+")
    assert bases(genome)[1] == ["c1_0_9", "c1_10_19", "c1_20_29"]
    assert "3 CDS features on strand + in 90 bases of 3 contigs" in out
    assert "left out: 3 windows without a feature, 3 windows on a contig that a file of" in out
    for note in (
        "1 contig is not in the genome: zz (1 feature)",
        "nothing for 1 contig of the genome, whose windows are left out: c3",
        "1 feature reaches beyond the end of the contig (0 completely)",
        "1 feature without a strand left aside",
        "1 line left aside: not eight columns",
    ):
        assert note in err
    record = read_record(genome.parent / "o/run.json")
    assert [record["recipe"][name] for name in ("feature", "strand", "transform")] == ["CDS", "+", "none"]
    assert [each["name"] for each in record["data"]["labels"]] == ["genes.gff3.gz"]


def test_contigs_are_renamed_and_windows_are_those_of_a_file(files, capsys):
    genome, genes = files
    genes.write_text(row("chrI", "CDS", 3, 4, "-") + row("chrmt", "CDS", 1, 1, "+"))
    _, err = label(capsys, genome, "--annotation", genes, code=2)
    assert "none of its contigs (2) is in the genome: they are chrI, chrmt in this file" in err
    assert not (genome.parent / "o/scores.txt.gz").exists()
    (genome.parent / "names").write_text("chrI c1\nchrmt c2\n")
    (genome.parent / "w.bed").write_text("c2\t0\t3\nchrI\t1\t4\n")
    windows = ["--windows", genome.parent / "w.bed", "--rename", genome.parent / "names"]
    label(capsys, genome, "--annotation", genes, *windows)
    assert bases(genome) == ({"c1": {2, 3}, "c2": set()}, ["c1_1_3"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--feature", "cds"], "no --feature of type 'cds', it has CDS (6), gene (1), tRNA (1)"),
        (["--feature", "tRNA", "--strand", "-"], "expected tRNA on --strand -, got 1 on + (. is none)"),
        (["--strand", "*"], "--strand"),
        (["--transform", "log1p"], "--transform needs --track"),
        (["--peaks", "p.bed"], "got --peaks and --annotation"),
    ],
)
def test_an_annotation_without_such_features_is_refused(files, flags, message, capsys):
    genome, genes = files
    _, err = label(capsys, genome, "--annotation", genes, *flags, code=2)
    assert message in " ".join(err.split())
    assert {path.name for path in genome.parent.glob("o/*")} <= {".lock"}


def test_feature_and_strand_need_an_annotation(files, capsys):
    genome, genes = files
    _, err = label(capsys, genome, "--peaks", genes, "--feature", "gene", "--strand", "-", code=2)
    assert "--feature needs --annotation, which is not given; --strand needs --annotation" in err


def test_counts_are_transformed_and_negative_values_refused(files, capsys):
    genome, _ = files
    track = genome.parent / "t.bedgraph"
    track.write_text("c1\t0\t5\t0\nc1\t5\t7\t3\nc1\t29\t30\t-2\n")
    (genome.parent / "w.bed").write_text("c1\t0\t10\n")
    flags = ["--track", track, "--transform", "log1p"]
    label(capsys, genome, *flags, "--windows", genome.parent / "w.bed")
    found = read_binding(genome.parent / "o/sequences.txt.gz", genome.parent / "o/scores.txt.gz")
    np.testing.assert_allclose(found.scores, [[0] * 5 + [np.log(4)] * 2 + [0] * 3], rtol=1e-6)  # float32
    before = (genome.parent / "o/scores.txt.gz").read_bytes()
    _, err = label(capsys, genome, *flags, code=2)
    assert "c1, base 30: expected counts of 0 or more for --transform log1p, got -2" in err
    assert (genome.parent / "o/scores.txt.gz").read_bytes() == before


def test_coding_bases_of_yeast(shared_data, tmp_path):
    """The first CDS of XV on + are bases 585 to 740, 4,130 to 4,312 and 6,175 to 8,115, counted from 1."""
    starts = (300, 600, 3900, 4200, 6000, 7800, 8100)
    (tmp_path / "w.bed").write_text("".join(f"XV\t{at}\t{at + 300}\n" for at in starts))
    genome = [shared_data / "genomes/yeast_R64-1-1.fa.gz", "--windows", tmp_path / "w.bed"]
    genes = ["--annotation", shared_data / "yeast/sgd_R64.gff3.gz", "--strand", "+", "--rename", "chr"]
    assert main(["label", *map(str, [*genome, *genes, "--out", tmp_path / "o"])]) == 0
    found = read_binding(tmp_path / "o/sequences.txt.gz", tmp_path / "o/scores.txt.gz")
    ones = [(int(np.argmax(row)), int(row.sum())) for row in found.scores]  # the first, and how many
    assert ones == [(284, 16), (0, 140), (229, 71), (0, 112), (174, 126), (0, 300), (0, 15)]
