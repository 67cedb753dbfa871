"""The catalogue of public data sets, and the download of one file: checked, resumed, complete or not there.

A download grows in `FILE.part` beside its target and moves there once size and digest are right. Nothing that
was downloaded is run or unpacked.
"""

import contextlib
import errno
import hashlib
import os
import re
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from dnalm import __version__
from dnalm.errors import InputError
from dnalm.files import need_space

CATALOGUE = Path(__file__).parent / "catalogue.toml"
DELAYS = (1.0, 2.0, 4.0)
"""Seconds to wait before each new try after a broken connection."""
TIMEOUT = 30.0
"""Seconds of silence after which a connection counts as broken."""
CHUNK = 1 << 18
"""Bytes received at a time, at most."""
RETRIED = {408, 416, 425, 429, 500, 502, 503, 504}
"""HTTP answers after which the next try may succeed (RFC 9110, section 15; RFC 6585; RFC 8470)."""
OTHER_RANGE = "the server sent another part of the file than requested"
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Tick = Callable[[int], None]
"""Called with the bytes of the file that have arrived."""


@dataclass(frozen=True)
class Remote:
    """One file of a set, pinned by `bytes` and `sha256`; or else of `about_bytes`, at best in an MD5 list."""

    path: str
    bytes: int | None = None
    sha256: str | None = None
    about_bytes: int | None = None
    md5_list: str | None = None

    @property
    def name(self) -> str:
        """The file's own name."""
        return Path(self.path).name

    @property
    def size(self) -> int:
        """Bytes, approximate where the file is not pinned."""
        return self.bytes or self.about_bytes or 0


@dataclass(frozen=True)
class DataSet:
    """One set of the catalogue."""

    name: str
    what: str
    terms: str
    base: str
    files: tuple[Remote, ...]

    @property
    def pinned(self) -> bool:
        """Whether a SHA-256 is known for every file."""
        return all(file.sha256 for file in self.files)

    @property
    def title(self) -> str:
        """One line: what it is, and on what terms."""
        return f"{self.name}: {self.what}; terms: {self.terms}"

    def address(self, path: str, mirror: str | None) -> str:
        """Return where a file is, on a mirror or at its source."""
        return f"{(mirror or self.base).rstrip('/')}/{quote(path)}"


def read_catalogue(path: Path | None = None) -> dict[str, DataSet]:
    """Return the sets of a catalogue by name, in its order."""
    sets: dict[str, DataSet] = {}
    for entry in tomllib.loads((path or CATALOGUE).read_text(encoding="utf-8"))["sets"]:
        files = tuple(Remote(**file) for file in entry.pop("files"))
        if "repository" in entry:
            repository, commit = entry.pop("repository"), entry.pop("commit")
            entry["base"] = f"https://raw.githubusercontent.com/{repository}/{commit}/"
        assert entry["name"] not in sets, f"{entry['name']} is there twice"
        sets[entry["name"]] = DataSet(**entry, files=files)
    return sets


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


class _BrokenError(Exception):
    """The connection failed in a way that may be gone at the next try."""


