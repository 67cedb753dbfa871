"""Atomic writes of files and folders, JSON, and locks that end with their owner."""

import contextlib
import fcntl
import hashlib
import inspect
import json
import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO, get_args, get_origin, get_type_hints

from dnalm.errors import InputError

CHUNK = 1 << 20
"""Bytes read or hashed at a time."""
LOCK = ".lock"


class FieldError(Exception):
    """A field of JSON content that is missing or has the wrong type; the message is its dotted name."""


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing that replaces `path` only when the block ends without an error."""
    fresh = _unfinished(path)
    try:
        with fresh.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, before: Path | None = None) -> Iterator[Path]:
    """Make a new folder that replaces `path` only when the block ends without an error.

    The old folder is renamed until the new one is in place; if the process ends between the two renames,
    `recover` restores it. It stays as `before`, in place of an older one, or is removed if that is None: at
    every moment at least one of `path` and `before` is complete.
    """
    fresh = _unfinished(path)
    old = fresh.with_suffix(".old")
    fresh.mkdir()
    try:
        yield fresh
        for written in [*fresh.iterdir(), fresh]:
            _to_disk(written)
        if before is not None and before.exists() and path.exists():
            os.replace(before, old)
        if path.exists():
            os.replace(path, before or old)
        os.replace(fresh, path)
        _to_disk(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


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


def write_text(path: Path, text: str) -> None:
    r"""Write `text` as UTF-8, atomically; bytes of a path that are no UTF-8 as in JSON, `\udce9`."""
    with atomic_file(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; a NaN or infinity becomes null."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; raise an InputError that names it, if it is something else."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected JSON, got something else ({error}); was it cut short?") from error


@contextlib.contextmanager
def regular_file(path: Path) -> Iterator[Path]:
    """Return `path`, or of a pipe a copy in a temporary folder: a pipe can be read only once.

    An InputError inside the block names the pipe and not the copy.
    """
    if not (path.is_fifo() or path.is_char_device()):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="dnalm-pipe-") as folder:
        copy = Path(folder) / path.name
        with path.open("rb") as pipe, copy.open("xb") as file:
            shutil.copyfileobj(pipe, file)
        try:
            yield copy
        except InputError as error:
            raise InputError(str(error).replace(str(copy), str(path))) from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    if path.is_fifo():
        raise InputError(f"{path}: a pipe can be read only once; save it to a file first")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock `folder` (made if absent) for this process; the system unlocks it when the process ends.

    Where an error ends the block before anything is written, no trace of the folder is left.

    Raises:
        InputError: if another live process holds it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            raise InputError(
                f"{folder}: another dnalm (process {file.read()}) is writing here; wait for it or choose "
                "another folder"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        except BaseException:
            if [path.name for path in folder.glob("*")] == [LOCK]:
                (folder / LOCK).unlink()
                with contextlib.suppress(OSError):  # something else is in a parent now
                    for path in made:
                        path.rmdir()
            raise


def need_space(folder: Path, size: int) -> None:
    """Raise an InputError if `size` bytes do not fit on the disk of `folder`."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < size:
        raise InputError(
            f"{folder}: about {size / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free; "
            "free some space or choose another folder"
        )


def _unfinished(path: Path) -> Path:
    """Return a name of its own beside `path`, for what will replace it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


def _to_disk(path: Path) -> None:
    """Wait until a file's or a folder's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
    if kind is Any or (value is None and NoneType in inner):
        return value
    if NoneType in inner:
        return from_json(value, inner[0])
    if kind is float and (value is None or type(value) in (int, float)):
        return math.nan if value is None else float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    if origin is list and isinstance(value, list):
        return [_inside(item, inner[0], str(row)) for row, item in enumerate(value)]
    if not isinstance(value, dict) or kind in (float, int, str, bool) or origin is list:
        raise FieldError("")
    if origin is dict:
        return {name: _inside(item, inner[1], name) for name, item in value.items()}
    hints = get_type_hints(kind)
    required = inspect.signature(kind).parameters.values()
    if missing := [each.name for each in required if each.default is each.empty and each.name not in value]:
        raise FieldError(missing[0])
    return kind(**{name: _inside(value[name], hints[name], name) for name in hints if name in value})


def _inside(value: Any, kind: Any, name: str) -> Any:
    """Return a field of an object; its name is added to an error."""
    try:
        return from_json(value, kind)
    except FieldError as error:
        raise FieldError(f"{name}.{error}" if str(error) else name) from error
