"""Tests for the combiner: dnalm/train/combiner.py and dnalm/models/combined.py."""

from dataclasses import replace

import numpy as np
import pytest

from dnalm.evaluate.pair_scores import probability
from dnalm.models.combined import LIMIT, Combiner
from dnalm.models.pair_knowledge import COLUMNS
from dnalm.train.combiner import PREVALENCE_SPREAD, Examples, design_effect, fit_combiner

linear_model = pytest.importorskip("sklearn.linear_model")
WIDTH = len(COLUMNS)


def examples(count, state, *, weights=(1.0, -0.5), product=0.0, seed=0, units=200):
    """Pairs whose log-odds are a known function of the first two columns; the last one is rounding noise."""
    draws = np.random.default_rng(seed)
    columns = draws.normal(size=(count, WIDTH))
    columns[:, -1] *= 1e-16
    odds = columns[:, :2] @ weights + product * columns[:, 0] * columns[:, 1]
    label = (draws.random(count) < probability(odds)).astype(np.uint8)
    return Examples(columns, np.full(count, state), label, draws.integers(0, units, (count, 2))), odds


def test_a_logit_worked_out_by_hand_and_its_shares():
    combiner = Combiner(
        mean=np.array([[1.0, 0.0, 0.0]]),
        scale=np.array([[2.0, 1.0, 0.0]]),
        linear=np.array([[0.5, 1.0, 7.0]]),
        quadratic=np.array([[[0.1, 0.3, 0.0], [0.3, 0.0, 0.0], [0.0, 0.0, 5.0]]]),
        intercept=np.array([-0.25]),
    )
    columns, state = np.array([[5.0, -1.0, 9.0]]), np.zeros(1, dtype=np.int64)
    # z is 2 and -1; the third column is left out
    assert combiner.logits(columns, state)[0] == pytest.approx(-0.25 + 1 - 1 + 0.1 * 4 + 2 * 0.3 * 2 * -1)
    shares = combiner.contributions(columns, state)[0]
    np.testing.assert_allclose(shares, [2 * (0.5 + 0.2 - 0.3), -1 * (1 + 0.6), 0.0])  # of a product each half
    far = combiner.standardised(np.array([[1e9, 0.0, 0.0]]), state)
    assert far[0, 0] == LIMIT


def test_log_odds_that_made_the_labels_are_found_products_among_them():
    known, odds = examples(20_000, 0, product=0.8)
    none = known.take(np.zeros(0, dtype=np.int64))
    new, _ = examples(20_000, 1, seed=1)
    combiner, logits, fitted = fit_combiner(known.joined(new), none, 0.5)
    found = combiner.logits(known.columns, known.state)
    assert np.abs(found - odds).mean() < 0.1
    assert np.corrcoef(logits[: len(odds)], odds)[0, 1] > 0.99
    assert fitted["known"]["products"]
    assert "products" not in fitted["new molecule"]
    assert (combiner.linear[:2, -1] == 0).all()  # noise of rounding
    assert (combiner.scale[:2, -1] == 0).all()


def test_a_state_that_validation_lacks_is_completed_and_without_neural_members():
    known, _ = examples(3000, 0)
    wide = replace(known, columns=np.column_stack([known.columns, known.columns[:, 0]]))
    held, odds = examples(5000, 2, weights=(0.5, 1.0), units=5000, seed=2)
    combiner, _, fitted = fit_combiner(wide, held, 0.5)
    assert fitted["new gene"]["pairs"] == 5000
    padded = np.pad(held.columns, ((0, 0), (0, 1)))
    assert np.corrcoef(combiner.logits(padded, held.state), odds)[0, 1] > 0.99
    assert combiner.linear[2, WIDTH] == 0
    assert combiner.linear[0, WIDTH] > 0
    assert fitted["both new"]["pairs"] == 8000  # nothing of its own: all there is


def test_many_pairs_of_few_units_weigh_little():
    many, few = (examples(5000, 1, weights=(1.0, 0.5), units=units)[0] for units in (5000, 10))
    none = many.take(np.zeros(0, dtype=np.int64))
    (wide, _, of_many), (narrow, _, of_few) = (fit_combiner(each, none, 0.5) for each in (many, few))
    np.testing.assert_allclose(
        wide.linear[1, :2] / wide.scale[1, :2] * many.columns.std(axis=0)[:2], [1, 0.5], atol=0.1
    )
    assert (narrow.linear[1] < 0.8 * wide.linear[1].max()).all()
    assert of_few["new molecule"]["effective_pairs"] == pytest.approx(10, rel=0.1)
    assert of_many["new molecule"]["effective_pairs"] == pytest.approx(2500, rel=0.1)
    assert design_effect(np.array([0, 0, 0, 1])) == (9 + 1) / 4


def test_where_a_node_is_new_the_fit_is_a_penalised_regression_on_effective_pairs():
    new, _ = examples(4000, 1, weights=(1.0, 0.5), units=40)
    new.columns[:, 2:] = 0.0
    combiner = fit_combiner(new, new.take(np.zeros(0, dtype=np.int64)), 0.5)[0]
    z = combiner.standardised(new.columns, new.state)[:, :2]
    x = np.column_stack([z, np.full(4000, PREVALENCE_SPREAD)])  # of weight 1: a normal intercept
    penalised = linear_model.LogisticRegression(
        C=1 / design_effect(new.units[:, 1]), fit_intercept=False, tol=1e-8
    ).fit(x, new.label)
    found = [*combiner.linear[1, :2], combiner.intercept[1] / PREVALENCE_SPREAD]
    np.testing.assert_allclose(found, penalised.coef_[0], atol=1e-3)


def test_a_new_node_has_the_prevalence_of_the_set_unless_many_say_otherwise():
    """Ten molecules that all happen to interact often do not make the eleventh one likelier."""
    many, few = (examples(5000, 1, units=units)[0] for units in (5000, 10))
    none = many.take(np.zeros(0, dtype=np.int64))
    often = [replace(each, label=each.label | (np.arange(5000) % 2 == 0)) for each in (many, few)]
    intercepts = [fit_combiner(each, none, 0.2)[0].intercept[1] for each in often]
    assert intercepts[1] == pytest.approx(np.log(0.2 / 0.8), abs=0.2)
    assert intercepts[0] > 0.5  # three of four interact


def test_a_column_that_says_the_opposite_is_left_out_where_a_node_is_new():
    new, _ = examples(5000, 1, weights=(1.0, -1.0), units=5000)
    known, _ = examples(5000, 0, weights=(1.0, -1.0))
    none = new.take(np.zeros(0, dtype=np.int64))
    linear = fit_combiner(new.joined(known), none, 0.5)[0].linear
    assert linear[1, 0] > 0.5
    assert linear[1, 1] == 0.0
    assert linear[0, 1] < -0.5
    counts = [COLUMNS.index(name) for name in ("log gene pairs", "log molecule pairs")]
    assert (linear[1, counts] == 0).all()
