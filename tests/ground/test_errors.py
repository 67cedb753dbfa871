"""Tests for dnalm/errors.py: the words of messages."""

import pytest

from dnalm.errors import counted, shortened


@pytest.mark.parametrize(("count", "text"), [(0, "0 pairs"), (1, "1 pair"), (2000, "2,000 pairs")])
def test_one_is_singular(count, text):
    assert counted(count, "pair") == text
    assert counted(count, "row is", "rows are").endswith("row is" if count == 1 else "rows are")


def test_the_beginning_of_a_long_text_stays_with_or_without_blanks():
    inchi = "InChI=1S/C9H8O4/c1-6(10)13-8-5-3-2-4-7(8)9(11)12/h2-5H,1H3,(H,11,12)"
    for text in (inchi, inchi.replace("-", " ")):
        short = shortened(text, 40)
        assert short.startswith(text[:30])
        assert short.endswith("...")
        assert len(short) <= 40
        assert shortened(text) == text
    assert shortened(" a\n b ") == "a b"
