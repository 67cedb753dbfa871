"""What several results have: the checks of their fields, and the curves of a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnalm.files import FieldError


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
