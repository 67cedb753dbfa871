"""The published project's `.pt` files: `cnn_baseline_model.pt`, `gpt_binding_model_*.pt`, `ckpt_*.pt`.

Read through the safe reader of `dnalm.checkpoint`; every tensor is checked by name and shape, so that none is
left random. Ours are written in the same layout from plain values, and open without any allowance.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnalm.checkpoint import check_names, load_strict, read_pt
from dnalm.errors import InputError, counted
from dnalm.models.binding import BindingModel, BindingShape, TuneConfig
from dnalm.models.cnn import CNNConfig
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4

WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")  # of data-parallel training and `torch.compile`
FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("block_size", "vocab_size", "n_layer", "n_head", "n_embd"), (int,)),
    **{"dropout": (int, float), "bias": (bool,)},
}
"""Fields of the published `GPTConfig` with their types; ours may have a position too."""
LARGEST = 1 << 24  # of any of them; more is damage, and would overflow


def read_binding_file(path: Path) -> tuple[BindingModel, dict[str, float]]:
    """Read a binding model, and the plain numbers beside its tensors, such as `best_val_loss`.

    Raises:
        InputError: if it is another kind of file, would run code, its tensors are not exactly those of a
            published model, or its vocabulary is not known; what is wrong is named.
    """
    content = read_pt(path)
    numbers = {name: float(value) for name, value in content.items() if type(value) in (int, float)}
    if "model_state" in content:
        shape, key = BindingShape(CNNConfig()), "model_state"
        core = _tensors(content, key, path)
        names = [name for name in core if name.startswith("head.")]
        head = {name.removeprefix("head."): core.pop(name) for name in names}
    elif {"gpt_state", "regressor_state"} <= content.keys():
        key = "regressor_state"
        config, vocab_size, core = _core(content, "gpt_state", "config", path)
        head = _tensors(content, key, path)
        both_strands = len(head.get("layer_norm.weight", ())) == 2 * config.n_embd
        characters = _characters(vocab_size, None, path)
        features = "mix" if "mix.logits" in head else "last"
        shape = BindingShape(
            config, characters, tuning=TuneConfig(both_strands=both_strands, features=features)
        )
    else:
        wanted = "a binding model (model_state, or gpt_state and regressor_state)"
        raise InputError(f"{path}: expected {wanted}, got {_listed(content)}")
    model = BindingModel(shape).eval()
    load_strict(core, model.encoder.state_dict(), f"{path}, {key}")
    load_strict(head, model.head.state_dict(), f"{path}, {key}")
    return model, numbers


def published_content(model: BindingModel, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what `dnalm.checkpoint.write_pt` writes for a model, the converse of `read_binding_file`.

    It is None if the published files have no such encoder, sizes, letters or layer. `about` is plain values
    beside the tensors. A `position` that is learned is left out, as they do not know it; `lm_head.weight`,
    tied to the core's embedding, is added. The weights of a mix of layers are with the head, as `mix.logits`:
    the published scripts refuse such a file.
    """
    shape, published = model.shape, RegressionHeadConfig()
    if (shape.head.channels, shape.head.kernel) != (published.channels, published.kernel):
        return None
    core, head = (
        {name: tensor.detach().cpu().contiguous() for name, tensor in part.state_dict().items()}
        for part in (model.encoder, model.head)
    )
    if not shape.pretrained:
        if shape.encoder != CNNConfig():
            return None
        return {"model_state": core | {f"head.{name}": tensor for name, tensor in head.items()}, **about}
    if not isinstance(shape.encoder, GPTConfig) or not is_published(shape.encoder):
        return None
    if shape.tuning.features not in ("last", "mix"):
        return None
    if shape.characters not in (VOCAB4.characters, HG38_CHARACTERS):  # the file holds their number alone
        return None
    gpt = {f"transformer.{name}": tensor for name, tensor in core.items()}
    gpt["lm_head.weight"] = gpt["transformer.wte.weight"]
    config = gpt_fields(shape.encoder) | {"vocab_size": len(shape.characters)}
    vocab_size = config["vocab_size"]  # the published time comparison reads it beside the config
    return {"gpt_state": gpt, "regressor_state": head, "config": config, "vocab_size": vocab_size, **about}


def is_published(config: GPTConfig) -> bool:
    """Return whether the published files have models of this kind."""
    return config.objective == "causal" and not config.species_token


