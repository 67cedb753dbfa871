"""Interpolated two-sided count models: how well the bases on both sides of a base already predict it.

The model of reach k predicts base b from the k bases to its left and the k to its right, as

    p_k(b | k bases on each side) = (c_k(left, b, right) + w * p_{k-1}(b | ...)) / (c_k(left, right) + w)

with c_k the counts in the training bases of (2k+1)-mers, and of all four that differ in the middle alone, w
the weight and p_{-1} = 1/4: the Markov models of `markov.py`, with a context on both sides.

Shapes: N positions of a batch; P pieces; K the largest reach.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.evaluate.baselines.markov import HIGHEST_ORDER, KmerCounts, Ladder, bits_by_order

REACH = HIGHEST_ORDER // 2
"""The largest reach: 13-mers, as those of the highest order of Markov models."""


class Contexts(NamedTuple):
    """Some positions, and the bases around each."""

    bases: npt.NDArray[np.uint8]
    """[N, HIGHEST_ORDER + 1 + REACH], base codes: those to the left, the base, those to its right; what does
    not exist is 0."""
    left: npt.NDArray[np.int64]  # How many exist to the left, [N]; at most `HIGHEST_ORDER` count
    right: npt.NDArray[np.int64]  # How many exist to the right, [N]
    piece: npt.NDArray[np.int64]  # The piece that each is in, [N]


def ladders_at(
    counts: KmerCounts, contexts: Iterable[Contexts], pieces: int, weight: float = 20.0
) -> tuple[Ladder, Ladder]:
    """Score the Markov models and the two-sided models of every order at the same positions.

    A position with fewer bases beside it than a model reads is predicted from fewer.

    Args:
        counts: of the training bases, up to `HIGHEST_ORDER`.
        contexts: the positions, in any number of batches, at least one position in all.
        pieces: P.
        weight: w, above 0.

    Returns:
        The ladder of Markov models, and that of two-sided models: its order is the reach, k.
    """
    markov, two_sided = np.zeros((2, HIGHEST_ORDER + 1, pieces)), np.zeros((2, REACH + 1, pieces))
    scored = 0
    for batch in contexts:
        scored += len(batch.piece)
        kmers = _code(batch.bases[:, : HIGHEST_ORDER + 1]).astype(np.uint32)
        found = bits_by_order(counts.tables, kmers, batch.left, weight)
        reach = np.minimum(batch.left, batch.right)
        around = two_sided_bits(counts, batch.bases[:, HIGHEST_ORDER - REACH :], reach, weight)
        for totals, models in ((markov, found), (two_sided, around)):
            for order, both in enumerate(models):
                for strand, bits in enumerate(both):
                    totals[strand, order] += np.bincount(batch.piece, bits, minlength=pieces)
    return _ladder(counts, markov, scored, weight), _ladder(counts, two_sided, scored, weight)


def two_sided_bits(
    counts: KmerCounts, bases: npt.NDArray[np.uint8], reach: npt.NDArray[np.int64], weight: float
) -> list[npt.NDArray[np.float64]]:
    """Return the bits of each position by the models of reach 0 to K: [2, N] each, by strands counted - 1.

    Args:
        counts: of the training bases, up to order 2 K.
        bases: base codes around each position, [N, 2 K + 1].
        reach: how many of them exist on each side, [N].
        weight: w.
    """
    middle, found = bases.shape[1] // 2, []
    p_one = p_both = np.full(len(bases), 0.25)
    for k in range(middle + 1):
        own = bases[:, middle - k : middle + k + 1].astype(np.int64)
        turned = 3 - own[:, ::-1]  # the reverse complement
        table = counts.tables[2 * k]
        seen, around = _seen(table, own, k)
        seen_turned, around_turned = _seen(table, turned, k)
        known = reach >= k
        p_one = np.where(known, (seen + weight * p_one) / (around + weight), p_one)
        seen, around = seen + seen_turned, around + around_turned
        p_both = np.where(known, (seen + weight * p_both) / (around + weight), p_both)
        found.append(-np.log2([p_one, p_both]))
    return found


def _seen(table: npt.NDArray[np.integer], kmers: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.int64]:
    """Return counts of (2k+1)-mers, [N, 2k + 1] base codes, and of the four of their flanks: [2, N]."""
    code, digit = _code(kmers), 4**k
    flanks = code - kmers[:, k] * digit
    four = table[flanks[:, None] + np.arange(4) * digit].astype(np.int64)  # [N, 4]
    return np.stack([table[code].astype(np.int64), four.sum(axis=1)])


def _code(kmers: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return base codes [N, W] as digits of base 4, the last base lowest, [N]."""
    codes: npt.NDArray[np.int64] = kmers.astype(np.int64) @ (4 ** np.arange(kmers.shape[1])[::-1])
    return codes


def _ladder(counts: KmerCounts, bits: npt.NDArray[np.float64], scored: int, weight: float) -> Ladder:
    """Return the ladder of bits by strands, order and piece, [2, K + 1, P]."""
    one_strand, both_strands = (bits.sum(axis=2) / scored).tolist()
    return Ladder(weight, counts.bases, scored, one_strand, both_strands, bits)
