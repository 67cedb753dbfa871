"""Tests for open_dnabert2 and open_chemberta: small random checkpoints in exactly the hub's layout."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file

from dnalm.checkpoint import write_pt
from dnalm.errors import InputError
from dnalm.formats.hub import read_config
from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig, open_chemberta
from dnalm.models.dnabert2 import DNABert2, DNABert2Config, open_dnabert2

transformers = pytest.importorskip("transformers")

NORM = ("embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")


class Kind(NamedTuple):
    """An encoder of the hub, and its files."""

    open: Callable[..., Any]
    model: Any
    config: Any
    published: str  # folder of its configuration
    prefix: str  # before each name in a file that has a language-model head, too
    own: str  # before each name in the module's own state
    settings: dict[str, Any]  # config.json
    encoder: dict[str, tuple[int, ...]]  # shapes of its tensors, without prefix
    head: dict[str, tuple[int, ...]]
    bias: str  # one of its tensors that may be missing
    strange: tuple[str, ...]  # names that are no part of it


def both(weights: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return weights and their biases."""
    return {f"{name}.weight": shape for name, shape in weights.items()} | {
        f"{name}.bias": shape[:1] for name, shape in weights.items()
    }


SETTINGS = {
    "vocab_size": 20,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
TRANSFORM = {"dense": (24, 24), "LayerNorm": (24,)}
LAYER = {"attention.self.Wqkv": (72, 24), "mlp.wo": (24, 16), "mlp.layernorm": (24,)}
LAYER |= {"attention.output.dense": (24, 24), "attention.output.LayerNorm": (24,)}
LAYER = both(LAYER) | {"mlp.gated_layers.weight": (32, 24)}
DNABERT2 = Kind(
    open_dnabert2,
    DNABert2,
    DNABert2Config,
    "DNABERT-2-117M",
    "bert.",
    "",
    SETTINGS | {"type_vocab_size": 2},
    {"embeddings.word_embeddings.weight": (20, 24), "embeddings.token_type_embeddings.weight": (2, 24)}
    | dict.fromkeys(NORM, (24,))
    | {f"encoder.layer.{number}.{name}": shape for number in range(2) for name, shape in LAYER.items()},
    both({f"cls.predictions.transform.{name}": shape for name, shape in TRANSFORM.items()})
    | both({"cls.predictions.decoder": (20, 24)}),
    "encoder.layer.1.mlp.wo.bias",
    ("bert.encoder.norm.weight", "bert.cls.bias"),
)
CHEMBERTA_SETTINGS = SETTINGS | {"max_position_embeddings": 12, "type_vocab_size": 1, "pad_token_id": 1}
with torch.device("meta"):
    ROBERTA = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**CHEMBERTA_SETTINGS)).state_dict()
THEIRS = {name: tuple(tensor.shape) for name, tensor in ROBERTA.items()}
CHEMBERTA = Kind(
    open_chemberta,
    ChemBERTa,
    ChemBERTaConfig,
    "ChemBERTa-77M-MLM",
    "roberta.",
    "roberta.",
    CHEMBERTA_SETTINGS | {"model_type": "roberta"},
    {name.removeprefix("roberta."): shape for name, shape in THEIRS.items() if name.startswith("roberta.")},
    {name: shape for name, shape in THEIRS.items() if name.startswith("lm_head.")},
    "encoder.layer.1.output.dense.bias",
    ("roberta.encoder.norm.weight", "roberta.lm_head.bias"),
)
KINDS = {"dnabert2": DNABERT2, "chemberta": CHEMBERTA}


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    return KINDS[request.param]


def tensors(kind, prefix=None):
    torch.manual_seed(4)
    before = kind.prefix if prefix is None else prefix
    return {before + name: 0.1 * torch.randn(shape) for name, shape in kind.encoder.items()}


def write(kind, folder, weights, file="safetensors", **config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(kind.settings | config))
    if file == "safetensors":
        save_file(weights, folder / "model.safetensors")
    else:
        write_pt(folder / "pytorch_model.bin", weights)
    return folder


def weights_file(folder):
    (file,) = (path for path in folder.iterdir() if path.name != "config.json")
    return file


def states(model):
    return model(torch.arange(18).view(2, 9), torch.ones(2, 9, dtype=torch.bool))


@pytest.mark.parametrize("file", ["safetensors", "bin"])
@pytest.mark.parametrize("prefixed", [True, False])
def test_opens_the_hubs_files_with_and_without_prefix_and_head(tmp_path, kind, file, prefixed):
    prefix = kind.prefix if prefixed else ""
    wanted = kind.model(kind.config.from_hub(kind.settings)).eval()
    assert {name: tuple(tensor.shape) for name, tensor in wanted.state_dict().items()} == {
        kind.own + name: shape for name, shape in kind.encoder.items()
    }
    wanted.load_state_dict(tensors(kind, kind.own))
    head = {name: torch.randn(shape) for name, shape in kind.head.items()}
    position = {prefix + "embeddings.position_ids": torch.arange(512)[None]}
    pooler = {prefix + f"pooler.dense.{end}": torch.ones(24) for end in ("weight", "bias")}
    for number, more in enumerate(({}, head, head | position | pooler)):
        folder = write(kind, tmp_path / str(number), tensors(kind, prefix) | more, file)
        for path in (folder, weights_file(folder)):
            model = kind.open(path)
            assert torch.equal(states(model), states(wanted))
            assert not any(part.training for part in model.modules())
            assert model.config == wanted.config


