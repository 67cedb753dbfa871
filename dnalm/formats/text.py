"""The one reader of text files and of tables: plain or gzip by content, lines with their numbers."""

import codecs
import contextlib
import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from dnalm.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
MEMBER = re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]", re.DOTALL)
"""The first ten bytes of a member of a gzip file (RFC 1952, section 2.3)."""
UTF16 = re.compile(rb"[^\0]\0[^\0]\0|\0[^\0]\0[^\0]")
"""Two characters of ASCII in UTF-16."""
PACKED = 1 << 16  # compressed bytes read at a time
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


class Gunzip(io.RawIOBase):
    """The decompressed content of a gzip file, all its members joined.

    Zeros after a member are padding. Other bytes after the last one are left out with a warning; bytes that
    stand before another member are damage. A bgzip file ends with an empty member, or it was cut short.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._packed = file, path, file.read(PACKED)
        self._is_bgzip = self._packed[12:14] == b"BC"  # SAM specification, section 4.1
        self._unpacker, self._size = zlib.decompressobj(wbits=31), 0  # of the member that is read

    def readable(self) -> bool:
        """Return True, for `io`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill at most the buffer and return the number of bytes, 0 at the end."""
        while not self._unpacker.eof or self._next_member():
            self._packed = self._packed or self._file.read(PACKED)
            if not self._packed:
                raise EOFError("its last part is missing")
            data = self._unpacker.decompress(self._packed, len(buffer))
            self._packed = self._unpacker.unused_data or self._unpacker.unconsumed_tail
            self._size += len(data)
            if data:
                buffer[: len(data)] = data
                return len(data)
        return 0

    def _next_member(self) -> bool:
        """Begin the next member; False at the end of the last one."""
        packed = self._packed.lstrip(b"\0")
        while not packed and (more := self._file.read(PACKED)):
            packed = more.lstrip(b"\0")
        if packed and GZIP_MAGIC.startswith(packed[:2]):
            self._packed, self._unpacker, self._size = packed, zlib.decompressobj(wbits=31), 0
            return True
        if self._is_bgzip and self._size:
            raise EOFError("the empty block that ends a bgzip file is missing")
        foreign, before = 0, b""
        while packed:
            foreign, before = foreign + len(packed), before[-9:] + packed
            if MEMBER.search(before):
                raise gzip.BadGzipFile("other bytes stand between its parts")
            packed = self._file.read(PACKED)
        if foreign:
            text = f"{self._path}: {foreign:,} bytes after the end of the gzip data are not gzip: left out"
            warnings.warn(text, stacklevel=2)
        self._packed = b""
        return False


def check_text(first: bytes, path: Path) -> None:
    """Refuse a text whose first four bytes are those of UTF-16, with a byte order mark or without."""
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or UTF16.match(first):
        raise InputError(f"{path}: expected text in UTF-8, got UTF-16 (or no text at all); save it as UTF-8")


def unpacked(raw: "io.BufferedReader[Any]", path: Path) -> "io.BufferedReader[Any]":
    """Return the bytes of a text, decompressed if `raw` is gzip, and without a byte order mark."""
    is_gzip = raw.peek(2).startswith(GZIP_MAGIC)
    file = io.BufferedReader(Gunzip(raw, path), PACKED) if is_gzip else raw
    first = file.peek(4)[:4]
    check_text(first, path)
    if first.startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    return file


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    r"""Open a text file of UTF-8 with `\n`, `\r\n` or `\r` at the ends of lines, plain or gzip.

    A byte order mark is skipped. Bytes that are no UTF-8 are read as U+FFFD.

    Raises:
        InputError: if the file is a folder or UTF-16, or if it is gzip and damaged or cut short.
    """
    if path.is_dir():
        raise InputError(f"{path}: expected a file, got a folder")
    with path.open("rb") as raw, gzip_errors(path):
        yield io.TextIOWrapper(unpacked(raw, path), "utf-8", errors="replace")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file without their ends, with their numbers from 1; raises as `open_text`."""
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            yield number, line.rstrip("\n")


def first_line(path: Path) -> str:
    """Return the first line that is not blank; empty where there is none."""
    return next((line for _, line in read_lines(path) if line.strip()), "")


def read_header(path: Path) -> list[str]:
    """Return the names of a table's columns; raises as `read_table`."""
    first = first_line(path)
    return _cells(first, f"{path}: its header", _form(first))


def read_table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells by column of a table with a header, separated by tabs or else by commas.

    Blank lines and rows without a filled cell are skipped; blanks at the ends of cells are dropped.

    Args:
        path: plain or gzip.
        columns: that must be there, in upper or lower case; they are returned under these names.

    Raises:
        InputError: if one is missing or there twice, a row has more or fewer cells than the header, or a cell
            begins with a quote that does not end it on the same line.
    """
    csv.field_size_limit(LONGEST_CELL)
    spelled = {name.lower(): name for name in columns}
    lines = ((number, line) for number, line in read_lines(path) if line.strip())
    number, first = next(lines, (1, ""))
    form = _form(first)
    header = [spelled.get(name.lower(), name) for name in _cells(first, f"{path}: line {number:,}", form)]
    if any(header.count(name) != 1 for name in columns):
        raise InputError(
            f"{path}: expected a table with the columns {', '.join(columns)}, each once, got "
            f"{', '.join(header)[:200] or 'none at all'}"
        )
    for number, line in lines:
        where = f"{path}: line {number:,}"
        cells = _cells(line, where, form)
        if len(cells) != len(header):
            raise InputError(f"{where}: expected {len(header)} cells as in the header, got {len(cells)}")
        if any(cells):
            yield number, dict(zip(header, cells, strict=True))


def _form(header: str) -> dict[str, Any]:
    """Return how the csv module is to read a table with this header."""
    delimiter = "\t" if "\t" in header.strip() else ","
    # A quote is part of the text in a table with tabs, unless the header shows that cells are quoted.
    quoted = delimiter == "," or '"' in header
    return {"delimiter": delimiter, "quoting": csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE}


def _cells(line: str, where: str, form: dict[str, Any]) -> list[str]:
    """Return the cells of a line of a table; `form` is for the csv module."""
    try:
        rows = list(csv.reader([line], strict=True, **form))
    except csv.Error as error:
        raise InputError(
            f"{where}: expected a cell that begins with a quote to end with one on the same line, a quote "
            f'inside it doubled, as in "2""-inch" ({error}): {line[:60]!r}'
        ) from error
    return [cell.strip() for cells in rows for cell in cells]
