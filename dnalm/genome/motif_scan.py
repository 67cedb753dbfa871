"""Scanning for a motif: log-odds on both strands, sites above a threshold, and a score at each base.

Scores are sums of ln(probability / background), in nats, as HOMER has them. Base codes above 3 match nothing.

Shapes used below
    N  windows                       L  bases
    W  width of the motif            S  starts of a word of W bases, L - W + 1
    K  sites
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError
from dnalm.formats.motif import Motif

Codes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

FLOOR = 0.001
"""Least probability: one below it, such as 0, counts as this; HOMER writes matrices with the same floor."""
TOLERANCE = 3e-6
"""Nats by which a site may miss the threshold: files give six decimals, and scores are float32."""
STEP = 1e-3  # nats between two scores of the grid on which p-values are computed
WORD = 5
"""Bases whose scores are looked up at once: a table of 5^5 numbers stays in the nearest cache."""
LETTERS = 5  # A C G T, and one for all that is no base
BLOCK = 1 << 20  # starts scored at a time


class Sites(NamedTuple):
    """Words that score at least a threshold, in the order of their starts."""

    starts: npt.NDArray[np.int64]  # [K]: 0-based; a site covers W bases from here, on either strand
    scores: Scores  # [K]: of the better strand
    forward: Flags  # [K]: whether that is the forward strand (if both are alike, too)


def log_odds(motif: Motif) -> Numbers:
    """Return ln(probability / background), [W, 4]; a probability below `FLOOR` counts as `FLOOR`."""
    matrix: Numbers = np.log(np.maximum(motif.probabilities, FLOOR) / np.array(motif.background))
    return matrix


def scan(codes: Codes, matrix: Numbers) -> tuple[Scores, Flags]:
    """Score every word of W bases of base codes, [L], on both strands of log-odds, [W, 4].

    Returns:
        The better strand's score, [S], minus infinity where the word holds what is no base; and whether that
        is the forward strand, [S]. Both are empty where L is less than W.
    """
    width = len(matrix)
    starts, parts = max(0, len(codes) - width + 1), -(-width // WORD)
    letters = np.zeros(starts + parts * WORD, dtype=np.uint16)
    letters[: len(codes)] = np.minimum(codes, LETTERS - 1)
    words = letters[: len(letters) - WORD + 1]
    for offset in range(1, WORD):
        words = words * np.uint16(LETTERS) + letters[offset : offset + len(words)]
    strands = []
    for strand in (matrix, matrix[::-1, ::-1]):  # complement of c is 3 - c
        total = np.zeros(starts)
        for part, table in enumerate(_tables(strand)):
            total += table[words[part * WORD : part * WORD + starts]]
        strands.append(total)
    plus, minus = strands
    return np.maximum(plus, minus).astype(np.float32), plus >= minus


def _tables(matrix: Numbers) -> list[Numbers]:
    """Return the score of every word of `WORD` letters at each part of the motif, [5^5] each.

    The last part is filled up with positions at which any letter scores 0.
    """
    full = np.zeros((-(-len(matrix) // WORD) * WORD, LETTERS))
    full[: len(matrix), :4] = matrix
    full[: len(matrix), 4] = -np.inf
    tables = []
    for part in full.reshape(-1, WORD, LETTERS):
        table = np.zeros(1)
        for row in part:
            table = (table[:, None] + row).reshape(-1)
        tables.append(table)
    return tables


def find_sites(codes: Codes, matrix: Numbers, threshold: float, *, every_site: bool = False) -> Sites:
    """Return the sites of a contig, [L], that score at least a threshold in nats, in bounded memory.

    `every_site` keeps the sites that `better_of_close` would drop, too.
    """
    blocks: list[tuple[Any, ...]] = []
    for begin in range(0, max(1, len(codes) - len(matrix) + 1), BLOCK):
        scores, forward = scan(codes[begin : begin + BLOCK + len(matrix) - 1], matrix)
        at = np.flatnonzero(scores >= np.float32(threshold - TOLERANCE))
        blocks.append((at + begin, scores[at], forward[at]))
    sites = Sites(*(np.concatenate(column) for column in zip(*blocks, strict=True)))
    if every_site:
        return sites
    kept = better_of_close(sites.starts, sites.scores, len(matrix))
    return Sites(sites.starts[kept], sites.scores[kept], sites.forward[kept])


def better_of_close(starts: npt.NDArray[np.int64], scores: Scores, width: int) -> npt.NDArray[np.int64]:
    """Return which sites to keep, [K]: the better one of any that begin within half a width of each other.

    From left to right, a site that begins at most width // 2 bases after the current one replaces it if it
    scores at least as high, and is dropped if not; a site that begins further on is current next. So a
    stretch of repeats such as AAATAAATAAATAAA, where one word in four is a site, keeps one.
    """
    kept, current = [], 0
    at, values = starts.tolist(), scores.tolist()
    for site in range(1, len(at)):
        if at[site] - at[current] > width // 2:
            kept.append(current)
            current = site
        elif values[site] >= values[current]:
            current = site
    return np.array([*kept, current] if at else [], dtype=np.int64)


def site_scores(codes: Codes, matrix: Numbers, threshold: float, *, every_site: bool = False) -> Scores:
    """Return a score at each base: that of the site the base is in, the highest of several, and 0 elsewhere.

    This is the rule that comes nearest to the published FOXA1 labels of chr22. Of the 23,139 windows, 818 end
    inside a site that is scored there and cannot be seen from inside the window, and 219 of our sites have no
    published score.

    Arguments are those of `find_sites`, with base codes of a contig, [L], or of windows, [N, L].
    """
    assert threshold > 0  # 0 stands for "in no site"
    gap = np.full((*codes.shape[:-1], len(matrix)), LETTERS - 1, dtype=np.uint8)
    joined = np.concatenate([gap, codes], axis=-1)  # no word spans two windows
    sites = find_sites(joined.reshape(-1), matrix, threshold, every_site=every_site)
    scores = paint(sites, len(matrix), 0, joined.size).reshape(joined.shape)
    return np.ascontiguousarray(scores[..., len(matrix) :])


def paint(sites: Sites, width: int, start: int, end: int) -> Scores:
    """Return the scores of the bases from `start` to before `end`, [end - start]; 0 outside all sites."""
    first, last = np.searchsorted(sites.starts, [start - width + 1, end])
    margin = width - 1  # for what the edges cut
    painted = np.zeros(end - start + 2 * margin, dtype=np.float32)
    at, scores = sites.starts[first:last] - start + margin, sites.scores[first:last]
    for offset in range(width):  # starts are distinct: no base is met twice for one offset
        painted[at + offset] = np.maximum(painted[at + offset], scores)
    return painted[margin : margin + end - start]


def site_threshold(motif: Motif, *, threshold: float | None, pvalue: float | None) -> float:
    """Return the least score of a site, in nats: as given, of a p-value, or else of the motif's file.

    Raises:
        InputError: if both are given, or no threshold is known, or no word can reach it.
    """
    if threshold is not None and pvalue is not None:
        raise InputError("`threshold` and `pvalue` both define a site: choose one")
    best = best_score(motif)
    least = motif.threshold if threshold is None else threshold
    if pvalue is not None:
        least = threshold_for_pvalue(motif, pvalue)
    if least is None or not 0 < least <= best + TOLERANCE:
        got = "none in its file" if least is None else f"{least:g}"
        raise InputError(
            f"motif {motif.name}: expected a threshold above 0 and at most {best:.6f}, the best word's score "
            f"in nats, got {got}; set `threshold`, or `pvalue`, for example 0.0001"
        )
    return least


def threshold_for_pvalue(motif: Motif, pvalue: float) -> float:
    """Return the least score that a word of W bases of the background reaches with at most this probability.

    The probability is that of one strand of one start. It is computed exactly for scores on a grid of `STEP`
    nats (Staden 1989), each letter's score rounded up to it, so that the true probability is never more.
    """
    grid = np.ceil(log_odds(motif) / STEP - 1e-9).astype(np.int64)  # 1e-9: division is not exact
    lowest = grid.min(axis=1)
    chance = np.ones(1)  # by steps above the least score so far
    for row, low in zip(grid, lowest, strict=True):
        longer = np.zeros(len(chance) + int(row.max() - low))
        for step, share in zip(row - low, motif.background, strict=True):
            longer[step : step + len(chance)] += share * chance
        chance = longer
    tail = chance[::-1].cumsum()[::-1]  # of scoring this much or more
    rare = np.flatnonzero(tail <= pvalue * (1 + 1e-9))  # 1e-9: the sum's rounding
    if not len(rare) or not 0 < pvalue <= 1:
        raise InputError(
            f"motif {motif.name}: expected a p-value of {tail[-1]:.2g}, the probability of its best word, or "
            f"more, and at most 1, got {pvalue:g}"
        )
    return min(float((rare[0] + lowest.sum()) * STEP), best_score(motif))


def best_score(motif: Motif) -> float:
    """Return the score of the word that fits best, in nats."""
    return math.fsum(log_odds(motif).max(axis=1))
