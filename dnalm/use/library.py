"""What `dnalm interact screen` ranks: a library of molecules for one gene, or genes for one molecule."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.data.molecules import Salts, canonical_smiles
from dnalm.data.pairs import PairSet
from dnalm.data.prepare_pairs import DEFAULT_KINDS, choose_sequences, parse_kinds
from dnalm.errors import InputError
from dnalm.formats.genes import GeneRow, read_gene_rows
from dnalm.formats.pairs import plain_gene_id
from dnalm.formats.smiles import read_molecules
from dnalm.models.pair_shape import PairTexts

START = 30
"""Bases that stand for a gene in the table."""
UNKNOWN_PAIR = "no"
"""What is said of a pair that the prepared set does not hold."""


class Unread(NamedTuple):
    """A row that could not be read."""

    where: str
    """Its line, or its gene."""
    text: str
    reason: str


@dataclass(frozen=True)
class Cleaning:
    """How what is read is made clean: as the pairs were that the model was trained on."""

    salts: Salts
    kinds: tuple[str, ...]
    """Which sequence of a gene is taken where a file has several, the best first."""


@dataclass(frozen=True)
class Candidates:
    """What is ranked: pairs of one gene with many molecules, or of one molecule with many genes."""

    names: list[str]
    texts: PairTexts
    gene: npt.NDArray[np.int64]
    """Row of each pair's gene in `texts`, [N]."""
    molecule: npt.NDArray[np.int64]
    """Row of its molecule, [N]."""
    shown: list[str]
    """What the last column says of each: the gene's start, or the SMILES."""
    training_pairs: list[int]
    """Training pairs that each is in."""
    known: list[str]
    """What the prepared set says of each pair, as in "positive in train"; else `UNKNOWN_PAIR`."""
    asked_pairs: int
    """Training pairs of the one gene or molecule that is asked about."""
    unread: list[Unread]
    repeated: int
    """Molecules that are in the library more than once, each counted once less."""


def cleaning(pairs: PairSet, salts: Salts | None, gene_kind: str | None) -> Cleaning:
    """Return how the pairs were made clean, by what their meta.json says, where no flag says another thing.

    Raises:
        InputError: if `gene_kind` names no kind.
    """
    kept: Salts = "keep" if pairs.meta.get("salts") == "keep" else "largest"
    kinds = parse_kinds(gene_kind or str(pairs.meta.get("gene_kind", DEFAULT_KINDS)))
    if not kinds:
        raise InputError(f"`gene_kind` needs kinds, as in {DEFAULT_KINDS}")
    return Cleaning(salts or kept, kinds)


def molecules_for(
    pairs: PairSet,
    gene: str,
    library: Path | None,
    genes: Path | None,
    how: Cleaning,
    say: Callable[[str], None],
) -> Candidates:
    """Return one gene with each molecule of a library.

    Args:
        pairs: that the model was trained on.
        gene: GeneID, as it was typed.
        library: of molecules; those of the pairs if None.
        genes: file of sequences; those of the pairs if None.
        how: salts and kinds are dealt with.
        say: is told what could not be read.

    Raises:
        InputError: if the gene is not there, or no molecule can be read.
    """
    name = plain_gene_id(gene)
    sequence = _sequence_of(pairs, name, genes, how)
    unread: list[Unread] = []
    repeated = 0
    if library is None:
        names, smiles = list(pairs.smiles), list(pairs.smiles)
    else:
        names, smiles, unread, repeated = _read_library(library, how.salts, say)
    trained = _training_pairs(pairs, pairs.molecule, pairs.smiles)
    known = _known(pairs)
    return Candidates(
        names,
        PairTexts([sequence], smiles),
        np.zeros(len(smiles), dtype=np.int64),
        np.arange(len(smiles)),
        smiles,
        [trained.get(each, 0) for each in smiles],
        [known.get((name, each), UNKNOWN_PAIR) for each in smiles],
        _training_pairs(pairs, pairs.gene, pairs.gene_ids).get(name, 0),
        unread,
        repeated,
    )


