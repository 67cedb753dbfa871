"""Recipes: frozen dataclasses, read from TOML, each table beside the dataclass it fills."""

import dataclasses
import difflib
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from dnalm.errors import InputError

T = TypeVar("T")

MODIFIED_SUFFIX = ", changed by flags"
"""Stands behind the name of a recipe where flags changed what it trains."""
NON_TRAINING_FIELDS = frozenset({"eval_every", "checkpoint_every", "accumulate", "eval_bases", "final_bases"})
"""Fields of a recipe of pretraining that do not change what is trained: how often and on how much it is
judged, how often it is saved, in how many pieces a batch goes through."""


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with dnalm."""
    folder = resources.files("dnalm") / "recipes"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def read_recipe(name_or_file: str) -> dict[str, dict[str, Any]]:
    """Read a recipe that comes with dnalm, or a TOML file.

    Raises:
        InputError: if there is none of that name, or it is not TOML of tables.
    """
    names = recipe_names()
    if name_or_file in names:
        text = (resources.files("dnalm") / "recipes" / f"{name_or_file}.toml").read_text()
    elif Path(name_or_file).is_file():
        text = _text_of(Path(name_or_file))
    else:
        raise InputError(
            f"--recipe {name_or_file}: there is no such file, and the recipes are {', '.join(names)}"
            + nearest(name_or_file, names)
        )
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"--recipe {name_or_file}: expected TOML, but {error}") from error
    if loose := [key for key, value in content.items() if not isinstance(value, dict)]:
        raise InputError(
            f"--recipe {name_or_file}: {loose[0]} stands outside a table; write it below [train] or the like"
        )
    return content


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"--recipe {path}: expected a TOML file in UTF-8, got something else") from error


def fill(target: T, table: dict[str, Any], where: str) -> T:
    """Return the dataclass instance `target` with the fields of `table` replaced.

    Raises:
        InputError: listing every field that does not exist (with the nearest that does) or has another type.
    """
    known = {field.name: getattr(target, field.name) for field in dataclasses.fields(target)}  # type: ignore[arg-type]
    wrong = []
    values = {}
    for key, value in table.items():
        if key not in known:
            wrong.append(f"no field {key!r}{nearest(key, list(known))}")
        elif not _same_kind(value, known[key]):
            wrong.append(f"{key} must be of type {type(known[key]).__name__}, got {value!r}")
        else:
            values[key] = float(value) if isinstance(known[key], float) else value
    if wrong:
        raise InputError(f"{where}: " + "; ".join(wrong))
    try:
        return dataclasses.replace(target, **values)  # type: ignore[type-var]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def fill_tables(recipe: str, known: dict[str, Any]) -> dict[str, Any]:
    """Return the dataclass instances `known`, by table, filled from a recipe.

    Raises:
        InputError: if the recipe does not exist or has wrong tables or fields, all of them named.
    """
    tables = read_recipe(recipe)
    wrong = []
    if extra := sorted(tables.keys() - known.keys()):
        wrong.append(
            f"--recipe {recipe}: no table [{extra[0]}]; there are {', '.join(f'[{name}]' for name in known)}"
        )
    parts: dict[str, Any] = {}
    for name, target in known.items():
        try:
            parts[name] = fill(target, tables.get(name, {}), f"--recipe {recipe} [{name}]")
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise InputError("\n".join(wrong))
    return parts


def from_recipe(start: T, recipe: str, tables: Sequence[str]) -> T:
    """Return the options that `--recipe` stands for; flags are laid over them.

    Args:
        start: the verb's options as they are without a recipe.
        recipe: a name or a TOML file.
        tables: the fields that a recipe fills, each a dataclass.

    Raises:
        InputError: if the recipe does not exist or has wrong tables or fields, all of them named.
    """
    filled = fill_tables(recipe, {name: getattr(start, name) for name in tables})
    return dataclasses.replace(start, recipe=recipe, **filled)  # type: ignore[type-var]


def check_minimum(settings: object, **least: float) -> list[str]:
    """Return in words which fields of a dataclass are below the least that they may be; NaN is, too."""
    return [
        f"{name} must be at least {low}, got {value}"
        for name, low in least.items()
        if not (value := getattr(settings, name)) >= low
    ]


def check_fractions(settings: object, *names: str) -> list[str]:
    """Return in words which fields of a dataclass, shares that are dropped, are not from 0 to below 1."""
    return [
        f"{name} must be at least 0 and below 1, got {value}"
        for name in names
        if not 0.0 <= (value := getattr(settings, name)) < 1.0
    ]


def nearest(word: str, words: list[str]) -> str:
    """Return `; did you mean X?`, or nothing when no word is near."""
    close = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _same_kind(value: Any, current: Any) -> bool:
    if isinstance(current, bool) or isinstance(value, bool):
        return isinstance(current, bool) and isinstance(value, bool)
    if isinstance(current, float):
        return isinstance(value, int | float)
    return isinstance(value, type(current))
