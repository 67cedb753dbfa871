"""Tests for dnalm/data/splits.py."""

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnalm.data.splits import blocks_split, published_split
from dnalm.dna import Interval

PARTS = ("train", "validation", "test")


def tiles(count, contig="chr1"):
    return [Interval(contig, i * 300, (i + 1) * 300) for i in range(count)]


def all_of(split):
    return np.concatenate([split.train, split.validation, split.test, split.left_out])


def test_the_published_split_is_pythons_own_shuffle():
    # random.seed(42); x = list(range(10)); random.shuffle(x), as Python's documentation promises to keep
    before, small, split = random.getstate(), published_split(10), published_split(23_139)
    assert (small.validation.tolist(), small.train.tolist()) == ([7, 3], [2, 8, 5, 6, 9, 4, 0, 1])
    assert split.windows == {"train": 18_512, "validation": 4_627, "test": 0, "left_out": 0}  # int(0.2 * N)
    assert sorted(all_of(split)) == list(range(23_139))
    assert random.getstate() == before
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"expected 5 windows or more, .* got {count}"):
            published_split(count)


class TestBlocks:
    @given(
        windows=st.lists(
            st.tuples(st.sampled_from(["chr1", "chr2", "2"]), st.integers(0, 150_000), st.integers(1, 900)),
            min_size=30,
            max_size=150,
        ),
        gap=st.sampled_from([0, 1, 100, 1000]),
        seed=st.integers(0, 3),
        shuffle=st.randoms(use_true_random=False),
    )
    def test_laws(self, windows, gap, seed, shuffle):
        intervals = [Interval(contig, start, start + length) for contig, start, length in windows]
        intervals = list(dict.fromkeys(intervals))
        try:
            split = blocks_split(intervals, seed=seed, gap=gap)
        except ValueError as error:
            assert str(error).startswith("too few windows or too small a region")  # noqa: PT017
            return
        assert sorted(all_of(split).tolist()) == list(range(len(intervals)))  # disjoint, none lost
        parts = [[intervals[i] for i in getattr(split, name)] for name in PARTS]
        assert all(parts)
        for one, other in ((0, 1), (0, 2), (1, 2)):
            for a, b in product(parts[one], parts[other]):
                if a.contig == b.contig:
                    assert max(a.start, b.start) - min(a.end, b.end) >= gap
        mixed = list(intervals)
        shuffle.shuffle(mixed)
        again = blocks_split(mixed, seed=seed, gap=gap)
        for name in (*PARTS, "left_out"):
            assert {mixed[i] for i in getattr(again, name)} == {intervals[i] for i in getattr(split, name)}

    @pytest.mark.parametrize(("gap", "near"), [(0, 0), (1, 1), (300, 1), (301, 2), (600, 2), (1000, 4)])
    def test_stretches_stay_together_and_what_is_too_near_leaves_the_larger_part(self, gap, near):
        # 2,000 tiles of 300 are 600 kb: blocks of 30 kb, 100 tiles; parts change at 19 places at most, and at
        # each `near` tiles lie within the gap.
        split = blocks_split(tiles(2_000), gap=gap)
        part = np.full(2_000, -1)
        for number, name in enumerate(PARTS):
            part[getattr(split, name)] = number
        kept = part[part >= 0]
        changes = int((kept[1:] != kept[:-1]).sum())
        assert 4 <= changes <= 19
        assert len(split.left_out) == near * changes
        # Blocks are whole hundreds of tiles; of 20, train has 14 and the others 3 each.
        assert len(split.train) <= 1400
        assert max(len(split.validation), len(split.test)) == 300  # one of the two gives way to none
        assert min(len(split.validation), len(split.test)) >= 300 - 4 * 3  # and the other to that one alone

    def test_shares_are_near_the_aim_though_blocks_are_unequal(self):
        draws = np.random.default_rng(0)
        starts = np.unique((draws.gamma(0.5, 4e6, 5_000)).astype(int))  # crowded at the left end
        counts = blocks_split([Interval("c", s, s + 300) for s in starts.tolist()]).windows
        for name, share in (("train", 0.70), ("validation", 0.15), ("test", 0.15)):
            assert counts[name] / len(starts) == pytest.approx(share, abs=0.03)  # a block is a 20th or less

    def test_a_seed_is_another_deal_contigs_are_no_neighbours_and_few_windows_are_refused(self):
        deals = {tuple(blocks_split(tiles(2_000), seed=seed).test.tolist()) for seed in range(5)}
        assert len(deals) == 5
        contigs = [*tiles(700, contig="chr1"), *tiles(700, contig="chr2"), *tiles(700, contig="chr3")]
        assert blocks_split(contigs, gap=0).windows["left_out"] == 0  # tiles touch, and do not overlap
        for count in (1, 20):
            with pytest.raises(ValueError, match=f"{count} windows? over {300 * count:,} bases"):
                blocks_split(tiles(count))

    def test_named_contigs_are_the_test_part(self):
        windows = tiles(2_000, "a") + tiles(40, "b") + tiles(1_500, "c")
        split = blocks_split(windows, test_contigs=["b"])
        assert split.test.tolist() == list(range(2_000, 2_040))
        assert set(split.left_out.tolist()).isdisjoint(split.test.tolist())
        assert sorted(all_of(split).tolist()) == list(range(3_540))
        counts = split.windows
        assert counts["validation"] / (counts["validation"] + counts["train"]) == pytest.approx(
            0.18, abs=0.05
        )
        both = blocks_split(windows, test_contigs=["b", "c"], seed=3)
        assert both.test.tolist() == list(range(2_000, 3_540))
        with pytest.raises(ValueError, match="no window on d, e; there are windows on a, b, c"):
            blocks_split(windows, test_contigs=["e", "d", "a"])
        with pytest.raises(ValueError, match="train 0, validation 0, test 3540"):
            blocks_split(windows, test_contigs=["a", "b", "c"])
