"""Tests for dnalm/baselines/factorisation.py."""

import sys

import numpy as np
import pytest

from dnalm.evaluate.baselines.factorisation import Factorisation


@pytest.mark.parametrize("rule", ["blocks", "family"])
@pytest.mark.parametrize("signed", [False, True])
def test_finds_who_goes_with_whom(rule, signed, planted, auroc):
    assert auroc(Factorisation(rank=4, signed=signed), planted(rule)) > 0.9


def normalised(pairs, rows):
    matrix = np.zeros((len(pairs.gene_ids), len(pairs.smiles)))
    matrix[pairs.gene[rows], pairs.molecule[rows]] = pairs.label[rows]
    degrees = np.outer(matrix.sum(1), matrix.sum(0))
    return np.divide(matrix, np.sqrt(degrees), out=matrix, where=degrees > 0)


@pytest.mark.parametrize(
    "rank", [8, 59, 200]
)  # by the sparse solver, by the dense one, and more than there are
def test_is_the_best_matrix_of_its_rank(rank, planted):
    pairs = planted("blocks")
    rung = Factorisation(rank=rank)
    rung.fit(pairs, pairs.parts["train"])
    u, s, v = np.linalg.svd(normalised(pairs, pairs.parts["train"]), full_matrices=False)
    assert s[0] == pytest.approx(1.0)  # no singular value is above 1
    cut = (u[:, :rank] * s[:rank]) @ v[:rank]
    every = np.arange(len(pairs.label))
    # the solver stops at the last digits of float64
    np.testing.assert_allclose(2 * rung.predict(pairs, every) - 1, cut[pairs.gene, pairs.molecule], atol=1e-9)


def test_training_negatives_count_only_where_asked(planted):
    pairs = planted("blocks")
    train, test = pairs.parts["train"], pairs.parts["test"]
    positives = train[pairs.label[train] == 1]
    for signed in (False, True):
        scores = []
        for rows in (train, positives):
            rung = Factorisation(signed=signed)
            rung.fit(pairs, rows)
            scores.append(rung.predict(pairs, test))
        assert np.array_equal(*scores) is not signed


def test_what_training_has_not_seen_scores_0(planted):
    pairs = planted("blocks")
    train = pairs.parts["train"]
    rung = Factorisation()
    rung.fit(pairs, train[(pairs.gene[train] != 7) & (pairs.molecule[train] != 9)])
    scores = rung.predict(pairs, np.arange(len(pairs.label)))
    cold = (pairs.gene == 7) | (pairs.molecule == 9)
    assert (scores[cold] == 0.5).all()  # (1 + 0) / 2
    assert (scores[~cold] != 0.5).any()


def test_says_what_to_install(planted, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    pairs = planted("blocks")
    with pytest.raises(ValueError, match=r'pip install "dnalm\[interaction\]"'):
        Factorisation().fit(pairs, pairs.parts["train"])
