"""Tests for `dnalm variants`: from a VCF to a VCF, a table, a record and a chapter."""

import gzip
import json
import random

import numpy as np
import pysam
import pysam.bcftools
import pytest

from dnalm.cli import main
from dnalm.report.pages import Picture
from tests.report.conftest import PNG

FAST = ["--device", "cpu", "--threads", "1", "--quiet"]
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
OTHERS = {"A": "CGT", "C": "AGT", "G": "ACT", "T": "ACG"}


@pytest.fixture(scope="module")
def letters(toy_fasta):
    """The contigs of the toy genome."""
    with pysam.FastaFile(str(toy_fasta)) as file:
        return {name: file.fetch(name).upper() for name in file.references}


def snvs(letters, count, contig="chr1", first=100):
    """Records of SNVs, five bases apart, with the frequency of ALT."""
    found = []
    for row, start in enumerate(range(first, first + 5 * count, 5)):
        ref = letters[contig][start]
        info = f"AC={(1, 5, 400)[row % 3]};AN=1000"
        found.append(f"{contig}\t{start + 1}\t.\t{ref}\t{OTHERS[ref][row % 3]}\t.\t.\t{info}")
    return found


def write(path, rows, head=("##fileformat=VCFv4.2", COLUMNS)):
    path.write_text("".join(f"{row}\n" for row in (*head, *rows)))
    return path


def run(binding, vcf, genome, out, *flags, model=None):
    words = [str(model or binding.outputs / "vocab4"), "--vcf", str(vcf), "--genome", str(genome)]
    return main(["variants", *words, "--out", str(out), *FAST, *map(str, flags)])


@pytest.fixture
def odd(letters, tmp_path):
    """What a VCF may hold, with many samples; 8 records and a line that is none."""
    one, two = letters["chr1"], letters["chr2"]
    genotypes = "\tGT" + "\t0|1" * 2000
    first, ref = OTHERS[one[99]], one[99]
    rows = [
        f"chr1\t100\tmany\t{ref.lower()}\t{first[0]},<DEL>,{first[1].lower()},*\t.\tPASS\tX=1;DNALM_LLR=9",
        f"chr1\t100\ttwice\t{ref}\t{first[0]}\t.\t.\t.",
        f"chr1\t100\ttwice\t{ref}\t{first[0]}\t.\t.\t.",
        f"chr1\t200\tdeletion\t{one[199:203]}\t{one[199]}\t.\t.\t.",
        f"chr1\t300\tinsertion\t{one[299]}\t{one[299]}AC\t.\t.\t.",
        f"chr2\t50\tmnv\t{two[49:51]}\t{OTHERS[two[49]][0]}{OTHERS[two[50]][0]}\t.\t.\t.",
        f"chr2\t60\tnothing\t{two[59]}\t.\t.\t.\t.",
        "chr9\t60\tnowhere\tA\tC\t.\t.\t.",
    ]
    head = ["##fileformat=VCFv4.2", '##INFO=<ID=X,Number=1,Type=Integer,Description="x">']
    head += ['##INFO=<ID=DNALM_LLR,Number=1,Type=String,Description="old">']
    head += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="g">']
    columns = COLUMNS + "\tFORMAT" + "".join(f"\ts{number}" for number in range(2000))
    body = [row + genotypes for row in rows]
    return write(tmp_path / "odd.vcf", [*body[:4], "no record", *body[4:]], [*head, columns])


