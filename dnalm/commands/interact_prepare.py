"""`dnalm interact prepare`: from tables to a clean, split set of pairs and its leakage report."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnalm.data.pairs import PairSet, check_output
from dnalm.data.prepare_pairs import PrepareConfig, prepare_pairs
from dnalm.errors import counted
from dnalm.formats.pairs import TableConfig

SHARED = {
    "pairs": ("pair",),
    "genes": ("gene",),
    "clusters": ("near-identical gene group",),
    "molecules": ("molecule",),
    "molecule_clusters": ("molecule but for stereo and charge", "molecules but for stereo and charge"),
    "scaffolds": ("scaffold",),
}
"""Entries of the leakage report, and their words, one and more."""


@dataclass(frozen=True)
class Options:
    """Clean pairs of genes and molecules, split them, and sample negatives where only positives are known."""

    pairs: Path
    """CSV or TSV, plain or gzip, with columns of genes, molecules (SMILES or InChI) and labels (0 and 1, yes
    and no, or numbers with --threshold; without one all pairs are positive), as GeneID, SMILES and Label; or
    a folder with train/ and test/ of them, which are joined and split anew."""
    genes: Path
    """Gene sequences: FASTA, a table with GeneID and sequence (and kind), or HDF5 with one dataset a gene."""
    out: Path = Path("data/pairs")  # Folder of the prepared set.
    gene_names: Path | None = None
    """A table with the names of genes in --pairs and in --genes side by side, in any two columns."""
    table: TableConfig = field(default_factory=TableConfig)
    config: PrepareConfig = field(default_factory=PrepareConfig)
    overwrite: bool = False  # Replace a set prepared earlier in the same folder.
    dry_run: bool = False  # Say what would be written, and stop.
    quiet: bool = False  # No messages and no summary.


def run(options: Options) -> None:
    """Prepare the set, and print its counts, the dropped rows with their reasons, and the leakage.

    Raises:
        InputError: for a mistake in the options or the input.
    """
    check_output(options.out, options.overwrite)
    pairs, leakage = prepare_pairs(
        options.pairs,
        options.genes,
        options.config,
        out=None if options.dry_run else options.out,
        say=lambda message: None if options.quiet else print(message, file=sys.stderr),
        table=options.table,
        gene_names=options.gene_names,
    )
    if not options.quiet or options.dry_run:
        end = "would write" if options.dry_run else "written to"
        print("\n".join([*summary_lines(pairs), *leakage_lines(leakage), f"{end} {options.out}"]))


def summary_lines(pairs: PairSet) -> list[str]:
    """Return the counts of a set in words."""
    meta, counts = pairs.meta, pairs.meta["counts"]
    lines = [f"{counted(counts['read'], 'row')} read, {counted(counts['kept'], 'pair')} kept"]
    lines += [f"  {counted(count, 'row')} dropped: {reason}" for reason, count in counts["dropped"].items()]
    if between := counts["between_parts"]:
        lines.append(f"  {counted(between, 'pair')} left out: gene and molecule are in different parts")
    chosen = ", ".join(f"{count:,} {kind}" for kind, count in meta["gene_kinds"].items())
    lines.append(f"sequences chosen, one a gene: {chosen}")
    if meta["gene_versions"] == "drop":
        lines.append("genes of both files are matched by their names without the version")
    lines.append(f"split {meta['split']}, negatives {meta['negatives']}, seed {meta['seed']}")
    for name, part in meta["parts"].items():
        missing = counts["negatives_missing"][name]
        lines.append(
            f"  {name}: {counted(part['rows'], 'row')}, {part['positives']:,} positive, "
            f"{counted(part['genes'], 'gene')}, {counted(part['molecules'], 'molecule')}"
            + (f"; {counted(missing, 'negative')} fewer than requested" if missing > 0 else "")
        )
    single = [name for name, part in meta["parts"].items() if part["positives"] in (0, part["rows"])]
    if single:
        lines.append(f"{' and '.join(single)}: one class only, AUROC is not defined")
    return lines


def leakage_lines(report: dict[str, Any]) -> list[str]:
    """Return a leakage report in words, one line for each two parts."""
    lines = []
    for names, entry in report["shared"].items():
        one, other = names.split(", ")
        counts = [
            f"{counted(entry[name], *words)} ({entry[f'{name}_rows']:.0%} of {other}'s rows)"
            for name, words in SHARED.items()
        ]
        lines.append(f"{one} and {other} share {', '.join(counts)}")
    return lines
