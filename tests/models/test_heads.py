"""Tests for dnalm/models/heads.py."""

import math

import pytest
import torch

from dnalm.errors import InputError
from dnalm.models.cross_attention import CrossAttentionConfig, CrossAttentionHead
from dnalm.models.heads import (
    POOLINGS,
    EncodedBatch,
    PairHead,
    PairHeadConfig,
    RegressionHead,
    RegressionHeadConfig,
)

WIDTH, PAIR_WIDTH = 8, 4
EVERY = torch.ones(2, 20, dtype=torch.bool)


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
def untrained() -> RegressionHead:
    torch.manual_seed(0)
    return RegressionHead(WIDTH, RegressionHeadConfig(channels=4, kernel=3))


@pytest.fixture
def states() -> torch.Tensor:
    return torch.randn(2, 20, WIDTH, generator=torch.Generator().manual_seed(1))


def test_output_sees_only_the_bases_under_its_kernel(head, states):
    nudged = states.clone()
    nudged[:, 10] += 1.0 + torch.arange(WIDTH)  # not a constant shift, which LayerNorm would remove
    moved = head(nudged, EVERY) != head(states, EVERY)  # [B, L]
    assert moved.nonzero()[:, 1].unique().tolist() == [8, 9, 10, 11, 12]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("junk", [7.0, float("nan")])
def test_padding_is_silent_in_scores_and_gradients(head, states, junk, learned):
    real = EVERY.clone()
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
    both = side(torch.randn(5, PAIR_WIDTH)), side(torch.randn(5, PAIR_WIDTH)), *[torch.arange(5)] * 2
    sizes = PAIR_WIDTH, PAIR_WIDTH
    pairs, attending = PairHead(*sizes, PairHeadConfig()), CrossAttentionHead(*sizes, CrossAttentionConfig())
    encoded = attending.encode("gene", *both[0]), attending.encode("molecule", *both[1]), *both[2:]
    for module, given in ((head, (states, EVERY)), (pairs, both), (attending, encoded)):
        assert not torch.equal(module.train()(*given), module(*given))
        assert torch.equal(module.eval()(*given), module(*given))


def test_calibrated_channels_have_mean_0_and_spread_1_but_one_that_never_varies(untrained, states):
    nearly_constant = 10 * torch.arange(WIDTH).float() + 0.1 * states
    untrained.calibrate(nearly_constant)
    normed = untrained.layer_norm(nearly_constant).flatten(0, 1)
    torch.testing.assert_close(normed.mean(0), torch.zeros(WIDTH), rtol=0, atol=1e-3)  # float32 of 1 in 1,000
    torch.testing.assert_close(normed.std(0), torch.ones(WIDTH), rtol=0, atol=1e-3)
    assert len(untrained.state_dict()) == 6  # nothing was added to the published head
    flat = states.clone()
    flat[..., 0] *= 1e-6
    untrained.calibrate(flat)
    scale = untrained.layer_norm.weight
    assert scale[0] < 12 * scale.median()  # 1 / MIN_SPREAD, and rounding


def test_whitened_states_vary_alike_in_every_direction_that_is_not_rounding(untrained):
    untrained.add_whitening()
    many = torch.randn(40, 50, WIDTH, generator=torch.Generator().manual_seed(2))
    mixed = many @ torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3))
    untrained.calibrate(mixed)
    seen = untrained.layer_norm(mixed).flatten(0, 1) @ untrained.whitening
    variance = torch.linalg.eigvalsh(torch.cov(seen.T)).detach()
    # LayerNorm takes one direction away: nothing is left of it but rounding, which must not be blown up.
    assert variance[0] < 0.1
    assert variance[1] > 0.85
    assert variance[-1] < 1.001


def test_merged_whitening_is_the_same_function_in_the_published_shape(head, states):
    plain = {name: tensor.shape for name, tensor in head.state_dict().items()}
    head.add_whitening()
    head.calibrate(states)
    real = EVERY.clone()
    real[0, 13:] = False
    before = head(states, real)
    assert not torch.equal(head.whitening, torch.eye(WIDTH))
    head.merge_whitening()
    assert {name: tensor.shape for name, tensor in head.state_dict().items()} == plain
    torch.testing.assert_close(head(states, real), before, rtol=0, atol=1e-4)  # one more float32 product


