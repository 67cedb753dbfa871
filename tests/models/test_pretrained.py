"""Tests for dnalm/models/pretrained.py."""

import numpy as np
import pytest
import torch

from dnalm.errors import InputError
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.pretrained import (
    NO_STATE,
    PADDING,
    PretrainedConfig,
    PretrainedEncoder,
    PretrainedStates,
    Window,
    architecture_of,
    encode_windows,
    state_mask,
)

SMALL = GPTConfig(n_layer=3, n_head=2, n_embd=8, block_size=6, dropout=0.5)
TOKENS = torch.tensor([[[0, 1, 2, 3], [3, 2, 0, 0]], [[1, 1, 0, 0], [0, 0, 0, 0]]])  # [B, W, L]
STATE_OF = torch.tensor(
    [
        [[NO_STATE, 0, 0, 1], [1, 2, PADDING, PADDING]],
        [[0, 0, PADDING, PADDING], [PADDING] * 4],
    ],
    dtype=torch.int16,
)


def tokenize(text):
    """One window of the letters' positions in the alphabet between two special tokens."""
    ids = np.array([1, *(ord(letter) for letter in text), 2], dtype=np.int32)
    has_state = np.ones(len(ids), bool)
    has_state[[0, -1]] = False
    spans = np.array([(0, 0), *((at, at + 1) for at in range(len(text))), (9, 9)])
    return [Window(ids, has_state, spans)]


class Ids(torch.nn.Module):
    """An encoder whose states are its tokens."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, tokens, real):
        return tokens.masked_fill(~real, 999).unsqueeze(-1).float()


def cached_states():
    """Two sequences of 5 and 2 states, of channels with very different means and spreads."""
    torch.manual_seed(0)
    made = torch.randn(2, 5, 3) * torch.tensor([1.0, 0.2, 5.0]) + torch.tensor([0.0, 40.0, -3.0])
    return made.to(torch.bfloat16), torch.arange(5) < torch.tensor([[5], [2]])


@pytest.mark.parametrize("count", [1, 5, 31, 32, 33, 510])
def test_segments_are_means_over_consecutive_tokens_and_their_spans_tile_the_text(count):
    text = "".join(np.random.default_rng(count).choice(list("ACGT"), count))
    encoder = PretrainedEncoder("", Ids(), {"name": "ids"}, tokenize, 32)
    mean, *states = encoder.encode([text])[0].flatten().tolist()
    spans = encoder.spans(text)
    codes = np.array([ord(letter) for letter in text])
    sizes = spans[:, 1] - spans[:, 0]
    assert mean == pytest.approx(codes.mean())
    assert len(spans) == len(states) == min(count, 32)
    assert (spans[0, 0], spans[-1, 1]) == (0, count)
    assert (spans[1:, 0] == spans[:-1, 1]).all()
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_allclose(states, [codes[begin:end].mean() for begin, end in spans])


def test_frozen_states_are_passed_on_and_calibrated_have_mean_0_and_spread_1():
    given, real = cached_states()
    module, other = (PretrainedStates(PretrainedConfig(3)) for _ in range(2))
    found = module(given, real)
    assert found.dtype == torch.float32
    assert torch.equal(found[real], given[real].float())
    module.calibrate(given[real])
    found = module(given, real)
    torch.testing.assert_close(found[real].mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[real].std(0, correction=0), torch.ones(3))
    assert not found[~real].any()
    assert not list(module.parameters())
    other.load_state_dict(module.state_dict())
    assert torch.equal(found, other(given, real))


def test_a_constant_channel_is_not_scaled_up_and_one_state_gives_no_nan():
    module = PretrainedStates(PretrainedConfig(3))
    given = torch.randn(50, 3)
    given[:, 1] = 7.0
    module.calibrate(given)
    assert module.scale[1] < 11 * module.scale.median()
    assert not module(given[None], torch.ones(1, 50).bool())[0, :, 1].any()
    module.calibrate(torch.tensor([[1.0, 2.0, 3.0]]))
    found = module(torch.tensor([[[2.0, 2.0, 3.0]]]), torch.ones(1, 1).bool())
    assert found.tolist() == [[[1.0, 0.0, 0.0]]]


@pytest.fixture
def trained():
    """A GPT that is trained in a pair model."""
    torch.manual_seed(0)
    config = PretrainedConfig(width=8, causal=True, encoder=architecture_of(GPT(SMALL, 4)))
    return PretrainedStates(config).eval()


def test_a_state_is_the_mean_over_its_tokens(trained):
    found = encode_windows(trained.encoder, TOKENS, STATE_OF)
    every = torch.ones(1, 4, dtype=torch.bool)
    first, second = (trained.encoder(TOKENS[:1, w], every)[0] for w in (0, 1))  # causal: padding is not seen
    wanted = torch.stack([first[1:3].mean(0), (first[3] + second[0]) / 2, second[1]])
    torch.testing.assert_close(found[0], wanted)
    assert state_mask(STATE_OF).tolist() == [[True, True, True], [True, False, False]]
    assert (found[1, 1:] == 0).all()


def test_cached_states_bypass_the_encoder(trained):
    trained.calibrate(torch.randn(50, 8) * 3 + 1)
    states, real = encode_windows(trained.encoder, TOKENS, STATE_OF), state_mask(STATE_OF)
    assert torch.equal(trained(TOKENS, STATE_OF), trained(states, real))
    assert not torch.equal(trained(states, real), states)  # standardised


def test_only_the_last_layers_are_trained_and_the_others_have_no_dropout(trained):
    trained.train_last(1)
    wanted = {n for n, _ in trained.named_parameters() if n.startswith(("encoder.h.2.", "encoder.ln_f."))}
    assert {n for n, p in trained.named_parameters() if p.requires_grad} == wanted
    trained.train()
    assert not trained.encoder.training
    assert [block.training for block in trained.encoder.h] == [False, False, True]
    trained(TOKENS, STATE_OF).sum().backward()
    assert {n for n, p in trained.named_parameters() if p.grad is not None} == wanted
    with pytest.raises(InputError, match="the encoder has 3 layers"):
        trained.train_last(4)


def test_padding_and_other_windows_do_not_matter(trained):
    other = TOKENS.clone()
    other[STATE_OF == PADDING] = 2
    torch.testing.assert_close(trained(other, STATE_OF), trained(TOKENS, STATE_OF))
    alone = trained(TOKENS[1:, :1, :2], STATE_OF[1:, :1, :2])
    torch.testing.assert_close(trained(TOKENS, STATE_OF)[1, :1], alone[0])


def test_refuses_wrong_shapes(trained):
    frozen = PretrainedStates(PretrainedConfig(3))
    for given, real in ((torch.zeros(2, 5, 4), torch.ones(2, 5)), (torch.zeros(2, 5, 3), torch.ones(2, 4))):
        with pytest.raises(InputError, match=r"states must be"):
            frozen(given, real.bool())
    with pytest.raises(InputError, match=r"must be \[B, W, L\]"):
        trained(TOKENS, STATE_OF[:1])
