"""From tables of pairs and gene sequences to a prepared set: cleaned, split, with negatives.

A clean set has one sequence per gene, one spelling per molecule and one label per pair.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnalm.config import check_minimum, refuse
from dnalm.data.molecules import Isotopes, Salts, canonical_smiles, molecule_clusters, scaffold
from dnalm.data.negatives import Clusters, NegativeKind, leakage_report, with_negatives
from dnalm.data.pair_splits import SplitKind, split_pairs
from dnalm.data.pairs import PairSet, write_pairs
from dnalm.data.similarity import gene_clusters
from dnalm.errors import InputError, counted, shortened
from dnalm.files import lock, sha256
from dnalm.formats.genes import GeneRow, read_gene_rows
from dnalm.formats.pairs import (
    PairRow,
    TableConfig,
    pair_columns,
    pair_files,
    read_gene_names,
    read_pair_rows,
)
from dnalm.process import Say, silent

DEFAULT_KINDS = "CDS,mRNA,promoter"  # of gene sequences, the preferred first
MAX_SMILES = 1000  # characters of a canonical SMILES; longer ones are polymers or proteins
NO_SEQUENCE = "gene without a sequence"
SEVERAL = "gene name stands for several genes"
"""Reasons why a row is dropped."""
ENSEMBL_GENE = re.compile(r"ENS[A-Z]*G\d{11}")
VERSIONED = re.compile(r"(ENS[A-Z]*\d{11}|[NX][A-Z]_\d+)\.\d+")
"""Names of Ensembl and RefSeq with their version."""
MIN_READABLE = 0.5  # fraction of the rows whose SMILES must be molecules; else it is a wrong column


@dataclass(frozen=True)
class PrepareConfig:
    """How pairs are cleaned and split, and how negatives are made."""

    split: SplitKind = "random"
    """What is in no two parts: pairs (random), molecules, scaffolds, genes, or genes and molecules both.
    Near-identical genes count as one, and so do stereoisomers and charge forms of a molecule."""
    negatives: NegativeKind = "degree-matched"
    """Where all labels are 1: sampled as often as genes and molecules are in positives, or uniformly."""
    ratio: float = 1.0  # Negatives sampled per positive.
    seed: int = 0  # Of the split and the negatives.
    gene_kind: str = DEFAULT_KINDS
    """Which sequence of a gene is used, by the beginning of its kind, the preferred first; of one kind the
    longest."""
    salts: Salts = "largest"
    """largest: counter-ions are removed from a salt, and of the rest the largest fragment is the molecule; a
    salt of minerals alone, or of another metal and more, stays complete. keep: all fragments, always."""
    isotopes: Isotopes = "keep"
    """keep: molecules with other isotopes are other molecules. drop: they are one."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, seed=0)
        if not 0 < self.ratio < math.inf:
            wrong.append(f"`ratio` must be more than 0, got {self.ratio}")
        if not parse_kinds(self.gene_kind):
            wrong.append(f"`gene_kind` needs kinds, as in {DEFAULT_KINDS}")
        refuse(wrong)


class CleanRows(NamedTuple):
    """Pairs that remain, and the rows that were dropped with the reason."""

    labels: dict[tuple[str, str], int]  # By gene and canonical SMILES
    dropped: list[tuple[str, int, str, str, str]]  # File, line, gene, SMILES as given, reason

    @property
    def reasons(self) -> dict[str, int]:
        """Number of dropped rows, by reason."""
        return dict(Counter(reason for *_, reason in self.dropped).most_common())


