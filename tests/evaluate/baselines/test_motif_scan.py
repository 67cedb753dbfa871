"""Tests for dnalm/evaluate/baselines/motif_scan.py."""

import numpy as np
import pytest

from dnalm.dna import BASE_CODES
from dnalm.evaluate.baselines.motif_scan import MotifScan
from dnalm.formats.motif import Motif
from dnalm.genome.motif_scan import log_odds, site_scores

MOTIF = Motif("x", np.array([[0.97, 0.01, 0.01, 0.01]] * 3 + [[0.01, 0.97, 0.01, 0.01]] * 2))
"""AAACC, and GGTTT on the other strand."""


def letters(*windows):
    return np.stack([np.frombuffer(window.encode(), dtype=np.uint8) for window in windows])


def test_a_perfect_scan_of_what_it_can_see():
    genome = letters("TTTAAACCTTGGTTTAAA")[0]
    matrix = log_odds(MOTIF)
    truth = site_scores(BASE_CODES[genome], matrix, 5.0)
    windows = np.stack([genome[:9], genome[9:]])
    predicted = MotifScan(MOTIF, 5.0).predict(windows)
    np.testing.assert_array_equal(predicted.reshape(-1), truth)
    cut = MotifScan(MOTIF, 5.0).predict(np.stack([genome[:6], genome[6:12]]))  # a site across the edge
    assert truth[3:8].all()
    assert not cut.any()


def test_n_is_in_no_site():
    assert not MotifScan(MOTIF, 5.0).predict(letters("AAANC", "NNNNN")).any()


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_refuses_a_threshold_that_is_not_above_0(threshold):
    with pytest.raises(ValueError, match="`threshold` must be above 0"):
        MotifScan(MOTIF, threshold)
