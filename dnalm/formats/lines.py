"""Lines of a text file, plain, gzip or bgzip."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from dnalm.formats.fasta import GZIP_MAGIC


def read_lines(path: Path) -> Iterator[bytes]:
    r"""Yield the lines of a file without their ends (`\n` or `\r\n`); gzip is told by content, not by name.

    Raises:
        ValueError: if the file is a folder, or if it is packed and damaged or cut short.
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected a text file, got a folder")
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        lines = iter(gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw)
        while True:
            try:
                line = next(lines, None)
            except EOFError as error:
                raise ValueError(f"{path}: the gzip file was cut short; copy or download it again") from error
            except (gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(
                    f"{path}: the gzip file is damaged ({error}); copy or download it again"
                ) from error
            if line is None:
                return
            yield line.rstrip(b"\r\n")
