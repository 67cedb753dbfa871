"""The pretrained core that fine-tuning begins with: found, checked, told where it comes from.

Binding models, opened: folders written by dnalm and the published project's `.pt` files.

Models of genes and molecules, opened: folders written by dnalm.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.files import read_json, sha256
from dnalm.models.binding import BindingModel, BindingShape, TuneConfig
from dnalm.models.cnn import CNNConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.published import (
    BindingFile,
    characters_of,
    gpt_shape,
    read_binding_file,
    read_language_file,
)
from dnalm.tokens.characters import VOCAB4

CONFIGS = ("full", "vocab4")
PREFIX = "transformer."
"""Of the core's tensors in a language model."""


@dataclass(frozen=True)
class Core:
    """A pretrained GPT."""

    encoder: GPTConfig
    characters: str
    """Its vocabulary, in id order."""
    tensors: dict[str, Tensor]
    """By their names in `GPT`."""
    path: Path
    """Where it was found: a folder or a `.pt` file."""
    origin: str
    """Where it was found and what it was trained on, in words."""
    local_start: bool
    """Whether its heads began local (`encoders.gpt.start_local`): an untrained core to compare must too."""
    caution: str
    """What to tell of its training, in a sentence; nothing where that is done or not known."""


def load_core(where: Path, config: str | None, *, untrained: bool = False) -> Core:
    """Load the core of vocabulary `config` that `where` holds.

    Args:
        where: a folder written by `dnalm pretrain` (with CONFIG/ or ckpt_CONFIG.pt in it), a model folder, or
            a `.pt` file.
        config: full or vocab4; None for whatever model `where` itself is.
        untrained: take a core whose weights are those of before the first step too, for its shape.

    Raises:
        InputError: if there is none, it is of the other vocabulary, damaged or untrained.
    """
    if config is None:
        if not _is_model(where):
            raise InputError(
                f"{where}: expected a pretrained model, a folder such as outputs/vocab4 or a ckpt_*.pt, got "
                "neither; run dnalm pretrain"
            )
        return _core(where, untrained)
    places = [where / config, where / f"ckpt_{config}.pt", where]
    path = next((place for place in places if _is_model(place)), None)
    if path is None:
        raise InputError(
            f"{where}: expected a pretrained model of --config {config}, which is {places[0]} or "
            f"{places[1]}, got neither; run dnalm pretrain --data data/{config} --out {where}"
        )
    core = _core(path, untrained)
    if (core.characters == VOCAB4.characters) != (config == "vocab4"):
        raise InputError(
            f"{path}: expected a model of --config {config}, got one of {len(core.characters)} tokens "
            f"({core.characters!r}); give its own --config"
        )
    return core


def _is_model(path: Path) -> bool:
    if path.suffix == ".pt":
        return path.is_file()
    return any((path / name).is_file() for name in ("checkpoint.json", "checkpoint/checkpoint.json"))


def _core(path: Path, untrained: bool) -> Core:
    if path.is_file():
        return Core(*read_language_file(path), path, str(path), local_start=False, caution="")
    return _from_folder(path, untrained)


def _from_folder(path: Path, untrained: bool) -> Core:
    tensors, about = checkpoint.load(path)
    if about.get("kind") != "language":
        raise InputError(
            f"{path}: expected a language model of dnalm pretrain, got a model of kind {about.get('kind')!r}"
        )
    if about.get("step") == 0 and not untrained:
        raise InputError(
            f"{path}: expected a pretrained model, got one that is untrained: no step has made it better; "
            "train it on (dnalm pretrain --resume), or take an untrained core on purpose (dnalm finetune "
            "--random-core)"
        )
    encoder = {key: value for key, value in about["encoder"].items() if key != "name"}
    core = {name.removeprefix(PREFIX): each for name, each in tensors.items() if name.startswith(PREFIX)}
    return Core(GPTConfig(**encoder), about["characters"], core, path, *_told(path, about.get("step")))


