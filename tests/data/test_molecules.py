"""Tests for dnalm/data/molecules.py."""

import io
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from dnalm.data.molecules import (
    BITS,
    COUNTER_IONS,
    atom_spans,
    atom_symbols,
    canonical_smiles,
    draw_molecule,
    molecule_clusters,
    morgan_atoms,
    morgan_bits,
    plain_smiles,
    scaffold,
)
from dnalm.errors import InputError


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
        ("CCCC(=O)[O-].[Na+]", "CCCC(=O)[O-]"),
        ("Cl.CCN", "CCN"),
        ("CCO.CCN", "CCO"),  # three heavy atoms each: oxygen is heavier
        ("CCO.OCC", "CCO"),
        ("O.O.Cl.CCN", "CCN"),
        ("C[N+](C)(C)CCO.O=C([O-])C(O)C(O)C(=O)O", "C[N+](C)(C)CCO"),  # the counter-ion is the larger one
        ("CN.O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O", "CN"),
        ("[Cu+2].O=S(=O)([O-])[O-]", "[Cu+2]"),
        ("[Cd+2].O=S(=O)([O-])[O-]", "[Cd+2]"),
        ("O=C([O-])[O-].[Li+].[Li+]", "[Li+]"),
        ("CC(=O)[O-].[Na+]", "CC(=O)[O-]"),  # a counter-ion itself, beside a mineral
        ("CC(=O)O.[NH4+].O", "CC(=O)O"),
        ("CC(=O)[O-].CC(=O)[O-].[Cu+2]", "[Cu+2]"),
        # Nothing but minerals, or a metal with what it binds: whole.
        ("[Cl-].[Na+]", "[Cl-].[Na+]"),
        ("O=S(=O)([O-])[O-].[Na+].[Na+]", "O=S(=O)([O-])[O-].[Na+].[Na+]"),
        ("N.N.O=C([O-])C1(C(=O)[O-])CCC1.[Pt+2]", "N.N.O=C([O-])C1(C(=O)[O-])CCC1.[Pt+2]"),
    ],
)
def test_of_a_salt_what_acts_stays(smiles, largest):
    assert canonical_smiles(smiles) == largest
    assert canonical_smiles(".".join(reversed(smiles.split(".")))) == largest
    assert "." in canonical_smiles(smiles, salts="keep")


def test_counter_ions_are_spelled_as_they_are_looked_up():
    assert {plain_smiles(each) for each in COUNTER_IONS} == COUNTER_IONS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"),
        ("C/C=C/C", "C/C=C\\C"),
        ("CCCC(=O)[O-]", "CCCC(=O)O"),
        ("C[NH3+]", "CN.Cl"),
        ("[2H]C([2H])([2H])O", "CO"),
        ("[13CH3]O", "CO"),
        ("CC(=O)[O-].[Na+]", "CC(=O)O"),
    ],
)
def test_forms_of_one_molecule_are_in_one_cluster(one, other):
    assert canonical_smiles(one) != canonical_smiles(other)
    assert plain_smiles(one) == plain_smiles(other)
    assert molecule_clusters([one, "CCO", other, "CCS"]).tolist() == [0, 1, 0, 2]


def test_isomers_have_one_scaffold():
    assert scaffold("C[C@H]1CC[C@@H](c2ccccc2)CC1") == scaffold("CC1CCC(c2ccccc2)CC1")
    assert scaffold("C[NH+]1CCCCC1") == scaffold("CN1CCCCC1") == "C1CCNCC1"


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


MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@H](N)C(=O)[O-].[Na+]",
    "O=C(Nc1ccc(Cl)c(Br)c1)C1CC1",
    "c1ccc2[nH]ccc2c1",
    "FC(F)(F)S(=O)(=O)c1ccncc1",
    "[2H]OCC%10CC%10",
    "*CC",
    "[H][H]",
]


@pytest.mark.parametrize("smiles", MOLECULES)
@pytest.mark.parametrize("radius", [0, 1, 2, 3])
def test_atoms_of_bits_are_those_of_the_environments_that_set_them(smiles, radius):
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator as library

    molecule = Chem.MolFromSmiles(smiles)
    told = library.AdditionalOutput()
    told.AllocateBitInfoMap()
    made = library.GetMorganGenerator(radius=radius, fpSize=64).GetFingerprint(
        molecule, additionalOutput=told
    )
    wanted = []
    for bit in made.GetOnBits():
        atoms = set()
        for middle, reach in told.GetBitInfoMap()[bit]:
            bonds = Chem.FindAtomEnvironmentOfRadiusN(molecule, reach, middle, useHs=True, enforceSize=False)
            ends = [molecule.GetBondWithIdx(bond) for bond in bonds]
            atoms |= {middle} | {b.GetBeginAtomIdx() for b in ends} | {b.GetEndAtomIdx() for b in ends}
        wanted.append(tuple(sorted(atoms)))
    assert morgan_atoms(smiles, radius, 64) == wanted
    assert len(wanted) == len(morgan_bits(smiles, radius, 64))


@pytest.mark.parametrize("smiles", MOLECULES)
def test_atoms_stand_in_a_smiles_in_their_order(smiles):
    symbols = atom_symbols(smiles)
    pieces = [smiles[begin:end] for begin, end in atom_spans(smiles)]
    assert len(pieces) == len(symbols)
    for piece, symbol in zip(pieces, symbols, strict=True):
        assert piece.strip("[]0123456789+-@").lower().startswith(symbol.lower())


def test_a_smiles_that_spells_hydrogens_is_refused():
    with pytest.raises(InputError, match="expected a canonical SMILES, .* spells 2 atoms and has 1"):
        atom_spans("[H]C")


def test_each_atom_of_a_drawing_has_its_colour():
    color = (0.8, 0.2, 0.0)
    light = (0.9, 0.9, 1.0)
    picture = imread(io.BytesIO(draw_molecule("CCC", [light, color, light], 300, 200)))[..., :3]

    def near(wanted):
        return (np.abs(picture - wanted).max(-1) < 0.02).sum()

    assert picture.shape == (200, 300, 3)
    assert near(color) > 50
    assert near(light) == pytest.approx(2 * near(color), rel=0.3)  # lines and figures hide some of each


@pytest.mark.parametrize("ask", [scaffold, morgan_bits])
def test_refuses_what_is_no_molecule(ask):
    with pytest.raises(InputError, match="expected a molecule as SMILES, got 'C1CC'"):
        ask("C1CC")


def test_without_rdkit_the_command_to_install_it_is_named(monkeypatch):
    for name in ("rdkit", "rdkit.RDLogger"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r'pip install "dnalm\[interaction\]"'):
        canonical_smiles("CCO")
