"""Tests for dnalm/evaluate/baselines/boosting.py."""

import numpy as np
import pytest

from dnalm.data.molecules import fingerprints
from dnalm.evaluate.auroc import auroc
from dnalm.evaluate.baselines.boosting import boosting, features, fit_trees
from dnalm.models.boosted_trees import BITS, joined, kmer_frequencies


def cold_auroc(pairs):
    """AUROC on genes and molecules that are not in training."""
    train = pairs.parts["train"]
    train = train[(pairs.gene[train] >= 20) & (pairs.molecule[train] < 40)]
    cold = np.flatnonzero((pairs.gene < 20) & (pairs.molecule >= 40))
    return auroc(pairs.label[cold], boosting(pairs, train, cold, trees=20))


def test_finds_a_rule_between_words_and_substructures_for_new_genes_and_molecules(planted):
    assert cold_auroc(planted("features")) > 0.95


def test_4_mers_worked_out_by_hand():
    found = kmer_frequencies(["AAAAC", "acgtNTTTT", "ACG", ""])
    assert found.shape == (4, 256)
    np.testing.assert_allclose(found[0, [0, 1]], [0.5, 0.5])  # AAAA, AAAC
    np.testing.assert_allclose(found[1, [0b00011011, 255]], [0.5, 0.5])  # ACGT, TTTT; none across the N
    np.testing.assert_allclose(found.sum(axis=1), [1, 1, 0, 0])


def test_features_are_of_the_pairs_own_gene_and_molecule(planted):
    pairs = planted("features")
    rows = pairs.parts["test"][:50]
    found = joined(*features(pairs, rows))
    for at in (0, 49):
        molecule, gene = pairs.molecule[rows[at]], pairs.gene[rows[at]]
        np.testing.assert_array_equal(found[at, :BITS], fingerprints([pairs.smiles[molecule]], BITS)[0])
        np.testing.assert_array_equal(found[at, BITS:], kmer_frequencies([pairs.sequences[gene]])[0])


def test_predicts_the_same_in_any_batches(planted, monkeypatch):
    pairs = planted("features")
    train, test = pairs.parts["train"], pairs.parts["test"]
    at_once = boosting(pairs, train, test, trees=5)
    monkeypatch.setattr("dnalm.models.boosted_trees.BATCH", 70)
    np.testing.assert_array_equal(boosting(pairs, train, test, trees=5), at_once)


def test_the_arrays_predict_what_scikit_learn_does(planted):
    ensemble = pytest.importorskip("sklearn.ensemble")
    pairs = planted("features")
    train, test = pairs.parts["train"], pairs.parts["test"]
    theirs = ensemble.HistGradientBoostingClassifier(max_iter=20, early_stopping=False, random_state=3)
    theirs.fit(joined(*features(pairs, train)), pairs.label[train])
    expected = theirs.decision_function(joined(*features(pairs, test)))
    ours = fit_trees(pairs, train, 3, 20).log_odds(*features(pairs, test))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
