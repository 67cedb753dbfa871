"""Tests for dnalm/first_attention.py."""

import pytest
import torch

from dnalm.models.first_attention import LARGEST_GAP, counted_attention, few_tokens
from dnalm.models.layers import causal_attention, look_up, rotary_angles

HEADS, WIDTH = 3, 8


def drawn(length, count=4, batch=5, dtype=torch.float64):
    draws = torch.Generator().manual_seed(length)
    joint = torch.randn(count, 3 * HEADS * WIDTH, generator=draws, dtype=torch.float64).to(dtype)
    tokens = torch.randint(count, (batch, length), generator=draws)
    return joint.requires_grad_(), tokens, rotary_angles(length, WIDTH)


def counted(joint, tokens, angles):
    return counted_attention(joint, tokens, HEADS, angles).states()


def multiplied(joint, tokens, angles):
    return causal_attention(look_up(joint, tokens), HEADS, angles)


@pytest.mark.parametrize("length", [1, 2, 3, 40])
@pytest.mark.parametrize("count", [1, 4, 5])
def test_it_is_attention_with_its_gradient(length, count):
    joint, tokens, angles = drawn(length, count)
    found, wanted = counted(joint, tokens, angles), multiplied(joint, tokens, angles)
    close = {"rtol": 1e-5, "atol": 2e-6}  # angles are float32
    torch.testing.assert_close(found, wanted, **close)
    pull = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, other = (torch.autograd.grad(each, joint, pull)[0] for each in (found, wanted))
    torch.testing.assert_close(one, other, **close)


def test_in_bf16_it_is_as_near_to_the_exact_numbers_as_multiplying():
    joint, tokens, angles = drawn(60, batch=16)
    exact = multiplied(joint, tokens, angles)
    pull = torch.randn(exact.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (slope,) = torch.autograd.grad(exact, joint, pull)
    errors = {}
    for name, way in (("counted", counted), ("multiplied", multiplied)):
        rounded = joint.detach().bfloat16().requires_grad_()
        found = way(rounded, tokens, angles)
        assert found.dtype == torch.bfloat16
        (own,) = torch.autograd.grad(found, rounded, pull.bfloat16())
        pairs = ((found.detach(), exact.detach()), (own, slope))
        errors[name] = [float((a.double() - b).norm() / b.norm()) for a, b in pairs]
    assert errors["counted"][0] < 1.2 * errors["multiplied"][0] < 0.02
    assert errors["counted"][1] < 1.2 * errors["multiplied"][1] < 0.02


def test_the_last_token_of_a_sequence_is_seen_by_itself_alone():
    joint, tokens, angles = drawn(12, dtype=torch.float32)
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 4
    one, other = (counted(joint, each, angles) for each in (tokens, changed))
    assert torch.equal(one[:, :-1], other[:, :-1])
    assert (one[:, -1] != other[:, -1]).any(-1).all()


def test_weights_too_far_apart_are_refused_and_not_divided_by_nothing():
    joint, tokens, angles = drawn(12, dtype=torch.float32)
    for pull in (1.0, 3.0, 10.0, 100.0, float("nan")):
        found = counted_attention(joint.detach() * pull, tokens, HEADS, angles)
        if found is not None:
            assert found.coefficients.isfinite().all()
    assert found is None
    assert counted_attention(joint.detach() * 100.0, tokens, HEADS, angles) is None
    assert LARGEST_GAP < 80  # exp of minus that is a plain number in float32 and bfloat16


def test_it_is_for_few_tokens_on_a_cpu():
    joint, tokens, _ = drawn(12)
    assert few_tokens(joint, tokens)
    assert not few_tokens(torch.zeros(40, 9), tokens)
    assert not few_tokens(joint.to("meta"), tokens)
    assert not few_tokens(joint, tokens.expand(5, 12).repeat(1, 100))
