"""Tests for dnalm/encoders/kept.py."""

import pytest
import torch

from dnalm.models.kept import KeptConfig, KeptStates


def states():
    """Two sequences of 5 and 2 states, of channels with very different means and spreads."""
    torch.manual_seed(0)
    made = torch.randn(2, 5, 3) * torch.tensor([1.0, 0.2, 5.0]) + torch.tensor([0.0, 40.0, -3.0])
    return made.to(torch.bfloat16), torch.arange(5) < torch.tensor([[5], [2]])


def test_hands_on_what_it_is_given_in_float_with_zeros_at_padding():
    given, real = states()
    found = KeptStates(KeptConfig(3))(given, real)
    assert found.dtype == torch.float32
    assert torch.equal(found[real], given[real].float())
    assert not found[~real].any()


def test_calibrated_each_channel_has_mean_0_and_spread_1():
    given, real = states()
    made = KeptStates(KeptConfig(3))
    made.calibrate(given[real])
    found = made(given, real)[real]
    torch.testing.assert_close(found.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(0, correction=0), torch.ones(3))
    assert not made(given, real)[~real].any()


def test_a_constant_channel_is_not_blown_up():
    made = KeptStates(KeptConfig(3))
    given = torch.randn(50, 3)
    given[:, 1] = 7.0
    made.calibrate(given)
    assert made.scale[1] < 11 * made.scale.median()
    assert not made(given[None], torch.ones(1, 50).bool())[0, :, 1].any()


def test_one_state_alone_has_no_spread_and_gives_no_nan():
    made = KeptStates(KeptConfig(3))
    made.calibrate(torch.tensor([[1.0, 2.0, 3.0]]))
    assert made(torch.tensor([[[2.0, 2.0, 3.0]]]), torch.ones(1, 1).bool()).tolist() == [[[1.0, 0.0, 0.0]]]


def test_its_calibration_is_saved_with_the_model_and_it_has_no_parameters():
    made, other = KeptStates(KeptConfig(3)), KeptStates(KeptConfig(3))
    given, real = states()
    made.calibrate(given[real])
    other.load_state_dict(made.state_dict())
    assert torch.equal(made(given, real), other(given, real))
    assert not list(made.parameters())


def test_refuses_wrong_shapes():
    made = KeptStates(KeptConfig(3))
    for given, real in ((torch.zeros(2, 5, 4), torch.ones(2, 5)), (torch.zeros(2, 5, 3), torch.ones(2, 4))):
        with pytest.raises(ValueError, match=r"states must be \[B, L, 3\]"):
            made(given, real.bool())
    with pytest.raises(ValueError, match="width must be at least 1"):
        KeptConfig(0)
