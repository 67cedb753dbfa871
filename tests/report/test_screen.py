"""Tests for dnalm/report/screen.py: what the page says, and when."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dnalm.bootstrap import Estimate
from dnalm.report.comparisons import PairComparison
from dnalm.report.screen import FITTING, LONGEST, SHOWN, UNREAD_SHOWN, Ranked, Screen, write_screen
from dnalm.report.sentences import trust
from dnalm.results import decode
from dnalm.results.pairs import PairEvaluation, PairResults
from tests.report.conftest import PNG
from tests.report.invented import make_evaluation, make_results

NAN = float("nan")


def evaluated(value=0.7, low=0.68, high=0.72, rate=0.6, part="test", gain=None):
    ladder, unknown = {"gradient boosting": 0.7}, (None, None, None)
    made = make_evaluation({"mine": 0.7}, part, gain or unknown, ladder, split="cold-gene")
    content = decode(made, PairEvaluation, Path("x"))
    model = content.models["mine"]
    scores = model.scores._replace(auroc=Estimate(value, low, high))
    model = replace(model, scores=scores, minus_best_baseline=model.minus_best_baseline if gain else None)
    return PairComparison(protocol=content, part=part, models={"mine": model}, node_rate=rate)


FIRST = [
    Ranked("a <b>", 0.9, "positive in training", 4, "CCO", PNG),
    Ranked("b", 0.4, "positive in test", 4, "C" * 90, PNG, place=2, same_scaffold=[4, 7]),
    Ranked("c", 0.1, "no", 0, "CCN", PNG, place=3, outside=True, positive="CCF", positive_similarity=0.25),
]
FILES = {"source": "lib.smi", "ranking": "ranked.tsv", "unread": [], "repeated": 0, "attention": []}
RANKING = {"probabilities": np.array([0.9, 0.4, 0.1]), "seen": 2, "first": FIRST}
SCREEN = Screen(query="gene", name="1017", drawing=None, query_pairs=3, **RANKING, **FILES)
RESULTS = decode(make_results(0.7, "mine", split="cold-gene"), PairResults, Path("x"))


@pytest.fixture
def page(tmp_path):
    """Writes a page and returns its text."""

    def write(screen=SCREEN, comparisons=None):
        path = tmp_path / "page.html"
        write_screen(screen, RESULTS, comparisons or [evaluated()], path)
        return path.read_text()

    return write


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (evaluated(), "carries information"),
        (evaluated(rate=0.69), "not clearly above the node rate"),
        (evaluated(rate=0.9), "below the node rate"),
        (evaluated(0.52, 0.48, 0.56, rate=0.3), "not clearly above guessing"),
        (evaluated(0.4, 0.3, 0.45, rate=0.3), "below guessing: do not follow"),
        (evaluated(NAN, NAN, NAN), "unknown"),
        (evaluated(rate=NAN), "unknown"),
        (evaluated(gain=(-0.05, -0.06, -0.04)), "gradient boosting, a baseline, ranks better by 0.0500"),
        (evaluated(gain=(-0.05, -0.06, 0.01)), "carries information"),
    ],
)
def test_trust_follows_the_node_rate_guessing_and_the_best_baseline(one, words):
    text = trust([one])
    assert words in text
    assert "Test part, cold-gene split, negatives degree-matched, ratio 1, node rate" in text
    validation = evaluated(0.9, 0.8, 0.95, part="validation")
    assert trust([validation, one]) == text  # the test part counts
    assert trust([validation]).startswith("Validation part")


@pytest.mark.parametrize("split", ["random", "cold-molecule", "scaffold", "cold-gene", "cold-both"])
@pytest.mark.parametrize(("gene", "molecule"), FITTING)
def test_a_split_fits_a_screen_if_what_is_new_in_it_was_new_in_the_test_part(split, gene, molecule):
    new_molecules = split in ("cold-molecule", "scaffold", "cold-both")
    enough = (gene or split in ("cold-gene", "cold-both")) and (molecule or new_molecules)
    one = replace(SCREEN, query_pairs=3 if gene else 0, seen=3 if molecule else 0)
    other = replace(SCREEN, query="molecule", query_pairs=3 if molecule else 0, seen=3 if gene else 0)
    for screen in (one, other):
        assert (split in screen.fitting) == enough
    wanted = {(1, 1): "random", (1, 0): "cold-molecule", (0, 1): "cold-gene", (0, 0): "cold-both"}
    assert FITTING[gene, molecule][0] == wanted[gene, molecule]


def test_hits_are_shown_with_what_is_known_of_them_and_what_was_not_judged(page):
    text = page()
    assert '<th scope="row">1. a &lt;b&gt;</th>' in text
    assert "<td>positive in training</td><td>4</td><td>none</td><td></td>" in text
    assert f"<td>{'C' * LONGEST}...</td>" in text
    assert "Of the first 3, 1 was positive in training" in text
    assert "Of the first 3, 1 known positive was not in training." in text
    assert text.count("data:image/png") == 3 + 1  # structures and the histogram
    assert "of each other" not in text
    assert ">SMILES</th>" in text
    assert "<td>0.6100</td><td>not evaluated</td><td>not evaluated</td>" in text
    texts = (text, page(comparisons=[evaluated(part="validation")]))
    assert ["The test part was not evaluated" in one for one in texts] == [False, True]
    molecule = replace(SCREEN, query="molecule", name="CCO", drawing=PNG)
    assert "<td>0.6200</td><td>not evaluated</td>" in page(molecule)  # within one molecule
    first = [replace(each, name=each.shown) for each in FIRST]  # a library without names
    text = page(replace(SCREEN, first=first, probabilities=np.array([0.5, 0.515])))
    assert "within 0.015 of each other" in text
    assert ">SMILES</th>" not in text
    assert "of each other" not in page(replace(SCREEN, probabilities=np.array([0.5])))


def test_no_more_are_shown_than_said_and_attention_stands_with_its_caution(page):
    first = [replace(FIRST[2], name=f"n{row}") for row in range(SHOWN)]
    unread = [(f"line {row}", "x", "is no molecule") for row in range(UNREAD_SHOWN + 5)]
    attention = [("1. a", PNG), ("2. b", PNG)]
    text = page(replace(SCREEN, first=first, unread=unread, attention=attention))
    assert f"The first {SHOWN} molecules; all are in ranked.tsv." in text
    assert f"the first {UNREAD_SHOWN} of {UNREAD_SHOWN + 5}" in text
    assert f'<th scope="row">not read</th><td>{UNREAD_SHOWN + 5}</td>' in text
    assert "known positive" not in text
    assert f'"row">line {UNREAD_SHOWN - 1}<' in text
    assert f'"row">line {UNREAD_SHOWN}<' not in text
    assert "Attention is not an explanation" in text
    assert text.count("along the gene (above) and on the atoms (below)") == 2


def test_a_molecule_stands_with_its_scaffold_its_nearest_positive_and_its_range(page):
    text = page(replace(SCREEN, outside=1, range_limit=0.31, grouped=100))
    assert "<td>ranks 4, 7</td>" in text
    assert "<td>similarity 0.25; outside the range</td>" in text
    assert "1 of the molecules is outside the chemical range" in text
    assert "similarity of 0.31 or more" in text
    assert "The first 3 scaffolds, each by its first molecule" in text
    assert "outside" not in page()[: page().index("How far to trust it")].replace(
        "outside the range</td>", ""
    )


def test_what_a_combined_model_rests_on_and_a_prior_are_stated(page):
    reasons = {"node rate": -0.125, "matrix factorisation": 1.5, "boosting": 0.25, "nearest": 0.01}
    text = page(replace(SCREEN, first=[replace(FIRST[0], contributions=reasons)], prior=0.01))
    assert "<td>-0.12</td><td>+1.50</td><td>+0.25</td><td>+0.01</td>" in text
    assert "<td>0.900</td>" in text
    sure = replace(SCREEN, first=[replace(FIRST[0], probability=0.99999)])
    assert "<td>above 0.999</td>" in page(sure)
    assert "with a probability of above 0.999" in page(sure)
    assert "a set in which 1 % of the pairs interact, the prior that was given" in text
    assert "log-odds" not in page()
    assert "a set in which 50 % of the pairs interact, as in validation" in page()
