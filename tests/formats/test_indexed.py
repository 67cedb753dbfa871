"""Tests for dnalm/formats/indexed.py: any genome file gives the letters of any stretch."""

import gzip
import os
import time

import numpy as np
import pysam
import pytest

from dnalm import process
from dnalm.errors import InputError
from dnalm.formats.indexed import IndexedGenome
from tests.formats.test_twobit import twobit_bytes

DRAWS = np.random.default_rng(3)
CONTIGS = {
    name: "".join(DRAWS.choice(list("ACGTacgtN"), size)) for name, size in (("chrB", 301), ("a.1", 64))
}


def fasta(line=60, end="\n"):
    return "".join(
        f">{name} described{end}" + "".join(text[at : at + line] + end for at in range(0, len(text), line))
        for name, text in CONTIGS.items()
    ).encode()


def check(path, cache, contigs=None):
    """Every stretch is what the file holds; the contigs are in the order of the file."""
    contigs = contigs or CONTIGS
    with IndexedGenome(path, cache) as genome:
        assert genome.lengths == {name: len(text) for name, text in contigs.items()}
        assert list(genome.lengths) == list(contigs)
        for name, text in contigs.items():
            for start, end in ((0, len(text)), (0, 0), (59, 62), (len(text) - 1, len(text)), (5, 5)):
                start, end = min(start, len(text)), min(end, len(text))
                assert genome.letters(name, start, end) == text[start:end]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_plain_fasta_is_indexed_beside_it(tmp_path, end):
    path = tmp_path / "g.fa"
    path.write_bytes(fasta(end=end))
    check(path, tmp_path / "cache")
    assert (tmp_path / "g.fa.fai").exists()
    assert not (tmp_path / "cache").exists()
    check(path, tmp_path / "cache")  # from the index


def test_bgzip_is_read_in_place(tmp_path):
    (tmp_path / "g.fa").write_bytes(fasta())
    path = tmp_path / "g.fa.gz"
    pysam.tabix_compress(str(tmp_path / "g.fa"), str(path))
    check(path, tmp_path / "cache")
    assert {each.name for each in tmp_path.iterdir()} == {"g.fa", "g.fa.gz", "g.fa.gz.fai", "g.fa.gz.gzi"}


@pytest.mark.parametrize("kind", ["gzip", "2bit", "lines of unequal length", "blank lines"])
def test_what_samtools_cannot_index_is_copied_into_the_cache(tmp_path, kind):
    path, data = tmp_path / "g.fa", fasta()
    if kind == "gzip":
        path, data = tmp_path / "g.fa.gz", gzip.compress(data)
    elif kind == "2bit":
        path, data = tmp_path / "g.2bit", twobit_bytes(CONTIGS)
    elif kind == "blank lines":
        data = data.replace(b"\n", b"\n\n")
    else:
        at = data.index(b"\n", 20) + 11
        data = data[:at] + b"\n" + data[at:]
    path.write_bytes(data)
    check(path, tmp_path / "cache")
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "cache"}
    made = {each.name: each.stat().st_mtime_ns for each in (tmp_path / "cache" / "genomes").iterdir()}
    check(path, tmp_path / "cache")  # not copied again
    assert made == {each.name: each.stat().st_mtime_ns for each in (tmp_path / "cache" / "genomes").iterdir()}


def test_a_folder_that_cannot_be_written_gets_no_index(tmp_path, monkeypatch):
    folder = tmp_path / "read only"
    folder.mkdir()
    (folder / "g.fa").write_bytes(fasta())
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and real(path, mode))
    check(folder / "g.fa", tmp_path / "cache")
    assert [each.name for each in folder.iterdir()] == ["g.fa"]
    assert list((tmp_path / "cache" / "genomes").glob("*.fai"))


def test_an_index_older_than_the_file_is_not_used(tmp_path):
    path = tmp_path / "g.fa"
    path.write_bytes(fasta())
    check(path, tmp_path / "cache")
    old = (tmp_path / "g.fa.fai").read_bytes()
    path.write_bytes(b">new\nACGTACGT\n")
    later = time.time() + 10
    os.utime(path, (later, later))
    for _ in range(2):
        check(path, tmp_path / "cache", {"new": "ACGTACGT"})
    assert (tmp_path / "g.fa.fai").read_bytes() == old  # somebody else's


def test_a_changed_file_is_copied_again(tmp_path):
    path = tmp_path / "g.fa.gz"
    path.write_bytes(gzip.compress(fasta()))
    check(path, tmp_path / "cache")
    path.write_bytes(gzip.compress(b">new\nACGTA\n"))
    check(path, tmp_path / "cache", {"new": "ACGTA"})


def test_another_letter_is_n_and_iupac_stays(tmp_path):
    path = tmp_path / "g.fa"
    path.write_bytes(b">a\nACGTRYkm\nU.-*xACG\n")
    check(path, tmp_path / "cache", {"a": "ACGTRYkmNNNNNACG"})


@pytest.mark.parametrize("data", [b">x\n>a\nACGT\n", b">a\nACGT\n>x\n", b">a\nAC\nGT\n>x\n\n>y"])
def test_a_record_without_a_base_is_no_contig(tmp_path, data):
    (tmp_path / "g.fa").write_bytes(data)
    check(tmp_path / "g.fa", tmp_path / "cache", {"a": "ACGT"})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"ACGT\n", "expected FASTA"),
        (b">a\nACG\n>b\nA\n>a\nTT\n", "two records are named a"),
        (b">a\n>b\n", "expected sequences, got none"),
        (gzip.compress(fasta())[:-20], "cut short"),
    ],
)
def test_what_is_no_genome_is_refused_and_leaves_nothing(tmp_path, data, message):
    path = tmp_path / "g.fa"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        IndexedGenome(path, tmp_path / "cache")
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    for wrong in (tmp_path / "nowhere.fa", tmp_path):
        with pytest.raises(InputError, match="expected a FASTA or .2bit"):
            IndexedGenome(wrong)


def test_a_stretch_beyond_its_contig_is_refused(tmp_path):
    path = tmp_path / "g.fa"
    path.write_bytes(fasta())
    with IndexedGenome(path, tmp_path) as genome:
        for contig, start, end in (("a.1", 0, 65), ("a.1", -1, 3), ("a.1", 5, 4), ("other", 0, 0)):
            with pytest.raises(InputError, match=rf"{contig} has .* got {contig}:"):
                genome.letters(contig, start, end)


def test_a_mistake_reaches_every_process(tmp_path, monkeypatch):
    monkeypatch.setattr(
        process, "is_rank_zero", lambda: False
    )  # such a process gets what the first broadcasts
    monkeypatch.setattr(process, "broadcast", lambda _none: InputError("the genome is damaged"))
    (tmp_path / "g.fa").write_bytes(fasta())
    with pytest.raises(InputError, match="the genome is damaged"):
        IndexedGenome(tmp_path / "g.fa")
    assert [each.name for each in tmp_path.iterdir()] == ["g.fa"]
