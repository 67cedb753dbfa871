"""Tracks, a number at each base of a genome: bigWig, read with pybigtools, or bedGraph; known by content."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError, import_extra
from dnalm.formats.bed import BedGraph
from dnalm.formats.text import AGAIN

MAGIC = {b"\x26\xfc\x8f\x88": "<", b"\x88\x8f\xfc\x26": ">"}
"""First bytes of a bigWig file, and its byte order (Kent et al. 2010, supplementary table 5)."""


def open_track(path: Path) -> "BigWig | BedGraph":
    """Open a track; raises as `BigWig` or `BedGraph`."""
    if path.is_dir():
        raise InputError(f"{path}: expected a bigWig or a bedGraph track, got a folder")
    with path.open("rb") as file:
        is_bigwig = file.read(4) in MAGIC
    return BigWig(path) if is_bigwig else BedGraph(path)


class BigWig:
    """An open bigWig file.

    Args:
        path: the file, whatever its suffix.

    Raises:
        InputError: if pybigtools is not installed, or the file is damaged.
    """

    has_lengths = True  # `contigs` holds the lengths of the assembly

    def __init__(self, path: Path) -> None:
        pybigtools = import_extra("pybigtools", "tracks", f"{path}: bigWig")
        self.path = path
        self._damage = (pybigtools.BBIReadError, ValueError, OSError)
        self._file = path.open("rb")  # pybigtools knows a path's format by its suffix, a file's by content
        try:
            with self._damage_named():
                self._reader = pybigtools.open(self._file)
                chroms = self._reader.chroms()
        except InputError:
            self._file.close()
            raise
        self.contigs: dict[str, int] = {str(name): int(length) for name, length in chroms.items()}  # bases

    def values(self, contig: str, start: int, end: int) -> npt.NDArray[np.float32]:
        """Return the track from `start` to before `end`, 0-based, [end - start]; 0 where there is no data.

        Raises:
            InputError: if the file has no such contig, it is shorter, a value is infinite, or the file is
                damaged.
        """
        length = self.contigs.get(contig, 0)
        if not 0 <= start <= end <= length or contig not in self.contigs:
            raise InputError(
                f"{self.path}: {contig} has {length:,} bases, got {start:,} to {end:,}; is the track of "
                "another assembly?"
            )
        if start == end:
            return np.zeros(0, dtype=np.float32)
        with self._damage_named():
            values = self._reader.values(contig, start, end, fillna=0.0)
        track: npt.NDArray[np.float32] = np.asarray(values).astype(np.float32)
        if not np.isfinite(track).all():
            at = start + int(np.flatnonzero(~np.isfinite(track))[0])
            raise InputError(f"{self.path}: {contig}, base {at + 1:,}: expected a finite number")
        return track

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._file.close()

    @contextlib.contextmanager
    def _damage_named(self) -> Iterator[None]:
        """Turn what pybigtools raises for a damaged file into an `InputError` that names it."""
        try:
            yield
        except BaseException as error:  # a panic of Rust is no Exception, and its class cannot be imported
            if not isinstance(error, self._damage) and type(error).__name__ != "PanicException":
                raise
            what = f"the bigWig file is damaged or was cut short ({error})"
            raise InputError(f"{self.path}: {what}; {AGAIN}") from error
