"""The pretrained core that fine-tuning begins with: found, checked, told where it comes from."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from dnalm import checkpoint
from dnalm.encoders.gpt import GPTConfig
from dnalm.files import read_json
from dnalm.tokenizers import HG38_CHARACTERS, VOCAB4

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
    origin: str
    """Where it was found and what it was trained on, in words."""
    local_start: bool
    """Whether its heads began local (`encoders.gpt.start_local`): an untrained core to compare must too."""


def load_core(where: Path, config: str) -> Core:
    """Load the core of vocabulary `config` that `where` holds.

    Args:
        where: a folder written by `dnalm pretrain` (with CONFIG/ or ckpt_CONFIG.pt in it), a model folder, or
            a `.pt` file.
        config: full or vocab4.

    Raises:
        ValueError: if there is none, it is of the other vocabulary, or it is damaged.
    """
    places = [where / config, where / f"ckpt_{config}.pt", where]
    path = next((place for place in places if _is_model(place)), None)
    if path is None:
        raise ValueError(
            f"{where}: expected a pretrained model of --config {config}, which is {places[0]} or "
            f"{places[1]}, got neither; run dnalm pretrain --data data/{config} --out {where}"
        )
    core = _from_pt(path) if path.is_file() else _from_folder(path)
    if (core.characters == VOCAB4.characters) != (config == "vocab4"):
        raise ValueError(
            f"{path}: expected a model of --config {config}, got one of {len(core.characters)} tokens "
            f"({core.characters!r}); give its own --config"
        )
    return core


def _is_model(path: Path) -> bool:
    if path.suffix == ".pt":
        return path.is_file()
    return any((path / name).is_file() for name in ("checkpoint.json", "checkpoint/checkpoint.json"))


def _from_folder(path: Path) -> Core:
    tensors, about = checkpoint.load(path)
    if about.get("kind") != "language":
        raise ValueError(
            f"{path}: expected a language model of dnalm pretrain, got a model of kind {about.get('kind')!r}"
        )
    encoder = {key: value for key, value in about["encoder"].items() if key != "name"}
    core = {name.removeprefix(PREFIX): each for name, each in tensors.items() if name.startswith(PREFIX)}
    return Core(GPTConfig(**encoder), about["characters"], core, *_told(path))


def _told(path: Path) -> tuple[str, bool]:
    """Return what the record beside a core tells: its origin in words, whether its heads began local."""
    try:
        run = read_json(checkpoint.locate(path).parent / "run.json")
        names = ", ".join(source["name"] for source in run["data"]["sources"])
        # Records of before `local_start` are of runs that had none.
        return f"{path}, pretrained on {names}", bool(run["recipe"]["task"].get("local_start", False))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return str(path), False


def _from_pt(path: Path) -> Core:
    content = checkpoint.read_pt(path)
    args, model = content.get("model_args"), content.get("model")
    if not isinstance(args, dict) or not isinstance(model, dict):
        raise ValueError(
            f"{path}: expected a pretraining checkpoint with model_args and model, got {', '.join(content)}"
        )
    characters = characters_of(args.get("vocab_size"), path)
    return Core(gpt_config(args, path), characters, _core_tensors(model), str(path), False)


def characters_of(vocab_size: Any, path: Path) -> str:
    """Return the vocabulary of a published checkpoint, which tells its size alone.

    Raises:
        ValueError: if it is neither of the two published ones.
    """
    known = {len(text): text for text in (VOCAB4.characters, HG38_CHARACTERS)}
    if vocab_size not in known:
        raise ValueError(
            f"{path}: its vocabulary of {vocab_size} tokens is neither A C G T nor hg38's 40 characters, and "
            "a .pt file does not say which letters they are; give the folder that dnalm wrote beside it"
        )
    return known[vocab_size]


def gpt_config(args: dict[str, Any], path: Path) -> GPTConfig:
    """Return the shape that a checkpoint's `model_args` tell; learned positions where they tell none.

    Raises:
        ValueError: if a field is missing or out of range.
    """
    known = {field.name for field in fields(GPTConfig)}
    told = {"position": "learned", **{key: value for key, value in args.items() if key in known}}
    if missing := sorted(known - told.keys()):
        raise ValueError(f"{path}: its model_args lack {', '.join(missing)}; use another copy")
    try:
        return GPTConfig(**told)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: its model_args are wrong: {error}") from error


def _core_tensors(model: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): each for name, each in model.items() if name.startswith(PREFIX)}
