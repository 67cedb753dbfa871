"""Fixtures of the tests of scores."""

import numpy as np
import pytest


@pytest.fixture
def pairs():
    """Label, score, gene and molecule of 900 pairs; scores are in steps of 0.05, so that many are tied."""
    draws = np.random.default_rng(0)
    label = (draws.random(900) < 0.4).astype(np.uint8)
    score = np.round(np.clip(draws.normal(0.4 + 0.2 * label, 0.2), 0, 1) * 20) / 20
    return label, score, draws.integers(0, 40, 900), draws.integers(0, 25, 900)
