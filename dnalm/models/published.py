"""The published project's `.pt` files: `cnn_baseline_model.pt`, `gpt_binding_model_*.pt`, `ckpt_*.pt`.

Read through the safe reader of `dnalm.checkpoint`; every tensor is checked by name and shape, so that none is
left random. Ours are written in the same layout from plain values, and open without any allowance.

Shapes: D width of the states under the head; V tokens in the vocabulary.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dnalm.checkpoint import check_names, read_pt
from dnalm.errors import InputError
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4

CHANNELS = 128
"""C."""
KERNEL = 11
"""K."""
PREFIXES = ("module.", "_orig_mod.")
"""Put before each name by data-parallel training, and by `torch.compile`."""
SIZES = ("block_size", "vocab_size", "n_layer", "n_head", "n_embd")
"""Whole numbers of the published `GPTConfig`, which also has dropout and bias."""
LARGEST = 1 << 24
"""Of any of these; more is damage, and would overflow."""
STATES = ("model_state", "gpt_state", "regressor_state", "config")
"""Keys of a file that are no plain numbers."""

Kind = Literal["cnn", "gpt"]


@dataclass(frozen=True)
class BindingFile:
    """What a binding model's `.pt` file holds."""

    kind: Kind
    config: dict[str, Any] | None
    """Fields of `GPTConfig` and `vocab_size`; `position` is always there. None for a CNN."""
    core: dict[str, Tensor] | None
    """Tensors of `GPT` by their names in it. None for a CNN."""
    head: dict[str, Tensor]
    """gpt: `layer_norm.*`, `conv1d.*`, `fc.*`. cnn: the whole model, `initial_conv.*` and `head.*`."""
    numbers: dict[str, float]
    """The plain numbers beside them, such as `best_val_loss`."""

    @property
    def both_strands(self) -> bool:
        """Whether the head reads the states of both strands, each n_embd wide."""
        return self.config is not None and len(self.head["layer_norm.weight"]) == 2 * self.config["n_embd"]

    @property
    def parameter_count(self) -> int:
        """Parameters of the whole model."""
        return sum(tensor.numel() for tensor in [*(self.core or {}).values(), *self.head.values()])


def read_binding_file(path: Path) -> BindingFile:
    """Read a binding model as the published scripts save it, or as `binding_file_content` lays it out.

    Raises:
        InputError: if it is another kind of file, would run code, or its tensors are not exactly those of a
            published model; what is wrong is named.
    """
    content = read_pt(path)
    numbers = {name: float(value) for name, value in content.items() if type(value) in (int, float)}
    if "model_state" in content:
        head = _tensors(content, "model_state", path)
        check_names(head, _cnn(), f"{path}, model_state")
        return BindingFile("cnn", None, None, head, numbers)
    if "gpt_state" not in content or "regressor_state" not in content:
        what = "a pretrained language model" if "model_args" in content else _listed(content)
        raise InputError(
            f"{path}: expected a binding model (model_state, or gpt_state and regressor_state), got {what}"
            + ("; train one on it with `dnalm finetune`" if "model_args" in content else "")
        )
    config = _config(content.get("config"), path)
    core = _core(_tensors(content, "gpt_state", path), config, f"{path}, gpt_state")
    head = _tensors(content, "regressor_state", path)
    width = config["n_embd"]
    if head.get("layer_norm.weight", torch.empty(0)).shape == (2 * width,):
        width *= 2  # both strands, side by side
    check_names(head, _head(width), f"{path}, regressor_state")
    return BindingFile("gpt", config, core, head, numbers)


def read_language_file(path: Path) -> tuple[GPTConfig, str, dict[str, Tensor]]:
    """Read a language model as the published scripts and `dnalm pretrain` save it, `ckpt_*.pt`.

    Returns:
        Its shape, its vocabulary in id order, and the tensors of `GPT` by their names in it.

    Raises:
        InputError: if it is another kind of file, would run code, its tensors are not exactly those of such a
            model, or its vocabulary is not known; what is wrong is named.
    """
    content = read_pt(path)
    if "model_args" not in content or "model" not in content:
        raise InputError(
            f"{path}: expected a pretraining checkpoint with model_args and model, got {_listed(content)}"
        )
    config = _config(content["model_args"], path)
    core = _core(_tensors(content, "model", path), config, f"{path}, model")
    characters = characters_of(config["vocab_size"], path, content.get("characters"))
    return gpt_shape(config), characters, core


def gpt_shape(config: Mapping[str, Any]) -> GPTConfig:
    """Return the shape of a GPT from a file's config, which was checked when the file was read."""
    return GPTConfig(**{name: value for name, value in config.items() if name != "vocab_size"})


def characters_of(vocab_size: int, path: Path, characters: Any = None) -> str:
    """Return the vocabulary of a `.pt` file of `vocab_size` tokens.

    `characters` are as the file has them; None in a published file, which has the size alone.

    Raises:
        InputError: if they are no vocabulary of V tokens, or there are none and the size is not published.
    """
    if characters is not None:
        if (
            not isinstance(characters, str)
            or not characters.isascii()
            or not len(characters) == len(set(characters)) == vocab_size
        ):
            raise InputError(
                f"{path}: expected its characters to be {vocab_size} different ones of ASCII, a token each, "
                f"got {str(characters)[:300]!r}; use another copy, or the folder that dnalm wrote beside it"
            )
        return str(characters)
    known = {len(text): text for text in (VOCAB4.characters, HG38_CHARACTERS)}
    if vocab_size not in known:
        raise InputError(
            f"{path}: its vocabulary of {vocab_size} tokens is neither A C G T nor hg38's 40 characters, and "
            "the file does not say which letters they are; give the folder that dnalm wrote beside it"
        )
    return known[vocab_size]


