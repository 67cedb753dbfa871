"""Tests for dnalm/models/layers.py."""

import pytest
import torch

from dnalm.errors import InputError
from dnalm.models.layers import (
    check_padding_on_right,
    check_states,
    check_tokens,
    mask_padding,
    masked_mean,
    rotate,
)

REAL = torch.tensor([[True] * 3, [True, True, False], [False] * 3])


def test_padding_is_zero_whatever_it_was():
    states = torch.full((3, 3, 4), torch.nan)
    states[REAL] = 2.0
    masked = mask_padding(states, REAL)
    assert torch.equal(masked, states.nan_to_num(0.0))
    assert states[1, 2].isnan().all()  # the input is unchanged


def test_a_mean_is_over_real_states_and_0_where_there_is_none():
    states = torch.arange(36.0).view(3, 3, 4).masked_fill(~REAL.unsqueeze(-1), torch.nan)
    wanted = torch.stack([states[0].mean(0), states[1, :2].mean(0), torch.zeros(4)])
    torch.testing.assert_close(masked_mean(states, REAL), wanted)


def test_rotation_is_that_of_complex_numbers():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    angles = torch.rand(5, 3, dtype=torch.float64)
    turned = rotate(x, angles.cos(), angles.sin())
    wanted = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(turned, torch.cat([wanted.real, wanted.imag], dim=-1))


def test_wrong_shapes_are_refused():
    check_tokens(torch.zeros(3, 3), REAL, longest=3)
    check_padding_on_right(REAL)
    for call in (
        lambda: check_tokens(torch.zeros(3), REAL[0]),
        lambda: check_tokens(torch.zeros(3, 2), REAL),
        lambda: check_tokens(torch.zeros(3, 3), REAL, longest=2),
        lambda: check_padding_on_right(~REAL),
        lambda: check_states(torch.zeros(3, 3, 5), REAL, 4),
        lambda: check_states(torch.zeros(3, 3), REAL, 3),
        lambda: check_states(torch.zeros(3, 3, 4), REAL[:, :2], 4),
    ):
        with pytest.raises(InputError, match="must"):
            call()
