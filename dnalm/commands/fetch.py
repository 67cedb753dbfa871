"""`dnalm fetch`: public data sets, downloaded from pinned addresses and checked.

The sets are listed in `dnalm/catalogue.toml`. A file's address is the set's base followed by the file's path.
With `--from URL` it is URL/PATH: for a set that lies on GitHub, PATH is the path in the repository, so that a
checkout of it under any web server is a mirror; for the others it is what follows the server's name.
"""

import contextlib
import ipaddress
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import tyro
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from dnalm.config import nearest
from dnalm.download import DataSet, Download, Remote, Tick, download, hexdigest, read_catalogue, read_text
from dnalm.errors import InputError
from dnalm.files import lock

HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?")
"""Labels of 1 to 63 letters, digits and inner hyphens (RFC 1123, section 2.1); some have underscores."""


@dataclass(frozen=True)
class Options:
    """Download public data sets and check them, or list them all."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Sets to download; without any, the sets are listed."""
    out: Path = Path("downloads")
    """Where they go: OUT/NAME/FILE."""
    mirror: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A mirror, http or https: each file is taken at URL/PATH, with PATH as --dry-run shows it."""
    accept_unpinned: bool = False
    """Download also a set that no SHA-256 is known for."""
    overwrite: bool = False
    """Replace a file that is there and is not the one in the catalogue."""
    dry_run: bool = False
    """Show addresses, places and sizes, and download nothing."""
    quiet: bool = False
    """Show no progress bar."""


def run(options: Options) -> None:
    """List the sets, or download those that were named.

    Raises:
        InputError: for an unknown name, an unpinned set without `accept_unpinned`, a mirror that is no http
            or https address, a download that fails or is not the expected file, or a full disk.
    """
    catalogue = read_catalogue()
    if not options.names:
        print(_listing(catalogue))
        return
    for chosen in _choose(catalogue, options):
        if options.dry_run:
            print(_plan(chosen, options))
        else:
            _fetch(chosen, options)


def _choose(catalogue: dict[str, DataSet], options: Options) -> list[DataSet]:
    """Return the named sets; all problems of the options are reported at once."""
    problems = []
    for name in options.names:
        if name not in catalogue:
            hint = nearest(name, list(catalogue))
            problems.append(f"{name}: no such set{hint} (dnalm fetch lists them)")
        elif not (catalogue[name].pinned or options.accept_unpinned or options.dry_run):
            problems.append(
                f"{name}: no SHA-256 is known for it; add --accept-unpinned to download it unchecked"
            )
    if options.mirror is not None and not _is_web_address(options.mirror):
        problems.append(
            f"--from must be an http:// or https:// address in ASCII without blanks, got {options.mirror!r}; "
            "give one such as https://mirror.org/genomes, its path percent-encoded"
        )
    if problems:
        raise InputError("\n".join(problems))
    return [catalogue[name] for name in dict.fromkeys(options.names)]


def _is_web_address(text: str) -> bool:
    """Return whether a text is an http or https address in ASCII without blanks, with a host."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        if ":" in host:
            ipaddress.IPv6Address(host)
        elif not HOST.fullmatch(host):
            return False
    except ValueError:  # of urllib: a port that is no number, brackets that do not close
        return False
    return parts.scheme in ("http", "https") and port != 0 and bool(re.fullmatch(r"[!-~]+", text))


def _listing(catalogue: dict[str, DataSet]) -> str:
    rows = [("name", "files", "size", "pinned", "terms", "what")]
    for one in catalogue.values():
        size = _size(sum(file.size for file in one.files))
        pinned = "yes" if one.pinned else "MD5 only" if all(file.md5_list for file in one.files) else "no"
        about = "" if one.pinned else "about "
        rows.append((one.name, str(len(one.files)), about + size, pinned, one.terms, one.what))
    widths = [max(len(row[column]) for row in rows) for column in range(5)] + [0]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, "", "`dnalm fetch NAME` downloads one to downloads/NAME/ and checks it."])


def _plan(chosen: DataSet, options: Options) -> str:
    lines = [chosen.title]
    for file in chosen.files:
        target = options.out / chosen.name / file.name
        about = "" if file.bytes else "about "
        state = "a file is there" if target.exists() else about + _size(file.size)
        lines += [f"  {file.path}", f"    from {chosen.address(file.path, options.mirror)}"]
        lines += [f"    to {target} ({state})"]
    if not chosen.pinned:
        lines.append("  not pinned: needs --accept-unpinned")
    return "\n".join(lines)


def _size(count: int) -> str:
    unit, scale = next((each for each in (("GB", 1e9), ("MB", 1e6)) if count >= each[1]), ("kB", 1e3))
    return f"{count / scale:.1f} {unit}"


def _fetch(chosen: DataSet, options: Options) -> None:
    """Download the files of one set that are not there yet."""
    print(chosen.title, file=sys.stderr)
    folder = options.out / chosen.name
    done = []
    with lock(folder), _progress(options.quiet) as tick_of:
        for file in chosen.files:
            wanted = _wanted(chosen, file, folder, options.mirror)
            verb = "is already there"
            if not _is_there(wanted, options.overwrite):
                download(wanted, tick_of(file.name, file.size))
                verb = "downloaded"
            digest = wanted.digest or hexdigest(wanted.target, wanted.algorithm)
            known = "" if wanted.digest else ", which nothing was known to check against"
            done.append(f"{wanted.target}: {verb}, {wanted.algorithm} {digest}{known}")
    print("\n".join(done))


def _wanted(chosen: DataSet, file: Remote, folder: Path, mirror: str | None) -> Download:
    """Return what to download for `file`; reads the list of MD5 sums where that is all there is."""
    url, target = chosen.address(file.path, mirror), folder / file.name
    advice = (
        f"  by hand: download that address with another program, save it as {target},\n"
        "           and give the same command, which then checks it\n"
        f"  or from a mirror: --from URL, where it must be at URL/{file.path}"
    )
    if file.md5_list is None:
        return Download(url, target, file.bytes, file.size, "sha256", file.sha256, advice)
    list_url = chosen.address(file.md5_list, mirror)
    for line in read_text(list_url, advice).splitlines():
        match line.split():
            case [md5, name] if name.lstrip("*") == file.name:
                return Download(url, target, None, file.size, "md5", md5.lower(), advice)
    raise InputError(f"{list_url}: expected a line with the MD5 of {file.name}, found none\n{advice}")


def _is_there(wanted: Download, overwrite: bool) -> bool:
    """Return whether the wanted file is at its target.

    Raises:
        InputError: if another file is, which may not be replaced.
    """
    if not wanted.target.exists():
        return False
    if wanted.digest is None:
        return not overwrite
    found = hexdigest(wanted.target, wanted.algorithm)
    if found != wanted.digest and not overwrite:
        raise InputError(
            f"{wanted.target}: is there, but is another file; move it away, or add --overwrite\n"
            f"  expected {wanted.algorithm} {wanted.digest}\n  got      {wanted.algorithm} {found}"
        )
    return found == wanted.digest


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int], Tick]]:
    """Give a function that adds a bar for a file of so many bytes; shown on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    hidden = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False, disable=hidden) as bars:

        def tick_of(name: str, size: int) -> Tick:
            task = bars.add_task(name, total=size)
            return lambda count: bars.update(task, completed=count)

        yield tick_of