def binding_file_content(
    kind: Kind,
    config: Mapping[str, Any] | None,
    core: Mapping[str, Tensor] | None,
    head: Mapping[str, Tensor],
    numbers: Mapping[str, float],
) -> dict[str, Any]:
    """Return what `dnalm.checkpoint.write_pt` writes for a model: the converse of `read_binding_file`.

    The arguments are as in `BindingFile`. A `position` that is learned is left out, as the published files do
    not know it; `lm_head.weight`, tied to the core's embedding, is added.
    """
    assert not set(numbers) & set(STATES)
    if kind == "cnn":
        assert config is None
        assert core is None
        return {"model_state": _saved(head), **numbers}
    assert config is not None
    assert core is not None
    gpt = {f"transformer.{name}": tensor for name, tensor in _saved(core).items()}
    gpt["lm_head.weight"] = gpt["transformer.wte.weight"]
    learned = config.get("position") == "learned"
    plain = {name: value for name, value in config.items() if not (learned and name == "position")}
    return {"gpt_state": gpt, "regressor_state": _saved(head), "config": plain, **numbers}


def _saved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _tensors(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Tensor]:
    """Return the tensors under `key` by name, without what wrappers put before the names."""
    state = content[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: expected {key} to be a dictionary of tensors, got something else")
    tensors: dict[str, Tensor] = {}
    for full, tensor in state.items():
        name = str(full)
        while name.startswith(PREFIXES):
            name = name.removeprefix(PREFIXES[0]).removeprefix(PREFIXES[1])
        if name in tensors:
            raise InputError(f"{path}: {key} holds {name} twice, once as {full}; expected each tensor once")
        tensors[name] = tensor.detach()
    return tensors


def _config(found: Any, path: Path) -> dict[str, Any]:
    """Return the config of a GPT, checked; `position` is learned where the file has none."""
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected config to hold {', '.join(SIZES)}, got {type(found).__name__}")
    sizes = {name: found.get(name) for name in SIZES}
    wrong = [
        f"{name} {found.get(name, 'missing')}"
        for name, value in sizes.items()
        if type(value) is not int or not 1 <= value <= LARGEST
    ]
    if type(found.get("dropout")) not in (int, float):
        wrong.append(f"dropout {found.get('dropout', 'missing')}")
    if type(found.get("bias")) is not bool:
        wrong.append(f"bias {found.get('bias', 'missing')}")
    wrong += [f"unknown {name}" for name in found if name not in (*SIZES, "dropout", "bias", "position")]
    if wrong:
        raise InputError(f"{path}: its config is not that of a GPT: {'; '.join(map(str, wrong))}")
    return {"position": "learned"} | found


def _core(state: dict[str, Tensor], config: dict[str, Any], source: str) -> dict[str, Tensor]:
    """Return the tensors of a `GPT` without their `transformer.`; the tied head must equal the embedding."""
    tied, embedding = state.pop("lm_head.weight", None), state.get("transformer.wte.weight")
    same = tied is not None and embedding is not None and tied.shape == embedding.shape
    if tied is not None and not (same and torch.equal(tied, embedding)):  # type: ignore[arg-type]
        raise InputError(f"{source}: expected lm_head.weight to equal transformer.wte.weight, got others")
    layers = {found[1] for name in state if (found := re.match(r"transformer\.h\.(\d+)\.", name))}
    if len(layers) != config["n_layer"]:
        raise InputError(f"{source}: its config has {config['n_layer']} layers, it holds {len(layers)}")
    try:
        shape = gpt_shape(config)
    except ValueError as error:
        raise InputError(f"{source}: its config is not that of a GPT: {error}") from error
    with torch.device("meta"):
        wanted = GPT(shape, config["vocab_size"]).state_dict()
    check_names(state, {f"transformer.{name}": tensor for name, tensor in wanted.items()}, source)
    return {name: state[f"transformer.{name}"] for name in wanted}


def _head(width: int) -> dict[str, Tensor]:
    """Return tensors without content, as the published head on states [.., D] has them; D is `width`."""
    shapes: dict[str, tuple[int, ...]] = {
        "layer_norm.weight": (width,),
        "layer_norm.bias": (width,),
        "conv1d.weight": (CHANNELS, width, KERNEL),
        "conv1d.bias": (CHANNELS,),
        "fc.weight": (1, CHANNELS),
        "fc.bias": (1,),
    }
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def _cnn() -> dict[str, Tensor]:
    """Return tensors without content, as the published CNN has them."""
    first = torch.empty(CHANNELS, 4, KERNEL, device="meta")
    head = {f"head.{name}": tensor for name, tensor in _head(CHANNELS).items()}
    return {"initial_conv.weight": first, "initial_conv.bias": first[:, 0, 0], **head}


def _listed(content: Mapping[str, Any]) -> str:
    return "a file that holds " + (", ".join(list(map(str, content))[:5]) or "nothing")
