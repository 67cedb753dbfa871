"""The cases, by name."""

from importlib import import_module

from bench.work import Case

CASES = {
    "start": "start:CASE",
    "prepare": "prepare:CASE",
    "step": "step:CASE",
    "large": "step:LARGE",
    "ranks": "ranks:CASE",
    "cnn": "cnn:CASE",
    "lstm": "lstm:CASE",
    "growth": "growth:CASE",
}
"""Module and name of each."""


def load(name: str) -> Case:
    """Return a case, by its name or by a module that holds one."""
    module, _, attribute = CASES.get(name, "").partition(":")
    case: Case = getattr(import_module(f"bench.cases.{module}" if module else name), attribute or "CASE")
    return case
