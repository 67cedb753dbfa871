"""Tests for dnalm/genome/motif_scan.py."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnalm.bootstrap import moments, pearson
from dnalm.dna import BASE_CODES, encode
from dnalm.errors import InputError
from dnalm.formats.binding import read_binding
from dnalm.formats.motif import Motif, choose_motif
from dnalm.genome import motif_scan
from dnalm.genome.motif_scan import (
    better_of_close,
    find_sites,
    log_odds,
    paint,
    scan,
    site_scores,
    threshold_for_pvalue,
)

TWO = Motif("two", np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1]]))
"""Likes AC; on the other strand GT."""
HIGH, LOW = math.log(0.7 / 0.25), math.log(0.1 / 0.25)


def random_motif(width, seed=0, background=(0.25, 0.25, 0.25, 0.25)):
    return Motif("random", np.random.default_rng(seed).dirichlet(np.full(4, 0.5), width), None, background)


def by_definition(codes, matrix):
    """Score of each word and strand, one letter at a time."""
    width = len(matrix)
    scores, forward = [], []
    for start in range(len(codes) - width + 1):
        word = codes[start : start + width]
        if (word > 3).any():
            strands = [-math.inf, -math.inf]
        else:
            strands = [
                math.fsum(matrix[i, code] for i, code in enumerate(letters))
                for letters in (word, 3 - word[::-1])
            ]
        scores.append(max(strands))
        forward.append(strands[0] >= strands[1])
    return np.array(scores), np.array(forward, dtype=bool)


def test_log_odds_by_hand():
    motif = Motif("x", np.array([[0.5, 0.499, 0.001, 0.0]]), None, (0.4, 0.1, 0.1, 0.4))
    wanted = [math.log(0.5 / 0.4), math.log(4.99), math.log(0.01), math.log(0.001 / 0.4)]
    np.testing.assert_allclose(log_odds(motif), [wanted], rtol=1e-14)  # a division and a logarithm


def test_scan_by_hand():
    scores, forward = scan(encode("ACNGTT"), log_odds(TWO))
    inf = math.inf
    # AC fits ahead, GT fits back; TT is AA on the other strand: A fits, then A does not. rtol: float32.
    np.testing.assert_allclose(scores, [2 * HIGH, -inf, -inf, 2 * HIGH, HIGH + LOW], rtol=1e-6)
    assert forward[[0, 3, 4]].tolist() == [True, False, False]


@given(st.text("ACGTN", max_size=40), st.integers(1, 13), st.integers(1, 12))
def test_scan_is_its_definition_whatever_the_blocks(text, width, block):
    matrix = log_odds(random_motif(width, seed=width))
    codes = np.array([BASE_CODES[ord(letter)] for letter in text], dtype=np.uint8)
    scores, forward = scan(codes, matrix)
    before, motif_scan.BLOCK = motif_scan.BLOCK, block
    try:
        sites = find_sites(codes, matrix, -99.0, every_site=True)
    finally:
        motif_scan.BLOCK = before
    at = np.flatnonzero(np.isfinite(scores))
    assert (sites.starts.tolist(), sites.forward.tolist()) == (at.tolist(), forward[at].tolist())
    wanted, strand = by_definition(codes, matrix)
    np.testing.assert_allclose(scores, wanted, rtol=1e-6, atol=1e-5)  # float32, and sums near 0
    clear = np.abs(wanted) < math.inf
    assert scores.dtype == np.float32
    assert (forward == strand)[clear].all()


def test_a_site_at_the_threshold_is_a_site():
    sites = find_sites(encode("TTACTT"), log_odds(TWO), round(2 * HIGH, 6))
    assert sites.starts.tolist() == [2]
    assert len(find_sites(encode("TTACTT"), log_odds(TWO), 2 * HIGH + 1e-4).starts) == 0
    assert len(find_sites(encode("A"), log_odds(TWO), 1.0).starts) == 0  # shorter than the motif


def test_of_close_sites_the_better_one_is_kept():
    def kept(starts, scores):
        return better_of_close(np.array(starts), np.array(scores, dtype=np.float32), 10).tolist()

    assert kept([0, 5], [2, 1]) == [0]
    assert kept([0, 5], [1, 2]) == [1]
    assert kept([0, 5], [1, 1]) == [1]  # of equals, the later
    assert kept([0, 6], [1, 2]) == [0, 1]  # more than half a width apart
    assert kept([0, 4, 8, 12], [1, 1, 1, 1]) == [3]  # a stretch of repeats keeps one
    assert kept([0, 4, 8, 12], [1, 3, 2, 2]) == [1, 3]
    assert kept([], []) == []


def test_each_base_gets_the_score_of_its_site():
    matrix = log_odds(TWO)
    np.testing.assert_allclose(  # rtol: float32
        site_scores(encode("TTACTTGT"), matrix, 1.0), np.array([0, 0, 1, 1, 0, 0, 1, 1]) * 2 * HIGH, rtol=1e-6
    )
    # ACGT: AC and GT are sites, CG between them is none; at threshold 2 nats nothing else is.
    np.testing.assert_allclose(site_scores(encode("ACGT"), matrix, 2.0), [2 * HIGH] * 4, rtol=1e-6)


def test_where_sites_overlap_the_higher_score_counts():
    sites = motif_scan.Sites(
        np.array([2, 5, 7]), np.array([3, 1, 2], dtype=np.float32), np.ones(3, dtype=bool)
    )
    wanted = [0, 0, 3, 3, 3, 3, 1, 2, 2, 2, 2, 0]
    np.testing.assert_array_equal(paint(sites, 4, 0, 12), wanted)
    for start, end in itertools.combinations(range(13), 2):  # any piece is a piece of the whole
        np.testing.assert_array_equal(paint(sites, 4, start, end), wanted[start:end])


@pytest.mark.parametrize("every_site", [False, True])
def test_windows_do_not_see_each_other(every_site):
    windows = np.random.default_rng(2).integers(0, 5, (40, 30), dtype=np.uint8)
    matrix = log_odds(random_motif(4))
    together = site_scores(windows, matrix, 1.0, every_site=every_site)
    alone = np.stack([site_scores(window, matrix, 1.0, every_site=every_site) for window in windows])
    np.testing.assert_array_equal(together, alone)
    assert (together > 0).any()


def test_every_site_scores_what_close_ones_would_hide():
    codes = np.random.default_rng(3).integers(0, 4, 3_000, dtype=np.uint8)
    matrix = log_odds(random_motif(6, seed=3))
    scores, _ = scan(codes, matrix)
    every = site_scores(codes, matrix, 1.0, every_site=True)
    for start in np.flatnonzero(scores >= 1):
        assert (every[start : start + 6] >= scores[start]).all()
    assert (site_scores(codes, matrix, 1.0) <= every).all()


@pytest.mark.parametrize("background", [(0.25, 0.25, 0.25, 0.25), (0.3, 0.2, 0.2, 0.3)])
@pytest.mark.parametrize("pvalue", [1.0, 0.1, 0.01, 0.003])
def test_threshold_for_a_pvalue_against_all_words(background, pvalue):
    motif = random_motif(5, seed=4, background=background)
    matrix = log_odds(motif)
    words = np.array(list(itertools.product(range(4), repeat=5)))
    scores = matrix[np.arange(5), words].sum(axis=1)
    chances = np.array(background)[words].prod(axis=1)
    threshold = threshold_for_pvalue(motif, pvalue)
    assert chances[scores >= threshold].sum() <= pvalue * (1 + 1e-9)  # conservative, but for sums' rounding
    # And the least such score, but for rounding up by at most a step a letter.
    looser = chances[scores >= threshold - 6 * motif_scan.STEP].sum()
    assert looser > pvalue or pvalue == 1.0


@pytest.mark.parametrize("pvalue", [0.0, -0.1, 1.1, math.nan, 0.06])  # the best word's is 0.0625
def test_refuses_what_is_no_probability_and_what_is_too_rare(pvalue):
    with pytest.raises(InputError, match=f"{pvalue:g}"):
        threshold_for_pvalue(TWO, pvalue)


def test_gives_the_published_scores(shared_data):
    folder = shared_data / "binding"
    published = read_binding(folder / "chr22_sequences.txt.gz", folder / "chr22_scores.txt.gz")
    motif = choose_motif(shared_data / "motifs" / "foxa1.homer.motif")
    ours = site_scores(BASE_CODES[published.letters], log_odds(motif), motif.threshold)
    # Over all bases; sites that the right edge cuts cannot be seen, and alone bring R down to 0.9919.
    assert 0.986 < pearson(moments(published.scores, ours).sum(0)) < 0.9919
    # All the same where the published score has a site cut by the right edge: 0.9944 measured.
    cut = np.minimum.accumulate((published.scores == published.scores[:, -1:])[:, ::-1], axis=1)[:, ::-1]
    cut &= (published.scores > 0) & (cut.sum(axis=1, keepdims=True) < motif.width)
    assert cut.any(axis=1).sum() == 818  # as the description of the set says
    assert pearson(moments(published.scores, np.where(cut, published.scores, ours)).sum(0)) > 0.994
    # Where both have the same site, scores differ by the published matrix's further decimals alone.
    both = np.abs(published.scores - ours)[(published.scores > 0) & (ours > 0)]
    assert np.quantile(both, 0.98) < 0.005