def prepare_pairs(
    pairs: Path,
    genes: Path,
    config: PrepareConfig | None = None,
    out: Path | None = None,
    say: Say = silent,
    table: TableConfig | None = None,
    gene_names: Path | None = None,
) -> tuple[PairSet, dict[str, Any]]:
    """Prepare a set of pairs, and return it with its `leakage_report`.

    Args:
        pairs: a table of genes, molecules and labels, or a folder with train/ and test/ of them.
        genes: gene sequences as FASTA, table or HDF5.
        config: the defaults unless given.
        out: folder to write, see `check_output`; the set is only returned unless given.
        say: called with messages on the progress.
        table: how the table of pairs is read.
        gene_names: a table with the names of genes in `pairs` and in `genes` side by side, in any columns.

    Raises:
        InputError: if a file cannot be read, or too few pairs are left for the split.
    """
    config, table = config or PrepareConfig(), table or TableConfig()
    columns = {path.name: pair_columns(path, table) for path in pair_files(pairs)}
    for name, (gene, molecule, label) in columns.items():
        labels = f"labels from {label}" if label else "no column of labels: all pairs are positive"
        say(f"{name}: genes from {gene}, molecules from {molecule}, {labels}")
    say(f"reading {genes} and {pairs}")
    wanted = parse_kinds(config.gene_kind)
    sequences, kinds = choose_sequences(read_gene_rows(genes), wanted)
    given = list(read_pair_rows(pairs, table))
    how = asdict(table) | {"columns": {name: each._asdict() for name, each in columns.items()}}
    ambiguous = set[str]()
    if gene_names is not None:
        names = read_gene_names(gene_names, {row.gene_id for row in given}, sequences.keys())
        given, ambiguous = rename_genes(given, names.others, sequences.keys())
        how["gene_names"] = names.columns
        say(f"{gene_names}: names of genes in column {names.columns[0]} become those in {names.columns[1]}")
    matched = match_names(sequences, wanted, [row.gene_id for row in given])
    if matched is not None:
        sequences, kinds = matched
        given = [row._replace(gene_id=stable_name(row.gene_id)) for row in given]
    rows = clean_rows(given, sequences, config.salts, config.isotopes, table, ambiguous)
    say(f"splitting {counted(len(rows.labels), 'pair')} ({config.split})")
    used = [*pair_files(pairs), genes, gene_names]
    sources = [{"name": path.name, "sha256": sha256(path)} for path in used if path is not None]
    about = {"gene_kinds": kinds, "sources": sources, "gene_versions": "keep" if matched is None else "drop"}
    about["table"] = how
    made, leakage = _assemble(config, rows, sequences, about)
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

    `kinds` are in order of preference, matched with the beginning of a row's kind; others come last. Of one
    kind the longest is chosen, of equally long ones the first; those without a base never.
    """
    lower = map(str.lower, kinds)  # a file's word for a promoter may be PROM60_EPDnew
    begins = ["prom" if kind.startswith("prom") else kind for kind in lower]
    best: dict[str, tuple[tuple[int, int], GeneRow]] = {}
    for row in rows:
        kind = row.kind.lower()
        rank = next((rank for rank, begin in enumerate(begins) if kind.startswith(begin)), len(begins))
        value = (rank, -len(row.sequence))
        is_better = row.gene_id not in best or value < best[row.gene_id][0]
        if is_better and set(row.sequence) & set("ACGT"):
            best[row.gene_id] = (value, row)
    chosen = {gene: row for gene, (_value, row) in best.items()}
    return chosen, dict(Counter(row.kind for row in chosen.values()).most_common())


def stable_name(name: str, source: str = "") -> str:
    """Return a gene's name without its version; of the names of a gene and a transcript the gene's.

    ENSG00000123374, ENSG00000123374.9 and ENSG00000123374.9|ENST00000266970.9 are one gene. `source` may
    name it too, as in ENST00000266970.9 gene:ENSG00000123374.9.
    """
    gene = ENSEMBL_GENE.search(name) or ENSEMBL_GENE.search(source)
    return gene[0] if gene else VERSIONED.sub(r"\1", name)


def match_names(
    chosen: dict[str, GeneRow], kinds: tuple[str, ...], names: Iterable[str]
) -> tuple[dict[str, GeneRow], dict[str, int]] | None:
    """Choose again by `stable_name`, as `choose_sequences`, if more of `names` are met then; else None."""
    wanted = set(names)
    rows = [row._replace(gene_id=stable_name(row.gene_id, row.source_id)) for row in chosen.values()]
    met = {row.gene_id for row in rows} & set(map(stable_name, wanted))
    return choose_sequences(rows, kinds) if len(met) > len(wanted & chosen.keys()) else None


def rename_genes(
    rows: Sequence[PairRow], others: Mapping[str, Collection[str]], known: Collection[str]
) -> tuple[list[PairRow], set[str]]:
    """Return rows with other names of genes, and the names that stand for several genes, which stay.

    A name that is `known` stays too.
    """
    renamed, ambiguous = list[PairRow](), set[str]()
    for row in rows:
        names = () if row.gene_id in known else others.get(row.gene_id, ())
        if len(names) > 1:
            ambiguous.add(row.gene_id)
        renamed.append(row._replace(gene_id=next(iter(names))) if len(names) == 1 else row)
    return renamed, ambiguous


def clean_rows(
    rows: Iterable[PairRow],
    genes: dict[str, GeneRow],
    salts: Salts,
    isotopes: Isotopes = "keep",
    table: TableConfig | None = None,
    ambiguous: Collection[str] = (),
) -> CleanRows:
    """Keep each pair of a gene with a sequence and a readable molecule once, and why others are dropped.

    `ambiguous` names stand for several genes.
    """
    clean, table = CleanRows({}, []), table or TableConfig()
    canonical = functools.cache(canonical_smiles)
    by_pair: dict[tuple[str, str], list[PairRow]] = {}

    def drop(row: PairRow, reason: str) -> None:
        clean.dropped.append((row.file, row.line, row.gene_id, row.smiles, reason))

    for row in rows:
        try:
            label = table.label_of(row.label)
        except InputError as error:
            raise InputError(f"{row.file}: line {row.line:,}: {error}") from error
        smiles = canonical(row.smiles, salts, isotopes) or ""
        if not smiles:
            drop(row, "SMILES is no molecule" if row.smiles else "no SMILES")
        elif len(smiles) > MAX_SMILES:
            drop(row, f"SMILES of more than {MAX_SMILES} characters")
        elif row.gene_id not in genes:
            drop(row, SEVERAL if row.gene_id in ambiguous else NO_SEQUENCE)
        elif isinstance(label, str):
            drop(row, label)
        else:
            by_pair.setdefault((row.gene_id, smiles), []).append(row._replace(label=str(label)))
    unreadable = [smiles for *_, smiles, reason in clean.dropped if "SMILES" in reason]
    read = len(clean.dropped) + sum(map(len, by_pair.values()))
    if len(unreadable) > (1 - MIN_READABLE) * read:
        what = f"SMILES of a molecule, with at most {MAX_SMILES:,} characters"
        got = repr(shortened(unreadable[0], 60))
        raise InputError(f"{len(unreadable):,} of {counted(read, 'row')} have no {what}: {got}")
    for pair, same in by_pair.items():
        first, *others = {int(row.label) for row in same}
        if not others:
            clean.labels[pair] = first
        for row in same[pair in clean.labels :]:
            drop(row, "the same pair with both labels" if others else "the same pair again")
    if not clean.labels:
        raise _no_pair(clean, read, genes)
    clean.dropped.sort(key=lambda row: row[:2])
    return clean


def _no_pair(clean: CleanRows, read: int, genes: Collection[str]) -> InputError:
    """Return the error for rows of which none is left; `genes` are the names of those with a sequence."""
    reasons = "".join(f"; {counted(count, 'row')}: {reason}" for reason, count in clean.reasons.items())
    message = f"no pair is left of {counted(read, 'row')}{reasons}"
    lacking = dict.fromkeys(gene for *_, gene, _, reason in clean.dropped if reason == NO_SEQUENCE)
    if lacking:
        message += (
            f"; the pairs name their genes {', '.join([*lacking][:3])} and `genes` names its own "
            f"{', '.join([*genes][:3]) or 'none'}: give both the same names (Ensembl's may "
            "differ in the version), or a table of both as `gene_names`"
        )
    return InputError(message)


def _assemble(
    config: PrepareConfig, rows: CleanRows, sequences: dict[str, GeneRow], about: dict[str, Any]
) -> tuple[PairSet, dict[str, Any]]:
    """Return the split set with its negatives, and its leakage report; `about` is for its meta."""
    genes = {gene for gene, _ in rows.labels}  # numbers first, in their order
    gene_ids = sorted(genes, key=lambda gene: (int(gene) if gene.isdigit() else math.inf, gene))
    smiles = sorted({each for _, each in rows.labels})
    gene_row, molecule_row = ({each: row for row, each in enumerate(ids)} for ids in (gene_ids, smiles))
    pairs = [(gene_row[gene], molecule_row[each], label) for (gene, each), label in rows.labels.items()]
    given = np.array(pairs, dtype=np.int64).T  # gene, molecule and label, [3, P]
    texts, scaffolds = [sequences[each].sequence for each in gene_ids], [scaffold(each) for each in smiles]
    clusters = Clusters(gene_clusters(texts), molecule_clusters(smiles))
    split = split_pairs(config.split, given[0], given[1], clusters, scaffolds, config.seed)
    positives_only = bool(given[2].all())
    kind: NegativeKind = config.negatives if positives_only else "none"
    columns, parts, missing = with_negatives(given, split, clusters, kind, config.ratio, config.seed)
    gene, molecule, labels = columns
    meta = {
        "sources": about["sources"],
        "split": config.split,
        "seed": config.seed,
        "negatives": kind if positives_only else "given",
        "ratio": config.ratio if kind != "none" else None,
        "salts": config.salts,
        "isotopes": config.isotopes,
        "gene_kind": config.gene_kind,
        "gene_kinds": about["gene_kinds"],
        "gene_versions": about["gene_versions"],
        "table": about["table"],
        "counts": {
            "read": len(rows.labels) + len(rows.dropped),
            "kept": len(rows.labels),
            "dropped": rows.reasons,
            "between_parts": len(pairs) - sum(map(len, split.values())),
            "negatives_missing": missing,
        },
        "parts": {
            name: {
                "rows": len(part),
                "positives": int(labels[part].sum()),
                "genes": len(np.unique(gene[part])),
                "molecules": len(np.unique(molecule[part])),
            }
            for name, part in parts.items()
        },
    }
    kinds, label = [sequences[each].kind for each in gene_ids], labels.astype(np.uint8)
    made = PairSet(
        gene_ids, texts, kinds, clusters.genes, smiles, scaffolds, gene, molecule, label, parts, meta
    )
    return made, leakage_report(made, clusters.molecules)
