"""What training pairs say of another pair: counts, common partners, similar molecules, boosted trees.

Shapes: G genes and M molecules of the training pairs; T training pairs; K rank of the factors; H genes and Q
molecules of a query; n pairs of it; C columns; b molecules of a chunk; F bits of a fingerprint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.bootstrap import Numbers
from dnalm.data.epochs import Rows
from dnalm.data.molecules import Bits, fingerprints, tanimoto
from dnalm.models.boosted_trees import BITS, BoostedTrees, kmer_frequencies
from dnalm.models.identity import find

SCORES = {
    "node rate": ("gene rate", "molecule rate"),
    "matrix factorisation": ("common partners",),
    "similar molecules' partners": ("their partners",),
    "nearest molecules": ("nearest molecules",),
    "gradient boosting": ("gradient boosting",),
}
"""Members, and the columns that add up to the score of each alone."""
MEMBERS = SCORES | {
    "node rate": (*SCORES["node rate"], "log gene pairs", "log molecule pairs"),
    "matrix factorisation": (*SCORES["matrix factorisation"], "common partners by degree"),
    "similar molecules' partners": (*SCORES["similar molecules' partners"], "their partners by degree"),
}
"""All columns of each."""
COLUMNS = tuple(column for columns in MEMBERS.values() for column in columns)
RATE_PRIOR = 20.0
"""Pairs at the prevalence added to each node's own; the best of 0.5 to 100 in validation of shared pairs."""
SIMILARITY_PRIOR = 3.0
"""Weight of the prevalence, in molecules identical to the scored one; results differ little from 1 to 10."""
MIN_RATE = 1e-6
"""Rates are clipped to this distance from 0 and 1, so that their log-odds are finite."""
POWER = 2
"""Of the similarity by which molecules are weighted; the best of 1, 2 and 4 in validation of shared pairs."""
DIGITS = 12
"""Decimals of a product of factors: the solver's rounding errors beyond them would order ties."""
CHUNK = 2**25  # similarities computed at a time


@dataclass(frozen=True)
class PairQuery:
    """Genes and molecules to predict, which need not be those of the training pairs."""

    gene: Rows  # row among the training genes, [H]; -1 for a new one
    molecule: Rows  # row among the training molecules, [Q]; -1 for a new one
    bits: Bits  # fingerprints, [Q, F]
    kmers: Numbers  # [H, 4^4]


