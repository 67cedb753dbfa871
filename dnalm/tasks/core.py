"""The pretrained core that fine-tuning begins with: found, checked, told where it comes from."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dnalm import checkpoint
from dnalm.encoders.gpt import GPTConfig
from dnalm.files import read_json
from dnalm.tasks.published import read_language_file
from dnalm.tokenizers import VOCAB4

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


def load_core(where: Path, config: str | None) -> Core:
    """Load the core of vocabulary `config` that `where` holds.

    Args:
        where: a folder written by `dnalm pretrain` (with CONFIG/ or ckpt_CONFIG.pt in it), a model folder, or
            a `.pt` file.
        config: full or vocab4; None for whatever model `where` itself is.

    Raises:
        ValueError: if there is none, it is of the other vocabulary, or it is damaged.
    """
    if config is None:
        if not _is_model(where):
            raise ValueError(
                f"{where}: expected a pretrained model, a folder such as outputs/vocab4 or a ckpt_*.pt, got "
                "neither; run dnalm pretrain"
            )
        return _core(where)
    places = [where / config, where / f"ckpt_{config}.pt", where]
    path = next((place for place in places if _is_model(place)), None)
    if path is None:
        raise ValueError(
            f"{where}: expected a pretrained model of --config {config}, which is {places[0]} or "
            f"{places[1]}, got neither; run dnalm pretrain --data data/{config} --out {where}"
        )
    core = _core(path)
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


def _core(path: Path) -> Core:
    return Core(*read_language_file(path), str(path), False) if path.is_file() else _from_folder(path)


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
