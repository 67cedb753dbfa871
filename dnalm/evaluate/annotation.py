"""What a language model knows of a genome's features: its gain over a Markov model, and of mutated codons.

Shapes: L bases of a stretch; C codons; R rows of the table by feature.
"""

import heapq
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Estimate
from dnalm.data.annotation import CODING, FEATURES, INTERGENIC, INTRON, MOBILE, OTHER, TRNA, UTR, Painted
from dnalm.evaluate.auroc import area_estimates, paired_auroc
from dnalm.evaluate.language import MIN_PIECES, interval
from dnalm.results.use import FeatureGain, SubstitutionAuroc

BLOCK = 5_000
"""Bases of a block of the genome, which a bootstrap resamples."""
AMINO_ACIDS = "KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF"
"""The standard genetic code of codons AAA, AAC, AAG, AAT, ACA ... (NCBI, table 1); * is a stop."""
CLASSES = ("nonsense", "missense", "synonymous")
POSITIONS = ("codon position 1", "codon position 2", "codon position 3")
ORDER = (CODING, INTRON, UTR, TRNA, OTHER, MOBILE, INTERGENIC)
"""Features in the order of the table; codon positions stand after coding."""
Bits = npt.NDArray[np.floating]


def _substitutions() -> list[list[list[tuple[int, int]]]]:
    """Return for each codon and class its single-base substitutions: position 0 to 2, and the new base."""
    found: list[list[list[tuple[int, int]]]] = [[[], [], []] for _ in AMINO_ACIDS]
    for codon, amino in enumerate(AMINO_ACIDS):
        for at, unit in enumerate((16, 4, 1)):
            old = codon // unit % 4
            for new in {0, 1, 2, 3} - {old}:
                other = AMINO_ACIDS[codon + (new - old) * unit]
                found[codon][0 if other == "*" else 2 if other == amino else 1].append((at, new))
    return found


SUBSTITUTIONS = _substitutions()
"""[64][3]: of each codon, by class."""
HAS_EACH = np.array([a != "*" and all(SUBSTITUTIONS[codon]) for codon, a in enumerate(AMINO_ACIDS)])
"""[64]: whether a codon has a substitution of each class, so that the classes compare in the same places."""


class Codon(NamedTuple):
    """A codon of a genome and one substitution of each class in it."""

    key: float  # Random; the codons with the lowest are the sample
    contig: str
    start: int  # Its first base on +, 0-based
    gene: int
    changes: tuple[tuple[int, int], ...]  # [3]: offset from `start`, and the new base code on +, by class


