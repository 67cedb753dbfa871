"""Training of a model of pairs that begins with the weights of another run."""

from pathlib import Path
from typing import Any

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.models.open import open_interaction
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.pretrained import PretrainedConfig
from dnalm.process import Say


def initialize_from_run(
    path: Path, model: InteractionModel, digest: str, say: Say, *, frozen_first: bool = False
) -> dict[str, Any]:
    """Copy the weights of another run into a model, in place.

    Pretrained encoders that were frozen in that run may be trained now, from their own weights.

    Args:
        path: the run's folder.
        model: of the same encoders and head, LoRA aside.
        digest: of the set of pairs that the model will be trained on.
        say: called if the run, or one that it began with, was trained on another set.
        frozen_first: whether encoders are frozen in the first epochs.

    Returns:
        What results report about it.

    Raises:
        InputError: if there is no such run, its encoders or head differ, or its encoders were trained and
            must be frozen now.
    """
    opened = open_interaction(path)
    before, now = opened.model.shape, model.shape
    if differing := _differences(before, now):
        raise InputError(
            f"`init_from` {path}: its model has another {' and another '.join(differing)} than the options "
            f"ask for ({before.kind}, now {now.kind}); give the encoders and sizes that it was trained with"
        )
    if any(not each.frozen for each in before.pretrained.values()):
        if any(each.lora_rank for each in now.pretrained.values()):
            raise InputError(
                f"`init_from` {path}: its encoders were trained, and `lora_rank` begins with frozen ones; "
                "leave it out, or begin with a run on frozen ones"
            )
        if frozen_first:
            raise InputError(
                f"`init_from` {path}: its encoders were trained, so that no cached states of them exist; "
                "leave `unfreeze_at_epoch` out, or begin with a run on frozen ones"
            )
    newly_trained = tuple(
        f"{side}.encoder."
        for side, each in before.pretrained.items()
        if each.frozen != now.pretrained[side].frozen
    )
    wanted = {key: each for key, each in model.state_dict().items() if not key.startswith(newly_trained)}
    checkpoint.load_strict(opened.model.state_dict(), wanted, str(path))
    sets = sorted({str(opened.about.get("set")), *opened.about.get("init_sets", [])})
    if sets != [digest]:
        say(
            f"`init_from` {path}: it, or a run that it began with, was trained on another set of pairs, "
            "which may hold validation or test pairs of this one: its scores may be too good"
        )
    return {
        "init_from": str(path),
        "init_set": str(opened.about.get("set")),
        "init_sets": sets,
        "init_weights": checkpoint.weights_digest(opened.model),
    }


def _differences(before: InteractionShape, now: InteractionShape) -> list[str]:
    """Return what differs between two shapes, in words; an encoder may be frozen before and trained now."""
    wrong = []
    for what, one, other in (
        ("encoder of genes", before.gene, now.gene),
        ("encoder of molecules", before.molecule, now.molecule),
    ):
        if isinstance(one, PretrainedConfig) and isinstance(other, PretrainedConfig):
            if other.frozen and not one.frozen:
                wrong.append(f"{what} (it was trained there, and is frozen here)")
            elif (one.identity, one.width) != (other.identity, other.width):
                wrong.append(what)
        elif one != other:
            wrong.append(what)
    fields = {
        "head": "head",
        "characters": "vocabulary of SMILES",
        "morgan": "fingerprint",
        "dna_length": "number of bases read",
        "smiles_length": "number of characters read",
    }
    return wrong + [what for name, what in fields.items() if getattr(before, name) != getattr(now, name)]
