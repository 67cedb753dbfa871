"""Laws that every entry of ENCODERS keeps.

Shapes used below
    B  sequences in the batch        L  tokens per sequence
    S  states per sequence, L where there is one a token
"""

import importlib.util
from typing import NamedTuple

import pytest
import torch

from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.chemberta import ChemBERTaConfig
from dnalm.models.cnn import CNNConfig
from dnalm.models.dnabert2 import DNABert2Config
from dnalm.models.gene_cnn import GeneCNNConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.registry import ENCODERS
from dnalm.models.smiles_lstm import SmilesLSTMConfig

LENGTH, IDS = 20, 5
"""Tokens of the longest sequence, and how many different ones each encoder knows at least."""


class Sample(NamedTuple):
    """A small encoder of a kind: what it is built of, and what it is known to do."""

    arguments: tuple[object, ...]
    stride: int = 1
    """Tokens that a state stands for."""
    alone: bool = False
    """A state knows nothing of other tokens."""


SAMPLES = {
    "gpt": Sample((GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=LENGTH), IDS)),
    "cnn": Sample((CNNConfig(width=8, encoder_kernel=5),)),
    "gene_cnn": Sample((GeneCNNConfig(6, (4, 8), (3, 5)),), stride=4),
    "lstm": Sample((SmilesLSTMConfig(6, 4, 1), IDS)),
    "kmer": Sample((KmerConfig(k=2, width=8),)),
    "morgan": Sample((MorganConfig(bits=16, width=8),), alone=True),
    "dnabert2": Sample((DNABert2Config(IDS, 8, 1, 2, 12),)),
    "chemberta": Sample((ChemBERTaConfig(IDS, 8, 1, 2, 12, positions=LENGTH + 2),)),
}


def build(name):
    if name == "chemberta" and importlib.util.find_spec("transformers") is None:
        pytest.skip("ChemBERTa needs transformers, which is not installed")
    return ENCODERS[name](*SAMPLES[name].arguments).eval()


@pytest.fixture(params=sorted(ENCODERS))
def name(request):
    return request.param


@pytest.fixture
def encoder(name):
    torch.manual_seed(0)
    return build(name)


def batch(*lengths, longest=LENGTH):
    """Tokens [B, L] that every encoder knows, and where they are real; anything at padding."""
    real = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return torch.randint(IDS, real.shape), real


def mask_of(encoder, real):
    """Where states are real, [B, S]."""
    return encoder.state_mask(real) if hasattr(encoder, "state_mask") else real


def test_every_encoder_has_a_sample():
    assert set(ENCODERS) == set(SAMPLES)


def test_states_are_of_the_stated_width_and_as_many_as_their_mask(name, encoder):
    tokens, real = batch(LENGTH, LENGTH)
    states, count = encoder(tokens, real), LENGTH // SAMPLES[name].stride
    assert states.shape == (2, count, encoder.width)
    assert mask_of(encoder, real).shape == (2, count)


def test_causal_says_whether_a_state_sees_its_right(name, encoder):
    tokens, real = batch(LENGTH)
    tokens %= 4  # no N: a k-mer that holds one is silent
    tokens[0, -1] = 0
    changed = tokens.clone()
    changed[0, -1] = 1
    different = (encoder(tokens, real) != encoder(changed, real)).any(-1)[0]
    sees_right = different[:-1].any().item()
    assert sees_right == (not encoder.causal and not SAMPLES[name].alone)
    assert different[mask_of(encoder, real)[0]][-1]  # the last real state sees the last token


def test_padding_gets_zeros_and_is_silent_in_values_and_gradients(encoder):
    tokens, real = batch(8, 13, LENGTH)
    mask = mask_of(encoder, real)
    assert 0 < mask.sum() < mask.numel()
    draws = torch.randn(*mask.shape, encoder.width)
    found = []
    for padding in (0, 1):
        states = encoder(tokens.masked_fill(~real, padding), real)
        encoder.zero_grad()
        (states * draws).sum().backward()
        found.append([states.detach(), *(parameter.grad for parameter in encoder.parameters())])
    assert (found[0][0][~mask] == 0).all()
    for one, other in zip(*found, strict=True):
        assert one is other is None or torch.equal(one, other)


def test_more_padding_changes_no_state_and_no_gradient(encoder):
    tokens, real = batch(8, 12)
    found = []
    for longest in (12, LENGTH):
        states = encoder(tokens[:, :longest], real[:, :longest])
        states = states[mask_of(encoder, real[:, :longest])]
        encoder.zero_grad()
        torch.manual_seed(1)
        (states * torch.randn_like(states)).sum().backward()
        found.append([states.detach(), *(p.grad for p in encoder.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        # float32 sums in another order; a gradient of places that are nobody's is 0 in both
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_batch_of_one_is_a_batch_of_64(encoder):
    tokens, real = batch(*torch.randint(4, LENGTH + 1, (64,)).tolist())
    together = encoder(tokens, real)
    for row in range(0, 64, 7):
        alone = encoder(tokens[row : row + 1], real[row : row + 1])
        # float32 rounding of products that are blocked differently
        torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-5)


def test_saved_and_loaded_it_is_the_same(name, encoder):
    tokens, real = batch(LENGTH, 8)
    torch.manual_seed(1)
    other = build(name)
    assert (other(tokens, real) != encoder(tokens, real)).any()
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(tokens, real), encoder(tokens, real))
