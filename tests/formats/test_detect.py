"""Tests for dnalm/formats/detect.py, through `dnalm info`."""

import gzip
import shlex
import struct

import pytest

from dnalm.cli import VERBS
from dnalm.commands.info import identify

FASTA = ">chrA first\nACGTNNacgt\nAC\n>chrB\nGGGG\n"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def commands_exist(finding):
    return all(shlex.split(command)[1] in VERBS for command in finding.next)


@pytest.mark.parametrize("packing", ["plain", "gzip", "bgzip"])
def test_fasta(tmp_path, packing):
    content = FASTA.encode()
    if packing == "gzip":
        content = gzip.compress(content)
    elif packing == "bgzip":
        pysam = pytest.importorskip("pysam")
        pysam.tabix_compress(str(write(tmp_path / "a", content)), str(tmp_path / "b"))
        content = (tmp_path / "b").read_bytes()
    found = identify(write(tmp_path / "any name", content))
    assert found.kind == "fasta"
    assert found.facts["packing"] == packing
    assert found.facts["contigs"] == ["chrA", "chrB"]
    assert found.facts["length_bp"] == 16
    assert found.facts["soft_masked"] is True
    assert shlex.split(found.next[0])[:3] == ["dnalm", "prepare", str(tmp_path / "any name")]
    assert commands_exist(found)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_of_a_large_one_only_the_beginning_is_read(tmp_path, pack):
    text = b">chr1\n" + (b"ACGT" * 15 + b"\n") * 100_000 + b">chr2\nEFILPQ\n"
    found = identify(write(tmp_path / "genome.fa", pack(text)))
    assert found.kind == "fasta"
    assert found.facts["first_contigs"] == ["chr1"]
    assert "length_bp" not in found.facts


def test_a_sequence_in_one_long_line(tmp_path):
    assert identify(write(tmp_path / "g", b">chr1\n" + b"ACGT" * 500_000)).kind == "fasta"


def test_what_the_end_of_the_head_cuts_is_left_out(tmp_path):
    head = 1 << 20
    bed = "chr1\t10\t20\t" + "x" * (head - 21) + "\nchr1\t10\t20\tx\n"  # ends before the 0 of the second 20
    assert bed[head - 1 : head + 1] == "20"
    assert identify(write(tmp_path / "b", bed)).kind == "bed"
    fasta = ">chr1\n" + "A" * (head - 10) + "\n>chr2\nACGT\n"
    assert fasta[:head].endswith(">ch")
    assert identify(write(tmp_path / "g", fasta)).facts["first_contigs"] == ["chr1"]


def test_a_cut_gzip_is_not_taken_for_the_whole(tmp_path):
    packed = gzip.compress(FASTA.encode() * 50)
    found = identify(write(tmp_path / "g", packed[:-4]))
    assert found.kind == "fasta"
    assert "length_bp" not in found.facts


def test_a_protein_is_told_and_not_offered_to_prepare(tmp_path):
    found = identify(write(tmp_path / "p.fa", ">P1\nMKEFLIQPACDE\n"))
    assert (found.kind, found.next) == ("fasta-other", [])
    assert found.facts["letters_not_of_dna"] == "EFILPQ"


def test_a_motif_matrix_is_no_fasta(tmp_path):
    matrix = ">WAAGTAAACA\tFOXA1\t6.36\n0.48\t0.03\t0.01\t0.48\n"
    assert identify(write(tmp_path / "m", matrix)).kind == "motif"


@pytest.mark.parametrize("order", ["<", ">"])
def test_twobit(tmp_path, order):
    head = struct.pack(order + "IIII", 0x1A412743, 0, 2, 0)
    index = b"".join(bytes([len(n)]) + n + struct.pack(order + "I", 40) for n in (b"chr1", b"chrUn_7"))
    found = identify(write(tmp_path / "g", head + index + b"\0" * 40))
    assert found.kind == "2bit"
    assert found.facts["contigs"] == ["chr1", "chrUn_7"]
    assert found.next[0].startswith("dnalm prepare ")


@pytest.mark.parametrize("order", ["<", ">"])
def test_bigwig(tmp_path, order):
    found = identify(write(tmp_path / "t", struct.pack(order + "IHH", 0x888FFC26, 4, 10) + b"\0" * 56))
    assert found.kind == "bigwig"


def test_vcf(tmp_path):
    text = (
        "##fileformat=VCFv4.2\n##contig=<ID=22,length=51304566>\n"
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tanna\tbert\n"
        "22\t16050075\t.\tA\tG\t100\tPASS\t.\tGT\t0|0\t0|1\n"
    )
    found = identify(write(tmp_path / "v", gzip.compress(text.encode())))
    assert found.kind == "vcf"
    assert found.facts["contigs"] == ["22"]
    assert found.facts["samples"] == 2
    assert found.facts["first_variant"] == "22:16050075 A>G (1-based)"


def test_bed(tmp_path):
    found = identify(
        write(tmp_path / "b", "track name=x\n# comment\nchr1\t10\t20\tpeak\nchr1\t30\t30\tpeak\n")
    )
    assert found.kind == "bed"
    assert found.facts["first_interval"] == "chr1:10-20 (0-based)"
    assert identify(write(tmp_path / "c", "chr1\t10\t20\t-1.5\n")).kind == "bedgraph"


@pytest.mark.parametrize(
    "text", ["chr1\t20\t10\n", "chr1\tten\t20\n", "chr1 10 20\n", "hello\n", "\n\n", "\0\1"]
)
def test_no_bed(tmp_path, text):
    with pytest.raises(ValueError, match="x.bed: not a file that dnalm knows"):
        identify(write(tmp_path / "x.bed", text))


@pytest.mark.parametrize(
    ("text", "title"),
    [("sequence\twindow_name\nACGT\tchr22_0_3\n", "windows"), ("sequence,label\nACGT,1\n", "classes")]
    + [("chr22_0_299\tchr22_300_599\n0\t0\n", "scores")],
)
def test_tables(tmp_path, text, title):
    found = identify(write(tmp_path / "t", text))
    assert found.kind == "table"
    assert title in found.title


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("genomes/yeast_R64-1-1.fa.gz", "fasta"),
        ("genomes/hg38_chr2_1-2333275.fa.gz", "fasta"),
        ("variants/hg19_chr22_1000G_sites.vcf.gz", "vcf"),
        ("tracks/hg38_chr22_K562_accessibility.bw", "bigwig"),
        ("binding/chr22_sequences.txt.gz", "table"),
        ("binding/chr22_scores.txt.gz", "table"),
        ("gue/tf/0/dev.csv.gz", "table"),
    ],
)
def test_real_files(shared_data, file, kind):
    found = identify(shared_data / file)
    assert found.kind == kind
    assert commands_exist(found)
