"""Markdown tables of run records."""

from collections.abc import Mapping, Sequence
from typing import Any

Run = Mapping[str, Any]
"""The content of one run.json."""

NONE_YET = "No such run has been recorded yet."


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, or `NONE_YET` when there is no row."""
    if not rows:
        return NONE_YET
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def hardware_name(run: Run) -> str:
    """Name what a run was computed on."""
    hardware = run["hardware"]
    return f"{hardware['device']}; {hardware['processor']}, {hardware['cores']} cores"
