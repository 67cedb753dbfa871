"""Where the training of a model of genes and molecules begins: from nothing, or from another run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnalm import checkpoint
from dnalm.data.pairs import PairSet
from dnalm.errors import InputError
from dnalm.models.open import open_interaction
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.pretrained import PretrainedConfig


def go_on_from(
    path: Path, model: InteractionModel, pairs: PairSet, say: Callable[[str], None], *, early: bool = False
) -> dict[str, Any]:
    """Put the weights of another run into a model, in place.

    A run whose pretrained encoders were frozen may go on with them trained: they then begin as they were.

    Args:
        path: the run's folder.
        model: of the same encoders and head, LoRA aside.
        pairs: the set that it will be trained on.
        say: told where the run, or one that it went on from, was trained on another set.
        early: whether kept states of the pretrained encoders are read first: they must be as they were then.

    Returns:
        What results say of it.

    Raises:
        InputError: if there is no such run, its encoders or head are others, or its encoders were trained and
            `early` asks for their states before that.
    """
    opened = open_interaction(path)
    before, now = opened.model.shape, model.shape
    if differing := _differing(before, now):
        raise InputError(
            f"--init-from {path}: its model has another {' and another '.join(differing)} than the options "
            f"ask for ({before.kind}, here {now.kind}); give the encoders and sizes that it was trained with"
        )
    trained = any(not side.frozen for side in before.pretrained.values())
    if trained and any(side.lora_rank for side in now.pretrained.values()):
        raise InputError(
            f"--init-from {path}: its encoders were trained, and --lora-rank begins on frozen ones; leave it "
            "out, or go on from a run on frozen ones"
        )
    if early and trained:
        raise InputError(
            f"--init-from {path}: its encoders were trained, so that they have no kept states to begin with; "
            "leave --unfreeze-at-epoch out, or go on from a run on frozen ones"
        )
    found, wanted = opened.model.state_dict(), model.state_dict()
    begun = tuple(
        f"{side}.encoder."
        for side, one in before.pretrained.items()
        if one.frozen and not getattr(now, side).frozen
    )
    wanted = {key: each for key, each in wanted.items() if not key.startswith(begun)}
    checkpoint.put(found, wanted, str(path))
    sets = sorted({str(opened.about.get("set")), *opened.about.get("init_sets", [])})
    if sets != [pairs.digest]:
        say(
            f"--init-from {path}: it, or what it went on from, was trained on another set of pairs, which "
            "may hold some that this one judges by: its scores here may flatter it"
        )
    return {
        "init_from": str(path),
        "init_set": str(opened.about.get("set")),
        "init_sets": sets,
        "init_weights": checkpoint.weights_digest(opened.model),
    }


def _differing(before: InteractionShape, now: InteractionShape) -> list[str]:
    """Return what of two shapes is not the same, in words; whether an encoder was trained does not count."""
    sides = (
        ("encoder of genes", before.gene, now.gene),
        ("encoder of molecules", before.molecule, now.molecule),
    )
    wrong = []
    for what, one, other in sides:
        if isinstance(one, PretrainedConfig) and isinstance(other, PretrainedConfig):
            if other.frozen and not one.frozen:
                wrong.append(f"{what} (it was trained there, and is frozen here)")
            elif (one.identity, one.width) != (other.identity, other.width):
                wrong.append(what)
        elif one != other:
            wrong.append(what)
    rest = (
        ("head", before.head, now.head),
        ("vocabulary of SMILES", before.characters, now.characters),
        ("fingerprint", before.morgan, now.morgan),
        ("number of bases read", before.dna_length, now.dna_length),
        ("number of characters read", before.smiles_length, now.smiles_length),
    )
    return wrong + [what for what, one, other in rest if one != other]
