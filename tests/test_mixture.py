"""Tests for dnalm/mixture.py."""

import pytest
import torch
from torch import nn

from dnalm.encoders.gpt import GPT, GPTConfig
from dnalm.first_attention import counted_attention
from dnalm.mixture import Mixture
from dnalm.tasks.lora import add_lora, merge_lora

WIDTH = 6


def drawn(constant=False, rows=5):
    torch.manual_seed(rows)
    shares, table = torch.rand(2, 7, rows, dtype=torch.float64), torch.randn(rows, WIDTH, dtype=torch.float64)
    return Mixture(shares, table, torch.randn(WIDTH, dtype=torch.float64) if constant else None)


def by_hand(mixture):
    sums = torch.zeros(2, 7, WIDTH, dtype=torch.float64)
    for row, values in enumerate(mixture.rows):
        sums += mixture.shares[:, :, row, None] * values
    return sums if mixture.constant is None else sums + mixture.constant


@pytest.mark.parametrize("constant", [False, True])
def test_a_state_is_a_sum_of_rows(constant):
    mixture = drawn(constant)
    torch.testing.assert_close(mixture.states(), by_hand(mixture))


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_of_the_sums(constant, bias):
    mixture, layer = drawn(constant), nn.Linear(WIDTH, 4, bias=bias, dtype=torch.float64)
    torch.testing.assert_close(mixture.linear(layer).states(), layer(by_hand(mixture)))


@pytest.mark.parametrize("constant", [False, True])
def test_rows_of_a_table_added(constant):
    mixture, table = drawn(constant), torch.randn(3, WIDTH, dtype=torch.float64)
    tokens = torch.randint(3, (2, 7))
    torch.testing.assert_close(mixture.plus(table, tokens).states(), by_hand(mixture) + table[tokens])


@pytest.mark.parametrize("bias", [False, True])
def test_layer_norm_of_the_sums_with_its_gradients(bias):
    mixture, norm = drawn(), nn.LayerNorm(WIDTH, bias=bias, dtype=torch.float64)
    nn.init.normal_(norm.weight)
    given = [mixture.shares.requires_grad_(), mixture.rows.requires_grad_(), *norm.parameters()]
    found, wanted = mixture.normed(norm).states(), norm(by_hand(mixture))
    torch.testing.assert_close(found, wanted)
    pull = torch.randn(wanted.shape, dtype=torch.float64)
    one, other = (torch.autograd.grad(each, given, pull) for each in (found, wanted))
    torch.testing.assert_close(one, other)


def test_layer_norm_where_large_rows_cancel_is_that_of_what_is_left():
    """Halves of two rows that are opposite but for 1 part in 10^4."""
    torch.manual_seed(0)
    large, rest = torch.randn(WIDTH, dtype=torch.float64), torch.randn(WIDTH, dtype=torch.float64)
    rows = torch.stack([1000.0 * large + 0.1 * rest, -1000.0 * large + 0.1 * rest]).float()
    mixture, norm = Mixture(torch.full((1, 1, 2), 0.5), rows), nn.LayerNorm(WIDTH, bias=False)
    exact = norm(mixture.states())
    torch.testing.assert_close(mixture.normed(norm).states(), exact, rtol=1e-2, atol=1e-2)


def test_a_sum_of_nothing_has_no_direction_and_is_no_nan():
    mixture = Mixture(torch.zeros(1, 1, 2), torch.randn(2, WIDTH))
    assert torch.equal(mixture.normed(nn.LayerNorm(WIDTH)).states(), torch.zeros(1, 1, WIDTH))
    twice = Mixture(torch.full((1, 1, 2), 0.5), torch.tensor([[1.0, -1.0] * 3, [-1.0, 1.0] * 3]))
    assert twice.normed(nn.LayerNorm(WIDTH)).states().abs().max() < 1e-6


@pytest.mark.parametrize("bias", [False, True])
def test_an_update_beside_a_layer_is_not_left_out(bias, monkeypatch):
    pytest.importorskip("peft")
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=12, bias=bias), 4).double().eval()
    tokens = torch.randint(4, (3, 12))
    real = torch.ones_like(tokens, dtype=torch.bool)
    plain = gpt(tokens, real)
    add_lora(gpt, 2)
    for parameter in gpt.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.2)
    made = []
    monkeypatch.setattr(
        "dnalm.encoders.gpt.counted_attention",
        lambda *given: made.append(counted_attention(*given)) or made[-1],
    )
    beside = gpt(tokens, real)
    assert isinstance(made[0], Mixture)
    merge_lora(gpt)
    assert (beside - plain).abs().max() > 0.1
    torch.testing.assert_close(beside, gpt(tokens, real))
