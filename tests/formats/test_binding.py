"""Tests for dnalm/formats/binding.py."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dnalm.dna import Interval
from dnalm.errors import InputError
from dnalm.formats.binding import (
    BindingSet,
    parse_name,
    read_binding,
    window_name,
    write_binding,
    write_tracks,
)

SEQUENCES = "sequence\twindow_name\nACGT\tc_0_3\nGGnn\tc_4_7\nTTTT\tc_8_11\n"
NOT_FINITE = ("nan", "inf", "1e39", "1_0", "")  # 1e39 is beyond float32
SCORES = "c_8_11\tc_0_3\tc_4_7\n8\t0.0\t4\n8.5\t0.0\t0\n0\t1e-3\t0\n0\t0\t-4\n"


def write(folder, sequences=SEQUENCES, scores=SCORES):
    (folder / "s.txt").write_text(sequences, encoding="utf-8")
    (folder / "c.txt").write_text(scores, encoding="utf-8")
    return folder / "s.txt", folder / "c.txt"


def test_matches_by_name_and_takes_lower_case(tmp_path):
    found = read_binding(*write(tmp_path))
    assert found.names == ["c_0_3", "c_4_7", "c_8_11"]  # the order of the sequences
    assert [row.tobytes() for row in found.letters] == [b"ACGT", b"GGNN", b"TTTT"]
    wanted = [[0, 0, 0.001, 0], [4, 0, 0, -4], [8, 8.5, 0, 0]]
    np.testing.assert_array_equal(found.scores, np.array(wanted, dtype=np.float32))
    assert (found.letters.dtype, found.scores.dtype) == (np.uint8, np.float32)


def test_columns_in_another_order_or_more_of_them_and_windows_line_ends(tmp_path):
    other = "window_name\tgc\tsequence\r\nc_0_3\t.5\tACGT\r\nc_4_7 \t.5\tGGNN \r\nc_8_11\t0\tTTTT\r\n\r\n"
    scores = "\r\n" + SCORES.replace("\n", " \x1f\r\n")
    found = read_binding(*write(tmp_path, sequences=other, scores=scores))
    assert found.letters[1].tobytes() == b"GGNN"
    assert found.scores[2, 1] == 8.5


@pytest.mark.parametrize(
    ("sequences", "scores", "message"),
    [
        (SEQUENCES.replace("c_0_3", "c_1_4"), SCORES, r"c\.txt: lacks 1 window .* such as c_1_4"),
        (SEQUENCES + "AAAA\tc_12_15\n", SCORES, r"c\.txt: lacks 1 window .* such as c_12_15"),
        (SEQUENCES.replace("c_4_7", "c_0_3"), SCORES, r"s\.txt: expected each window once.*c_0_3"),
        (SEQUENCES, SCORES.replace("c_4_7", "c_0_3"), r"c\.txt: expected each window once.*c_0_3"),
        (SEQUENCES, SCORES + "0\t0\t0\n", r"c\.txt: expected 4 rows of scores.*got 5"),
        (SEQUENCES, SCORES.replace("8.5\t", ""), r"c\.txt: line 3: expected 3 scores.*got 2"),
        (SEQUENCES, SCORES.replace("8.5", "x"), r"line 3, window c_8_11: .*got 'x'"),
        *((SEQUENCES, SCORES.replace("-4", x), rf"line 5, window c_4_7: .*got '{x}'") for x in NOT_FINITE),
        (SEQUENCES.replace("GGnn", "GGxn"), SCORES, r"window c_4_7, position 3: 'x' is no IUPAC code"),
        (SEQUENCES.replace("GGnn", "GG-n"), SCORES, r"window c_4_7, position 3: '-'"),
        (SEQUENCES.replace("GGnn", "GGén"), SCORES, r"window c_4_7, position 3: 'é'"),
        (
            SEQUENCES.replace("GGnn", "GGn"),
            SCORES,
            "line 3: expected windows of one length, 4 .*; window c_4_7 has 3",
        ),
        (SEQUENCES.replace("GGnn", ""), SCORES, r"window c_4_7 has 0"),
        ("sequence\twindow_name\n", SCORES, "no windows below the first line"),
        (SEQUENCES, "c_0_3\tc_4_7\tc_8_11\n", "no scores below the names"),
        ("", SCORES, "columns sequence, window_name"),
        (SEQUENCES, "", "expected names of windows"),
        (
            SEQUENCES.replace("sequence", "seq"),
            SCORES,
            "sequence, window_name, each once, got seq, window_name",
        ),
        (SEQUENCES.replace("ACGT\t", "ACGT "), SCORES, r"line 2: expected 2 cells .* got 1"),
    ],
)
def test_refuses(tmp_path, sequences, scores, message):
    with pytest.raises(InputError, match=message):
        read_binding(*write(tmp_path, sequences, scores))


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_what_is_written_reads_back_the_same(tmp_path_factory, scores):
    folder = tmp_path_factory.mktemp("set")
    letters = np.frombuffer(b"ACGTNRYKACCA", dtype=np.uint8).reshape(3, 4)
    windows = BindingSet(["a_0_3", "b_c_4_7", "a_8_11"], letters, scores)
    write_binding(folder / "s.gz", folder / "c.gz", windows)
    found = read_binding(folder / "s.gz", folder / "c.gz")
    assert found.names == windows.names
    np.testing.assert_array_equal(found.letters, letters)
    np.testing.assert_array_equal(found.scores, scores)


def test_numbers_are_short_and_bytes_are_the_same_each_time(tmp_path):
    scores = np.array([[0, 6.367158, 11, 0.1]], dtype=np.float32)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8).reshape(1, 4)
    for name in ("one", "two"):
        write_binding(tmp_path / name / "s", tmp_path / name / "c", BindingSet(["a_0_3"], letters, scores))
    assert gzip.decompress((tmp_path / "one/c").read_bytes()) == b"a_0_3\n0\n6.367158\n11\n0.1\n"
    assert gzip.decompress((tmp_path / "one/s").read_bytes()) == b"sequence\twindow_name\nACGT\ta_0_3\n"
    for name in ("s", "c"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_error_while_writing_leaves_no_file(tmp_path):
    letters = np.frombuffer(b"ACGT", dtype=np.uint8).reshape(1, 4)
    broken = np.array([[object()] * 4])  # cannot be a number
    with pytest.raises(TypeError):
        write_tracks(tmp_path / "s", ["a_0_3"], letters, {tmp_path / "c": broken})
    assert list(tmp_path.iterdir()) == []


@given(st.text("chrXY_.0123", min_size=1), st.integers(0, 10**9), st.integers(1, 10**6))
def test_a_name_tells_its_interval(contig, start, length):
    interval = Interval(contig, start, start + length)
    assert parse_name(window_name(interval)) == interval
    assert parse_name("chr22_10510500_10510799") == Interval("chr22", 10510500, 10510800)  # as published


@pytest.mark.parametrize(
    "name",
    ["chr22", "chr22_5", "_1_2", "chr22_9_8", "chr22_-1_8", "chr22:1-2", "c_1_2x", "c_1_9999999999999999"],
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="expected a name such as chr22_10510500_10510799"):
        parse_name(name)


def test_reads_the_real_set(shared_data):
    folder = shared_data / "binding"
    found = read_binding(folder / "chr22_sequences.txt.gz", folder / "chr22_scores.txt.gz")
    assert found.letters.shape == found.scores.shape == (23_139, 300)
    inside = found.scores[found.scores != 0]
    # The facts as the set's description states them, rounded as there.
    assert round(inside.size / found.scores.size, 4) == 0.0390
    assert (round(float(inside.min()), 3), round(float(inside.max()), 2)) == (6.367, 11.43)
    assert all(parse_name(name).length == 300 and parse_name(name).start % 300 == 0 for name in found.names)
