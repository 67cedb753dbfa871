"""In-silico mutagenesis: how a model's output changes when each base is changed to each other.

Shapes: L letters of a sequence; W letters of the window that a model reads around a changed base; P bases
that are changed in one go; N different windows of them; 2 strands.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASES, NOT_A_BASE, encode, other_strand
from dnalm.use.binding import BindingModel
from dnalm.use.language import LanguageModel

Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
TOGETHER = 64
"""Bases that are changed in one go (P): bounds the memory, whatever the length."""


class Variants(NamedTuple):
    """Bases of a sequence with the windows in which each is A, C, G and T."""

    texts: list[str]  # [N] of W letters each
    at: npt.NDArray[np.int64]  # [P]: positions in the sequence
    starts: npt.NDArray[np.int64]  # [P]: where the window of each begins
    rows: npt.NDArray[np.int64]  # [P, 4]: index in `texts` of the window with each base
    own: npt.NDArray[np.int64]  # [P]: index in `texts` of the window as it is


def variants(sequence: str, width: int) -> Iterator[Variants]:
    """Yield the windows of every base of a sequence, changed and not; letters that are no base stay.

    A window has `width` letters of the sequence, or all of it, with the base in its middle where it can be.
    A letter is changed in its case.
    """
    codes = encode(sequence).astype(np.int64)
    width = min(width, len(sequence))
    known = np.flatnonzero(codes != NOT_A_BASE)
    for at in np.split(known, range(TOGETHER, len(known), TOGETHER)) if len(known) else ():
        starts = (at - width // 2).clip(0, len(sequence) - width)
        texts: dict[str, int] = {}
        rows = np.empty((len(at), len(BASES)), dtype=np.int64)
        for row, (position, start) in enumerate(zip(at.tolist(), starts.tolist(), strict=True)):
            before, after = sequence[start:position], sequence[position + 1 : start + width]
            bases = BASES if sequence[position].isupper() else BASES.lower()
            rows[row] = [texts.setdefault(before + base + after, len(texts)) for base in bases]
        yield Variants(list(texts), at, starts, rows, rows[np.arange(len(at)), codes[at]])


def track_effects(model: BindingModel, sequence: str) -> Array:
    """Return the change of the sum of the track, [2, L, 4], as the model reads each strand.

    Of a CNN only the bases that the change can reach are computed: the others cancel.
    """
    effects = np.full((2, len(sequence), 4), np.nan, dtype=np.float32)
    for some in variants(sequence, model.context or len(sequence)):
        sums = track_sums(model, some.texts)
        effects[:, some.at] = sums[:, some.rows] - sums[:, some.own, None]
    return effects


def track_sums(model: BindingModel, texts: list[str]) -> Numbers:
    """Return the sum of the predicted track of each of N sequences as read on each strand, [2, N]."""
    strands = (texts, list(map(other_strand, texts)))
    return np.array([[track.sum(dtype=np.float64) for track in model.predict(each)] for each in strands])


def likelihood_effects(model: LanguageModel, sequence: str, *, dependencies: bool) -> tuple[Array, Array]:
    """Return the change of the log-likelihood, [2, L, 4] in nats, as the model reads each strand, and a map.

    The window of a base is the model's block, so that a short sequence is read in full. The map, [L, L], has
    in row i and column j the largest change of the log-odds of a base at j, in nats, over the three changes
    of i and the four bases; what is read from the left decides for j right of i, and what is read from the
    right for j left of it (Tomaz da Silva et al. 2024). NaN on the diagonal and outside of the window.
    Without `dependencies` it is empty.
    """
    length = len(sequence)
    effects = np.full((2, length, 4), np.nan, dtype=np.float32)
    found = np.full((length, length) if dependencies else (0, 0), np.nan, dtype=np.float32)
    for some in variants(sequence, model.block_size + 1):
        log_p = np.stack(model.both_strands(some.texts))  # [N, 2, W, 4]
        sums = log_likelihoods(log_p, some.texts)
        effects[:, some.at] = sums[:, some.rows] - sums[:, some.own, None]
        if dependencies:
            odds = log_odds(log_p)
            for i, start, rows, own in zip(some.at, some.starts, some.rows, some.own, strict=True):
                change = np.abs(odds[rows] - odds[own]).max(axis=(0, 3))  # [2, W]
                at = np.arange(start, start + change.shape[1])
                found[i, at] = np.where(at > i, change[0], np.where(at < i, change[1], np.nan))
    return effects, found


def log_likelihoods(log_p: Array, texts: list[str]) -> Numbers:
    """Return the log-likelihoods, [2, N] in nats, of N texts by log-probabilities, [N, 2, W, 4]."""
    codes = np.stack([encode(text) for text in texts]).astype(np.int64)  # [N, W]
    own = np.take_along_axis(log_p, codes.clip(max=3)[:, None, :, None], axis=3)[..., 0]
    own = np.where((codes == NOT_A_BASE)[:, None], np.nan, own)
    return np.asarray(np.nansum(own, axis=2, dtype=np.float64)).T


def log_odds(log_p: Array) -> Array:
    """Return ln(p / (1 - p)) of log-probabilities [.., 4]."""
    others = np.exp(log_p) @ (1 - np.eye(4, dtype=np.float32))  # no difference of nearly equal numbers
    odds: Array = log_p - np.log(np.maximum(others, np.finfo(np.float32).tiny))
    return odds
