"""Prepared pairs of genes and molecules: two tables, the pairs of their rows, and the parts of a split.

Shapes: P pairs; G genes; M molecules; N pairs of a part.
"""

import gzip
import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.data.epochs import PARTS
from dnalm.data.epochs import Part as Part
from dnalm.data.epochs import Rows as Rows
from dnalm.data.molecules import Isotopes, Salts, canonical_smiles
from dnalm.errors import InputError
from dnalm.files import atomic_folder, read_json, write_json
from dnalm.formats.text import read_table

Cells = Sequence[object]
FORMAT = {"format": "dnalm-pairs", "format_version": 1}
CODING_KINDS = ("cds", "mrna")
"""Prefixes of the kinds that are a coding sequence or a transcript; others are promoters and the like."""
RESAMPLED = {"scaffold": ("scaffolds",), "cold-gene": ("genes",), "cold-both": ("genes", "molecules")}
"""Units that a bootstrap resamples, by split; molecules for any other split."""
META, GENES, MOLECULES, PAIRS = "meta.json", "genes.tsv.gz", "molecules.tsv.gz", "pairs.npz"
GENE_COLUMNS = ("gene_id", "kind", "source_id", "cluster", "sequence")
MOLECULE_COLUMNS = ("smiles", "scaffold")
PAIR_COLUMNS = {"gene": np.int64, "molecule": np.int64, "label": np.uint8}
DROPPED_COLUMNS = ("file", "line", "gene_id", "smiles", "reason")


@dataclass(frozen=True)
class PairSet:
    """Pairs of genes and molecules, with the label of each and the part it is in."""

    gene_ids: list[str]  # [G]
    sequences: list[str]  # [G] upper-case DNA
    kinds: list[str]  # [G] what each sequence is: CDS, mRNA, promoter or another word of the file
    clusters: Rows  # [G] genes with identical or near-identical sequences have the same number
    smiles: list[str]  # [M] canonical
    scaffolds: list[str]  # [M] Bemis-Murcko scaffolds; "" for a molecule without a ring
    gene: Rows  # [P] row of the gene
    molecule: Rows  # [P] row of the molecule
    label: npt.NDArray[np.uint8]  # [P] 1 for an interaction, 0 for none
    parts: dict[str, Rows]  # [N] rows of pairs, by part
    meta: dict[str, Any]  # The content of meta.json: split, negatives, ratio, seed, counts, sources, digest

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a result: tables, pairs, labels and parts."""
        return str(self.meta["digest"])

    def canonical_smiles(self, smiles: str, salts: Salts | None = None) -> str | None:
        """Return the spelling of a molecule, cleaned as those of the set unless `salts` is given; or None."""
        isotopes: Isotopes = "drop" if self.meta.get("isotopes") == "drop" else "keep"
        salts = salts or ("keep" if self.meta.get("salts") == "keep" else "largest")
        return canonical_smiles(smiles, salts, isotopes)

    def resampling_units(self, rows: Rows) -> tuple[str, list[Rows]]:
        """Return what a bootstrap of pairs resamples: the units' name, and of each kind each pair's unit.

        Units that a split holds out together are resampled together.
        """
        kinds = RESAMPLED.get(str(self.meta.get("split")), ("molecules",))
        scaffolds = [each or f"molecule {row}" for row, each in enumerate(self.scaffolds)]
        units = {
            "genes": self.clusters[self.gene],
            "molecules": self.molecule,
            "scaffolds": np.unique(scaffolds, return_inverse=True)[1][self.molecule],
        }
        return " and ".join(kinds), [units[kind][rows] for kind in kinds]

    def has_transcript(self) -> npt.NDArray[np.bool_]:
        """Return whether the gene of each pair has an mRNA or a coding sequence, [P]."""
        known = np.array([kind.lower().startswith(CODING_KINDS) for kind in self.kinds], dtype=bool)
        return known[self.gene]


def content_digest(pairs: PairSet) -> str:
    """Return a SHA-256 of a set's tables, pairs, labels and parts."""
    digest = hashlib.sha256()
    for column in (pairs.gene_ids, pairs.sequences, pairs.kinds, pairs.smiles, pairs.scaffolds):
        digest.update("\n".join(column).encode() + b"\0")
    arrays = [pairs.clusters, pairs.gene, pairs.molecule, pairs.label, *(pairs.parts[p] for p in PARTS)]
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes() + b"\0")
    return digest.hexdigest()