class FeatureSums:
    """Bits of a model and of a Markov model by feature and codon position, in blocks of the genome."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, int], npt.NDArray[np.float64]] = {}

    def add(self, contig: str, start: int, painted: Painted, model: Bits, markov: Bits) -> None:
        """Add the bits of a stretch, [L] each, NaN where a base was not scored."""
        known = np.isfinite(model) & np.isfinite(markov)
        position = np.where((painted.frame > 0) & (painted.frame < 7), (painted.frame - 1) % 3, 3)
        block = (start + np.arange(len(known))) // BLOCK
        for number in np.unique(block[known]).tolist():
            here = known & (block == number)
            features, positions = painted.feature[here], position[here]
            weights = (known[here], model[here], markov[here])
            counts = [np.bincount(features, each, len(FEATURES)) for each in weights]
            more = [np.bincount(positions, each, 4)[:3] for each in weights]
            table = np.concatenate([counts, more], axis=1)  # [3, R]
            self._blocks[contig, number] = self._blocks.get((contig, number), 0) + table

    def gains(self) -> list[FeatureGain]:
        """Return the rows of the table: all bases, each feature that has bases, codon positions."""
        if not self._blocks:
            return []
        sums = np.stack(list(self._blocks.values()))  # [blocks, 3, R]
        rows = {FEATURES[label]: sums[:, :, label] for label in ORDER}
        rows |= {name: sums[:, :, len(FEATURES) + at] for at, name in enumerate(POSITIONS)}
        everything = {"all bases": sums[:, :, : len(FEATURES)].sum(axis=2)}
        return [_gain(name, table) for name, table in (everything | rows).items() if table[:, 0].any()]


def _gain(name: str, sums: npt.NDArray[np.float64]) -> FeatureGain:
    """Return a row of the table; `sums` are bases and bits of both models in each block, [blocks, 3]."""
    bases, model, markov = sums[sums[:, 0] > 0].T
    total = bases.sum()
    enough = len(bases) >= MIN_PIECES
    low, high = interval(markov - model, bases) if enough else (np.nan, np.nan)
    gain = Estimate(float((markov - model).sum() / total), low, high)
    return FeatureGain(
        name, int(total), len(bases), float(model.sum() / total), float(markov.sum() / total), gain
    )


class CodonSample:
    """A random sample of codons that have a substitution of each class; the same in any order of stretches.

    Args:
        size: codons that are kept.
    """

    def __init__(self, size: int) -> None:
        self._size, self.codons = size, list[Codon]()

    def add(self, contig: str, start: int, painted: Painted, codes: npt.NDArray[np.uint8]) -> None:
        """Add the codons of a stretch that begins at `start`; `codes` are base codes, [L]."""
        frame = painted.frame
        found: list[tuple[int, int, bool]] = []
        for first, second, third, is_minus in ((1, 2, 3, False), (6, 5, 4, True)):
            fits = (frame[:-2] == first) & (frame[1:-1] == second) & (frame[2:] == third)
            at = np.flatnonzero(fits & (codes[:-2] < 4) & (codes[1:-1] < 4) & (codes[2:] < 4))
            bases = np.stack([codes[at], codes[at + 1], codes[at + 2]]).astype(np.int64)
            bases = 3 - bases[::-1] if is_minus else bases
            codon = 16 * bases[0] + 4 * bases[1] + bases[2]
            eligible = HAS_EACH[codon]
            found += [
                (a, c, is_minus) for a, c in zip(at[eligible].tolist(), codon[eligible].tolist(), strict=True)
            ]
        random = np.random.default_rng([zlib.crc32(contig.encode()), start]).random((len(found), 4))
        highest = self.codons[-1].key if len(self.codons) == self._size else 1.0
        new = [
            _codon(contig, start, int(painted.gene[at]), at, codon, is_minus, random[row])
            for row, (at, codon, is_minus) in enumerate(found)
            if random[row, 0] < highest
        ]
        self.codons = heapq.nsmallest(self._size, [*self.codons, *new])


def _codon(
    contig: str, start: int, gene: int, at: int, codon: int, is_minus: bool, random: npt.NDArray[np.float64]
) -> Codon:
    """Return a codon with one substitution of each class; `random` [4] is its key, and a choice by class."""
    changes = []
    for choices, chance in zip(SUBSTITUTIONS[codon], random[1:], strict=True):
        offset, new = choices[int(chance * len(choices))]
        changes.append((2 - offset, 3 - new) if is_minus else (offset, new))
    return Codon(float(random[0]), contig, start + at, gene, tuple(changes))


def substitution_aurocs(
    codons: Sequence[Codon], scores: Mapping[str, npt.NDArray[np.float64]]
) -> list[SubstitutionAuroc]:
    """Return how well scores tell nonsense and missense from synonymous substitutions of the same codons.

    Args:
        codons: the sample, C.
        scores: `model` and `markov`, log-likelihood ratios of each codon's substitutions by class, [C, 3];
            codons whose ratios are not all finite are left out.

    Returns:
        AUROC of the negative ratios with intervals over genes, of each class against synonymous.
    """
    known = np.isfinite(scores["model"]).all(axis=1) & np.isfinite(scores["markov"]).all(axis=1)
    genes = np.array([codon.gene for codon in codons], dtype=np.int64)[known]
    found = []
    for at, name in enumerate(CLASSES[:2]):
        label = np.repeat([1, 0], len(genes))
        model, markov = (-scores[which][known][:, [at, 2]].T.ravel() for which in ("model", "markov"))
        clusters = [np.tile(genes, 2)]
        (one, _), (other, _) = (area_estimates(label, each, clusters) for each in (model, markov))
        gap = paired_auroc(label, model, markov, clusters)
        found.append(SubstitutionAuroc(name, len(genes), len(np.unique(genes)), one, other, gap))
    return found
