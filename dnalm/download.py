"""The catalogue of public data sets, and the download of one file: checked, resumed, complete or not there.

A download grows in `FILE.part` beside its target and moves there once its digest is right. Nothing that was
downloaded is run or unpacked.
"""

import hashlib
import os
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from dnalm import __version__
from dnalm.errors import InputError
from dnalm.files import need_space

CATALOGUE = Path(__file__).parent / "catalogue.toml"
DELAYS = (1.0, 2.0, 4.0)  # seconds to wait before each new try after a broken connection
TIMEOUT = 30.0  # seconds of silence after which a connection counts as broken
CHUNK = 1 << 18  # bytes received at a time, at most
RETRIED = {408, 416, 425, 429, 500, 502, 503, 504}
"""HTTP answers after which the next try may succeed (RFC 9110, section 15; RFC 6585; RFC 8470)."""


@dataclass(frozen=True)
class Remote:
    """One file of a set, pinned by `bytes` and `sha256`; or else of `about_bytes`, at best in an MD5 list."""

    path: str
    bytes: int | None = None
    sha256: str | None = None
    about_bytes: int = 0
    md5_list: str | None = None
    md5: str | None = None  # once the list is read

    @property
    def name(self) -> str:
        """The file's own name."""
        return Path(self.path).name

    @property
    def size(self) -> int:
        """Bytes, approximate where the file is not pinned."""
        return self.bytes or self.about_bytes

    @property
    def digest(self) -> str | None:
        """What `digest_of` returns of this file, where it is known."""
        return f"md5 {self.md5}" if self.md5 else f"sha256 {self.sha256}" if self.sha256 else None

    def digest_of(self, path: Path) -> str:
        """Return the algorithm of this file's digest, and that digest of a file on disk in hexadecimal."""
        algorithm = "md5" if self.md5 else "sha256"
        with path.open("rb") as file:
            return f"{algorithm} {hashlib.file_digest(file, algorithm).hexdigest()}"


@dataclass(frozen=True)
class DataSet:
    """One set of the catalogue; its files are at `base`, or on a mirror, followed by their paths."""

    name: str
    what: str
    terms: str
    base: str
    files: tuple[Remote, ...]

    @property
    def pinned(self) -> bool:
        """Whether a SHA-256 is known for every file."""
        return all(file.sha256 for file in self.files)


def read_catalogue() -> dict[str, DataSet]:
    """Return the sets of the catalogue by name, in its order."""
    sets: dict[str, DataSet] = {}
    for entry in tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))["sets"]:
        files = tuple(Remote(**file) for file in entry.pop("files"))
        if "repository" in entry:
            repository, commit = entry.pop("repository"), entry.pop("commit")
            entry["base"] = f"https://raw.githubusercontent.com/{repository}/{commit}/"
        assert entry["name"] not in sets, f"{entry['name']} is there twice"
        sets[entry["name"]] = DataSet(**entry, files=files)
    return sets


def download(url: str, wanted: Remote, target: Path, tick: Callable[[int], None]) -> None:
    """Download one file, complete and checked; `tick` is called with the bytes that have arrived.

    A piece from an earlier run is continued, if a digest can show that the pieces belong together.

    Raises:
        InputError: if it cannot be downloaded, is not the wanted file, or does not fit on the disk. Nothing
            is left at its target; a piece is left only where the next run can continue it.
    """
    part = target.with_name(target.name + ".part")
    if wanted.digest is None:
        part.unlink(missing_ok=True)
    resumed = part.exists()
    size = part.stat().st_size if resumed else 0
    need_space(part.parent, max(0, wanted.size - size))
    if not resumed or wanted.digest_of(part) != wanted.digest:
        for begin, piece in stream(url, size):
            with part.open("ab") as file:
                file.truncate(begin)
                file.write(piece)
            tick(begin + len(piece))
            if wanted.bytes is not None and begin + len(piece) > wanted.bytes:
                break  # maybe without end
    found = wanted.digest_of(part)
    if wanted.digest in (None, found):
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
        return
    part.unlink()
    if not resumed:
        raise InputError(f"{url}: not the expected file: expected {wanted.digest}, got {found}")
    download(url, wanted, target, tick)  # the piece from an earlier run was of another file


def stream(url: str, begin: int) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of a file with their positions, from byte `begin`, or from 0 if the server has no such.

    A connection that breaks is tried again after each of `DELAYS`.

    Raises:
        InputError: if it cannot be downloaded.
    """
    for delay in (*DELAYS, None):
        headers = {"User-Agent": f"dnalm/{__version__}"} | ({"Range": f"bytes={begin}-"} if begin else {})
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, headers=headers), timeout=TIMEOUT
            ) as answer:
                if urlsplit(answer.url).scheme not in ("http", "https"):
                    raise InputError(f"{url}: a redirect to {answer.url} is not allowed")
                is_rest = answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-")
                begin = begin if answer.status == 206 and is_rest else 0
                if answer.status == 206 and not is_rest:
                    raise HTTPException("the server sent another part than requested")
                yield begin, b""  # there is such a file, maybe an empty one
                while piece := answer.read(CHUNK):
                    yield begin, piece
                    begin += len(piece)
                if not answer.length:  # what of the body has not arrived
                    return
                problem = f"the connection broke after {begin:,} of {begin + answer.length:,} bytes"
        except urllib.error.HTTPError as error:
            problem = f"the server answers {error.code} {error.reason}"
            begin = 0 if error.code == 416 else begin  # the server has nothing from `begin` on
            if error.code not in RETRIED:
                delay = None
        except (OSError, HTTPException) as error:
            problem = f"no connection, or it broke: {getattr(error, 'reason', error)}"
        if delay is None:
            raise InputError(f"{url}: {problem}; the same command continues, if it can")
        time.sleep(delay)