@pytest.mark.parametrize("whitened", [False, True])
def test_states_without_gradient_leave_values_and_all_gradients_as_they_are(head, states, whitened):
    if whitened:
        head.add_whitening()
        head.calibrate(states)
    real = EVERY.clone()
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


@pytest.mark.parametrize("name", sorted(POOLINGS))
@pytest.mark.parametrize("junk", [1e4, float("nan")])
def test_padding_is_silent_in_pooled_values_and_gradients(name, junk):
    torch.manual_seed(0)
    pool = POOLINGS[name](PAIR_WIDTH, PairHeadConfig(attention=3))
    states = torch.randn(3, 6, PAIR_WIDTH, generator=torch.Generator().manual_seed(1))
    real = torch.tensor([[True] * 6, [True] * 2 + [False] * 4, [False] * 6])
    padded = states.masked_fill(~real.unsqueeze(-1), junk).requires_grad_()
    pooled = pool(padded, real)
    torch.testing.assert_close(pooled[0], pool(states[:1], real[:1])[0])
    torch.testing.assert_close(pooled[1], pool(states[1:2, :2], real[1:2, :2])[0])
    assert (pooled[2] == 0).all()  # nothing is known of it
    pooled.square().sum().backward()
    assert (padded.grad[~real] == 0).all()
    assert padded.grad[real].any()
    assert all(parameter.grad.isfinite().all() for parameter in getattr(pool, "parameters", list)())


def test_poolings_worked_out_by_hand():
    states = torch.tensor([[[0.0, 1.0], [-0.5, 3.0], [9.0, 9.0]]])
    real = torch.tensor([[True, True, False]])
    max_pool, mean, attention = (
        POOLINGS[name](2, PairHeadConfig(attention=1)) for name in ("max", "mean", "attention")
    )
    assert max_pool(states - 1, real).tolist() == [[-1.0, 2.0]]
    assert mean(states, real).tolist() == [[-0.25, 2.0]]
    with torch.no_grad():
        attention.hidden.weight.copy_(torch.tensor([[1.0, 0.0]]))
        attention.hidden.bias.fill_(0.5)
        attention.score.weight.fill_(2.0)
    one, two = math.exp(2 * math.tanh(0.5)), math.exp(2 * math.tanh(0.0))
    share = one / (one + two)
    wanted = torch.tensor([[-0.5 * (1 - share), share + 3 * (1 - share)]])
    torch.testing.assert_close(attention(states, real), wanted)


def side(vectors):
    return EncodedBatch(vectors.unsqueeze(1), torch.ones(len(vectors), 1).bool())


def test_order_and_gene_and_molecule_matter():
    torch.manual_seed(0)
    head = PairHead(PAIR_WIDTH, PAIR_WIDTH, PairHeadConfig()).eval()
    genes, molecules = side(torch.randn(4, PAIR_WIDTH)), side(torch.randn(3, PAIR_WIDTH))
    gene, molecule = torch.tensor([0, 3, 1, 1, 2]), torch.tensor([2, 0, 1, 1, 2])
    logits = head(genes, molecules, gene, molecule)
    assert logits.shape == (5,)
    assert not torch.isclose(logits, head(molecules, genes, molecule, gene.clamp(max=2))).any()
    assert logits[2] == logits[3]
    for row in range(5):  # one pair says nothing of another
        alone = head(genes, molecules, gene[row : row + 1], molecule[row : row + 1])
        torch.testing.assert_close(alone[0], logits[row])


def test_a_side_is_one_vector_pooled_as_its_shape_says():
    head = PairHead(PAIR_WIDTH, PAIR_WIDTH, PairHeadConfig("max", "mean")).eval()
    states, real = torch.randn(2, 3, PAIR_WIDTH), torch.tensor([[True, True, False], [True, True, True]])
    for name, pooled in (("gene", states[0, :2].amax(0)), ("molecule", states[0, :2].mean(0))):
        found = head.encode(name, states, real)
        assert found.states.shape == (2, 1, PAIR_WIDTH)
        assert found.real.all()
        torch.testing.assert_close(found.states[0, 0], pooled)
        with pytest.raises(InputError, match="states must be"):
            head.encode(name, torch.zeros(2, 3, 5), real)