def test_every_record_is_written_and_counted(binding, odd, toy_fasta, tmp_path, capsys):
    out = tmp_path / "my out.vcf.gz"
    assert run(binding, odd, toy_fasta, out) == 0
    record = json.loads((tmp_path / "run_my out.vcf.gz.json").read_text())
    metrics = record["metrics"]
    assert (record["verb"], record["status"]) == ("variants", "done")
    assert (metrics["counts"]["read"], metrics["counts"]["written"]) == (9, 8)
    assert sum(metrics["counts"]["left_out"].values()) == 1
    assert metrics["alleles"] == 11
    assert metrics["not_scored"] == {"symbolic": 1, "star": 1, "no_alt": 1, "contig_missing": 1}
    assert "1 symbolic" in capsys.readouterr().out
    with pysam.VariantFile(str(out)) as file:
        assert len(file.header.samples) == 2000
        assert "old" not in str(file.header)
        found = {each.id: each for each in file.fetch()}
        at_200 = [each.id for each in file.fetch("chr1", 199, 200)]
    assert at_200 == ["deletion"]
    many = found["many"].info
    assert many["X"] == 1
    assert [each is None for each in many["DNALM_LLR"]] == [False, True, False, True]
    assert many["DNALM_REASON"] == (".", "symbolic", ".", "star")
    assert found["twice"].info["DNALM_DEP"][0] == many["DNALM_DEP"][0]
    for name in ("deletion", "insertion", "mnv"):
        assert np.isfinite([found[name].info[f"DNALM_{each}"][0] for each in ("LLR", "DEP", "MARKOV")]).all()
    assert pysam.bcftools.view("-H", "-i", "DNALM_LLR[0]<0 || DNALM_LLR[0]>=0", str(out)).count("\n") == 6
    pysam.bcftools.index("-f", "-o", str(tmp_path / "new.csi"), str(out))
    lines = gzip.decompress(out.read_bytes()).decode().splitlines()
    assert all(line.count("0|1") == 2000 for line in lines if not line.startswith("#"))


def test_any_order_and_any_header_give_the_same_scores(binding, letters, toy_fasta, tmp_path):
    rows = [*snvs(letters, 30), *snvs(letters, 10, "chr2")]
    assert run(binding, write(tmp_path / "a.vcf", rows), toy_fasta, tmp_path / "a.tsv") == 0
    mixed = random.Random(1).sample(rows, len(rows))
    assert run(binding, write(tmp_path / "b.vcf", mixed, ()), toy_fasta, tmp_path / "b.vcf.gz") == 0
    assert run(binding, tmp_path / "b.vcf.gz", toy_fasta, tmp_path / "c.tsv.gz") == 0
    table, other = (
        (tmp_path / "a.tsv").read_text(),
        gzip.decompress((tmp_path / "c.tsv.gz").read_bytes()).decode(),
    )
    assert table.split("\n")[0] == "chrom\tpos\tid\tref\talt\tllr\tdep\tmarkov\treason"
    one, two = (sorted(text.splitlines()[1:]) for text in (table, other))
    assert [row.split("\t")[:5] for row in one] == [row.split("\t")[:5] for row in two]
    for row, same in zip(one, two, strict=True):
        values = [[float(cell) for cell in each.split("\t")[5:8]] for each in (row, same)]
        np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-5)  # other batches, and five digits
    positions = [tuple(row.split("\t")[:2]) for row in other.splitlines()[1:]]
    assert positions == sorted(positions, key=lambda each: (each[0] != positions[0][0], int(each[1])))


def test_another_build_or_other_names_of_contigs_stop_the_run(binding, letters, toy_fasta, tmp_path, capsys):
    rows = snvs(letters, 40)
    cells = rows[3].split("\t")
    wrong = "\t".join([*cells[:3], cells[4], cells[3], *cells[5:]])
    one = write(tmp_path / "one.vcf", [*rows[:3], wrong, *rows[4:]])
    assert run(binding, one, toy_fasta, tmp_path / "one.tsv") == 0  # one bad record never does
    assert "ref_mismatch" in (tmp_path / "one.tsv").read_text()
    before = sorted(tmp_path.iterdir())
    shifted = [
        row.replace(f"\t{100 + 5 * at + 1}\t", f"\t{100 + 5 * at + 2}\t") for at, row in enumerate(rows)
    ]
    for name, lines, message in (
        ("two.vcf", shifted, "probably another build"),
        ("three.vcf", [row.replace("chr1", "1", 1) for row in rows], "--rename chr"),
        ("four.vcf", ["a\tpoem"], "expected VCF"),
    ):
        assert run(binding, write(tmp_path / name, lines), toy_fasta, tmp_path / "new.vcf.gz") == 2
        assert message in capsys.readouterr().err
        (tmp_path / name).unlink()
    assert sorted(tmp_path.iterdir()) == before
    renamed = write(tmp_path / "three.vcf", [row.replace("chr1", "1", 1) for row in rows])
    assert run(binding, renamed, toy_fasta, tmp_path / "r.vcf", "--rename", "chr") == 0
    assert "##contig=<ID=1,length=5000>" in (tmp_path / "r.vcf").read_text()


