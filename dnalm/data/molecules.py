"""Molecules as SMILES: one spelling each, their scaffolds, their fingerprints. By RDKit, which is optional.

Shapes used below
    K  bits that are set in a fingerprint
    A  atoms of a molecule, in the order in which they stand in its SMILES
    M  molecules
"""

import importlib
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError

Salts = Literal["largest", "keep"]
"""largest: of a salt its counter-ions go, and of what is left the fragment with most heavy atoms stays; keep:
all fragments stay."""
MINERALS = frozenset({
    "[Na+]", "[Na]", "[K+]", "[K]", "[Ca+2]", "[Mg+2]", "N", "O", "Cl", "Br", "I", "O=S(=O)(O)O",
    "O=P(O)(O)O", "O=[N+]([O-])O", "O=C(O)O",
})  # fmt: skip
"""Mineral ions and solvents that drugs are made salts and hydrates of, as `plain_smiles` spells them."""
COUNTER_IONS = MINERALS | {
    "CC(=O)O", "O=CO", "O=C(O)C(=O)O", "O=C(O)CC(=O)O", "O=C(O)CCC(=O)O", "O=C(O)C(F)(F)F",
    "CC(O)C(=O)O", "O=C(O)CO", "O=C(O)C=CC(=O)O", "O=C(O)CC(O)C(=O)O", "O=C(O)C(O)C(O)C(=O)O",
    "O=C(O)CC(O)(CC(=O)O)C(=O)O", "O=C(O)C(O)C(O)C(O)C(O)CO", "O=C(O)c1ccccc1", "CS(=O)(=O)O",
    "CCS(=O)(=O)O", "O=S(=O)(O)CCO", "O=S(=O)(O)CCS(=O)(=O)O", "O=S(=O)(O)c1ccccc1",
    "Cc1ccc(S(=O)(=O)O)cc1", "O=S(=O)(O)c1ccc2ccccc2c1",
    "O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O", "O=C(O)c1ccc2ccccc2c1O",
    "CNCC(O)C(O)C(O)C(O)CO", "NC(CO)(CO)CO", "OCCNCCO", "NCCO", "NCCN",
}  # fmt: skip
"""With the organic ones: what is not what acts, unless it stands beside minerals alone."""
NON_METALS = frozenset({"H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "Te", "I"})
RADIUS, BITS = 2, 2048
"""Of the Morgan fingerprint (Rogers and Hahn 2010); radius 2 is what is called ECFP4."""
ATOM = re.compile(r"\[[^\]]+\]|Br|Cl|[BCNOPSFIbcnops*]")
"""An atom in a SMILES: in brackets, or of those that need none (OpenSMILES, section 3.1)."""


def canonical_smiles(smiles: str, salts: Salts = "largest") -> str | None:
    """Return the one spelling of a molecule, or None where the text is no molecule.

    Args:
        smiles: as it was given.
        salts: what is done with a molecule of several fragments. A salt of minerals alone stays as it is, and
            so does one of another metal with something else that acts. Of fragments with as many heavy atoms
            the heavier stays, of equally heavy ones the first by its spelling.

    Raises:
        InputError: if RDKit is not installed.
    """
    chemistry = _rdkit()
    molecule = chemistry.MolFromSmiles(smiles.strip()) if smiles.strip() else None
    if molecule is None or not molecule.GetNumAtoms():
        return None
    fragments = chemistry.GetMolFrags(molecule, asMols=True) if salts == "largest" else ()
    whole = str(chemistry.MolToSmiles(molecule))
    if len(fragments) < 2:
        return whole
    plain = [(_plain(each), each) for each in fragments]
    acting = [each for text, each in plain if text not in COUNTER_IONS]
    acting = acting or [each for text, each in plain if text not in MINERALS]
    spelled = {chemistry.MolToSmiles(each): each for each in acting}
    if not acting or (len(spelled) > 1 and any(map(_is_metal, acting))):
        return whole
    weight = _rdkit("Chem.Descriptors").MolWt
    sizes = {text: (-each.GetNumHeavyAtoms(), -weight(each)) for text, each in spelled.items()}
    return str(min(sizes, key=lambda text: (*sizes[text], text)))


def plain_smiles(smiles: str) -> str:
    """Return what stereoisomers, isotopes, salts and charge forms of a molecule have in common, as SMILES.

    Fingerprints and most tokenizers of molecules cannot tell these apart. Of several fragments it is that of
    the largest.

    Raises:
        InputError: if RDKit is not installed, or `smiles` is no molecule.
    """
    kept = _molecule(canonical_smiles(smiles) or smiles)
    fragments = {_plain(each): -each.GetNumHeavyAtoms() for each in _rdkit().GetMolFrags(kept, asMols=True)}
    return min(fragments, key=lambda text: (fragments[text], text))


def molecule_clusters(smiles: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return a number for each molecule, [M], that all of one `plain_smiles` share.

    Raises:
        InputError: if RDKit is not installed, or a text is no molecule.
    """
    known: dict[str, int] = {}
    found = [known.setdefault(plain_smiles(each), len(known)) for each in smiles]
    return np.array(found, dtype=np.int64)


def scaffold(smiles: str) -> str:
    """Return the Bemis-Murcko scaffold of a molecule: its rings and what joins them; "" without a ring.

    It is that of the molecule without stereo and charges: its isomers have the same.

    Raises:
        InputError: if RDKit is not installed, or `smiles` is no molecule.
    """
    molecule = _molecule(plain_smiles(smiles))
    rings = _rdkit("Chem.Scaffolds.MurckoScaffold").GetScaffoldForMol(molecule)
    return str(_rdkit().MolToSmiles(rings))


def morgan_bits(smiles: str, radius: int = RADIUS, bits: int = BITS) -> npt.NDArray[np.int64]:
    """Return which bits of a molecule's Morgan fingerprint are set, ascending, [K].

    Args:
        smiles: of the molecule.
        radius: bonds from a substructure's middle atom to its rim.
        bits: substructures are folded into so many.

    Raises:
        InputError: if RDKit is not installed, or `smiles` is no molecule.
    """
    made = _rdkit("Chem.rdFingerprintGenerator").GetMorganGenerator(radius=radius, fpSize=bits)
    return np.array(made.GetFingerprint(_molecule(smiles)).GetOnBits(), dtype=np.int64)


def morgan_atoms(smiles: str, radius: int = RADIUS, bits: int = BITS) -> list[tuple[int, ...]]:
    """Return the atoms of each bit that `morgan_bits` gives, ascending, [K].

    They are those of all substructures that set the bit: of each the middle atom, and every atom within as
    many bonds of it as its radius.

    Raises:
        InputError: if RDKit is not installed, or `smiles` is no molecule.
    """
    library, molecule = _rdkit("Chem.rdFingerprintGenerator"), _molecule(smiles)
    told = library.AdditionalOutput()
    told.AllocateBitInfoMap()
    library.GetMorganGenerator(radius=radius, fpSize=bits).GetFingerprint(molecule, additionalOutput=told)
    bonds = _rdkit().GetDistanceMatrix(molecule)  # from atom to atom, [A, A]
    found = sorted(told.GetBitInfoMap().items())
    return [
        tuple(np.flatnonzero(np.any([bonds[middle] <= reach for middle, reach in places], axis=0)).tolist())
        for _, places in found
    ]


def atom_symbols(smiles: str) -> list[str]:
    """Return the element of each atom, [A].

    Raises:
        InputError: if RDKit is not installed, or `smiles` is no molecule.
    """
    return [atom.GetSymbol() for atom in _molecule(smiles).GetAtoms()]


def atom_spans(smiles: str) -> npt.NDArray[np.int64]:
    """Return which characters each atom is, 0-based half-open, [A, 2]: all of a bracket atom, or its symbol.

    Args:
        smiles: as `canonical_smiles` gives it: of an explicit hydrogen that is no atom of the molecule it
            cannot tell the place.

    Raises:
        InputError: if RDKit is not installed, or `smiles` is no molecule, or is not canonical.
    """
    count = _molecule(smiles).GetNumAtoms()
    found = np.array([each.span() for each in ATOM.finditer(smiles)], dtype=np.int64).reshape(-1, 2)
    if len(found) != count:
        raise InputError(
            f"expected a canonical SMILES, got {smiles!r}: it spells {len(found)} atoms and has {count}"
        )
    return found


def draw_molecule(
    smiles: str, colors: Sequence[tuple[float, float, float]] | None, width: int, height: int
) -> bytes:
    """Return a picture of a molecule as PNG, a disc of its colour behind each atom.

    Args:
        smiles: of the molecule.
        colors: red, green and blue of each atom's disc, from 0 to 1, [A]; None: no discs, and atoms without
            their number.
        width: in pixels.
        height: in pixels.

    Raises:
        InputError: if RDKit is not installed, or `smiles` is no molecule.
    """
    molecule, drawing = _molecule(smiles), _rdkit("Chem.Draw.rdMolDraw2D")
    assert colors is None or molecule.GetNumAtoms() == len(colors)
    drawer = drawing.MolDraw2DCairo(width, height)
    options = drawer.drawOptions()
    options.useBWAtomPalette()  # so that no colour is that of an element
    options.atomHighlightsAreCircles, options.continuousHighlight = True, False
    options.highlightRadius, options.addAtomIndices = 0.42, colors is not None
    options.bondLineWidth, options.fixedBondLength, options.padding = 3, width / 11, 0.02
    options.prepareMolsBeforeDrawing = False  # it is here, without hydrogens that are no atoms of the SMILES
    discs = {place: tuple(color) for place, color in enumerate(colors or ())}
    ready = drawing.PrepareMolForDrawing(molecule, addChiralHs=False)
    drawer.DrawMolecule(ready, highlightAtoms=list(discs), highlightAtomColors=discs, highlightBonds=[])
    drawer.FinishDrawing()
    return bytes(drawer.GetDrawingText())


def _plain(molecule: Any) -> str:
    """Return the SMILES of a molecule of RDKit's without charges where they can go, stereo and isotopes."""
    chemistry = _rdkit()
    bare = _rdkit("Chem.MolStandardize.rdMolStandardize").Uncharger().uncharge(molecule)
    for atom in bare.GetAtoms():
        atom.SetIsotope(0)
    return str(chemistry.MolToSmiles(chemistry.RemoveHs(bare), isomericSmiles=False))


def _is_metal(fragment: Any) -> bool:
    """Tell whether a fragment holds an atom of a metal."""
    return any(atom.GetSymbol() not in NON_METALS for atom in fragment.GetAtoms())


def _molecule(smiles: str) -> Any:
    molecule = _rdkit().MolFromSmiles(smiles)
    if molecule is None:
        raise InputError(f"expected a molecule as SMILES, got {smiles!r}")
    return molecule


def _rdkit(name: str = "Chem") -> Any:
    """Return a module of RDKit's; as Any, since its type hints lack names that it has."""
    try:
        logger = importlib.import_module("rdkit.RDLogger")
        module = importlib.import_module(f"rdkit.{name}")
    except ImportError as error:
        raise InputError(
            'molecules need RDKit, which is not installed; run: pip install "dnalm[interaction]"'
        ) from error
    logger.DisableLog("rdApp.*")  # it writes to stderr; what is wrong is said by who asked
    return module
