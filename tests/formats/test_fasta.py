"""Tests for dnalm/formats/fasta.py."""

import gzip
import hashlib
import zlib

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnalm.errors import InputError
from dnalm.formats import fasta, read_blocks
from dnalm.formats.fasta import Source


def read(path, data):
    """The records of a file that holds `data`: [(name, text)]."""
    path.write_bytes(data)
    records = []
    for name, text in read_blocks(Source(path)):
        if name is not None:
            records.append([name, b""])
        records[-1][1] += text
    return [tuple(record) for record in records]


TWO = [("one", b"ACGT\nacgt\nNN\n"), ("two", b"TTTT\n")]


@pytest.mark.parametrize(
    "data",
    [
        b">one first\nACGT\nacgt\nNN\n>two\nTTTT\n",
        b">one\r\nACGT\r\nacgt\r\nNN\r\n>two\r\nTTTT\r\n",
        b">one\rACGT\racgt\rNN\r>two\rTTTT\r",
        b"\n\n>one\n\nACGT\n\n\nacgt\nNN\n\n>two\tx y\nTTTT",
        b"\xef\xbb\xbf \n>one \n\t\nACGT \t \n \nacgt\t\r\nNN\n>two  \nTTTT  ",
        gzip.compress(b"\xef\xbb\xbf>one\nACGT\nacgt\nNN\n") + gzip.compress(b">two\nTTTT"),
    ],
    ids=[
        "plain",
        "CRLF",
        "CR",
        "empty lines and no newline at the end",
        "byte order mark and blanks",
        "gzip",
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
def test_records_are_the_same_however_lines_end_and_pieces_fall(tmp_path, monkeypatch, data, chunk):
    monkeypatch.setattr(fasta, "CHUNK", chunk)
    assert read(tmp_path / "g.fa", data) == TWO


@given(st.lists(st.text("ACGTNacgtn\n", max_size=40), min_size=1, max_size=4), st.integers(1, 50))
def test_nothing_of_a_sequence_is_lost(tmp_path_factory, bodies, chunk):
    path = tmp_path_factory.mktemp("fasta") / "g.fa"
    data = "".join(f">c{i}\n{body}\n" for i, body in enumerate(bodies)).encode()
    before, fasta.CHUNK = fasta.CHUNK, chunk
    try:
        records = read(path, data)
    finally:
        fasta.CHUNK = before
    expected = ["".join(line + "\n" for line in body.split("\n") if line) for body in bodies]
    assert [text.decode() for _, text in records] == expected


def test_gzip_of_several_members_and_bgzip(tmp_path):
    plain = b">one first\nACGT\nacgt\nNN\n>two\nTTTT\n"
    members = b"".join(gzip.compress(plain[i : i + 9]) for i in range(0, len(plain), 9))
    assert read(tmp_path / "g.fa.gz", members) == TWO
    (tmp_path / "p.fa").write_bytes(plain)
    pysam.tabix_compress(str(tmp_path / "p.fa"), str(tmp_path / "p.fa.bgz"))
    assert read(tmp_path / "q.fa.bgz", (tmp_path / "p.fa.bgz").read_bytes()) == TWO


def test_blanks_inside_a_line_stay(tmp_path):
    assert read(tmp_path / "g.fa", b">one\nAC GT \n A\n") == [("one", b"AC GT\n A\n")]


@pytest.mark.filterwarnings("ignore:.*after the end of the gzip data")
@pytest.mark.parametrize("after", [b"", b"more"])
def test_source_counts_and_hashes_every_byte(tmp_path, after):
    data = gzip.compress(b">one\nACGT\n") + gzip.compress(b"ACGT\n") + after
    (tmp_path / "g.fa.gz").write_bytes(data)
    read_bytes = []
    source = Source(tmp_path / "g.fa.gz", read_bytes.append)
    list(read_blocks(source))
    assert source.summary == {
        "name": "g.fa.gz",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert sum(read_bytes) == len(data)


PACKED = gzip.compress(b">one\n" + bytes(range(65, 91)) * 400, mtime=0)


def _damaged() -> bytes:
    data = bytearray(PACKED)
    data[-6] ^= 1  # in the check sum
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "got an empty file"),
        (gzip.compress(b""), "got an empty file"),
        (b"\n\n", "only empty lines"),
        (b"ACGT\n", r"first character is '>'.*got b'ACGT\\n'"),
        (b"@read\nACGT\n+\nIIII\n", r"got b'@read"),
        (b"\x89PNG\r\n\x1a\n", "first character is '>'"),
        (b">\nACGT\n", "printable ASCII"),
        (b">one\nAC\n> two\nACGT\n", "printable ASCII"),
        (b">" + "é".encode() + b"\nAC\n", "printable ASCII"),
        (b">" + b"x" * 40_000 + b"\nAC\n", "a header of"),
        (PACKED[:-20], "cut short"),
        (PACKED[:-3], "cut short"),
        (_damaged(), "damaged"),
        (">one\nAC\n".encode("utf-16"), "UTF-16"),
    ],
    ids=range(14),
)
def test_refuses(tmp_path, data, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path / "g.fa", data)
    assert "g.fa" in str(error.value)


def test_refuses_a_bgzip_cut_between_two_blocks(tmp_path):
    (tmp_path / "p.fa").write_bytes(b">one\n" + b"ACGT\n" * 40_000)
    pysam.tabix_compress(str(tmp_path / "p.fa"), str(tmp_path / "p.fa.bgz"))
    whole = (tmp_path / "p.fa.bgz").read_bytes()
    cut = whole[: int.from_bytes(whole[16:18], "little") + 1]  # the first block, whole
    zlib.decompress(cut, 31)  # a valid gzip file
    with pytest.raises(InputError, match="cut short"):
        read(tmp_path / "g.fa.bgz", cut)
