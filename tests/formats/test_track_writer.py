"""Tests for dnalm/formats/track_writer.py."""

import gzip
import tracemalloc
from contextlib import closing

import numpy as np
import pysam
import pytest

from dnalm.errors import InputError
from dnalm.formats import track_writer
from dnalm.formats.bed import BedGraph
from dnalm.formats.bigwig import open_track
from dnalm.formats.track_writer import WRITERS, check_track, write_track

LENGTHS = {"chr2": 30, "chr10": 20, "empty": 9}
GAP = np.nan
PIECES = [
    ("chr2", 3, [1, 1, 0.1, GAP, -2.5]),
    ("chr2", 8, [-2.5, 4]),  # goes on where the one before ends
    ("chr2", 20, [GAP, GAP]),
    ("chr10", 19, [7]),
]
BIGWIG, TEXT = [".bw", ".bigWig"], [".bedGraph", ".bedgraph.gz", ".tsv", ".tsv.gz"]
ENDINGS = [*BIGWIG, *TEXT, ".npz"]


def pieces():
    return ((contig, start, np.array(values, dtype=np.float32)) for contig, start, values in PIECES)


def expected():
    found = {}
    for contig, start, values in pieces():
        found |= {(contig, start + at): v for at, v in enumerate(values.tolist()) if not np.isnan(v)}
    return found


def read_back(path):
    """The value at each base, by a reader that is not of track_writer."""
    name = path.name.lower()
    if name.endswith((".bw", ".bigwig")):
        pybigtools = pytest.importorskip("pybigtools")
        with pybigtools.open(str(path)) as file:
            assert file.chroms() == {"chr2": 30, "chr10": 20}
            rows = [(c, *row) for c in file.chroms() for row in file.records(c)]
        return {(contig, at): value for contig, start, end, value in rows for at in range(start, end)}
    if name.endswith(".npz"):
        file = np.load(path)
        ends = np.cumsum(file["end"] - file["start"])
        assert len(file["values"]) == (ends[-1] if len(ends) else 0)
        parts = np.split(file["values"], ends[:-1])
        rows = zip(file["contig"], file["start"], parts, strict=True) if len(ends) else []
        return {
            (str(file["contigs"][contig]), int(start) + at): value
            for contig, start, values in rows
            for at, value in enumerate(values.tolist())
        }
    data = path.read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    rows = [line.split("\t") for line in text.splitlines()]
    if ".tsv" in name:
        assert rows[0] == ["contig", "position", "value"]
        return {(contig, int(position) - 1): float(value) for contig, position, value in rows[1:]}
    return {(c, at): float(v) for c, start, end, v in rows for at in range(int(start), int(end))}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_holds_each_value_at_its_base_and_nothing_else(tmp_path, ending):
    path = tmp_path / f"a track{ending}"
    write_track(path, LENGTHS, pieces())
    found = read_back(path)
    assert found.keys() == expected().keys()
    for base, value in expected().items():
        assert found[base] == pytest.approx(value, rel=0 if ending in (*BIGWIG, ".npz") else 1e-5)  # 6 digits
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    again = tmp_path / f"again{ending}"
    write_track(again, LENGTHS, pieces())
    assert again.read_bytes() == path.read_bytes()


def test_what_dnalm_writes_dnalm_reads_as_labels(tmp_path):
    for ending in (".bw", ".bedgraph.gz"):
        write_track(tmp_path / f"t{ending}", LENGTHS, pieces())
        track = open_track(tmp_path / f"t{ending}")
        np.testing.assert_allclose(track.values("chr2", 2, 7), [0, 1, 1, 0.1, 0], rtol=1e-5)
        if not isinstance(track, BedGraph):
            track.close()


def test_neighbours_of_one_value_are_one_row_across_gaps_they_are_not(tmp_path):
    write_track(tmp_path / "t.bedgraph", LENGTHS, pieces())
    rows = (tmp_path / "t.bedgraph").read_text().splitlines()
    assert rows[:2] == ["chr2\t3\t5\t1", "chr2\t5\t6\t0.1"]
    assert len(rows) == 6


def test_packed_text_can_be_indexed_by_tabix(tmp_path):
    path = tmp_path / "t.bedgraph.gz"
    write_track(path, LENGTHS, pieces())
    pysam.tabix_index(str(path), preset="bed")
    with closing(pysam.TabixFile(str(path))) as file:
        assert list(file.fetch("chr10")) == ["chr10\t19\t20\t7"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_error_among_the_pieces_leaves_no_file(tmp_path, ending):
    def broken():
        yield from pieces()
        raise InputError("the genome is damaged")

    (tmp_path / f"t{ending}").write_text("old")
    with pytest.raises(InputError, match="the genome is damaged"):
        write_track(tmp_path / f"t{ending}", LENGTHS, broken())
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(f"t{ending}", "old")]


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_a_value_a_file_is_empty_but_a_bigwig_cannot_be(tmp_path, ending, capfd):
    path = tmp_path / f"t{ending}"
    gaps = [("chr2", 0, np.full(5, np.nan, dtype=np.float32))]
    if ending in BIGWIG:
        with pytest.raises(InputError, match="no base has a value"):
            write_track(path, LENGTHS, gaps)
        assert not list(tmp_path.iterdir())
    else:
        write_track(path, LENGTHS, gaps)
        assert read_back(path) == {}


def test_a_bigwig_that_lost_values_is_refused(tmp_path):
    beyond = [("chr2", 0, np.ones(5, dtype=np.float32)), ("chr2", 28, np.arange(5, dtype=np.float32))]
    with pytest.raises(OSError, match="could not write all of it"):  # pybigtools only prints it
        write_track(tmp_path / "t.bw", LENGTHS, beyond)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["t", "t.txt", "bw", "t.bw.gz", "t.npz.part"])
def test_another_ending_is_refused_with_those_there_are(tmp_path, name):
    with pytest.raises(InputError, match=r"ends in \.bw, .*, got"):
        check_track(tmp_path / name)
    with pytest.raises(InputError):
        write_track(tmp_path / name, LENGTHS, pieces())


def test_a_missing_package_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    def missing(module, extra, what):
        raise InputError(f'{what} needs {module}; run: pip install "dnalm[{extra}]"')

    monkeypatch.setattr(track_writer, "import_extra", missing)
    with pytest.raises(InputError, match=r'dnalm\[tracks\]"'):
        check_track(tmp_path / "t.bw")
    check_track(tmp_path / "t.npz")


@pytest.mark.parametrize("ending", [".bedgraph", ".tsv.gz", ".npz"])
def test_memory_does_not_grow_with_the_number_of_pieces(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(track_writer, "ROWS", 64)

    def peak(count):
        some = ((f"c{at // 100}", at % 100 * 50, np.full(9, at, dtype=np.float32)) for at in range(count))
        tracemalloc.start()
        write_track(tmp_path / f"t{ending}", {}, some)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    small = peak(2_000)
    assert peak(8_000) < small + 40_000  # names of contigs; the values more are 216 kB


def test_endings_are_listed_once():
    assert set(WRITERS) == {each.lower() for each in ENDINGS}
