"""Tests of DNABERT-2 and ChemBERTa: their arithmetic, against a reference that shares no code with them."""

import sys

import pytest
import torch
import torch.nn.functional as F

from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig
from dnalm.models.dnabert2 import DNABert2, DNABert2Config, alibi_slopes
from tests.models.reference import attend, gelu, linear, norm, perturbed, ragged

DNA = DNABert2Config(vocab_size=40, hidden=48, layers=4, heads=12, feed_forward=80)
SMILES = ChemBERTaConfig(vocab_size=30, hidden=24, layers=2, heads=3, feed_forward=20, positions=42)
SLOPES = [2.0**-n for n in range(1, 9)] + [2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5]
MUTANTS = [(config, name) for config in (DNA, SMILES) for name in ("no type", "eps 1e-5", "tanh GELU")]
MUTANTS += [(DNA, name) for name in ("no ALiBi", "slopes sorted", "halves swapped")]
MUTANTS += [(SMILES, "places from 0")]
LENGTHS = (1, 5, 64, 512, 700)


def made(config, dtype=torch.float32):
    """An encoder in which every tensor has its own values, with scores as large as full-size ones."""
    if isinstance(config, DNABert2Config):
        return perturbed(DNABert2(config), 768).to(dtype).eval()
    pytest.importorskip("transformers")
    return perturbed(ChemBERTa(config), 384).to(dtype).eval()


def reference(config, ids, mutant=None):
    """States of one sequence without padding, in float64, head by head: [L] to [L, D]."""
    state = {name.removeprefix("roberta."): each.double() for name, each in made(config).state_dict().items()}
    eps, by_tanh, bias = 1e-5 if mutant == "eps 1e-5" else 1e-12, mutant == "tanh GELU", None
    x = state["embeddings.word_embeddings.weight"][ids]
    if config is SMILES:
        first = 0 if mutant == "places from 0" else config.padding_idx + 1
        x = x + state["embeddings.position_embeddings.weight"][first : first + len(ids)]
    elif mutant != "no ALiBi":
        slopes = torch.tensor(SLOPES, dtype=torch.float64)
        slopes = slopes.sort(descending=True).values if mutant == "slopes sorted" else slopes
        places = torch.arange(len(ids), dtype=torch.float64)
        bias = -slopes[:, None, None] * (places - places[:, None]).abs()
    if mutant != "no type":
        x = x + state["embeddings.token_type_embeddings.weight"][0]
    x = norm(state, "embeddings.LayerNorm", x, eps)
    for layer in range(config.layers):
        own = {name.split(".", 3)[3]: t for name, t in state.items() if f"layer.{layer}." in name}
        if config is DNA:
            given = linear(own, "attention.self.Wqkv", x).chunk(3, -1)
        else:
            given = (linear(own, f"attention.self.{part}", x) for part in ("query", "key", "value"))
        mixed = linear(own, "attention.output.dense", attend(*given, config.heads, bias))
        x = norm(own, "attention.output.LayerNorm", x + mixed, eps)
        if config is DNA:
            gate, value = (x @ own["mlp.gated_layers.weight"].T).chunk(2, -1)
            if mutant == "halves swapped":
                gate, value = value, gate
            x = norm(own, "mlp.layernorm", x + linear(own, "mlp.wo", gelu(gate, by_tanh) * value), eps)
        else:
            inner = gelu(linear(own, "intermediate.dense", x), by_tanh)
            x = norm(own, "output.LayerNorm", x + linear(own, "output.dense", inner), eps)
    return x


# States are about 1. float64 keeps 15 digits, and slopes in float32 would cost 1e-8; float32 keeps 7 digits.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    ("config", "lengths", "around"),
    [(DNA, LENGTHS, (0, 0)), (DNA, (5, 700), (600, 0))]
    + [(SMILES, lengths, (0, 0)) for lengths in ((1, 2, 7, 40), (40, 40), (0, 5))]
    + [(SMILES, (0, 0), (0, 1)), (SMILES, (9, 20), (5, 3))],
)
@torch.no_grad()
def test_states_are_the_references_and_padding_is_zero(config, lengths, around, dtype, tolerance):
    tokens, real = ragged(lengths, config.vocab_size, *around)
    tokens[-1, real[-1].nonzero()[:1]] = 1  # the mask tells padding, and no id does
    states = made(config, dtype)(tokens, real)
    assert states.dtype == dtype
    assert (states[~real] == 0).all()
    for row, mask in enumerate(real):
        if mask.any():
            wanted = reference(config, tokens[row, mask])
            torch.testing.assert_close(states[row, mask].double(), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("config", "mutant"), MUTANTS)
def test_the_reference_would_tell(config, mutant):
    tokens, _ = ragged([40], config.vocab_size)
    right, wrong = (reference(config, tokens[0], each) for each in (None, mutant))
    assert (right - wrong).abs().max() > 3e-5  # float32 is allowed a third of it, float64 next to nothing


