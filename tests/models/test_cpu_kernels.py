"""Tests for dnalm/models/cpu_kernels.py: values and gradients are those of PyTorch's own layers."""

import pytest
import torch
from torch import nn

from dnalm.models.cpu_kernels import _Recurrence, lstm


@pytest.mark.parametrize("number", [1, 2, 3])
def test_lstm_equals_pytorchs_in_values_and_gradients(number):
    torch.manual_seed(0)
    layers = nn.LSTM(5, 4, number, batch_first=True, bidirectional=True).double()
    x = torch.randn(5, 11, 5, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([3, 11, 1, 7, 11])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    wanted = nn.utils.rnn.pad_packed_sequence(layers(packed)[0], batch_first=True)[0]
    states = lstm(layers, x, lengths)
    torch.testing.assert_close(states, wanted, rtol=0, atol=1e-12)  # float64 rounding
    draws, inputs = torch.randn(5, 11, 8, dtype=torch.float64), [x, *layers.parameters()]
    found, gradients = (torch.autograd.grad((each * draws).sum(), inputs) for each in (states, wanted))
    torch.testing.assert_close(found, gradients, rtol=0, atol=1e-11)


def test_lstm_leaves_the_gradient_of_its_states_unchanged():
    gates, weight = torch.randn(2, 8, 12, requires_grad=True), torch.randn(2, 12, 3)
    given, previous = torch.randn(2, 8, 3), torch.tensor([0, 1, 2, 3, 4, 5])  # of 3 and 5 steps
    before = given.clone()
    torch.autograd.grad(_Recurrence.apply(gates, weight, [2, 2, 2, 1, 1], previous), gates, given)
    assert torch.equal(given, before)
