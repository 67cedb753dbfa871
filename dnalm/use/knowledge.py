"""What a language model knows of annotated features: gains over a Markov model, and mutated codons.

Shapes: C codons.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dnalm import process
from dnalm.data.annotation import Annotation
from dnalm.dna import BASES, encode
from dnalm.errors import InputError
from dnalm.evaluate.annotation import Codon, CodonSample, FeatureSums, substitution_aurocs
from dnalm.evaluate.baselines.markov import MarkovModel
from dnalm.formats.indexed import IndexedGenome
from dnalm.results.use import FeatureGain, SubstitutionAuroc
from dnalm.use.score import ROUND, ScoredPiece, Scoring, markov_bits, strand_bits

if TYPE_CHECKING:
    from dnalm.use.language import LanguageModel

CODONS_AT_ONCE = 8


class Knowledge:
    """Collects what a model knows of a genome's features, from the scored pieces of sorted regions.

    Args:
        scoring: whose pieces are added.
        annotation: of the genome.
        codons: how many are sampled for substitutions.

    Raises:
        InputError: if the regions are not in the order of the genome, or there is no Markov model.
    """

    def __init__(self, scoring: Scoring, annotation: Annotation, codons: int = 1000) -> None:
        scoring.check_sorted("annotation")
        if scoring.markov is None:
            raise InputError(
                "`annotation` compares with a Markov model of the training genome: give `genome`"
            )
        self._scoring, self._annotation, self._markov = scoring, annotation, scoring.markov
        self._sums, self._sample = FeatureSums(), CodonSample(codons)

    @property
    def notes(self) -> list[str]:
        """What of the annotation was not used, in sentences."""
        return self._annotation.summary()

    def add(self, scored: ScoredPiece) -> None:
        """Add a piece, which overlaps none of those before."""
        (contig, *_), _, start, end = scored.piece
        painted = self._annotation.paint(contig, start, end)
        self._sums.add(contig, start, painted, scored.model, scored.markov)
        self._sample.add(contig, start, painted, encode(self._scoring.genome.letters(contig, start, end)))

    def results(
        self, advance: Callable[[int], None] = lambda _count: None
    ) -> tuple[list[FeatureGain], list[SubstitutionAuroc]]:
        """Return the gains by feature, and the AUROC of substitutions, which are scored first.

        Args:
            advance: called with each number of codons that are done.
        """
        codons, scoring = self._sample.codons, self._scoring
        ratios = codon_ratios(scoring.model, self._markov, scoring.genome, codons, advance)
        return self._sums.gains(), substitution_aurocs(codons, ratios)


def codon_ratios(
    model: "LanguageModel",
    markov: MarkovModel,
    genome: IndexedGenome,
    codons: Sequence[Codon],
    advance: Callable[[int], None] = lambda _count: None,
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the log-likelihood ratios of the substitutions of some codons, in bits, mean of both strands.

    Substituted minus reference: of a window as long as the model reads at once around a codon; by a masked
    model, which gives a window no likelihood, of the base alone, masked.

    Returns:
        `model` and `markov`, [C, 3] each, by class of substitution.
    """
    length = model.block_size + model.causal

    def ratios(some: Sequence[Codon]) -> npt.NDArray[np.float64]:
        """Return the ratios of some codons, [2, codons, 3]."""
        texts, sites = list[str](), list[int]()
        for codon in some:
            start = max(0, min(codon.start - length // 2, genome.lengths[codon.contig] - length))
            text = genome.letters(codon.contig, start, min(start + length, genome.lengths[codon.contig]))
            texts.append(text)
            for offset, new in codon.changes:
                at = codon.start + offset - start
                base = BASES[new] if text[at].isupper() else BASES[new].lower()
                texts.append(text[:at] + base + text[at + 1 :])
                sites.append(at)
        if model.causal:
            sums = [
                [np.nansum(each, dtype=np.float64) for each in pair]
                for pair in strand_bits(model, markov, texts)
            ]
        else:
            sums = [[np.float64(0), np.nansum(each)] for each in markov_bits(markov, texts)]
        bits = np.array(sums).reshape(len(some), 4, 2) / 2
        found: npt.NDArray[np.float64] = np.moveaxis(bits[:, :1] - bits[:, 1:], 2, 0)
        if not model.causal:
            references = [text for text in texts[::4] for _ in range(3)]
            log_p = model.at_masked_bases(references, sites)
            codes = [encode(text)[at] for text, at in zip(references, sites, strict=True)]
            changed = [new for codon in some for _, new in codon.changes]
            rows = np.arange(len(sites))
            found[0] = (log_p[rows, changed] - log_p[rows, codes]).reshape(len(some), 3) / np.log(2)
        return found

    groups = [codons[at : at + CODONS_AT_ONCE] for at in range(0, len(codons), CODONS_AT_ONCE)]
    found, size = [np.zeros((2, 0, 3))], ROUND * process.current().world_size
    for at in range(0, len(groups), size):
        found += process.map_over_ranks(groups[at : at + size], ratios, together=True)
        advance(sum(map(len, groups[at : at + size])))
    both = np.concatenate(found, axis=1)
    return {"model": both[0], "markov": both[1]}
