"""Tests for dnalm/formats/bed.py."""

import pytest

from dnalm.dna import Interval
from dnalm.errors import InputError
from dnalm.formats.bed import BedRecord, read_bed

TEXT = (
    "browser position chr1:1-9\ntrack name=x\n# words\n\nchr1\t0\t5\nchr1\t5\t5\tx\n"
    "chr 2\t7\t9\ta b\t3.5\t-\n3 1 2 y . +\ntrack1\t1\t2\n"
    "chr4\t9\t19\tpeak\t1000\t.\t7.1\t-1\t-1\t5\r\n"
)


def test_reads_bed_of_three_columns_or_more_and_narrowpeak(tmp_path):
    (tmp_path / "a.bed").write_text(TEXT)
    assert list(read_bed(tmp_path / "a.bed")) == [
        BedRecord(Interval("chr1", 0, 5), "", None, "."),
        BedRecord(Interval("chr1", 5, 5), "x", None, "."),
        BedRecord(Interval("chr 2", 7, 9), "a b", 3.5, "-"),  # with tabs, spaces are part of a name
        BedRecord(Interval("3", 1, 2), "y", None, "+"),
        BedRecord(Interval("track1", 1, 2), "", None, "."),
        BedRecord(Interval("chr4", 9, 19), "peak", 1000.0, "."),
    ]


@pytest.mark.parametrize(
    "line",
    ["chr1\t5", "chr1\t-5\t9", "chr1\t5.0\t9", "chr1\t9\t5", "\t1\t5", "chr1\t1\t5\tx\thigh"]
    + ["chr1\t1\t5\tx\t1\tplus", "\0\1\2"],
)
def test_names_the_line_that_is_wrong(tmp_path, line):
    (tmp_path / "a.bed").write_text(f"# x\nchr1\t1\t2\n{line}\n")
    with pytest.raises(InputError, match="line 3: "):
        list(read_bed(tmp_path / "a.bed"))
