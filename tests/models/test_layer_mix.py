"""Tests for dnalm/models/layer_mix.py, and for what `features` makes of a model."""

import pytest
import torch

from dnalm.errors import InputError
from dnalm.models.binding import TuneConfig
from dnalm.models.cnn import CNNConfig
from dnalm.models.layer_mix import LayerMix, normalized
from tests.models.small_binding import SMALL, model

BOTH = pytest.mark.parametrize("both", [False, True])


@pytest.fixture
def tokens():
    return torch.randint(4, (5, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def same_weights(made, like):
    """The model with the weights of another, those of a mix aside."""
    missing, unexpected = made.load_state_dict(like.state_dict(), strict=False)
    assert set(missing + unexpected) <= {"head.mix.logits"}
    return made.eval()


@BOTH
@torch.no_grad()
def test_a_mix_with_all_weight_on_the_last_layer_is_the_last_layer(tokens, both):
    last = model(both_strands=both).eval()
    mix = same_weights(model(both_strands=both, features="mix"), last)
    assert (mix(tokens) - last(tokens)).abs().max() > 1e-3
    mix.head.mix.logits.copy_(torch.tensor([0.0, 0.0, 1000.0]))
    assert torch.equal(mix(tokens), last(tokens))


@BOTH
@torch.no_grad()
def test_a_layer_is_the_output_of_its_block_and_the_last_of_them_is_last(tokens, both):
    last, seen = model(both_strands=both).eval(), []
    last.encoder.h[0].register_forward_hook(lambda _block, given, out: seen.extend([given[0], out]))
    last.encode(tokens)
    for number in (0, 1):
        states = same_weights(model(both_strands=both, features=str(number)), last).encode(tokens)
        assert torch.equal(states[..., :8], seen[number])
        if both:
            assert torch.equal(states[..., 8:], seen[2 + number].flip(1))
    assert torch.equal(same_weights(model(both_strands=both, features="2"), last)(tokens), last(tokens))


def test_a_mix_worked_out_by_hand():
    mix = LayerMix(2, 2)
    with torch.no_grad():
        mix.logits.copy_(torch.tensor([0.0, 3.0]).log1p())  # weights of 1 and 4 fifths
    states = torch.tensor([[[1.0, 2.0, 10.0, 20.0, 5.0, 5.0, 0.0, 0.0]]])  # two strands of two layers
    torch.testing.assert_close(mix(states), torch.tensor([[[8.2, 16.4, 1.0, 1.0]]]))
    # mean 0 and variance 1 but for LayerNorm's epsilon; the last layer stays
    wanted = torch.tensor([[[-1.0, 1.0, 10.0, 20.0]]])
    torch.testing.assert_close(normalized(states[..., :4], 2), wanted, rtol=1e-4, atol=0)


def test_padding_is_silent_under_a_mix(tokens):
    made = model(features="mix")
    states, real = made.encode(tokens).detach(), torch.arange(12) < torch.tensor([12, 9, 5, 7, 3])[:, None]
    found = []
    for padding in (0.0, float("nan")):
        made.zero_grad()
        scores = made.head(states.masked_fill(~real[..., None], padding), real)
        scores.square().sum().backward()
        found.append([scores.detach(), made.head.mix.logits.grad.clone()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert (found[0][1] != 0).all()


@pytest.mark.parametrize("features", ["first", "-1", "1.5", ""])
def test_features_that_are_no_layer_are_refused(features):
    with pytest.raises(InputError, match="last, mix or the number of a layer"):
        TuneConfig(features=features)


def test_a_layer_that_the_core_lacks_is_refused():
    with pytest.raises(InputError, match=r"`features` 3: the core has layers 0 \(the embedding\) to 2"):
        model(encoder=SMALL, features="3")
    with pytest.raises(InputError, match="gives its last layer alone"):
        TuneConfig(features="mix").layers(0)
    assert model("", CNNConfig(8, 3)).layers is None
