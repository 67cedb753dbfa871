"""Models of any kind, opened: dnalm's folders and the published project's `.pt` files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.files import read_json, sha256
from dnalm.models.binding import BindingModel, BindingShape, TuneConfig
from dnalm.models.cnn import CNNConfig
from dnalm.models.core import is_model, load_core
from dnalm.models.language import LanguageModel
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.published import BindingFile, characters_of, gpt_shape, read_binding_file
from dnalm.tokens.characters import CharacterTokenizer


@dataclass(frozen=True)
class OpenedLanguage:
    """A language model ready to score and embed."""

    name: str
    model: LanguageModel
    tokenizer: CharacterTokenizer
    origin: str
    """Where it was found and what it was trained on, in words."""
    caution: str
    """What limits its training, in a sentence; empty where nothing does or it is not known."""


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
    checkpoint.load_strict(tensors, model.state_dict(), str(path))
    model.merge()
    identity, stored = content.get("identity") or {}, checkpoint.stored_digest(content)
    return OpenedBinding(_name(path), model.eval(), content["about"], identity, stored)


def _name(path: Path) -> str:
    """Return the name of a model: of its run's folder."""
    folder = checkpoint.locate(path)
    return folder.parent.name if folder.name == "checkpoint" else folder.name


def _opened_file(path: Path, file: BindingFile) -> OpenedBinding:
    if file.config is None:
        shape = BindingShape(CNNConfig())
    else:
        characters = characters_of(file.config["vocab_size"], path)
        shape = BindingShape(
            gpt_shape(file.config), characters, tuning=TuneConfig(both_strands=file.both_strands)
        )
    model = BindingModel(shape)
    core, head = file.core, file.head
    if core is None:  # a CNN's file has both in one dictionary
        core = {name: tensor for name, tensor in head.items() if not name.startswith("head.")}
        head = {name.removeprefix("head."): each for name, each in head.items() if name.startswith("head.")}
    checkpoint.load_strict(core, model.encoder.state_dict(), str(path))
    checkpoint.load_strict(head, model.head.state_dict(), str(path))
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


@dataclass(frozen=True)
class OpenedInteraction:
    """A model of genes and molecules, ready to predict."""

    model: InteractionModel
    name: str
    about: dict[str, Any]
    """What results say of it: kind, parameters, trained_parameters, set (a digest), split, seed ..."""
    temperature: float | None
    """Divides logits before the sigmoid; None in a run that has not ended."""


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
    checkpoint.load_strict(tensors, model.state_dict(), str(path))
    results = checkpoint.locate(path).parent / "results.json"
    temperature = content.get("temperature", _temperature_in_results(results))
    return OpenedInteraction(model.eval(), _name(path), content["about"], temperature)


def _temperature_in_results(path: Path) -> float | None:
    """Return the temperature beside a checkpoint of dnalm 0.1.0, which lacks it; None if unknown."""
    try:
        return float(read_json(path)["temperature"])
    except (OSError, InputError, KeyError, TypeError, ValueError):
        return None


def open_language(path: Path) -> OpenedLanguage:
    """Open a language model: a folder written by `dnalm pretrain`, or a `ckpt_*.pt` file.

    Raises:
        InputError: if it is none, is damaged or untrained, or its vocabulary is not known.
    """
    core = load_core(path, None)
    tokenizer = CharacterTokenizer(core.characters)
    model = LanguageModel(core.encoder, tokenizer.vocab_size)
    checkpoint.load_strict(core.tensors, model.transformer.state_dict(), str(path))
    return OpenedLanguage(path.stem, model.eval(), tokenizer, core.origin, core.caution)


def unique_names(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Return the names of models; their paths where two have one name.

    Raises:
        InputError: if a model is given twice.
    """
    unique = [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
    if len(set(unique)) < len(unique):
        raise InputError(f"a model is given twice: {', '.join(map(str, paths))}; give each once")
    return unique


OPENERS: dict[str, Callable[[Path], OpenedLanguage | OpenedBinding | OpenedInteraction]] = {
    "language": open_language,
    "binding": open_binding,
    "interaction": open_interaction,
}
"""What opens a model, by the `kind` in its checkpoint."""


def open_model(path: Path) -> OpenedLanguage | OpenedBinding | OpenedInteraction:
    """Open a trained model of any kind.

    Args:
        path: a folder written by dnalm, or a published `.pt` file.

    Raises:
        InputError: if it is no model, is damaged, or was written by a newer dnalm.
    """
    if path.is_file():
        return OPENERS["language" if "model_args" in checkpoint.read_pt(path) else "binding"](path)
    if path.is_dir() and not is_model(path):
        inside = sorted(entry.name for entry in path.iterdir() if is_model(entry))
        if inside:
            raise InputError(
                f"{path}: holds several models, {', '.join(inside)}; give one, {path / inside[0]}"
            )
    kind = checkpoint.describe(path).get("kind")
    if kind not in OPENERS:
        raise InputError(
            f"{path}: expected a trained model, got "
            + ("the state of a training run" if kind is None else f"a model of the unknown kind {kind!r}")
        )
    return OPENERS[kind](path)
