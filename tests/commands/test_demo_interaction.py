"""Tests for dnalm/commands/demo_interaction.py, on few pairs."""

import json
import shutil

import pytest

from dnalm.commands import demo_interaction as demo
from dnalm.commands.runs import RunOptions
from dnalm.device import Compute
from dnalm.files import write_json
from dnalm.genome import simulate

pytest.importorskip("rdkit", reason="needs the extra interaction")
COMPUTE = Compute(device="cpu")


@pytest.fixture
def out(tmp_path, monkeypatch, binding):
    """The demo's folder, its models trained and judged."""
    monkeypatch.setattr(simulate, "PAIRS", 600)
    monkeypatch.setattr(demo, "EPOCHS", dict.fromkeys(demo.EPOCHS, 1))
    monkeypatch.setattr(demo, "DNA_LENGTH", dict.fromkeys(demo.DNA_LENGTH, 40))
    shutil.copytree(binding.outputs, tmp_path / "outputs")  # what the demo's pretraining leaves
    demo.simulate(tmp_path, seed=1)
    demo.prepare(tmp_path, seed=1, quiet=True)
    for train in demo.trainings(tmp_path, run=RunOptions(compute=COMPUTE, quiet=True)):
        train()
    demo.judge(tmp_path, compute=COMPUTE, quiet=True)
    return tmp_path


def test_the_chapter_tells_the_rule_and_who_has_found_it(out):
    for name in demo.EPOCHS:
        assert (out / "interactions" / name / "results.json").is_file()
    evaluation = out / "interactions" / "evaluation_test.json"
    judged = json.loads(evaluation.read_text())
    assert list(judged["models"]) == ["original", "kmer-morgan", "foundation", "foundation-pooled"]
    assert judged["models"]["foundation"]["model"]["kind"] == "foundation (vocab4 + morgan)"
    assert judged["models"]["foundation-pooled"]["model"]["kind"] == "foundation-pooled (vocab4 + morgan)"
    for name, auroc in (("original", (0.48, 0.4, 0.55)), ("kmer-morgan", (0.89, 0.85, 0.92))):
        scores = judged["models"][name]["scores"]
        scores["auroc"] = dict(zip(("value", "low", "high"), auroc, strict=True))
    judged["ladder"][judged["best_rung"]]["scores"]["auroc"] = {"value": 0.7, "low": 0.6, "high": 0.8}
    write_json(evaluation, judged)
    chapter = demo.chapter(out)
    made_up, short = chapter.paragraphs[:2]
    assert "the rule itself has an AUROC of 0.9" in made_up
    assert "Random split, negatives given, node rate 0." in short
    assert "original has not found the rule, 0.4800 (0.4000 to 0.5500)" in short
    assert "kmer-morgan has found the rule, 0.8900 (0.8500 to 0.9200)" in short
    assert "the best rung of the ladder, has found part of the rule, 0.7000" in short
    demo.screen(out, compute=COMPUTE, quiet=True)
    page = demo.screen_page(out).read_text()
    assert page.count("along the gene (above) and on the atoms (below)") == 3
    assert page.count("Test part, random split, negatives given") == 1
    assert chapter.findings
    assert chapter.figures


def test_every_gene_keeps_a_motif_in_what_is_read_of_it():
    third = simulate.GENE_LENGTHS[1] // simulate.COPIES
    assert all(third <= length for length in demo.DNA_LENGTH.values())
