"""Tests for open_chemberta: small random checkpoints in exactly the hub's layout."""

import json

import pytest
import torch
from safetensors.torch import save_file

from dnalm.checkpoint import write_pt
from dnalm.encoders.chemberta import ChemBERTa, ChemBERTaConfig, open_chemberta
from dnalm.hub import read_config

pytest.importorskip("transformers")

SHAPE = {
    "vocab_size": 20,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 1,
    "model_type": "roberta",
    "hidden_act": "gelu",
    "pad_token_id": 1,
}
LAYER = {
    f"{name}.{end}": shape if end == "weight" else shape[:1]
    for name, shape in {
        "attention.self.query": (24, 24),
        "attention.self.key": (24, 24),
        "attention.self.value": (24, 24),
        "attention.output.dense": (24, 24),
        "attention.output.LayerNorm": (24,),
        "intermediate.dense": (16, 24),
        "output.dense": (24, 16),
        "output.LayerNorm": (24,),
    }.items()
    for end in ("weight", "bias")
}
ENCODER = {
    "embeddings.word_embeddings.weight": (20, 24),
    "embeddings.position_embeddings.weight": (12, 24),
    "embeddings.token_type_embeddings.weight": (1, 24),
    "embeddings.LayerNorm.weight": (24,),
    "embeddings.LayerNorm.bias": (24,),
} | {f"encoder.layer.{layer}.{name}": shape for layer in range(2) for name, shape in LAYER.items()}
HEAD = {
    "lm_head.bias": (20,),
    "lm_head.dense.weight": (24, 24),
    "lm_head.dense.bias": (24,),
    "lm_head.layer_norm.weight": (24,),
    "lm_head.layer_norm.bias": (24,),
    "lm_head.decoder.weight": (20, 24),
    "lm_head.decoder.bias": (20,),
}


def tensors(prefix="roberta."):
    torch.manual_seed(4)
    return {prefix + name: 0.1 * torch.randn(shape) for name, shape in ENCODER.items()}


def write(folder, weights, kind="safetensors", **config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SHAPE | config))
    if kind == "safetensors":
        save_file(weights, folder / "model.safetensors")
    else:
        write_pt(folder / "pytorch_model.bin", weights)
    return folder


def states(model):
    return model(torch.arange(18).view(2, 9), torch.ones(2, 9, dtype=torch.bool))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("prefix", ["roberta.", ""])
def test_opens_the_hubs_files_with_and_without_prefix_and_head(tmp_path, kind, prefix):
    wanted = ChemBERTa(ChemBERTaConfig.from_hub(SHAPE)).eval()
    assert {name: tuple(t.shape) for name, t in wanted.roberta.state_dict().items()} == ENCODER
    wanted.load_state_dict(tensors())
    head = {name: torch.randn(shape) for name, shape in HEAD.items()}
    position = {prefix + "embeddings.position_ids": torch.arange(12)[None]}
    pooler = {prefix + f"pooler.dense.{end}": torch.ones(24) for end in ("weight", "bias")}
    for number, more in enumerate(({}, head, head | position | pooler)):
        folder = write(tmp_path / str(number), tensors(prefix) | more, kind)
        (file,) = (path for path in folder.iterdir() if path.name != "config.json")
        for path in (folder, file):
            model = open_chemberta(path)
            assert torch.equal(states(model), states(wanted))
            assert not any(part.training for part in model.modules())
            assert model.config == wanted.config


def test_what_is_saved_opens_as_the_same(tmp_path):
    model = open_chemberta(write(tmp_path / "hub", tensors()))
    again = open_chemberta(write(tmp_path / "again", model.state_dict()))
    assert torch.equal(states(again), states(model))


def test_half_precision_weights_become_float32(tmp_path):
    halves = {name: tensor.half() for name, tensor in tensors().items()}
    model = open_chemberta(write(tmp_path / "half", halves))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_names_what_is_missing_left_over_or_of_another_shape(tmp_path):
    def refused(weights, message, **config):
        with pytest.raises(ValueError, match=message):
            open_chemberta(write(tmp_path / "hub", weights, **config))

    lacking, more = tensors(), torch.zeros(2)
    del lacking["roberta.encoder.layer.1.output.dense.bias"]
    refused(lacking, r"hub: its tensors are not this model's: missing encoder\.layer\.1\.output\.dense\.bias")
    refused(tensors() | {"roberta.encoder.norm.weight": more}, r"not in this model encoder\.norm\.weight")
    refused(tensors() | {"classifier.dense.bias": more}, r"not in this model classifier\.dense\.bias")
    refused(tensors() | {"pooler.dense.bias": more}, r"not in this model pooler\.dense\.bias")
    refused(tensors() | {"roberta.lm_head.bias": more}, r"not in this model lm_head\.bias")
    refused(tensors("bert."), r"missing embeddings.* not in this model bert\.")
    refused(tensors(), r"intermediate\.dense\.weight is \[16, 24\], wanted \[17, 24\]", intermediate_size=17)
    refused(tensors(), r"position_embeddings\.weight is \[12, 24\]", max_position_embeddings=13)
    refused(tensors(), r"missing encoder\.layer\.2\.", num_hidden_layers=3)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_file_cut_short_is_refused_by_name(tmp_path, kind):
    folder = write(tmp_path / "hub", tensors(), kind)
    (file,) = (path for path in folder.iterdir() if path.name != "config.json")
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=rf"{file.name}: .*cut short"):
        open_chemberta(folder)


def test_needs_weights_and_the_config_beside_them(tmp_path):
    folder = write(tmp_path / "hub", tensors())
    (folder / "config.json").rename(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"config\.json: missing"):
        open_chemberta(folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"expected a folder with model\.safetensors or pytorch_model\.bin"):
        open_chemberta(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "gelu_new"}, "hub: expected .*: hidden_act is 'gelu_new', wanted 'gelu'"),
        ({"model_type": "bert"}, "model_type is 'bert', wanted 'roberta'"),
        ({"type_vocab_size": 2, "is_decoder": True}, "type_vocab_size is 2, wanted 1; is_decoder is True"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"hidden_size": "24", "layer_norm_eps": None}, "hidden_size is '24', .*layer_norm_eps is None"),
        ({"pad_token_id": None}, "pad_token_id is None, wanted a whole number"),
        ({"num_attention_heads": 5}, "hub: hidden must be a multiple of heads, got 24 and 5"),
    ],
)
def test_refuses_a_config_of_what_it_cannot_do(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        open_chemberta(write(tmp_path / "hub", tensors(), **change))


def test_a_config_that_lacks_sizes_is_refused_by_name():
    with pytest.raises(ValueError, match="no vocab_size; no hidden_size"):
        ChemBERTaConfig.from_hub({})


def test_the_published_config_is_the_default(shared_data):
    folder = shared_data / "hub" / "ChemBERTa-77M-MLM"
    assert ChemBERTaConfig.from_hub(read_config(folder)) == ChemBERTaConfig()
    with pytest.raises(ValueError, match=r"ChemBERTa-77M-MLM: expected a folder with model\.safetensors or"):
        open_chemberta(folder)
