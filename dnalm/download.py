"""Downloading one file: checked, gone on with where it stopped, whole or not there.

A download grows in `FILE.part` beside its place and moves there once size and digest are right. Nothing that
was downloaded is run or unpacked.
"""

import contextlib
import errno
import hashlib
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from dnalm import __version__
from dnalm.errors import InputError
from dnalm.files import need_space

DELAYS = (1.0, 2.0, 4.0)
"""Seconds to wait before each new try after a cut connection."""
TIMEOUT = 30.0
"""Seconds of silence after which a connection counts as cut."""
CHUNK = 1 << 18
"""Bytes received at a time, at most."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP answers that may be gone at the next try (RFC 9110, section 15; RFC 6585; RFC 8470)."""
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

T = TypeVar("T")
Tick = Callable[[int], None]
"""Is told how many bytes of the file are there."""


@dataclass(frozen=True)
class Download:
    """One file: from where, to where, and what it must be."""

    url: str
    target: Path
    bytes: int | None
    """Exact size, or None where it is not known."""
    about_bytes: int
    """Size for the disk check."""
    algorithm: str
    """Of the digest, a name that hashlib knows."""
    digest: str | None
    """In hexadecimal, or None where it is not known."""
    advice: str
    """What the user can do when it fails; ends every message."""

    @property
    def part(self) -> Path:
        """Where the download grows."""
        return self.target.with_name(self.target.name + ".part")


class _Cut(Exception):
    """The connection failed in a way that may be gone at the next try."""


class _Unreachable(_Cut):
    """No connection came about at all."""


def hexdigest(path: Path, algorithm: str) -> str:
    """Return the digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def download(wanted: Download, tick: Tick) -> None:
    """Bring one file into its place, whole and checked.

    A piece from an earlier run is gone on with, if there is a digest to tell that the pieces belong together.

    Raises:
        InputError: if it cannot be had, is not the wanted file, or does not fit on the disk. Nothing is
            left in its place; a piece is left only where the next run can go on with it.
    """
    if wanted.digest is None:
        wanted.part.unlink(missing_ok=True)
    resumed = wanted.part.exists()
    begun = wanted.part.stat().st_size if resumed else 0
    need_space(wanted.target.parent, max(0, wanted.about_bytes - begun))
    try:
        found = _fill(wanted, tick)
        if resumed and found != wanted.digest:  # the earlier piece was of another file
            wanted.part.unlink()
            found = _fill(wanted, tick)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        wanted.part.unlink(missing_ok=True)
        raise InputError(
            f"{wanted.target}: the disk filled up, and the piece that was there is removed; free about "
            f"{wanted.about_bytes / 1e6:,.0f} MB or choose another --out"
        ) from error
    if wanted.digest not in (None, found):
        wanted.part.unlink()
        raise InputError(
            f"{wanted.url}: not the expected file, nothing was kept\n"
            f"  expected {wanted.algorithm} {wanted.digest}\n"
            f"  got      {wanted.algorithm} {found}\n{wanted.advice}"
        )
    os.replace(wanted.part, wanted.target)


def read_text(url: str, advice: str) -> str:
    """Return a small text file, such as a list of digests.

    Raises:
        InputError: if it cannot be had.
    """

    def receive() -> str:
        with _open(url, {}, advice) as response:
            return b"".join(_pieces(response)).decode("ascii", "replace")

    return _patiently(url, advice, receive)


def _fill(wanted: Download, tick: Tick) -> str:
    """Make the part file whole and return its digest."""
    _patiently(wanted.url, wanted.advice, lambda: _receive(wanted, tick))
    return hexdigest(wanted.part, wanted.algorithm)


def _patiently(url: str, advice: str, action: Callable[[], T]) -> T:
    """Do `action`, again after each of `DELAYS` while the connection is cut."""
    tries = 0
    while True:
        try:
            return action()
        except _Cut as cut:
            tries += 1
            if tries > len(DELAYS) or (tries == 1 and isinstance(cut, _Unreachable)):
                raise InputError(
                    f"{url}: could not be downloaded ({cut}; tries: {tries})\n"
                    f"  again: the same command goes on where this one stopped, if it can\n{advice}"
                ) from cut
        time.sleep(DELAYS[tries - 1])


def _receive(wanted: Download, tick: Tick) -> None:
    """Add to the part file until it is whole; go on where it ends if the server can.

    Raises:
        _Cut: if the connection ends before the file does.
        InputError: if the server's file has another size than the wanted one.
    """
    begun = wanted.part.stat().st_size if wanted.part.exists() else 0
    if wanted.bytes is not None and begun >= wanted.bytes:
        if begun == wanted.bytes:
            return
        begun = 0
    try:
        with _open(wanted.url, {"Range": f"bytes={begun}-"} if begun else {}, wanted.advice) as response:
            begun, whole = _range(response, begun)
            _check_size(wanted, whole)
            with wanted.part.open("ab" if begun else "wb") as file:
                tick(begun)
                for piece in _pieces(response):
                    begun += len(piece)
                    _check_size(wanted, begun, at_most=True)
                    file.write(piece)
                    tick(begun)
                file.flush()
                os.fsync(file.fileno())
    except _RangeRefused:
        wanted.part.unlink()
        raise
    expected = wanted.bytes or whole
    if expected is not None and begun < expected:
        raise _Cut(f"the connection was cut after {begun:,} of {expected:,} bytes")


class _RangeRefused(_Cut):
    """The server has no such part of the file, or sent another one."""


def _range(response: Any, begun: int) -> tuple[int, int | None]:
    """Return the byte a response starts at, 0 or `begun`, and the size of the whole file where it says so."""
    if response.status != 206:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != begun:
        raise _RangeRefused("the server sent another part of the file than it was asked for")
    return begun, None if match[2] == "*" else int(match[2])


def _check_size(wanted: Download, size: int | None, at_most: bool = False) -> None:
    if size is None or wanted.bytes is None or size == wanted.bytes or (at_most and size < wanted.bytes):
        return
    wanted.part.unlink(missing_ok=True)
    raise InputError(
        f"{wanted.url}: not the expected file, nothing was kept\n"
        f"  expected {wanted.bytes:,} bytes\n  got      {size:,} bytes{' or more' * at_most}\n{wanted.advice}"
    )


@contextlib.contextmanager
def _open(url: str, headers: dict[str, str], advice: str) -> Iterator[Any]:
    """Open an http or https address, and nothing else wherever it redirects, through the system's proxies."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    request = urllib.request.Request(url, headers={"User-Agent": f"dnalm/{__version__}", **headers})
    try:
        response = opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        if error.code == 416:
            raise _RangeRefused(answer) from error
        if error.code in PASSING:
            raise _Cut(answer) from error
        raise InputError(f"{url}: could not be downloaded ({answer})\n{advice}") from error
    except urllib.error.URLError as error:
        raise _Unreachable(f"no connection to {urlsplit(url).netloc}: {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _Cut(f"the connection was cut: {error}") from error
    with response:
        yield response


def _pieces(response: Any) -> Iterator[bytes]:
    """Yield what arrives, as it arrives."""
    while True:
        try:
            piece: bytes = response.read1(CHUNK)
        except (OSError, HTTPException) as error:
            raise _Cut(f"the connection was cut: {error}") from error
        if not piece:
            return
        yield piece
