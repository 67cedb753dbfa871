"""Tests for dnalm/molecules.py."""

import sys

import numpy as np
import pytest

from dnalm.molecules import BITS, canonical_smiles, morgan_bits, scaffold


@pytest.mark.parametrize("smiles", ["OCC", "C(O)C", " CCO ", "[CH3][CH2][OH]"])
def test_spellings_of_one_molecule_become_one(smiles):
    assert canonical_smiles(smiles) == "CCO"


def test_stereo_and_charge_are_kept():
    assert canonical_smiles("C[C@H](N)C(=O)O") != canonical_smiles("C[C@@H](N)C(=O)O")
    assert canonical_smiles("CC(=O)[O-]") != canonical_smiles("CC(=O)O")


@pytest.mark.parametrize("smiles", ["", "  ", "C1CC", "not a molecule", "C(C)(C)(C)(C)C"])
def test_what_is_no_molecule_is_none(smiles, capfd):
    assert canonical_smiles(smiles) is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("smiles", "largest"),
    [
        ("CC(=O)O.[Na+]", "CC(=O)O"),
        ("Cl.CCN", "CCN"),
        ("CCO.CCN", "CCO"),  # three heavy atoms each: oxygen is heavier
        ("[Na+].[Cl-]", "[Cl-]"),
        ("CCO.OCC", "CCO"),
    ],
)
def test_of_a_salt_the_largest_fragment_stays(smiles, largest):
    assert canonical_smiles(smiles) == largest
    assert canonical_smiles(".".join(reversed(smiles.split(".")))) == largest
    assert "." in canonical_smiles(smiles, salts="keep")


def test_scaffolds_are_rings_and_what_joins_them():
    assert scaffold("CCc1ccccc1") == scaffold("Oc1ccccc1") == "c1ccccc1"
    assert scaffold("c1ccccc1CCC1CCCC1C") == canonical_smiles("c1ccccc1CCC1CCCC1")
    assert scaffold("CCO") == ""


def test_fingerprints_are_sorted_bits_that_tell_molecules_apart():
    phenol = morgan_bits("Oc1ccccc1")
    assert phenol.dtype == np.int64
    assert (np.diff(phenol) > 0).all()
    assert phenol[0] >= 0
    assert phenol[-1] < BITS
    assert np.array_equal(phenol, morgan_bits("c1ccc(O)cc1"))
    shared = [len(np.intersect1d(phenol, morgan_bits(other))) for other in ("Cc1ccccc1", "CCCC")]
    assert shared[0] > 2 * shared[1]


@pytest.mark.parametrize("ask", [scaffold, morgan_bits])
def test_refuses_what_is_no_molecule(ask):
    with pytest.raises(ValueError, match="expected a molecule as SMILES, got 'C1CC'"):
        ask("C1CC")


def test_without_rdkit_the_command_to_install_it_is_named(monkeypatch):
    for name in ("rdkit", "rdkit.RDLogger"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r'pip install "dnalm\[interaction\]"'):
        canonical_smiles("CCO")
