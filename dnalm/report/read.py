"""A file of results, read and checked: its format, its version, and that all that is used of it is there."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from dnalm.bootstrap import Estimate
from dnalm.errors import InputError
from dnalm.files import read_json

NUMBER = (int, float, NoneType)
"""Types of a figure in a file: a NaN is null in JSON."""
COUNT = (int, float)
"""Types of a figure that is always known."""


def number(value: float | None) -> float:
    """Return a number of a JSON file; null stands for NaN."""
    return math.nan if value is None else float(value)


def estimate(found: Mapping[str, Any]) -> Estimate:
    """Return a figure of a JSON file with its interval."""
    return Estimate(*(number(found[key]) for key in ("value", "low", "high")))


def read_result(
    path: Path, form: str, version: int, problems: Callable[[Mapping[str, Any]], Iterable[str]]
) -> dict[str, Any]:
    """Read one file of results.

    Args:
        path: of the file.
        form: the format that it must name.
        version: of that format.
        problems: names what is missing from the content or is of another kind.

    Raises:
        InputError: if it is of another format or version, or is damaged; what is wrong is named.
    """
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if found != form:
        raise InputError(f"{path}: expected the format {form}, got {found}; move the file out of this folder")
    if content.get("format_version") != version:
        raise InputError(
            f"{path}: expected version {version} of its format, got {content.get('format_version')}; "
            "was it written by another version of dnalm?"
        )
    wrong = list(problems(content))
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(
            f"{path}: damaged: {', '.join(wrong[:3])}{more} missing or not of the right kind; "
            "make it again with the verb that wrote it"
        )
    return dict(content)


def misshapen(content: Any, shape: Any, where: str = "") -> Iterator[str]:
    """Yield the dotted names of what is missing from `content` or is of another kind.

    Args:
        content: from JSON.
        shape: the types that it may have, or for a dictionary the shape of each value that must be there.
        where: its own name.
    """
    if not isinstance(shape, dict):
        if not isinstance(content, shape):
            yield where
    elif not isinstance(content, dict):
        yield where
    else:
        for name, inner in shape.items():  # ... is of no type a JSON value has
            yield from misshapen(content.get(name, ...), inner, f"{where}.{name}" if where else name)


def misshapen_curves(content: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """Yield the curves in `training.history` that are not one number an epoch, [E]; `epoch` is the first."""
    history = content["training"]["history"]
    for name in names:
        if not history["epoch"] or not are_numbers(history[name], len(history["epoch"])):
            yield f"training.history.{name}"


def are_numbers(values: Any, count: int | None = None) -> bool:
    """Whether `values` is a list of numbers or nulls: `count` of them, or at least one."""
    if not isinstance(values, list) or (len(values) != count if count is not None else not values):
        return False
    return all(isinstance(value, NUMBER) for value in values)
