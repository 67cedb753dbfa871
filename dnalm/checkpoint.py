"""Checkpoint folders, written atomically; and the only reader of `.pt` files.

A checkpoint folder holds `model.safetensors` and `checkpoint.json`, which describes the tensors and has the
digest of the file. This module knows no model.
"""

import hashlib
import json
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import dnalm
from dnalm.errors import InputError
from dnalm.files import atomic_file, atomic_folder, finite, read_json, sha256, write_json

FORMAT = "dnalm-checkpoint"
FORMAT_VERSION = 1
DESCRIPTION = "checkpoint.json"
WEIGHTS = "model.safetensors"
NUMBERS = {"f8": "d", "f4": "f", "i8": "q", "b1": "?"}
"""Kinds of numpy's numbers that a `.pt` file may hold, and what `struct` calls them."""
PLAIN = (str, bytes, int, float, complex, type(None), torch.Size, torch.dtype, torch.device)
"""What `read_pt` returns beside tensors and collections."""


def save(
    folder: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any], before: Path | None = None
) -> None:
    """Write a checkpoint folder in place of `folder`, atomically.

    Args:
        folder: where.
        tensors: by name; no two may share memory.
        description: JSON values saved beside them, for example the settings that build the model.
        before: where the old checkpoint stays; it is removed if None.
    """
    with atomic_folder(folder, before) as fresh:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        (fresh / WEIGHTS).write_bytes(safetensors.torch.save(plain))
        header = {"format": FORMAT, "format_version": FORMAT_VERSION, "dnalm_version": dnalm.__version__}
        digest = {"bytes": (fresh / WEIGHTS).stat().st_size, "sha256": sha256(fresh / WEIGHTS)}
        content = header | dict(description) | {"files": {WEIGHTS: digest}}
        write_json(fresh / DESCRIPTION, content | {"sha256": _digest_of(content)})


def locate(path: Path) -> Path:
    """Return the checkpoint folder that `path` names: itself, or `checkpoint` inside a run's folder.

    Raises:
        InputError: if there is none.
    """
    for folder in (path, path / "checkpoint"):
        if (folder / DESCRIPTION).is_file():
            return folder
    what = f"no {DESCRIPTION} in it" if path.exists() else "there is no such folder"
    raise InputError(f"{path}: expected a model folder written by dnalm, but {what}; see dnalm info PATH")


def describe(path: Path) -> dict[str, Any]:
    """Return the description of a checkpoint without reading its tensors.

    Raises:
        InputError: if `path` is no checkpoint folder, or of another format.
    """
    folder = locate(path)
    content = read_json(folder / DESCRIPTION)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{folder}: expected a checkpoint written by dnalm, got another {DESCRIPTION}")
    if content.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{folder}: checkpoint of format {content.get('format_version')}, "
            f"this dnalm reads {FORMAT_VERSION}"
        )
    if content.get("sha256") != _digest_of({key: content[key] for key in content if key != "sha256"}):
        raise InputError(f"{folder / DESCRIPTION}: damaged, its content was changed; use another copy")
    return content


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, on the CPU, and the description of a checkpoint.

    Raises:
        InputError: if `path` is no checkpoint, is damaged or incomplete; the file is named.
    """
    content = describe(path)
    weights = locate(path) / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{weights}: missing; the checkpoint is incomplete, use another copy")
    expected = content["files"][WEIGHTS]
    if weights.stat().st_size != expected["bytes"] or sha256(weights) != expected["sha256"]:
        raise InputError(f"{weights}: damaged, its content is not what {DESCRIPTION} says; use another copy")
    try:
        return safetensors.torch.load_file(weights), content
    except safetensors.SafetensorError as error:
        raise InputError(f"{weights}: expected safetensors, got something else ({error})") from error


def stored_digest(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a checkpoint's file of tensors, which identifies a model in results.

    Args:
        description: as `describe` and `load` return it.
    """
    return str(description["files"][WEIGHTS]["sha256"])


