"""From tables of pairs and gene sequences to a prepared set: cleaned, split, with negatives.

A clean set has one sequence per gene, one spelling per molecule and one label per pair.

Shapes: P pairs; G genes; M molecules.
"""

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.config import refuse
from dnalm.data.molecules import Salts, canonical_smiles, molecule_clusters, scaffold
from dnalm.data.negatives import NegativeKind, leakage_report, pair_keys, sample_negatives
from dnalm.data.pair_splits import SplitKind, split_pairs
from dnalm.data.pairs import PairSet, Rows, write_pairs
from dnalm.data.similarity import gene_clusters
from dnalm.errors import InputError
from dnalm.files import lock, sha256
from dnalm.formats.genes import GeneRow, read_gene_rows
from dnalm.formats.pairs import PairRow, pair_files, read_pair_rows

DEFAULT_KINDS = "CDS,mRNA,promoter"
"""Kinds of gene sequences, the preferred first."""
MAX_SMILES = 1000
"""Characters of a canonical SMILES; longer ones are polymers or proteins."""
MIN_READABLE = 0.5
"""Fraction of the rows whose SMILES must be molecules of at most `MAX_SMILES`; else it is a wrong column."""


@dataclass(frozen=True)
class PrepareConfig:
    """How pairs are cleaned and split, and how negatives are made."""

    split: SplitKind = "random"
    """What is in no two parts: pairs (random), molecules, scaffolds, genes, or genes and molecules both.
    Near-identical genes count as one, and so do stereoisomers and charge forms of a molecule."""
    negatives: NegativeKind = "degree-matched"
    """Where all labels are 1: sampled as often as genes and molecules are in positives, or uniformly."""
    ratio: float = 1.0
    """Negatives sampled per positive."""
    seed: int = 0
    """Of the split and the negatives."""
    gene_kind: str = DEFAULT_KINDS
    """Which sequence of a gene is used, by the beginning of its kind, the preferred first; of one kind the
    longest."""
    salts: Salts = "largest"
    """largest: counter-ions are removed from a salt, and of the rest the largest fragment is the molecule; a
    salt of minerals alone, or of another metal and more, stays complete. keep: all fragments, always."""

    def __post_init__(self) -> None:
        wrong = []
        if not 0 < self.ratio < math.inf:
            wrong.append(f"`ratio` must be more than 0, got {self.ratio}")
        if self.seed < 0:
            wrong.append(f"`seed` must be at least 0, got {self.seed}")
        if not parse_kinds(self.gene_kind):
            wrong.append(f"`gene_kind` needs kinds, as in {DEFAULT_KINDS}")
        refuse(wrong)


@dataclass
class CleanRows:
    """Pairs that remain, and the rows that were dropped with the reason."""

    labels: dict[tuple[str, str], int] = field(default_factory=dict)  # By gene and canonical SMILES
    dropped: list[tuple[str, int, str, str, str]] = field(default_factory=list)
    """File, line, gene, SMILES as given, reason."""
    read: int = 0

    @property
    def reasons(self) -> dict[str, int]:
        """Number of dropped rows, by reason."""
        return dict(Counter(reason for *_, reason in self.dropped).most_common())


def prepare_pairs(
    pairs: Path,
    genes: Path,
    config: PrepareConfig | None = None,
    out: Path | None = None,
    say: Callable[[str], None] = lambda _message: None,
) -> tuple[PairSet, dict[str, Any]]:
    """Prepare a set of pairs, and write it where `out` is given.

    Args:
        pairs: a table with GeneID, SMILES and Label, or a folder with train/ and test/ of them.
        genes: gene sequences as FASTA, table or HDF5.
        config: the defaults unless given.
        out: folder to write, see `check_output`; the set is only returned unless given.
        say: called with messages on the progress.

    Returns:
        The set and its `leakage_report`.

    Raises:
        InputError: if a file cannot be read, or too few pairs are left for the split.
    """
    config = config or PrepareConfig()
    say(f"reading {genes} and {pairs}")
    sequences, kinds = choose_sequences(read_gene_rows(genes), parse_kinds(config.gene_kind))
    rows = clean_rows(read_pair_rows(pairs), sequences, config.salts)
    say(f"splitting {len(rows.labels):,} pairs ({config.split})")
    sources = [{"name": path.name, "sha256": sha256(path)} for path in (*pair_files(pairs), genes)]
    made, leakage = _assemble(config, rows, sequences, {"gene_kinds": kinds, "sources": sources})
    if out is not None:
        with lock(out):
            source_ids = [sequences[gene].source_id for gene in made.gene_ids]
            made = write_pairs(out, made, source_ids, rows.dropped, leakage)
    return made, leakage


