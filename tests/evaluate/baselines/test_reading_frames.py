"""Tests for dnalm/evaluate/baselines/reading_frames.py, against plain loops over codons."""

import numpy as np
import pytest

from dnalm.evaluate.baselines.reading_frames import longest_frames, open_reading_frames

STOPS = ("TAA", "TAG", "TGA")


def ascii_of(text):
    return np.frombuffer(text.encode(), dtype=np.uint8)


def slow_frames(text):
    """The longest stop-free frame at each base."""
    longest = np.zeros(len(text))
    for frame in range(3):
        codons = [text[at : at + 3] for at in range(frame, len(text) - 2, 3)]
        runs, begin = [], 0
        for at, codon in enumerate([*codons, STOPS[0]]):
            if codon in STOPS:
                runs += [at - begin] * (at + 1 - begin)
                begin = at + 1
        for base in range(len(text)):
            codon = min(max((base - frame) // 3, 0), len(codons) - 1)
            longest[base] = max(longest[base], runs[codon])
    return longest


def slow_orfs(text, least):
    """The bases of open reading frames."""
    inside = np.zeros(len(text), dtype=bool)
    for frame in range(3):
        start = None
        for at in range(frame, len(text) - 2, 3):
            codon = text[at : at + 3]
            if codon == "ATG" and start is None:
                start = at
            if codon in STOPS:
                if start is not None and at + 3 - start >= least:
                    inside[start : at + 3] = True
                start = None
    return inside


@pytest.mark.parametrize("letters", ["ACGT", "ATG", "ACGTN", "C"])
def test_frames_equal_plain_loops(letters):
    draws = np.random.default_rng(len(letters))
    texts = ["".join(draws.choice(list(letters), 50 + extra)) for extra in range(3) for _ in range(20)]
    for text in texts:
        np.testing.assert_array_equal(longest_frames(ascii_of(text)[None])[0], slow_frames(text))
        np.testing.assert_array_equal(open_reading_frames(ascii_of(text), 12), slow_orfs(text, 12))
    same = [text for text in texts if len(text) == 50]
    together = longest_frames(np.stack([ascii_of(text) for text in same]))
    np.testing.assert_array_equal(together, [slow_frames(text) for text in same])


def test_by_hand():
    # Frame 0: a stop, and three codons. Frame 1: T AAC stop CTA AC. Frame 2: TA ACT AAC stop C.
    assert longest_frames(ascii_of("TAACTAACTAAC")[None])[0].tolist() == [2] * 3 + [3] * 9
    orf = "CC" + "ATG" + "CCC" + "ATG" + "TAA" + "CC"
    for least, bases in ((12, 12), (13, 0)):
        found = np.flatnonzero(open_reading_frames(ascii_of(orf), least))
        assert found.tolist() == list(range(2, 2 + bases))  # from the first ATG to the stop's last base
    assert not open_reading_frames(ascii_of("ATGCCCCCC"), 3).any()  # no stop
