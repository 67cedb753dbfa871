"""Models of any kind, opened: dnalm's folders and the published project's `.pt` files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dnalm import checkpoint
from dnalm.bootstrap import Numbers
from dnalm.data.epochs import Rows
from dnalm.data.pairs import PairSet
from dnalm.errors import InputError
from dnalm.files import read_json, sha256
from dnalm.models.binding import BindingModel, BindingShape
from dnalm.models.combined import CombinedModel
from dnalm.models.core import is_model, load_core, load_kind
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.language import LanguageModel
from dnalm.models.pair import InteractionModel, predict
from dnalm.models.pair_shape import InteractionShape, PairTexts
from dnalm.models.published import read_binding_file
from dnalm.tokens.characters import CharacterTokenizer


@dataclass(frozen=True)
class OpenedLanguage:
    """A language model ready to score and embed."""

    name: str
    model: LanguageModel
    tokenizer: CharacterTokenizer
    caution: str  # What limits its training, in a sentence; empty where nothing does or it is not known
    path: Path  # The folder or file that it was opened from


@dataclass(frozen=True)
class OpenedBinding:
    """A binding model ready to predict."""

    name: str
    model: BindingModel
    about: dict[str, Any]
    """What results say of a model: kind, tune, both_strands, random_core, causal, parameters ..."""
    weights: str  # SHA-256 of the file that holds its tensors
    identity: dict[str, Any] = field(default_factory=dict)
    """Its training run: the set's digest under `set`, the settings of the split; empty where not known."""


@dataclass(frozen=True)
class OpenedInteraction:
    """A model of genes and molecules, ready to predict."""

    name: str
    model: InteractionModel | CombinedModel
    about: dict[str, Any]
    """What results say of it: kind, parameters, trained_parameters, set (a digest), split, seed ..."""
    temperature: float | None  # Divides logits before the sigmoid; None in a run that has not ended
    cleaning: dict[str, Any]
    """How SMILES of its training set were made clean: arguments of `canonical_smiles` by name; empty for its
    defaults, as in runs of 0.1.0."""

    def predictor(self, encoder: InputEncoder, texts: PairTexts | PairSet) -> Callable[[Rows, Rows], Numbers]:
        """Return what maps rows of the genes [n] and molecules [n] of `texts` to logits, [n].

        Several processes predict together.

        Raises:
            InputError: if a pretrained encoder of the model is needed and missing.
        """
        if isinstance(self.model, CombinedModel):
            return self.model.predictor(encoder, texts)
        tokens = encoder.tokens(self.model, texts)
        model = self.model.to(encoder.processor.fabric().device)
        return partial(predict, model, tokens, together=True)


def open_language(path: Path) -> OpenedLanguage:
    """Open a language model: a folder written by `dnalm pretrain`, or a `ckpt_*.pt` file.

    Raises:
        InputError: if it is none, is damaged or untrained, or its vocabulary is not known.
    """
    core = load_core(path, None)
    tokenizer = CharacterTokenizer(core.characters)
    model = LanguageModel(core.encoder, tokenizer.vocab_size)
    checkpoint.load_strict(core.tensors, model.transformer.state_dict(), str(path))
    return OpenedLanguage(path.stem, model.eval(), tokenizer, core.caution, path)


def open_binding(path: Path) -> OpenedBinding:
    """Open a binding model: a folder written by `dnalm finetune` or `dnalm baseline`, or a `.pt` file.

    Raises:
        InputError: if it is none, is damaged, or its vocabulary is not known.
    """
    if path.is_file():
        model = read_binding_file(path)[0]
        is_gpt = model.shape.pretrained
        about = {
            "kind": model.shape.kind,
            "tune": "unknown" if is_gpt else "all",
            "both_strands": model.shape.tuning.both_strands,
            "random_core": False,
            "causal": model.encoder.causal,
            "parameters": model.parameter_count,
            "trained_parameters": None if is_gpt else model.parameter_count,
            "core": None,
        }
        return OpenedBinding(path.stem, model, about, sha256(path))
    tensors, content = load_kind(path, "binding")
    model = BindingModel(BindingShape.from_dict(content))
    model.prepare_training()
    checkpoint.load_strict(tensors, model.state_dict(), str(path))
    model.merge()
    weights, identity = checkpoint.stored_digest(content), content.get("identity") or {}
    return OpenedBinding(_name(path), model.eval(), content["about"], weights, identity)


def open_interaction(path: Path) -> OpenedInteraction:
    """Open a model written by `dnalm interact train`: the run's folder, or its checkpoint.

    Raises:
        InputError: if it is none, or is damaged.
    """
    tensors, content = load_kind(path, "interaction")
    model = (
        CombinedModel.build(content["combined"], tensors)
        if "combined" in content
        else InteractionModel(InteractionShape.from_dict(content))
    )
    checkpoint.load_strict(tensors, model.state_dict(), str(path))
    temperature = content.get("temperature")
    if "temperature" not in content:  # of dnalm 0.1.0: it is beside the checkpoint
        try:
            temperature = float(read_json(checkpoint.locate(path).parent / "results.json")["temperature"])
        except (OSError, InputError, KeyError, TypeError, ValueError):
            temperature = None
    cleaning = content.get("cleaning", {})
    return OpenedInteraction(_name(path), model.eval(), content["about"], temperature, cleaning)


def _name(path: Path) -> str:
    """Return the name of a model: of its run's folder."""
    folder = checkpoint.locate(path)
    return folder.parent.name if folder.name == "checkpoint" else folder.name


def unique_names(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Return the names of models; their paths where two have one name.

    Raises:
        InputError: if a model is given twice.
    """
    unique = [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
    if len(set(unique)) < len(unique):
        raise InputError(f"a model is given twice: {', '.join(map(str, paths))}; give each once")
    return unique


Opened = OpenedLanguage | OpenedBinding | OpenedInteraction
OPENERS: dict[str, Callable[[Path], Opened]] = {
    "language": open_language,
    "binding": open_binding,
    "interaction": open_interaction,
}
"""What opens a model, by the `kind` in its checkpoint."""


def open_model(path: Path) -> Opened:
    """Open a trained model of any kind: a folder written by dnalm, or a published `.pt` file.

    Raises:
        InputError: if it is no model, is damaged, or was written by a newer dnalm.
    """
    if path.is_file():
        return OPENERS["language" if "model_args" in checkpoint.read_pt(path) else "binding"](path)
    inside = sorted(each.name for each in path.iterdir() if is_model(each)) if path.is_dir() else []
    if inside and not is_model(path):
        raise InputError(f"{path}: holds models, {', '.join(inside)}; give one, {path / inside[0]}")
    kind = checkpoint.describe(path).get("kind", "state of a training run")
    if kind not in OPENERS:
        raise InputError(f"{path}: expected a trained model, got one of kind {kind!r}")
    return OPENERS[kind](path)