def parse_kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of sequences in a text such as "CDS,mRNA"."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def choose_sequences(
    rows: Iterable[GeneRow], kinds: tuple[str, ...]
) -> tuple[dict[str, GeneRow], dict[str, int]]:
    """Return one sequence for each gene, and how many of each kind were chosen.

    Args:
        rows: of all sequences; those without a base are ignored.
        kinds: in order of preference, matched with the beginning of a row's kind, in either case; others come
            last. Of one kind the longest is chosen, of equally long ones the first.
    """
    best: dict[str, tuple[tuple[int, int], GeneRow]] = {}
    for row in rows:
        if not set(row.sequence) & set("ACGT"):
            continue
        rank = next((rank for rank, kind in enumerate(kinds) if matches_kind(row.kind, kind)), len(kinds))
        value = (rank, -len(row.sequence))
        if row.gene_id not in best or value < best[row.gene_id][0]:
            best[row.gene_id] = (value, row)
    chosen = {gene: row for gene, (_value, row) in best.items()}
    return chosen, dict(Counter(row.kind for row in chosen.values()).most_common())


def matches_kind(kind: str, wanted: str) -> bool:
    """Return whether a file's word for a sequence (PROM60_EPDnew) is of a wanted kind (promoter)."""
    kind, wanted = kind.lower(), wanted.lower()
    return kind.startswith(wanted) or (wanted.startswith("prom") and kind.startswith("prom"))


def clean_rows(rows: Iterable[PairRow], genes: dict[str, GeneRow], salts: Salts) -> CleanRows:
    """Keep each pair of a gene with a sequence and a readable molecule once; record why others are dropped.

    Raises:
        InputError: if a label is neither 0 nor 1, no row is left, or most SMILES are no molecules.
    """
    clean = CleanRows()
    canonical: dict[str, str | None] = {}
    by_pair: dict[tuple[str, str], list[PairRow]] = {}
    unreadable: list[str] = []

    def drop(row: PairRow, reason: str) -> None:
        clean.dropped.append((row.file, row.line, row.gene_id, row.smiles, reason))

    for row in rows:
        clean.read += 1
        if row.label not in ("0", "1", "0.0", "1.0"):
            raise InputError(f"{row.file}: line {row.line:,}: expected the label 0 or 1, got {row.label!r}")
        if row.smiles not in canonical:
            canonical[row.smiles] = canonical_smiles(row.smiles, salts)
        smiles = canonical[row.smiles]
        if smiles is None or len(smiles) > MAX_SMILES:
            unreadable.append(row.smiles)
        if not row.smiles:
            drop(row, "no SMILES")
        elif smiles is None:
            drop(row, "SMILES is no molecule")
        elif len(smiles) > MAX_SMILES:
            drop(row, f"SMILES of more than {MAX_SMILES} characters")
        elif row.gene_id not in genes:
            drop(row, "gene without a sequence")
        else:
            by_pair.setdefault((row.gene_id, smiles), []).append(row)
    if len(unreadable) > (1 - MIN_READABLE) * clean.read:
        raise InputError(
            f"{len(unreadable):,} of {clean.read:,} rows have no SMILES of a molecule, or one of more than "
            f"{MAX_SMILES:,} characters, for example {textwrap.shorten(unreadable[0], 60)!r}; check the "
            "SMILES column"
        )
    for pair, same in by_pair.items():
        labels = {int(float(row.label)) for row in same}
        if len(labels) == 1:
            clean.labels[pair] = labels.pop()
            same = same[1:]
        for row in same:
            drop(row, "the same pair again" if pair in clean.labels else "the same pair with both labels")
    if not clean.labels:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in clean.reasons.items())
        raise InputError(
            f"no pair is left of {clean.read:,} rows{reasons and ': '}{reasons}; do `pairs` and `genes` have "
            "the same names of genes?"
        )
    clean.dropped.sort(key=lambda row: (row[0], row[1]))
    return clean