def check_names(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    """Check that the tensors `found` in a file are those of a model, by name and shape.

    Raises:
        InputError: naming those that are missing, unknown or of another shape.
    """
    wrong = []
    if missing := sorted(wanted.keys() - found.keys()):
        wrong.append("missing " + _first(missing))
    if extra := sorted(found.keys() - wanted.keys()):
        wrong.append("not in this model " + _first(extra))
    for name in sorted(wanted.keys() & found.keys()):
        if wanted[name].shape != found[name].shape:
            wrong.append(f"{name} is {list(found[name].shape)}, wanted {list(wanted[name].shape)}")
    if wrong:
        raise InputError(f"{source}: its tensors are not this model's: " + "; ".join(wrong[:5]))


@torch.no_grad()
def load_strict(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    """Copy the tensors `found` in a file into those of a model, all of them or none.

    Raises:
        InputError: if they are not exactly this model's; `source` and the tensors are named.
    """
    check_names(found, wanted, source)
    for name, tensor in wanted.items():
        tensor.copy_(found[name])


def weights_digest(module: nn.Module) -> str:
    """Return a SHA-256 of a module's tensors and their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_pt(path: Path, content: Mapping[str, Any]) -> None:
    """Write a `.pt` file of tensors and plain values, which opens with `torch.load(weights_only=True)`."""
    with atomic_file(path) as file:
        torch.save(dict(content), file)


def read_pt(path: Path) -> dict[str, Any]:
    """Read a `.pt` file without running anything in it.

    Beside what torch allows (tensors and plain values) a file may name what is in `ALLOWED`, in whose place
    stand classes of ours: numpy's numbers become Python's, and a `GPTConfig` a dictionary of its numbers.

    Raises:
        InputError: if it is no such file, or needs code to be run, which is named.
    """
    try:
        with torch.serialization.safe_globals(ALLOWED):
            content = _plain(torch.load(path, map_location="cpu", weights_only=True), {})
    except _RefusedError as error:
        raise _refusal(path, str(error)) from error
    except OSError:
        raise
    except Exception as error:  # a damaged file can fail in torch in any way
        is_refused = isinstance(error, pickle.UnpicklingError)
        if is_refused and (named := re.search(r"GLOBAL (\S+)", str(error))):
            raise _refusal(path, named[1]) from error
        raise InputError(
            f"{path}: expected a PyTorch file of tensors, got something else or a damaged one"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return content


class _RefusedError(Exception):
    """A file needs more than tensors and plain values; the message says what."""


class _Config:
    """In place of the published scripts' dataclass: numbers by name."""

    def __new__(cls, *arguments: Any) -> "_Config":
        if arguments:
            raise _RefusedError(f"{CONFIG} with arguments")
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        if type(state) is not dict:
            raise _RefusedError(f"{CONFIG} with a state that is no plain dictionary")
        for name, value in state.items():
            if type(name) is not str or type(value) not in (int, float, bool):
                raise _RefusedError(f"{CONFIG} with {name!r} a {type(value).__name__}, which is no number")
        self.__dict__.update(state)


class _Kind:
    """In place of `numpy.dtype`: the kind of one number."""

    def __init__(self, name: Any, *flags: Any) -> None:
        if type(name) is not str or name not in NUMBERS:
            raise _RefusedError(f"numpy.dtype with {name!r}, which is none of {', '.join(NUMBERS)}")
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, ...): the rest is of structured kinds, which are not allowed
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise _RefusedError("numpy.dtype with an unknown state")
        self.order = state[1].replace("|", "=")


def _number(kind: Any, data: Any) -> float:
    """Make one number of its kind and its bytes, in place of numpy's function."""
    if type(kind) is not _Kind or type(data) is not bytes:
        raise _RefusedError("numpy's multiarray.scalar with something that is no number")
    value: float
    (value,) = struct.unpack(kind.order + NUMBERS[kind.name], data)
    return value


CONFIG = "__main__.GPTConfig"
ALLOWED: list[Any] = [
    (_Config, CONFIG),
    (_Kind, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),  # numpy 1
    (_number, "numpy._core.multiarray.scalar"),  # numpy 2
]
"""All that a `.pt` file may name beside tensors and plain values, and what stands in its place."""


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """Return a value of a file, a plain dictionary for a config; refuse what is neither tensor nor plain.

    `seen` holds the copies of collections, by id: a file may name one many times, or inside itself.
    """
    if isinstance(value, (Tensor, *PLAIN)):
        return value
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, dict | _Config):
        made: dict[Any, Any] = {}
        seen[id(value)] = made
        for name, item in (value if isinstance(value, dict) else vars(value)).items():
            if not isinstance(name, str | int | float):
                raise _RefusedError(f"a name that is a {type(name).__name__}")
            made[name] = _plain(item, seen)
        return made
    if isinstance(value, list):
        items: list[Any] = []
        seen[id(value)] = items
        items.extend(_plain(item, seen) for item in value)
        return items
    if isinstance(value, tuple | set):
        seen[id(value)] = None  # there is no plain tuple inside itself
        seen[id(value)] = type(value)(_plain(item, seen) for item in value)
        return seen[id(value)]
    name = next((name for allowed, name in ALLOWED if value is allowed), type(value).__name__)
    raise _RefusedError(f"{name}, which is no number")


def _refusal(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: refused, because opening it would run {what}; only tensors and numbers are read: ask its "
        "author for a safetensors file"
    )


def _digest_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values, whatever their order and spacing in the file."""
    return hashlib.sha256(json.dumps(finite(content), sort_keys=True).encode()).hexdigest()


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
