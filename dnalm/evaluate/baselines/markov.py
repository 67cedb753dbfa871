"""Interpolated Markov models: how well the bases before a base already predict it.

The model of order k predicts base b from its context, the k bases to its left, as

    p_k(b | context) = (c_k(context, b) + w * p_{k-1}(b | shorter context)) / (c_k(context) + w)

with c_k the counts in the training bases, w the weight and p_{-1} = 1/4 (interpolation: Jelinek and Mercer
1980; with a fixed w it is smoothing by a Dirichlet prior: MacKay and Peto 1995).

Shapes used below
    N  positions of a batch          K  the highest order
    a k-mer's code is its bases as digits of base 4, the last base lowest: the shorter k-mer that ends at the
    same base is its low digits, and its context is the code without the lowest digit
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError

HIGHEST_ORDER = 12
"""Order 12 counts 13-mers: 4^13 cells of 4 bytes, 268 MB."""
BATCH = 1 << 18
"""Positions computed at a time; a batch holds fewer than twice as many."""


class KmerCounts(NamedTuple):
    """Counts of all k-mers up to a length in some stretches of bases."""

    tables: list[npt.NDArray[np.integer[Any]]]  # Of order k: the counts of (k+1)-mers, [4^(k+1)]
    bases: int  # How many were counted


@dataclass(frozen=True)
class Ladder:
    """Bits per base of the models of order 0, 1, 2 ... on the same validation bases."""

    weight: float  # w: the shorter context's prediction counts as so many observations
    train_bases: int  # counted
    validation_bases: int  # scored: those after the context of each piece
    one_strand: list[float]  # bits per base of each order, of counts of the training bases
    both_strands: list[float]  # the same, of counts of the training bases and their reverse complement
    pieces: npt.NDArray[np.float64] = field(repr=False, compare=False)
    """[2, K + 1, P]: bits spent on each validation piece, by strands counted - 1 and order."""

    @property
    def best(self) -> tuple[int, int, float]:
        """Order, strands counted (1 or 2) and bits per base of the best model, of equals the simplest."""
        models = [
            (bits, order, strands)
            for strands, ladder in ((1, self.one_strand), (2, self.both_strands))
            for order, bits in enumerate(ladder)
        ]
        bits, order, strands = min(models)
        return order, strands, bits

    def as_dict(self) -> dict[str, Any]:
        """Return the ladder as it stands in run.json."""
        order, strands, bits = self.best
        names = ("weight", "train_bases", "validation_bases", "one_strand", "both_strands")
        best = {"order": order, "strands": strands, "bits": bits}
        return {name: getattr(self, name) for name in names} | {"best": best}


def ladder(
    train: Iterable[npt.NDArray[np.uint8]] | KmerCounts,
    validation: Iterable[npt.NDArray[np.uint8]],
    *,
    context: npt.NDArray[np.int64] | None = None,
    max_order: int = HIGHEST_ORDER,
    weight: float = 20.0,
) -> Ladder:
    """Count `train` once and score `validation` once with the models of order 0 to `max_order`.

    Both may be generators and may give memory maps; a stretch may have any length. No context crosses the
    end of a stretch or piece. The first bases of each validation piece are context only, and a base with
    fewer than k to its left is predicted from fewer. Memory: 4^(K+1) * 7 bytes (450 MB at order 12),
    whatever the genome.

    Args:
        train: base codes 0 to 3 of unbroken stretches, uint8, each [length]; or their counts, whose
            highest order takes the place of `max_order`.
        validation: base codes of the pieces to score, uint8, each [length].
        context: how many bases of each piece are context only, [P], above 0; the first one if None.
        max_order: K.
        weight: w, above 0.

    Raises:
        InputError: if an argument is out of range, a code is not 0 to 3, or there is no base to score.
    """
    if not 0 <= max_order <= HIGHEST_ORDER:
        raise InputError(f"max_order must be 0 to {HIGHEST_ORDER}, got {max_order}")
    counts = train if isinstance(train, KmerCounts) else count_kmers(train, max_order)
    tables, train_bases = counts
    max_order = len(tables) - 1
    parts: list[tuple[int, npt.NDArray[np.float64]]] = []  # first piece, bits of the pieces from there on
    scored = seen = 0
    for codes, left in _batches(validation, max_order):
        piece = seen + np.cumsum(left == 0) - 1  # a piece begins where nothing lies to the left
        first, seen = int(piece[0]), int(piece[-1]) + 1
        target = left >= (1 if context is None else context[piece])
        piece = piece[target] - first
        parts.append((first, _bits(tables, codes[target], left[target], weight, piece, seen - first)))
        scored += int(target.sum())
    if scored == 0:
        raise InputError("validation must hold a piece of 2 bases or more, got none; hold out a larger part")
    bits = np.zeros((2, max_order + 1, seen))
    for first, part in parts:
        bits[:, :, first : first + part.shape[2]] += part
    one_strand, both_strands = (bits.sum(axis=2) / scored).tolist()
    return Ladder(float(weight), train_bases, scored, one_strand, both_strands, bits)


class MarkovModel:
    """One interpolated Markov model, ready to score sequences.

    Args:
        stretches: base codes 0 to 3 of the unbroken stretches that it counts, uint8, each [length].
        order: K.
        both_strands: whether the reverse complement is counted too.
        weight: w, above 0.
    """

    def __init__(
        self,
        stretches: Iterable[npt.NDArray[np.uint8]],
        order: int,
        *,
        both_strands: bool = True,
        weight: float = 20.0,
    ) -> None:
        self.order, self.both_strands, self._weight = order, both_strands, weight
        self._tables, self.bases = count_kmers(stretches, order)
        """Counts of each order, and the number of bases that were counted."""

    def bits(self, pieces: Sequence[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.float64]]:
        """Return the bits of each base of some pieces, [length] each, given the bases to its left.

        `pieces` are base codes; what is no base, `NOT_A_BASE`, has NaN, and no context reaches over it. A
        base with fewer than K to its left is predicted from fewer, the first one from none.
        """
        found = [np.full(len(piece), np.nan) for piece in pieces]
        runs = [
            (row, first, last)
            for row, piece in enumerate(pieces)
            for first, last in _runs_of_bases(piece).tolist()
        ]
        stretches = (pieces[row][first:last] for row, first, last in runs)
        scored = [
            list(bits_by_order(self._tables, codes, left, self._weight))[-1][int(self.both_strands)]
            for codes, left in _batches(stretches, self.order)
        ]
        at, joined = 0, np.concatenate([*scored, np.zeros(0)])
        for row, first, last in runs:
            found[row][first:last] = joined[at : at + last - first]
            at += last - first
        return found


def _runs_of_bases(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return start and end of each unbroken run of bases, [.., 2]."""
    is_base = np.concatenate([[False], codes < 4, [False]])
    return np.flatnonzero(is_base[1:] != is_base[:-1]).reshape(-1, 2)


