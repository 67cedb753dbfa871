"""Pairs of genes and molecules, prepared: two tables, who meets whom, and which pairs are in which part.

Shapes used below
    P  pairs                         G  genes
    M  molecules                     N  pairs of a part
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

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
FORMAT, FORMAT_VERSION = "dnalm-pairs", 1
SEQUENCED = ("cds", "mrna")
"""Kinds, by how they begin, that hold what a gene is translated from; others are promoters and the like."""
DRAWN = {"scaffold": ("scaffolds",), "cold-gene": ("genes",), "cold-both": ("genes", "molecules")}
"""What a bootstrap draws, by the split; of others molecules."""
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
    clusters: npt.NDArray[np.int64]
    """[G] genes with identical or near-identical sequences share a number."""
    smiles: list[str]
    """[M] canonical."""
    scaffolds: list[str]
    """[M] Bemis-Murcko scaffolds; "" for a molecule without a ring."""
    gene: npt.NDArray[np.int64]
    """[P] row of the gene."""
    molecule: npt.NDArray[np.int64]
    """[P] row of the molecule."""
    label: npt.NDArray[np.uint8]
    """[P] 1 where they interact, 0 where they do not."""
    parts: dict[str, npt.NDArray[np.int64]]
    """[N] rows of pairs, by part."""
    meta: dict[str, Any]
    """What meta.json holds: split, negatives, ratio, seed, counts, sources, digest."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a result: tables, pairs, labels and parts."""
        return str(self.meta["digest"])

    def drawn(self, rows: npt.NDArray[np.int64]) -> tuple[str, list[npt.NDArray[np.int64]]]:
        """Return what a bootstrap draws where some pairs are judged: in words, and of each pair, each [N].

        What a split holds out as a whole is drawn as a whole: what is new in it is what there may be few of.

        Args:
            rows: of the pairs, [N].
        """
        kinds = DRAWN.get(str(self.meta.get("split")), ("molecules",))
        rings = [each or f"molecule {row}" for row, each in enumerate(self.scaffolds)]
        unit = {
            "genes": self.clusters[self.gene],
            "molecules": self.molecule,
            "scaffolds": np.unique(rings, return_inverse=True)[1].astype(np.int64)[self.molecule],
        }
        return " and ".join(kinds), [unit[kind][rows] for kind in kinds]

    def sequenced(self) -> npt.NDArray[np.bool_]:
        """Return whether each pair's gene has an mRNA or a coding sequence, [P]."""
        known = np.array([kind.lower().startswith(SEQUENCED) for kind in self.kinds], dtype=bool)
        return known[self.gene]


def content_digest(pairs: PairSet) -> str:
    """Return a SHA-256 of a set's tables, pairs, labels and parts."""
    digest = hashlib.sha256()
    for column in (pairs.gene_ids, pairs.sequences, pairs.kinds, pairs.smiles, pairs.scaffolds):
        digest.update("\n".join(column).encode() + b"\0")
    arrays = [pairs.clusters, pairs.gene, pairs.molecule, pairs.label.astype(np.int64)]
    for array in arrays + [pairs.parts[name] for name in PARTS]:
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes() + b"\0")
    return digest.hexdigest()


def write_pairs(
    folder: Path,
    pairs: PairSet,
    source_ids: Sequence[str],
    dropped: Iterable[Sequence[str]],
    leakage: dict[str, Any],
) -> PairSet:
    """Write a set into a folder, whole or not at all, and return it with its digest in `meta`.

    Args:
        folder: replaced if it is there.
        pairs: the set; `meta` without format and digest.
        source_ids: [G] what the genes' file calls each sequence.
        dropped: rows of `DROPPED_COLUMNS`.
        leakage: JSON values.
    """
    meta = {"format": FORMAT, "format_version": FORMAT_VERSION, "digest": content_digest(pairs), **pairs.meta}
    with atomic_folder(folder) as fresh:
        genes = zip(
            pairs.gene_ids, pairs.kinds, source_ids, pairs.clusters.tolist(), pairs.sequences, strict=True
        )
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
        InputError: if it is none, or a file in it is damaged or not the one that was written.
    """
    path = folder / "meta.json"
    if not path.is_file():
        raise InputError(
            f"{folder}: expected a folder of pairs, which has a meta.json, got none; run dnalm interact "
            "prepare"
        )
    meta = read_json(path)
    if not isinstance(meta, dict) or (meta.get("format"), meta.get("format_version")) != (
        FORMAT,
        FORMAT_VERSION,
    ):
        raise InputError(
            f"{path}: expected format {FORMAT} version {FORMAT_VERSION}, which dnalm interact prepare writes"
        )
    try:
        genes = _read_table(folder / GENES, GENE_COLUMNS)
        molecules = _read_table(folder / MOLECULES, MOLECULE_COLUMNS)
        with np.load(folder / PAIRS, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in ("gene", "molecule", "label")}
        parts = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in PARTS}
        pairs = PairSet(
            gene_ids=[row[0] for row in genes],
            sequences=[row[4] for row in genes],
            kinds=[row[1] for row in genes],
            clusters=np.array([int(row[3]) for row in genes], dtype=np.int64),
            smiles=[row[0] for row in molecules],
            scaffolds=[row[1] for row in molecules],
            gene=columns["gene"].astype(np.int64),
            molecule=columns["molecule"].astype(np.int64),
            label=columns["label"].astype(np.uint8),
            parts={name: rows.astype(np.int64) for name, rows in parts.items()},
            meta=meta,
        )
        whole = content_digest(pairs) == meta["digest"]
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder}: damaged ({error}); run dnalm interact prepare again") from error
    if not whole:
        raise InputError(
            f"{folder}: its files are not those that were written together (the digest differs); run dnalm "
            "interact prepare again"
        )
    return pairs


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    # No time in the gzip header: the same set is the same bytes.
    with path.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        lines = ["\t".join(columns)]
        lines += ["\t".join(" ".join(str(cell).split()) for cell in row) for row in rows]
        packed.write(("\n".join(lines) + "\n").encode())


def _read_table(path: Path, columns: Sequence[str]) -> list[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        head, *rows = [line.removesuffix("\n").split("\t") for line in file] or [[]]
    if tuple(head) != tuple(columns):
        raise InputError(f"{path.name}: expected the columns {', '.join(columns)}")
    if any(len(row) != len(columns) for row in rows):
        raise InputError(f"{path.name}: a row has not {len(columns)} columns")
    return rows