def _assemble(
    config: PrepareConfig, rows: CleanRows, sequences: dict[str, GeneRow], about: dict[str, Any]
) -> tuple[PairSet, dict[str, Any]]:
    """Return the split set with its negatives, and its leakage report; `about` is for its meta."""
    gene_ids = sorted({gene for gene, _ in rows.labels}, key=_natural)
    smiles = sorted({each for _, each in rows.labels})
    gene_row = {each: row for row, each in enumerate(gene_ids)}
    molecule_row = {each: row for row, each in enumerate(smiles)}
    given = np.array(
        [(gene_row[gene], molecule_row[each], label) for (gene, each), label in rows.labels.items()],
        dtype=np.int64,
    ).T  # gene, molecule and label, [3, P]
    scaffolds, molecule_cluster = [scaffold(each) for each in smiles], molecule_clusters(smiles)
    clusters = gene_clusters([sequences[each].sequence for each in gene_ids])
    split = split_pairs(
        config.split, given[0], given[1], clusters, molecule_cluster, scaffolds, seed=config.seed
    )
    positives_only = bool(given[2].all())
    kind: NegativeKind = config.negatives if positives_only else "none"
    columns, parts = _with_negatives(config, kind, given, split, clusters, molecule_cluster)
    wanted = {name: round(config.ratio * len(part)) if kind != "none" else 0 for name, part in split.items()}
    meta = {
        "sources": about["sources"],
        "split": config.split,
        "seed": config.seed,
        "negatives": kind if positives_only else "given",
        "ratio": config.ratio if kind != "none" else None,
        "salts": config.salts,
        "gene_kind": config.gene_kind,
        "gene_kinds": about["gene_kinds"],
        "counts": {
            "read": rows.read,
            "kept": len(rows.labels),
            "dropped": rows.reasons,
            "between_parts": given.shape[1] - sum(map(len, split.values())),
            "negatives_missing": {
                name: wanted[name] + len(split[name]) - len(part) for name, part in parts.items()
            },
        },
    }
    pairs = PairSet(
        gene_ids=gene_ids,
        sequences=[sequences[each].sequence for each in gene_ids],
        kinds=[sequences[each].kind for each in gene_ids],
        clusters=clusters,
        smiles=smiles,
        scaffolds=scaffolds,
        gene=columns[0],
        molecule=columns[1],
        label=columns[2].astype(np.uint8),
        parts=parts,
        meta=meta,
    )
    meta["parts"] = {name: _part_counts(pairs, part) for name, part in parts.items()}
    return pairs, leakage_report(pairs, molecule_cluster)


def _with_negatives(
    config: PrepareConfig,
    kind: NegativeKind,
    given: Rows,
    split: dict[str, Rows],
    clusters: Rows,
    molecule_cluster: Rows,
) -> tuple[Rows, dict[str, Rows]]:
    """Return all pairs in the order of their parts, [3, all], and the rows of each part.

    `given` are gene, molecule and label of the pairs that were read, [3, P]; `split` their rows in each part.
    """
    known = pair_keys(given[0], given[1], clusters, molecule_cluster)
    generator = np.random.default_rng([config.seed, 1])
    columns, parts, begin = [], {}, 0
    for name, rows in split.items():
        genes, molecules = sample_negatives(
            given[0, rows],
            given[1, rows],
            known,
            clusters,
            molecule_cluster,
            kind=kind,
            ratio=config.ratio,
            generator=generator,
        )
        # No pair is a negative in two parts.
        known = np.concatenate([known, pair_keys(genes, molecules, clusters, molecule_cluster)])
        columns += [given[:, rows], np.stack([genes, molecules, np.zeros_like(genes)])]
        end = begin + len(rows) + len(genes)
        parts[name], begin = np.arange(begin, end, dtype=np.int64), end
    return np.concatenate(columns, axis=1), parts


def _part_counts(pairs: PairSet, part: Rows) -> dict[str, int]:
    return {
        "rows": len(part),
        "positives": int(pairs.label[part].sum()),
        "genes": len(np.unique(pairs.gene[part])),
        "molecules": len(np.unique(pairs.molecule[part])),
    }


def _natural(gene: str) -> tuple[int, int, str]:
    """Return a key by which numbers come first, in their order."""
    return (0, int(gene), "") if gene.isdigit() else (1, 0, gene)
