"""Genome files as they stream by (`Source`, `Block`), and FASTA, plain, gzip or bgzip, in bounded memory."""

import hashlib
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnalm.errors import InputError
from dnalm.formats.text import GZIP_MAGIC, gzip_errors, unpacked

CHUNK = 1 << 20  # bytes of text read at a time
LONGEST_HEADER = 1 << 15  # bytes; a longer one shows that the file is not FASTA


class Block(NamedTuple):
    """A piece of one record of a genome."""

    name: str | None  # the record's name in its first block, None in those after
    text: bytes  # sequence lines, a newline after each, none empty; may begin and end inside a line


class Source(io.FileIO):
    """A genome file that is counted and hashed as it is read, so that its digest costs no second reading.

    Args:
        path: the file.
        on_read: called with the number of bytes after each read, for a progress bar.

    Raises:
        InputError: if it is a folder, a pipe or a device, or not there.
    """

    def __init__(self, path: Path, on_read: Callable[[int], None] | None = None) -> None:
        if not path.is_file():
            what = "got a folder" if path.is_dir() else "got a pipe or device; save it to a file first"
            what = what if path.exists() else "there is no such file"
            raise InputError(f"{path}: expected a FASTA or .2bit file, {what}")
        super().__init__(path)
        self.path, self.bytes = path, 0
        self._digest, self._on_read = hashlib.sha256(), on_read

    def readinto(self, buffer: Any) -> int:
        """Read into the buffer and return the number of bytes, 0 at the end."""
        size = super().readinto(buffer)
        self._digest.update(buffer[:size])
        self.bytes += size
        if self._on_read:
            self._on_read(size)
        return size

    def peek(self, size: int) -> bytes:
        """Return the first bytes of the file; reading goes on where it was."""
        with self.path.open("rb") as file:
            return file.read(size)

    @property
    def is_gzip(self) -> bool:
        """Whether the file is compressed."""
        return self.peek(2) == GZIP_MAGIC

    @property
    def summary(self) -> dict[str, Any]:
        """Name, bytes and SHA-256 of what was read, as stored in records."""
        return {"name": self.path.name, "bytes": self.bytes, "sha256": self._digest.hexdigest()}


def read_text(source: Source) -> Iterator[bytes]:
    r"""Yield the text of a file in pieces, decompressed, each line ended by `\n` alone."""
    held = b""  # a \r at the end of a piece: the next one shows whether \n follows
    empty = True
    for chunk in _read_ahead(_chunks(source)):
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
    started, line_start = False, True
    pieces = itertools.chain(read_text(source), [b"\n"])  # ends the last line; else an empty line
    for chunk in _without_blanks(pieces):
        at = 0
        while at < len(chunk):
            if header is not None:
                end = chunk.find(b"\n", at)
                header += chunk[at : end if end >= 0 else len(chunk)]
                if len(header) > LONGEST_HEADER:
                    raise InputError(f"{source.path}: a header of {len(header):,} bytes; is it FASTA?")
                if end < 0:
                    break
                name = header.split(maxsplit=1)[0] if header[:1].strip() else b""
                yield Block(check_name(name, source), b"")
                header, line_start, at = None, True, end + 1
            elif line_start and chunk[at : at + 1] == b">":
                header, started, at = b"", True, at + 1
            else:
                end = _next_header(chunk, at)
                text = _without_empty_lines(chunk[at:end], line_start)
                if text and not started:
                    raise InputError(
                        f"{source.path}: expected FASTA (plain, gzip, bgzip), whose first character is '>', "
                        f"or .2bit, got {text[:20]!r}"
                    )
                if text:
                    yield Block(None, text)
                    line_start = text.endswith(b"\n")
                at = end
    if not started:
        raise InputError(f"{source.path}: expected FASTA, got only empty lines")


def check_name(word: bytes, source: Source) -> str:
    """Return the name of a record."""
    name = word.decode("utf-8", "replace")
    if not (name and name.isascii() and name.isprintable()):
        raise InputError(
            f"{source.path}: expected a name of printable ASCII for each record, got {name!r}; rename it"
        )
    return name


def _next_header(chunk: bytes, at: int) -> int:
    """Return where the next header begins after `at`, or the end of the chunk."""
    end = chunk.find(b">", at + 1)
    while end >= 0 and chunk[end - 1 : end] != b"\n":
        end = chunk.find(b">", end + 1)
    return end if end >= 0 else len(chunk)


def _without_blanks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Drop blanks and tabs at the ends of lines; those that end a piece may stand inside a line."""
    held = b""
    for piece in pieces:
        blanks = [blank for blank in (b" ", b"\t") if blank in piece]  # fast: most pieces have none
        if held or any(piece.endswith(blank) or blank + b"\n" in piece for blank in blanks):
            lines = [(line, line.rstrip(b" \t")) for line in (held + piece).split(b"\n")]
            held = lines[-1][0][len(lines[-1][1]) :]
            piece = b"\n".join(line for _, line in lines)
        yield piece


def _without_empty_lines(text: bytes, line_start: bool) -> bytes:
    """Remove empty lines; `line_start` is whether the text begins a line."""
    if line_start:
        text = text.lstrip(b"\n")
    ends = np.frombuffer(text, dtype=np.uint8) == ord("\n")
    if (ends[1:] & ends[:-1]).any():  # several times faster than a search for two bytes
        text = re.sub(b"\n+", b"\n", text)
    return text


def _chunks(source: Source) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, some at a time."""
    with gzip_errors(source.path), io.BufferedReader(source) as raw:
        file = unpacked(raw, source.path)
        while chunk := file.read(CHUNK):
            yield chunk


def _read_ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what `pieces` yields, each read in a thread while the caller works on the one before."""
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(next, pieces, None)
        while (piece := reading.result()) is not None:
            reading = pool.submit(next, pieces, None)
            yield piece
