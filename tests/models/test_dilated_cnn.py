"""Tests for dnalm/models/dilated_cnn.py; the laws of every encoder are in test_registry.py."""

import pytest
import torch

from dnalm.errors import InputError
from dnalm.models.cnn import CNN, CNNConfig
from dnalm.models.dilated_cnn import DilatedCNN, DilatedCNNConfig


@torch.no_grad()
def test_a_state_sees_exactly_its_reach_and_with_the_defaults_all_of_a_window():
    assert DilatedCNNConfig().reach == 5 + 3 * (2 + 4 + 8 + 16 + 32 + 64) == 383
    config = DilatedCNNConfig(4, 3, 3, 3)
    torch.manual_seed(0)
    made, real = DilatedCNN(config), torch.ones(1, 41, dtype=torch.bool)
    tokens = torch.randint(4, (1, 41))
    changed = tokens.clone()
    changed[0, 20] = 3 - changed[0, 20]
    moved = (made(tokens, real) != made(changed, real)).any(-1)[0].nonzero().flatten()
    assert (moved.min(), moved.max()) == (20 - config.reach, 20 + config.reach)


def test_without_dilated_convolutions_it_is_the_cnn():
    torch.manual_seed(0)
    made, cnn = DilatedCNN(DilatedCNNConfig(8, 5, dilations=0)), CNN(CNNConfig(8, 5))
    cnn.load_state_dict(made.first.state_dict())
    tokens, real = torch.randint(5, (3, 20)), torch.ones(3, 20, dtype=torch.bool)
    assert torch.equal(made(tokens, real), cnn(tokens, real))


def test_even_kernels_are_refused():
    with pytest.raises(InputError, match="dilated_kernel"):
        DilatedCNNConfig(dilated_kernel=4)