def hexdigest(path: Path, algorithm: str) -> str:
    """Return the digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def download(wanted: Download, tick: Tick) -> None:
    """Download one file, complete and checked.

    A piece from an earlier run is continued, if a digest can show that the pieces belong together.

    Raises:
        InputError: if it cannot be downloaded, is not the wanted file, or does not fit on the disk. Nothing
            is left at its target; a piece is left only where the next run can continue it.
    """
    if wanted.digest is None:
        wanted.part.unlink(missing_ok=True)
    resumed = wanted.part.exists()
    begun = wanted.part.stat().st_size if resumed else 0
    need_space(wanted.target.parent, max(0, wanted.about_bytes - begun))
    try:
        found = _receive(wanted, tick)
        if resumed and found != wanted.digest:  # the earlier piece was of another file
            wanted.part.unlink()
            found = _receive(wanted, tick)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        wanted.part.unlink(missing_ok=True)
        size = f"{wanted.about_bytes / 1e6:,.0f} MB"
        raise InputError(
            f"{wanted.target}: the disk is full; free about {size} or use another `out`"
        ) from error
    if wanted.digest not in (None, found):
        wanted.part.unlink()
        raise _another_file(wanted, f"{wanted.algorithm} {wanted.digest}", f"{wanted.algorithm} {found}")
    os.replace(wanted.part, wanted.target)


def read_text(url: str, advice: str) -> str:
    """Return a small text file, such as a list of digests.

    Raises:
        InputError: if it cannot be downloaded.
    """
    chunks: list[bytes] = []

    def receive() -> None:
        with _open(url, 0, advice) as response:
            chunks[:] = _chunks(response)

    _retry(url, advice, receive)
    return b"".join(chunks).decode("ascii", "replace")


def _receive(wanted: Download, tick: Tick) -> str:
    """Complete the part file and return its digest."""
    _retry(wanted.url, wanted.advice, lambda: _append(wanted, tick))
    return hexdigest(wanted.part, wanted.algorithm)


def _retry(url: str, advice: str, action: Callable[[], None]) -> None:
    """Do `action`, again after each of `DELAYS` while the connection breaks."""
    for tries, delay in enumerate((*DELAYS, None), 1):
        try:
            return action()
        except _BrokenError as error:
            unreachable = isinstance(error.__cause__, urllib.error.URLError) and tries == 1
            if delay is None or (unreachable and not isinstance(error.__cause__, urllib.error.HTTPError)):
                raise InputError(
                    f"{url}: could not be downloaded ({error}; tries: {tries})\n"
                    f"  again: the same command continues where this one stopped, if it can\n{advice}"
                ) from error
        time.sleep(delay)
    return None


def _append(wanted: Download, tick: Tick) -> None:
    """Add to the part file until it is complete, from its end if the server can.

    Raises:
        _BrokenError: if the connection ends before the file does.
        InputError: if the server's file has another size than the wanted one.
    """
    begun = wanted.part.stat().st_size if wanted.part.exists() else 0
    if wanted.bytes is not None and begun >= wanted.bytes:
        if begun == wanted.bytes:
            return
        begun = 0
    try:
        with _open(wanted.url, begun, wanted.advice) as response:
            begun, size = _range(response, begun)
            _check_size(wanted, size)
            with wanted.part.open("ab" if begun else "wb") as file:
                tick(begun)
                for chunk in _chunks(response):
                    begun += len(chunk)
                    _check_size(wanted, max(begun, wanted.bytes or 0))
                    file.write(chunk)
                    tick(begun)
                file.flush()
                os.fsync(file.fileno())
    except _BrokenError as error:
        if getattr(error.__cause__, "code", None) == 416 or error.args[0] == OTHER_RANGE:
            wanted.part.unlink()  # the server has no such part of the file
        raise
    expected = wanted.bytes or size
    if expected is not None and begun < expected:
        raise _BrokenError(f"the connection broke after {begun:,} of {expected:,} bytes")


def _range(response: Any, begun: int) -> tuple[int, int | None]:
    """Return the byte a response starts at, 0 or `begun`, and the size of the full file where it is given."""
    if response.status != 206:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != begun:
        raise _BrokenError(OTHER_RANGE)
    return begun, None if match[2] == "*" else int(match[2])


def _check_size(wanted: Download, size: int | None) -> None:
    if size is not None and wanted.bytes is not None and size != wanted.bytes:
        wanted.part.unlink(missing_ok=True)
        raise _another_file(wanted, f"{wanted.bytes:,} bytes", f"{size:,} bytes or more")


def _another_file(wanted: Download, expected: str, found: str) -> InputError:
    return InputError(
        f"{wanted.url}: not the expected file, nothing was stored\n"
        f"  expected {expected}\n  got      {found}\n{wanted.advice}"
    )


@contextlib.contextmanager
def _open(url: str, begin: int, advice: str) -> Iterator[Any]:
    """Open an http or https address, from byte `begin`; urllib refuses redirects to files."""
    headers = {"User-Agent": f"dnalm/{__version__}"} | ({"Range": f"bytes={begin}-"} if begin else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        if error.code in RETRIED:
            raise _BrokenError(answer) from error
        raise InputError(f"{url}: could not be downloaded ({answer})\n{advice}") from error
    except urllib.error.URLError as error:
        raise _BrokenError(f"no connection to {urlsplit(url).netloc}: {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"the connection broke: {error}") from error
    with response:
        if urlsplit(response.url).scheme not in ("http", "https"):
            raise InputError(f"{url}: a redirect to {response.url} is not allowed\n{advice}")
        yield response


def _chunks(response: Any) -> Iterator[bytes]:
    """Yield what arrives, as it arrives."""
    try:
        while chunk := response.read1(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"the connection broke: {error}") from error
