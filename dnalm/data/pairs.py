"""Prepared pairs of genes and molecules: two tables, the pairs of their rows, and the parts of a split.

Shapes: P pairs; G genes; M molecules; N pairs of a part.
"""

import gzip
import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError
from dnalm.files import atomic_folder, read_json, write_json

Rows = npt.NDArray[np.int64]
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
FORMAT, FORMAT_VERSION = "dnalm-pairs", 1
CODING_KINDS = ("cds", "mrna")
"""Prefixes of the kinds that are a coding sequence or a transcript; others are promoters and the like."""
RESAMPLED = {"scaffold": ("scaffolds",), "cold-gene": ("genes",), "cold-both": ("genes", "molecules")}
"""Units that a bootstrap resamples, by split; molecules for any other split."""
GENES, MOLECULES, PAIRS, DROPPED = "genes.tsv.gz", "molecules.tsv.gz", "pairs.npz", "dropped.tsv.gz"
GENE_COLUMNS = ("gene_id", "kind", "source_id", "cluster", "sequence")
MOLECULE_COLUMNS = ("smiles", "scaffold")
DROPPED_COLUMNS = ("file", "line", "gene_id", "smiles", "reason")


@dataclass(frozen=True)
class PairSet:
    """Pairs of genes and molecules, with the label of each and the part it is in."""

    gene_ids: list[str]
    """[G]."""
    sequences: list[str]
    """[G] upper-case DNA."""
    kinds: list[str]
    """[G] what each sequence is: CDS, mRNA, promoter or another word of the file."""
    clusters: Rows
    """[G] genes with identical or near-identical sequences have the same number."""
    smiles: list[str]
    """[M] canonical."""
    scaffolds: list[str]
    """[M] Bemis-Murcko scaffolds; "" for a molecule without a ring."""
    gene: Rows
    """[P] row of the gene."""
    molecule: Rows
    """[P] row of the molecule."""
    label: npt.NDArray[np.uint8]
    """[P] 1 for an interaction, 0 for none."""
    parts: dict[str, Rows]
    """[N] rows of pairs, by part."""
    meta: dict[str, Any]
    """The content of meta.json: split, negatives, ratio, seed, counts, sources, digest."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a result: tables, pairs, labels and parts."""
        return str(self.meta["digest"])

    def resampling_units(self, rows: Rows) -> tuple[str, list[Rows]]:
        """Return what a bootstrap of pairs resamples: the units' name, and of each kind each pair's unit.

        Units that a split holds out together are resampled together.
        """
        kinds = RESAMPLED.get(str(self.meta.get("split")), ("molecules",))
        scaffolds = [each or f"molecule {row}" for row, each in enumerate(self.scaffolds)]
        units = {
            "genes": self.clusters[self.gene],
            "molecules": self.molecule,
            "scaffolds": np.unique(scaffolds, return_inverse=True)[1].astype(np.int64)[self.molecule],
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
    """Refuse a folder that a set must not be written to.

    Raises:
        InputError: if it is a file, a set without permission to overwrite it, or holds other files.
    """
    if folder.is_file():
        raise InputError(f"{folder}: expected a folder to write, got a file; choose another `out`")
    # A failed run leaves its lock.
    if not folder.exists() or {each.name for each in folder.iterdir()} <= {".lock"}:
        return
    if not overwrite:
        raise InputError(f"{folder}: exists already; `overwrite` replaces it, or choose another `out`")
    meta = folder / "meta.json"
    content = read_json(meta) if meta.is_file() else None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{folder}: holds something else than a set of pairs; choose another `out`")


def write_pairs(
    folder: Path,
    pairs: PairSet,
    source_ids: Sequence[str],
    dropped: Iterable[Sequence[object]],
    leakage: dict[str, Any],
) -> PairSet:
    """Write a set into a folder, completely or not at all, and return it with its digest in `meta`.

    `source_ids`, [G], are names of the sequences in their file; `dropped` are rows of `DROPPED_COLUMNS`.
    """
    meta = {"format": FORMAT, "format_version": FORMAT_VERSION, "digest": content_digest(pairs), **pairs.meta}
    clusters = pairs.clusters.tolist()
    with atomic_folder(folder) as fresh:
        genes = zip(pairs.gene_ids, pairs.kinds, source_ids, clusters, pairs.sequences, strict=True)
        _write_table(fresh / GENES, GENE_COLUMNS, genes)
        _write_table(fresh / MOLECULES, MOLECULE_COLUMNS, zip(pairs.smiles, pairs.scaffolds, strict=True))
        _write_table(fresh / DROPPED, DROPPED_COLUMNS, dropped)
        np.savez(
            fresh / PAIRS,
            gene=pairs.gene.astype(np.int32),
            molecule=pairs.molecule.astype(np.int32),
            label=pairs.label.astype(np.uint8),
        )
        for name in PARTS:
            np.save(fresh / f"{name}.npy", pairs.parts[name].astype(np.int64))
        write_json(fresh / "leakage.json", leakage)
        write_json(fresh / "meta.json", meta)
    return open_pairs(folder)


def open_pairs(folder: Path) -> PairSet:
    """Read a folder that `dnalm interact prepare` has written.

    Raises:
        InputError: if it is none, or one of its files is damaged or from another set.
    """
    path = folder / "meta.json"
    if not path.is_file():
        raise InputError(f"{folder}: expected a folder of pairs with a meta.json; run dnalm interact prepare")
    meta = read_json(path)
    version = (meta.get("format"), meta.get("format_version")) if isinstance(meta, dict) else None
    if version != (FORMAT, FORMAT_VERSION):
        raise InputError(
            f"{path}: expected format {FORMAT} version {FORMAT_VERSION}, which dnalm interact prepare writes"
        )
    try:
        genes = _read_table(folder / GENES, GENE_COLUMNS)
        molecules = _read_table(folder / MOLECULES, MOLECULE_COLUMNS)
        with np.load(folder / PAIRS, allow_pickle=False) as arrays:
            columns = {name: arrays[name].astype(np.int64) for name in ("gene", "molecule")}
            label = arrays["label"].astype(np.uint8)
        parts: dict[str, Rows] = {}
        for name in PARTS:
            parts[name] = np.load(folder / f"{name}.npy", allow_pickle=False).astype(np.int64)
        pairs = PairSet(
            gene_ids=[row[0] for row in genes],
            sequences=[row[4] for row in genes],
            kinds=[row[1] for row in genes],
            clusters=np.array([int(row[3]) for row in genes], dtype=np.int64),
            smiles=[row[0] for row in molecules],
            scaffolds=[row[1] for row in molecules],
            **columns,
            label=label,
            parts=parts,
            meta=meta,
        )
        matches = content_digest(pairs) == meta["digest"]
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder}: damaged ({error}); run dnalm interact prepare again") from error
    if not matches:
        raise InputError(f"{folder}: the digest differs from its content; run dnalm interact prepare again")
    return pairs


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    # No time in the gzip header: the same set gives the same bytes.
    with path.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        lines = ["\t".join(columns)]
        lines += ["\t".join(" ".join(str(cell).split()) for cell in row) for row in rows]
        packed.write(("\n".join(lines) + "\n").encode())


def _read_table(path: Path, columns: Sequence[str]) -> list[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        header, *rows = [line.removesuffix("\n").split("\t") for line in file] or [[]]
    if tuple(header) != tuple(columns) or any(len(row) != len(columns) for row in rows):
        raise InputError(f"{path.name}: expected the columns {', '.join(columns)} in every row")
    return rows
