"""Laws that every entry of ENCODERS keeps."""

import pytest
import torch

from dnalm.encoders import ENCODERS
from dnalm.encoders.cnn import CNNConfig
from dnalm.encoders.gpt import GPTConfig

BUILD = {
    "gpt": lambda: ENCODERS["gpt"](GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=10), 5),
    "cnn": lambda: ENCODERS["cnn"](CNNConfig(width=8, encoder_kernel=5)),
}


@pytest.fixture(params=sorted(ENCODERS))
def name(request):
    return request.param


@pytest.fixture
def encoder(name):
    torch.manual_seed(0)
    return BUILD[name]().eval()


def test_one_state_of_the_stated_width_for_each_token(encoder):
    tokens = torch.randint(5, (2, 10))
    assert encoder(tokens, torch.ones(2, 10, dtype=torch.bool)).shape == (2, 10, encoder.width)


def test_causal_says_whether_a_state_sees_its_right(encoder):
    tokens, real = torch.randint(4, (1, 10)), torch.ones(1, 10, dtype=torch.bool)
    changed = tokens.clone()
    changed[0, -1] = 4
    sees_right = (encoder(tokens, real)[0, :-1] != encoder(changed, real)[0, :-1]).any().item()
    assert sees_right != encoder.causal


def test_padding_gets_zeros(encoder):
    real = torch.tensor([[True] * 6 + [False] * 4])
    assert (encoder(torch.randint(5, (1, 10)), real)[0, 6:] == 0).all()


def test_saved_and_loaded_it_is_the_same(name, encoder):
    tokens, real = torch.randint(5, (2, 10)), torch.ones(2, 10, dtype=torch.bool)
    torch.manual_seed(1)
    other = BUILD[name]().eval()
    assert (other(tokens, real) != encoder(tokens, real)).any()
    other.load_state_dict(encoder.state_dict())
    assert (other(tokens, real) == encoder(tokens, real)).all()
