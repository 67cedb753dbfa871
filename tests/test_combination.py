"""Tests for dnalm/combination.py."""

import pytest
import torch
from torch import nn

from dnalm.models.combination import Combination
from dnalm.models.first_attention import counted_attention
from dnalm.models.gpt import GPT, GPTConfig, start_local
from dnalm.models.lora import add_lora, merge_lora

WIDTH = 6


def drawn(rows=5):
    torch.manual_seed(rows)
    return Combination(
        torch.rand(2, 7, rows, dtype=torch.float64), torch.randn(rows, WIDTH, dtype=torch.float64)
    )


def by_hand(combination):
    sums = torch.zeros(2, 7, WIDTH, dtype=torch.float64)
    for row, values in enumerate(combination.rows):
        sums += combination.coefficients[:, :, row, None] * values
    return sums


def test_a_state_is_a_combination_of_rows():
    torch.testing.assert_close(drawn().states(), by_hand(drawn()))


def test_a_linear_layer_of_the_combinations():
    layer = nn.Linear(WIDTH, 4, bias=False, dtype=torch.float64)
    torch.testing.assert_close(drawn().linear(layer).states(), layer(by_hand(drawn())))


def test_rows_of_a_table_added():
    table, tokens = torch.randn(3, WIDTH, dtype=torch.float64), torch.randint(3, (2, 7))
    torch.testing.assert_close(drawn().plus(table, tokens).states(), by_hand(drawn()) + table[tokens])


def test_layer_norm_of_the_combinations_with_its_gradients():
    combination, norm = drawn(), nn.LayerNorm(WIDTH, bias=False, dtype=torch.float64)
    nn.init.normal_(norm.weight)
    given = [combination.coefficients.requires_grad_(), combination.rows.requires_grad_(), norm.weight]
    found, wanted = combination.normed(norm).states(), norm(by_hand(combination))
    torch.testing.assert_close(found, wanted)
    pull = torch.randn(wanted.shape, dtype=torch.float64)
    one, other = (torch.autograd.grad(each, given, pull) for each in (found, wanted))
    torch.testing.assert_close(one, other)


def test_layer_norm_where_large_rows_cancel_is_that_of_what_is_left():
    """Halves of two rows that are opposite but for 1 part in 10^4."""
    torch.manual_seed(0)
    large, rest = torch.randn(WIDTH, dtype=torch.float64), torch.randn(WIDTH, dtype=torch.float64)
    rows = torch.stack([1000.0 * large + 0.1 * rest, -1000.0 * large + 0.1 * rest]).float()
    combination, norm = Combination(torch.full((1, 1, 2), 0.5), rows), nn.LayerNorm(WIDTH, bias=False)
    exact = norm(combination.states())
    torch.testing.assert_close(combination.normed(norm).states(), exact, rtol=1e-2, atol=1e-2)


def test_a_sum_of_nothing_has_no_direction_and_is_no_nan():
    combination = Combination(torch.zeros(1, 1, 2), torch.randn(2, WIDTH))
    assert torch.equal(combination.normed(nn.LayerNorm(WIDTH, bias=False)).states(), torch.zeros(1, 1, WIDTH))
    twice = Combination(torch.full((1, 1, 2), 0.5), torch.tensor([[1.0, -1.0] * 3, [-1.0, 1.0] * 3]))
    assert twice.normed(nn.LayerNorm(WIDTH, bias=False)).states().abs().max() < 1e-6


def test_an_update_beside_a_layer_is_not_left_out(monkeypatch):
    pytest.importorskip("peft")
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=12), 4).double().eval()
    tokens = torch.randint(4, (3, 12))
    real = torch.ones_like(tokens, dtype=torch.bool)
    plain = gpt(tokens, real)
    add_lora(gpt, 2)
    for parameter in gpt.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.2)
    made = []
    monkeypatch.setattr(
        "dnalm.models.gpt.counted_attention",
        lambda *given: made.append(counted_attention(*given)) or made[-1],
    )
    beside = gpt(tokens, real)
    assert isinstance(made[0], Combination)
    merge_lora(gpt)
    assert (beside - plain).abs().max() > 0.1
    torch.testing.assert_close(beside, gpt(tokens, real))


@pytest.mark.parametrize("bias", [False, True])
def test_in_bf16_the_first_block_is_as_near_to_the_exact_numbers_as_multiplied(bias, monkeypatch):
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(n_layer=1, n_head=4, n_embd=64, block_size=60, bias=bias), 4)
    start_local(gpt)
    tokens = torch.randint(4, (8, 60))
    real, pull = torch.ones_like(tokens, dtype=torch.bool), torch.randn(8, 60, 64)

    def found(dtype):
        parameters = list(gpt.parameters())
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
            states = gpt.to(dtype).train()(tokens, real)
        return [states.detach(), *torch.autograd.grad(states, parameters, pull.to(states.dtype))]

    exact = [each.clone() for each in found(torch.float64)]

    def errors():
        return [float((a - b).norm() / b.norm()) for a, b in zip(found(torch.float32), exact, strict=True)]

    rows = errors()
    monkeypatch.setattr("dnalm.models.gpt.few_tokens", lambda *given: False)
    multiplied = errors()
    assert all(0 < one <= 1.5 * other for one, other in zip(rows, multiplied, strict=True))
    assert (rows == multiplied) == bias  # with biases nothing is counted
