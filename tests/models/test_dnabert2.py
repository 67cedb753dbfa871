"""Tests for dnalm/models/dnabert2.py: its arithmetic, against a reference that shares no code with it."""

import pytest
import torch
import torch.nn.functional as F

from dnalm.models.dnabert2 import DNABert2, DNABert2Config, alibi_slopes
from tests.models.reference import attend, gelu, linear, norm, perturbed, ragged

CONFIG = DNABert2Config(vocab_size=40, hidden=48, layers=4, heads=12, feed_forward=80)
SLOPES = [2.0**-n for n in range(1, 9)] + [2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5]
LENGTHS = (1, 5, 64, 512, 700)
MUTANTS = ("no ALiBi", "slopes sorted", "halves swapped", "no type", "eps 1e-5", "tanh GELU")


@pytest.fixture(scope="module")
def model():
    return perturbed(DNABert2(CONFIG), 768).eval()


def reference(state, ids, mutant=None):
    """States of one sequence without padding, in float64, head by head: [L] to [L, D]."""
    state = {name: tensor.double() for name, tensor in state.items()}
    eps = 1e-5 if mutant == "eps 1e-5" else 1e-12
    slopes = torch.tensor(SLOPES, dtype=torch.float64)
    slopes = slopes.sort(descending=True).values if mutant == "slopes sorted" else slopes
    far = torch.tensor([[abs(i - j) for j in range(len(ids))] for i in range(len(ids))], dtype=torch.float64)
    bias = None if mutant == "no ALiBi" else -slopes[:, None, None] * far
    x = state["embeddings.word_embeddings.weight"][ids]
    if mutant != "no type":
        x = x + state["embeddings.token_type_embeddings.weight"][0]
    x = norm(state, "embeddings.LayerNorm", x, eps)
    for layer in range(CONFIG.layers):
        own = {name.split(".", 3)[3]: t for name, t in state.items() if f"layer.{layer}." in name}
        mixed = attend(*linear(own, "attention.self.Wqkv", x).chunk(3, -1), CONFIG.heads, bias)
        x = norm(own, "attention.output.LayerNorm", x + linear(own, "attention.output.dense", mixed), eps)
        gate, value = (x @ own["mlp.gated_layers.weight"].T).chunk(2, -1)
        if mutant == "halves swapped":
            gate, value = value, gate
        active = gelu(gate, by_tanh=mutant == "tanh GELU") * value
        x = norm(own, "mlp.layernorm", x + linear(own, "mlp.wo", active), eps)
    return x


# States are about 1. float64 keeps 15 digits, and slopes in float32 would cost 1e-8; float32 keeps 7 digits.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("before", [0, 600])
@torch.no_grad()
def test_states_are_the_references_and_padding_is_zero(model, dtype, tolerance, before):
    tokens, real = ragged(LENGTHS, CONFIG.vocab_size, before)
    states = perturbed(DNABert2(CONFIG), 768).to(dtype).eval()(tokens, real)
    assert states.dtype == dtype
    assert (states[~real] == 0).all()
    for row, mask in enumerate(real):
        wanted = reference(model.state_dict(), tokens[row, mask])
        assert (states[row, mask].double() - wanted).abs().max() < tolerance, LENGTHS[row]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_reference_would_tell(model, mutant):
    tokens, _ = ragged([64], CONFIG.vocab_size)
    right, wrong = (reference(model.state_dict(), tokens[0], each) for each in (None, mutant))
    assert (right - wrong).abs().max() > 1e-4  # 1,000 times what float64 is allowed, 10 times float32


def test_slopes_by_hand():
    assert alibi_slopes(12) == pytest.approx(SLOPES, rel=1e-15)
    assert alibi_slopes(8) == [2.0**-n for n in range(1, 9)]
    assert alibi_slopes(1) == [2.0**-8]
    assert alibi_slopes(6) == [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]


def test_padding_on_either_side_is_silent_in_gradients():
    model = perturbed(DNABert2(CONFIG), 768).double().eval()
    tokens, real = ragged([9, 30], CONFIG.vocab_size)
    found = []
    for sides in ((0, 0), (0, 40), (40, 0)):
        model.zero_grad()
        mask = F.pad(real, sides, value=False)
        states = model(F.pad(tokens, sides, value=10**6), mask)
        states.pow(3).sum().backward()
        found.append([states[mask], *(parameter.grad.clone() for parameter in model.parameters())])
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)


@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [*((getattr(torch, name), False) for name in ("float16", "bfloat16", "float32", "float64"))]
    + [(torch.bfloat16, True), (torch.float32, True), (torch.float64, True)],
)
def test_a_row_of_padding_costs_no_nan(dtype, autocast):
    model = perturbed(DNABert2(CONFIG), 768).to(dtype)
    tokens, real = ragged([0, 20], CONFIG.vocab_size)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        states = model(tokens, real)
    assert (states[0] == 0).all()
    assert states.isfinite().all()
    states.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model(tokens[:1, :0], real[:1, :0]).shape == (1, 0, CONFIG.hidden)


@torch.no_grad()
def test_bf16_is_near_float32_by_weights_and_by_autocast(model):
    tokens, real = ragged([5, 300], CONFIG.vocab_size)
    wanted = model(tokens, real)
    narrow = perturbed(DNABert2(CONFIG), 768).bfloat16().eval()(tokens, real)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = model(tokens, real)
    for states in (narrow, cast):
        # bf16 keeps 8 bits: 0.004 of a state of 1 at each of 8 roundings by a LayerNorm, and they add up.
        assert (states.float() - wanted).abs().mean() < 0.02
        assert (states.float() - wanted).abs().max() < 0.2


def test_each_dropout_rate_is_its_own():
    tokens, real = ragged([9, 30], CONFIG.vocab_size)
    for rates, drops in (({"dropout": 0.0}, False), ({"dropout": 0.0, "attention_dropout": 0.3}, True)):
        model = perturbed(DNABert2(DNABert2Config(**(vars(CONFIG) | rates))), 768)
        assert torch.equal(model(tokens, real), model.eval()(tokens, real)) != drops


@pytest.mark.gpu
@torch.no_grad()
def test_on_a_gpu_it_is_the_same(model):
    tokens, real = ragged(LENGTHS, CONFIG.vocab_size)
    wanted = model(tokens, real)
    there = perturbed(DNABert2(CONFIG), 768).eval().cuda()
    torch.testing.assert_close(there(tokens.cuda(), real.cuda()).cpu(), wanted, atol=1e-4, rtol=1e-4)
    narrow = there.bfloat16()(tokens.cuda(), real.cuda())
    assert (narrow.cpu().float() - wanted).abs().mean() < 0.02
