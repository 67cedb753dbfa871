"""Negatives drawn where only positives are known: pairs of a part's genes and molecules that no source names.

Shapes used below
    N  pairs of a part               K  negatives drawn
    P  pairs of all parts            G  genes
    M  molecules

What the parts of a pair set share: as JSON for a file, and as text for a person.
"""

from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dnalm.data.pairs import PARTS, PairSet

Indices = npt.NDArray[np.int64]
NegativeKind = Literal["degree-matched", "uniform", "none"]
ROUNDS = 100
"""Draws that are tried, each for all that is missing, before the pairs that are left are counted out."""


def pair_keys(gene: Indices, molecule: Indices, clusters: Indices, molecule_cluster: Indices) -> Indices:
    """Return a number for each pair, [P], that pairs of like genes and like molecules share.

    A model cannot tell two genes of one sequence apart, nor two stereoisomers by their fingerprints: a
    positive of one, drawn as a negative of the other, would contradict itself.

    Args:
        gene: [P].
        molecule: [P].
        clusters: [G] see `gene_clusters`.
        molecule_cluster: [M] see `dnalm.molecules.molecule_clusters`.
    """
    keys: Indices = clusters[gene] * len(molecule_cluster) + molecule_cluster[molecule]
    return keys


def draw_negatives(
    gene: Indices,
    molecule: Indices,
    known: Indices,
    clusters: Indices,
    molecule_cluster: Indices,
    *,
    kind: NegativeKind,
    ratio: float,
    draws: np.random.Generator,
) -> tuple[Indices, Indices]:
    """Draw negatives among the genes and molecules of a part's own positives.

    Args:
        gene: [N] genes of the part's positives.
        molecule: [N] their molecules.
        known: `pair_keys` that must not be drawn: of the positives of all parts, and of what was drawn for
            another part.
        clusters: [G] see `gene_clusters`.
        molecule_cluster: [M] see `dnalm.molecules.molecule_clusters`.
        kind: degree-matched: both ends from the positives, so that a gene that is often in a positive is as
            often in a negative (as published). uniform: each gene and each molecule alike.
        ratio: negatives a positive.
        draws: of the randomness.

    Returns:
        Genes and molecules of the negatives, each [K], all different. K is less than asked for where the part
        has too few pairs left.
    """
    if kind == "none":
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    genes, others = (gene, molecule) if kind == "degree-matched" else (np.unique(gene), np.unique(molecule))
    molecules = len(molecule_cluster)

    def unknown(keys: Indices) -> Indices:
        return keys[
            ~np.isin(pair_keys(keys // molecules, keys % molecules, clusters, molecule_cluster), known)
        ]

    wanted = round(ratio * len(gene))
    found = np.empty(0, dtype=np.int64)
    for _ in range(ROUNDS):
        missing = wanted - len(found)
        if missing <= 0:
            break
        keys = draws.choice(genes, missing) * molecules + draws.choice(others, missing)
        keys = unknown(keys[~np.isin(keys, found)])
        found = np.concatenate([found, draws.permutation(np.unique(keys))])
    if len(found) < wanted:
        every = (np.unique(gene)[:, None] * molecules + np.unique(molecule)).ravel()
        left = unknown(np.setdiff1d(every, found))
        found = np.concatenate([found, draws.permutation(left)[: wanted - len(found)]])
    return found // molecules, found % molecules


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
