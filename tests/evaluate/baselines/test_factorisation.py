"""Tests for dnalm/evaluate/baselines/factorisation.py."""

import numpy as np
import pytest

from dnalm.evaluate.baselines.factorisation import factorisation


@pytest.mark.parametrize("rule", ["blocks", "family"])
@pytest.mark.parametrize("signed", [False, True])
def test_finds_who_goes_with_whom(rule, signed, planted, auroc_of):
    assert auroc_of(factorisation, planted(rule), rank=4, signed=signed) > 0.9


def normalised(pairs, rows):
    matrix = np.zeros((len(pairs.gene_ids), len(pairs.smiles)))
    matrix[pairs.gene[rows], pairs.molecule[rows]] = pairs.label[rows]
    degrees = np.outer(matrix.sum(1), matrix.sum(0))
    return np.divide(matrix, np.sqrt(degrees), out=matrix, where=degrees > 0)


@pytest.mark.parametrize("rank", [8, 59, 200])  # the sparse solver, the dense one, and more than there are
def test_is_the_best_matrix_of_its_rank(rank, planted):
    pairs = planted("blocks")
    train, every = pairs.parts["train"], np.arange(len(pairs.label))
    u, s, v = np.linalg.svd(normalised(pairs, train), full_matrices=False)
    assert s[0] == pytest.approx(1.0)  # no singular value is above 1
    cut = (u[:, :rank] * s[:rank]) @ v[:rank]
    scores = factorisation(pairs, train, every, rank=rank)
    # the solver stops at the last digits of float64
    np.testing.assert_allclose(2 * scores - 1, cut[pairs.gene, pairs.molecule], atol=1e-9)


@pytest.mark.parametrize("signed", [False, True])
def test_training_negatives_count_only_on_request(signed, planted):
    pairs = planted("blocks")
    train, test = pairs.parts["train"], pairs.parts["test"]
    positives = train[pairs.label[train] == 1]
    scores = [factorisation(pairs, rows, test, signed=signed) for rows in (train, positives)]
    assert np.array_equal(*scores) is not signed


def test_what_is_not_in_training_scores_0(planted):
    pairs = planted("blocks")
    train = pairs.parts["train"]
    train = train[(pairs.gene[train] != 7) & (pairs.molecule[train] != 9)]
    scores = factorisation(pairs, train, np.arange(len(pairs.label)))
    cold = (pairs.gene == 7) | (pairs.molecule == 9)
    assert (scores[cold] == 0.5).all()  # (1 + 0) / 2
    assert (scores[~cold] != 0.5).any()
