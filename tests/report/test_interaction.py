"""Tests for dnalm/report/interaction.py and interaction_words.py, on small invented results."""

import re

import pytest

from dnalm.files import write_json
from dnalm.report import interaction
from dnalm.report.interaction import headings, interaction_chapter, scores_table
from dnalm.report.page import Picture, write_page
from dnalm.report.read_pairs import read_results

TEST = "Test part, random split, negatives degree-matched, ratio 1, node rate 0.5800: "
VALIDATION = TEST.replace("Test", "Validation")


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests of the text: pictures are not drawn."""
    monkeypatch.setattr(interaction, "draw", lambda plot, caption, alt: Picture(b"", caption, alt))


def test_a_model_above_the_ladder_beats_its_best_rung(no_pictures, make_evaluation, tmp_path):
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"original": 0.7}))
    first, sequenced, shuffled = interaction_chapter([tmp_path]).findings
    assert first == (
        f"{TEST}original has the highest AUROC, 0.7000 (0.6900 to 0.7100). It beats the best rung of the "
        "ladder, matrix factorisation, 0.6800 (0.6700 to 0.6900), by 0.0200 (0.0100 to 0.0300)."
    )
    assert sequenced == (
        f"{TEST}where the gene has an mRNA or a CDS (300 of 1,000 pairs), original has 0.7100 (0.6900 to "
        "0.7300), the best rung there, matrix factorisation, 0.6900 (0.6700 to 0.7100) and the node rate "
        "0.5900; their own intervals overlap, so that this settles little."
    )
    assert "sequences of other genes, original has an AUROC of 0.6000" in shuffled
    assert "given other molecules, 0.5200" in shuffled


def test_a_model_below_the_ladder_is_said_to_be_behind(no_pictures, make_evaluation, tmp_path):
    judged = make_evaluation({"original": 0.66}, gain=(-0.02, -0.03, -0.01))
    write_json(tmp_path / "evaluation_test.json", judged)
    first = interaction_chapter([tmp_path]).findings[0]
    assert first == (
        f"{TEST}matrix factorisation, a rung of the ladder, has the highest AUROC, 0.6800 (0.6700 to "
        "0.6900). No model beats it: the best model, original, has 0.6600 (0.6500 to 0.6700) and is behind "
        "by 0.0200 (0.0100 to 0.0300)."
    )


def test_of_many_comparisons_only_the_first_finding_of_each_is_told(no_pictures, make_evaluation, tmp_path):
    for seed in range(4):
        judged = make_evaluation({"original": 0.7}, seed=seed, digest=str(seed))
        write_json(tmp_path / str(seed) / "evaluation_test.json", judged)
    told = interaction_chapter([tmp_path / str(seed) for seed in range(4)]).findings
    assert len(told) == 4
    assert all("has the highest AUROC" in sentence for sentence in told)
    assert len(interaction_chapter([tmp_path / str(seed) for seed in range(3)]).findings) == 9


def test_an_interval_that_includes_0_has_no_winner(no_pictures, make_evaluation, tmp_path):
    write_json(
        tmp_path / "evaluation_test.json", make_evaluation({"original": 0.685}, gain=(0.005, -0.002, 0.012))
    )
    first = interaction_chapter([tmp_path]).findings[0]
    assert first.startswith(f"{TEST}no single winner. The best model, original, has an AUROC of 0.6850")
    assert "cannot be told apart from the best rung of the ladder, matrix factorisation" in first
    assert "+0.0050 (-0.0020 to +0.0120)" in first
    assert not re.search("highest|beats", first)


def test_every_other_model_is_put_beside_rung_and_best_model(no_pictures, make_evaluation, tmp_path):
    judged = make_evaluation({"original": 0.75, "kmer": 0.7, "near": 0.745})
    judged["models"]["kmer"]["minus_best_rung"] |= {"value": 0.02, "low": -0.01, "high": 0.05}
    write_json(tmp_path / "evaluation_test.json", judged)
    chapter = interaction_chapter([tmp_path])
    best, near, kmer = chapter.findings[:3]
    assert "original has the highest" in best
    assert "near has 0.7450" in near
    assert "and beats matrix factorisation by 0.0200 (0.0100 to 0.0300)" in near
    assert "beside original, their own intervals overlap" in near
    assert "cannot be told apart from matrix factorisation (+0.0200 (-0.0100 to +0.0500))" in kmer
    assert "beside original, their own intervals do not overlap" in kmer
    verdicts = {row[0]: row[2] for row in chapter.tables[1].rows}
    assert verdicts["original"] == "+0.0200 (+0.0100 to +0.0300): better"
    assert verdicts["kmer"] == "+0.0200 (-0.0100 to +0.0500): cannot be told apart"


def test_the_ladder_alone_is_told(no_pictures, make_evaluation, tmp_path):
    write_json(tmp_path / "evaluation_test.json", make_evaluation({}))
    chapter = interaction_chapter([tmp_path])
    assert chapter.findings == [
        f"{TEST}the best rung of the ladder is matrix factorisation, with an AUROC of 0.6800 (0.6700 to "
        "0.6900); no model was judged beside it."
    ]


def test_one_kind_of_pairs_leaves_nothing_to_say(no_pictures, make_evaluation, make_scores, tmp_path):
    judged = make_evaluation({"original": None}, rungs={"node rate": 0.5}, gain=(None, None, None))
    one_kind = make_scores(None, rows=40, positives=40)
    for entry in (judged["models"]["original"], judged["ladder"]["node rate"]):
        entry |= {"scores": one_kind, "sequenced": None}
    write_json(tmp_path / "evaluation_test.json", judged)
    chapter = interaction_chapter([tmp_path])
    assert len(chapter.findings) == 1
    assert chapter.findings[0].startswith(
        "Test part, random split, negatives degree-matched, ratio 1, node rate undefined"
    )
    assert "AUROC is undefined: all 40 pairs are of one kind, 40 of them positive" in chapter.findings[0]
    assert chapter.tables[0].rows[0][1] == "undefined"


def test_results_of_training_alone_say_that_the_part_chose_the_epoch(no_pictures, make_results, tmp_path):
    write_json(tmp_path / "a" / "results.json", make_results(0.7, name="a"))
    write_json(tmp_path / "b" / "results.json", make_results(0.585, name="b"))
    chapter = interaction_chapter([tmp_path])
    (finding,) = chapter.findings
    assert finding.startswith(f"{VALIDATION}a has the highest AUROC, 0.7000 (0.6900 to 0.7100) (b has 0.5850")
    assert "above the node rate, which looks at no feature and has 0.5800" in finding
    assert "dnalm interact evaluate RUN --part test" in finding
    text = " ".join(chapter.paragraphs)
    assert "Only the validation part is judged here for the split: random. It has chosen the epoch" in text
    rows = {row[0]: row[1:] for row in chapter.tables[0].rows}
    assert list(rows) == ["a", "b", "node rate"]
    assert rows["node rate"][:2] == ["0.5800", "not judged"]


@pytest.mark.parametrize(
    ("auroc", "word"), [(0.7, "above"), (0.5, "below"), (0.585, "within its interval of")]
)
def test_a_training_is_put_beside_the_node_rate(no_pictures, make_results, tmp_path, auroc, word):
    write_json(tmp_path / "results.json", make_results(auroc))
    assert f", {word} the node rate, which" in interaction_chapter([tmp_path]).findings[0]


def test_the_test_part_speaks_for_its_validation_part(no_pictures, make_results, make_evaluation, tmp_path):
    write_json(tmp_path / "results.json", make_results(0.72))
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"original": 0.7}))
    cold = {"split": "cold-gene", "digest": "ee"}
    write_json(tmp_path / "cold" / "results.json", make_results(0.6, name="cold", **cold))
    chapter = interaction_chapter([tmp_path])
    assert {finding.partition(", node")[0] for finding in chapter.findings} == {
        "Test part, random split, negatives degree-matched, ratio 1",
        "Validation part, cold-gene split, negatives degree-matched, ratio 1",
    }
    text = " ".join(chapter.paragraphs)
    assert "for the split: cold-gene." in text
    assert "The test part had no say in training" in text
    assert "2 different sets of pairs or splits" in text
    captions = [table.caption for table in chapter.tables]
    assert sum(caption.startswith("Scores. Validation part") for caption in captions) == 2


def test_no_auroc_stands_without_split_negatives_and_node_rate(
    no_pictures, make_results, make_evaluation, tmp_path
):
    write_json(tmp_path / "results.json", make_results(0.72))
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"original": 0.7}))
    chapter = interaction_chapter([tmp_path])
    scores = [table for table in chapter.tables if "AUROC" in " ".join(table.columns)]
    training = [figure for figure in chapter.figures if "validation part" in figure.caption]
    reliable = [figure for figure in chapter.figures if "probability" in figure.caption]
    said = [*chapter.findings, *(t.caption for t in scores), *(f.caption for f in training + reliable)]
    assert len(scores) == 3
    assert training
    assert reliable
    for text in said:
        for word in ("random split", "negatives degree-matched", "node rate"):
            assert word in text.lower(), text


def test_seeds_of_a_split_are_told_apart(make_evaluation, tmp_path):
    for seed in (0, 1):
        judged = make_evaluation({"original": 0.7}, seed=seed, digest=str(seed))
        write_json(tmp_path / f"evaluation_{seed}.json", judged)
    titles = headings(read_results([tmp_path]).comparisons)
    assert [title.partition(", neg")[0] for title in titles] == [
        "Test part, random split (seed 0)",
        "Test part, random split (seed 1)",
    ]


def test_labelled_negatives_have_no_ratio(make_evaluation, tmp_path):
    judged = make_evaluation({"original": 0.7}, negatives="none", ratio=1)
    write_json(tmp_path / "evaluation_test.json", judged)
    (title,) = headings(read_results([tmp_path]).comparisons)
    assert title == "Test part, random split, negatives none, node rate 0.5800"


def test_table_is_the_figures_of_the_file(make_evaluation, tmp_path):
    judged = make_evaluation({"original": 0.7})
    judged["ladder"]["node rate"]["sequenced"] = None
    write_json(tmp_path / "evaluation_test.json", judged)
    (comparison,) = read_results([tmp_path]).comparisons
    table = scores_table("Title", comparison)
    assert table.caption == "Scores. Title; 1,000 pairs."
    assert table.columns[2] == "AUPRC (prevalence 0.500)"
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == [
        "original", "matrix factorisation", "gradient boosting", "nearest molecules", "node rate",
    ]  # fmt: skip
    assert rows["original"] == [
        "0.7000 (0.6900 to 0.7100)", "0.7000", "0.6100", "0.6200", "1.75", "0.2100", "0.0300", "0.7100",
    ]  # fmt: skip
    assert rows["node rate"][-1] == "no such pairs"


def test_warnings_of_the_evaluation_are_on_the_page(no_pictures, make_evaluation, tmp_path):
    judged = make_evaluation({"original": 0.7}) | {"warnings": ["something is <odd>"]}
    write_json(tmp_path / "evaluation_test.json", judged)
    chapter = interaction_chapter([tmp_path])
    assert chapter.paragraphs[-1] == f"Mind, {TEST}something is <odd>."


def test_the_page_is_whole_with_every_picture(make_results, make_evaluation, tmp_path):
    write_json(tmp_path / "results.json", make_results(0.72))
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"original": 0.7, "<kmer>": 0.65}))
    chapter = interaction_chapter([tmp_path])
    write_page([chapter], tmp_path / "page.html", "A title")
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == len(chapter.figures) == 4
    assert "&lt;kmer&gt;" in page
    assert "<kmer>" not in page
