"""Tests for dnalm/models/conv.py, and for a GPT of the masked objective beside it."""

import pytest
import torch

from dnalm.models.conv import ConvConfig, ConvEncoder
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.language import LanguageModel
from dnalm.models.layers import rotate
from dnalm.models.local_start import start_local
from dnalm.models.sizes import CONV_SIZES

SHAPES = [
    GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=12, objective="masked"),
    ConvConfig(width=8, blocks=3, kernel=3, widest=2, block_size=12),
]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=["gpt", "conv"])


def model_of(shape):
    torch.manual_seed(0)
    model = LanguageModel(shape, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.eval()


def test_dilations_double_to_the_widest_and_halve_back():
    assert ConvConfig().dilations == [1, 2, 4, 8, 16, 32, 64, 32, 16, 8, 4, 2, 1]
    assert ConvConfig(blocks=6, widest=4).dilations == [1, 2, 4, 2, 1, 2]
    assert ConvConfig(blocks=3, widest=1).dilations == [1, 1, 1]


@pytest.mark.parametrize("wrong", [{"widest": 3}, {"kernel": 4}, {"blocks": 0}, {"dropout": 1.0}])
def test_shapes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ConvConfig(**wrong)


@pytest.mark.parametrize("name", CONV_SIZES)
def test_a_size_has_the_parameters_of_its_name(name):
    size = CONV_SIZES[name]
    with torch.device("meta"):
        encoder = ConvEncoder(ConvConfig(width=size.n_embd, blocks=size.n_layer), 4)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    assert count == pytest.approx(int(name[:-1]) * 1e6, rel=0.05)
    GPTConfig(**size._asdict())  # its flags are those of a GPT


def test_a_state_depends_on_the_tokens_within_reach_and_no_others():
    encoder = model_of(ConvConfig(width=8, blocks=3, kernel=3, widest=2, block_size=20)).transformer
    tokens, real = torch.zeros(1, 20, dtype=torch.long), torch.ones(1, 20, dtype=torch.bool)
    changed = tokens.clone()
    changed[0, 10] = 1
    different = (encoder(tokens, real) != encoder(changed, real)).any(-1)[0]
    assert different.nonzero().flatten().tolist() == list(range(6, 15))  # 1 + 2 + 1 tokens to either side


@shapes
def test_a_masked_model_uses_both_sides_and_never_predicts_the_mask(shape):
    model = model_of(shape)
    tokens, real = torch.tensor([[0, 1, 2, 4, 3, 0, 1]]), torch.ones(1, 7, dtype=torch.bool)
    logits = model(tokens, real)
    assert logits.shape == (1, 7, 4)  # of A, C, G and T: none of the mask
    for side in (2, 4):
        changed = tokens.clone()
        changed[0, side] = 1
        assert not torch.allclose(model(changed, real)[0, 3], logits[0, 3])
    assert model.mask_token == 4
    assert len(model.transformer.wte.weight) == 5


@shapes
def test_padding_changes_nothing(shape):
    model = model_of(shape)
    tokens = torch.randint(4, (2, 12), generator=torch.Generator().manual_seed(0))
    real = torch.arange(12) < torch.tensor([[7], [12]])
    alone = model(tokens[:1, :7], real[:1, :7])
    for padding in (0, 3):
        found = model(tokens.masked_fill(~real, padding), real)[:1, :7]
        torch.testing.assert_close(found, alone, rtol=1e-5, atol=1e-5)  # float32 in another order


def test_heads_of_a_masked_model_begin_on_both_sides():
    torch.manual_seed(0)
    config = GPTConfig(n_layer=2, n_head=4, n_embd=384, block_size=60, objective="masked")
    model = GPT(config, 4)
    start_local(model)
    x = model.wte(torch.randint(4, (8, 60)))
    found = []
    for block in model.h:
        joint = block.attn.c_attn(block.ln_1(x)).view(8, 60, 3, 4, 96).permute(2, 0, 3, 1, 4)
        query, key = (rotate(each, model.cosines, model.sines) for each in joint[:2])
        weights = (query @ key.transpose(-1, -2) / 96**0.5).softmax(-1).mean(0)  # [H, L, L]
        for head in weights:
            near = {d: head.diagonal(-d).mean().item() for d in range(-12, 13)}
            found.append(max(near, key=near.get))
    assert found == [1, -1, 2, -2, 3, -3, 4, -4]
