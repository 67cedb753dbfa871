"""FASTA, plain, gzip or bgzip, read once from front to back in blocks of bounded size."""

import gzip
import re
import zlib
from collections.abc import Iterator
from typing import IO, cast

import numpy as np

from dnalm.errors import InputError
from dnalm.formats.text import GZIP_MAGIC, Block, Source, ahead

CHUNK = 1 << 20
"""Bytes of text read at a time."""
LONGEST_HEADER = 1 << 15
"""A header line longer than this, in bytes, is taken for a sign that the file is not FASTA."""
BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends every bgzip file (SAM specification, section 4.1.2)."""


def read_text(source: Source) -> Iterator[bytes]:
    """Yield the text of a file in pieces, unpacked, each line ended by a newline alone.

    Raises:
        InputError: if the file is empty, or if a packed file is damaged or cut short.
    """
    held = b""  # a \r at the end of a piece: the next one says whether \n follows
    empty = True
    for chunk in ahead(_chunks(source)):
        empty = False
        if held or b"\r" in chunk:
            chunk = held + chunk
            held = b"\r" if chunk.endswith(b"\r") else b""
            chunk = chunk.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield chunk
    if held:
        yield b"\n"
    if empty:
        raise InputError(f"{source.path}: expected FASTA, got an empty file")


def read_fasta(source: Source) -> Iterator[Block]:
    """Yield the records of a FASTA file in blocks; the last line gets its newline if it has none.

    Raises:
        InputError: if the file is no FASTA, is empty, damaged or cut short, or has a header without a name.
    """
    header: bytes | None = None  # the header line so far, when a piece ends inside it
    started = False
    line_start = True
    for chunk in read_text(source):
        at = 0
        while at < len(chunk):
            if header is not None:
                end = chunk.find(b"\n", at)
                header += chunk[at : end if end >= 0 else len(chunk)]
                if len(header) > LONGEST_HEADER:
                    raise InputError(
                        f"{source.path}: a header of more than {LONGEST_HEADER:,} bytes; is this FASTA?"
                    )
                if end < 0:
                    break
                yield Block(_name(header, source), b"")
                header, line_start, at = None, True, end + 1
            elif line_start and chunk[at : at + 1] == b">":
                header, started, at = b"", True, at + 1
            else:
                end = _next_header(chunk, at)
                text = _without_empty_lines(chunk[at:end], line_start)
                if text:
                    if not started:
                        _refuse(text, source)
                    yield Block(None, text)
                    line_start = text.endswith(b"\n")
                at = end
    if header is not None:
        yield Block(_name(header, source), b"")
    elif not started:
        raise InputError(f"{source.path}: expected FASTA, got only empty lines")
    elif not line_start:
        yield Block(None, b"\n")


def _next_header(chunk: bytes, at: int) -> int:
    """Return where the next header begins after `at`, or the end of the chunk."""
    end = chunk.find(b">", at + 1)
    while end >= 0 and chunk[end - 1 : end] != b"\n":
        end = chunk.find(b">", end + 1)
    return end if end >= 0 else len(chunk)


def _without_empty_lines(text: bytes, line_start: bool) -> bytes:
    if line_start:
        text = text.lstrip(b"\n")
    ends = np.frombuffer(text, dtype=np.uint8) == ord("\n")
    if (ends[1:] & ends[:-1]).any():  # several times faster than a search for two bytes
        text = re.sub(b"\n+", b"\n", text)
    return text


def _name(header: bytes, source: Source) -> str:
    """Return the first word of a header line, which begins right after its `>`."""
    word = header.split(maxsplit=1)[0] if header[:1].strip() else b""
    if not word:
        raise InputError(
            f"{source.path}: a header has no name after its '>' (line {'>' + header.decode('latin-1')!r})"
        )
    return name_of(word, source)


def name_of(word: bytes, source: Source) -> str:
    """Return the name of a record.

    Raises:
        InputError: if it is not printable ASCII.
    """
    if not (word.isascii() and word.decode("ascii").isprintable()):
        raise InputError(
            f"{source.path}: the name {word!r} has characters that are not printable ASCII; rename it"
        )
    return word.decode("ascii")


def _refuse(text: bytes, source: Source) -> None:
    raise InputError(
        f"{source.path}: expected FASTA (plain, gzip or bgzip), whose first character is '>', "
        f"got {text[:20]!r}; pass a genome in FASTA or .2bit"
    )


def _chunks(source: Source) -> Iterator[bytes]:
    packed = source.peek(2) == GZIP_MAGIC
    if packed and source.peek(14)[12:] == b"BC" and not source.tail(len(BGZIP_END)) == BGZIP_END:
        raise InputError(
            f"{source.path}: cut short: the end of the bgzip file is missing; copy or download it again"
        )
    file = gzip.GzipFile(fileobj=cast(IO[bytes], source), mode="rb") if packed else source
    while True:
        try:
            chunk = file.read(CHUNK)
        except EOFError as error:
            raise InputError(
                f"{source.path}: the gzip file was cut short; copy or download it again"
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError(
                f"{source.path}: the gzip file is damaged ({error}); copy or download it again"
            ) from error
        if not chunk:
            return
        yield chunk
