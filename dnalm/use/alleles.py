"""Windows with either allele of a variant, and the likelihood ratio of a Markov model between them.

Both windows share what lies left of the part that differs and what lies right of it, as far as both have it.

Shapes: n alleles; W letters of a window of the reference, X of one with the alternative allele.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.dna import encode, other_strand
from dnalm.evaluate.baselines.markov import MarkovModel
from dnalm.use.variants import Allele, Floats


class Pair(NamedTuple):
    """One strand of a window, with either allele; the part that differs is `core` long, or 0."""

    ref: str  # [W]
    alt: str  # [X]
    at: int  # Where they begin to differ
    ref_core: int
    alt_core: int

    @property
    def shared(self) -> int:
        """Letters after the core that both have."""
        return max(0, min(len(self.ref) - self.at - self.ref_core, len(self.alt) - self.at - self.alt_core))


def pair_of(allele: Allele, longest: int, *, turned: bool = False) -> Pair:
    """Return both windows of an allele; the longer is cut at its end to `longest`; `turned`: other strand."""
    ref, alt, at = allele.ref, allele.alt, allele.at
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        ref, alt, at = ref[1:], alt[1:], at + 1
    letters, end = allele.letters, at + len(ref)
    # A vocabulary with soft-masking reads the new letters as masked as their neighbour.
    alt = alt.lower() if letters[allele.at].islower() else alt
    other = letters[:at] + alt + letters[end:]
    if turned:
        letters, other, at = other_strand(letters), other_strand(other), len(letters) - end
    return Pair(letters, other[:longest], at, len(ref), len(alt))


def markov_ratios(model: MarkovModel, alleles: Sequence[Allele]) -> Floats:
    """Return the LLR of a Markov model, [n], in nats, mean of both strands.

    Only the bases up to its order after the core have another context, and only those before it are context.
    """
    pieces: list[npt.NDArray[np.uint8]] = []
    pairs = [
        pair_of(each, len(each.letters) + len(each.alt), turned=turned)
        for each in alleles
        for turned in (False, True)
    ]
    for pair in pairs:
        for text, core in ((pair.ref, pair.ref_core), (pair.alt, pair.alt_core)):
            pieces.append(encode(text[max(0, pair.at - model.order) : pair.at + core + model.order]))
    bits = model.bits(pieces)
    ratios = np.empty(len(pairs))
    for row, (pair, ref, alt) in enumerate(zip(pairs, bits[::2], bits[1::2], strict=True)):
        first = min(pair.at, model.order)
        keep_core = pair.ref_core == pair.alt_core
        sums = [
            each[first if keep_core else first + core :].sum()
            for each, core in ((ref, pair.ref_core), (alt, pair.alt_core))
        ]
        ratios[row] = (sums[0] - sums[1]) * np.log(2)
    means: Floats = ratios.reshape(-1, 2).mean(axis=1)
    return means
