"""The one reader of text files and of tables: plain or gzip by content, lines with their numbers."""

import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO, cast

from dnalm.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
"""Regular expression of a decimal number; neither nan nor infinity."""
LONGEST_CELL = 1 << 30
"""Characters of a cell: a gene may have more than the 131,072 at which the csv module stops."""
AGAIN = "copy or download it again"


@contextlib.contextmanager
def gzip_errors(path: Path) -> Iterator[None]:
    """Turn errors of decompression inside the block into an `InputError` that names the file."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = "cut short" if isinstance(error, EOFError) else "damaged"
        raise InputError(f"{path}: the gzip file is {what} ({error}); {AGAIN}") from error


def decompressed(file: IO[bytes], first_bytes: bytes) -> IO[bytes]:
    """Return a file that decompresses `file` if its first bytes are those of gzip, or `file` itself."""
    if not first_bytes.startswith(GZIP_MAGIC):
        return file
    return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    r"""Open a text file of UTF-8 with `\n`, `\r\n` or `\r` at the ends of lines, plain or gzip.

    A byte order mark is skipped. Bytes that are no UTF-8 are read as U+FFFD.

    Raises:
        InputError: if the file is a folder, or if it is gzip and damaged or cut short.
    """
    if path.is_dir():
        raise InputError(f"{path}: expected a file, got a folder")
    with path.open("rb") as raw, gzip_errors(path):
        yield io.TextIOWrapper(decompressed(raw, raw.peek(2)), "utf-8-sig", errors="replace")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file without their ends, with their numbers from 1; raises as `open_text`."""
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            yield number, line.rstrip("\n")


def first_line(path: Path) -> str:
    """Return the first line that is not blank; empty where there is none."""
    return next((line for _, line in read_lines(path) if line.strip()), "")


def read_table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells by column of a table with a header, separated by tabs or else by commas.

    A row that spans several lines has the number of its last one.

    Args:
        path: plain or gzip.
        columns: that must be there, in upper or lower case; they are returned under these names.

    Raises:
        InputError: if one is missing or there twice, or a row has more or fewer cells than the header.
    """
    csv.field_size_limit(LONGEST_CELL)
    spelled = {name.lower(): name for name in columns}
    with open_text(path) as file:
        first = file.readline()
        delimiter = "\t" if "\t" in first else ","
        names = next(csv.reader([first], delimiter=delimiter), [])
        header = [spelled.get(name.strip().lower(), name.strip()) for name in names]
        if any(header.count(name) != 1 for name in columns):
            raise InputError(
                f"{path}: expected a table with the columns {', '.join(columns)}, each once, got "
                f"{', '.join(header)[:200] or 'none at all'}"
            )
        # A quote is part of the text in a table with tabs, unless the header shows that cells are quoted.
        quoted = delimiter == "," or '"' in first
        rows = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        for cells in rows:
            if not any(map(str.strip, cells)):
                continue
            line = rows.line_num + 1  # the header was read before
            if len(cells) != len(header):
                raise InputError(
                    f"{path}: line {line:,}: expected {len(header)} cells as in the header, got {len(cells)}"
                )
            yield line, dict(zip(header, cells, strict=True))
