"""`dnalm interact prepare`: pairs and gene sequences, in; a clean, split set with its leakage report, out."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.data.molecules import Salts, molecule_clusters, scaffold
from dnalm.data.negatives import NegativeKind, draw_negatives, leakage_report, leakage_text, pair_keys
from dnalm.data.pair_rows import KINDS, Rows, choose_sequences, kinds_of, sort_rows
from dnalm.data.pair_splits import SplitKind, split_pairs
from dnalm.data.pairs import FORMAT, PairSet, write_pairs
from dnalm.data.similarity import gene_clusters
from dnalm.errors import InputError
from dnalm.files import lock, read_json, sha256
from dnalm.formats.genes import GeneRow, read_gene_rows
from dnalm.formats.pairs import pair_files, read_pair_rows

Indices = npt.NDArray[np.int64]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Options:
    """Clean pairs of genes and molecules, split them, and draw negatives where only positives are known."""

    pairs: Path
    """CSV or TSV with GeneID, SMILES and Label, plain or gzip; or a folder with train/ and test/ of them,
    which are taken together and split anew."""
    genes: Path
    """Gene sequences: FASTA, a table with GeneID and sequence (and kind), or HDF5 with one dataset a gene."""
    out: Path = Path("data/pairs")
    """Where the set goes."""
    split: SplitKind = "random"
    """What no two parts share: pairs (random), molecules, scaffolds, genes, or genes and molecules both.
    Near-identical genes are one here, and so are stereoisomers and charge forms of a molecule."""
    negatives: NegativeKind = "degree-matched"
    """Where all labels are 1: drawn as often as genes and molecules are in positives, or uniformly."""
    ratio: float = 1.0
    """Negatives drawn for each positive."""
    seed: int = 0
    """Of the split and the negatives."""
    gene_kind: str = KINDS
    """Which sequence of a gene is taken, by how its kind begins, the best first; of one kind the longest."""
    salts: Salts = "largest"
    """largest: of a salt the counter-ions go, and of the rest the largest fragment alone is the molecule; a
    salt of minerals alone, or of another metal and more, stays whole. keep: all of it, always."""
    overwrite: bool = False
    """Replace a set prepared earlier in the same place."""
    dry_run: bool = False
    """Say what would be written, and stop."""
    quiet: bool = False
    """No messages and no summary."""


def run(options: Options) -> None:
    """Prepare, and print what was kept, what was dropped and why, and what the parts share.

    Raises:
        InputError: for a mistake in the options or the input.
    """
    _check(options)
    _say(options, f"reading {options.genes} and {options.pairs}")
    genes, kinds = choose_sequences(read_gene_rows(options.genes), kinds_of(options.gene_kind))
    rows = sort_rows(read_pair_rows(options.pairs), genes, options.salts)
    pairs, missing, report = _split(options, rows, genes, kinds)
    if not options.dry_run:
        with lock(options.out):
            sources = [genes[gene].source_id for gene in pairs.gene_ids]
            dropped = [tuple(map(str, row)) for row in rows.dropped]
            pairs = write_pairs(options.out, pairs, sources, dropped, report)
    if not options.quiet or options.dry_run:
        print(_summary(options, pairs, missing, leakage_text(report)))


def _check(options: Options) -> None:
    wrong = []
    if options.ratio <= 0 or not np.isfinite(options.ratio):
        wrong.append(f"--ratio must be more than 0, got {options.ratio}")
    if options.seed < 0:
        wrong.append(f"--seed must be at least 0, got {options.seed}")
    if not options.gene_kind.strip(" ,"):
        wrong.append(f"--gene-kind needs kinds, as in {KINDS}")
    if wrong:
        raise InputError("; ".join(wrong))
    if options.out.is_file():
        raise InputError(f"{options.out}: expected a folder to write, got a file; choose another --out")
    # A run that failed while it wrote leaves its lock.
    if options.out.exists() and {each.name for each in options.out.iterdir()} - {".lock"}:
        if not options.overwrite:
            raise InputError(
                f"{options.out}: is there already; --overwrite replaces it, or choose another --out"
            )
        meta = options.out / "meta.json"
        kind = read_json(meta) if meta.is_file() else None
        if not isinstance(kind, dict) or kind.get("format") != FORMAT:
            raise InputError(f"{options.out}: holds something else than a set of pairs; choose another --out")


def _split(
    options: Options, rows: Rows, genes: dict[str, GeneRow], kinds: dict[str, int]
) -> tuple[PairSet, dict[str, int], dict[str, Any]]:
    """Return the set, the negatives that each part is short of, and what the parts share."""
    _say(options, f"splitting {len(rows.kept):,} pairs ({options.split})")
    gene_ids = sorted({gene for gene, _ in rows.kept}, key=_natural)
    smiles = sorted({each for _, each in rows.kept})
    gene_row = {each: row for row, each in enumerate(gene_ids)}
    molecule_row = {each: row for row, each in enumerate(smiles)}
    given = (
        np.array([gene_row[each] for each, _ in rows.kept], dtype=np.int64),
        np.array([molecule_row[each] for _, each in rows.kept], dtype=np.int64),
        np.array(list(rows.kept.values()), dtype=np.uint8),
    )
    clusters = gene_clusters([genes[each].sequence for each in gene_ids])
    scaffolds, molecule_cluster = [scaffold(each) for each in smiles], molecule_clusters(smiles)
    parts = split_pairs(options.split, *given[:2], clusters, molecule_cluster, scaffolds, seed=options.seed)
    columns, placed, missing = _with_negatives(options, given, parts, clusters, molecule_cluster)
    meta = _meta(options, rows, kinds, positives_only=bool(given[2].all()))
    meta["counts"]["between_parts"] = len(given[0]) - sum(map(len, parts.values()))
    meta["counts"]["negatives_missing"] = missing
    pairs = PairSet(
        gene_ids=gene_ids,
        sequences=[genes[each].sequence for each in gene_ids],
        kinds=[genes[each].kind for each in gene_ids],
        clusters=clusters,
        smiles=smiles,
        scaffolds=scaffolds,
        gene=columns[0],
        molecule=columns[1],
        label=columns[2].astype(np.uint8),
        parts=placed,
        meta=meta,
    )
    meta["parts"] = {name: _about(pairs, part) for name, part in placed.items()}
    return pairs, missing, leakage_report(pairs, molecule_cluster)


def _with_negatives(
    options: Options,
    given: tuple[Indices, Indices, Labels],
    parts: dict[str, Indices],
    clusters: Indices,
    molecule_cluster: Indices,
) -> tuple[list[Indices], dict[str, Indices], dict[str, int]]:
    """Return gene, molecule and label of all pairs part by part, the rows of each part, what it is short of.

    Args:
        options: of the run.
        given: gene, molecule and label of the pairs that were read.
        parts: rows of them.
        clusters: of the genes.
        molecule_cluster: clusters of the molecules.
    """
    gene, molecule, label = given
    drawn = bool(label.all()) and options.negatives != "none"
    known = pair_keys(gene, molecule, clusters, molecule_cluster)
    draws = np.random.default_rng([options.seed, 1])
    columns: list[list[Indices]] = [[], [], []]
    placed, missing, begin = {}, {}, 0
    for name, part in parts.items():
        genes, others = draw_negatives(
            gene[part],
            molecule[part],
            known,
            clusters,
            molecule_cluster,
            kind=options.negatives if drawn else "none",
            ratio=options.ratio,
            draws=draws,
        )
        known = np.concatenate(
            [known, pair_keys(genes, others, clusters, molecule_cluster)]
        )  # none for two parts
        columns[0] += [gene[part], genes]
        columns[1] += [molecule[part], others]
        columns[2] += [label[part].astype(np.int64), np.zeros(len(genes), dtype=np.int64)]
        placed[name] = np.arange(begin, begin + len(part) + len(genes), dtype=np.int64)
        begin += len(placed[name])
        missing[name] = round(options.ratio * len(part)) - len(genes) if drawn else 0
    return [np.concatenate(column) for column in columns], placed, missing


def _meta(options: Options, rows: Rows, kinds: dict[str, int], *, positives_only: bool) -> dict[str, Any]:
    drawn = positives_only and options.negatives != "none"
    files = [*pair_files(options.pairs), options.genes]
    return {
        "sources": [{"name": path.name, "sha256": sha256(path)} for path in files],
        "split": options.split,
        "seed": options.seed,
        "negatives": options.negatives if drawn else "none" if positives_only else "given",
        "ratio": options.ratio if drawn else None,
        "salts": options.salts,
        "gene_kind": options.gene_kind,
        "gene_kinds": kinds,
        "counts": {"read": rows.read, "kept": len(rows.kept), "dropped": rows.reasons},
    }


def _about(pairs: PairSet, part: Indices) -> dict[str, int]:
    return {
        "rows": len(part),
        "positives": int(pairs.label[part].sum()),
        "genes": len(np.unique(pairs.gene[part])),
        "molecules": len(np.unique(pairs.molecule[part])),
    }


def _natural(gene: str) -> tuple[int, int, str]:
    return (0, int(gene), "") if gene.isdigit() else (1, 0, gene)


def _summary(options: Options, pairs: PairSet, missing: dict[str, int], leakage: str) -> str:
    counts = pairs.meta["counts"]
    lines = [f"{counts['read']:,} rows read, {counts['kept']:,} pairs kept"]
    lines += [f"  {count:,} rows dropped: {reason}" for reason, count in counts["dropped"].items()]
    if counts["between_parts"]:
        lines.append(
            f"  {counts['between_parts']:,} pairs left out: gene and molecule are of different parts"
        )
    taken = ", ".join(f"{count:,} {kind}" for kind, count in pairs.meta["gene_kinds"].items())
    lines.append(f"sequences chosen, one a gene: {taken}")
    lines.append(f"split {options.split}, negatives {pairs.meta['negatives']}, seed {options.seed}")
    for name, about in pairs.meta["parts"].items():
        short = f"; {missing[name]:,} negatives fewer than asked for" if missing[name] > 0 else ""
        lines.append(
            f"  {name}: {about['rows']:,} rows, {about['positives']:,} positive, {about['genes']:,} genes, "
            f"{about['molecules']:,} molecules{short}"
        )
    single = [name for name, about in pairs.meta["parts"].items() if about["positives"] in (0, about["rows"])]
    if single:
        lines.append(f"{' and '.join(single)}: one class only, so that no AUROC is defined there")
    end = "would write" if options.dry_run else "written to"
    return "\n".join([*lines, leakage, f"{end} {options.out}"])


def _say(options: Options, message: str) -> None:
    if not options.quiet:
        print(message, file=sys.stderr)
