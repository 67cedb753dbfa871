"""Tests for dnalm/models/chemberta.py: its arithmetic, against a reference that shares no code with it."""

import sys

import pytest
import torch
import torch.nn.functional as F

from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig
from tests.models.reference import attend, gelu, linear, norm, perturbed, ragged

pytest.importorskip("transformers")

CONFIG = ChemBERTaConfig(vocab_size=30, hidden=24, layers=2, heads=3, feed_forward=20, positions=42)
LENGTHS = (1, 2, 7, 40)
MUTANTS = ("places from 0", "no type", "eps 1e-5", "tanh GELU")


def made(dtype=torch.float32):
    """An encoder in which every tensor has its own values, with scores as large as full-size ones."""
    torch.manual_seed(1)
    return perturbed(ChemBERTa(CONFIG), 384).to(dtype).eval()


def reference(state, ids, mutant=None):
    """States of one molecule without padding, in float64, head by head: [L] to [L, D]."""
    state = {name.removeprefix("roberta."): tensor.double() for name, tensor in state.items()}
    eps = 1e-5 if mutant == "eps 1e-5" else 1e-12
    first = 0 if mutant == "places from 0" else CONFIG.padding_idx + 1
    x = state["embeddings.word_embeddings.weight"][ids]
    x = x + state["embeddings.position_embeddings.weight"][first : first + len(ids)]
    if mutant != "no type":
        x = x + state["embeddings.token_type_embeddings.weight"][0]
    x = norm(state, "embeddings.LayerNorm", x, eps)
    for layer in range(CONFIG.layers):
        own = {name.split(".", 3)[3]: t for name, t in state.items() if f"layer.{layer}." in name}
        given = (linear(own, f"attention.self.{part}", x) for part in ("query", "key", "value"))
        mixed = linear(own, "attention.output.dense", attend(*given, CONFIG.heads))
        x = norm(own, "attention.output.LayerNorm", x + mixed, eps)
        inner = gelu(linear(own, "intermediate.dense", x), by_tanh=mutant == "tanh GELU")
        x = norm(own, "output.LayerNorm", x + linear(own, "output.dense", inner), eps)
    return x


# States are about 1: float64 keeps 15 digits and float32 7, of which sums over 24 values cost one.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("lengths", [LENGTHS, (40, 40), (0, 5), (0, 0)])
@torch.no_grad()
def test_states_are_the_references_and_padding_is_zero(dtype, tolerance, lengths):
    tokens, real = ragged(lengths, CONFIG.vocab_size, behind=max(lengths) == 0)
    states = made(dtype)(tokens, real)
    assert states.dtype == dtype
    assert (states[~real] == 0).all()
    for row, mask in enumerate(real):
        if mask.any():
            wanted = reference(made().state_dict(), tokens[row, mask])
            torch.testing.assert_close(states[row, mask].double(), wanted, rtol=0, atol=tolerance)


def test_the_mask_tells_padding_and_no_id_does():
    model = made(torch.float64)
    tokens, real = torch.tensor([[1, 0, 1, 1, 0]]), torch.ones(1, 5, dtype=torch.bool)
    torch.testing.assert_close(model(tokens, real)[0], reference(made().state_dict(), tokens[0]))


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_reference_would_tell(mutant):
    tokens, _ = ragged([40], CONFIG.vocab_size)
    right, wrong = (reference(made().state_dict(), tokens[0], each) for each in (None, mutant))
    assert (right - wrong).abs().max() > 3e-5  # float32 is allowed a third of it, float64 next to nothing


def test_padding_on_any_side_is_silent_in_values_and_gradients():
    model = made(torch.float64)
    tokens, real = ragged((5, 9, 0), CONFIG.vocab_size)
    results = []
    for sides in ((0, 0), (3, 4)):
        model.zero_grad()
        mask = F.pad(real, sides, value=False)
        states = model(F.pad(tokens, sides, value=10_000), mask)
        (states.sum(1).square().sum() + states.sin().sum()).backward()
        results.append([states[mask], *(parameter.grad.clone() for parameter in model.parameters())])
    for one, other in zip(*results, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)  # sums in another order
    words = model.roberta.embeddings.word_embeddings.weight.grad.any(-1)
    assert set(words.nonzero().flatten().tolist()) == set(tokens[real].tolist()) - {CONFIG.padding_idx}


@torch.no_grad()
def test_no_softmax_is_over_nothing():
    model, masks = made(), []
    model.roberta.register_forward_pre_hook(
        lambda _, given, named: masks.append(named["attention_mask"]), with_kwargs=True
    )
    model(*ragged((0, 3), CONFIG.vocab_size))  # kernels differ in what they make of nothing: 0, or NaN
    (mask,) = masks
    assert mask.any(-1).all()
    assert mask[1, 0].sum(-1).tolist() == [3, 3, 3]


def test_sizes_of_the_published_model():
    model = ChemBERTa(ChemBERTaConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_427_440 - 384 * 384 - 384
    assert (model.width, model.config.longest, len(model.layers)) == (384, 513, 3)
    assert model.roberta.config._attn_implementation == "sdpa"
    assert [part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)].count(0.109) == 3


def test_refuses_what_it_cannot_read_and_names_what_to_install(monkeypatch):
    with pytest.raises(ValueError, match="at most 40 tokens, got 41"):
        made()(torch.zeros(1, 41, dtype=torch.int32), torch.ones(1, 41, dtype=torch.bool))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r'pip install "dnalm\[interaction\]"'):
        ChemBERTa(CONFIG)