def test_mistakes_in_the_options(binding, letters, toy_fasta, tmp_path, capsys):
    vcf = write(tmp_path / "in.vcf", snvs(letters, 3))
    assert run(binding, vcf, toy_fasta, tmp_path / "x.bam") == 2
    assert run(binding, vcf, toy_fasta, vcf) == 2
    assert "exists already" in capsys.readouterr().err
    both = ["--allele-frequency", "AF", "--calibrate-against", vcf]
    assert run(binding, vcf, toy_fasta, tmp_path / "x.vcf", *both) == 2
    assert run(binding, vcf, toy_fasta, tmp_path / "x.vcf", "--window", 5000) == 2
    assert run(binding, vcf, toy_fasta, tmp_path / "x.vcf", "--markov-order", 99) == 2
    assert "--markov-order" in capsys.readouterr().err
    assert not (tmp_path / "x.vcf").exists()
    empty = write(tmp_path / "empty.vcf", [])
    assert run(binding, empty, toy_fasta, tmp_path / "e.vcf.gz") == 0
    assert list(pysam.VariantFile(str(tmp_path / "e.vcf.gz"))) == []


def test_rare_are_compared_with_common_ones(binding, letters, toy_fasta, tmp_path, capsys, monkeypatch):
    png = Picture(PNG, "drawn", "AUROC")
    monkeypatch.setattr("dnalm.report.variants.picture", lambda draw, *_: draw() and png)
    vcf = write(tmp_path / "in.vcf", snvs(letters, 60))
    assert run(binding, vcf, toy_fasta, tmp_path / "o.vcf.gz", "--allele-frequency", "AF") == 0
    printed = capsys.readouterr().out
    contrasts = json.loads((tmp_path / "run_o.vcf.gz.json").read_text())["metrics"]["contrasts"]
    assert [(each["rare"], each["common"]) for each in contrasts] == [(20, 20), (20, 20)]
    assert set(contrasts[0]["scores"]) == {"LLR", "DEP", "MARKOV", "transversion"}
    assert "20 rare SNVs (minor count 1) against 20 common" in printed
    rare, common = snvs(letters, 20), write(tmp_path / "common.vcf", snvs(letters, 30, "chr2"))
    against = ["--calibrate-against", common]
    assert run(binding, write(tmp_path / "r.vcf", rare), toy_fasta, tmp_path / "p.tsv", *against) == 0
    (contrast,) = json.loads((tmp_path / "run_p.tsv.json").read_text())["metrics"]["contrasts"]
    assert (contrast["name"], contrast["rare"], contrast["common"]) == ("those of r.vcf", 20, 30)
    assert main(["compare", str(tmp_path), "--quiet"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Variants" in page
    assert "o.vcf.gz" in page


def test_a_binding_model_says_what_changes_in_its_track(models, binding, letters, toy_fasta, tmp_path):
    vcf = write(tmp_path / "in.vcf", snvs(letters, 5))
    for name in ("baseline", "vocab4"):
        out = tmp_path / f"{name}.vcf.gz"
        assert run(binding, vcf, toy_fasta, out, model=models / name) == 0
        with pysam.VariantFile(str(out)) as file:
            rows = list(file)
        assert len(rows) == 5
        for key in ("DNALM_DMAX", "DNALM_DSUM", "DNALM_GAINED", "DNALM_LOST"):
            assert all(key in each.info for each in rows)
    assert (
        run(binding, vcf, toy_fasta, tmp_path / "t.tsv", "--site-threshold", 99, model=models / "baseline")
        == 0
    )
    assert [row.split("\t")[7:] for row in (tmp_path / "t.tsv").read_text().splitlines()[1:]] == [
        ["0", "0", "."]
    ] * 5


def test_two_processes_write_the_same_bytes(binding, letters, toy_fasta, tmp_path, two_processes):
    vcf = write(tmp_path / "in.vcf", snvs(letters, 300))
    assert run(binding, vcf, toy_fasta, tmp_path / "one.vcf.gz") == 0
    words = [
        "variants",
        str(binding.outputs / "vocab4"),
        "--vcf",
        str(vcf),
        "--genome",
        str(toy_fasta),
        *FAST,
    ]
    job = {"task": "command", "words": [*words, "--out", str(tmp_path / "two.vcf.gz")]}
    _, (shown,) = two_processes(tmp_path, [job])
    assert shown["code"] == [0, 0], shown["err"]
    assert (tmp_path / "two.vcf.gz").read_bytes() == (tmp_path / "one.vcf.gz").read_bytes()