def _told(path: Path, step: int | None) -> tuple[str, bool, str]:
    """Return what the record beside a core tells: its origin, whether its heads began local, a caution.

    Args:
        path: of the core.
        step: of its weights, where it is known.
    """
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
    steps = "" if step is None else f"{step:,} step{'' if step == 1 else 's'}, "
    unfinished = f"{path}: its pretraining is unfinished ({steps}status {status})"
    caution = f"{unfinished}; dnalm pretrain --resume trains it on"
    return f"{origin}, {steps}unfinished ({status})", local, caution


@dataclass(frozen=True)
class OpenedBinding:
    """A binding model ready to predict."""

    name: str
    model: BindingModel
    about: dict[str, Any]
    """What results say of a model: kind, tune, both_strands, random_core, causal, parameters ..."""
    identity: dict[str, Any]
    """Its training run: the set's digest under `set`, the settings of the split; empty where not known."""
    weights: str
    """SHA-256 of the file that holds its tensors."""


def open_binding(path: Path) -> OpenedBinding:
    """Open a binding model.

    Args:
        path: a folder written by `dnalm finetune` or `dnalm baseline`, its checkpoint, or a `.pt` file.

    Raises:
        InputError: if it is none, is damaged, or its vocabulary is not known.
    """
    if path.is_file():
        return _opened_file(path, read_binding_file(path))
    tensors, content = checkpoint.load(path)
    if content.get("kind") != "binding":
        raise InputError(
            f"{path}: expected a binding model, got a model of kind {content.get('kind')!r}; "
            "dnalm finetune trains one on it"
        )
    model = BindingModel(BindingShape.from_dict(content))
    model.prepare_training()
    checkpoint.put(tensors, model.state_dict(), str(path))
    model.merge()
    folder = checkpoint.locate(path)
    name = folder.parent.name if folder.name == "checkpoint" else folder.name
    identity, stored = content.get("identity") or {}, checkpoint.stored_digest(content)
    return OpenedBinding(name, model.eval(), content["about"], identity, stored)


def _opened_file(path: Path, file: BindingFile) -> OpenedBinding:
    if file.kind == "cnn":
        model = BindingModel(BindingShape(CNNConfig()))
        for module, prefix in ((model.encoder, ""), (model.head, "head.")):
            _load(module, file, prefix, path)
    else:
        assert file.config is not None
        assert file.core is not None
        tuning = TuneConfig(both_strands=file.both_strands)
        model = BindingModel(
            BindingShape(
                gpt_shape(file.config), characters_of(file.config["vocab_size"], path), tuning=tuning
            )
        )
        checkpoint.put(file.core, model.encoder.state_dict(), f"{path}, gpt_state")
        checkpoint.put(file.head, model.head.state_dict(), f"{path}, regressor_state")
    about = {
        "kind": file.kind,
        "tune": "unknown" if file.kind == "gpt" else "all",
        "both_strands": file.both_strands,
        "random_core": False,
        "causal": model.encoder.causal,
        "parameters": model.parameter_count,
        "trained_parameters": None if file.kind == "gpt" else model.parameter_count,
        "core": None,
    }
    return OpenedBinding(path.stem, model.eval(), about, {}, sha256(path))


def _load(module: nn.Module, file: BindingFile, prefix: str, path: Path) -> None:
    """Load the tensors of a CNN's file whose names begin with `prefix`; "" takes those without one."""
    names = {name for name in file.head if name.startswith("head.") == bool(prefix)}
    found = {name.removeprefix(prefix): file.head[name] for name in names}
    checkpoint.put(found, module.state_dict(), f"{path}, model_state")


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
        InputError: if it is none, or is damaged.
    """
    tensors, content = checkpoint.load(path)
    if content.get("kind") != "interaction":
        raise InputError(
            f"{path}: expected a model of genes and molecules, got one of kind {content.get('kind')!r}; "
            "dnalm interact train makes one"
        )
    model = InteractionModel(InteractionShape.from_dict(content))
    checkpoint.put(tensors, model.state_dict(), str(path))
    folder = checkpoint.locate(path)
    name = folder.parent.name if folder.name == "checkpoint" else folder.name
    return OpenedInteraction(model.eval(), name, content["about"])