def count_kmers(stretches: Iterable[npt.NDArray[np.uint8]], max_order: int) -> KmerCounts:
    """Count the (k+1)-mers of each order k from 0 to `max_order` in base codes, uint8 [length] each."""
    tables: list[npt.NDArray[np.integer[Any]]] = [
        np.zeros(4 ** (order + 1), dtype=np.int64) for order in range(max_order)
    ]
    top = np.zeros(4 ** (max_order + 1), dtype=np.uint32)  # 4 billion of one 13-mer occur in no genome
    total = 0
    for codes, left in _batches(stretches, max_order):
        total += len(codes)
        early = left < max_order  # near a stretch's start, where only shorter k-mers end
        if early.any():
            for order in range(max_order):
                np.add.at(tables[order], codes[left == order], 1)
            codes = codes[~early]
        np.add.at(top, codes, np.uint32(1))
    tables.append(top)
    for order in reversed(range(max_order)):  # every other k-mer ends a (k+1)-mer: sum over its first base
        for part in tables[order + 1].reshape(4, -1):
            tables[order] += part
    return KmerCounts(tables, total)


def _bits(
    tables: list[npt.NDArray[np.integer[Any]]],
    codes: npt.NDArray[np.uint32],
    left: npt.NDArray[np.int64],
    weight: float,
    piece: npt.NDArray[np.int64],
    pieces: int,
) -> npt.NDArray[np.float64]:
    """Return the bits of each piece, [2, K+1, P]: one strand and both strands counted, each order.

    Of each position, [N], `codes` is the code of the (K+1)-mer that ends there, `left` the number of bases to
    its left, `piece` the number of its piece.
    """
    bits = np.zeros((2, len(tables), pieces))
    for order, both in enumerate(bits_by_order(tables, codes, left, weight)):
        for strand, each in enumerate(both):
            bits[strand, order] = np.bincount(piece, each, minlength=pieces)
    return bits


