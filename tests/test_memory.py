"""Tests for dnalm/memory.py."""

import pytest
import torch

from dnalm.memory import advice, largest_that_fits, ran_out, said


def attempt(most, tried):
    def go(rows):
        tried.append(rows)
        if rows > most:
            raise MemoryError

    return go


@pytest.mark.parametrize(
    ("rows", "most", "path", "found"),
    [(48, 5, [24, 12, 6, 3], 3), (64, 32, [32], 32), (10, 3, [5, 1], 1), (4, 0, [2, 1], 0), (1, 0, [], 0)],
)
def test_halves_are_tried_down_to_one_row(rows, most, path, found):
    tried = []
    assert largest_that_fits(rows, attempt(most, tried)) == found
    assert tried == path


def test_the_advice_is_the_same_training():
    # 64 windows over 2 processes in 2 micro-batches are 16 rows; in 8 they are 4.
    assert "use --accumulate 8 (the same training in less memory), or --batch-size 16" in advice(16, 2, 64, 4)
    assert "a smaller model" in advice(1, 1, 1, 0)
    assert "a higher --accumulate" in advice(16, 2, 64, None)


def test_only_memory_is_said_to_be_short():
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory"))
    assert not ran_out(RuntimeError("shape"))
    with pytest.raises(ValueError, match="memory ran out: too many weights"), said("too many weights"):
        torch.empty(2**60)
    with pytest.raises(RuntimeError, match="shape"), said("too many weights"):
        raise RuntimeError("shape")
