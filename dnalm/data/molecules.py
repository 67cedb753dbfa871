"""Molecules as SMILES: canonical spelling, scaffolds, fingerprints, drawings. By RDKit, which is optional.

All functions raise InputError if RDKit is missing, and all but `canonical_smiles` for what is no molecule.

Shapes: K bits that are set in a fingerprint, of F; A atoms of a molecule, in the order of its SMILES; M, Q
and T molecules.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Numbers
from dnalm.data.epochs import Rows
from dnalm.errors import InputError, import_extra

Color = tuple[float, float, float]
Bits = npt.NDArray[np.uint8]  # 0 or 1
Salts = Literal["largest", "keep"]
"""largest: counter-ions are removed from a salt, and of the rest the fragment with most heavy atoms stays;
keep: all fragments stay."""
Isotopes = Literal["keep", "drop"]
"""keep: molecules of other isotopes are other molecules; drop: they are one."""
_MINERALS = "[Na+] [Na] [K+] [K] [Ca+2] [Mg+2] N O Cl Br I O=S(=O)(O)O O=P(O)(O)O O=[N+]([O-])O O=C(O)O"
_ORGANIC_IONS = """
    CC(=O)O O=CO O=C(O)C(=O)O O=C(O)CC(=O)O O=C(O)CCC(=O)O O=C(O)C(F)(F)F CC(O)C(=O)O O=C(O)CO
    O=C(O)C=CC(=O)O O=C(O)CC(O)C(=O)O O=C(O)C(O)C(O)C(=O)O O=C(O)CC(O)(CC(=O)O)C(=O)O
    O=C(O)C(O)C(O)C(O)C(O)CO O=C(O)c1ccccc1 CS(=O)(=O)O CCS(=O)(=O)O O=S(=O)(O)CCO O=S(=O)(O)CCS(=O)(=O)O
    O=S(=O)(O)c1ccccc1 Cc1ccc(S(=O)(=O)O)cc1 O=S(=O)(O)c1ccc2ccccc2c1
    O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O O=C(O)c1ccc2ccccc2c1O CNCC(O)C(O)C(O)C(O)CO
    NC(CO)(CO)CO OCCNCCO NCCO NCCN
