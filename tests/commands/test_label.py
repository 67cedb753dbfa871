"""Tests for `dnalm label`."""

import gzip
import re

import numpy as np
import pytest

from dnalm.cli import main
from dnalm.data import labels
from dnalm.files import write_json
from dnalm.formats.binding import parse_name, read_binding, read_scores
from dnalm.formats.motif import choose_motif
from dnalm.genome.motif_scan import log_odds
from dnalm.record import read_record

THRESHOLD = 7.0
HOMER = ">AAACC\tx\t5\n" + "0.97\t0.01\t0.01\t0.01\n" * 3 + "0.01\t0.97\t0.01\t0.01\n" * 2
"""AAACC, and GGTTT on the other strand."""


@pytest.fixture
def motif(tmp_path):
    path = tmp_path / "x.motif"
    path.write_text(HOMER)
    return path


def run(capsys, *arguments, code=0):
    """Run the verb, which must end with a code: (stdout, stderr)."""
    ended = main(["label", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert ended == code, err
    return out, err


def refuse(capsys, *arguments):
    """Run the verb, which must refuse: its message."""
    return run(capsys, *arguments, code=2)[1]


def binding(out):
    """The windows and scores that a run has written."""
    return read_binding(out / "sequences.txt.gz", out / "scores.txt.gz")


@pytest.fixture
def genome(tmp_path):
    """In tiles of 10: chr1 holds a site, one across two tiles, an N, and a rest of 4; chr2 holds none."""
    path = tmp_path / "my genome.fa"
    chr1 = "".join(["ttaaacctgt", "CTCTCTCTAA", "ACCTCTCTCT", "CTCTNCTCTC", "CTCTCTCTCT", "GGTT"])
    path.write_text(f">chr1 words\n{chr1[:17]}\n{chr1[17:]}\n>empty\n>chr2\n{'CT' * 10}\n")
    return path


def test_by_hand(genome, motif, tmp_path, capsys, monkeypatch):
    out, _ = run(capsys, genome, "--motif", motif, "--window", 10, "--out", tmp_path / "o")
    found = binding(tmp_path / "o")
    score = np.float32(log_odds(choose_motif(motif)).max(axis=1).sum())
    assert found.names == ["chr1_0_9", "chr1_10_19", "chr1_20_29"]
    assert found.letters[0].tobytes() == b"TTAAACCTGT"
    sites = [[0, 0, 1, 1, 1, 1, 1, 0, 0, 0], [0] * 8 + [1, 1], [1, 1, 1] + [0] * 7]
    np.testing.assert_array_equal(found.scores / score, sites)
    for part in ("3 windows of 10 bases (30 bases), 33.33%", "2 sites of x", "1 window with N"):
        assert part in out
    record = read_record(tmp_path / "o/run.json")
    assert (record["verb"], record["status"]) == ("label", "done")
    assert (record["recipe"]["threshold"], record["recipe"]["window"]) == (5.0, 10)
    assert record["metrics"]["sites"] == {"scores.txt.gz": 2}
    assert record["data"]["genome"]["bytes"] == genome.stat().st_size
    files = ["scores.txt.gz", "sequences.txt.gz"]
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [".lock", "run.json", *files]
    before = [(tmp_path / "o" / name).read_bytes() for name in files]
    monkeypatch.setattr(labels, "TOGETHER", 1)  # however many windows are labelled at a time
    packed = tmp_path / "g.fa.gz"
    packed.write_bytes(gzip.compress(genome.read_bytes()))
    flags = ["--motif", motif, "--window", 10, "--out", tmp_path / "o", "--overwrite"]
    assert run(capsys, packed, *flags, "--quiet") == ("", "")
    assert before == [(tmp_path / "o" / name).read_bytes() for name in files]


def test_thresholds_and_every_site(genome, motif, tmp_path, capsys):
    flags = [genome, "--motif", motif, "--window", 10, "--dry-run"]
    assert "nothing was written" in run(capsys, *flags)[0]
    assert not (tmp_path / "data").exists()
    for more, message in (
        *((["--threshold", value], f"at most 6.779176.* got {value}") for value in (6.8, -1, "nan")),
        (["--pvalue", 1e-9], "got 1e-09"),
        (["--pvalue", 0.01, "--threshold", 5], "choose one"),
    ):
        assert re.search(message, refuse(capsys, *flags, *more))
    motif.write_text(">AAAA\tx\t4\n" + "0.97\t0.01\t0.01\t0.01\n" * 4)
    genome.write_text(">c\nCAAAAAAC\n")
    for more, sites in (([], [0] * 3 + [1] * 4 + [0]), (["--every-site"], [0] + [1] * 6 + [0])):
        run(capsys, genome, "--motif", motif, "--window", 8, "--out", tmp_path / "q", "--overwrite", *more)
        assert (binding(tmp_path / "q").scores > 0).tolist() == [list(map(bool, sites))]


def test_peaks_and_windows_of_a_file(genome, tmp_path, capsys):
    (tmp_path / "p.narrowPeak").write_text(
        "track name=x\nchr1\t8\t12\ta\t9\t.\t1\t-1\t-1\t2\nchr1\t11\t13\nchr1\t50\t99\nchr7\t1\t2\n"
    )
    flags = [genome, "--peaks", tmp_path / "p.narrowPeak", "--window", 10]
    out, err = run(capsys, *flags, "--out", tmp_path / "o")
    found = binding(tmp_path / "o")
    assert found.names == ["chr1_0_9", "chr1_10_19"]
    np.testing.assert_array_equal(found.scores, [[0] * 8 + [1, 1], [1, 1, 1] + [0] * 7])
    assert "3 peaks" in out
    for note in ("not in the genome: chr7", "1 peak reaches beyond the end", "every label is 0: chr2"):
        assert note in err
    notes = read_record(tmp_path / "o/run.json")["metrics"]["not_in_labels"]
    assert notes["p.narrowPeak"].endswith("every label is 0: chr2")  # of the empty contig there is no window
    run(capsys, *flags, "--out", tmp_path / "all", "--all")
    assert len(binding(tmp_path / "all").names) == 6  # of seven tiles, one holds an N
    (tmp_path / "w.bed").write_text("1\t33\t37\n1\t3\t7\n1\t51\t55\n9\t1\t5\n")
    (tmp_path / "names").write_text("# here there\n1\tchr1\n9 chr9\n")
    (tmp_path / "p.bed").write_text("1\t0\t4\n")
    flags = [genome, "--peaks", tmp_path / "p.bed", "--windows", tmp_path / "w.bed", "--all"]
    out, err = run(capsys, *flags, "--rename", tmp_path / "names", "--out", tmp_path / "w")
    found = binding(tmp_path / "w")
    assert found.names == ["chr1_3_6", "chr1_33_36"]
    assert [row.tobytes() for row in found.letters] == [b"AACC", b"TNCT"]  # N stays: the windows were named
    np.testing.assert_array_equal(found.scores, [[1, 0, 0, 0], [0, 0, 0, 0]])
    assert "1 window beyond the end of the contig" in out
    assert "w.bed: 1 contig is not in the genome: 9" in err
    flags = [genome, "--peaks", tmp_path / "p.bed", "--window", 10, "--out", tmp_path / "chr"]
    assert "set --rename to chr" in refuse(capsys, *flags)
    run(capsys, *flags, "--rename", "chr")
    assert binding(tmp_path / "chr").names == ["chr1_0_9"]


def test_every_peak_is_used_or_reported(genome, tmp_path, capsys):
    flags = [genome, "--window", 10, "--peaks", tmp_path / "p.bed"]
    rows = ["chr1\t8\t12\tD1\tNA\t*", "chr1\t13\t13", "chr1\t50\t99", "chr1\t60\t99", "chr7\t1\t2"]
    (tmp_path / "p.bed").write_text("\n".join(rows))
    out, err = run(capsys, *flags, "--out", tmp_path / "o")
    np.testing.assert_array_equal(binding(tmp_path / "o").scores, [[0] * 8 + [1, 1], [1, 1] + [0] * 8])
    assert "2 peaks in" in out
    for note in ("1 peak of no length left aside", "2 peaks reach beyond", "(1 completely)", "chr7 (1 peak)"):
        assert note in err
    (tmp_path / "p.bed").write_text("chr1\t60\t99\n")
    message = refuse(capsys, *flags, "--out", tmp_path / "q")
    assert "1 peak reaches beyond the end of the contig" in message
    assert "--threshold" not in message


def test_a_bedgraph_is_a_track_and_no_peaks(genome, tmp_path, capsys):
    (tmp_path / "b").write_text("chr1 0 8 0\nchr1 8 12 12.5\nchr1 20 99 .5\n")
    flags = [genome, "--window", 10, "--out", tmp_path / "o"]
    assert "use it as a --track" in refuse(capsys, *flags, "--peaks", tmp_path / "b")
    assert not list((tmp_path / "o").glob("[!.]*"))
    _, err = run(capsys, *flags, "--track", tmp_path / "b")
    found = binding(tmp_path / "o")
    assert found.names == ["chr1_0_9", "chr1_10_19", "chr1_20_29", "chr1_40_49"]  # 30 has an N
    wanted = [[0] * 8 + [12.5] * 2, [12.5] * 2 + [0] * 8, [0.5] * 10, [0.5] * 10]
    np.testing.assert_array_equal(found.scores, wanted)
    assert "chr1 (99 bases there, 54 in the genome)" in err  # a piece of a contig, or another assembly


@pytest.mark.parametrize(
    ("here", "there", "advice"),
    [
        ("9", "chr9", "--rename to chr"),
        ("IX", "chr9", "'IX chr9'"),
        ("9", "IX", "'9 IX'"),
        ("a", "b", "columns"),
    ],
)
def test_contigs_of_other_names_are_shown_with_what_makes_them_match(here, there, advice, tmp_path, capsys):
    others = ["s1", "s2", "s3", "s4"]
    (tmp_path / "p.bed").write_text("".join(f"{name}\t0\t4\n" for name in (here, *others)))
    (tmp_path / "g.fa").write_text("".join(f">{name}\nACGT\n" for name in (there, "t1", "t2", "t3")))
    flags = [tmp_path / "g.fa", "--peaks", tmp_path / "p.bed", "--window", 4, "--out", tmp_path / "o"]
    message = refuse(capsys, *flags)
    assert f"{here}, s1, s2, ... in this file, {there}, t1, t2, ... in the genome" in message
    assert advice in message
    (tmp_path / "names").write_text(f"{here} {there}\n")
    run(capsys, *flags, "--rename", "chr" if here == "9" and there == "chr9" else tmp_path / "names")
    assert binding(tmp_path / "o").names == [f"{there}_0_3"]


def test_refuses(genome, motif, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "names").write_text("1 chr1 x\n")
    of_motif, listed = ["--motif", "x.motif"], ["--motif", "x.motif", "--windows", "w.bed"]
    usual = genome.read_text()
    for flags, text, message in (
        ([], usual, "one of --motif, --peaks, --track and --annotation, got none"),
        (["--motif", "m", "--peaks", "p"], usual, "got --motif and --peaks"),
        (["--peaks", "p", "--threshold", "1", "--every-site"], usual, "--threshold needs --motif"),
        (["--peaks", "p", "--window", "0"], usual, "--window"),
        (["--peaks", "none.bed"], usual, "none.bed"),
        (["--peaks", "empty"], usual, "without any"),
        (["--peaks", "empty", "--rename", "names"], usual, "line 1: "),
        (["--track", "empty"], usual, "expected a bigWig or a bedGraph track"),
        (["--motif", "empty"], usual, "got 'an empty file'"),
        ([*of_motif, "--name", "y"], usual, "'y'"),
        ([*of_motif, "--out", "x.motif"], usual, "got a file"),
        ([*of_motif, "--window", "60"], usual, "no window is left of 74 bases"),
        ([*of_motif, "--window", "25"], f">c\n{'N' * 25}\n>d\n{'C' * 25}\n", "1 window with N"),
        (of_motif, ">c\nACG\n>c\nACG\n", "contig 'c' is there twice"),
        (of_motif, ">c\nACGU\n", "contig 'c', position 4: 'U'"),
        (listed, "chr1\t0\t4\nchr1\t5\t10\n", "got 4 (chr1_0_3), 5 (chr1_5_9)"),
        (listed, "chr1\t4\t4\n", "got 0 (chr1_4_3)"),
        (listed, "", "got a file without any"),
        (listed, "chr1\t0\t4\nchr1\t0\t4\n", "got chr1_0_3 several times"),
        (listed, "1\t0\t4\n2\t0\t4\n", "none of its contigs (2) is in the genome"),
        (listed, "chr1\t5\n", "line 1: "),
    ):
        sequence, bed = (usual, text) if flags is listed else (text, "")
        genome.write_text(sequence)
        (tmp_path / "w.bed").write_text(bed)
        assert message in refuse(capsys, genome, *flags)
        assert {path.name for path in tmp_path.glob("data/binding/*")} <= {".lock"}


def test_what_is_there_is_not_replaced(genome, motif, tmp_path, capsys):
    flags = [genome, "--motif", motif, "--window", 10, "--out", tmp_path / "o"]
    run(capsys, *flags)
    before = {path: path.read_bytes() for path in (tmp_path / "o").glob("[!.]*")}
    assert "there is a set already" in refuse(capsys, *flags)
    genome.write_text(genome.read_text() + "CTXCT\n")  # found at the very end
    assert "position 23: 'X'" in refuse(capsys, *flags, "--overwrite")
    assert before == {path: path.read_bytes() for path in (tmp_path / "o").glob("[!.]*")}
    write_json(tmp_path / "q/run.json", {"format": "dnalm-run", "verb": "pretrain"})
    message = refuse(capsys, genome, "--motif", motif, "--overwrite", "--out", tmp_path / "q")
    assert "run.json is of another run (pretrain)" in message


def test_real_chr2(shared_data, tmp_path, capsys):
    genome = shared_data / "genomes/hg38_chr2_1-2333275.fa.gz"
    motif = shared_data / "motifs/foxa1.homer.motif"
    out, _ = run(capsys, genome, "--motif", motif, "--out", tmp_path / "chr2")
    found = binding(tmp_path / "chr2")
    assert "FOXA1(Forkhead)" in out
    # Another contig than the published one, so only alike: there 3.90 % of the bases are in a site.
    assert (found.scores > 0).mean() == pytest.approx(0.039, abs=0.003)
    assert all(name.startswith("chr2_") for name in found.names)


def bigwig(path, rows, lengths):
    pybigtools = pytest.importorskip("pybigtools")
    pybigtools.open(str(path), "w").write(lengths, iter(rows))
    return path


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
    assert "2 windows on a contig that a file of labels does not have" in out
    message = "one.bw: nothing for 1 contig of the genome, whose windows are left out: chr2"
    assert message in err
    metrics = read_record(tmp_path / "o/run.json")["metrics"]
    assert message in metrics["not_in_labels"]["one.bw"]
    assert metrics["left_out"]["on a contig that a file of labels does not have"] == 2
    # Nor are they where another track has it: the scores of the first would be zeros that nobody measured.
    _, err = run(capsys, *flags, "--track", both, one, "--out", tmp_path / "p")
    assert read_scores(tmp_path / "p/scores_both.txt.gz")[0] == binding(tmp_path / "o").names
    assert message in err
    assert "both.bw" not in err
    run(capsys, *flags, "--track", both, "--out", tmp_path / "q")
    assert binding(tmp_path / "q").names[-2:] == ["chr2_0_9", "chr2_10_19"]
    two = bigwig(tmp_path / "two.bw", [("chr2", 0, 1, 1.0)], {"chr2": 20})
    message = refuse(capsys, *flags, "--track", one, two, "--out", tmp_path / "r")
    assert "7 windows on a contig that a file of labels does not have; " in message
    assert "every file must" in message


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
    # longer: a piece of chr1, or another assembly; a contig without windows is not reported
    long = bigwig(tmp_path / "long.bw", rows, {"chr1": 1031, "chr2": 20})
    _, err = run(capsys, genome, "--track", long, "--window", 10, "--out", tmp_path / "long")
    note = read_record(tmp_path / "long/run.json")["metrics"]["other_lengths"]["long.bw"]
    assert "chr1 (1,031 bases there, 30 in the genome)" in note
    assert note in err
    assert binding(tmp_path / "long").names == binding(tmp_path / "same").names
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
