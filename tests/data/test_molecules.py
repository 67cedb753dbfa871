"""Tests for dnalm/data/molecules.py."""

import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from dnalm.data.molecules import (
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


def test_spellings_of_one_molecule_become_one_stereo_and_charge_stay_and_no_molecule_is_none(capfd):
    assert {canonical_smiles(each) for each in ("OCC", "C(O)C", " CCO ", "[CH3][CH2][OH]")} == {"CCO"}
    assert canonical_smiles("C[C@H](N)C(=O)O") != canonical_smiles("C[C@@H](N)C(=O)O")
    assert canonical_smiles("CC(=O)[O-]") != canonical_smiles("CC(=O)O")
    for text in ("", "  ", "C1CC", "not a molecule", "C(C)(C)(C)(C)C"):
        assert canonical_smiles(text) is None
    for ask in (scaffold, morgan_bits):
        with pytest.raises(InputError, match="expected a molecule as SMILES, got 'C1CC'"):
            ask("C1CC")
    assert capfd.readouterr() == ("", "")


KINDS = ["C[C@H](N)C(=O)O", "OC[C@@H](C)/C=C/C", "c1ccc2[nH]ccc2c1", "CN(C)C.Cl", "[O-]C(=O)c1ccccc1.[Na+]"]
KINDS += ["C[C@H]1CC[C@@H](O)CC1", "[2H]C([2H])([2H])O", "O=[N+]([O-])c1cc[13cH]cc1", "CC(C)O", "C#N"]


@given(st.sampled_from(KINDS), st.randoms(use_true_random=False), st.booleans(), st.booleans())
def test_every_spelling_of_a_molecule_is_one_molecule(smiles, draws, mapped, hydrogens):
    chemistry = pytest.importorskip("rdkit.Chem")
    molecule = chemistry.MolFromSmiles(smiles)
    molecule = chemistry.AddHs(molecule) if hydrogens else molecule
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(draws.randint(0, 20) * mapped)
    order = draws.sample(range(molecule.GetNumAtoms()), molecule.GetNumAtoms())
    options = {
        "canonical": False,
        "allHsExplicit": draws.random() < 0.5,
        "allBondsExplicit": draws.random() < 0.5,
    }
    text = chemistry.MolToSmiles(chemistry.RenumberAtoms(molecule, order), **options)
    assert canonical_smiles(text) == canonical_smiles(smiles)
    assert plain_smiles(text) == plain_smiles(smiles)
    assert scaffold(text) == scaffold(smiles)


def test_isotopes_are_other_molecules_unless_they_are_dropped():
    for one, other in (("[2H]C([2H])([2H])[OH:2]", "CO"), ("C[C@H]([13CH3])O", "CC(C)O")):
        assert canonical_smiles(one) != canonical_smiles(other) == canonical_smiles(one, isotopes="drop")


# Of each salt what acts stays: the first fragment, unless other molecules are named.
SALTS = {
    "CCCC(=O)[O-].[Na+]": "",
    "CCN.Cl": "",
    "CCO.CCN": "",  # three heavy atoms each: oxygen is heavier
    "CCO.OCC": "",
    "CCN.O.O.Cl": "",
    "C[N+](C)(C)CCO.O=C([O-])C(O)C(O)C(=O)O": "",  # the counter-ion is the larger one
    "CN.O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O": "",
    "[Cu+2].O=S(=O)([O-])[O-]": "",
    "[Li+].O=C([O-])[O-].[Li+]": "",
    "CC(=O)[O-].[Na+]": "",  # a counter-ion itself, beside a mineral
    "CC(=O)O.[NH4+].O": "",
    "[Cu+2].CC(=O)[O-].CC(=O)[O-]": "",
    # Nothing but minerals, or a metal with what it binds: complete.
    "[Cl-].[Na+]": "[Cl-].[Na+]",
    "O=S(=O)([O-])[O-].[Na+].[Na+]": "O=S(=O)([O-])[O-].[Na+].[Na+]",
    "N.N.O=C([O-])C1(C(=O)[O-])CCC1.[Pt+2]": "N.N.O=C([O-])C1(C(=O)[O-])CCC1.[Pt+2]",
}


@pytest.mark.parametrize("smiles", SALTS)
def test_of_a_salt_what_acts_stays(smiles):
    fragments = smiles.split(".")
    for text in (smiles, ".".join(reversed(fragments))):
        assert canonical_smiles(text) == (SALTS[smiles] or fragments[0])
    assert "." in canonical_smiles(smiles, salts="keep")


def test_forms_of_one_molecule_are_in_one_cluster():
    for one, other in (
        ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"),
        ("C/C=C/C", "C/C=C\\C"),
        ("CCCC(=O)[O-]", "CCCC(=O)O"),
        ("C[NH3+]", "CN.Cl"),
        ("[2H]C([2H])([2H])O", "CO"),
        ("[13CH3]O", "CO"),
        ("CC(=O)[O-].[Na+]", "CC(=O)O"),
    ):
        assert canonical_smiles(one) != canonical_smiles(other)
        assert molecule_clusters([one, "CCO", other, "CCS"]).tolist() == [0, 1, 0, 2]
    assert {plain_smiles(each) for each in COUNTER_IONS} == COUNTER_IONS  # spelled as they are looked up


def test_scaffolds_are_rings_and_what_joins_them_without_stereo_and_charge():
    assert scaffold("CCc1ccccc1") == scaffold("Oc1ccccc1") == "c1ccccc1"
    assert scaffold("c1ccccc1CCC1CCCC1C") == canonical_smiles("c1ccccc1CCC1CCCC1")
    assert scaffold("CCO") == ""
    assert scaffold("C[C@H]1CC[C@@H](c2ccccc2)CC1") == scaffold("CC1CCC(c2ccccc2)CC1")
    assert scaffold("C[NH+]1CCCCC1") == scaffold("CN1CCCCC1") == "C1CCNCC1"


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
    output = library.AdditionalOutput()
    output.AllocateBitInfoMap()
    generator = library.GetMorganGenerator(radius=radius, fpSize=64)
    bits = list(generator.GetFingerprint(molecule, additionalOutput=output).GetOnBits())
    assert morgan_bits(smiles, radius, 64).tolist() == bits
    wanted = []
    for bit in bits:
        atoms = set()
        for middle, reach in output.GetBitInfoMap()[bit]:
            bonds = Chem.FindAtomEnvironmentOfRadiusN(molecule, reach, middle, useHs=True, enforceSize=False)
            ends = [molecule.GetBondWithIdx(bond) for bond in bonds]
            atoms |= {middle} | {b.GetBeginAtomIdx() for b in ends} | {b.GetEndAtomIdx() for b in ends}
        wanted.append(tuple(sorted(atoms)))
    assert morgan_atoms(smiles, radius, 64) == wanted


@pytest.mark.parametrize("smiles", MOLECULES)
def test_atoms_stand_in_a_smiles_in_their_order(smiles):
    symbols = atom_symbols(smiles)
    pieces = [smiles[begin:end] for begin, end in atom_spans(smiles)]
    assert len(pieces) == len(symbols)
    for piece, symbol in zip(pieces, symbols, strict=True):
        assert piece.strip("[]0123456789+-@").lower().startswith(symbol.lower())
    with pytest.raises(InputError, match="expected a canonical SMILES of 1 atoms, got .*, of 2"):
        atom_spans("[H]C")


def test_each_atom_of_a_drawing_has_its_colour():
    color, light = (0.8, 0.2, 0.0), (0.9, 0.9, 1.0)
    picture = imread(io.BytesIO(draw_molecule("CCC", [light, color, light], 300, 200)))[..., :3]
    assert picture.shape == (200, 300, 3)
    one, two = ((np.abs(picture - each).max(-1) < 0.02).sum() for each in (color, light))
    assert one > 50
    assert two == pytest.approx(2 * one, rel=0.3)  # lines and figures hide some of each


def test_without_rdkit_the_command_to_install_it_is_named(monkeypatch):
    for name in ("rdkit", "rdkit.RDLogger"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r'pip install "dnalm\[interaction\]"'):
        canonical_smiles("CCO")
