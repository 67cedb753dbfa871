"""Tests for dnalm/models/gpt.py and local_start.py."""

import math

import numpy as np
import pytest
import torch

from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.layers import rotate
from dnalm.models.local_start import start_local

SMALL = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12}
POSITIONS = pytest.mark.parametrize("position", ["learned", "rotary"])


def make(position="learned", bias=False, dropout=0.0, vocab_size=7, **sizes) -> GPT:
    """A GPT as training leaves it: no LayerNorm or bias still at its first value."""
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(**{**SMALL, **sizes}, position=position, bias=bias, dropout=dropout), vocab_size)
    with torch.no_grad():
        for parameter in gpt.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return gpt.eval()


@pytest.fixture
def tokens():
    return torch.randint(7, (3, 12), generator=torch.Generator().manual_seed(1))


def reference(gpt: GPT, tokens: torch.Tensor) -> np.ndarray:
    """The same model written in float64 NumPy, one sequence and one head at a time."""
    weights = {name: tensor.double().numpy() for name, tensor in gpt.state_dict().items()}
    config = gpt.config
    width, heads = config.n_embd, config.n_head
    size = width // heads

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights.get(f"{name}.bias", 0.0)

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    def turn(x):
        out = np.empty_like(x)
        for place in range(len(x)):
            for pair in range(size // 2):
                angle = place * 10_000.0 ** (-2 * pair / size)
                a, b = x[place, pair], x[place, pair + size // 2]
                out[place, pair] = a * math.cos(angle) - b * math.sin(angle)
                out[place, pair + size // 2] = b * math.cos(angle) + a * math.sin(angle)
        return out

    outs = []
    for row in tokens.numpy():
        x = weights["wte.weight"][row]
        if config.position == "learned":
            x = x + weights["wpe.weight"][: len(row)]
        for layer in range(config.n_layer):
            joint = linear(norm(x, f"h.{layer}.ln_1"), f"h.{layer}.attn.c_attn")
            mixed = np.zeros_like(x)
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                query, key, value = (joint[:, start * width :][:, part] for start in range(3))
                if config.position == "rotary":
                    query, key = turn(query), turn(key)
                for place in range(len(row)):
                    scores = key[: place + 1] @ query[place] / math.sqrt(size)
                    attention = np.exp(scores - scores.max())
                    mixed[place, part] = attention @ value[: place + 1] / attention.sum()
            x = x + linear(mixed, f"h.{layer}.attn.c_proj")
            inner = linear(norm(x, f"h.{layer}.ln_2"), f"h.{layer}.mlp.c_fc")
            gelu = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            x = x + linear(gelu, f"h.{layer}.mlp.c_proj")
        outs.append(norm(x, "ln_f"))
    return np.stack(outs)


@pytest.mark.parametrize("bias", [True, False])
@POSITIONS
def test_equals_a_reference_in_float64(tokens, position, bias):
    gpt = make(position, bias).double()
    states = gpt(tokens, torch.ones_like(tokens, dtype=torch.bool))
    # float64 rounding; rotary angles are float32, which is good to about 1e-7 of each value
    torch.testing.assert_close(states.detach(), torch.from_numpy(reference(gpt, tokens)), rtol=0, atol=2e-6)


def test_first_weights_have_the_stated_spread():
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(n_layer=8, n_embd=128, position="learned"), 40)
    # 16,384 draws or more: the deviation is known to 1 %
    assert gpt.h[0].attn.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert gpt.h[0].mlp.c_proj.weight.std().item() == pytest.approx(0.02 / 4, rel=0.03)
    assert (gpt.ln_f.weight == 1).all()


def test_local_start_makes_each_head_look_at_its_own_distance():
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=3, n_head=4, n_embd=384, block_size=60, position="rotary"), 4)
    start_local(model)
    x = model.wte(torch.randint(4, (8, 60)))
    for number, block in enumerate(model.h):
        joint = block.attn.c_attn(block.ln_1(x)).view(8, 60, 3, 4, 96).permute(2, 0, 3, 1, 4)
        query, key = (rotate(each, model.cosines, model.sines) for each in joint[:2])
        scores = (query @ key.transpose(-1, -2) / 96**0.5).masked_fill(
            torch.ones(60, 60).triu(1).bool(), -1e9
        )
        weights = scores.softmax(-1)[:, :, 20:].mean(0)  # [H, 40, L]
        for head in range(4):
            near = [weights[head].diagonal(20 - d).mean().item() for d in range(20)]
            assert near.index(max(near)) == (4 * number + head) % 9
            assert max(near) > 5 / 60  # without it: about one share of 60


def test_local_start_changes_queries_keys_and_embeddings_alone_and_no_logit_difference():
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=8, position="rotary"), 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start_local(model)
    after = model.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {
        "wte.weight",
        "h.0.attn.c_attn.weight",
    }
    assert torch.equal(after["h.0.attn.c_attn.weight"][32:], before["h.0.attn.c_attn.weight"][32:])  # values
    shared = after["wte.weight"] - before["wte.weight"]
    torch.testing.assert_close(shared, shared[:1].expand(4, -1))  # the same for all tokens


def test_under_autocast_states_are_near_float32(tokens):
    gpt, real = make("rotary"), torch.ones_like(tokens, dtype=torch.bool)
    exact = gpt(tokens, real)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = gpt(tokens, real)
    torch.testing.assert_close(narrow.float(), exact, atol=0.1, rtol=0.05)


def test_dropout_is_of_the_embeddings_too(tokens):
    gpt, seen = make(dropout=0.4).train(), []
    gpt.h[0].register_forward_pre_hook(lambda block, given: seen.append(given[0]))
    gpt(tokens, torch.ones_like(tokens, dtype=torch.bool))
    assert 0.3 < float((seen[0] == 0).float().mean()) < 0.5  # of the embeddings