@pytest.mark.parametrize("prefixed", [True, False])
def test_the_head_of_another_task_is_left_out_and_reported(tmp_path, kind, prefixed):
    prefix = kind.prefix if prefixed else ""
    wanted = kind.open(write(kind, tmp_path / "plain", tensors(kind, prefix)))
    assert not wanted.left_out
    head = {name: torch.ones(2) for name in ("regression.dense.weight", "classifier.bias", "norm_mean")}
    model = kind.open(write(kind, tmp_path / "task", tensors(kind, prefix) | head))
    assert torch.equal(states(model), states(wanted))
    assert all(name in model.left_out for name in ("3 tensors", *head))


def test_what_is_saved_opens_as_the_same_and_half_precision_becomes_float32(tmp_path, kind):
    model = kind.open(write(kind, tmp_path / "hub", tensors(kind)))
    again = kind.open(write(kind, tmp_path / "again", model.state_dict()))
    assert torch.equal(states(again), states(model))
    halves = {name: tensor.half() for name, tensor in tensors(kind).items()}
    model = kind.open(write(kind, tmp_path / "half", halves))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def refused(kind, folder, weights, message, **config):
    with pytest.raises(InputError, match=message):
        kind.open(write(kind, folder, weights, **config))


def test_names_what_is_missing_or_left_over(tmp_path, kind):
    hub, lacking, bias = tmp_path / "hub", tensors(kind), kind.bias.replace(".", r"\.")
    del lacking[kind.prefix + kind.bias]
    refused(kind, hub, lacking, rf"hub: its tensors are not this model's: missing {bias}")
    for name in kind.strange:
        left = name.removeprefix(kind.prefix).replace(".", r"\.")
        refused(kind, hub, tensors(kind) | {name: torch.zeros(2)}, f"not in this model {left}")
    refused(kind, hub, tensors(kind, "other."), r"missing embeddings.* not in this model other\.")
    refused(kind, hub, tensors(kind), r"missing encoder\.layer\.2\.", num_hidden_layers=3)


@pytest.mark.parametrize(
    ("name", "message", "config"),
    [
        ("dnabert2", r"gated_layers\.weight is \[32, 24\], wanted \[34, 24\]", {"intermediate_size": 17}),
        ("chemberta", r"dense\.weight is \[16, 24\], wanted \[17, 24\]", {"intermediate_size": 17}),
        ("chemberta", r"position_embeddings\.weight is \[12, 24\]", {"max_position_embeddings": 13}),
    ],
)
def test_names_what_is_of_another_shape(tmp_path, name, message, config):
    kind = KINDS[name]
    refused(kind, tmp_path / "hub", tensors(kind), message, **config)


def test_needs_weights_and_the_config_beside_them(tmp_path, kind):
    folder = write(kind, tmp_path / "hub", tensors(kind))
    (folder / "config.json").rename(tmp_path / "config.json")
    with pytest.raises(InputError, match=r"config\.json: missing"):
        kind.open(folder / "model.safetensors")
    with pytest.raises(InputError, match=r"expected a folder with model\.safetensors or pytorch_model\.bin"):
        kind.open(tmp_path)


@pytest.mark.parametrize(
    ("names", "change", "message"),
    [
        (KINDS, {"hidden_act": "gelu_new"}, "hub: .*hidden_act is 'gelu_new', expected 'gelu'"),
        (KINDS, {"is_decoder": True}, "is_decoder is True, expected False"),
        (KINDS, {"hidden_size": "24", "layer_norm_eps": None}, "hidden_size is '24', .*_eps is None"),
        (KINDS, {"num_attention_heads": 5}, "hub: hidden must be a multiple of heads, got 24 and 5"),
        (KINDS, {"hidden_dropout_prob": 1.5, "num_hidden_layers": 0}, "layers must .* 0; dropout must"),
        (["dnabert2"], {"type_vocab_size": 0}, "types must be at least 1"),
        (["dnabert2"], {"layer_norm_eps": 0.0}, "eps must be above 0"),
        (["chemberta"], {"model_type": "bert"}, "model_type is 'bert', expected 'roberta'"),
        (["chemberta"], {"type_vocab_size": 2, "is_decoder": True}, "is True, .* type_vocab_size is 2"),
        (["chemberta"], {"position_embedding_type": "relative_key"}, "_type is 'relative_key'"),
        (["chemberta"], {"pad_token_id": None}, "pad_token_id is None, expected an integer"),
    ],
)
def test_refuses_a_config_of_what_it_cannot_do(tmp_path, names, change, message):
    for name in names:
        kind = KINDS[name]
        refused(kind, tmp_path / "hub", tensors(kind), message, **change)


def test_the_published_config_is_the_default(shared_data, kind):
    folder = shared_data / "hub" / kind.published
    assert kind.config.from_hub(read_config(folder)) == kind.config()
    with pytest.raises(InputError, match="no vocab_size; no hidden_size"):
        kind.config.from_hub({})
    with pytest.raises(InputError, match=rf"{kind.published}: expected a folder with model\.safetensors or"):
        kind.open(folder)
