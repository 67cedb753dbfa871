"""Atomic writes of files and folders, JSON, and locks that end with their owner."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO, get_args, get_origin, get_type_hints

from dnalm.errors import InputError

CHUNK = 1 << 20
"""Bytes read or hashed at a time."""


class FieldError(Exception):
    """A field of JSON content that is missing or has the wrong type; the message is its dotted name."""


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing that replaces `path` only when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(path: Path, before: Path | None = None) -> Iterator[Path]:
    """Make a new folder that replaces `path` only when the block ends without an error.

    The old folder is renamed until the new one is in place; if the process is killed between the two renames,
    `recover` restores it.

    Args:
        path: the folder.
        before: where the old folder stays, in place of an older one; it is removed if None. At every moment
            at least one of `path` and `before` is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield fresh
        os.chmod(fresh, 0o777 & ~_umask())
        for written in [*fresh.iterdir(), fresh]:
            _to_disk(written)
        old = fresh.with_suffix(".old")
        aside = before or old
        if path.exists():
            if aside.exists():
                os.replace(aside, old)
            os.replace(path, aside)
        try:
            os.replace(fresh, path)
        except BaseException:
            if aside.exists():
                os.replace(aside, path)
            if before is not None and old.exists():
                os.replace(old, before)
            raise
        _to_disk(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def recover(path: Path) -> None:
    """Clean up after a process that was killed inside `atomic_folder(path)`; the caller holds the lock.

    An old folder that was not replaced comes back; unfinished and replaced ones are removed.
    """
    for old in sorted(path.parent.glob(f".{path.name}.*.old")):
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(old, path)
    for unfinished in path.parent.glob(f".{path.name}.*.part"):
        shutil.rmtree(unfinished, ignore_errors=True)


def unfinished_files(folder: Path) -> list[Path]:
    """Return the files that processes killed inside `atomic_file` have left in `folder`."""
    return [path for path in folder.glob(".*.part") if path.is_file()]


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; a NaN or infinity becomes null."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: if the file is not JSON; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected JSON, got something else ({error}); was it cut short?") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock `folder` (made if absent) for this process; the system unlocks it when the process ends.

    Raises:
        InputError: if another live process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise InputError(
                f"{folder}: another dnalm (process {owner}) is writing here; wait for it or choose another "
                "folder"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def need_space(folder: Path, size: int) -> None:
    """Check that `size` bytes fit on the disk of `folder`, before anything is written.

    Raises:
        InputError: if they do not.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < size:
        raise InputError(
            f"{folder}: about {size / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free; "
            "free some space or choose another folder"
        )


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def finite(value: Any) -> Any:
    """Return JSON values with null for NaN and infinity, and lists for tuples."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_json(value: Any, kind: Any) -> Any:
    """Return JSON content as `kind`: a dataclass, a NamedTuple, a list, a dict or a plain type.

    Fields that `kind` does not have are ignored; a float that is null is NaN.

    Raises:
        FieldError: with the dotted name of what is missing or wrong; "" for `value` itself.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if NoneType in inner:
        return None if value is None else from_json(value, inner[0])
    if kind is float:
        if value is None:
            return math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif kind in (int, str, bool):
        if type(value) is kind:
            return value
    elif origin is list:
        if isinstance(value, list):
            return [_inside(item, inner[0], str(row)) for row, item in enumerate(value)]
    elif origin is dict:
        if isinstance(value, dict):
            return {name: _inside(item, inner[1], name) for name, item in value.items()}
    elif isinstance(value, dict):
        return _object(value, kind)
    raise FieldError("")


def _object(value: dict[str, Any], kind: Any) -> Any:
    """Return a JSON object as a dataclass or a NamedTuple."""
    hints = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        every = dataclasses.fields(kind)
        optional = {
            each.name
            for each in every
            if each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING
        }
        names = [each.name for each in every]
    else:
        names, optional = list(kind._fields), set()
    for name in names:
        if name not in value and name not in optional:
            raise FieldError(name)
    return kind(**{name: _inside(value[name], hints[name], name) for name in names if name in value})


def _inside(value: Any, kind: Any, name: str) -> Any:
    try:
        return from_json(value, kind)
    except FieldError as error:
        raise FieldError(f"{name}.{error}" if str(error) else name) from error