@pytest.mark.parametrize("config", [DNA, SMILES])
def test_padding_on_any_side_is_silent_in_values_and_gradients(config):
    model, found = made(config, torch.float64), []
    tokens, real = ragged((5, 9, 0), config.vocab_size)
    for sides in ((0, 0), (0, 20), (20, 0), (3, 4)):
        model.zero_grad()
        mask = F.pad(real, sides, value=False)
        states = model(F.pad(tokens, sides, value=10**6), mask)
        (states.sum(1).square().sum() + states.sin().sum()).backward()
        found.append([states[mask], *(parameter.grad.clone() for parameter in model.parameters())])
    assert all(each.isfinite().all() for each in found[0])
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=1e-7, atol=1e-11)  # sums in another order
    name = "embeddings.word_embeddings.weight"
    words = dict(model.named_parameters())[f"roberta.{name}" if config is SMILES else name].grad.any(-1)
    trained = set(tokens[real].tolist()) - ({config.padding_idx} if config is SMILES else set())
    assert set(words.nonzero().flatten().tolist()) == trained


@torch.no_grad()
def test_no_softmax_is_over_nothing():
    model, masks = made(SMILES), []
    model.roberta.register_forward_pre_hook(
        lambda _, given, named: masks.append(named["attention_mask"]), with_kwargs=True
    )
    model(*ragged((0, 3), SMILES.vocab_size))  # kernels differ in what they make of nothing: 0, or NaN
    (mask,) = masks
    assert mask.any(-1).all()
    assert mask[1, 0].sum(-1).tolist() == [3, 3, 3]


def test_slopes_by_hand():
    assert alibi_slopes(12) == pytest.approx(SLOPES, rel=1e-15)
    assert alibi_slopes(8) == [2.0**-n for n in range(1, 9)]
    assert alibi_slopes(1) == [2.0**-8]
    assert alibi_slopes(6) == [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]


def test_the_published_chemberta_and_what_it_cannot_read(monkeypatch):
    pytest.importorskip("transformers")
    model = ChemBERTa(ChemBERTaConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_279_600
    assert (model.width, model.config.longest, len(model.layers)) == (384, 513, 3)
    assert model.roberta.config._attn_implementation == "sdpa"
    assert [part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)].count(0.109) == 3
    with pytest.raises(ValueError, match="at most 513 tokens, got 514"):
        model(torch.zeros(1, 514, dtype=torch.int32), torch.ones(1, 514, dtype=torch.bool))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r'pip install "dnalm\[interaction\]"'):
        ChemBERTa(SMILES)


@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [*((getattr(torch, name), False) for name in ("float16", "bfloat16", "float32", "float64"))]
    + [(torch.bfloat16, True), (torch.float32, True), (torch.float64, True)],
)
def test_a_row_of_padding_costs_no_nan(dtype, autocast):
    model = made(DNA, dtype).train()
    tokens, real = ragged([0, 20], DNA.vocab_size)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        states = model(tokens, real)
    assert (states[0] == 0).all()
    assert states.isfinite().all()
    states.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model(tokens[:1, :0], real[:1, :0]).shape == (1, 0, DNA.hidden)


@torch.no_grad()
def test_bf16_is_near_float32_by_weights_and_by_autocast():
    tokens, real = ragged([5, 300], DNA.vocab_size)
    wanted = made(DNA)(tokens, real)
    narrow = made(DNA, torch.bfloat16)(tokens, real)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = made(DNA)(tokens, real)
    for states in (narrow, cast):
        # bf16 keeps 8 bits: 0.004 of a state of 1 at each of 8 roundings by a LayerNorm, and they add up.
        assert (states.float() - wanted).abs().mean() < 0.02
        assert (states.float() - wanted).abs().max() < 0.2


def test_each_dropout_rate_is_its_own():
    tokens, real = ragged([9, 30], DNA.vocab_size)
    for rates, drops in (({"dropout": 0.0}, False), ({"dropout": 0.0, "attention_dropout": 0.3}, True)):
        model = made(DNABert2Config(**(vars(DNA) | rates))).train()
        assert torch.equal(model(tokens, real), model.eval()(tokens, real)) != drops


@pytest.mark.gpu
@torch.no_grad()
def test_on_a_gpu_it_is_the_same():
    tokens, real = ragged(LENGTHS, DNA.vocab_size)
    wanted, there = made(DNA)(tokens, real), made(DNA).cuda()
    torch.testing.assert_close(there(tokens.cuda(), real.cuda()).cpu(), wanted, atol=1e-4, rtol=1e-4)
    narrow = there.bfloat16()(tokens.cuda(), real.cuda())
    assert (narrow.cpu().float() - wanted).abs().mean() < 0.02
