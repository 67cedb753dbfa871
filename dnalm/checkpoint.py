"""Checkpoint folders: tensors and JSON, whole or not there; and the only reader of `.pt` files.

A checkpoint folder holds `model.safetensors` and `checkpoint.json`, which says what the tensors are and gives
the digest of the file. This module knows no model.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

import dnalm
from dnalm.files import atomic_file, atomic_folder, finite, read_json, sha256, write_json

FORMAT = "dnalm-checkpoint"
FORMAT_VERSION = 1
DESCRIPTION = "checkpoint.json"
WEIGHTS = "model.safetensors"
HARMLESS: list[Any] = [
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
]
"""What a `.pt` file may name beside tensors and plain values: numpy's numbers."""


def save(folder: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write a checkpoint folder in place of `folder`, whole or not at all.

    Args:
        folder: where.
        tensors: by name; no two may share memory.
        description: JSON values saved beside them, for example what is needed to build the model.
    """
    with atomic_folder(folder) as fresh:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        (fresh / WEIGHTS).write_bytes(safetensors.torch.save(plain))
        header = {"format": FORMAT, "format_version": FORMAT_VERSION, "dnalm_version": dnalm.__version__}
        digest = {"bytes": (fresh / WEIGHTS).stat().st_size, "sha256": sha256(fresh / WEIGHTS)}
        content = header | dict(description) | {"files": {WEIGHTS: digest}}
        write_json(fresh / DESCRIPTION, content | {"sha256": _digest_of(content)})


def locate(path: Path) -> Path:
    """Return the checkpoint folder that `path` names: itself, or `checkpoint` inside a run's folder.

    Raises:
        ValueError: if there is none.
    """
    for folder in (path, path / "checkpoint"):
        if (folder / DESCRIPTION).is_file():
            return folder
    what = "it is not there" if not path.exists() else f"no {DESCRIPTION} in it"
    raise ValueError(
        f"{path}: expected a model folder written by dnalm, but {what}; `dnalm info` tells what a path is"
    )


def describe(path: Path) -> dict[str, Any]:
    """Return the description of a checkpoint without reading its tensors.

    Raises:
        ValueError: if `path` is no checkpoint folder, or of another format.
    """
    folder = locate(path)
    content = read_json(folder / DESCRIPTION)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{folder}: expected a checkpoint written by dnalm, got another {DESCRIPTION}")
    if content.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{folder}: checkpoint of format {content.get('format_version')}, "
            f"this dnalm reads {FORMAT_VERSION}"
        )
    if content.get("sha256") != _digest_of({key: content[key] for key in content if key != "sha256"}):
        raise ValueError(
            f"{folder / DESCRIPTION}: damaged, its content is not what was written; use another copy"
        )
    return content


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, on the CPU, and the description of a checkpoint.

    Raises:
        ValueError: if `path` is no checkpoint, is damaged or incomplete; the file is named.
    """
    content = describe(path)
    weights = locate(path) / WEIGHTS
    if not weights.is_file():
        raise ValueError(f"{weights}: missing; the checkpoint is incomplete, use another copy")
    expected = content["files"][WEIGHTS]
    if weights.stat().st_size != expected["bytes"] or sha256(weights) != expected["sha256"]:
        raise ValueError(f"{weights}: damaged, its content is not what {DESCRIPTION} says; use another copy")
    try:
        return safetensors.torch.load_file(weights), content
    except safetensors.SafetensorError as error:
        raise ValueError(f"{weights}: expected safetensors, got something else ({error})") from error


def check_names(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    """Check that the tensors `found` in a file are those a model wants, by name and shape.

    Raises:
        ValueError: naming what is missing, left over or of another shape.
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
        raise ValueError(f"{source}: its tensors are not this model's: " + "; ".join(wrong[:5]))


def write_pt(path: Path, content: Mapping[str, Any]) -> None:
    """Write a `.pt` file of tensors and plain values, which opens with `torch.load(weights_only=True)`."""
    with atomic_file(path) as file:
        torch.save(dict(content), file)


def read_pt(path: Path) -> dict[str, Any]:
    """Read a `.pt` file without running anything in it.

    Raises:
        ValueError: if it is no such file, or asks for code to be run; what it asked for is named.
    """
    try:
        with torch.serialization.safe_globals(HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("GLOBAL ")[-1].split(" was not")[0] if "GLOBAL " in str(error) else None
        if reason:
            raise ValueError(
                f"{path}: refused, because opening it would run {reason}; "
                "only tensors and numbers are read: ask its author for a safetensors file"
            ) from error
        raise ValueError(f"{path}: expected a PyTorch file of tensors, got something else") from error
    except OSError:
        raise
    except Exception as error:  # a damaged file can fail in torch in any way
        raise ValueError(
            f"{path}: expected a PyTorch file of tensors, got something else or a damaged one"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return content


def _digest_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values, whatever their order and spacing in the file."""
    return hashlib.sha256(json.dumps(finite(content), sort_keys=True).encode()).hexdigest()


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
