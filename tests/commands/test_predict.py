"""Tests for `dnalm predict`."""

import gzip
import json

import numpy as np
import pytest

import dnalm
from dnalm.cli import main
from dnalm.results import decode
from dnalm.results.use import PredictMetrics

CNN = ["--device", "cpu", "--quiet"]


def predict(models, *flags):
    return main(["predict", *map(str, models), *CNN, *map(str, flags)])


def table(path):
    rows = [line.split("\t") for line in gzip.decompress(path.read_bytes()).decode().splitlines()[1:]]
    return {(contig, int(position) - 1): float(value) for contig, position, value in rows}


def test_regions_are_written_once_counted_and_recorded(models, toy_fasta, tmp_path, capsys):
    bed = tmp_path / "my regions.bed"
    bed.write_text(
        "track x\nchr2\t10\t20\nchr1\t40\t60\nchr1\t55\t58\nchr1\t55\t58\nchr9\t0\t1\nchr3\t1499\t1501\n"
    )
    out = tmp_path / "a track.tsv.gz"
    flags = ["--genome", toy_fasta, "--regions", bed, "--out", out]
    assert predict([models / "baseline"], *flags) == 0
    found = table(out)
    expected = {}
    for region, scores in dnalm.load(models / "baseline", device="cpu").predict_regions(toy_fasta, bed):
        for at, score in enumerate(scores.tolist(), region.start):
            if not np.isnan(score):
                expected[region.contig, at] = score
    assert found.keys() == expected.keys()
    assert len(found) == 10 + 20 - 10  # ten letters are N
    assert all(found[base] == pytest.approx(expected[base], rel=1e-5, abs=1e-7) for base in found)
    path = tmp_path / "run_a track.tsv.gz.json"
    record = json.loads(path.read_text())
    metrics = decode(record["metrics"], PredictMetrics, path)
    reasons = {"not a contig of the genome": 1, "beyond the end of its contig": 1}
    assert tuple(metrics.regions) == (6, 4, reasons)
    assert (metrics.bases, metrics.predicted, metrics.overlapping) == (30, 20, 2)
    assert record["status"] == "done"
    shown = capsys.readouterr().out
    assert "20 bases of 4 regions" in shown
    assert "2 regions overlap others" in shown
    assert "10 bases without a score" in shown
    before = out.read_bytes()
    assert predict([models / "baseline"], *flags) == 2
    assert "exists already" in capsys.readouterr().err
    assert predict([models / "baseline"], *flags, "--overwrite") == 0
    assert out.read_bytes() == before


def test_several_models_write_a_track_each(models, toy_fasta, tmp_path):
    out = tmp_path / "t.npz"
    both = [models / "baseline", models / "vocab4"]
    assert predict(both, "--fasta", toy_fasta, "--out", out, "--both-strands") == 0
    assert {each.name for each in tmp_path.glob("*.npz")} == {"t.baseline.npz", "t.vocab4.npz"}
    assert len(list(tmp_path.glob("run_*.json"))) == 2
    for name in ("baseline", "vocab4"):
        track = np.load(tmp_path / f"t.{name}.npz")
        assert track["contigs"].tolist() == ["chr1", "chr2", "chr3"]
        assert len(track["values"]) == 9000 - 51
    model = dnalm.load(models / "baseline", device="cpu")
    (_, scores), *_ = model.predict_regions(toy_fasta, both_strands=True)
    values = np.load(tmp_path / "t.baseline.npz")["values"]
    np.testing.assert_allclose(values[:4949], scores[~np.isnan(scores)], rtol=1e-5, atol=1e-6)


def test_two_processes_write_the_same_bytes(models, toy_fasta, tmp_path, two_processes):
    words = ["predict", str(models / "baseline"), "--genome", str(toy_fasta), "--threads", "1", *CNN]
    assert main([*words, "--out", str(tmp_path / "one.npz")]) == 0
    job = {"task": "command", "words": [*words, "--out", str(tmp_path / "two.npz")]}
    ended, (shown,) = two_processes(tmp_path, [job])
    assert shown["code"] == [0, 0], ended.stderr
    assert (tmp_path / "two.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()
    assert shown["out"].count("two.npz:") == 1


def test_mistakes_are_one_message_and_leave_nothing(
    models, binding, pair_folder, toy_fasta, tmp_path, capsys
):
    empty = tmp_path / "empty.bed"
    empty.write_text("")
    model, genome = [models / "baseline"], ["--genome", toy_fasta]
    language = [binding.outputs / "vocab4"]
    for models_, flags, message in (
        (language, genome, "dnalm finetune or dnalm baseline, got a language model; dnalm score"),
        ([pair_folder], genome, "expected a"),
        ([], genome, "expected a model, got none"),
        (model, [], "--genome or --fasta, got none"),
        (model, [*genome, "--fasta", toy_fasta], "got both"),
        (model, ["--fasta", toy_fasta, "--regions", empty], "--regions"),
        (model, [*genome, "--regions", empty], "BED file without any"),
        (model, [*genome, "--regions", tmp_path / "none.bed"], "there is no such file"),
        (model, [*genome, "--stride", "0"], "--stride must be 1"),
        ([models / "vocab4"], [*genome, "--window", "41"], "--window must be 1 to 40"),
        (model, [*genome, "--out", tmp_path / "t.wig"], "ends in .bw"),
        (model, [*genome, "--rename", tmp_path / "none"], "there is no such file"),
    ):
        out = [] if "--out" in flags else ["--out", tmp_path / "t.npz"]
        assert predict(models_, *flags, *out) == 2
        assert message in " ".join(capsys.readouterr().err.replace("│", "").split())
    assert [each.name for each in tmp_path.iterdir()] == ["empty.bed"]


def test_a_bigwig_opens_and_agrees_with_its_own_truth(models, toy_fasta, tmp_path, capsys):
    pybigtools = pytest.importorskip("pybigtools")
    out = tmp_path / "t.bw"
    assert predict([models / "baseline"], "--genome", toy_fasta, "--out", out) == 0
    with pybigtools.open(str(out)) as file:
        assert file.chroms() == {"chr1": 5000, "chr2": 2500, "chr3": 1500}
        assert file.info()["summary"]["basesCovered"] == 9000 - 51
    again = tmp_path / "again.bw"
    capsys.readouterr()
    assert predict([models / "baseline"], "--genome", toy_fasta, "--out", again, "--truth", out) == 0
    assert "Pearson R 1.0000" in capsys.readouterr().out
    assert main(["compare", str(tmp_path), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "Predicted tracks." in shown
    assert "baseline gave 8,949 bases of 3 regions a score; Pearson R with t.bw is 1.0000" in shown
    page = (tmp_path / "report.html").read_text()
    assert "the highest scores of baseline" in page
    assert "not drawn" not in page


@pytest.mark.parametrize("end", ["T", "G", "N"])
def test_a_sequence_shorter_than_anything_is_scored(models, tmp_path, end):
    (tmp_path / "s.fa").write_text(f">a\nA{end}\n>b\n{end}\n")
    out = tmp_path / "t.tsv.gz"
    assert predict([models / "baseline"], "--fasta", tmp_path / "s.fa", "--out", out) == 0
    assert list(table(out)) == [("a", 0)] if end == "N" else [("a", 0), ("a", 1), ("b", 0)]
