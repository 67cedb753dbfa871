"""What several results have: the checks of their fields, and the curves of a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dnalm.files import FieldError

FORMER_NAMES = {"best_rung": "best_baseline", "minus_best_rung": "minus_best_baseline"}
"""Fields of files that dnalm 0.1.0 wrote, and their names now; `rung` in an estimate is `baseline`."""


def with_current_names(content: Any) -> Any:
    """Return JSON of a result file or record with the field names of now."""
    if not isinstance(content, dict):
        return content
    former = FORMER_NAMES | ({"rung": "baseline"} if "value" in content else {})
    return {former.get(name, name): with_current_names(each) for name, each in content.items()}


def check(right: bool, name: str) -> None:
    """Raise FieldError with the name of the field unless its content is right."""
    if not right:
        raise FieldError(name)


def check_curves(history: Mapping[str, Sequence[float]], where: str, *names: str) -> None:
    """Raise FieldError unless the named curves have the same length, and at least one value."""
    for name in names:
        check(0 < len(history.get(names[0], [])) == len(history.get(name, [])), f"{where}history.{name}")


@dataclass(frozen=True)
class Training:
    """Training of a binding or pair model: curves by name, [E], and the epoch whose weights were saved."""

    epochs: int
    best_epoch: int
    seconds: float
    history: dict[str, list[float]]
    states_seconds: float = 0.0
