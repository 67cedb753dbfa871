"""`dnalm fetch`: public data sets, downloaded from pinned addresses and checked.

The sets are listed in `dnalm/catalogue.toml`. A file's address is the set's base followed by the file's path.
With `--from URL` it is URL/PATH: for a set that lies on GitHub, PATH is the path in the repository, so that a
checkout of it under any web server is a mirror; for the others it is what follows the server's name.
"""

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

import tyro
from rich.filesize import decimal
from rich.progress import DownloadColumn, TransferSpeedColumn

from dnalm.commands.progress import aligned, bars, ticker
from dnalm.config import nearest, refuse
from dnalm.download import DataSet, Remote, download, read_catalogue, stream
from dnalm.errors import InputError
from dnalm.files import lock


@dataclass(frozen=True)
class Options:
    """Download public data sets and check them, or list them all."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Sets to download; without any, the sets are listed."""
    out: Path = Path("downloads")  # Where they go: OUT/NAME/FILE.
    mirror: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A mirror, http or https: each file is taken at URL/PATH, with PATH as --dry-run shows it."""
    accept_unpinned: bool = False  # Download also a set that no SHA-256 is known for.
    overwrite: bool = False  # Replace a file that is there and is not the one in the catalogue.
    dry_run: bool = False  # Show addresses, places and sizes, and download nothing.
    quiet: bool = False  # Show no progress bar.


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
    wrong = []
    for name in options.names:
        if name not in catalogue:
            wrong.append(f"{name}: no such set{nearest(name, list(catalogue))} (dnalm fetch lists them)")
        elif not (catalogue[name].pinned or options.accept_unpinned or options.dry_run):
            wrong.append(f"{name}: no SHA-256 is known; --accept-unpinned downloads it unchecked")
    if options.mirror is not None and not _is_web_address(options.mirror):
        wrong.append(f"--from must be an http:// or https:// address in ASCII, got {options.mirror!r}")
    refuse(wrong)
    for name in dict.fromkeys(options.names):
        print(f"{name}: {catalogue[name].what}; terms: {catalogue[name].terms}", file=sys.stderr)
        if options.dry_run:
            print(_plan(catalogue[name], options))
        else:
            _fetch(catalogue[name], options)


def _is_web_address(text: str) -> bool:
    """Return whether a text is an http or https address in ASCII."""
    try:
        parts = urlsplit(text)
        (parts.hostname or "").encode("idna")
        return parts.port != 0 and bool(parts.hostname and re.fullmatch(r"https?://[!-~]+", text))
    except ValueError:  # a port that is no number, brackets that do not close, two dots side by side
        return False


def _address(base: str, path: str) -> str:
    return f"{base.rstrip('/')}/{quote(path)}"


def _listing(catalogue: dict[str, DataSet]) -> str:
    """Return the table of all sets."""
    rows = [("name", "files", "size", "pinned", "terms", "what")]
    for one in catalogue.values():
        size = ("" if one.pinned else "about ") + decimal(sum(file.size for file in one.files))
        pinned = "yes" if one.pinned else "MD5 only" if all(file.md5_list for file in one.files) else "no"
        rows.append((one.name, str(len(one.files)), size, pinned, one.terms, one.what))
    return f"{aligned(rows)}\n\n`dnalm fetch NAME` downloads one to downloads/NAME/ and checks it."


def _plan(chosen: DataSet, options: Options) -> str:
    """Return what would be downloaded of one set: path, address and target of each file."""
    lines = [] if chosen.pinned else ["  not pinned: needs --accept-unpinned"]
    for file in chosen.files:
        target = options.out / chosen.name / file.name
        state = "a file is there" if target.exists() else decimal(file.size)
        url = _address(options.mirror or chosen.base, file.path)
        lines += [f"  {file.path}", f"    from {url}", f"    to {target} ({state})"]
    return "\n".join(lines)


def _fetch(chosen: DataSet, options: Options) -> None:
    """Download the files of one set that are not there yet."""
    folder, base = options.out / chosen.name, options.mirror or chosen.base
    columns = (DownloadColumn(), TransferSpeedColumn())
    with lock(folder), bars(*columns, quiet=options.quiet) as shown:
        for file in chosen.files:
            target, url = folder / file.name, _address(base, file.path)
            tick = ticker(shown, file.name, file.size)
            try:
                file = _with_md5(base, file)
                state = "is already there"
                if not _is_there(target, file, options.overwrite):
                    download(url, file, target, tick)
                    state = "downloaded"
            except InputError as error:
                raise InputError(
                    f"{error}\n  by hand: save {url} as {target}, and give the same command, which checks it"
                    f"\n  or from a mirror: --from URL, where it must be at URL/{file.path}"
                ) from error
            known = "" if file.digest else ", which nothing was known to check against"
            print(f"{target}: {state}, {file.digest_of(target)}{known}")


def _with_md5(base: str, file: Remote) -> Remote:
    """Return a file with its MD5, read from the list of its set if there is one."""
    if file.md5_list is None:
        return file
    url = _address(base, file.md5_list)
    text = b"".join(piece for _, piece in stream(url, 0)).decode("ascii", "replace")
    for line in text.splitlines():
        match line.split():
            case [md5, name] if name.lstrip("*") == file.name:
                return replace(file, md5=md5.lower())
    raise InputError(f"{url}: expected a line with the MD5 of {file.name}, found none")


def _is_there(target: Path, wanted: Remote, overwrite: bool) -> bool:
    """Return whether the wanted file is at its target.

    Raises:
        InputError: if another file is, which may not be replaced.
    """
    if not target.exists() or wanted.digest is None:
        return target.exists() and not overwrite
    found = wanted.digest_of(target)
    if found != wanted.digest and not overwrite:
        raise InputError(f"{target}: --overwrite replaces it: expected {wanted.digest}, got {found}")
    return found == wanted.digest
