"""Tests for dnalm/commands/prepare.py."""

import gzip
import json
import os
import random

import pytest
import tyro

from dnalm.commands import prepare
from dnalm.errors import InputError
from dnalm.genome.folder import PreparedGenome

random.seed(0)
DNA = "".join(random.choices("ACGT", k=4_000))


def run(*arguments):
    prepare.run(tyro.cli(prepare.Options, args=[str(argument) for argument in arguments]))


@pytest.fixture
def genome(tmp_path):
    return fasta(tmp_path / "genome.fa", {"chr1": DNA, "chr2": DNA[::-1]})


def fasta(path, records):
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records.items()))
    return path


def test_writes_both_and_reports_them(genome, tmp_path, capsys):
    run(genome, "--out", tmp_path / "data", "--dry-run")
    assert not (tmp_path / "data").exists()
    capsys.readouterr()
    run(genome, "--out", tmp_path / "a folder/data", "--val-contigs", "chr2")
    out, err = capsys.readouterr()
    assert f"{tmp_path}/a folder/data/full: 40 characters; train 4,007 tokens (4,000 bases)" in out
    assert f"{tmp_path}/a folder/data/vocab4: 4 characters; train 4,000 tokens (4,000 bases)" in out
    assert err == ""  # no progress bar where there is no terminal
    assert PreparedGenome(tmp_path / "a folder/data/vocab4").meta["counts"]["val_bases"] == 4_000
    run(fasta(tmp_path / "g.fa", {"IV": DNA}), "--out", tmp_path / "data")
    assert "its own 8: newline and >ACGITV" in capsys.readouterr().err  # an alphabet of the file's own
    run(genome, "--out", tmp_path / "one", "--vocab", "vocab4", "--quiet", "--published")
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [".lock", "vocab4"]


LONG = "ACGT" * 1_000


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (">chr1\n>chr2\n", [], "there are headers but no sequence"),
        (">chr1\nNNNN\n", [], "its longest stretch has 0"),
        (f">chr1\n{LONG}\n", ["--val-fraction", "0.01"], "part val.*301 .*longest stretch has 40"),
        (f">a\n{LONG}\n>b\n{'ACGTN' * 200}\n", ["--val-contigs", "b"], "stretch has 4.*`val_contigs`"),
        (f">chr1\n{LONG}\n>chr1\nAC\n", [], "'chr1' is in .*g.fa and again in"),
        (">p1\nMKVLAT\nEDF\n", [], r"contig 'p1', position 4: 'L'.*is it RNA or protein"),
        (">c\nACGT\nACXT\n", [], r"contig 'c', position 7: 'X' is no nucleotide code"),
        (">r\nACGU\n", [], r"position 4: 'U'.*is it RNA"),
        (">c\nACé\n", [], r"contig 'c', position 3"),
        (f">c\n{LONG}R\n", ["--alphabet", "hg38"], "the genome has 'R', which hg38 has not"),
        (f">IV\n{LONG}\n", ["--alphabet", "hg38"], "the genome has 'V', which hg38 has not"),
        (f">chr1\n{LONG}\n>chr2\nA\n", ["--val-contigs", "chr2,chr3"], r"'chr3'.*there are: chr1, chr2"),
        (f">chr1\n{LONG}\n", ["--val-contigs", "chrl"], r"did you mean chr1\?"),
        (f">chr1\n{LONG}\n", ["--val-fraction", "1"], "above 0 and below 1, got 1"),
        (f">chr1\n{LONG}\n", ["--published", "--val-contigs", "chr1"], "`published` splits by token"),
        (f">chr1\n{LONG}\n", ["--val-contigs", " ,"], "--val-contigs needs names"),
        (f">chr1\n{LONG}\n", ["--val-contigs", "chr1", "--val-fraction", "0.2"], "two ways to split"),
        ("ACGT\n", [], "first character is '>'"),
        (f">chr1\n{DNA} {LONG}\n", [], "' ' .* remove it"),
        pytest.param(gzip.compress(DNA.encode())[:500], [], "cut short", id="gzip"),
        pytest.param(b"\x43\x27\x41\x1a" + bytes(12), ["--published"], "needs FASTA", id="2bit"),
    ],
)
def test_refuses_and_leaves_nothing(tmp_path, text, flags, message):
    path = tmp_path / ("g.2bit" if "needs FASTA" in message else "g.fa")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        run(path, "--out", tmp_path / "data", *flags)
    assert {each.name for each in tmp_path.rglob("*")} <= {path.name, "data", ".lock"}


def test_genomes_that_are_missing_duplicate_or_no_file(genome, tmp_path):
    out = ["--out", tmp_path / "data"]
    other = fasta(tmp_path / "other.fa", {"chr2": DNA})
    os.mkfifo(tmp_path / "pipe")
    for genomes, message in (
        ([genome, other], r"'chr2' is in .*genome\.fa and again in .*other\.fa"),
        ([tmp_path / "none.fa"], "no such file"),
        ([], "at least one genome"),
        ([tmp_path / "pipe"], "got a pipe"),
    ):
        with pytest.raises(InputError, match=message):
            run(*genomes, *out)
    for file in (genome, genome / "inside"):
        with pytest.raises(InputError, match=r"expected a folder, but .*genome\.fa is a file"):
            run(genome, "--out", file)


