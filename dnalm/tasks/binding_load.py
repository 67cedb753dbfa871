"""Binding models, opened: folders written by dnalm and the published project's `.pt` files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dnalm import checkpoint
from dnalm.encoders.cnn import CNNConfig
from dnalm.files import sha256
from dnalm.tasks.binding import BindingModel, BindingShape, TuneConfig
from dnalm.tasks.published import BindingFile, characters_of, gpt_shape, read_binding_file


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
        ValueError: if it is none, is damaged, or its vocabulary is not known.
    """
    if path.is_file():
        return _opened_file(path, read_binding_file(path))
    tensors, content = checkpoint.load(path)
    if content.get("kind") != "binding":
        raise ValueError(
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
