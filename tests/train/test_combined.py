"""Tests for the combiner in dnalm/train/combined.py and dnalm/models/combined.py."""

import numpy as np
import pytest

from dnalm.evaluate.pair_scores import probability
from dnalm.models.combined import LIMIT, Combiner
from dnalm.models.pair_knowledge import COLUMNS
from dnalm.train.combined import Examples, fit_combiner

LogisticRegression = pytest.importorskip("sklearn.linear_model").LogisticRegression
WIDTH = len(COLUMNS)


def examples(count, state, *, weights=(1.0, -0.5), product=0.0, seed=0, units=200):
    """Pairs whose log-odds are a known function of the first two columns; the last one is rounding noise."""
    draws = np.random.default_rng(seed)
    columns = draws.normal(size=(count, WIDTH))
    columns[:, -1] *= 1e-16
    odds = columns[:, :2] @ weights + product * columns[:, 0] * columns[:, 1]
    label = (draws.random(count) < probability(odds)).astype(np.uint8)
    return Examples(columns, np.full(count, state), label, draws.integers(0, units, count)), odds


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
    combiner, logits, fitted = fit_combiner(known.joined(new), none)
    found = combiner.logits(known.columns, known.state)
    assert np.abs(found - odds).mean() < 0.1
    assert np.corrcoef(logits[: len(odds)], odds)[0, 1] > 0.99
    assert fitted["known"]["products"]
    assert not fitted["new molecule"]["products"]
    assert (combiner.linear[:2, -1] == 0).all()  # noise of rounding
    assert (combiner.scale[:2, -1] == 0).all()


def test_a_state_that_validation_lacks_is_completed_and_without_neural_members():
    known, _ = examples(3000, 0)
    wide = Examples(
        np.column_stack([known.columns, known.columns[:, 0]]), known.state, known.label, known.unit
    )
    held, odds = examples(5000, 2, weights=(-1.0, 0.5), seed=2)
    combiner, _, fitted = fit_combiner(wide, held)
    assert fitted["new gene"]["pairs"] == 5000
    padded = np.pad(held.columns, ((0, 0), (0, 1)))
    assert np.corrcoef(combiner.logits(padded, held.state), odds)[0, 1] > 0.99
    assert combiner.linear[2, WIDTH] == 0
    assert combiner.linear[0, WIDTH] > 0
    assert fitted["both new"]["pairs"] == 8000  # nothing of its own: all there is


def test_many_pairs_of_few_units_weigh_little():
    many, few = (examples(5000, 1, units=units)[0] for units in (2500, 10))
    none = many.take(np.zeros(0, dtype=np.int64))
    combiners = [fit_combiner(each, none) for each in (many, few)]
    penalties = [fitted["new molecule"]["penalty"] for *_, fitted in combiners]
    assert penalties[1] > 50 * penalties[0]
    logits = combiners[1][0].logits(few.columns, few.state)  # calibrated, however large the penalty
    slope = LogisticRegression().fit(logits[:, None], few.label).coef_[0, 0]
    assert slope == pytest.approx(1.0, abs=0.05)
