"""Tests for dnalm/formats/bed.py."""

import numpy as np
import pytest

from dnalm.dna import Interval
from dnalm.errors import InputError
from dnalm.formats.bed import BedGraph, read_bed

TEXT = (
    "browser position chr1:1-9\ntrack name=x\n# words\n\nchr1\t0\t5\nchr1\t5\t5\tx\n"
    "chr 2\t7\t9\ta b\t3.5\t-\n3 1 2 y . +\ntrack1\t1\t2\n"
    "chr4\t9\t19\tpeak\t1000\t.\t7.1\t-1\t-1\t5\r\n"
    "chr5\t1\t5\tD1\tNA\t*\t\n6 300 600 D1 E1 pELS,CTCF-bound\n"
)


def test_reads_bed_of_three_columns_or_more_and_narrowpeak(tmp_path):
    (tmp_path / "a.bed").write_text(TEXT)
    assert list(read_bed(tmp_path / "a.bed", peaks=True)) == [
        Interval("chr1", 0, 5),
        Interval("chr1", 5, 5),
        Interval("chr 2", 7, 9),  # with tabs, spaces are part of a name
        Interval("3", 1, 2),
        Interval("track1", 1, 2),
        Interval("chr4", 9, 19),
        Interval("chr5", 1, 5),  # nothing uses the other columns
        Interval("6", 300, 600),
    ]


@pytest.mark.parametrize("line", ["chr1\t5", "chr1\t-5\t9", "chr1\t5.0\t9", "chr1\t9\t5", "\t1\t5", "\0\1\2"])
def test_names_the_line_that_is_wrong(tmp_path, line):
    (tmp_path / "a.bed").write_text(f"# x\nchr1\t1\t2\n{line}\n")
    with pytest.raises(InputError, match="line 3: "):
        list(read_bed(tmp_path / "a.bed"))


@pytest.mark.parametrize("text", ["c 0 3 0\nc 3 5 12.5\n", "track type=bedGraph name=x\nc\t0\t3\t0\tx\n"])
def test_a_bedgraph_is_no_peaks(tmp_path, text):
    (tmp_path / "a.bed").write_text(text)
    assert next(read_bed(tmp_path / "a.bed")) == Interval("c", 0, 3)  # windows it may be
    with pytest.raises(InputError, match="`track`"):
        list(read_bed(tmp_path / "a.bed", peaks=True))


def test_bedgraph_values_come_back_with_0_where_there_is_none(tmp_path):
    (tmp_path / "a").write_text(
        "track type=bedGraph\nc\t5\t7\t2.5\nc 1 3 .5\nc 3 5 -1e-2\nc 9 9 8\nd 0 1 7\n"
    )
    track = BedGraph(tmp_path / "a")
    assert track.contigs == {"c": 7, "d": 1}
    wanted = np.float32([0, 0.5, 0.5, -0.01, -0.01, 2.5, 2.5, 0, 0])
    for start in range(9):
        for end in range(start, 10):
            np.testing.assert_array_equal(track.values("c", start, end), wanted[start:end])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c 0 3 1\nc 2 4 1\n", "two intervals hold base 3"),
        ("c 0 3 1\n" * 1000 + "c 3 4\n", "line 1,001: "),
        ("track type=bedGraph\nc 0 3 nan\n", "line 2: "),
        ("c 0 3 1e39\n", "line 1: "),
        ("track type=bedGraph\n", "without any"),
        ("c\t0\t3\tpeak\n", "got 'c"),
        ("", "got 'nothing'"),
    ],
)
def test_refuses_a_track(tmp_path, text, message):
    (tmp_path / "a").write_text(text)
    with pytest.raises(InputError, match=message):
        BedGraph(tmp_path / "a")
