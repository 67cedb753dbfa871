"""Tests for open_dnabert2: small random checkpoints in exactly the hub's layout."""

import json

import pytest
import torch
from safetensors.torch import save_file

from dnalm.checkpoint import write_pt
from dnalm.encoders.dnabert2 import DNABert2, DNABert2Config, open_dnabert2
from dnalm.hub import read_config

SHAPE = {
    "vocab_size": 20,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
}
LAYER = {
    "attention.self.Wqkv.weight": (72, 24),
    "attention.self.Wqkv.bias": (72,),
    "attention.output.dense.weight": (24, 24),
    "attention.output.dense.bias": (24,),
    "attention.output.LayerNorm.weight": (24,),
    "attention.output.LayerNorm.bias": (24,),
    "mlp.gated_layers.weight": (32, 24),
    "mlp.wo.weight": (24, 16),
    "mlp.wo.bias": (24,),
    "mlp.layernorm.weight": (24,),
    "mlp.layernorm.bias": (24,),
}
ENCODER = {
    "embeddings.word_embeddings.weight": (20, 24),
    "embeddings.token_type_embeddings.weight": (2, 24),
    "embeddings.LayerNorm.weight": (24,),
    "embeddings.LayerNorm.bias": (24,),
} | {f"encoder.layer.{layer}.{name}": shape for layer in range(2) for name, shape in LAYER.items()}
HEAD = {
    "cls.predictions.transform.dense.weight": (24, 24),
    "cls.predictions.transform.dense.bias": (24,),
    "cls.predictions.transform.LayerNorm.weight": (24,),
    "cls.predictions.transform.LayerNorm.bias": (24,),
    "cls.predictions.decoder.weight": (20, 24),
    "cls.predictions.decoder.bias": (20,),
}


def tensors(prefix="bert."):
    torch.manual_seed(4)
    return {prefix + name: 0.1 * torch.randn(shape) for name, shape in ENCODER.items()}


def head():
    return {name: torch.randn(shape) for name, shape in HEAD.items()}


def write(folder, weights, kind="safetensors", **config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SHAPE | config))
    if kind == "safetensors":
        save_file(weights, folder / "model.safetensors")
    else:
        write_pt(folder / "pytorch_model.bin", weights)
    return folder


def states(model):
    tokens = torch.arange(18).view(2, 9)
    return model(tokens, torch.ones(2, 9, dtype=torch.bool))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_opens_the_hubs_files_with_and_without_prefix_and_head(tmp_path, kind, prefix):
    wanted = DNABert2(DNABert2Config.from_hub(SHAPE)).eval()
    assert {name: tuple(tensor.shape) for name, tensor in wanted.state_dict().items()} == ENCODER
    wanted.load_state_dict(tensors(""))
    position = {prefix + "embeddings.position_ids": torch.arange(512)[None]}
    pooler = {
        prefix + "pooler.dense.weight": torch.zeros(24, 24),
        prefix + "pooler.dense.bias": torch.ones(24),
    }
    for number, more in enumerate(({}, head(), head() | position | pooler)):
        folder = write(tmp_path / str(number), tensors(prefix) | more, kind)
        (file,) = (path for path in folder.iterdir() if path.name != "config.json")
        for path in (folder, file):
            model = open_dnabert2(path)
            assert torch.equal(states(model), states(wanted))
            assert not model.training
            assert model.config == wanted.config


def test_half_precision_weights_become_float32(tmp_path):
    halves = {name: tensor.half() for name, tensor in tensors().items()}
    model = open_dnabert2(write(tmp_path / "half", halves))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_names_what_is_missing_left_over_or_of_another_shape(tmp_path):
    def refused(weights, message, **config):
        with pytest.raises(ValueError, match=message):
            open_dnabert2(write(tmp_path / "hub", weights, **config))

    lacking, more = tensors(), torch.zeros(2)
    del lacking["bert.encoder.layer.1.mlp.wo.bias"]
    refused(lacking, r"hub: its tensors are not this model's: missing encoder\.layer\.1\.mlp\.wo\.bias")
    refused(tensors() | {"bert.encoder.norm.weight": more}, r"not in this model encoder\.norm\.weight")
    refused(tensors() | {"cls.seq_relationship.bias": more}, r"not in this model cls\.seq_relationship\.bias")
    refused(tensors() | {"pooler.dense.bias": more}, r"not in this model pooler\.dense\.bias")
    refused(tensors("roberta."), r"missing embeddings.* not in this model roberta\.")
    refused(tensors(), r"gated_layers\.weight is \[32, 24\], wanted \[34, 24\]", intermediate_size=17)
    refused(tensors(), r"missing encoder\.layer\.2\.", num_hidden_layers=3)


def test_needs_the_config_beside_the_weights(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(tensors(), file)
    with pytest.raises(ValueError, match=r"config\.json: missing"):
        open_dnabert2(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new', wanted 'gelu'"),
        ({"is_decoder": True}, "is_decoder is True, wanted False"),
        ({"hidden_size": "24", "layer_norm_eps": None}, "hidden_size is '24', .*layer_norm_eps is None"),
        ({"num_attention_heads": 5}, "hidden must be a multiple of heads, got 24 and 5"),
        ({"hidden_dropout_prob": 1.5, "type_vocab_size": 0}, "types must be at least 1, got 0; dropout must"),
        ({"layer_norm_eps": 0.0}, "eps must be above 0"),
    ],
)
def test_refuses_a_config_of_what_it_cannot_do(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        open_dnabert2(write(tmp_path / "hub", tensors(), **change))


def test_a_config_that_lacks_sizes_is_refused_by_name():
    with pytest.raises(ValueError, match="no vocab_size; no hidden_size"):
        DNABert2Config.from_hub({})


def test_the_published_config_is_the_default(shared_data):
    content = read_config(shared_data / "hub" / "DNABERT-2-117M")
    assert DNABert2Config.from_hub(content) == DNABert2Config()
    with pytest.raises(ValueError, match=r"hub/DNABERT-2-117M: expected a folder with model\.safetensors or"):
        open_dnabert2(shared_data / "hub" / "DNABERT-2-117M")
