"""Recipes: TOML files, each table of which fills a frozen dataclass; checks of numbers."""

import dataclasses
import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from dnalm.errors import InputError

T = TypeVar("T")

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the recipes that come with dnalm."""
MODIFIED_SUFFIX = ", changed by flags"  # Follows the name of a recipe where they change what it trains
NON_TRAINING_FIELDS = frozenset({"eval_every", "checkpoint_every", "accumulate", "eval_bases", "final_bases"})
"""Fields of a recipe of pretraining that do not change the weights."""


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with dnalm."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_recipe(name_or_file: str) -> dict[str, dict[str, Any]]:
    """Read a recipe that comes with dnalm, or a TOML file; raise an InputError for anything else."""
    names = recipe_names()
    file = RECIPES / f"{name_or_file}.toml" if name_or_file in names else Path(name_or_file)
    if not file.exists():
        what = f"there is no such file, and the recipes are {', '.join(names)}"
        raise InputError(f"`recipe` {name_or_file}: {what}{nearest(name_or_file, names)}")
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"`recipe` {name_or_file}: expected TOML in UTF-8, but {error}") from error
    if loose := [key for key, value in tables.items() if not isinstance(value, dict)]:
        raise InputError(f"`recipe` {name_or_file}: {loose[0]} is outside a table such as [train]")
    return tables


def fill(target: T, table: dict[str, Any], where: str) -> T:
    """Return the dataclass instance `target` with the fields of `table` replaced.

    Raises:
        InputError: listing every field that does not exist (with the nearest that does) or has another type.
    """
    known, wrong, values = vars(target), [], {}
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
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def from_recipe(start: T, recipe: str, tables: Sequence[str]) -> T:
    """Return the options `start` with their fields `tables`, each a dataclass, filled from a recipe.

    Raises:
        InputError: if the recipe does not exist or has wrong tables or fields, all of them named.
    """
    content, wrong = read_recipe(recipe), []
    if extra := sorted(content.keys() - set(tables)):
        wrong.append(f"`recipe` {recipe}: no table {extra[0]}; there are {', '.join(tables)}")
    filled: dict[str, Any] = {}
    for name in tables:
        try:
            filled[name] = fill(getattr(start, name), content.get(name, {}), f"`recipe` {recipe} [{name}]")
        except InputError as error:
            wrong.append(str(error))
    refuse(wrong)
    return dataclasses.replace(start, recipe=recipe, **filled)  # type: ignore[type-var]


def check_minimum(settings: object, **least: float) -> list[str]:
    """Return messages for the fields of a dataclass that are below their minimum, or NaN."""
    return [
        f"{name} must be at least {low}, got {value}"
        for name, low in least.items()
        if not (value := getattr(settings, name)) >= low
    ]


def check_fractions(settings: object, *names: str) -> list[str]:
    """Return messages for the fields of a dataclass that are not from 0 to below 1."""
    return [
        f"{name} must be at least 0 and below 1, got {value}"
        for name in names
        if not 0.0 <= (value := getattr(settings, name)) < 1.0
    ]


def check_odd(settings: object, *names: str) -> list[str]:
    """Return messages for the fields of a dataclass that are not odd and at least 1."""
    return [
        f"{name} must be odd and at least 1, got {value}"
        for name in names
        if (value := getattr(settings, name)) < 1 or value % 2 == 0
    ]


def check_multiple(settings: object, name: str, divisor: str) -> list[str]:
    """Return a message if a field of a dataclass is not a multiple of another, which is above 0."""
    value, by = getattr(settings, name), getattr(settings, divisor)
    return [f"{name} must be a multiple of {divisor}, got {value} and {by}"] if by > 0 and value % by else []


def refuse(wrong: Sequence[str]) -> None:
    """Raise InputError of all messages, if there are any."""
    if wrong:
        raise InputError("; ".join(wrong))


def nearest(word: str, words: list[str]) -> str:
    """Return `; did you mean X?`, or nothing when no word is near."""
    close = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _same_kind(value: Any, current: Any) -> bool:
    return type(value) in ((int, float) if type(current) is float else (type(current),))