@pytest.mark.parametrize(
    "meta", [{}, {"format_version": 9}, {"contigs": None}, {"mode": []}, {"counts": None}], ids=str
)
def test_another_prepared_genome_is_replaced_only_by_overwrite(genome, tmp_path, meta):
    run(genome, "--out", tmp_path / "data", "--quiet")
    path = tmp_path / "data/full/meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | meta))
    before = path.read_bytes()
    other = fasta(tmp_path / "other.fa", {"chrT": DNA})
    with pytest.raises(InputError, match="full: holds a prepared genome"):
        run(other, "--out", tmp_path / "data", "--quiet")
    assert path.read_bytes() == before
    run(other, "--out", tmp_path / "data", "--quiet", "--overwrite")
    PreparedGenome(tmp_path / "data/full").verify()
    assert path.read_bytes() != before


def test_a_folder_that_is_not_dnalms_is_left_alone(genome, tmp_path):
    out = tmp_path / "damaged version"  # words of our own messages
    (out / "full").mkdir(parents=True)
    (out / "full/thesis.txt").write_text("years of work")
    for meta in (None, "{", "[]", '{"format": "other", "damaged": "version"}'):
        if meta is not None:
            (out / "full/meta.json").write_text(meta)
        with pytest.raises(InputError, match="not written by dnalm prepare"):
            run(genome, "--out", out, "--overwrite")
        assert (out / "full/thesis.txt").read_text() == "years of work"


def test_a_folder_left_aside_by_a_killed_process_comes_back_and_is_not_overwritten(genome, tmp_path):
    out = tmp_path / "data"
    run(genome, "--out", out, "--quiet")
    os.replace(out / "full", out / ".full.abc.old")  # killed between its two renames
    (out / ".vocab4.abc.part").mkdir()
    with pytest.raises(InputError, match="full: holds a prepared genome"):
        run(genome, "--out", out, "--vocab", "full")
    PreparedGenome(out / "full").verify()
    run(genome, "--out", out, "--quiet", "--overwrite")
    assert sorted(path.name for path in out.iterdir()) == [".lock", "full", "vocab4"]


@pytest.mark.parametrize("flags", [["--val-fraction", "0.2"], ["--val-contigs", "chr2"], ["--published"], []])
def test_full_and_vocab4_side_by_side_are_of_one_genome_and_split(genome, tmp_path, flags):
    out = tmp_path / "data"
    run(genome, "--out", out, "--vocab", "full", "--quiet")
    other = genome if flags else fasta(tmp_path / "genome2.fa", {"chr1": DNA})
    with pytest.raises(InputError, match=r"full is of genome\.fa .*vocab4 would be of .*`overwrite`"):
        run(other, "--out", out, "--vocab", "vocab4", *flags)
    assert sorted(path.name for path in out.iterdir()) == [".lock", "full"]
    run(genome, "--out", out, "--vocab", "vocab4", "--quiet")
    run(other, "--out", out, "--overwrite", "--quiet", *flags)
    for vocab in ("full", "vocab4"):  # also when published, where the two are cut at different places
        run(other, "--out", out, "--vocab", vocab, "--overwrite", "--quiet", *flags)


@pytest.mark.parametrize(
    ("name", "contigs", "length", "bases", "segments"),
    [
        ("yeast_R64-1-1", 17, 12_157_105, 12_157_105, [15, 3]),
        ("hg38_chr2_1-2333275", 1, 2_333_275, 2_323_275, [1, 1]),  # with a gap at the start
    ],
)
def test_real_genomes(shared_data, tmp_path, name, contigs, length, bases, segments):
    run(shared_data / f"genomes/{name}.fa.gz", "--out", tmp_path / "data", "--quiet")
    full, vocab4 = (PreparedGenome(tmp_path / "data" / mode) for mode in ("full", "vocab4"))
    for genome in (full, vocab4):
        assert len(genome.meta["contigs"]) == contigs
        assert sum(contig["length"] for contig in genome.meta["contigs"]) == length
        assert genome.meta["counts"]["bases"] == bases
        assert genome.segments("train")[0, 1] == length - bases
        assert genome.meta["counts"]["train_bases"] == bases * 9 // 10
        assert [len(genome.segments(part)) for part in ("train", "val")] == segments
    assert (full.bases("val", 1_000, 4_000) == vocab4.tokens("val")[1_000:4_000]).all()
    with gzip.open(shared_data / f"genomes/{name}.fa.gz", "rt") as file:
        lines = (line.split()[0] + "\n" if line[0] == ">" else line for line in file)
        text = "".join(line for line in lines if line != "\n")
    tokens = [full.tokenizer.decode(full.tokens(part)) for part in ("train", "val")]
    assert "".join(tokens) == text
