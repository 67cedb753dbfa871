"""Tests for dnalm/report/scale.py."""

from pathlib import Path

import pytest

from dnalm.report.scale import CONTEXTS, HUMAN, MEMORY, MICRO, OPTIMAL, SIZES, Size, main, render, tables

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_command_makes(tmp_path, capsys):
    assert (DOCS / "scale.md").read_text() == render(DOCS / "scale.md.j2"), "run: make docs"
    (tmp_path / "p.md.j2").write_text("{{ days }}")
    assert main([str(tmp_path / "p.md")]) == 0
    assert (tmp_path / "p.md").read_text() == tables()["days"]
    assert main([]) == 2


def test_a_size_by_hand():
    size = Size(512)  # 8 layers of 12 x 512^2
    assert (size.layers, size.parameters) == (8, 25_165_824)
    assert size.work(1024) == 6 * 25_165_824 + 6 * 8 * 1024 * 512
    assert size.training == 16 * 25_165_824
    assert size.activations(100) == 34 * 512 * 8 * 100
    # 989.4e12 x 0.4 x 86,400 FLOP a day and device.
    assert size.days(3.4193664e19 / size.work(1024), 1024) == pytest.approx(1.0)
    assert size.days(1e9, 1024, 8) == pytest.approx(size.days(1e9, 1024) / 8)


@pytest.mark.parametrize("wanted", SIZES)
def test_a_size_is_near_what_is_asked_for(wanted):
    assert Size.of(wanted).parameters == pytest.approx(wanted, rel=0.35)
    assert Size.of(wanted).width % 64 == 0


def test_the_words_below_the_tables_are_true():
    *smaller, large = map(Size.of, SIZES)
    for size in (*smaller, large):
        assert size.work(CONTEXTS[-1]) > 2 * 6 * size.parameters  # attention is most of it
        assert size.work(300) < 1.25 * 6 * size.parameters  # and little
    for size in smaller:
        assert size.training < size.activations(MICRO)
    assert smaller[-1].training < MEMORY["H100"] < MEMORY["H200"] < large.training
    assert [OPTIMAL * size.parameters // HUMAN for size in (*smaller, large)] == [0, 0, 6, 65]
