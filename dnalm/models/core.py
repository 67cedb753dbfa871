"""The pretrained core that fine-tuning begins with: found, checked, with its origin."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dnalm import checkpoint
from dnalm.errors import InputError, counted
from dnalm.files import read_json
from dnalm.models.conv import ConvConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.published import read_language_file
from dnalm.models.registry import encoders_for
from dnalm.tokens.characters import VOCAB4

MADE_BY = {"language": "pretrain", "binding": "finetune", "interaction": "interact train"}  # verbs of kinds


@dataclass(frozen=True)
class Core:
    """A pretrained encoder: a GPT, or dilated convolutions."""

    encoder: GPTConfig | ConvConfig
    characters: str  # Its vocabulary, in id order
    tensors: dict[str, Tensor]  # By their names in the encoder
    path: Path  # Where it was found: a folder or a `.pt` file
    origin: str  # Where it was found and what it was trained on, in words
    local_start: bool = False  # Whether its heads began local: an untrained core beside it must too
    caution: str = ""  # What limits its training, in a sentence; empty where nothing does or it is not known


def load_core(where: Path, config: str | None, *, untrained: bool = False) -> Core:
    """Load the core of vocabulary `config`, full or vocab4, that `where` holds; None for what `where` is.

    `where` is a folder written by `dnalm pretrain` (with CONFIG/ or ckpt_CONFIG.pt in it), a model folder, or
    a `.pt` file. `untrained` takes a core of before the first step too, for its shape.

    Raises:
        InputError: if there is none, it is of the other vocabulary, damaged or untrained.
    """
    name = config or "vocab4"
    inside = [where / name, where / f"ckpt_{name}.pt"]
    path = next((each for each in (*(inside if config else ()), where) if is_model(each)), None)
    if path is None:
        wanted = f"{where}, or in it {name} or ckpt_{name}.pt"
        raise InputError(f"{where}: expected a pretrained model, {wanted}, got neither; run dnalm pretrain")
    core = Core(*read_language_file(path), path, str(path)) if path.is_file() else _core(path, untrained)
    if config is not None and (core.characters == VOCAB4.characters) != (config == "vocab4"):
        what = f"{len(core.characters)} tokens ({core.characters!r})"
        raise InputError(f"{path}: expected a model of `config` {config}, got one of {what}; give its own")
    return core


def is_model(path: Path) -> bool:
    """Return whether a path looks like a model: a checkpoint, a folder that holds one, or a `.pt` file."""
    if path.suffix == ".pt":
        return path.is_file()
    return any((path / name).is_file() for name in ("checkpoint.json", "checkpoint/checkpoint.json"))


def load_kind(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and description of a checkpoint of a kind, see `MADE_BY`.

    Raises:
        InputError: if it is of another kind, damaged, or none.
    """
    tensors, content = checkpoint.load(path)
    if content.get("kind") != kind:
        found = f"got one of kind {content.get('kind')!r}"
        raise InputError(
            f"{path}: expected a model of kind {kind!r}, {found}; dnalm {MADE_BY[kind]} makes one"
        )
    return tensors, content


def _core(path: Path, untrained: bool) -> Core:
    """Open the core of a checkpoint, or an untrained one of the same shape."""
    tensors, about = load_kind(path, "language")
    if about.get("step") == 0 and not untrained:
        raise InputError(
            f"{path}: expected a pretrained model, got one that is untrained; train it on (dnalm pretrain "
            "--resume), or take an untrained core on purpose (dnalm finetune --random-core)"
        )
    encoder = dict(about["encoder"])
    config = encoders_for("language")[encoder.pop("name", "gpt")].config(**encoder)
    prefix = "transformer."
    core = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    return Core(config, about["characters"], core, path, *_provenance(path, about.get("step")))


def _provenance(path: Path, step: int | None) -> tuple[str, bool, str]:
    """Return from the record beside a core its origin, whether its heads began local, and a caution."""
    try:
        run = read_json(checkpoint.locate(path).parent / "run.json")
        names = ", ".join(source["name"] for source in run["data"]["sources"])
        # Records of before `local_start` are of runs that had none.
        local, status = bool(run["recipe"]["task"].get("local_start", False)), run["status"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return str(path), False, ""
    origin = f"{path}, pretrained on {names}"
    if status == "done":
        return origin, local, ""
    steps = "" if step is None else f"{counted(step, 'step')}, "
    unfinished = f"its pretraining is unfinished ({steps}status {status})"
    caution = f"{path}: {unfinished}; dnalm pretrain --resume trains it on"
    return f"{origin}, {steps}unfinished ({status})", local, caution
