"""Checkpoint folders, written atomically; and the only reader of `.pt` files.

A checkpoint folder holds `model.safetensors` and `checkpoint.json`, which describes the tensors and has the
digest of the file. This module knows no model.
"""

import hashlib
import json
import pickle
import re
import struct
import warnings
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
    """Return the checkpoint folder that `path` names: itself, or `checkpoint` inside a run's folder."""
    for folder in (path, path / "checkpoint"):
        if (folder / DESCRIPTION).is_file():
            return folder
    what = f"no {DESCRIPTION} in it" if path.exists() else "there is no such folder"
    raise InputError(f"{path}: expected a model folder written by dnalm, but {what}; see dnalm info PATH")


def describe(path: Path) -> dict[str, Any]:
    """Return the description of a checkpoint without reading its tensors; raise an InputError as `load`."""
    folder = locate(path)
    content = read_json(folder / DESCRIPTION)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{folder}: expected a checkpoint written by dnalm, got another {DESCRIPTION}")
    if (version := content.get("format_version")) != FORMAT_VERSION:
        raise InputError(f"{folder}: checkpoint of format {version}, this dnalm reads {FORMAT_VERSION}")
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
    """Return the SHA-256 of a described checkpoint's tensors, which identifies a model in results."""
    return str(description["files"][WEIGHTS]["sha256"])


def check_names(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    """Raise an InputError if tensors `found` are not those `wanted` by name and shape; some are named."""
    wrong = [f"missing {name}" for name in sorted(wanted.keys() - found.keys())[:3]]
    wrong += [f"not in this model {name}" for name in sorted(found.keys() - wanted.keys())[:3]]
    wrong += [
        f"{name} is {list(found[name].shape)}, wanted {list(wanted[name].shape)}"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name].shape != found[name].shape
    ]
    if wrong:
        raise InputError(f"{source}: its tensors are not this model's: " + "; ".join(wrong[:5]))


@torch.no_grad()
def load_strict(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    """Copy the tensors `found` in a file into those of a model, all of them or none; check their names."""
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

    Beside tensors and plain values a file may hold numpy's numbers, which become Python's, and the published
    `GPTConfig`, which becomes a dictionary. Whatever else it names is refused, and its name is reported.

    Raises:
        InputError: if it is no such file, or needs code to be run, which is named.
    """
    try:
        with torch.serialization.safe_globals(STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of the file is said below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file can fail in torch in any way
        refused = isinstance(error, pickle.UnpicklingError) and re.search(r"GLOBAL (\S+)", str(error))
        if refused:
            raise InputError(
                f"{path}: refused, because opening it would run {refused[1]}; only tensors and numbers are "
                "read: ask its author for a safetensors file"
            ) from error
        what = "expected a PyTorch file of tensors, got something else or a damaged one"
        if "TorchScript" in str(error):
            what = "expected a file of tensors, got TorchScript, a program; where it was made, save its "
            what += "tensors: torch.save(model.state_dict(), FILE)"
        raise InputError(f"{path}: {what}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return content


class _Config(dict[str, Any]):
    """In place of the published scripts' dataclass: its fields by name."""

    def __setstate__(self, state: Any) -> None:
        self.update(state)


class _Kind:
    """In place of `numpy.dtype`: the kind and the byte order of one number."""

    def __init__(self, name: str, *_flags: Any) -> None:
        self.code = NUMBERS[name]

    def __setstate__(self, state: Any) -> None:
        self.code = state[1].replace("|", "=") + self.code


def _number(kind: _Kind, data: bytes) -> float:
    """Return one number of its kind and its bytes, in place of numpy's function."""
    value: float
    (value,) = struct.unpack(kind.code, data)
    return value


STAND_INS: list[Any] = [
    (_Config, "__main__.GPTConfig"),
    (_Kind, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),  # numpy 1
    (_number, "numpy._core.multiarray.scalar"),  # numpy 2
]
"""All that a `.pt` file may name beside tensors and plain values, and what stands in its place."""


def _digest_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values, whatever their order and spacing in the file."""
    return hashlib.sha256(json.dumps(finite(content), sort_keys=True).encode()).hexdigest()
