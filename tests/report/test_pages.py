"""Tests for the pages and the chapters on language, binding and pairs: they say what results say."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest

from dnalm.bootstrap import Estimate, moments, paired_difference, pearson_estimate
from dnalm.files import write_json
from dnalm.report import binding, language, pairs
from dnalm.report.binding import binding_chapter, draw_comparisons
from dnalm.report.language import genome_chapter, language_chapter
from dnalm.report.pages import Chapter, Picture, Table, write_page
from dnalm.report.pairs import pair_chapter
from dnalm.report.sentences import interval, language_finding, verdict
from dnalm.results import LanguageMetrics, decode
from tests.report.invented import (
    CNN,
    TRUTH,
    N,
    add,
    change,
    evaluate,
    make_evaluation,
    make_results,
    make_run,
    make_scores,
    model_of,
    write_outputs,
)

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (300).to_bytes(4, "big") + (200).to_bytes(4, "big")
NAN = float("nan")


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests of tables and text: figures are not rendered."""
    for module in (language, binding, pairs):
        monkeypatch.setattr(module, "picture", lambda figure, caption, alt: Picture(PNG, caption, alt))


class Page(HTMLParser):
    """Tags and addresses of a page, and whether every tag that opens also closes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.images, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(attrs)
        self.ids += [attrs[name] for name in ("id",) if name in attrs]
        self.addresses += [attrs[name] for name in ("src", "href", "srcset") if name in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(tmp_path, *chapters):
    write_page(chapters, tmp_path / "my page.html", "A title")
    return (tmp_path / "my page.html").read_text()


def rows_of(table):
    return {row[0]: list(row[1:]) for row in table.rows}


def test_a_page_needs_nothing_but_itself(tmp_path):
    folder = write_outputs(tmp_path / "my outputs", make_run("full", 1.945), make_run("vocab4", 1.972))
    text = page_of(tmp_path, language_chapter([folder]))
    page = Page(text)
    assert page.open == []
    assert len(page.images) == 4  # Markov models, two curves, times
    assert all(image["alt"] for image in page.images)
    for address in page.addresses:
        if address.startswith("#"):  # the table of contents
            assert address[1:] in page.ids
        else:
            assert base64.b64decode(address.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert not re.search(r"https?://|@import|url\(|<script|<link", text)
    for word in ("viewport", "prefers-color-scheme: dark", "@media print", "<title>A title</title>"):
        assert word in text


def test_a_page_begins_with_at_most_five_findings_then_its_contents(tmp_path):
    findings = [f"finding {row}." for row in range(7)]
    text = page_of(tmp_path, Chapter("One", findings, figures=[Picture(PNG, "the figure", "")]))
    order = ["finding 4.", "the figure", "<nav>", "finding 5."]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)
    assert all(text.count(finding) == 1 for finding in findings)
    assert text.count("the figure") == 1
    text = page_of(tmp_path, Chapter("One", findings), Chapter("Two", ["another."]), Chapter("Three"))
    answer = text[: text.index("<nav>")]
    assert ["finding 1." in answer, "another." in answer, "finding 2." in answer] == [True, True, False]
    assert all(finding in text for finding in findings)


def test_text_is_escaped_everywhere(tmp_path):
    nasty = "<b>&\"'"
    table = Table(nasty, [nasty], [[nasty, nasty]])
    chapter = Chapter(nasty, [nasty], [table], [Picture(PNG, nasty, nasty)], [nasty], [table])
    write_page([chapter, chapter], tmp_path / "x.html", nasty)
    text = (tmp_path / "x.html").read_text()
    assert "<b>" not in text
    assert text.count("&lt;b&gt;") > 20


def test_pictures_have_their_size_in_inches_and_tables_align():
    assert Picture(PNG, "", "").width == 300 * 96 // 150
    caption, *lines = Table("Caption", ["", "b"], [["long name", "1"], ["x", "2"]]).text().splitlines()
    assert caption == "Caption"
    assert {line.rindex(cell) for line, cell in zip(lines, "b12", strict=True)} == {11}


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (Estimate(0.2, 0.1, 0.3), "better"),
        (Estimate(-0.2, -0.3, -0.1), "worse"),
        (Estimate(0.2, -0.1, 0.3), "undecided"),
        (Estimate(0.0, 0.0, 0.0), "undecided"),
        (Estimate(0.2, NAN, NAN), "unknown"),
        (None, "unknown"),
    ],
)
def test_a_verdict_follows_the_interval(gap, expected):
    assert verdict(gap) == expected


def test_figures_are_written_with_their_interval():
    assert interval(Estimate(0.7, 0.6, 0.8)) == "0.7000 (0.6000 to 0.8000)"
    assert interval(Estimate(0.7, 0.6, 0.8), "+") == "+0.7000 (+0.6000 to +0.8000)"
    assert interval(Estimate(0.0001, 0.00005, 0.3)) == "0.000100 (0.000050 to 0.300000)"
    assert interval(Estimate(0.7, NAN, NAN)) == "0.7000"
    assert interval(Estimate(NAN, 0.1, 0.2)) == "undefined"


# Language models


def test_the_language_chapter_has_each_run_with_its_numbers(no_pictures, tmp_path):
    folder = write_outputs(tmp_path / "my outputs", make_run("full", 1.945), make_run("vocab4", 1.972))
    chapter = language_chapter([folder])
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
    full, four, both = chapter.findings
    for finding, mode in ((full, "full"), (four, "vocab4")):
        run = json.loads((folder / mode / "run.json").read_text())
        assert finding.startswith(f"{mode}: ")
        assert finding.endswith(run["metrics"]["verdict"])
    assert "full is 0.0270 bits per base lower than vocab4" in both
    assert "contigs XV, XVI are held out" in " ".join(chapter.paragraphs)
    facts = rows_of(chapter.details[1])
    assert facts["command"] == ["dnalm pretrain --data data/vocab4 --out 'my outputs' --recipe default"]
    assert "torch 2.13" in facts["versions"][0]


@pytest.mark.parametrize(
    ("bits", "word"), [(1.955, "better"), (1.957, "no winner"), (1.963, "no winner"), (1.965, "worse")]
)
def test_the_language_finding_says_who_wins(bits, word):
    metrics = decode(make_run("full", bits, width=0.004, best=1.96)["metrics"], LanguageMetrics, "x")
    assert language_finding(metrics).startswith(word)


def test_models_of_other_bases_are_not_compared(no_pictures, tmp_path):
    folder = write_outputs(tmp_path / "o", make_run("full", best=1.93), make_run("vocab4"))
    assert "lower than" not in " ".join(language_chapter([folder]).findings)
    one = language_chapter([write_outputs(tmp_path / "one", make_run("vocab4"))])
    assert len(one.findings) == 1


def test_the_genome_chapter_counts(tmp_path):
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
    write_json(tmp_path / "meta.json", meta)
    chapter = genome_chapter(tmp_path)
    for words in ("my genome.fa: 3 contigs, 2,000 bases, of which 25.0%", "150 N and 3 other", "1,800 bases"):
        assert words in chapter.paragraphs[0]
    assert [row[3] for row in chapter.tables[0].rows] == ["training", "both, cut in two", "none"]


# Binding models


def test_the_better_model_is_named_with_the_paired_interval(no_pictures, tmp_path):
    one, other = add(tmp_path, "baseline", 1.0, **CNN), add(tmp_path, "vocab4", 4.0)
    chapter = binding_chapter([tmp_path])
    r = pearson_estimate(moments(TRUTH, one))
    gap = paired_difference(moments(TRUTH, one), moments(TRUTH, other))
    (finding,) = chapter.findings
    assert finding.startswith(f"Validation part: baseline has the highest Pearson R, {interval(r)}.")
    assert f"beats vocab4 by {interval(gap)}" in finding
    assert rows_of(chapter.tables[1]) == {"baseline minus vocab4": [interval(gap, "+"), "baseline"]}
    assert rows_of(chapter.tables[0])["baseline"][0] == interval(r)


def test_models_alike_have_no_winner(no_pictures, tmp_path):
    add(tmp_path, "a", 2.0, seed=1)
    add(tmp_path, "b", 2.0, seed=2)
    chapter = binding_chapter([tmp_path])
    assert not re.search("highest|beats", chapter.findings[0])
    assert chapter.tables[1].rows[0][-1] == "undecided"


@pytest.mark.parametrize(
    ("pretrained", "untrained", "words"),
    [(1.0, 4.0, "pretraining helped"), (4.0, 1.0, "did not help"), (2.0, 2.0, "no effect")],
)
def test_pretraining_is_compared_with_the_untrained_core(no_pictures, tmp_path, pretrained, untrained, words):
    add(tmp_path, "vocab4", pretrained, seed=1)
    add(tmp_path, "vocab4_random", untrained, seed=2, random_core=True, core=None)
    add(tmp_path, "full", 3.0, seed=3, parameters=7_753_601)  # another model: no twin of the untrained one
    add(tmp_path, "other", 3.0, seed=4, trained_as={"epochs": 9})
    (finding,) = (finding for finding in binding_chapter([tmp_path]).findings if "pretraining" in finding)
    assert words in finding


def test_the_test_part_comes_first_with_its_baselines(no_pictures, tmp_path):
    one, other = add(tmp_path, "baseline", 1.0, **CNN), add(tmp_path, "vocab4", 4.0)
    evaluate(tmp_path, {"vocab4": (other, model_of()), "baseline": (one, model_of(**CNN))})
    chapter = binding_chapter([tmp_path])
    gap = paired_difference(moments(TRUTH, one), moments(TRUTH, other), seed=0)
    first, scan, mean, last = chapter.findings
    assert first.startswith("Test part: baseline has the highest")
    assert f"beats vocab4 by {gap.value:.4f}" in first  # vocab4 minus baseline in the file
    assert "motif scan" in scan
    assert "undefined" in mean
    assert last.startswith("Validation part")
    rows = rows_of(chapter.tables[0])
    assert list(rows) == ["baseline", "vocab4", "motif scan", "mean score"]
    assert rows["mean score"][0] == "undefined"
    assert "trust its figures first" in " ".join(chapter.paragraphs)


def test_the_text_says_how_windows_were_divided(no_pictures, tmp_path):
    add(tmp_path, "vocab4", 2.0)
    add(tmp_path, "both", 2.0, both_strands=True, seed=3)
    text = " ".join(binding_chapter([tmp_path]).paragraphs)
    assert f"3 of the {N} validation windows and 2 of the 50 test windows" in text
    assert f"300 training, {N} validation, 50 test windows" in text
    assert "one strand: vocab4." in text
    assert "--part test" in text  # it has not been evaluated
    change(tmp_path / "results_vocab4.json", "split", "kind", to="published")
    change(tmp_path / "results_vocab4.json", "split", "near_duplicates", to=None)
    (tmp_path / "results_both.json").unlink()
    text = " ".join(binding_chapter([tmp_path]).paragraphs)
    assert "no test part" in text
    assert "were not counted" in text


def test_without_a_paired_difference_the_own_intervals_speak(no_pictures, tmp_path):
    add(tmp_path, "vocab4", 4.0)
    add(tmp_path, "baseline", 1.0, **CNN)
    (tmp_path / "vocab4" / "moments.npz").unlink()
    chapter = binding_chapter([tmp_path])
    assert "their own intervals do not overlap" in chapter.findings[1]
    assert "vocab4/moments.npz" in " ".join(chapter.paragraphs)
    assert chapter.tables[1].rows[0][1] == "unknown"


def test_a_binding_page_holds_every_picture(tmp_path):
    add(tmp_path, "vocab4", 4.0)
    predicted = add(tmp_path, "baseline", 1.0, **CNN)
    evaluate(tmp_path, {"baseline": (predicted, model_of(**CNN))})
    chapter = binding_chapter([tmp_path])
    assert len(chapter.figures) == 7  # performance; tracks, density, error; two curves; times
    assert page_of(tmp_path, chapter).count("<img ") == 7
    for name in ("vocab4", "baseline"):
        change(tmp_path / f"results_{name}.json", "detail", to=None)
    (tmp_path / "evaluation_test.json").unlink()
    assert len(binding_chapter([tmp_path]).figures) == 4  # performance, two curves, times


def test_the_comparison_figures_are_drawn_anew(tmp_path):
    add(tmp_path, "vocab4", 4.0)
    paths = draw_comparisons([tmp_path], tmp_path)
    assert [path.name for path in paths] == ["finetuning_time_comparison.png", "performance_comparison.png"]
    before = paths[1].read_bytes()
    assert before.startswith(b"\x89PNG")
    add(tmp_path, "baseline", 1.0, **CNN)
    draw_comparisons([tmp_path], tmp_path)
    assert paths[1].read_bytes() != before


# Pair models

CONDITIONS = "random split, negatives degree-matched, ratio 1, node rate 0.5800"


@pytest.mark.parametrize(
    ("auroc", "gain", "words"),
    [
        (0.7, (0.02, 0.01, 0.03), "original has the highest AUROC, 0.7000 (0.6900 to 0.7100). It beats"),
        (0.66, (-0.02, -0.03, -0.01), "no model beats the best baseline, matrix factorisation"),
        (0.685, (0.005, -0.002, 0.012), "no single winner"),
        (0.685, (0.005, None, None), "no paired interval"),
    ],
)
def test_the_best_model_is_compared_with_the_best_baseline(no_pictures, tmp_path, auroc, gain, words):
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"original": auroc}, gain=gain))
    chapter = pair_chapter([tmp_path])
    first, sequenced, shuffled = chapter.findings
    assert first.startswith(f"Test part, {CONDITIONS}: ")
    assert words in first
    assert "300 of 1,000 pairs" in sequenced
    assert f"original has {auroc + 0.01:.4f}" in sequenced
    assert "0.6000" in shuffled  # other genes
    assert "0.5200" in shuffled  # other molecules


def test_other_models_are_compared_with_the_baseline_and_the_best_model(no_pictures, tmp_path):
    evaluation = make_evaluation({"original": 0.75, "kmer": 0.7, "near": 0.745})
    evaluation["models"]["kmer"]["minus_best_rung"] |= {"value": 0.02, "low": -0.01, "high": 0.05}
    write_json(tmp_path / "evaluation_test.json", evaluation)
    chapter = pair_chapter([tmp_path])
    best, near, kmer = chapter.findings[:3]
    assert "near has 0.7450" in near
    assert "beats matrix factorisation by 0.0200 (0.0100 to 0.0300)" in near
    assert "intervals overlap" in near
    assert "undecided" in kmer
    assert "do not overlap" in kmer
    verdicts = {row[0]: row[2] for row in chapter.tables[1].rows}
    assert verdicts["original"] == "+0.0200 (+0.0100 to +0.0300): better"
    assert verdicts["kmer"] == "+0.0200 (-0.0100 to +0.0500): undecided"


def test_of_many_comparisons_each_gives_its_first_finding(no_pictures, tmp_path):
    folders = [tmp_path / str(seed) for seed in range(4)]
    for seed, folder in enumerate(folders):
        evaluation = make_evaluation({"original": 0.7}, seed=seed, digest=str(seed))
        write_json(folder / "evaluation_test.json", evaluation)
    assert len(pair_chapter(folders).findings) == 4
    assert len(pair_chapter(folders[:3]).findings) == 9
    captions = [table.caption for table in pair_chapter(folders).tables]
    assert all(f"seed {seed}" in captions[2 * seed] for seed in range(4))


def test_baselines_alone_and_pairs_of_one_kind_are_reported(no_pictures, tmp_path):
    write_json(tmp_path / "evaluation_test.json", make_evaluation({}))
    (finding,) = pair_chapter([tmp_path]).findings
    assert "matrix factorisation, with an AUROC of 0.6800 (0.6700 to 0.6900)" in finding
    evaluation = make_evaluation({"original": None}, rungs={"node rate": 0.5}, gain=(None, None, None))
    for entry in (evaluation["models"]["original"], evaluation["ladder"]["node rate"]):
        entry |= {"scores": make_scores(None, rows=40, positives=40), "sequenced": None}
    write_json(tmp_path / "evaluation_test.json", evaluation)
    chapter = pair_chapter([tmp_path])
    assert len(chapter.findings) == 1
    assert "undefined" in chapter.findings[0]
    assert chapter.tables[0].rows[0][1] == "undefined"


@pytest.mark.parametrize(
    ("auroc", "word"), [(0.7, "above"), (0.5, "below"), (0.585, "not clearly different")]
)
def test_a_training_alone_is_compared_with_the_node_rate(no_pictures, tmp_path, auroc, word):
    write_json(tmp_path / "results.json", make_results(auroc))
    chapter = pair_chapter([tmp_path])
    assert f", {word}" in chapter.findings[0]
    assert chapter.findings[0].startswith(f"Validation part, {CONDITIONS}: ")
    assert "chose the epoch" in " ".join(chapter.paragraphs)
    assert rows_of(chapter.tables[0])["node rate"][:2] == ["0.5800", "not evaluated"]


def test_the_test_part_speaks_for_its_validation_part(no_pictures, tmp_path):
    write_json(tmp_path / "results.json", make_results(0.72))
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"original": 0.7}))
    cold = {"split": "cold-gene", "digest": "ee"}
    write_json(tmp_path / "cold" / "results.json", make_results(0.6, name="cold", **cold))
    chapter = pair_chapter([tmp_path])
    assert {finding.partition(", neg")[0] for finding in chapter.findings} == {
        "Test part, random split",
        "Validation part, cold-gene split",
    }
    text = " ".join(chapter.paragraphs)
    assert "for the split cold-gene." in text
    assert "2 different sets of pairs" in text


def test_no_auroc_stands_without_split_negatives_and_node_rate(no_pictures, tmp_path):
    write_json(tmp_path / "results.json", make_results(0.72))
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"original": 0.7}))
    chapter = pair_chapter([tmp_path])
    scores = [table.caption for table in chapter.tables if "AUROC" in " ".join(table.columns)]
    captions = [
        f.caption for f in chapter.figures if "validation part" in f.caption or "probability" in f.caption
    ]
    assert len(scores) == 3
    assert len(captions) == 2
    for text in [*chapter.findings, *scores, *captions]:
        for word in ("random split", "negatives degree-matched", "node rate"):
            assert word in text.lower(), text


def test_the_pair_table_has_the_figures_of_the_file(no_pictures, tmp_path):
    evaluation = make_evaluation({"original": 0.7}, negatives="none") | {"warnings": ["something is <odd>"]}
    evaluation["ladder"]["node rate"]["sequenced"] = None
    write_json(tmp_path / "evaluation_test.json", evaluation)
    chapter = pair_chapter([tmp_path])
    table = chapter.tables[0]
    assert "negatives none, node rate 0.5800; 1,000 pairs" in table.caption  # no ratio
    rows = rows_of(table)
    assert list(rows) == [
        "original", "matrix factorisation", "gradient boosting", "nearest molecules", "node rate",
    ]  # fmt: skip
    assert rows["original"] == [
        "0.7000 (0.6900 to 0.7100)", "0.7000", "0.6100", "0.6200", "1.75", "0.2100", "0.0300", "0.7100",
    ]  # fmt: skip
    assert rows["node rate"][-1] == "no such pairs"
    assert "something is <odd>" in chapter.paragraphs[-1]


def test_a_pair_page_holds_every_picture(tmp_path):
    write_json(tmp_path / "results.json", make_results(0.72))
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"original": 0.7, "<kmer>": 0.65}))
    chapter = pair_chapter([tmp_path])
    text = page_of(tmp_path, chapter)
    assert text.count("data:image/png;base64,") == len(chapter.figures) == 4
    assert "<kmer>" not in text