@dataclass(frozen=True)
class PairKnowledge:
    """Training pairs, and what was fitted to them alone."""

    genes: npt.NDArray[np.uint8]  # digests of sequences, [G, DIGEST]
    clusters: Rows  # genes of near-identical sequences have the same number, [G]
    molecules: npt.NDArray[np.uint8]  # digests of canonical SMILES, [M, DIGEST]
    bits: Bits  # fingerprints, packed, [M, F / 8]
    gene: Rows  # of each pair, [T]
    molecule: Rows  # [T]
    label: npt.NDArray[np.uint8]  # [T]
    gene_factors: Numbers  # [G, K], see `evaluate.baselines.factorisation`
    molecule_factors: Numbers  # [M, K]
    trees: BoostedTrees

    def tensors(self) -> dict[str, Tensor]:
        """Return everything as tensors, from which `from_tensors` makes the same."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "trees"}
        arrays |= {f"trees_{f.name}": getattr(self.trees, f.name) for f in fields(self.trees)}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "PairKnowledge":
        """Return what `tensors` has written."""
        arrays = {name: each.numpy() for name, each in tensors.items()}
        trees = BoostedTrees(*(arrays[f"trees_{f.name}"] for f in fields(BoostedTrees)))
        own = {f.name: arrays[f.name] for f in fields(cls) if f.name != "trees"}
        return cls(**own, trees=trees)

    @cached_property
    def prevalence(self) -> float:
        """Fraction of the training pairs that are positive."""
        return float(self.label.mean())

    @cached_property
    def pairs_of(self) -> dict[str, Rows]:
        """Training pairs of each gene, [G], and molecule, [M], by side; and the positive ones alone."""
        sides = {"gene": (self.gene, len(self.genes)), "molecule": (self.molecule, len(self.molecules))}
        count = {side: np.bincount(node, minlength=size) for side, (node, size) in sides.items()}
        positive = self.label == 1
        return count | {
            f"positive {side}": np.bincount(node[positive], minlength=size)
            for side, (node, size) in sides.items()
        }

    @cached_property
    def _fingerprints(self) -> Bits:
        return np.unpackbits(self.bits, axis=1)

    @cached_property
    def _by_cluster(self) -> tuple[Rows, Rows, npt.NDArray[np.uint8]]:
        """Cluster, molecule and label of the training pairs, sorted by cluster, [T] each."""
        cluster = self.clusters[self.gene]
        order = np.argsort(cluster, kind="stable")
        return cluster[order], self.molecule[order], self.label[order]

    def query(self, sequences: Sequence[str], smiles: Sequence[str]) -> PairQuery:
        """Return genes, upper-case DNA [H], and molecules, canonical SMILES [Q], as they are known here."""
        return PairQuery(
            find(self.genes, sequences),
            find(self.molecules, smiles),
            fingerprints(smiles, self.bits.shape[1] * 8),
            kmer_frequencies(sequences),
        )

    def is_new(self, query: PairQuery) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which genes, [H], and which molecules, [Q], have no training pair."""
        counts = (self.pairs_of["gene"], query.gene), (self.pairs_of["molecule"], query.molecule)
        gene, molecule = ((row < 0) | (count[row] == 0) for count, row in counts)
        return gene, molecule

    def similarities(self, query: PairQuery, rows: Rows) -> Numbers:
        """Return Tanimoto's similarity of molecules `rows` of a query to those of the training, [b, M].

        That of a molecule to itself is 0: what is known of it is in other columns.
        """
        similarity = tanimoto(query.bits[rows], self._fingerprints)
        known = query.molecule[rows]
        similarity[np.flatnonzero(known >= 0), known[known >= 0]] = 0.0
        return similarity

    def columns(self, query: PairQuery, gene: Rows, molecule: Rows) -> Numbers:
        """Return what is known of the pairs of rows [n] of the query, [n, C], in the order of `COLUMNS`."""
        found = np.empty((len(gene), len(COLUMNS)))
        order = np.argsort(molecule, kind="stable")
        distinct, begins = np.unique(molecule[order], return_index=True)
        step = max(1, CHUNK // max(1, len(self.molecules)))
        for at in range(0, len(distinct), step):
            ends = np.append(begins, len(order))
            some = order[ends[at] : ends[min(at + step, len(distinct))]]
            found[some] = self._chunk(query, distinct[at : at + step], gene[some], molecule[some])
        return found

    def _chunk(self, query: PairQuery, distinct: Rows, gene: Rows, molecule: Rows) -> Numbers:
        similarity, row = self.similarities(query, distinct), np.searchsorted(distinct, molecule)
        known_gene, known_molecule = query.gene[gene], query.molecule[molecule]
        left, right = _take(self.gene_factors, known_gene), _take(self.molecule_factors, known_molecule)
        weights = similarity**POWER * (self.pairs_of["positive molecule"] > 0)
        weights /= weights.sum(axis=1, keepdims=True) + MIN_RATE
        partners = np.round(np.einsum("nk,nk->n", left, right), DIGITS)
        theirs = np.round(np.einsum("nk,nk->n", left, (weights @ self.molecule_factors)[row]), DIGITS)
        gene_degree = np.sqrt(_take(self.pairs_of["positive gene"], known_gene))
        molecule_degree = np.sqrt(_take(self.pairs_of["positive molecule"], known_molecule))
        prevalence, folded = float(log_odds(self.prevalence)), query.bits.reshape(len(query.bits), -1, BITS)
        return np.stack(
            [
                _take(self._rates("gene"), known_gene, prevalence),
                _take(self._rates("molecule"), known_molecule, prevalence),
                np.log1p(_take(self.pairs_of["gene"], known_gene)),
                np.log1p(_take(self.pairs_of["molecule"], known_molecule)),
                partners,
                partners * gene_degree * molecule_degree,
                np.sign(theirs) * np.sqrt(np.abs(theirs)),
                theirs * gene_degree,
                self._nearest(similarity, row, np.where(known_gene < 0, -1, self.clusters[known_gene])),
                self.trees.log_odds(folded.max(axis=1), query.kmers, molecule, gene),
            ],
            axis=1,
        )

    def _rates(self, side: str) -> Numbers:
        node, size = getattr(self, side), len(getattr(self, f"{side}s"))
        return log_odds(smoothed_rates(node, self.label.astype(np.float64), size))

    def _nearest(self, similarity: Numbers, row: Rows, cluster: Rows) -> Numbers:
        """Return the log-odds of the labels of a gene's training molecules, weighted by similarity, [n]."""
        trained, molecule, label = self._by_cluster
        rate = np.full(len(row), self.prevalence)
        order = np.argsort(cluster, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
            if not len(group) or cluster[group[0]] < 0:
                continue
            begin, end = np.searchsorted(trained, [cluster[group[0]], cluster[group[0]] + 1])
            alike = similarity[row[group][:, None], molecule[begin:end]]
            rate[group] = similarity_rate(alike, label[begin:end], self.prevalence)
        return log_odds(rate)


def _take(values: npt.NDArray[Any], rows: Rows, missing: float = 0.0) -> Numbers:
    """Return `values` of `rows`, where -1 has `missing`."""
    taken = values[rows].astype(np.float64)
    taken[rows < 0] = missing
    return taken


def smoothed_rates(node: Rows, label: Numbers, nodes: int, prior: float = RATE_PRIOR) -> Numbers:
    """Return the positive rate of each node, [nodes], smoothed towards the prevalence by `prior` pairs.

    `node` and `label`, 0 or 1, are of each pair, [T]; a node without pairs has the prevalence.
    """
    count = np.bincount(node, minlength=nodes)
    positives = np.bincount(node, weights=label, minlength=nodes)
    rates = (positives + prior * label.mean()) / (count + prior)
    smoothed: Numbers = np.where(count > 0, rates, label.mean())
    return smoothed


def similarity_rate(similarity: Numbers, label: npt.NDArray[Any], prevalence: float) -> Numbers:
    """Return the mean label [T] weighted by similarity [n, T], smoothed towards the prevalence, [n]."""
    positives = (similarity * label).sum(axis=1)
    rate: Numbers = (positives + SIMILARITY_PRIOR * prevalence) / (similarity.sum(axis=1) + SIMILARITY_PRIOR)
    return rate


def log_odds(rate: npt.ArrayLike) -> Numbers:
    """Return ln(p / (1 - p)) of rates, in nats."""
    clipped = np.clip(rate, MIN_RATE, 1 - MIN_RATE)
    odds: Numbers = np.log(clipped / (1 - clipped))
    return odds