def check_output(folder: Path, overwrite: bool) -> None:
    """Refuse a file, a set without permission to overwrite it, and a folder of other files (InputError)."""
    if folder.is_file():
        raise InputError(f"{folder}: expected a folder to write, got a file; choose another `out`")
    # A failed run leaves its lock.
    if not folder.exists() or {each.name for each in folder.iterdir()} <= {".lock"}:
        return
    if not overwrite:
        raise InputError(f"{folder}: exists already; `overwrite` replaces it, or choose another `out`")
    if _read_meta(folder).get("format") != FORMAT["format"]:
        raise InputError(f"{folder}: holds something else than a set of pairs; choose another `out`")


def _read_meta(folder: Path) -> dict[str, Any]:
    meta = read_json(folder / META) if (folder / META).is_file() else None
    return meta if isinstance(meta, dict) else {}


def write_pairs(
    folder: Path, pairs: PairSet, source_ids: list[str], dropped: Iterable[Cells], leakage: dict[str, Any]
) -> PairSet:
    """Write a set into a folder, completely or not at all, and return it with its digest in `meta`.

    `source_ids`, [G], are names of the sequences in their file; `dropped` are rows of `DROPPED_COLUMNS`.
    """
    clusters = pairs.clusters.tolist()
    with atomic_folder(folder) as fresh:
        genes = zip(pairs.gene_ids, pairs.kinds, source_ids, clusters, pairs.sequences, strict=True)
        _write_table(fresh / GENES, GENE_COLUMNS, genes)
        _write_table(fresh / MOLECULES, MOLECULE_COLUMNS, zip(pairs.smiles, pairs.scaffolds, strict=True))
        _write_table(fresh / "dropped.tsv.gz", DROPPED_COLUMNS, dropped)
        gene, molecule = pairs.gene.astype(np.int32), pairs.molecule.astype(np.int32)
        np.savez(fresh / PAIRS, gene=gene, molecule=molecule, label=pairs.label.astype(np.uint8))
        for name in PARTS:
            np.save(fresh / f"{name}.npy", pairs.parts[name].astype(np.int64))
        write_json(fresh / "leakage.json", leakage)
        write_json(fresh / META, FORMAT | {"digest": content_digest(pairs)} | pairs.meta)
    return open_pairs(folder)


def open_pairs(folder: Path) -> PairSet:
    """Read a folder that `dnalm interact prepare` has written.

    Raises:
        InputError: if it is none, or one of its files is damaged or from another set.
    """
    meta = _read_meta(folder)
    if not meta.items() >= FORMAT.items():
        raise InputError(f"{folder}: expected a folder with a {META} that dnalm interact prepare wrote")
    try:
        gene_ids, kinds, _, numbers, sequences = _read_table(folder / GENES, GENE_COLUMNS)
        clusters = np.array(numbers, dtype=np.int64)
        smiles, scaffolds = _read_table(folder / MOLECULES, MOLECULE_COLUMNS)
        with np.load(folder / PAIRS, allow_pickle=False) as arrays:
            gene, molecule, label = (arrays[key].astype(kind) for key, kind in PAIR_COLUMNS.items())
        parts: dict[str, Rows] = {}
        for name in PARTS:
            parts[name] = np.load(folder / f"{name}.npy", allow_pickle=False).astype(np.int64)
        pairs = PairSet(
            gene_ids, sequences, kinds, clusters, smiles, scaffolds, gene, molecule, label, parts, meta
        )
        matches = content_digest(pairs) == meta["digest"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder}: damaged ({error}); run dnalm interact prepare again") from error
    if not matches:
        raise InputError(f"{folder}: the digest differs from its content; run dnalm interact prepare again")
    return pairs


def _write_table(path: Path, columns: Cells, rows: Iterable[Cells]) -> None:
    """Write a table, columns by tabs, gzip; white space inside a cell becomes one blank."""
    # No time in the gzip header: the same set gives the same bytes.
    with path.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        lines = ["\t".join(" ".join(str(cell).split()) for cell in row) for row in (columns, *rows)]
        packed.write(("\n".join(lines) + "\n").encode())


def _read_table(path: Path, columns: tuple[str, ...]) -> list[list[str]]:
    rows = [row for _, row in read_table(path, columns)]
    return [[row[name] for row in rows] for name in columns]
