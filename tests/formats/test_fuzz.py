"""Damaged files of every format: an `InputError` or every record, and never another exception."""

import contextlib
import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnalm.data.prepare_pairs import clean_rows
from dnalm.errors import InputError
from dnalm.formats import read_blocks
from dnalm.formats.fasta import Source
from dnalm.formats.genes import GeneRow
from dnalm.formats.pairs import read_pair_rows
from tests.formats.readers import FORMATS, GENES, count_records
from tests.formats.test_twobit import twobit_bytes

GENE = GeneRow("", "CDS", "", "ACGT")
TWOBIT = twobit_bytes({"chr1": "ACGTacgtNNNN" * 20, "chr2": "ACGT" * 5, "chrM": "nnA"})
MUTATIONS = [
    "drop",
    "double",
    "quote",
    "quote a line",
    "encode",
    "insert",
    "line ends",
    "flip",
    "cut",
    "pack",
]
CODECS = ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp500"]
LETTERS = [each.encode() for each in ("é", "Ω", "\u2028", "\x0c", "\0", '"', "\t", ">", "#")] + [b"\xe9"]


@st.composite
def damaged(draw, data):
    """The bytes of a file after one to three mutations of its lines, its encoding or its bytes."""
    for _ in range(draw(st.integers(1, 3))):
        lines, at = data.split(b"\n"), draw(st.integers(0, len(data)))
        row = draw(st.integers(0, len(lines) - 1))
        before, line, after = lines[:row], lines[row], lines[row + 1 :]
        match draw(st.sampled_from(MUTATIONS)):
            case "drop":
                data = b"\n".join([*before, *after])
            case "double":
                data = b"\n".join([*before, line, line, *after])
            case "quote":
                data = data[:at] + b'"' + data[at:]
            case "quoted line":
                data = b"\n".join([*before, b'"' + line + b'"', *after])
            case "encode":
                data = data.decode("utf-8", "replace").encode(draw(st.sampled_from(CODECS)), "replace")
            case "insert":
                data = data[:at] + draw(st.sampled_from(LETTERS)) + data[at:]
            case "ends":
                data = data.replace(b"\n", draw(st.sampled_from([b"\r", b"\r\n", b"\n\n", b" \n"])))
            case "flip":
                mask = draw(st.binary(min_size=1, max_size=4))
                flipped = bytes(one ^ other for one, other in zip(data[at:], mask, strict=False))
                data = data[:at] + flipped + data[at + len(flipped) :]
            case "cut":
                data = data[:at]
            case "pack":
                data = gzip.compress(data, 1, mtime=0)
    return data


def read_all(name, path):
    """Read a damaged file, if it can be: its records are as many as its lines say."""
    try:
        if name == "genome, .2bit":
            return len(list(read_blocks(Source(path))))
        records, data = FORMATS[name].read(path), path.read_bytes()
    except InputError:
        return None
    if name.startswith("pairs"):  # rows in are pairs out and rows reported
        with contextlib.suppress(InputError):
            clean = clean_rows(read_pair_rows(path), dict.fromkeys(GENES, GENE), "keep")
            assert len(clean.labels) + len(clean.dropped) == len(records)
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except OSError:
            return None  # bytes after the gzip data are left out with a warning
    if name not in ("rename", "bedGraph"):  # their readers give no list
        text = data.decode("utf-8-sig", "replace")
        assert len(records) == count_records(name, text), text
    return None


@pytest.mark.filterwarnings("ignore:.*not gzip")
@pytest.mark.parametrize("examples", [200, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [*FORMATS, "genome, .2bit"])
def test_a_damaged_file_is_refused_or_every_record_is_read(name, examples, tmp_path):
    data = FORMATS[name].text.encode() if name in FORMATS else TWOBIT

    @settings(max_examples=examples)
    @given(damaged(data))
    def check(data):
        (tmp_path / "damaged").write_bytes(data)
        read_all(name, tmp_path / "damaged")

    check()
