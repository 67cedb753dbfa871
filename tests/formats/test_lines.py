"""Tests for dnalm/formats/lines.py."""

import gzip

import pytest

from dnalm.formats.text import read_lines

TEXT = b"one\r\ntwo\n\nlast"


@pytest.mark.parametrize("packed", [False, True])
def test_lines_without_their_ends_whatever_the_name(tmp_path, packed):
    path = tmp_path / "a file.txt"
    path.write_bytes(gzip.compress(TEXT) if packed else TEXT)
    assert list(read_lines(path)) == [b"one", b"two", b"", b"last"]


@pytest.mark.parametrize("kept", [15, 60])
def test_refuses_gzip_that_was_cut(tmp_path, kept):
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(range(256)) * 4)[:kept])
    with pytest.raises(ValueError, match=r"a\.gz: the gzip file was cut short"):
        list(read_lines(tmp_path / "a.gz"))


def test_refuses_damaged_gzip_and_folders(tmp_path):
    data = bytearray(gzip.compress(b"A" * 1000))
    data[12] ^= 0xFF
    (tmp_path / "a.gz").write_bytes(data)
    with pytest.raises(ValueError, match="is damaged"):
        list(read_lines(tmp_path / "a.gz"))
    with pytest.raises(ValueError, match="got a folder"):
        list(read_lines(tmp_path))
