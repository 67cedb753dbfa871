"""Tests for dnalm/baselines/boosting.py."""

import sys

import numpy as np
import pytest

from dnalm.evaluate.auroc import areas
from dnalm.evaluate.baselines.boosting import BITS, Boosting, features, kmer_frequencies
from dnalm.evaluate.baselines.neighbours import fingerprints


def test_finds_a_rule_between_words_and_substructures_for_new_genes_and_molecules(planted):
    pairs = planted("features")
    train = pairs.parts["train"]
    rung = Boosting(trees=20)
    rung.fit(pairs, train[(pairs.gene[train] >= 20) & (pairs.molecule[train] < 40)])
    cold = np.flatnonzero((pairs.gene < 20) & (pairs.molecule >= 40))
    assert areas(pairs.label[cold], rung.predict(pairs, cold))[0] > 0.95


def test_does_not_see_what_no_feature_tells(planted):
    pairs = planted("blocks")
    train = pairs.parts["train"]
    rung = Boosting(trees=20)
    rung.fit(pairs, train[(pairs.gene[train] >= 20) & (pairs.molecule[train] < 40)])
    cold = np.flatnonzero((pairs.gene < 20) & (pairs.molecule >= 40))
    # 4 standard errors of an AUROC of 400 pairs of 20 genes and 20 molecules, as if they were 40 of each
    assert areas(pairs.label[cold], rung.predict(pairs, cold))[0] == pytest.approx(0.5, abs=0.25)


def test_4_mers_worked_out_by_hand():
    found = kmer_frequencies(["AAAAC", "acgtNTTTT", "ACG", ""])
    assert found.shape == (4, 256)
    np.testing.assert_allclose(found[0, [0, 1]], [0.5, 0.5])  # AAAA, AAAC
    np.testing.assert_allclose(found[1, [0b00011011, 255]], [0.5, 0.5])  # ACGT, TTTT; none across the N
    np.testing.assert_allclose(found.sum(axis=1), [1, 1, 0, 0])


def test_features_are_of_the_pairs_own_gene_and_molecule(planted):
    pairs = planted("features")
    rows = pairs.parts["test"][:50]
    found = features(pairs, rows)
    for at in (0, 49):
        molecule, gene = pairs.molecule[rows[at]], pairs.gene[rows[at]]
        np.testing.assert_array_equal(found[at, :BITS], fingerprints([pairs.smiles[molecule]], BITS)[0])
        np.testing.assert_array_equal(found[at, BITS:], kmer_frequencies([pairs.sequences[gene]])[0])


def test_predicts_the_same_in_any_pieces(planted, monkeypatch):
    pairs = planted("features")
    rung = Boosting(trees=5)
    rung.fit(pairs, pairs.parts["train"])
    whole = rung.predict(pairs, pairs.parts["test"])
    monkeypatch.setattr("dnalm.evaluate.baselines.boosting.AT_ONCE", 7)
    np.testing.assert_array_equal(rung.predict(pairs, pairs.parts["test"]), whole)


def test_says_what_to_install(planted, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    pairs = planted("features")
    with pytest.raises(ValueError, match=r'pip install "dnalm\[interaction\]"'):
        Boosting().fit(pairs, pairs.parts["train"])
