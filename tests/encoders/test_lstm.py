"""Tests for dnalm/encoders/lstm.py."""

import pytest
import torch

from dnalm.models.smiles_lstm import (
    UNKNOWN,
    SmilesLSTM,
    SmilesLSTMConfig,
    _order,
    _Recurrence,
    character_ids,
    smiles_characters,
)

SMALL = SmilesLSTMConfig(embedding=5, hidden=3, layers=2)


def make(config=SMALL, characters=9) -> SmilesLSTM:
    torch.manual_seed(0)
    made = SmilesLSTM(config, characters)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.uniform_(-1.0, 1.0)
    return made


def batch(lengths):
    tokens = torch.randint(10, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(1))
    return tokens.to(torch.int16), torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


def test_published_sizes():
    made = SmilesLSTM(SmilesLSTMConfig(), 40)
    gates = 4 * 128
    layers = [2 * (gates * (128 + 128) + 2 * gates), 2 * (gates * (256 + 128) + 2 * gates)]
    assert layers == [264_192, 395_264]
    assert sum(parameter.numel() for parameter in made.parameters()) == 41 * 128 + sum(layers)
    assert made.width == 256


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_equals_pytorchs_lstm_in_values_and_gradients(layers):
    made = make(SmilesLSTMConfig(5, 4, layers)).double()
    tokens, real = batch([3, 11, 1, 7, 11])
    vectors = made.embedding(tokens.long())
    lengths = real.sum(1)
    draws = torch.randn(5, 11, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found, wanted = (way(vectors, lengths) for way in (made._ours, made._theirs))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)  # float64 rounding
    gradients = [
        torch.autograd.grad((states * draws).sum(), list(made.parameters()), retain_graph=True)
        for states in (found, wanted)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_a_gradient_that_is_handed_over_is_not_changed():
    order = _order(torch.tensor([3, 5]), 5)
    gates = torch.randn(2, 8, 12, requires_grad=True)
    weight = torch.randn(2, 12, 3)
    given = torch.randn(2, 8, 3)
    before = given.clone()
    states = _Recurrence.apply(gates, weight, order.sizes, order.before)
    torch.autograd.grad(states, gates, given)
    assert torch.equal(given, before)


def test_in_bf16_it_is_near_float32():
    made = make(SmilesLSTMConfig(16, 16, 2))
    tokens, real = batch([30, 4])
    states = made(tokens, real)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = made(tokens, real)
    rough.float().sum().backward()
    torch.testing.assert_close(rough.float(), states, rtol=0, atol=0.05)  # 8 bits, 30 steps
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


def test_padding_is_silent_in_values_and_gradients():
    tokens, real = batch([9, 1, 5])
    results = []
    for width, junk in ((9, 0), (9, 8), (40, -7)):
        made = make()
        padded, mask = torch.full((3, width), junk, dtype=torch.int16), torch.zeros(3, width).bool()
        padded[:, :9], mask[:, :9] = torch.where(real, tokens, junk), real
        states = made(padded, mask)
        assert (states[~mask] == 0).all()
        states.square().sum().backward()
        results.append([states[:, :9].detach(), *(parameter.grad for parameter in made.parameters())])
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_both_directions_see_their_own_molecule_whole_and_no_other():
    made = make()
    tokens, real = batch([6, 4])
    for place in (0, 3):
        changed = tokens.clone()
        changed[1, place] = (changed[1, place] + 1) % 10
        moved = (made(tokens, real) != made(changed, real)).any(-1)
        assert moved.tolist() == [[False] * 6, [True] * 4 + [False] * 2]


def test_batch_of_one_equals_batch_of_many():
    made = make()
    tokens, real = batch([6, 2, 9, 1])
    together = made(tokens, real)
    for row, length in enumerate((6, 2, 9, 1)):
        alone = made(tokens[row : row + 1, :length], real[row : row + 1, :length])
        torch.testing.assert_close(alone[0], together[row, :length])  # float32, products of other sizes


def test_a_molecule_without_characters_has_no_state():
    made = make()
    tokens, real = batch([4, 2])
    real[1] = False
    states = made(tokens, real)
    assert (states[1] == 0).all()
    states.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


def test_vocabulary_is_what_is_read_of_training_and_the_rest_is_unknown():
    characters = smiles_characters(["CCO", "c1ccccc1N"], longest=3)
    assert characters == "1COc"
    assert character_ids("OCNc#", characters, longest=4).tolist() == [3, 2, UNKNOWN, 4]
    assert (SmilesLSTM(SMALL, 4).embedding.weight[UNKNOWN] == 0).all()  # no random vector at first sight


@pytest.mark.parametrize(
    ("real", "message"),
    [(torch.ones(1, 2), r"got \[1, 3\], \[1, 2\]"), (torch.tensor([[0, 1, 1]]), "must stand behind")],
)
def test_refuses_wrong_shapes(real, message):
    with pytest.raises(ValueError, match=message):
        make()(torch.zeros(1, 3, dtype=torch.int16), real.bool())


def test_refuses_sizes_that_make_no_sense():
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0; layers must be at least 1"):
        SmilesLSTMConfig(hidden=0, layers=0)
