"""Tests for the chapters on binding and pairs: they say what the results say."""

import re

import pytest

from dnalm.bootstrap import moments, paired_difference, pearson_estimate
from dnalm.files import write_json
from dnalm.report.binding import binding_chapter, comparison_figures
from dnalm.report.figures import save_all
from dnalm.report.pairs import pair_chapter
from dnalm.report.sentences import interval
from tests.report.invented import CNN, TRUTH, add, change, evaluate, make_evaluation, make_results, rows_of


def test_the_test_part_comes_first_and_the_better_model_has_its_paired_interval(no_pictures, tmp_path):
    one, other = add(tmp_path, "baseline", 1.0, **CNN), add(tmp_path, "vocab4", 4.0)
    r = interval(pearson_estimate(moments(TRUTH, one)))
    gap = paired_difference(moments(TRUTH, one), moments(TRUTH, other))
    chapter = binding_chapter([tmp_path])
    (finding,) = chapter.findings
    assert finding.startswith(f"Validation part: baseline has the highest Pearson R, {r}.")
    assert f"beats vocab4 by {interval(gap)}" in finding
    assert rows_of(chapter.tables[0])["baseline"][0] == r
    assert rows_of(chapter.tables[1]) == {"baseline minus vocab4": [interval(gap, "+"), "baseline"]}
    evaluate(tmp_path, {"vocab4": (other, {}), "baseline": (one, CNN)})
    chapter = binding_chapter([tmp_path])
    first, scan, mean, last = chapter.findings
    assert first.startswith("Test part: baseline has the highest")
    assert f"beats vocab4 by {interval(gap)}" in first  # vocab4 minus baseline in the file
    assert "motif scan" in scan
    assert "undefined" in mean
    assert last == finding
    rows = rows_of(chapter.tables[0])
    assert list(rows) == ["baseline", "vocab4", "motif scan", "mean score"]
    assert rows["mean score"][0] == "undefined"
    (tmp_path / "evaluation_test.json").unlink()
    (tmp_path / "vocab4" / "moments.npz").unlink()
    chapter = binding_chapter([tmp_path])
    assert "their own intervals do not overlap" in chapter.findings[1]
    assert chapter.tables[1].rows[0][1] == "unknown"


@pytest.mark.parametrize(
    ("pretrained", "untrained", "words"),
    [(1.0, 4.0, "pretraining helped"), (4.0, 1.0, "did not help"), (2.0, 2.0, "no effect")],
)
def test_pretraining_is_compared_with_the_untrained_core(no_pictures, tmp_path, pretrained, untrained, words):
    add(tmp_path, "vocab4", pretrained, seed=1)
    add(tmp_path, "vocab4_random", untrained, seed=2, random_core=True, core=None)
    if words == "no effect":  # two models alike have no winner
        chapter = binding_chapter([tmp_path])
        assert not re.search("highest|beats", chapter.findings[0])
        assert chapter.tables[1].rows[0][-1] == "undecided"
    add(tmp_path, "full", 3.0, seed=3, parameters=7_753_601)  # another model: no twin of the untrained one
    add(tmp_path, "other", 3.0, seed=4, trained_as={"epochs": 9})
    (finding,) = (finding for finding in binding_chapter([tmp_path]).findings if "pretraining" in finding)
    assert words in finding


def test_the_text_says_how_windows_were_divided(no_pictures, tmp_path):
    add(tmp_path, "vocab4", 2.0)
    add(tmp_path, "both", 2.0, both_strands=True, seed=3)
    text = " ".join(binding_chapter([tmp_path]).paragraphs)
    assert "3 of the 60 validation windows and 2 of the 50 test windows" in text
    assert "300 training, 60 validation, 50 test windows" in text
    assert "one strand: vocab4." in text


def test_a_binding_page_holds_every_picture_and_comparisons_are_drawn_anew(page_of, tmp_path):
    add(tmp_path, "vocab4", 4.0)
    paths = save_all(comparison_figures([tmp_path], tmp_path), print)
    assert [path.name for path in paths] == ["finetuning_time_comparison.png", "performance_comparison.png"]
    before = paths[1].read_bytes()
    predicted = add(tmp_path, "baseline", 1.0, **CNN)
    save_all(comparison_figures([tmp_path], tmp_path), print)
    assert paths[1].read_bytes() != before
    evaluate(tmp_path, {"baseline": (predicted, CNN)})
    chapter = binding_chapter([tmp_path])
    assert len(chapter.figures) == 7  # performance; tracks, density, error; two curves; times
    assert page_of(chapter).count("<img ") == 7
    for name in ("vocab4", "baseline"):
        change(tmp_path / f"results_{name}.json", "detail", to=None)
    (tmp_path / "evaluation_test.json").unlink()
    assert len(binding_chapter([tmp_path]).figures) == 4  # performance, two curves, times


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
    first, sequenced, shuffled = pair_chapter([tmp_path]).findings
    assert first.startswith(f"Test part, {CONDITIONS}: ")
    assert words in first
    assert "300 of 1,000 pairs" in sequenced
    assert f"original has {auroc + 0.01:.4f}" in sequenced
    assert "0.6000" in shuffled  # other genes
    assert "0.5200" in shuffled  # other molecules


