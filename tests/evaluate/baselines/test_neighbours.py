"""Tests for dnalm/evaluate/baselines/neighbours.py."""

from dataclasses import replace

import numpy as np
import pytest

from dnalm.data.molecules import fingerprints, tanimoto
from dnalm.evaluate.baselines.neighbours import nearest_molecules
from dnalm.models.pair_knowledge import SIMILARITY_PRIOR as PRIOR


def test_finds_the_family_that_each_gene_takes_to(planted, auroc_of):
    assert auroc_of(nearest_molecules, planted("family")) > 0.9


def test_tanimoto_worked_out_by_hand_and_by_rdkit():
    one = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], dtype=np.uint8)
    other = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=np.uint8)
    np.testing.assert_allclose(tanimoto(one, other), [[1 / 3, 1, 0], [0, 0, 0]])
    chem = pytest.importorskip("rdkit.Chem")
    from rdkit import DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    smiles = ["CCO", "CCCCO", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1"]
    made = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    theirs = [made.GetFingerprint(chem.MolFromSmiles(each)) for each in smiles]
    ours = fingerprints(smiles)
    expected = [[DataStructs.TanimotoSimilarity(a, b) for b in theirs] for a in theirs]
    np.testing.assert_allclose(tanimoto(ours, ours), expected, atol=1e-12)


def test_folded_bits_are_the_remainders():
    whole, folded = fingerprints(["CC(=O)Nc1ccc(O)cc1"]), fingerprints(["CC(=O)Nc1ccc(O)cc1"], 512)
    np.testing.assert_array_equal(folded, whole.reshape(1, 4, 512).max(axis=1))


def test_a_score_worked_out_pair_by_pair(planted):
    pairs = planted("family")
    train, row = pairs.parts["train"], pairs.parts["test"][0]
    same = train[pairs.gene[train] == pairs.gene[row]]
    bits = fingerprints(pairs.smiles)
    like = tanimoto(bits[pairs.molecule[[row]]], bits[pairs.molecule[same]])[0]
    expected = (like @ pairs.label[same] + PRIOR * pairs.label[train].mean()) / (like.sum() + PRIOR)
    assert nearest_molecules(pairs, train, np.array([row]))[0] == pytest.approx(expected, abs=1e-12)


def test_genes_of_a_cluster_count_as_one_and_unseen_ones_as_the_prevalence(planted):
    pairs = planted("family")
    train = pairs.parts["train"]
    train = train[pairs.gene[train] != 0]
    rows = np.flatnonzero(pairs.gene == 0)
    alone = nearest_molecules(pairs, train, rows)
    np.testing.assert_allclose(alone, pairs.label[train].mean(), rtol=1e-15)
    clusters = pairs.clusters + 100
    clusters[0] = clusters[1]
    joined = replace(pairs, clusters=clusters)
    # the molecules of gene 0 are, in the same order, those of gene 1
    twin = nearest_molecules(pairs, train, np.flatnonzero(pairs.gene == 1))
    np.testing.assert_array_equal(nearest_molecules(joined, train, rows), twin)
