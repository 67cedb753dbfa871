"""Tests for dnalm/report/page.py."""

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from dnalm.report import page
from dnalm.report.page import (
    Chapter,
    Picture,
    Table,
    finding,
    genome_chapter,
    pretraining_chapter,
    write_page,
)

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (300).to_bytes(4, "big") + (200).to_bytes(4, "big")


@pytest.fixture(scope="module")
def chapter(outputs):
    """The chapter of both modes; its pictures take a second to draw."""
    return pretraining_chapter(outputs)


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests of the text: pictures are not drawn."""
    monkeypatch.setattr(page, "draw", lambda plot, caption, alt: Picture(PNG, caption, alt))


class Page(HTMLParser):
    """Tags and addresses of a page, and whether every tag that opens also closes."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attrs)
        self.addresses += [attrs[name] for name in ("src", "href", "srcset") if name in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_needs_nothing_but_itself(chapter, tmp_path):
    path = tmp_path / "my report.html"
    write_page([chapter], path, "A report")
    text = path.read_text()
    shown = Page(text)
    assert shown.open == []
    assert len(shown.images) == 4  # two curves, the ladder, the times
    assert all(image["alt"] for image in shown.images)
    for address in shown.addresses:
        assert base64.b64decode(address.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert not re.search(r"https?://|@import|url\(|<script|<link", text)
    for word in ("viewport", "prefers-color-scheme: dark", "@media print", "<title>A report</title>"):
        assert word in text


def test_text_is_escaped_everywhere(tmp_path):
    nasty = "<b>&\"'"
    table = Table(nasty, [nasty], [[nasty, nasty]])
    chapter = Chapter(nasty, [nasty], [nasty], [table], [Picture(PNG, nasty, nasty)], [table])
    write_page([chapter], tmp_path / "x.html", nasty)
    text = (tmp_path / "x.html").read_text()
    assert "<b>" not in text
    assert text.count("&lt;b&gt;") == 14  # title twice, chapter 3, tables 4 + 3, picture 2


def test_pictures_keep_their_size_in_inches():
    assert Picture(PNG, "", "").width == 300 * 96 // 150


def test_chapter_tells_each_run_with_its_numbers(chapter, outputs):
    (table,) = chapter.tables
    assert table.columns == ["", "full", "vocab4"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["parameters"] == ["7,096,704"] * 2
    assert rows["trained on"] == ["19,200,000 tokens in 1,000 steps"] * 2
    assert rows["time"] == ["1 min 20 s"] * 2
    assert rows["bits per base"] == ["1.9450", "1.9720"]
    assert rows["its 95 % interval"] == ["1.9410 to 1.9490", "1.9680 to 1.9760"]
    assert rows["best Markov model (bits per base)"] == ["1.9600"] * 2
    assert rows["gain over it (bits per base)"] == ["+0.0150", "-0.0120"]
    for mode, sentence in zip(("full", "vocab4"), chapter.findings, strict=True):
        run = json.loads((outputs / mode / "run.json").read_text())
        assert sentence.startswith(f"{mode}: ")
        assert sentence.endswith(run["metrics"]["verdict"])
    text = " ".join(chapter.paragraphs)
    assert "only what lies to its left" in text
    assert "the contigs XV, XVI are held out whole" in text
    assert "full is 0.0270 bits per base lower than vocab4; their intervals do not overlap" in text
    facts = {row[0]: row[1] for row in chapter.details[1].rows}
    assert facts["command"] == "dnalm pretrain --data data/vocab4 --out 'my outputs' --recipe default"
    assert "torch 2.13" in facts["versions"]
    assert facts["seed"] == "0"


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (1.955, "better than every Markov model tried."),
        (1.957, "no winner;"),
        (1.963, "no winner;"),
        (1.965, "it loses to a Markov model"),
    ],
)
def test_finding_is_plain_about_who_wins(make_run, bits, words):
    metrics = make_run("full", bits, width=0.004, best=1.96)["metrics"]
    assert finding(metrics).startswith(words)
    assert finding(metrics).endswith(metrics["verdict"])


def test_genome_chapter_counts(tmp_path):
    meta = {
        "sources": [{"name": "my genome.fa"}],
        "contigs": [
            {"name": "chr1", "length": 1200, "bases": 1100, "train": [0, 1100], "val": None},
            {"name": "chr2", "length": 900, "bases": 900, "train": [1100, 700], "val": [0, 200]},
            {"name": "chr3", "length": 50, "bases": 0, "train": None, "val": None},
        ],
        "counts": {
            "bases": 2000, "soft_masked": 500, "n": 150, "other_iupac": {"R": 2, "Y": 1},
            "train_bases": 1800, "val_bases": 200,
        },
    }  # fmt: skip
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    chapter = genome_chapter(tmp_path)
    assert chapter.paragraphs[0].startswith(
        "my genome.fa: 3 contigs, 2,000 bases, of which 25.0% are soft-masked"
    )
    assert "150 N and 3 other ambiguous letters" in chapter.paragraphs[0]
    assert [row[3] for row in chapter.tables[0].rows] == ["training", "both, cut in two", "none"]


def test_one_mode_alone_is_enough(no_pictures, make_run, write_outputs, tmp_path):
    chapter = pretraining_chapter(write_outputs(tmp_path / "o", make_run("vocab4")))
    assert len(chapter.figures) == 3
    assert "lower than" not in " ".join(chapter.paragraphs)


def test_models_judged_on_other_bases_are_not_compared(no_pictures, make_run, write_outputs, tmp_path):
    folder = write_outputs(tmp_path / "o", make_run("full", best=1.93), make_run("vocab4"))
    text = " ".join(pretraining_chapter(folder).paragraphs)
    assert "do not compare with each other" in text
    assert "lower than" not in text


def test_unfinished_runs_are_left_out(make_run, write_outputs, tmp_path):
    run = make_run("full") | {"status": "interrupted", "metrics": {"mode": "full"}}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "run.json").write_text(json.dumps(run))
    with pytest.raises(ValueError, match="expected at least one finished pretraining run"):
        pretraining_chapter(tmp_path)


def test_report_never_imports_torch():
    code = "import dnalm.report.page, dnalm.report.tables, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
