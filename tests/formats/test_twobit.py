"""Tests for dnalm/formats/twobit.py."""

import struct

import pytest

from dnalm.errors import InputError
from dnalm.formats import is_twobit, read_blocks, twobit
from dnalm.formats.fasta import Source


def twobit_bytes(records, order="<", version=0):
    """A .2bit file (UCSC's description of the format), from {name: sequence}."""
    header = struct.pack(f"{order}IIII", 0x1A412743, version, len(records), 0)
    offset = "Q" if version else "I"
    at = len(header) + sum(len(name.encode()) + 1 + struct.calcsize(f"<{offset}") for name in records)
    index = body = b""
    for name, sequence in records.items():
        index += (
            struct.pack("B", len(name.encode()))
            + name.encode()
            + struct.pack(f"{order}{offset}", at + len(body))
        )
        codes = ["TCAG".find(base) % 4 for base in sequence.upper().ljust(-len(sequence) // 4 * -4, "T")]
        packed = bytes(a << 6 | b << 4 | c << 2 | d for a, b, c, d in zip(*[iter(codes)] * 4, strict=True))
        blocks = b""
        for inside in (lambda base: base in "Nn", str.islower):
            flags = [False, *map(inside, sequence), False]
            starts = [i for i in range(len(sequence)) if flags[i + 1] and not flags[i]]
            ends = [i for i in range(1, len(sequence) + 1) if flags[i] and not flags[i + 1]]
            sizes = [end - start for start, end in zip(starts, ends, strict=True)]
            blocks += struct.pack(f"{order}I{2 * len(starts)}I", len(starts), *starts, *sizes)
        body += struct.pack(f"{order}I", len(sequence)) + blocks + struct.pack(f"{order}I", 0) + packed
    return header + index + body


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("order", "<>")
def test_gives_contigs_in_lines_of_60_with_their_soft_mask(tmp_path, monkeypatch, order, version):
    monkeypatch.setattr(twobit, "CHUNK", 120)
    records = {"chrA": "ACGTacgtNNNN" * 11 + "TTg", "chrB": "N" * 60 + "gattaca" * 20}
    (tmp_path / "a b.2bit").write_bytes(twobit_bytes(records, order, version))
    source = Source(tmp_path / "a b.2bit")
    assert is_twobit(source)
    found = {}
    for name, text in read_blocks(source):
        if name is not None:
            found[name] = ""
        found[list(found)[-1]] += text.decode()
    assert {name: text.replace("\n", "") for name, text in found.items()} == records
    assert list(map(len, found["chrA"].split("\n"))) == [60, 60, 15, 0]
    assert source.summary["bytes"] == (tmp_path / "a b.2bit").stat().st_size


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("order", "<>")
def test_refuses_a_file_cut_anywhere(tmp_path, order, version):
    whole = twobit_bytes({"chrA": "ACGTacgtNNNN" * 20, "chrB": "ACGT" * 50}, order, version)
    assert len(list(read_blocks(source(tmp_path, whole)))) == 4
    for size in range(4, len(whole)):
        with pytest.raises(InputError, match=r"g\.2bit.*cut short"):
            next(read_blocks(source(tmp_path, whole[:size])))


def source(folder, content):
    (folder / "g.2bit").write_bytes(content)
    return Source(folder / "g.2bit")


def test_refuses_a_name_that_is_not_ascii(tmp_path):
    with pytest.raises(InputError, match=r"g\.2bit: .*printable ASCII"):
        next(read_blocks(source(tmp_path, twobit_bytes({"chré": "ACGT"}))))


def test_refuses_an_offset_beyond_any_file(tmp_path):
    content = twobit_bytes({"a": "ACGT"}, version=1)
    with pytest.raises(InputError, match="cut short"):
        next(read_blocks(source(tmp_path, content[:18] + b"\xff" * 8 + content[26:])))