def test_other_models_are_compared_with_the_baseline_and_the_best_model(no_pictures, tmp_path):
    evaluation = make_evaluation({"original": 0.75, "kmer": 0.7, "near": 0.745})
    evaluation["models"]["kmer"]["minus_best_baseline"] |= {"value": 0.02, "low": -0.01, "high": 0.05}
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
    assert [len(pair_chapter(some).findings) for some in (folders, folders[:3])] == [4, 9]


def test_baselines_alone_and_pairs_of_one_kind_are_reported(no_pictures, tmp_path):
    write_json(tmp_path / "evaluation_test.json", make_evaluation({}))
    (finding,) = pair_chapter([tmp_path]).findings
    assert "matrix factorisation, with an AUROC of 0.6800 (0.6700 to 0.6900)" in finding
    evaluation = make_evaluation({"original": None}, ladder={"node rate": None}, gain=(None, None, None))
    for entry in (evaluation["models"]["original"], evaluation["ladder"]["node rate"]):
        entry["sequenced"] = None
        entry["scores"] |= {"prevalence": 1.0, "positives": 1000}
    write_json(tmp_path / "evaluation_test.json", evaluation)
    chapter = pair_chapter([tmp_path])
    (finding,) = chapter.findings
    assert "undefined" in finding
    assert chapter.tables[0].rows[0][1] == "undefined"


@pytest.mark.parametrize(
    ("auroc", "word"), [(0.7, "above"), (0.5, "below"), (0.585, "not clearly different")]
)
def test_a_training_alone_is_compared_with_the_node_rate(no_pictures, tmp_path, auroc, word):
    write_json(tmp_path / "results.json", make_results(auroc))
    chapter = pair_chapter([tmp_path])
    assert f", {word}" in chapter.findings[0]
    assert chapter.findings[0].startswith(f"Validation part, {CONDITIONS}: ")
    assert rows_of(chapter.tables[0])["node rate"][:2] == ["0.5800", "not evaluated"]


def test_the_test_part_speaks_for_its_validation_part_and_no_auroc_stands_alone(page_of, tmp_path):
    write_json(tmp_path / "results.json", make_results(0.72))
    write_json(tmp_path / "evaluation_test.json", make_evaluation({"original": 0.7, "<kmer>": 0.65}))
    cold = {"split": "cold-gene", "digest": "ee"}
    write_json(tmp_path / "cold" / "results.json", make_results(0.6, name="cold", **cold))
    chapter = pair_chapter([tmp_path])
    parts = {finding.partition(", neg")[0] for finding in chapter.findings}
    assert parts == {"Test part, random split", "Validation part, cold-gene split"}
    assert "2 different sets of pairs" in " ".join(chapter.paragraphs)
    scores = [table.caption for table in chapter.tables if "AUROC" in " ".join(table.columns)]
    words = ("validation part", "probability")
    captions = [one.caption for one in chapter.figures if any(word in one.caption for word in words)]
    assert (len(scores), len(captions)) == (4, 4)
    for text in [*chapter.findings, *scores, *captions]:
        for word in (" split", "negatives degree-matched", "node rate"):
            assert word in text.lower(), text
    page = page_of(chapter)
    assert page.count("data:image/png;base64,") == len(chapter.figures)
    assert "<kmer>" not in page


def test_an_evaluation_shows_where_models_rank_well(tmp_path):
    evaluation = make_evaluation({"original": 0.7})
    for part, pictures in (("test", 1), ("validation", 0)):
        for entry in (*evaluation["models"].values(), evaluation["ladder"]["node rate"]):
            one = {"first": 4, "last": 15, "rows": 900, "auroc": 0.6}
            entry["by_training_pairs"] = {"gene": [one], "molecule": [one]}
        write_json(tmp_path / "evaluation.json", evaluation | {"part": part})
        drawn = [
            one for one in pair_chapter([tmp_path]).figures if one.alt.endswith("number of training pairs")
        ]
        assert len(drawn) == pictures
        assert all(one.png for one in drawn)


def test_the_pair_table_has_the_figures_of_the_file(no_pictures, tmp_path):
    evaluation = make_evaluation({"original": 0.7}, negatives="none") | {"warnings": ["something is <odd>"]}
    evaluation["ladder"]["node rate"]["sequenced"] = None
    write_json(tmp_path / "evaluation_test.json", evaluation)
    chapter = pair_chapter([tmp_path])
    table = chapter.tables[0]
    assert "negatives none, node rate 0.5800; 1,000 pairs" in table.caption  # no ratio
    rows = rows_of(table)
    baselines = ["matrix factorisation", "gradient boosting", "nearest molecules", "node rate"]
    assert list(rows) == ["original", *baselines]
    assert rows["original"] == [
        "0.7000 (0.6900 to 0.7100)", "0.7000", "0.6100", "0.6200", "1.75", "0.2100", "0.0300", "0.7100",
    ]  # fmt: skip
    assert rows["node rate"][-1] == "no such pairs"
    assert "something is <odd>" in chapter.paragraphs[-1]
