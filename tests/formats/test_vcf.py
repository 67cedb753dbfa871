"""Tests for dnalm/formats/vcf.py."""

import gzip
from itertools import pairwise

import numpy as np
import pysam
import pytest

from dnalm.errors import InputError
from dnalm.formats.vcf import VcfFile, header_text, read_record, sorted_records, table_writer

HEAD = "##fileformat=VCFv4.2\n##contig=<ID=c2,length=9>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


@pytest.fixture
def write(tmp_path):
    """Writes a VCF and returns its path."""

    def write(text, name="in.vcf"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    return write


def test_a_record_is_read_and_the_rest_of_its_line_passes_untouched(write):
    samples = b"\tGT:X\t0|1:\xff\xfe\t./.:\t1"
    path = write(HEAD.encode() + b"c1\t5\trs1\ta\tC,<DEL>\t.\tPASS\tA=1;F" + samples + b"\r\n\n")
    (record,) = VcfFile(path)
    assert (record.contig, record.start, record.ref, record.alts) == ("c1", 4, "A", ("C", "<DEL>"))
    assert record.info == {"A": "1", "F": ""}
    with table_writer(path.with_name("out.vcf"), 9, index=False) as text:
        text(record.line("new"))
    assert path.with_name("out.vcf").read_bytes() == b"c1\t5\trs1\ta\tC,<DEL>\t.\tPASS\tnew" + samples


def test_columns_after_alt_may_be_missing_and_other_lines_are_counted(write):
    vcf = VcfFile(write("c1\t5\t.\tA\tC\nc1\tfive\t.\tA\tC\na poem\nc1\t7\t.\tA\t.\tq\n"))
    assert [record.line(record.fields[7]).count("\t") for record in vcf] == [7, 7]
    assert (vcf.unreadable, vcf.example) == (2, "line 2, 'c1 five . A C'")
    assert read_record("c1\t1\t.\t\tC") is None
    assert list(vcf)[1].alts == ()  # again from its beginning
    assert vcf.unreadable == 2


def test_what_is_no_vcf_or_damaged_is_refused(write, tmp_path):
    packed = tmp_path / "cut.vcf.gz"
    with pysam.BGZFile(str(packed), "wb", None) as file:
        file.write((HEAD + "c1\t5\t.\tA\tC\n" * 9000).encode())
    packed.write_bytes(packed.read_bytes()[:-28])  # without the empty block at its end
    for path, message in (
        (write("chr1\t5\t9\nchr1\t7\t12\n"), "no record"),
        (write(gzip.compress(b"BCF\2\2"), "a.bcf"), "bcftools view"),
        (packed, "cut short"),
        (tmp_path, "folder"),
    ):
        with pytest.raises(InputError, match=message):
            list(VcfFile(path))


def test_a_header_gets_what_it_lacks_and_loses_what_is_replaced(write):
    vcf = VcfFile(write(HEAD.replace("##contig", "##INFO=<ID=Y,old>\n##INFO=<ID=X,old>\n##contig")))
    assert list(vcf) == []
    text = header_text(vcf, ["##INFO=<ID=X,new>"], {"c1": 7, "c2": 9, "c3": 0}, 0)
    assert text.splitlines()[:-1] == [
        "##fileformat=VCFv4.2",
        "##INFO=<ID=Y,old>",
        "##contig=<ID=c2,length=9>",
        "##contig=<ID=c1,length=7>",
        "##contig=<ID=c3>",
        "##INFO=<ID=X,new>",
    ]
    bare = VcfFile(write("c1\t5\t.\tA\tC\t.\t.\t.\tGT\t0\t1\n"))
    assert len(list(bare)) == 1
    lines = header_text(bare, [], {}, 3).splitlines()
    assert lines[0] == "##fileformat=VCFv4.2"
    assert lines[-1].split("\t")[-4:] == ["INFO", "FORMAT", "SAMPLE1", "SAMPLE2"]


@pytest.mark.parametrize("sort_bytes", [1, 500, 1 << 20])
def test_sorting_is_stable_whatever_fits_into_memory(write, sort_bytes):
    draws = np.random.default_rng(1)
    rows = [f"c{draws.integers(1, 3)}\t{draws.integers(1, 9)}\tid{row}\tA\tC" for row in range(60)]
    vcf = VcfFile(write("\n".join(rows)))
    found = [
        (each.contig, each.start, int(each.fields[2][2:]))
        for each in sorted_records(vcf, {"c2": 0, "c1": 1}, sort_bytes)
    ]
    assert sorted(row for *_, row in found) == list(range(60))
    keys = [({"c2": 0, "c1": 1}[contig], start, row) for contig, start, row in found]
    assert all(one < other for one, other in pairwise(keys))


def test_an_index_suits_the_longest_contig(tmp_path):
    for longest, suffix in ((9, ".tbi"), (1 << 29, ".csi")):
        path = tmp_path / f"{suffix}.vcf.gz"
        with table_writer(path, longest, index=True) as text:
            text(HEAD + "c2\t5\t.\tA\tC\t.\t.\t.\n")
        assert path.with_name(path.name + suffix).exists()
        with pysam.VariantFile(str(path)) as file:
            assert [record.pos for record in file.fetch("c2", 4, 5)] == [5]
    with pytest.raises(RuntimeError), table_writer(tmp_path / "no.vcf.gz", 9, index=True):
        raise RuntimeError
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csi", ".gz", ".gz", ".tbi"]
