"""Tests for `dnalm label --track`."""

import numpy as np
import pytest

from dnalm.formats.binding import parse_name, read_binding, read_scores
from dnalm.record import read_record
from tests.commands.labelling import binding, refuse, run, write_genome


def bigwig(path, rows, lengths):
    pybigtools = pytest.importorskip("pybigtools")
    pybigtools.open(str(path), "w").write(lengths, iter(rows))
    return path


@pytest.fixture
def genome(tmp_path):
    return write_genome(tmp_path)


def test_tracks_come_back_exactly(genome, tmp_path, capsys):
    lengths = {"1": 54, "2": 20, "chrX": 9}
    rows = [("1", 0, 3, 0.1), ("1", 9, 11, -2.5), ("2", 0, 1, 0.0), ("chrX", 1, 2, 1.0)]
    one = bigwig(tmp_path / "one.bw", rows, lengths)
    two = bigwig(tmp_path / "two.bw", [("1", 0, 1, 0.0), ("2", 19, 20, 7.0)], {"1": 54, "2": 20})
    flags = [genome, "--window", 10, "--rename", "chr"]
    _, err = run(capsys, *flags, "--track", one, two, "--out", tmp_path / "o")
    names, first = read_scores(tmp_path / "o/scores_one.txt.gz")
    assert names == ["chr1_0_9", "chr1_10_19", "chr2_10_19"]  # those with signal in either
    wanted = np.zeros((3, 10), dtype=np.float32)
    wanted[0, :3], wanted[0, 9], wanted[1, 0] = 0.1, -2.5, -2.5
    np.testing.assert_array_equal(first, wanted)
    found = read_binding(tmp_path / "o/sequences.txt.gz", tmp_path / "o/scores_two.txt.gz")
    np.testing.assert_array_equal(found.scores[2], [0] * 9 + [7])
    assert not found.scores[:2].any()
    assert "1 contig is not in the genome: chrX" in err
    # A set of one track in the same place leaves no table of the other behind.
    run(capsys, *flags, "--track", two, "--out", tmp_path / "o", "--overwrite")
    assert {path.name for path in (tmp_path / "o").glob("*.gz")} == {"scores.txt.gz", "sequences.txt.gz"}
    (tmp_path / "deep").mkdir()
    other = bigwig(tmp_path / "deep/one.bw", [("1", 0, 3, 0.1)], {"1": 54})
    message = refuse(capsys, *flags, "--track", one, other, "--out", tmp_path / "p")
    assert "two files are called one" in message


def test_windows_of_a_contig_that_a_track_lacks_are_no_zeros(genome, tmp_path, capsys):
    one = bigwig(tmp_path / "one.bw", [("chr1", 0, 3, 0.5)], {"chr1": 54})
    both = bigwig(tmp_path / "both.bw", [("chr1", 0, 1, 1.0), ("chr2", 0, 1, 1.0)], {"chr1": 54, "chr2": 20})
    flags = [genome, "--window", 10, "--all"]
    out, err = run(capsys, *flags, "--track", one, "--out", tmp_path / "o")
    assert binding(tmp_path / "o").names == [f"chr1_{i}_{i + 9}" for i in (0, 10, 20, 40)]  # 30 has an N
    assert "2 windows on a contig that a track does not have" in out
    message = "one.bw: nothing for 1 contig of the genome, whose windows are left out: chr2"
    assert message in err
    metrics = read_record(tmp_path / "o/run.json")["metrics"]
    assert message in metrics["not_in_labels"]["one.bw"]
    assert metrics["left_out"]["on a contig that a track does not have"] == 2
    # Nor are they where another track has it: the scores of the first would be zeros that nobody measured.
    _, err = run(capsys, *flags, "--track", both, one, "--out", tmp_path / "p")
    assert read_scores(tmp_path / "p/scores_both.txt.gz")[0] == binding(tmp_path / "o").names
    assert message in err
    assert "both.bw" not in err
    run(capsys, *flags, "--track", both, "--out", tmp_path / "q")
    assert binding(tmp_path / "q").names[-2:] == ["chr2_0_9", "chr2_10_19"]
    two = bigwig(tmp_path / "two.bw", [("chr2", 0, 1, 1.0)], {"chr2": 20})
    message = refuse(capsys, *flags, "--track", one, two, "--out", tmp_path / "r")
    assert "7 windows on a contig that a track does not have; every track must" in message


def test_a_track_of_another_length_is_refused_or_reported(tmp_path, capsys):
    genome = tmp_path / "g.fa"
    genome.write_text(f">chr1\n{'ACGTC' * 6}\n>chr2\n{'ACGTC' * 4}\n")
    rows = [("chr1", 2, 3, 1.0), ("chr2", 0, 1, 2.0)]
    same = bigwig(tmp_path / "same.bw", rows, {"chr1": 30, "chr2": 20})
    _, err = run(capsys, genome, "--track", same, "--window", 10, "--out", tmp_path / "same")
    assert err == ""
    assert read_record(tmp_path / "same/run.json")["metrics"]["other_lengths"] == {}
    # shorter by less than a window: no window reaches beyond it, and yet it is another chr2
    short = bigwig(tmp_path / "short.bw", rows, {"chr1": 30, "chr2": 19})
    message = refuse(capsys, genome, "--track", short, "--window", 15, "--out", tmp_path / "short")
    assert "short.bw: chr2 has 19 bases in the track and 20 in the genome" in message
    assert {path.name for path in (tmp_path / "short").glob("*")} <= {".lock"}
    # longer: a piece of chr1, or another assembly
    long = bigwig(tmp_path / "long.bw", rows, {"chr1": 1031, "chr2": 20})
    _, err = run(capsys, genome, "--track", long, "--window", 10, "--out", tmp_path / "long")
    note = read_record(tmp_path / "long/run.json")["metrics"]["other_lengths"]["long.bw"]
    assert "chr1 (1,031 bases there, 30 in the genome)" in note
    assert note in err
    assert binding(tmp_path / "long").names == binding(tmp_path / "same").names
    # a contig without windows is not reported
    (tmp_path / "w.bed").write_text("chr2\t0\t10\n")
    flags = ["--track", long, "--windows", tmp_path / "w.bed"]
    assert run(capsys, genome, *flags, "--out", tmp_path / "listed")[1] == ""


def test_real_track_on_the_published_windows(shared_data, tmp_path, capsys):
    """The names agree, the assemblies do not (hg19 and hg38): the files are read, and the user is told."""
    pytest.importorskip("pybigtools")
    names, _ = read_scores(shared_data / "binding/chr22_scores.txt.gz")
    rows = ("{}\t{}\t{}\n".format(*parse_name(name)) for name in names)
    (tmp_path / "w.bed").write_text("".join(rows))
    track = shared_data / "tracks/hg38_chr22_K562_accessibility.bw"
    flags = ["--track", track, "--windows", tmp_path / "w.bed", "--rename", "chr", "--out", tmp_path / "o"]
    _, err = run(capsys, shared_data / "genomes/hg19_chr22_1-22000000.fa.gz", *flags)
    assert ": 22 (50,818,468 bases there, 22,000,000 in the genome)" in err
    found = binding(tmp_path / "o")
    assert len(found.names) > 2_000
    assert (found.scores >= 0).all()
