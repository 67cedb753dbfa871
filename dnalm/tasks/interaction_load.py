"""Models of genes and molecules, opened: folders written by dnalm."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnalm import checkpoint
from dnalm.tasks.interaction_model import InteractionModel
from dnalm.tasks.interaction_shape import InteractionShape


@dataclass(frozen=True)
class OpenedInteraction:
    """A model of genes and molecules, ready to predict."""

    model: InteractionModel
    name: str
    about: dict[str, Any]
    """What results say of it: kind, parameters, trained_parameters, set (a digest), split, seed ..."""


def open_interaction(path: Path) -> OpenedInteraction:
    """Open a model written by `dnalm interact train`: the run's folder, or its checkpoint.

    Raises:
        ValueError: if it is none, or is damaged.
    """
    tensors, content = checkpoint.load(path)
    if content.get("kind") != "interaction":
        raise ValueError(
            f"{path}: expected a model of genes and molecules, got one of kind {content.get('kind')!r}; "
            "dnalm interact train makes one"
        )
    model = InteractionModel(InteractionShape.from_dict(content))
    checkpoint.put(tensors, model.state_dict(), str(path))
    folder = checkpoint.locate(path)
    name = folder.parent.name if folder.name == "checkpoint" else folder.name
    return OpenedInteraction(model.eval(), name, content["about"])
