"""Tests for dnalm/genome/letters.py."""

from pathlib import Path

import numpy as np
import pytest

from dnalm.genome.stream import Letters


class Whole(bytes):
    """Text that must not be gone through letter by letter."""

    def replace(self, *_):
        raise AssertionError


@pytest.mark.parametrize("only_hg38", [True, False])
def test_a_block_of_allowed_letters_is_not_searched(only_hg38):
    letters = Letters(only_hg38)
    left_out = np.frombuffer(b"NN\nn", dtype=np.uint8) | 0x80
    letters.sequence(Whole(b"ACNNG\nnT"), left_out[left_out != ord("\n") | 0x80], Path("g.fa"), "chr1", 0)
    assert letters.n == 3
