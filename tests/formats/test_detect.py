"""Tests for dnalm/formats/detect.py, through `dnalm info`."""

import gzip
import shlex
import struct

import pytest

from dnalm.cli import VERBS
from dnalm.commands.info import identify

FASTA = ">chrA first\nACGTNNacgt\nAC\n>chrB\nGGGG\n"
FACTS = {"contigs": ["chrA", "chrB"], "length_bp": 16, "soft_masked": True}
VCF = (
    "##fileformat=VCFv4.2\n##contig=<ID=22,length=51304566>\n"
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tanna\tbert\n"
    "22\t16050075\t.\tA\tG\t100\tPASS\t.\tGT\t0|0\t0|1\n"
)
MEME = (
    "MEME version 5.5.8 (Release)\nMOTIF 1 MEME-1 width = 1 sites = 9\nletter-probability matrix:\n1 0 0 0\n"
)
BED = "track name=x\n# comment\nchr1\t10\t20\tpeak\nchr1\t30\t30\tpeak\n"


def twobit(order, version=0):
    head, offset = struct.pack(order + "IIII", 0x1A412743, version, 2, 0), order + "IQ"[version]
    index = b"".join(bytes([len(n)]) + n + struct.pack(offset, 40) for n in (b"chr1", b"chrUn_7"))
    return head + index + b"\0" * 40


def of(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = identify(path)
    assert all(shlex.split(command)[1] in VERBS for command in found.next)
    return found


@pytest.mark.parametrize(
    ("content", "kind", "facts"),
    [
        (FASTA, "fasta", FACTS | {"packing": "plain"}),
        (gzip.compress(FASTA.encode()), "fasta", FACTS | {"packing": "gzip"}),
        (b">chr1\n" + b"ACGT" * 500_000, "fasta", {"first_contigs": ["chr1"]}),  # in one line
        (">P1\nMKEFLIQPACDE\n", "fasta-other", {"letters_not_of_dna": "EFILPQ"}),
        (">WAAGTAAACA\tFOXA1\t6.36\n0.48\t0.03\t0.01\t0.48\n", "motif", {"motifs": 1}),
        *((twobit(order, 0), "2bit", {"contigs": ["chr1", "chrUn_7"]}) for order in "<>"),
        *((twobit(order, 1), "2bit", {"contigs": ["chr1", "chrUn_7"]}) for order in "<>"),
        ("\ufeff" + VCF.replace("\n", "\r"), "vcf", {"contigs": ["22"], "samples": 2}),
        (">chrA\n".encode("utf-8-sig") + b"AC\r", "fasta", {"contigs": ["chrA"], "length_bp": 2}),
        *((struct.pack(order + "IHH", 0x888FFC26, 4, 10) + b"\0" * 56, "bigwig", {}) for order in "<>"),
        (gzip.compress(VCF.encode()), "vcf", {"contigs": ["22"], "samples": 2}),
        (VCF, "vcf", {"first_variant": "22:16050075 A>G (1-based)"}),
        (BED, "bed", {"first_interval": "chr1:10-20 (0-based)"}),
        ("chr1\t10\t20\t-1.5\n", "bedgraph", {}),
        ("track type=bedGraph\nchr1 10 20 1E-5 x\n", "bedgraph", {}),
        ("chr1 10 20\nchr1 30 40\n", "bed", {}),
        ("****\nMEME - Motif discovery tool\n" + MEME, "motif", {"names": ["1 MEME-1"]}),
        ("\ufeff# DREME 5\n" + MEME, "motif", {"motifs": 1}),
        ("sequence\twindow_name\nACGT\tchr22_0_3\n", "table", {}),
        ("sequence,label\nACGT,1\n", "table", {}),
        ("chr22_0_299\tchr22_300_599\n0\t0\n", "table", {}),
    ],
    ids=range(24),
)
def test_a_file_is_known_by_its_content(tmp_path, content, kind, facts):
    found = of(tmp_path / "any name", content)
    assert found.kind == kind
    assert facts.items() <= found.facts.items()
    assert [line.split()[1] for line in found.next if kind in ("fasta", "2bit", "fasta-other")] == (
        ["prepare"] if kind in ("fasta", "2bit") else []
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_of_a_large_one_only_the_beginning_is_read(tmp_path, pack):
    text = b">chr1\n" + (b"ACGT" * 15 + b"\n") * 100_000 + b">chr2\nEFILPQ\n"
    found = of(tmp_path / "genome.fa", pack(text))
    assert (found.kind, found.facts["first_contigs"]) == ("fasta", ["chr1"])
    assert "length_bp" not in found.facts


def test_what_the_end_of_the_head_cuts_is_left_out(tmp_path):
    head = 1 << 20
    bed = "chr1\t10\t20\t" + "x" * (head - 21) + "\nchr1\t10\t20\tx\n"  # ends before the 0 of the second 20
    assert bed[head - 1 : head + 1] == "20"
    assert of(tmp_path / "b", bed).kind == "bed"
    fasta = ">chr1\n" + "A" * (head - 10) + "\n>chr2\nACGT\n"
    assert fasta[:head].endswith(">ch")
    assert of(tmp_path / "g", fasta).facts["first_contigs"] == ["chr1"]
    assert "length_bp" not in of(tmp_path / "z", gzip.compress(FASTA.encode() * 50)[:-4]).facts


@pytest.mark.parametrize("text", ["chr1\t20\t10\n", "chr1\tten\t20\n", "chr1 20 10\n", "\n\n", "\0\1"])
def test_no_bed(tmp_path, text):
    with pytest.raises(ValueError, match="not a file that dnalm knows"):
        of(tmp_path / "x.bed", text)


def test_real_files(shared_data):
    for file, kind in {
        "genomes/yeast_R64-1-1.fa.gz": "fasta",
        "variants/hg19_chr22_1000G_sites.vcf.gz": "vcf",
        "tracks/hg38_chr22_K562_accessibility.bw": "bigwig",
        "binding/chr22_sequences.txt.gz": "table",
        "binding/chr22_scores.txt.gz": "table",
        "gue/tf/0/dev.csv.gz": "table",
    }.items():
        assert identify(shared_data / file).kind == kind
