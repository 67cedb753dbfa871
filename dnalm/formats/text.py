"""One input file, counted and hashed as it is read, and the blocks that a genome reader gives.

Lines of a text file, plain, gzip or bgzip.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from dnalm.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"


class Block(NamedTuple):
    """A piece of one record of a genome."""

    name: str | None
    """The record's name in its first block, None in those after."""
    text: bytes
    """Sequence lines as in the file, a newline after each, none empty; may begin and end inside a line."""


class Source:
    """An input file: what is read passes through here once, so that its digest costs no second reading.

    Args:
        path: the file.
        on_read: called with the number of bytes after each read, for a progress bar.
    """

    def __init__(self, path: Path, on_read: Callable[[int], None] | None = None) -> None:
        if path.is_dir():
            raise InputError(f"{path}: expected a FASTA or .2bit file, got a folder")
        if path.exists() and not path.is_file():
            what = "a pipe" if path.is_fifo() else "a device or socket"
            raise InputError(f"{path}: expected a file, got {what}; save it first")
        self.path = path
        self.bytes = 0
        self._file = path.open("rb")
        self._digest = hashlib.sha256()
        self._on_read = on_read

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end."""
        data = self._file.read(size)
        self._digest.update(data)
        self.bytes += len(data)
        if self._on_read:
            self._on_read(len(data))
        return data

    def peek(self, size: int) -> bytes:
        """Return the first bytes of the file; reading goes on where it was."""
        at = self._file.tell()
        self._file.seek(0)
        data = self._file.read(size)
        self._file.seek(at)
        return data

    def tail(self, size: int) -> bytes:
        """Return the last bytes of the file; reading goes on where it was."""
        at = self._file.tell()
        end = self._file.seek(0, 2)
        self._file.seek(max(0, end - size))
        data = self._file.read()
        self._file.seek(at)
        return data

    @property
    def summary(self) -> dict[str, Any]:
        """Name, bytes and SHA-256 of what was read, as kept in records."""
        return {"name": self.path.name, "bytes": self.bytes, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what `pieces` yields, each read in a thread while the caller works on the one before."""
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(next, pieces, None)
        while (piece := reading.result()) is not None:
            reading = pool.submit(next, pieces, None)
            yield piece


def read_lines(path: Path) -> Iterator[bytes]:
    r"""Yield the lines of a file without their ends (`\n` or `\r\n`); gzip is told by content, not by name.

    Raises:
        InputError: if the file is a folder, or if it is packed and damaged or cut short.
    """
    if path.is_dir():
        raise InputError(f"{path}: expected a text file, got a folder")
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        lines = iter(gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw)
        while True:
            try:
                line = next(lines, None)
            except EOFError as error:
                raise InputError(f"{path}: the gzip file was cut short; copy or download it again") from error
            except (gzip.BadGzipFile, zlib.error) as error:
                raise InputError(
                    f"{path}: the gzip file is damaged ({error}); copy or download it again"
                ) from error
            if line is None:
                return
            yield line.rstrip(b"\r\n")
