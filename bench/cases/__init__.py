"""The cases, by name."""

from importlib import import_module

from bench.work import Case

CASES = {
    "start": "bench.cases.start",
    "prepare": "bench.cases.prepare",
    "step": "bench.cases.step",
    "large": "bench.cases.large",
    "ranks": "bench.cases.ranks",
    "cnn": "bench.cases.cnn",
    "head": "bench.cases.head",
    "pairs": "bench.cases.pairs",
    "screen": "bench.cases.screen",
    "dnabert2": "bench.cases.dnabert2",
    "growth-step": "bench.cases.growth_step",
    "growth-prepare": "bench.cases.growth_prepare",
}
"""The module of each, which holds it as `CASE`."""


def load(name: str) -> Case:
    """Return a case, by its name or by a module that holds one."""
    case: Case = import_module(CASES.get(name, name)).CASE
    return case