def genes_for(
    pairs: PairSet, molecule: str, genes: Path | None, how: Cleaning, say: Callable[[str], None]
) -> Candidates:
    """Return one molecule with each gene; the arguments are as in `molecules_for`.

    Raises:
        InputError: if `molecule` is none, or no gene has a base.
    """
    smiles = canonical_smiles(molecule, how.salts)
    if smiles is None:
        raise InputError(f"--molecule: expected a molecule as SMILES, got {molecule!r}")
    unread: list[Unread] = []
    if genes is None:
        names, sequences = list(pairs.gene_ids), list(pairs.sequences)
    else:
        rows, unread = _read_genes(genes, how)
        for each in unread:
            say(f"{genes.name}: {each.where}: {each.reason}; left out")
        if not rows:
            raise InputError(f"{genes}: no gene in it has a base")
        names, sequences = list(rows), [row.sequence for row in rows.values()]
    trained = _training_pairs(pairs, pairs.gene, pairs.gene_ids)
    known = _known(pairs)
    return Candidates(
        names,
        PairTexts(sequences, [smiles]),
        np.arange(len(names)),
        np.zeros(len(names), dtype=np.int64),
        [each[:START] for each in sequences],
        [trained.get(each, 0) for each in names],
        [known.get((each, smiles), UNKNOWN_PAIR) for each in names],
        _training_pairs(pairs, pairs.molecule, pairs.smiles).get(smiles, 0),
        unread,
        0,
    )


def _read_library(
    path: Path, salts: Salts, say: Callable[[str], None]
) -> tuple[list[str], list[str], list[Unread], int]:
    """Return names and canonical SMILES of the molecules that can be read, each once; the rest; repeats."""
    seen: dict[str, str] = {}
    unread: list[Unread] = []
    read = 0
    for row in read_molecules(path):
        read += 1
        canonical = canonical_smiles(row.smiles, salts)
        if canonical is None:
            unread.append(Unread(f"line {row.line:,}", row.smiles, "is no molecule"))
            say(f"{path.name}: line {row.line:,}: {row.smiles[:60]!r} is no molecule; left out")
        else:
            seen.setdefault(canonical, row.name)
    if not seen:
        raise InputError(
            f"{path}: none of its {read:,} rows is a molecule; expected SMILES, then a name, or a table with "
            "a SMILES column"
        )
    if repeated := read - len(unread) - len(seen):
        say(f"{path.name}: {repeated:,} molecules are there more than once")
    return list(seen.values()), list(seen), unread, repeated


def _read_genes(path: Path, how: Cleaning) -> tuple[dict[str, GeneRow], list[Unread]]:
    """Return one sequence of each gene, and the genes that have none."""
    seen: dict[str, None] = {}

    def noted() -> Iterator[GeneRow]:
        for row in read_gene_rows(path):
            seen.setdefault(row.gene_id)
            yield row

    rows = choose_sequences(noted(), how.kinds)[0]
    return rows, [Unread(f"gene {gene}", "", "has no base") for gene in seen if gene not in rows]


def _sequence_of(pairs: PairSet, gene: str, path: Path | None, how: Cleaning) -> str:
    if path is None:
        known = dict(zip(pairs.gene_ids, pairs.sequences, strict=True))
    else:
        known = {name: row.sequence for name, row in _read_genes(path, how)[0].items()}
    if gene not in known:
        raise InputError(
            f"--gene {gene}: not among the {len(known):,} genes of {path or 'the pairs'}; name one of them, "
            "or give its sequence by --genes"
        )
    return known[gene]


def _training_pairs(pairs: PairSet, column: npt.NDArray[np.int64], names: Sequence[str]) -> dict[str, int]:
    """Return in how many training pairs each gene or molecule is."""
    counts = np.bincount(column[pairs.parts["train"]], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def _known(pairs: PairSet) -> dict[tuple[str, str], str]:
    """Return what the set says of each of its pairs: its label, and the part that it is in."""
    negative = "negative" if pairs.meta.get("negatives") == "given" else "drawn as negative"
    return {
        (pairs.gene_ids[pairs.gene[row]], pairs.smiles[pairs.molecule[row]]): (
            f"{'positive' if pairs.label[row] else negative} in {'training' if part == 'train' else part}"
        )
        for part, rows in pairs.parts.items()
        for row in rows.tolist()
    }