def bits_by_order(
    tables: list[npt.NDArray[np.integer[Any]]],
    codes: npt.NDArray[np.uint32],
    left: npt.NDArray[np.int64],
    weight: float,
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield of each order the bits of each position, [2, N]; arguments as of `_bits`."""
    p_one = p_both = np.full(len(codes), 0.25)
    turned = _reverse_complement(codes)
    for order, table in enumerate(tables):
        kmer = codes & np.uint32(4 ** (order + 1) - 1)
        seen = table[kmer].astype(np.int64)
        context = table.reshape(-1, 4)[kmer >> np.uint32(2)].sum(axis=1, dtype=np.int64)
        # On the other strand the context lies to the right, and the base's complement is the first digit.
        turned_kmer = turned >> np.uint32(30 - 2 * order)
        seen_both = seen + table[turned_kmer]
        flank = turned_kmer & np.uint32(4**order - 1)
        context_both = context + table.reshape(4, -1)[:, flank].sum(axis=0, dtype=np.int64)
        known = left >= order
        p_one = np.where(known, (seen + weight * p_one) / (context + weight), p_one)
        p_both = np.where(known, (seen_both + weight * p_both) / (context_both + weight), p_both)
        yield -np.log2([p_one, p_both])


def _batches(
    pieces: Iterable[npt.NDArray[np.uint8]], max_order: int
) -> Iterator[tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]]:
    """Yield every position of the pieces once, many at a time.

    Yields:
        The code of the (K+1)-mer that ends at each position, [N], its digits before the piece's start 0; and
        how many bases of its piece lie to the left of each position, [N].
    """
    runs: list[tuple[npt.NDArray[np.uint8], int, int]] = []
    size = 0
    for piece in pieces:
        for start in range(0, len(piece), BATCH):
            context = min(start, max_order)
            runs.append((np.asarray(piece[start - context : start + BATCH]), start - context, context))
            size += len(runs[-1][0])
            if size >= BATCH:
                yield _pack(runs, max_order)
                runs, size = [], 0
    if runs:
        yield _pack(runs, max_order)


def _pack(
    runs: list[tuple[npt.NDArray[np.uint8], int, int]], max_order: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Make one batch of runs: (bases, where the first lies in its piece, how many are context only)."""
    bases = np.concatenate([run[0] for run in runs])
    if bases.max() > 3:
        raise InputError(f"base codes must be 0 to 3 (A C G T), got {bases.max()}; split at what is no base")
    left = np.concatenate([np.arange(start, start + len(run)) for run, start, _ in runs])
    new = np.concatenate([np.arange(len(run)) >= context for run, _, context in runs])
    codes = _codes(bases, max_order + 1)
    short = left < max_order  # their codes hold bases of the run before: keep left + 1 digits
    codes[short] &= (4 ** (left[short] + 1) - 1).astype(np.uint32)
    return codes[new], left[new]


def _codes(bases: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint32]:
    """Return the code of the `width`-mer that ends at each base, [N]; doubles the width as long as it can."""
    codes = bases.astype(np.uint32)
    have = 1
    while have < width:
        more = min(have, width - have)
        codes[have:] |= (codes[:-have] & np.uint32(4**more - 1)) << np.uint32(2 * have)
        have += more
    return codes


def _reverse_complement(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return the reverse complement of 16-mers, [N]: of a shorter k-mer, its high digits."""
    x = ~codes
    x = ((x >> np.uint32(2)) & np.uint32(0x33333333)) | ((x & np.uint32(0x33333333)) << np.uint32(2))
    x = ((x >> np.uint32(4)) & np.uint32(0x0F0F0F0F)) | ((x & np.uint32(0x0F0F0F0F)) << np.uint32(4))
    return x.byteswap()
