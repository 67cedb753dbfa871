"""What the parts of a pair set share: as JSON for a file, and as text for a person."""

from itertools import combinations
from typing import Any

import numpy as np

from dnalm.data.pairs import PARTS, PairSet


def leakage_report(pairs: PairSet, molecule_cluster: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, Any]:
    """Return what each two parts have in common, and how often genes and molecules occur in each.

    Args:
        pairs: the set.
        molecule_cluster: of each molecule, see `dnalm.molecules.molecule_clusters`.

    Returns:
        `shared`: for "train, test" and so on, how many pairs, genes, gene clusters (near-identical
        sequences), molecules, molecule clusters (stereoisomers, charge forms) and scaffolds are in both, and
        the share of the second part's rows whose gene, cluster, molecule or scaffold is in the first.
        `degrees`: by part, rows a gene and rows a molecule:
        least, median, 90th percentile, most.
    """
    keys = _keys(pairs, molecule_cluster)
    shared = {}
    for one, other in combinations(PARTS, 2):
        first, second = pairs.parts[one], pairs.parts[other]
        entry: dict[str, Any] = {}
        for what, column in keys.items():
            known, asked = column[first], column[second]
            known, asked = known[known >= 0], asked[asked >= 0]
            entry[what] = len(np.intersect1d(known, asked))
            entry[f"{what}_rows"] = float(np.isin(asked, known).sum() / max(1, len(second)))
        shared[f"{one}, {other}"] = entry
    degrees = {
        part: {
            what: _quantiles(np.unique(column[pairs.parts[part]], return_counts=True)[1])
            for what, column in (("rows_a_gene", pairs.gene), ("rows_a_molecule", pairs.molecule))
        }
        for part in PARTS
    }
    return {"shared": shared, "degrees": degrees}


def leakage_text(report: dict[str, Any]) -> str:
    """Return the report in words, one line for each two parts."""
    lines = []
    for names, entry in report["shared"].items():
        one, other = names.split(", ")
        told = [
            f"{entry[what]:,} {words} ({entry[f'{what}_rows']:.0%} of {other}'s rows)"
            for what, words in (
                ("pairs", "pairs"),
                ("genes", "genes"),
                ("clusters", "near-identical gene groups"),
                ("molecules", "molecules"),
                ("molecule_clusters", "molecules but for stereo and charge"),
                ("scaffolds", "scaffolds"),
            )
        ]
        lines.append(f"{one} and {other} share {', '.join(told)}")
    return "\n".join(lines)


def _keys(
    pairs: PairSet, molecule_cluster: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return a number for what each pair is, by what may be shared; -1 for none."""
    spelled = {each: number for number, each in enumerate(dict.fromkeys(pairs.scaffolds))}
    scaffold = np.array([spelled[each] if each else -1 for each in pairs.scaffolds], dtype=np.int64)
    return {
        "pairs": pairs.gene * len(pairs.smiles) + pairs.molecule,
        "genes": pairs.gene,
        "clusters": pairs.clusters[pairs.gene],
        "molecules": pairs.molecule,
        "molecule_clusters": molecule_cluster[pairs.molecule],
        "scaffolds": scaffold[pairs.molecule],
    }


def _quantiles(counts: np.ndarray[Any, np.dtype[np.int64]]) -> list[float]:
    return [float(value) for value in np.quantile(counts, [0, 0.5, 0.9, 1])] if len(counts) else []
