"""Tests for `dnalm score`."""

import json

import numpy as np
import pybigtools
import pytest

from dnalm.cli import main
from dnalm.dna import BASES
from dnalm.report.score import score_chapter
from dnalm.results import decode
from dnalm.results.use import ScoreMetrics
from tests.use.test_load import save_language


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model whose run.json holds out II, a genome, genes on both contigs, and regions with faults."""
    folder = tmp_path_factory.mktemp("score verb")
    save_language(folder / "run" / "checkpoint")
    about = {"format": "dnalm-run", "format_version": 1, "verb": "pretrain", "metrics": {}}
    about["data"] = {"sources": [], "split": {"kind": "contigs", "val_contigs": ["II"]}}
    (folder / "run" / "run.json").write_text(json.dumps(about))
    draws = np.random.default_rng(6)
    texts = {name: "".join(draws.choice(list(BASES), 900)) for name in ("I", "II")}
    (folder / "toy.fa").write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    genes = [("chrI", 1, 300, "+"), ("chrII", 1, 300, "+"), ("chrII", 401, 700, "-"), ("chrX", 1, 3, "+")]
    rows = [f"{c}\tx\tCDS\t{a}\t{b}\t.\t{s}\t0\tParent=t{a}\n" for c, a, b, s in genes]
    (folder / "toy.gff3").write_text("".join(rows))
    (folder / "toy.bed").write_text(
        "track name=x\nI\t0\t50\ta\nIII\t0\t9\nI\t10\t10\nII\t0\t901\nII\t5\t60\n"
    )
    return folder


def score(files, out, *flags):
    words = ["score", files / "run", "--genome", files / "toy.fa", "--out", out, "--device", "cpu", "--quiet"]
    return [str(word) for word in (*words, *flags)]


def annotated(files, out):
    more = ["--annotation", files / "toy.gff3", "--rename", "chr", "--track", out.with_suffix(".bw")]
    return score(files, out, *more, "--codons", "12")


def test_regions_are_accounted_for_in_the_table_the_track_and_the_record(files, tmp_path, capsys):
    out, track = tmp_path / "my scores.tsv", tmp_path / "bits.bw"
    words = score(files, out, "--regions", files / "toy.bed", "--track", track)
    assert main(words) == 0
    header, *rows = [line.split("\t") for line in out.read_text().splitlines()]
    assert header == ["name", "contig", "start", "end", "bases", "bits_per_base", "markov", "gain"]
    assert [row[:5] for row in rows] == [["a", "I", "0", "50", "50"], ["II:6-60", "II", "5", "60", "55"]]
    signal = pybigtools.open(str(track)).values("I", 0, 900)
    assert np.count_nonzero(np.isfinite(signal)) == 50
    assert np.nanmean(signal[:50]) == pytest.approx(float(rows[0][5]), rel=1e-4)
    record = json.loads((tmp_path / "run_my scores.tsv.json").read_text())
    metrics = decode(record["metrics"], ScoreMetrics, out)
    assert record["status"] == "done"
    assert metrics.regions.read == 5 == metrics.regions.written + sum(metrics.regions.left_out.values())
    assert "3 regions" not in capsys.readouterr().err
    assert main(words) == 2  # it exists
    assert "--overwrite" in capsys.readouterr().err


def test_an_annotation_is_of_what_was_held_out(files, tmp_path, capsys):
    out = tmp_path / "scores.tsv"
    assert main(annotated(files, out)) == 0
    shown = capsys.readouterr().out
    assert "only what was held out in training (II)" in shown
    assert "nonsense" in shown
    assert len(shown.splitlines()) < 40
    metrics = decode(json.loads((tmp_path / "run_scores.tsv.json").read_text())["metrics"], ScoreMetrics, out)
    assert {row.name: row.bases for row in metrics.features}["coding"] == 600
    assert metrics.regions.left_out == {"in the training part": 1}
    assert out.with_suffix(".png").exists()
    chapter = score_chapter([tmp_path])
    assert [table.rows[0][0] for table in chapter.tables] == ["all bases", "nonsense"]
    assert len(chapter.figures) == 1
    assert [row[0] for row in chapter.details[0].rows[:2]] == ["command", "seed"]
    assert main([*annotated(files, out), "--part", "all", "--overwrite"]) == 0
    assert "coding            900" in capsys.readouterr().out


def test_sequences_have_no_markov_model_unless_a_genome_is_given(files, tmp_path):
    out = tmp_path / "scores.tsv"
    alone = ["score", str(files / "run"), "--fasta", str(files / "toy.fa"), "--out", str(out), "--quiet"]
    assert main(alone) == 0
    assert out.read_text().splitlines()[1].endswith("\t\t")
    assert main([*alone, "--overwrite", "--genome", str(files / "toy.fa")]) == 0
    assert not out.read_text().splitlines()[1].endswith("\t")


def test_mistakes_are_named_and_leave_nothing(files, binding, models, tmp_path, capsys):
    out = tmp_path / "out" / "scores.tsv"
    bed = tmp_path / "turned.bed"
    bed.write_text("II\t0\t9\nI\t0\t9\n")
    wrong = {
        "dnalm predict": ["score", str(models / "baseline"), "--genome", str(files / "toy.fa")],
        "--genome, with or without": ["score", str(files / "run")],
        "in the order": score(files, out, "--regions", bed, "--track", out.with_suffix(".bw")),
        "--rename": score(files, out, "--annotation", files / "toy.gff3"),
        "is not known": [*score(files, out, "--part", "held-out"), "--fasta", str(files / "toy.fa")],
        "--bases": score(files, out, "--bases", "-5"),
    }
    for message, words in wrong.items():
        assert main([*words, "--out", str(out)]) == 2, message
        assert message in capsys.readouterr().err
    assert not list(out.parent.glob("*.tsv")) if out.parent.exists() else True


def test_two_processes_write_the_same_bytes(files, tmp_path, two_processes):
    one, two = tmp_path / "one" / "scores.tsv", tmp_path / "two" / "scores.tsv"
    assert main(annotated(files, one)) == 0
    ended, (shown,) = two_processes(tmp_path, [{"task": "command", "words": annotated(files, two)}])
    assert shown["code"] == [0, 0], ended.stderr
    for name in ("scores.tsv", "scores.bw"):
        assert (one.parent / name).read_bytes() == (two.parent / name).read_bytes()
    records = [json.loads((each.parent / "run_scores.tsv.json").read_text()) for each in (one, two)]
    assert records[0]["metrics"] == records[1]["metrics"]
