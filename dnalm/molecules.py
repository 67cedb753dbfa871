"""Molecules as SMILES: one spelling each, their scaffolds, their fingerprints. By RDKit, which is optional.

Shapes used below
    K  bits that are set in a fingerprint
"""

import importlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Salts = Literal["largest", "keep"]
"""largest: of several fragments only the one with most heavy atoms stays; keep: all of them."""
RADIUS, BITS = 2, 2048
"""Of the Morgan fingerprint (Rogers and Hahn 2010); radius 2 is what is called ECFP4."""


def canonical_smiles(smiles: str, salts: Salts = "largest") -> str | None:
    """Return the one spelling of a molecule, or None where the text is no molecule.

    Args:
        smiles: as it was given.
        salts: what is done with a molecule of several fragments. Of fragments with as many heavy atoms the
            heavier stays, of equally heavy ones the first by its spelling.

    Raises:
        ValueError: if RDKit is not installed.
    """
    chemistry = _rdkit()
    molecule = chemistry.MolFromSmiles(smiles.strip()) if smiles.strip() else None
    if molecule is None or not molecule.GetNumAtoms():
        return None
    if salts == "largest":
        weight = _rdkit("Chem.Descriptors").MolWt
        fragments = chemistry.GetMolFrags(molecule, asMols=True)
        sizes = {chemistry.MolToSmiles(each): (-each.GetNumHeavyAtoms(), -weight(each)) for each in fragments}
        return str(min(sizes, key=lambda spelling: (*sizes[spelling], spelling)))
    return str(chemistry.MolToSmiles(molecule))


def scaffold(smiles: str) -> str:
    """Return the Bemis-Murcko scaffold of a molecule: its rings and what joins them; "" without a ring.

    Raises:
        ValueError: if RDKit is not installed, or `smiles` is no molecule.
    """
    molecule = _molecule(smiles)
    rings = _rdkit("Chem.Scaffolds.MurckoScaffold").GetScaffoldForMol(molecule)
    return str(_rdkit().MolToSmiles(rings))


def morgan_bits(smiles: str, radius: int = RADIUS, bits: int = BITS) -> npt.NDArray[np.int64]:
    """Return which bits of a molecule's Morgan fingerprint are set, ascending, [K].

    Args:
        smiles: of the molecule.
        radius: bonds from a substructure's middle atom to its rim.
        bits: substructures are folded into so many.

    Raises:
        ValueError: if RDKit is not installed, or `smiles` is no molecule.
    """
    molecule = _molecule(smiles)
    made = _rdkit("Chem.rdFingerprintGenerator").GetMorganGenerator(radius=radius, fpSize=bits)
    return np.array(made.GetFingerprint(molecule).GetOnBits(), dtype=np.int64)


def _molecule(smiles: str) -> Any:
    molecule = _rdkit().MolFromSmiles(smiles)
    if molecule is None:
        raise ValueError(f"expected a molecule as SMILES, got {smiles!r}")
    return molecule


def _rdkit(name: str = "Chem") -> Any:
    """Return a module of RDKit's; as Any, since its type hints lack names that it has."""
    try:
        logger = importlib.import_module("rdkit.RDLogger")
        module = importlib.import_module(f"rdkit.{name}")
    except ImportError as error:
        raise ValueError(
            'molecules need RDKit, which is not installed; run: pip install "dnalm[interaction]"'
        ) from error
    logger.DisableLog("rdApp.*")  # it writes to stderr; what is wrong is said by who asked
    return module