def gpt_fields(config: GPTConfig) -> dict[str, Any]:
    """Return the shape of a causal GPT as the published files have it; a learned position is not named."""
    left_out = {"objective", "species_token"} | ({"position"} if config.position == "learned" else set())
    return {name: value for name, value in asdict(config).items() if name not in left_out}


def read_language_file(path: Path) -> tuple[GPTConfig, str, dict[str, Tensor]]:
    """Return a language model's shape, its vocabulary in id order, and its tensors by their names in `GPT`.

    Raises:
        InputError: as `read_binding_file`.
    """
    content = read_pt(path)
    if not {"model_args", "model"} <= content.keys():
        wanted = "a pretraining checkpoint with model_args and model"
        raise InputError(f"{path}: expected {wanted}, got {_listed(content)}")
    shape, vocab_size, core = _core(content, "model", "model_args", path)
    return shape, _characters(vocab_size, content.get("characters"), path), core


def _characters(vocab_size: int, characters: Any, path: Path) -> str:
    """Return the vocabulary of a file; `characters` are its own, None in a published file."""
    if characters is None:
        characters = {4: VOCAB4.characters, 40: HG38_CHARACTERS}.get(vocab_size)
    is_text = isinstance(characters, str) and characters.isascii()
    if not is_text or not len(characters) == len(set(characters)) == vocab_size:
        raise InputError(
            f"{path}: expected its characters to be {vocab_size} different ones of ASCII (or none: A C G T "
            f"or hg38's 40), got {str(characters)[:300]!r}; use the folder that dnalm wrote beside it"
        )
    return str(characters)


def _tensors(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Tensor]:
    """Return the tensors under `key` by name, without what wrappers put before the names."""
    state = content[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: expected {key} to be a dictionary of tensors, got something else")
    tensors = {WRAPPERS.sub("", str(name)): tensor.detach() for name, tensor in state.items()}
    if len(tensors) < len(state):
        raise InputError(f"{path}: {key} holds a tensor twice, with and without a wrapper's prefix")
    return tensors


def _config(found: Any, path: Path) -> tuple[GPTConfig, int]:
    """Return the shape of a GPT and the size of its vocabulary; position is learned unless named."""
    fields = found if isinstance(found, dict) else {}
    wrong = [
        f"{name} {fields.get(name, 'missing')}"
        for name, kinds in FIELDS.items()
        if type(fields.get(name)) not in kinds or not 0 <= fields[name] <= LARGEST
    ]
    wrong += [f"unknown {name}" for name in fields if name not in (*FIELDS, "position")]
    try:
        if wrong:
            raise InputError("; ".join(wrong))
        rest = {name: value for name, value in fields.items() if name != "vocab_size"}
        return GPTConfig(**{"position": "learned"} | rest), fields["vocab_size"]
    except InputError as error:
        raise InputError(f"{path}: its config is not that of a GPT: {error}") from error


def _core(
    content: Mapping[str, Any], key: str, config: str, path: Path
) -> tuple[GPTConfig, int, dict[str, Tensor]]:
    """Return shape, number of tokens and tensors of a `GPT`; the tied head must equal the embedding."""
    shape, vocab_size = _config(content.get(config), path)
    state, source = _tensors(content, key, path), f"{path}, {key}"
    tied, embedding = state.pop("lm_head.weight", None), state.get("transformer.wte.weight")
    if tied is not None and (embedding is None or not torch.equal(tied, embedding)):
        raise InputError(f"{source}: expected lm_head.weight to equal transformer.wte.weight, got others")
    if f"transformer.h.{shape.n_layer - 1}.ln_1.weight" not in state:
        raise InputError(f"{source}: its config has {counted(shape.n_layer, 'layer')}, it holds others")
    with torch.device("meta"):
        wanted = GPT(shape, vocab_size).state_dict()
    check_names(state, {f"transformer.{name}": tensor for name, tensor in wanted.items()}, source)
    return shape, vocab_size, {name: state[f"transformer.{name}"] for name in wanted}


def _listed(content: Mapping[str, Any]) -> str:
    names = ", ".join(list(map(str, content))[:5]) or "nothing"
    return f"a file that holds {names}" + (", of `dnalm pretrain`" if "model_args" in content else "")
