"""Tests for dnalm/formats/genes.py."""

import gzip

import numpy as np
import pytest

from dnalm.errors import InputError
from dnalm.formats.genes import UNKNOWN, read_gene_rows

ROWS = [("1", "ACGTACGTN"), ("23", "TTTTGGGG")]


def fasta(path):
    path.write_text(">1 some gene\nacgt\nACGUN\n>23.0\nTTTTgggg\n")


def table(path):
    path.write_text("GeneID\tsequence\n1.0\tacgtACGTn\n23\tTTTTGGGG\n")


def comma(path):
    path.write_text('"GeneID","symbol","sequence"\n"1","A1BG","ACGTACGTN"\n"23","X","ttttGGGG"\n')


def packed(path):
    path.write_bytes(gzip.compress(b"sequence,GeneID\nACGTACGTN,1\nTTTTGGGG,23.0\n"))


def hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["1"] = "acgtACGTN"  # a string
        file["23.0"] = np.bytes_(b"TTTTGGGG")


def hdf5_letters(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["1"] = np.array(list(b"ACGTACGTN"), dtype=np.uint8)  # codes of characters
        file["23"] = np.array([b"T", b"T", b"T", b"T", b"G", b"G", b"G", b"G"])


@pytest.mark.parametrize("write", [fasta, table, comma, packed, hdf5, hdf5_letters])
def test_every_format_gives_the_same_genes(tmp_path, write):
    write(tmp_path / "genes")  # known by content, not by name
    rows = list(read_gene_rows(tmp_path / "genes"))
    assert sorted((row.gene_id, row.sequence) for row in rows) == ROWS
    assert {row.kind for row in rows} == {UNKNOWN}


def test_a_table_may_say_kind_and_source_and_have_several_rows_a_gene(tmp_path):
    path = tmp_path / "genes.tsv"
    path.write_text("GeneID\tkind\tsource_id\tsequence\n7\tCDS_x\tENST1\tATG\n7\tmRNA\t\tAATG\n8\t\tP1\tAC\n")
    assert list(read_gene_rows(path)) == [
        ("7", "CDS_x", "ENST1", "ATG"),
        ("7", "mRNA", "", "AATG"),
        ("8", UNKNOWN, "P1", "AC"),
    ]


def test_a_gene_without_a_sequence_has_an_empty_one(tmp_path):
    path = tmp_path / "genes.tsv"
    path.write_text("GeneID\tsequence\n1\t\n2\tSequence unavailable\n3\tACGT\n")
    assert [row.sequence for row in read_gene_rows(path)] == ["", "", "ACGT"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GeneID\tsequence\n1\tACGT\n2\tMEEPQSD\n", "gene 2 has 'E', which is not DNA"),
        ("GeneID\tseq\n1\tACGT\n", "sequence, each once"),
        ("", "none at all"),
    ],
)
def test_refuses_what_holds_no_sequences(tmp_path, text, message):
    (tmp_path / "genes.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        list(read_gene_rows(tmp_path / "genes.tsv"))


def test_refuses_a_folder_and_hdf5_that_is_damaged(tmp_path):
    hdf5(tmp_path / "genes.hdf5")
    complete = (tmp_path / "genes.hdf5").read_bytes()
    (tmp_path / "cut.hdf5").write_bytes(complete[:-1000])
    (tmp_path / "names.hdf5").write_bytes(complete.replace(b"HEAP", b"heap"))
    (tmp_path / "text.hdf5").write_bytes(complete.replace(b"GCOL", b"gcol"))
    for path in (tmp_path, tmp_path / "cut.hdf5", tmp_path / "names.hdf5", tmp_path / "text.hdf5"):
        with pytest.raises(InputError, match=str(path)):
            list(read_gene_rows(path))


@pytest.mark.parametrize(
    ("dataset", "value", "message"),
    [
        ("human/1", "ACGT", "'human': expected a dataset"),
        ("1", np.array([0.5, 0.25]), "letters of one sequence"),
        ("1", np.array([b"ACGT", b"TTTT"]), "letters of one sequence"),
    ],
)
def test_refuses_hdf5_of_something_else(tmp_path, dataset, value, message):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "genes.hdf5", "w") as file:
        file[dataset] = value
    with pytest.raises(InputError, match=message):
        list(read_gene_rows(tmp_path / "genes.hdf5"))