"""
MINERALS = frozenset(_MINERALS.split())
"""Mineral ions and solvents of drugs' salts and hydrates, as `plain_smiles` spells them."""
COUNTER_IONS = MINERALS | set(_ORGANIC_IONS.split())  # active in a salt only beside minerals alone
NON_METALS = frozenset(("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "Te", "I"))
RADIUS, BITS = 2, 2048  # of the Morgan fingerprint (Rogers and Hahn 2010); radius 2 is also called ECFP4
ATOM = re.compile(r"\[[^\]]+\]|Br|Cl|[BCNOPSFIbcnops*]")
"""An atom in a SMILES: in brackets, or of those that need none (OpenSMILES, section 3.1)."""


def canonical_smiles(smiles: str, salts: Salts = "largest", isotopes: Isotopes = "keep") -> str | None:
    """Return the canonical spelling of a molecule, or None if the text is no molecule.

    An InChI is read too. The numbers of an atom map, as in [CH3:1], are no part of a molecule.

    `salts` is for molecules of several fragments. A salt of minerals alone stays as it is, and so does one of
    another metal with another active fragment. Of fragments with equally many heavy atoms the heavier stays,
    of equally heavy ones the first by its spelling.
    """
    chemistry = _rdkit()
    read = chemistry.MolFromInchi if smiles.startswith("InChI=") else chemistry.MolFromSmiles
    molecule = read(smiles.strip()) if smiles.strip() else None
    if molecule is not None and (":" in smiles or isotopes == "drop"):
        for atom in molecule.GetAtoms():
            atom.SetAtomMapNum(0)
            if isotopes == "drop":
                atom.SetIsotope(0)
        # Read again: an atom may be no stereo centre now, and a hydrogen no atom of its own.
        molecule = chemistry.MolFromSmiles(chemistry.MolToSmiles(molecule))
    if molecule is None or not molecule.GetNumAtoms():
        return None
    fragments = chemistry.GetMolFrags(molecule, asMols=True) if salts == "largest" else ()
    complete = str(chemistry.MolToSmiles(molecule))
    if len(fragments) < 2:
        return complete
    plain = [(_plain(each), each) for each in fragments]
    active = [each for text, each in plain if text not in COUNTER_IONS]
    active = active or [each for text, each in plain if text not in MINERALS]
    spelled = {chemistry.MolToSmiles(each): each for each in active}
    elements = {atom.GetSymbol() for each in active for atom in each.GetAtoms()}
    if not active or (len(spelled) > 1 and elements - NON_METALS):
        return complete
    weight = _rdkit("Chem.Descriptors").MolWt
    return str(min((-each.GetNumHeavyAtoms(), -weight(each), text) for text, each in spelled.items())[-1])


def plain_smiles(smiles: str) -> str:
    """Return what stereoisomers, isotopes, salts and charge forms of a molecule have in common, as SMILES.

    Fingerprints and most tokenizers of molecules cannot distinguish these. It is of the largest fragment.
    """
    molecule = _molecule(canonical_smiles(smiles) or smiles)
    fragments = _rdkit().GetMolFrags(molecule, asMols=True)
    return min((-each.GetNumHeavyAtoms(), _plain(each)) for each in fragments)[-1]


def molecule_clusters(smiles: Sequence[str]) -> Rows:
    """Return a number for each molecule, [M], that is equal for molecules of one `plain_smiles`."""
    known: dict[str, int] = {}
    clusters = [known.setdefault(plain_smiles(each), len(known)) for each in smiles]
    return np.array(clusters, dtype=np.int64)


def scaffold(smiles: str) -> str:
    """Return the Bemis-Murcko scaffold of a molecule without stereo and charges; "" without a ring."""
    molecule = _molecule(plain_smiles(smiles))
    rings = _rdkit("Chem.Scaffolds.MurckoScaffold").GetScaffoldForMol(molecule)
    return str(_rdkit().MolToSmiles(rings))


def morgan_bits(smiles: str, radius: int = RADIUS, bits: int = BITS) -> Rows:
    """Return which bits of a molecule's Morgan fingerprint are set, ascending, [K]; `radius` in bonds."""
    return np.array([bit for bit, _ in _morgan(_molecule(smiles), radius, bits)], dtype=np.int64)


def tanimoto(one: Bits, other: Bits) -> Numbers:
    """Return the fraction of bits in common among those set in either, [Q, T], of [Q, F] and [T, F]; or 0."""
    common = (one.astype(np.float32) @ other.astype(np.float32).T).astype(np.float64)  # integers, exact
    either = one.sum(axis=1, dtype=np.float64)[:, None] + other.sum(axis=1, dtype=np.float64) - common
    similarity: Numbers = np.divide(common, either, out=np.zeros_like(common), where=either > 0)
    return similarity


def fingerprints(smiles: Sequence[str], bits: int = BITS) -> Bits:
    """Return Morgan fingerprints, [M, F] of 0 and 1; fewer than 2,048 bits are folded, by the remainder.

    Raises:
        InputError: if rdkit is not installed.
    """
    made = np.zeros((len(smiles), bits), dtype=np.uint8)
    for row, each in enumerate(smiles):
        made[row, morgan_bits(each) % bits] = 1
    return made


def morgan_atoms(smiles: str, radius: int = RADIUS, bits: int = BITS) -> list[tuple[int, ...]]:
    """Return the atoms of each bit of `morgan_bits`, ascending, [K].

    Of each substructure that sets the bit, every atom within as many bonds of the central one as its radius.
    """
    molecule = _molecule(smiles)
    bonds = _rdkit().GetDistanceMatrix(molecule)  # from atom to atom, [A, A]
    return [
        tuple(np.flatnonzero(np.any([bonds[atom] <= reach for atom, reach in centres], axis=0)).tolist())
        for _, centres in _morgan(molecule, radius, bits)
    ]


def _morgan(molecule: Any, radius: int, bits: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return the bits of a fingerprint, ascending, with the central atoms and radii that set each."""
    library = _rdkit("Chem.rdFingerprintGenerator")
    output = library.AdditionalOutput()
    output.AllocateBitInfoMap()
    library.GetMorganGenerator(radius=radius, fpSize=bits).GetFingerprint(molecule, additionalOutput=output)
    return sorted(output.GetBitInfoMap().items())


def atom_symbols(smiles: str) -> list[str]:
    """Return the element of each atom, [A]."""
    return [atom.GetSymbol() for atom in _molecule(smiles).GetAtoms()]


def atom_spans(smiles: str) -> Rows:
    """Return the characters of each atom, 0-based half-open, [A, 2]: a bracket atom, or a symbol.

    InputError also if `smiles` is not canonical, and spells hydrogens that are no atoms of the molecule.
    """
    spans = np.array([each.span() for each in ATOM.finditer(smiles)], dtype=np.int64).reshape(-1, 2)
    if len(spans) != (count := _molecule(smiles).GetNumAtoms()):
        raise InputError(f"expected a canonical SMILES of {count} atoms, got {smiles!r}, of {len(spans)}")
    return spans


def draw_molecule(smiles: str, colors: Sequence[Color] | None, width: int, height: int) -> bytes:
    """Return a picture of a molecule as PNG, of `width` and `height` in pixels, with a disc behind each atom.

    `colors` are red, green and blue of each disc, 0 to 1, [A]; None: no discs, and atoms without numbers.
    """
    molecule, drawing = _molecule(smiles), _rdkit("Chem.Draw.rdMolDraw2D")
    drawer = drawing.MolDraw2DCairo(width, height)
    options = drawer.drawOptions()
    options.useBWAtomPalette()  # so that no colour is that of an element
    options.atomHighlightsAreCircles, options.continuousHighlight = True, False
    options.highlightRadius, options.addAtomIndices = 0.42, colors is not None
    options.bondLineWidth, options.fixedBondLength, options.padding = 3, width / 11, 0.02
    options.prepareMolsBeforeDrawing = False  # done below, without added hydrogens
    discs = dict(enumerate(map(tuple, colors or ())))
    ready = drawing.PrepareMolForDrawing(molecule, addChiralHs=False)
    drawer.DrawMolecule(ready, highlightAtoms=list(discs), highlightAtomColors=discs, highlightBonds=[])
    drawer.FinishDrawing()
    return bytes(drawer.GetDrawingText())


def sdf_record(smiles: str, name: str, properties: Mapping[str, str]) -> str:
    """Return a molecule as a record of an SDF file, with plane coordinates, a name and properties."""
    molecule = _molecule(smiles)
    _rdkit("Chem.rdDepictor").Compute2DCoords(molecule)
    molecule.SetProp("_Name", " ".join(name.split()))
    lines = [f">  <{key}>\n{' '.join(value.split())}\n" for key, value in properties.items() if value]
    return str(_rdkit().MolToMolBlock(molecule)) + "\n".join([*lines, "$$$$\n"])


def _plain(molecule: Any) -> str:
    """Return the SMILES of an RDKit molecule without stereo, isotopes, and charges that can be removed."""
    chemistry = _rdkit()
    bare = _rdkit("Chem.MolStandardize.rdMolStandardize").Uncharger().uncharge(molecule)
    for atom in bare.GetAtoms():
        atom.SetIsotope(0)
    return str(chemistry.MolToSmiles(chemistry.RemoveHs(bare), isomericSmiles=False))


def _molecule(smiles: str) -> Any:
    """Return RDKit's molecule; InputError if the SMILES cannot be read."""
    molecule = _rdkit().MolFromSmiles(smiles)
    if molecule is None:
        raise InputError(f"expected a molecule as SMILES, got {smiles!r}")
    return molecule


def _rdkit(name: str = "Chem") -> Any:
    """Return a module of RDKit as Any: its type hints lack names that it has."""
    logger = import_extra("rdkit.RDLogger", "interaction", "reading molecules")
    logger.DisableLog("rdApp.*")  # it writes to stderr; callers report what is wrong
    return importlib.import_module(f"rdkit.{name}")
