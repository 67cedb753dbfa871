"""Tests for dnalm/formats/gff.py."""

import gzip

import pytest

from dnalm.errors import InputError
from dnalm.formats.gff import Gff

GFF3 = """\
##gff-version 3
# a comment

chrI\tSGD\tgene\t335\t649\t.\t+\t.\tID=YAL069W;Note=Dubious%20ORF%3B unlikely;Alias=a,b%2Cc
chrI\tSGD\tCDS\t335\t649\t.\t-\t2\tParent=YAL069W_mRNA , x
a%7Cb\tSGD\tregion\t1\t1\t.\t?\t3\t.
"""


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lines_are_features_from_0_with_their_attributes(tmp_path, packed, ends):
    text = GFF3.replace("\n", ends).encode()
    path = tmp_path / "genes.gff3.gz"
    path.write_bytes(gzip.compress(text) if packed else text)
    gff = Gff(path)
    gene, cds, region = gff
    assert gene[:6] == ("chrI", "gene", 334, 649, "+", None)
    assert gene.attributes["Note"] == ("Dubious ORF; unlikely",)
    assert gene.attributes["Alias"] == ("a", "b,c")
    assert (gene.first("none", "ID"), gene.first("Alias"), gene.first("none")) == ("YAL069W", "a", "")
    assert cds[:6] == ("chrI", "CDS", 334, 649, "-", 2)
    assert (cds.first("Parent"), cds.line) == ("YAL069W_mRNA", 5)
    assert region[:6] == ("a|b", "region", 0, 1, ".", None)
    assert (gff.read, gff.left_out) == (3, {})


def test_gtf_has_its_attributes_in_quotes(tmp_path):
    line = 'I\tEnsembl\tCDS\t7\t9\t.\t+\t0\tgene_id "a=b; c"; transcript_id "t.1"; exon_number 2; tag "";\n'
    (tmp_path / "genes.gtf").write_text(line)
    (feature,) = Gff(tmp_path / "genes.gtf")
    values = {"gene_id": "a=b; c", "transcript_id": "t.1", "exon_number": "2", "tag": ""}
    assert feature.attributes == {key: (value,) for key, value in values.items()}


@pytest.mark.parametrize("head", ["##FASTA\n>chrI\n", ">chrI\n"])
def test_a_sequence_at_the_end_is_not_read(tmp_path, head):
    (tmp_path / "genes.gff").write_text(GFF3 + head + "ACGT\nACGT\n")
    gff = Gff(tmp_path / "genes.gff")
    assert len(list(gff)) == gff.read == 3


def test_lines_that_are_no_features_are_counted_and_end_nothing(tmp_path):
    lines = ["chrI\tx\tgene\t9\t8", "chrI gene 1 2", "chrI\tx\tgene\t0\t8", "chrI\tx\tgene\t-3\t8"]
    lines = [line + "\t.\t+\t.\tID=a" if "\t" in line else line for line in lines]
    (tmp_path / "genes.gff").write_text("\n".join([*lines, GFF3]))
    gff = Gff(tmp_path / "genes.gff")
    for _ in range(2):  # counts begin anew
        assert len(list(gff)) == 3
        assert sorted(gff.left_out.values()) == [1, 3]
        assert gff.read == 7
    assert gff.examples["start after end"] == "line 1"


def test_a_damaged_file_is_a_mistake(tmp_path):
    path = tmp_path / "genes.gff3.gz"
    path.write_bytes(gzip.compress(GFF3.encode() * 99)[:-20])
    with pytest.raises(InputError, match="cut short"):
        list(Gff(path))
