"""Tests for dnalm/heads/regression.py."""

import pytest
import torch

from dnalm.models.heads import RegressionHead, RegressionHeadConfig

WIDTH = 8


@pytest.fixture
def head() -> RegressionHead:
    """A head as training leaves it: no parameter still where it started from."""
    torch.manual_seed(0)
    head = RegressionHead(WIDTH, RegressionHeadConfig(channels=16, kernel=5)).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    return head


@pytest.fixture
def states() -> torch.Tensor:
    return torch.randn(2, 20, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("width", "count"), [(384, 541_697), (128, 180_737), (768, 1_083_137)])
def test_published_sizes(width, count):
    head = RegressionHead(width, RegressionHeadConfig())
    assert sum(parameter.numel() for parameter in head.parameters()) == count


def test_published_names():
    names = set(RegressionHead(WIDTH, RegressionHeadConfig()).state_dict())
    assert names == {
        f"{part}.{kind}" for part in ("layer_norm", "conv1d", "fc") for kind in ("weight", "bias")
    }


def test_output_sees_only_the_bases_under_its_kernel(head, states):
    real = torch.ones(2, 20, dtype=torch.bool)
    nudged = states.clone()
    nudged[:, 10] += 1.0 + torch.arange(WIDTH)  # not a constant shift, which LayerNorm would remove
    moved = head(nudged, real) != head(states, real)  # [B, L]
    assert moved.nonzero()[:, 1].unique().tolist() == [8, 9, 10, 11, 12]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("junk", [7.0, float("nan")])
def test_padding_is_silent_in_out_and_in_gradients(head, states, junk, learned):
    real = torch.ones(2, 20, dtype=torch.bool)
    real[:, 15:] = False
    out = head(states.masked_fill(~real.unsqueeze(-1), junk).requires_grad_(learned), real)
    torch.testing.assert_close(out[:, :15], head(states[:, :15], real[:, :15]))
    assert (out[:, 15:] == 0).all()
    out.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_value_worked_out_by_hand():
    # LayerNorm of (1, -1) is (1, -1); the centre tap picks channel 0; gelu(1) = 0.8413447; doubled, plus 1.
    head = RegressionHead(2, RegressionHeadConfig(channels=1, kernel=3)).eval()
    with torch.no_grad():
        head.conv1d.weight.zero_()
        head.conv1d.bias.zero_()
        head.conv1d.weight[0, 0, 1] = 1.0
        head.fc.weight.fill_(2.0)
        head.fc.bias.fill_(1.0)
    out = head(torch.tensor([[[1.0, -1.0]]]), torch.tensor([[True]]))
    # atol covers LayerNorm's eps of 1e-5, and nothing more
    torch.testing.assert_close(out, torch.tensor([[2.6826894]]), rtol=0, atol=3e-5)


def test_dropout_runs_in_training_alone(head, states):
    real = torch.ones(2, 20, dtype=torch.bool)
    assert torch.equal(head(states, real), head(states, real))
    head.train()
    assert not torch.equal(head(states, real), head(states, real))


@pytest.mark.parametrize(
    ("states", "real", "message"),
    [
        (torch.zeros(2, 20, WIDTH + 1), torch.ones(2, 20), r"states must be \[B, L, 8\], got \[2, 20, 9\]"),
        (torch.zeros(20, WIDTH), torch.ones(20), r"states must be \[B, L, 8\], got \[20, 8\]"),
        (torch.zeros(2, 20, WIDTH), torch.ones(2, 19), r"real must be \[2, 20\], got \[2, 19\]"),
    ],
    ids=["wrong width", "no batch", "mask of another length"],
)
def test_refuses_wrong_shapes(head, states, real, message):
    with pytest.raises(ValueError, match=message):
        head(states, real.bool())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kernel": 10}, "kernel must be odd"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"head_dropout": 1.0}, "head_dropout must be at least 0 and below 1"),
    ],
)
def test_refuses_sizes_that_make_no_sense(wrong, message):
    with pytest.raises(ValueError, match=message):
        RegressionHeadConfig(**wrong)


def test_calibrated_channels_have_mean_0_and_spread_1(states):
    torch.manual_seed(0)
    head = RegressionHead(WIDTH, RegressionHeadConfig(channels=4, kernel=3))
    nearly_constant = 10 * torch.arange(WIDTH).float() + 0.1 * states
    head.calibrate(nearly_constant)
    normed = head.layer_norm(nearly_constant).flatten(0, 1)
    torch.testing.assert_close(normed.mean(0), torch.zeros(WIDTH), rtol=0, atol=1e-3)  # float32 of 1 in 1,000
    torch.testing.assert_close(normed.std(0), torch.ones(WIDTH), rtol=0, atol=1e-3)
    assert len(head.state_dict()) == 6  # nothing was added to the published head


def test_a_channel_that_never_varies_is_not_blown_up(states):
    head = RegressionHead(WIDTH, RegressionHeadConfig(channels=4, kernel=3))
    flat = states.clone()
    flat[..., 0] *= 1e-6
    head.calibrate(flat)
    assert head.layer_norm.weight[0] < 12 * head.layer_norm.weight.median()  # 1 / LEAST_SPREAD, and rounding


def test_whitened_states_vary_alike_in_every_direction_that_is_not_rounding(states):
    torch.manual_seed(0)
    head = RegressionHead(WIDTH, RegressionHeadConfig(channels=4, kernel=3))
    head.add_whitening()
    many = torch.randn(40, 50, WIDTH, generator=torch.Generator().manual_seed(2))
    mixed = many @ torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3))
    head.calibrate(mixed)
    seen = head.layer_norm(mixed).flatten(0, 1) @ head.whitening
    variance = torch.linalg.eigvalsh(torch.cov(seen.T)).detach()
    # LayerNorm takes one direction away: nothing is left of it but rounding, which must not be blown up.
    assert variance[0] < 0.1
    assert variance[1] > 0.85
    assert variance[-1] < 1.001


def test_merged_whitening_is_the_same_function_in_the_published_shape(head, states):
    head.add_whitening()
    head.calibrate(states)
    real = torch.ones(2, 20, dtype=torch.bool)
    real[0, 13:] = False
    before = head(states, real)
    plain = [name for name in head.state_dict() if name != "whitening"]
    assert not torch.equal(head.whitening, torch.eye(WIDTH))
    head.merge_whitening()
    assert list(head.state_dict()) == plain
    torch.testing.assert_close(head(states, real), before, rtol=0, atol=1e-4)  # one more float32 product
    assert sum(parameter.numel() for parameter in head.parameters()) == sum(
        parameter.numel() for parameter in RegressionHead(WIDTH, head.config).parameters()
    )


@pytest.mark.parametrize("whitened", [False, True])
def test_states_without_gradient_leave_values_and_all_gradients_as_they_are(head, states, whitened):
    if whitened:
        head.add_whitening()
        head.calibrate(states)
    real = torch.ones(2, 20, dtype=torch.bool)
    real[1, 15:] = False
    head = head.double()
    found = []
    for given in (states.double(), states.double().requires_grad_()):
        head.zero_grad()
        scores = head(given, real)
        scores.square().mean().backward()
        found.append([scores.detach(), *(parameter.grad for parameter in head.parameters())])
    assert len(found[0]) == 7
    for short, whole in zip(*found, strict=True):
        torch.testing.assert_close(short, whole)
