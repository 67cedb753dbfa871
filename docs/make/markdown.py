"""Run records and Markdown: what every table of the docs needs."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnalm.errors import InputError
from dnalm.record import read_record
from dnalm.results.schema import with_current_names

Run = Mapping[str, Any]
"""The content of one run.json."""
NONE_YET = "No such run has been recorded yet."


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, or `NONE_YET` when there is no row."""
    if not rows:
        return NONE_YET
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def read_records(folder: Path) -> dict[str, Run]:
    """Read every run.json under `folder`, by folder name.

    Raises:
        InputError: if there is no such folder, or a file in it is not one of dnalm's.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of records (NAME/run.json), got none; check the path")
    return {
        path.parent.name: with_current_names(read_record(path)) for path in sorted(folder.glob("*/run.json"))
    }


def of_verbs(records: Mapping[str, Run], *verbs: str) -> dict[str, Run]:
    """Return the finished runs of some verbs."""
    return {name: run for name, run in records.items() if run["verb"] in verbs and run["status"] == "done"}


def hardware(run: Run) -> str:
    """Name what a run was computed on."""
    about = run["hardware"]
    return f"{about['device']}; {about['processor']}, {about['cores']} cores"


def commands_list(records: Mapping[str, Run]) -> str:
    """One line a run: the command that made it."""
    return "\n".join(f"- {name}: `{shlex.join(run['command'])}`" for name, run in records.items())


def figure(value: float | None, digits: int = 4, sign: str = "") -> str:
    """Write a number, or "undefined"."""
    return "undefined" if value is None or math.isnan(value) else f"{value:{sign}.{digits}f}"


def spread(found: Mapping[str, Any], sign: str = "") -> str:
    """Write a figure of a record with its interval."""
    value, low, high = (figure(found[key], sign=sign) for key in ("value", "low", "high"))
    return value if "undefined" in (value, low, high) else f"{value} ({low} to {high})"
