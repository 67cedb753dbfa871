"""Tests for dnalm/use/regions.py: each line of a BED file is a region, or is counted with its reason."""

import gzip

import pytest

from dnalm.data.labels import rename_rule
from dnalm.errors import InputError
from dnalm.formats.indexed import IndexedGenome
from dnalm.use.regions import Region, Regions


@pytest.fixture
def genome(tmp_path):
    (tmp_path / "g.fa").write_text(">chr1\nACGTACGTAC\n>2\nACGT\n")
    with IndexedGenome(tmp_path / "g.fa", tmp_path) as opened:
        yield opened


def read(genome, tmp_path, text, rename=None):
    (tmp_path / "r.bed").write_text(text)
    regions = Regions(genome, tmp_path / "r.bed", rename_rule(rename))
    found = list(regions)
    assert regions.read == len(found) + sum(regions.left_out.values())
    return found, regions


def test_three_to_twelve_columns_in_the_order_of_the_file(genome, tmp_path):
    rest = "\t5\t-\t0\t0\t0\t1\t3\t0\n"
    text = "# a comment\ntrack name=x\nbrowser position chr1\n\n2 1 3\nchr1\t0\t10\tall\nchr1\t2\t5\tb" + rest
    text += "chr1\t2\t5\t.\nchr1\t2\t5\tx\t0\t+\r\n"
    found, regions = read(genome, tmp_path, text)
    assert found == [
        Region("2", 1, 3, "2:2-3"),
        Region("chr1", 0, 10, "all"),
        Region("chr1", 2, 5, "b", "-"),
        Region("chr1", 2, 5, "chr1:3-5"),  # duplicates are the user's
        Region("chr1", 2, 5, "x"),
    ]
    assert regions.summary() == []
    assert list(regions) == found  # read again
    assert regions.read == 5


def test_what_cannot_be_used_is_counted_with_its_first_example(genome, tmp_path):
    text = "chr1\t0\t11\nchr1\t5\t5\nchr9\t0\t4\nchr1\t90\t99\nchr1\t0\t10\n"
    found, regions = read(genome, tmp_path, text)
    assert found == [Region("chr1", 0, 10, "chr1:1-10")]
    assert regions.left_out == {
        "beyond the end of its contig": 2,
        "of no length": 1,
        "not a contig of the genome": 1,
    }
    assert "2 regions left out: beyond the end of its contig (the first is chr1:1-11)" in regions.summary()


def test_names_are_matched_by_chr_or_by_a_file(genome, tmp_path):
    found, _ = read(genome, tmp_path, "1\t0\t4\nchr2\t0\t4\n2\t0\t1\n", "chr")
    assert [each.contig for each in found] == ["chr1", "2", "2"]
    (tmp_path / "names").write_text("one\tchr1\n")
    found, regions = read(genome, tmp_path, "one\t0\t4\nchr1\t0\t4\n", str(tmp_path / "names"))
    assert found == [Region("chr1", 0, 4, "one:1-4")]
    assert regions.left_out.total() == 1


def test_all_contigs_without_a_file(genome):
    regions = Regions(genome, None, rename_rule(None))
    assert list(regions) == [Region("chr1", 0, 10, "chr1"), Region("2", 0, 4, "2")]
    assert (regions.read, dict(regions.left_out)) == (2, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "without any"),
        ("# nothing\ntrack x\n", "without any"),
        ("chr1\t5\t2\n", "line 1: .* start not after the end"),
        ("chr1\t1\t2\nchr1\t-1\t2\n", "line 2"),
        ("chrom\tstart\tend\nchr1\t1\t2\n", "line 1"),
        ("chr1\t1\n", "line 1"),
        ("chrX\t0\t4\nchrY\t0\t1\n", "none of 2 regions .* the genome has chr1, 2, .*`rename`"),
        ("chr1\t3\t3\n", "none of 1 region can be used: 1 region left out: of no length"),
    ],
)
def test_a_file_that_is_no_use_is_refused(genome, tmp_path, text, message):
    (tmp_path / "r.bed").write_text(text)
    with pytest.raises(InputError, match=message):
        list(Regions(genome, tmp_path / "r.bed", rename_rule(None)))


def test_gzip_is_read_and_a_cut_one_refused(genome, tmp_path):
    (tmp_path / "r.bed").write_bytes(gzip.compress(b"2\t0\t4\n"))
    regions = Regions(genome, tmp_path / "r.bed", rename_rule(None))
    assert list(regions) == [Region("2", 0, 4, "2:1-4")]
    (tmp_path / "r.bed").write_bytes(gzip.compress(b"2\t0\t4\n")[:-6])
    with pytest.raises(InputError, match="cut short"):
        list(regions)
