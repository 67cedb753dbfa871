"""Tests for dnalm/models/cnn.py; the laws of every encoder are in test_registry.py."""

import torch

from dnalm.models.cnn import CNN, CNNConfig


def test_published_size_and_names():
    cnn = CNN(CNNConfig())
    assert {name: list(tensor.shape) for name, tensor in cnn.state_dict().items()} == {
        "initial_conv.weight": [128, 4, 11],
        "initial_conv.bias": [128],
    }
    assert sum(parameter.numel() for parameter in cnn.parameters()) == 5_760


def test_equals_a_convolution_of_one_hot_letters():
    torch.manual_seed(0)
    cnn = CNN(CNNConfig(width=3, encoder_kernel=5))
    tokens = torch.tensor([[0, 1, 2, 3, 4, 3, 2]], dtype=torch.uint8)
    one_hot = torch.zeros(1, 4, 7)
    for place, code in enumerate(tokens[0].tolist()):
        if code < 4:  # N is all zero
            one_hot[0, code, place] = 1.0
    expected = torch.nn.functional.gelu(
        torch.nn.functional.conv1d(one_hot, cnn.initial_conv.weight, cnn.initial_conv.bias, padding=2)
    ).transpose(1, 2)
    torch.testing.assert_close(cnn(tokens, torch.ones(1, 7, dtype=torch.bool)), expected)
