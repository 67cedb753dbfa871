"""Tests for dnalm/report/label_curve.py."""

import json

import pytest

from dnalm.bootstrap import Estimate
from dnalm.errors import InputError
from dnalm.report.label_curve import curve_findings, label_chapter, label_curve, score_table
from dnalm.results.binding import Split
from dnalm.results.labels import LabelCurve, Saving

NAMES = ("pretrained", "untrained", "CNN", "dilated CNN")


def about(value, width=0.01):
    return Estimate(value, value - width, value + width)


def curve(gaps, savings):
    """A curve in which the pretrained model is ahead of every other one by some gaps."""
    bases = [10_000, 100_000, 1_000_000][: len(gaps)]
    others = {
        name: [about(0.5 + 0.1 * at - 0.01 * row) for at in range(len(gaps))]
        for row, name in enumerate(NAMES[1:])
    }
    first = {"pretrained": [about(0.5 + 0.1 * at + gap) for at, gap in enumerate(gaps)]}
    scores = first | others
    return LabelCurve(
        name="vocab4",
        split=Split("blocks", "digest", {}, "test"),
        core="outputs, pretrained on toy.fa",
        seeds=[0, 1],
        windows=[each // 300 for each in bases],
        validation_windows=[each // 1500 for each in bases],
        bases=bases,
        scores=scores,
        runs={name: [[each.value] * 2 for each in list_] for name, list_ in scores.items()},
        minus={name: [about(gap) for gap in gaps] for name in NAMES[1:]},
        saving=savings,
    )


def test_the_sentence_says_by_what_factor_and_until_where():
    text = curve_findings(curve([0.2, 0.05, 0.0], [Saving(9.96, 7.0, 12.0, False)] * 3))
    assert text[0].startswith(
        "Pretraining saves a factor of 10.0 (95 % interval 7.0 to 12.0) at 10,000 labelled bases: without it "
        "untrained, the best of the others there, reaches 0.5000"
    )
    assert text[1].startswith("At 1,000,000 labelled bases it does not save any")
    text = curve_findings(curve([0.2, 0.0, 0.2], [Saving(9.96, 7.0, 100.0, False)] * 3))
    assert "(95 % interval 7.0 or more)" in text[0]
    assert text[1].startswith("At 100,000 labelled bases it does not save any")  # though at more it does
    text = curve_findings(curve([0.2, 0.3], [Saving(10.0, 7.0, 10.0, True), Saving(1.0, 1.0, 1.0, True)]))
    assert "a factor of at least 10.0 (95 % interval 7.0 or more) at 10,000" in text[0]
    assert "no other model reaches the mean score of" in text[0]
    assert "even with all 100,000" in text[0]
    assert text[1] == (
        "With all 100,000 labelled bases it is still better than the others; more labels were not tried."
    )
    (text,) = curve_findings(curve([0.2], [Saving(1.0, 1.0, 1.0, True)]))
    assert text.startswith("Pretraining saves labels at 10,000 labelled bases, the most that were tried")
    (text,) = curve_findings(curve([0.2, 0.0], [Saving(0.8, 0.5, 0.9, False)] * 2))
    assert text.startswith("Pretraining does not save labels here")  # the others were better with fewer
    (text,) = curve_findings(curve([0.005, -0.1], [Saving(1.0, 0.9, 1.1, False)] * 2))
    assert text.startswith("Pretraining does not save labels here")
    worse = "At 100,000 labelled bases the pretrained model is worse than untrained: -0.1000 (-0.1100 to"
    assert worse in text
    (text,) = curve_findings(curve([-0.1, 0.2], [Saving(1.0, 0.9, 1.1, False), Saving(1.0, 1.0, 1.0, True)]))
    assert "at 100,000 labelled bases, the most that were tried" in text
    assert worse.replace("100,000", "10,000") in text


def test_a_rule_is_a_line_and_a_sentence():
    one = curve([0.2, 0.05, 0.0], [Saving(9.96, 7.0, 12.0, False)] * 3)
    one.scores["rule"], one.minus["rule"] = [about(0.72)] * 3, [about(-0.02), about(0.005), about(0.02)]
    assert curve_findings(one)[:2] == curve_findings(curve([0.2, 0.05, 0.0], one.saving))
    assert curve_findings(one)[2] == (
        "A rule that needs no labels has 0.7200 (0.7100 to 0.7300); the pretrained model is better than it "
        "at 1,000,000 labelled bases."
    )
    one.minus["rule"][2] = about(0.0)
    assert curve_findings(one)[2].endswith("at no number of labelled bases that was tried.")
    (axes,) = label_curve(one).axes
    assert "rule, no labels" in {text.get_text() for text in axes.figure.legends[0].get_texts()}


def test_the_chapter_is_read_from_files_and_a_damaged_one_is_named(tmp_path):
    one = curve([0.2, 0.05, 0.0], [Saving(9.96, 7.0, 12.0, False)] * 3)
    table = score_table(one)
    assert [len(row) for row in table.rows] == [len(table.columns)] * 3 == [8] * 3
    assert table.rows[0][:2] == ["10,000 (33 + 6)", "0.7000 (0.6900 to 0.7100)"]
    (axes,) = label_curve(one).axes
    assert {text.get_text() for text in axes.figure.legends[0].get_texts()} == set(NAMES)
    values = json.loads(json.dumps(vars(one), default=vars)) | {
        "format": "dnalm-label-curve",
        "format_version": 1,
    }
    values["scores"] = {name: [each._asdict() for each in list_] for name, list_ in one.scores.items()}
    values["minus"] = {name: [each._asdict() for each in list_] for name, list_ in one.minus.items()}
    values["saving"] = [each._asdict() for each in one.saving]
    path = tmp_path / "label_curve_vocab4.json"
    path.write_text(json.dumps(values))
    chapter = label_chapter([tmp_path])
    assert chapter.figures[0].png
    assert len(chapter.details[0].rows) == 2 * len(NAMES)
    path.write_text(json.dumps(values | {"bases": [1]}))
    with pytest.raises(InputError, match="windows is missing or of the wrong type"):
        label_chapter([tmp_path])
