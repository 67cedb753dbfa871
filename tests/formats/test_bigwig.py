"""Tests for dnalm/formats/bigwig.py."""

import struct
from contextlib import closing

import numpy as np
import pytest

from dnalm.errors import InputError
from dnalm.formats.bigwig import BigWig, open_track


def write(path, values, lengths):
    """A bigWig of {contig: [(start, end, value)]} at `path`, whatever its suffix."""
    pybigtools = pytest.importorskip("pybigtools")
    beside = path.with_suffix(".bw")
    rows = [(contig, *row) for contig in sorted(values) for row in values[contig]]
    pybigtools.open(str(beside), "w").write(lengths, iter(rows))
    return beside.rename(path)


@pytest.fixture
def track(tmp_path):
    values = {"chr1": [(0, 3, 1.5), (10, 11, -2.0), (19, 20, 0.1)], "chr2": [(4, 6, 7.0)]}
    return write(tmp_path / "a track", values, {"chr1": 20, "chr2": 10})


@pytest.mark.filterwarnings("error")
def test_values_come_back_with_0_where_there_is_none(track):
    wanted = np.zeros(20, dtype=np.float32)
    wanted[:3], wanted[10], wanted[19] = 1.5, -2, 0.1
    with closing(BigWig(track)) as found:
        assert found.contigs == {"chr1": 20, "chr2": 10}
        for start in range(20):
            for end in range(start, 21):
                got = found.values("chr1", start, end)
                assert got.dtype == np.float32
                np.testing.assert_array_equal(got, wanted[start:end])
        np.testing.assert_array_equal(found.values("chr2", 3, 7), [0, 7, 7, 0])
        with pytest.raises(InputError, match="1 has 0 bases, got 0 to 1"):
            found.values("1", 0, 1)
        with pytest.raises(InputError, match="chr2 has 10 bases, got 5 to 11"):
            found.values("chr2", 5, 11)


def test_refuses_an_infinite_value(tmp_path):
    path = write(tmp_path / "a.bw", {"c": [(4, 5, float("inf"))]}, {"c": 9})
    with closing(BigWig(path)) as found, pytest.raises(InputError, match="c, base 5: "):
        found.values("c", 0, 9)


def test_refuses_other_files(tmp_path, track):
    (tmp_path / "a.bw").write_bytes(b"chr1\t0\t5\n")
    (tmp_path / "a.bb").write_bytes(struct.pack("<I", 0x8789F2EB) + track.read_bytes()[4:])  # a bigBed's
    for path in (tmp_path, tmp_path / "a.bw", tmp_path / "a.bb"):
        with pytest.raises(InputError, match=f"{path}: expected a bigWig or a bedGraph"):
            open_track(path)


@pytest.mark.parametrize("kept", [4, 60, 0.5, 0.9])
def test_refuses_a_file_that_was_cut(track, kept):
    data = track.read_bytes()
    track.write_bytes(data[: kept if kept > 1 else int(len(data) * kept)])

    def read():
        with closing(BigWig(track)) as found:
            for contig, length in found.contigs.items():
                found.values(contig, 0, length)

    with pytest.raises(InputError, match="is damaged or was cut short"):
        read()


def test_refuses_a_file_whose_values_are_damaged(track):
    data = bytearray(track.read_bytes())
    (values,) = struct.unpack_from("<Q", data, 16)  # where they begin; a count, then compressed blocks
    data[values + 8 : values + 12] = b"\xff" * 4
    track.write_bytes(data)
    with closing(BigWig(track)) as found, pytest.raises(InputError, match="is damaged"):
        found.values("chr1", 0, 20)
