"""Tests for dnalm/report/screen.py: what the page says, and when."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imsave

from dnalm.bootstrap import Estimate
from dnalm.report.read_pairs import Comparison, Judged, Protocol, auroc_of, read_run
from dnalm.report.screen import (
    FITTING,
    LONGEST,
    SHOWN,
    UNREAD_SHOWN,
    Ranked,
    Screen,
    fits,
    trust,
    write_screen,
)

NAN = float("nan")


def png():
    file = io.BytesIO()
    imsave(file, np.zeros((4, 6, 3)), format="png")
    return file.getvalue()


def scores(value, low, high):
    groups = {"value": 0.61, "groups": 9}
    return {
        "auroc": {"value": value, "low": low, "high": high},
        "auroc_per_gene": groups,
        "auroc_per_molecule": groups | {"value": 0.57},
        "rows": 600,
        "positives": 300,
        "prevalence": 0.5,
    }


def judged(value=0.7, low=0.68, high=0.72, rate=0.6, part="test", gain=None):
    model = Judged(scores(value, low, high), gain=gain, rung=None if gain is None else "gradient boosting")
    protocol = Protocol("cold-gene", "degree-matched", 1.0, 0, "d1")
    return Comparison(protocol, part, models={"mine": model}, node_rate=rate)


SCREEN = Screen(
    asked="gene",
    name="1017",
    drawing=None,
    asked_pairs=3,
    source="lib.smi",
    ranking="ranked.tsv",
    probabilities=np.array([0.9, 0.4, 0.1]),
    seen=2,
    first=[
        Ranked("a <b>", 0.9, "positive in training", 4, "CCO", png()),
        Ranked("b", 0.4, "positive in test", 4, "C" * 90, png()),
        Ranked("c", 0.1, "no", 0, "CCN", png()),
    ],
    unread=[],
    repeated=0,
    attention=[],
)
RESULTS = {
    "name": "mine",
    "split": "cold-gene",
    "negatives": "degree-matched",
    "seed": 0,
    "digest": "0123456789abcdef",
    "validation": scores(0.7, 0.6, 0.8),
    "model": {"kind": "foundation", "parameters": 12_345},
}


@pytest.fixture
def page(tmp_path):
    """Writes a page and returns its text."""

    def write(screen=SCREEN, told=None):
        path = tmp_path / "page.html"
        write_screen(screen, RESULTS, told or [judged()], path)
        return path.read_text()

    return write


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (judged(), "above the node rate, which looks at no feature: the ranking says something."),
        (judged(rate=0.69), "not to be told apart from the node rate"),
        (judged(rate=0.9), "below the node rate, which looks at no feature: do not follow this ranking."),
        (judged(0.52, 0.48, 0.56, rate=0.3), "not to be told apart from guessing"),
        (judged(0.4, 0.3, 0.45, rate=0.3), "below guessing: do not follow"),
        (judged(NAN, NAN, NAN), "how far to trust this ranking is not known"),
        (judged(rate=NAN), "how far to trust this ranking is not known"),
        (
            judged(gain=Estimate(-0.05, -0.06, -0.04)),
            "but gradient boosting, a baseline, ranks better by 0.0500",
        ),
        (judged(gain=Estimate(-0.05, -0.06, 0.01)), "the ranking says something"),
    ],
)
def test_trust_is_told_by_the_node_rate_guessing_and_the_best_rung(one, said):
    told = trust([one])
    assert said in told
    assert "Test part, cold-gene split, negatives degree-matched, ratio 1, node rate" in told


def test_the_test_part_is_told_where_it_was_judged():
    validation, test = judged(0.9, 0.8, 0.95, part="validation"), judged()
    assert trust([validation, test]) == trust([test])
    assert trust([validation]).startswith("Validation part")


@pytest.mark.parametrize("split", ["random", "cold-molecule", "scaffold", "cold-gene", "cold-both"])
@pytest.mark.parametrize(("gene", "molecule"), FITTING)
def test_a_split_that_has_seen_what_is_new_in_the_question_is_told(split, gene, molecule):
    cold_gene = split in ("cold-gene", "cold-both")
    cold_molecule = split in ("cold-molecule", "scaffold", "cold-both")
    enough = (gene or cold_gene) and (molecule or cold_molecule)
    one = replace(SCREEN, asked_pairs=3 if gene else 0, seen=3 if molecule else 0)
    other = replace(SCREEN, asked="molecule", asked_pairs=3 if molecule else 0, seen=3 if gene else 0)
    for screen in (one, other):
        assert ("asks no less than this" in fits(screen, split)) == enough
        assert ("has seen what is new here" in fits(screen, split)) != enough
    wanted = {(1, 1): "random", (1, 0): "cold-molecule", (0, 1): "cold-gene", (0, 0): "cold-both"}
    assert FITTING[gene, molecule][0] == wanted[gene, molecule]


def test_hits_are_shown_with_what_is_known_of_them(page):
    text = page()
    assert '<th scope="row">1. a &lt;b&gt;</th>' in text
    assert "<td>positive in training</td><td>4</td><td>CCO</td>" in text
    assert f"<td>{'C' * LONGEST}...</td>" in text
    assert "Of the first 3, 1 was shown to the model as positive in training" in text
    assert "Of the first 3, 1 is a known positive of which the model learned nothing in training." in text
    assert text.count("data:image/png") == 3 + 1  # structures and the histogram


def test_a_library_without_names_has_no_second_column_of_smiles(page):
    assert ">SMILES</th>" in page()
    first = [replace(each, name=each.shown) for each in SCREEN.first]
    assert ">SMILES</th>" not in page(replace(SCREEN, first=first))


def test_no_more_are_shown_than_said(page):
    first = [replace(SCREEN.first[2], name=f"n{row}") for row in range(SHOWN)]
    unread = [(f"line {row}", "x", "is no molecule") for row in range(UNREAD_SHOWN + 5)]
    text = page(replace(SCREEN, first=first, unread=unread))
    assert f"The first {SHOWN}; all are in ranked.tsv." in text
    assert f"the first {UNREAD_SHOWN} of {UNREAD_SHOWN + 5}" in text
    assert f'<th scope="row">not read</th><td>{UNREAD_SHOWN + 5}</td>' in text
    assert "known positive" not in text
    assert f'"row">line {UNREAD_SHOWN - 1}<' in text
    assert f'"row">line {UNREAD_SHOWN}<' not in text


def test_a_ranking_that_does_not_spread_is_told(page):
    assert "hardly tells these pairs apart" not in page()
    assert "within 0.015 of each other" in page(replace(SCREEN, probabilities=np.array([0.5, 0.515])))
    assert "of each other" not in page(replace(SCREEN, probabilities=np.array([0.5])))


def test_what_was_not_judged_is_told(page):
    assert "The test part was not judged" not in page()
    assert "The test part was not judged" in page(told=[judged(part="validation")])
    assert "<td>0.6100</td><td>not judged</td><td>not judged</td>" in page()
    screen = replace(SCREEN, asked="molecule", name="CCO", drawing=png())
    assert "<td>0.5700</td><td>not judged</td>" in page(screen)  # within one molecule


def test_attention_stands_with_its_caution(page):
    assert "Not drawn here. For a model with cross-attention" in page()
    text = page(replace(SCREEN, attention=[("1. a", png()), ("2. b", png())]))
    assert "Attention is not an explanation" in text
    assert text.count("along the gene (above) and on the atoms (below)") == 2


def test_evaluations_of_the_same_weights_and_pairs_are_found_in_the_run_and_beside_it(
    make_results, make_evaluation, tmp_path
):
    run = tmp_path / "mine"
    run.mkdir()
    (run / "results.json").write_text(json.dumps(make_results(0.66, "mine", weights="w1")))

    def parts():
        return {c.part: auroc_of(c.models["mine"].scores).value for c in read_run(run)[1]}

    for folder in (run, tmp_path):
        assert parts() == {"validation": 0.66}
        path = folder / "evaluation_test.json"
        path.write_text(json.dumps(make_evaluation({"mine": 0.7}, weights="w2")))
        assert parts() == {"validation": 0.66}  # of other weights
        path.write_text(json.dumps(make_evaluation({"mine": 0.7}, weights="w1", digest="0bad")))
        assert parts() == {"validation": 0.66}  # of other pairs
        path.write_text(json.dumps(make_evaluation({"by another name": 0.7}, weights="w1")))
        assert parts() == {"validation": 0.66, "test": 0.7}
        path.unlink()
    (run / "results.json").write_text(json.dumps(make_results(0.66, "mine")))
    (run / "evaluation_test.json").write_text(json.dumps(make_evaluation({"mine": 0.7})))
    assert parts() == {"validation": 0.66}  # nobody knows whose they are


def test_a_run_without_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"results\.json: missing; .*train again"):
        read_run(tmp_path)
