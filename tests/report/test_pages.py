"""Tests for the pages and the chapters on language, binding and pairs: they say what results say."""

import base64
import re
from xml.etree import ElementTree

import pytest

from dnalm.bootstrap import Estimate
from dnalm.files import write_json
from dnalm.report.language import genome_chapter, language_chapter
from dnalm.report.pages import Chapter, Picture, Table, picture, write_page
from dnalm.report.sentences import interval, language_findings, verdict
from dnalm.results import decode
from dnalm.results.language import LanguageMetrics
from tests.report.conftest import PNG
from tests.report.invented import make_run, rows_of, write_outputs

NAN = float("nan")


def test_a_page_begins_with_at_most_five_findings_then_its_contents(page_of):
    findings = [f"finding {row}." for row in range(7)]
    text = page_of(Chapter("One", findings, figures=[Picture(PNG, "the figure", "")]))
    places = [text.index(word) for word in ("finding 4.", "the figure", "<nav>", "finding 5.")]
    assert places == sorted(places)
    assert all(text.count(words) == 1 for words in [*findings, "the figure"])
    text = page_of(Chapter("One", findings), Chapter("Two", ["another."]), Chapter("Three"))
    answer = text[: text.index("<nav>")]
    assert ["finding 1." in answer, "another." in answer, "finding 2." in answer] == [True, True, False]
    assert all(finding in text for finding in findings)


def test_text_is_escaped_everywhere(page_of):
    nasty = "<b>&\"'"
    table = Table(nasty, [nasty], [[nasty, nasty]])
    chapter = Chapter(nasty, [nasty], [table], [Picture(PNG, nasty, nasty)], [nasty], [table])
    text = page_of(chapter, chapter, title=nasty)
    assert "<b>" not in text
    assert text.count("&lt;b&gt;") > 20


def test_a_page_does_without_a_picture_that_cannot_be_drawn(page_of, tmp_path):
    chapter = Chapter("One", ["yes"], figures=[picture(lambda: 1 / 0, "a caption", "the curve")])
    assert "the curve: not drawn" in page_of(chapter)
    assert "<img" not in page_of(chapter)
    assert write_page([chapter], tmp_path / "page.html", "t") == [chapter.figures[0].caption]


def test_pictures_have_their_size_in_inches_and_tables_align():
    assert Picture(PNG, "", "").width == 300 * 96 // 150
    _, *lines = Table("Caption", ["", "b"], [["long name", "1"], ["x", "2"]]).text().splitlines()
    assert [line.rindex(cell) for line, cell in zip(lines, "b12", strict=True)] == [11] * 3


@pytest.mark.parametrize(
    ("gap", "expected", "text"),
    [
        (Estimate(0.2, 0.1, 0.3), "better", "+0.2000 (+0.1000 to +0.3000)"),
        (Estimate(-0.2, -0.3, -0.1), "worse", "-0.2000 (-0.3000 to -0.1000)"),
        (Estimate(0.2, -0.1, 0.3), "undecided", "+0.2000 (-0.1000 to +0.3000)"),
        (Estimate(0.0001, 0.0, 0.3), "undecided", "+0.000100 (+0.000000 to +0.300000)"),
        (Estimate(0.2, NAN, NAN), "unknown", "+0.2000"),
        (Estimate(NAN, 0.1, 0.2), "unknown", "undefined"),
    ],
)
def test_a_verdict_follows_the_interval(gap, expected, text):
    assert verdict(gap) == expected
    assert interval(gap, "+") == text
    assert verdict(None) == "unknown"


def test_the_language_page_has_each_run_with_its_numbers_and_needs_nothing_but_itself(page_of, tmp_path):
    runs = {"full": make_run("full", 1.945), "vocab4": make_run("vocab4", 1.972)}
    chapter = language_chapter([write_outputs(tmp_path / "my outputs", *runs.values())])
    (table,) = chapter.tables
    assert table.columns == ["", "full", "vocab4"]
    rows = rows_of(table)
    assert rows["parameters"] == ["7,096,704"] * 2
    assert rows["trained on"] == ["19,200,000 tokens in 1,000 steps"] * 2
    assert rows["time"] == ["1 min 20 s"] * 2
    assert rows["bits per base"] == ["1.9450", "1.9720"]
    assert rows["its 95 % interval"] == ["1.9410 to 1.9490", "1.9680 to 1.9760"]
    assert rows["best Markov model (bits per base)"] == ["1.9600"] * 2
    assert rows["gain over it (bits per base)"] == ["+0.0150", "-0.0120"]
    *findings, both = chapter.findings
    for finding, (mode, run) in zip(findings, runs.items(), strict=True):
        assert finding.startswith(f"{mode}: ")
        assert finding.endswith(run["metrics"]["verdict"])
    assert "full is 0.0270 bits per base lower than vocab4" in both
    assert "contigs XV, XVI are held out" in " ".join(chapter.paragraphs)
    facts = rows_of(chapter.details[1])
    assert facts["command"] == ["dnalm pretrain --data data/vocab4 --out 'my outputs' --recipe default"]
    assert "torch 2.13" in facts["versions"][0]
    text = page_of(chapter)
    closed = re.sub(r"<(meta|img)([^>]*)>", r"<\1\2/>", text)  # then a page is XML
    tags = list(ElementTree.fromstring(closed).iter())
    assert len([tag for tag in tags if tag.get("alt")]) == 4  # Markov models, two curves, times
    ids = {tag.get("id") for tag in tags}
    for address in (tag.get(name) for tag in tags for name in ("src", "href", "srcset") if tag.get(name)):
        if address.startswith("#"):  # the table of contents
            assert address[1:] in ids
        else:
            assert base64.b64decode(address.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert not re.search(r"https?://|@import|url\(|<script|<link", text)


@pytest.mark.parametrize(
    ("bits", "word"), [(1.955, "better"), (1.957, "no winner"), (1.963, "no winner"), (1.965, "worse")]
)
def test_the_language_finding_says_who_wins_and_compares_models_of_the_same_bases(bits, word):
    runs = {"full": make_run("full", bits), "vocab4": make_run("vocab4", best=1.93)}
    metrics = {name: decode(run["metrics"], LanguageMetrics, "x") for name, run in runs.items()}
    found = language_findings(metrics)
    assert any(finding.startswith(f"full: {word}") for finding in found)
    assert "lower than" not in " ".join(found)


def test_the_genome_chapter_counts(tmp_path):
    contigs = [
        {"name": "chr1", "length": 1200, "bases": 1100, "train": [0, 1100], "val": None},
        {"name": "chr2", "length": 900, "bases": 900, "train": [1100, 700], "val": [0, 200]},
        {"name": "chr3", "length": 50, "bases": 0, "train": None, "val": None},
    ]
    counts = {"bases": 2000, "soft_masked": 500, "n": 150, "other_iupac": {"R": 2, "Y": 1}}
    counts |= {"train_bases": 1800, "val_bases": 200}
    meta = {"sources": [{"name": "my genome.fa"}], "contigs": contigs, "counts": counts}
    write_json(tmp_path / "meta.json", meta)
    chapter = genome_chapter(tmp_path)
    for words in ("my genome.fa: 3 contigs, 2,000 bases, of which 25.0%", "150 N and 3 other", "1,800 bases"):
        assert words in chapter.paragraphs[0]
    assert [row[3] for row in chapter.tables[0].rows] == ["training", "both, cut in two", "none"]
