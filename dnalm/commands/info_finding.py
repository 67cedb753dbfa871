"""What `dnalm info` says of a path."""

import shlex
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What a path was found to be."""

    kind: str
    """One word, for machines."""
    title: str
    facts: dict[str, Any]
    """JSON values; names with underscores."""
    next: list[str] = field(default_factory=list)
    """Commands that can be run with it; a word in capitals stands for what the path does not tell."""


def known(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that are there."""
    return {name: value for name, value in facts.items() if value is not None}


def inside(content: Any, *names: str) -> Any:
    """Return what JSON values hold under names within names, or None."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def in_words(found: Any) -> str | None:
    """Return a figure and its 95 % interval in words, None where one of the three is missing."""
    numbers = [inside(found, key) for key in ("value", "low", "high")]
    if not all(isinstance(number, int | float) for number in numbers):
        return None
    value, low, high = numbers
    return f"{value:.4f} ({low:.4f} to {high:.4f})"


def dnalm(*words: Any) -> str:
    """Return a command as it is typed."""
    return shlex.join(["dnalm", *map(str, words)])
