"""Tests for dnalm/evaluate/baselines/node_rate.py."""

import numpy as np
import pytest

from dnalm.evaluate.baselines.node_rate import node_rate
from dnalm.models.pair_knowledge import RATE_PRIOR as PRIOR
from dnalm.models.pair_knowledge import log_odds, smoothed_rates


def test_finds_that_some_nodes_interact_more(planted, auroc_of):
    assert auroc_of(node_rate, planted("degree")) > 0.8


@pytest.mark.parametrize("rule", ["family", "blocks"])
def test_does_not_see_who_goes_with_whom(rule, planted, auroc_of):
    # Each node has as many 1 as 0: those it had in training are lacking in test, so that it may be below 0.5.
    assert auroc_of(node_rate, planted(rule)) < 0.5


def test_rates_worked_out_by_hand():
    # prevalence 3 / 4: node 0 has 1 of 1, node 1 has 2 of 3, node 2 is not seen
    rates = smoothed_rates(np.array([0, 1, 1, 1]), np.array([1.0, 1, 1, 0]), 3, prior=2.0)
    np.testing.assert_allclose(rates, [(1 + 1.5) / 3, (2 + 1.5) / 5, 0.75])


def test_log_odds_add_up_and_an_unseen_pair_has_the_prevalence(planted):
    pairs = planted("degree")
    train = pairs.parts["train"]
    train = train[(pairs.gene[train] != 7) & (pairs.molecule[train] != 9)]
    prevalence = pairs.label[train].mean()

    def predicted(gene, molecule):
        rows = np.flatnonzero((pairs.gene == gene) & (pairs.molecule == molecule))
        return node_rate(pairs, train, rows)[0]

    def rate(node, which):
        labels = pairs.label[train][node[train] == which]
        return (labels.sum() + PRIOR * prevalence) / (len(labels) + PRIOR)

    assert predicted(7, 9) == pytest.approx(prevalence, abs=1e-12)
    assert predicted(3, 9) == pytest.approx(rate(pairs.gene, 3), abs=1e-12)
    assert predicted(7, 4) == pytest.approx(rate(pairs.molecule, 4), abs=1e-12)
    odds = log_odds(rate(pairs.gene, 3)) + log_odds(rate(pairs.molecule, 4)) - log_odds(prevalence)
    assert log_odds(predicted(3, 4)) == pytest.approx(odds, abs=1e-9)
