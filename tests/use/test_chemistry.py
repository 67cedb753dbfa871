"""Tests for dnalm/use/chemistry.py: what is near the molecules of a screen."""

import numpy as np
import pytest

from dnalm.data.molecules import canonical_smiles, fingerprints, tanimoto
from dnalm.data.pairs import PairSet
from dnalm.use.chemistry import neighbourhood, scaffold_groups

pytest.importorskip("rdkit")
SMILES = [
    str(canonical_smiles(each)) for each in ("CCO", "CCCO", "CCCCO", "c1ccccc1O", "c1ccccc1N", "CC(=O)O")
]


def make_pairs():
    """Gene a is positive with the two alcohols 0 and 1; the last molecule is in no training pair."""
    gene, molecule = (axis.ravel() for axis in np.mgrid[:2, : len(SMILES)])
    label = ((gene == 0) & (molecule < 2)).astype(np.uint8)
    trained = molecule < len(SMILES) - 1
    parts = {"train": np.flatnonzero(trained), "validation": np.flatnonzero(~trained)}
    parts["test"] = np.zeros(0, dtype=np.int64)
    names, none = ["a", "b"], [""] * len(SMILES)
    return PairSet(
        names, ["ACGT"] * 2, ["CDS"] * 2, np.arange(2), SMILES, none, gene, molecule, label, parts, {}
    )


def test_the_nearest_positive_is_of_the_gene_and_never_the_molecule_itself():
    near = neighbourhood(make_pairs(), "a", [SMILES[0], SMILES[2], SMILES[3]])
    assert near.positive[:2] == [SMILES[1], SMILES[1]]
    bits = fingerprints(SMILES)
    assert near.positive_similarity[1] == pytest.approx(tanimoto(bits[[2]], bits[[1]])[0, 0])
    other = neighbourhood(make_pairs(), "b", SMILES)
    assert other.positive == [""] * len(SMILES)
    assert (other.positive_similarity == 0).all()


def test_outside_is_what_is_less_similar_than_the_training_molecules_are_to_each_other():
    pairs = make_pairs()
    near = neighbourhood(pairs, "a", [SMILES[1], "[Pt+4]", SMILES[5]])
    like = tanimoto(fingerprints(SMILES[:5]), fingerprints(SMILES[:5]))
    np.fill_diagonal(like, 0)
    assert near.limit == pytest.approx(np.quantile(like.max(axis=1), 0.05))
    assert near.outside.tolist() == [False, True, bool(near.similarity[2] < near.limit)]
    assert near.similarity[0] == 1.0  # it is a training molecule


def test_molecules_are_grouped_by_scaffold_in_the_order_of_the_first():
    smiles = ["CCO", "c1ccccc1O", "CCC", "Nc1ccccc1", "C1CCNCC1"]
    assert scaffold_groups(smiles) == [[0], [1, 3], [2], [4]]
