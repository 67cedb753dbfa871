"""Tests for docs/make/scale.py: the arithmetic behind docs/scale.md."""

import pytest

from docs.make.scale import CONTEXTS, HUMAN, MEMORY, MICRO, OPTIMAL, SIZES, Size


def test_a_size_by_hand():
    size = Size(512)  # 8 layers of 12 x 512^2
    assert (size.layers, size.parameters) == (8, 25_165_824)
    assert size.work(1024) == 6 * 25_165_824 + 6 * 8 * 1024 * 512
    assert size.training == 16 * 25_165_824
    assert size.activations(100) == 34 * 512 * 8 * 100
    # 989.4e12 x 0.4 x 86,400 FLOP a day and device
    assert size.days(3.4193664e19 / size.work(1024), 1024) == pytest.approx(1.0)
    assert size.days(1e9, 1024, 8) == pytest.approx(size.days(1e9, 1024) / 8)


def test_the_words_below_the_tables_of_scale_are_true():
    for size in map(Size.of, SIZES):
        assert size.work(CONTEXTS[-1]) > 2 * 6 * size.parameters  # attention is most of it
        assert size.work(300) < 1.25 * 6 * size.parameters  # and little
    *smaller, large = map(Size.of, SIZES)
    assert all(size.training < size.activations(MICRO) for size in smaller)
    assert smaller[-1].training < MEMORY["H100"] < MEMORY["H200"] < large.training
    assert [OPTIMAL * size.parameters // HUMAN for size in (*smaller, large)] == [0, 0, 6, 65]
