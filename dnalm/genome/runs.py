"""Runs of a genome (unbroken bases, soft-masked stretches), kept on disk: their number costs no memory.

Shapes used below
    R  runs                          L  flags, one per position
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
ROWS = 1 << 16
"""Runs in memory at a time."""


def runs_of(flags: npt.NDArray[np.bool_], at: int) -> Int64:
    """Return the runs of True in `flags`, [L], as half-open [R, 2]; the first flag has position `at`."""
    edges = np.flatnonzero(flags[1:] != flags[:-1]) + 1
    first = [0] if len(flags) and flags[0] else []
    last = [len(flags)] if len(flags) and flags[-1] else []
    return np.concatenate([first, edges, last]).astype(np.int64).reshape(-1, 2) + at


class Runs:
    """Half-open runs in rising order; those that touch are joined, unless `close` was called between them."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)  # noqa: SIM115
        self._last: Int64 = np.empty((0, 2), dtype=np.int64)

    def add(self, runs: Int64) -> None:
        """Append runs, [R, 2]."""
        if not len(runs):
            return
        if len(self._last) and self._last[0, 1] == runs[0, 0]:
            runs[0, 0] = self._last[0, 0]
        else:
            self.close()
        self._file.write(runs[:-1].tobytes())
        self._last = runs[-1:].copy()

    def close(self) -> None:
        """End the last run: what is added next does not join it."""
        self._file.write(self._last.tobytes())
        self._last = self._last[:0]

    def clear(self) -> None:
        """Forget all runs."""
        self._file.seek(0)
        self._file.truncate()
        self._last = self._last[:0]

    def __iter__(self) -> Iterator[Int64]:
        self.close()
        self._file.seek(0)
        while raw := self._file.read(ROWS * 16):
            yield np.frombuffer(raw, dtype=np.int64).reshape(-1, 2)


def write_rows(path: Path, columns: int, pieces: Iterable[Int64]) -> int:
    """Write an int64 .npy file row by row and return the number of rows, not known before the last.

    Args:
        path: the file.
        columns: C, values in a row.
        pieces: the rows, each [R, C].
    """
    rows = 0
    with path.open("wb") as file:
        file.write(_header(0, columns))
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype="<i8").data)
            rows += len(piece)
        file.seek(0)
        file.write(_header(rows, columns))
    return rows


def _header(rows: int, columns: int) -> bytes:
    """Return the 128 bytes before the values (NumPy, .npy format 1.0), padded for any number of rows."""
    words = f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + words.ljust(117).encode() + b"\n"
