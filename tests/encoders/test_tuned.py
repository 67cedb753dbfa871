"""Tests for dnalm/encoders/tuned.py."""

import pytest
import torch

from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.tuned import PADDING, SPECIAL, TunedConfig, TunedEncoder

SMALL = GPTConfig(n_layer=3, n_head=2, n_embd=8, block_size=6, dropout=0.5)
TOKENS = torch.tensor([[[0, 1, 2, 3], [3, 2, 0, 0]], [[1, 1, 0, 0], [0, 0, 0, 0]]])  # [B, W, L]
PLACES = torch.tensor(
    [
        [[SPECIAL, 0, 0, 1], [1, 2, PADDING, PADDING]],
        [[0, 0, PADDING, PADDING], [PADDING] * 4],
    ],
    dtype=torch.int16,
)


@pytest.fixture
def tuned():
    torch.manual_seed(0)
    return TunedEncoder(TunedConfig(width=8, causal=True), GPT(SMALL, 4)).eval()


def test_a_state_is_the_mean_over_the_tokens_of_its_place(tuned):
    found = tuned.encode(TOKENS, PLACES)
    every = torch.ones(1, 4, dtype=torch.bool)
    first, second = (tuned.encoder(TOKENS[:1, w], every)[0] for w in (0, 1))
    wanted = torch.stack(
        [first[1:3].mean(0), (first[3] + second[0]) / 2, second[1]]
    )  # causal: no padding seen
    torch.testing.assert_close(found[0], wanted)
    assert tuned.state_mask(PLACES).tolist() == [[True, True, True], [True, False, False]]
    assert (found[1, 1:] == 0).all()


def test_kept_states_pass_the_encoder_by(tuned):
    tuned.calibrate(torch.randn(50, 8) * 3 + 1)
    states, real = tuned.encode(TOKENS, PLACES), tuned.state_mask(PLACES)
    assert torch.equal(tuned(TOKENS, PLACES), tuned(states, real))
    assert not torch.equal(tuned(states, real), states)  # on another scale


def test_the_last_layers_alone_are_trained_and_the_others_drop_nothing(tuned):
    tuned.train_last(1)
    assert {n for n, p in tuned.named_parameters() if p.requires_grad} == {
        n for n, _ in tuned.named_parameters() if n.startswith(("encoder.h.2.", "encoder.ln_f."))
    }
    tuned.train()
    assert [tuned.encoder.training, *(block.training for block in tuned.encoder.h)] == [
        *(False, False, False, True)
    ]
    tuned.encode(TOKENS, PLACES).sum().backward()
    assert {n for n, p in tuned.named_parameters() if p.grad is not None} == {
        n for n, p in tuned.named_parameters() if p.requires_grad
    }
    with pytest.raises(ValueError, match="--unfreeze-last 4: the encoder has 3 layers"):
        tuned.train_last(4)


def test_padding_and_other_windows_are_silent(tuned):
    other = TOKENS.clone()
    other[PLACES == PADDING] = 2
    torch.testing.assert_close(tuned(other, PLACES), tuned(TOKENS, PLACES))
    alone = tuned(TOKENS[1:, :1, :2], PLACES[1:, :1, :2])
    torch.testing.assert_close(tuned(TOKENS, PLACES)[1, :1], alone[0])


def test_shapes_that_do_not_fit_are_refused(tuned):
    with pytest.raises(ValueError, match=r"must be \[B, W, L\]"):
        tuned.encode(TOKENS, PLACES[:1])
