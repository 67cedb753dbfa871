"""Tests for dnalm/heads/pair.py."""

import math

import pytest
import torch

from dnalm.models.heads import POOLINGS, PairHead, PairHeadConfig, Side

WIDTH = 4


def pooling(name):
    torch.manual_seed(0)
    return POOLINGS[name](WIDTH, PairHeadConfig(attention=3))


def test_published_sizes():
    head = PairHead(256, 256, PairHeadConfig())
    attention = (256 * 128 + 128) + 128
    classifier = (512 * 256 + 256) + (256 * 128 + 128) + (128 * 64 + 64) + (64 + 1)
    assert (attention, classifier) == (33_024, 172_545)
    assert sum(parameter.numel() for parameter in head.parameters()) == attention + classifier


@pytest.mark.parametrize("name", sorted(POOLINGS))
@pytest.mark.parametrize("junk", [1e4, float("nan")])
def test_padding_is_silent_in_values_and_gradients(name, junk):
    pool = pooling(name)
    states = torch.randn(3, 6, WIDTH, generator=torch.Generator().manual_seed(1))
    real = torch.tensor([[True] * 6, [True] * 2 + [False] * 4, [False] * 6])
    padded = states.masked_fill(~real.unsqueeze(-1), junk).requires_grad_()
    pooled = pool(padded, real)
    torch.testing.assert_close(pooled[0], pool(states[:1], real[:1])[0])
    torch.testing.assert_close(pooled[1], pool(states[1:2, :2], real[1:2, :2])[0])
    assert (pooled[2] == 0).all()  # nothing is known of it
    pooled.square().sum().backward()
    assert (padded.grad[~real] == 0).all()
    assert padded.grad[real].any()
    assert all(parameter.grad.isfinite().all() for parameter in pool.parameters())


def test_max_and_mean_worked_out_by_hand():
    states = torch.tensor([[[-3.0, 1.0], [-1.0, -2.0], [9.0, 9.0]]])
    real = torch.tensor([[True, True, False]])
    config = PairHeadConfig()
    assert POOLINGS["max"](2, config)(states, real).tolist() == [[-1.0, 1.0]]
    assert POOLINGS["mean"](2, config)(states, real).tolist() == [[-2.0, -0.5]]


def test_attention_worked_out_by_hand():
    pool = POOLINGS["attention"](2, PairHeadConfig(attention=1))
    with torch.no_grad():
        pool.hidden.weight.copy_(torch.tensor([[1.0, 0.0]]))
        pool.hidden.bias.fill_(0.5)
        pool.score.weight.fill_(2.0)
    states = torch.tensor([[[0.0, 1.0], [-0.5, 3.0], [9.0, 9.0]]])
    pooled = pool(states, torch.tensor([[True, True, False]]))
    one, two = math.exp(2 * math.tanh(0.5)), math.exp(2 * math.tanh(0.0))
    share = one / (one + two)
    torch.testing.assert_close(pooled, torch.tensor([[-0.5 * (1 - share), share + 3 * (1 - share)]]))


def side(vectors):
    return Side(vectors.unsqueeze(1), torch.ones(len(vectors), 1).bool())


def test_order_and_gene_and_molecule_matter():
    torch.manual_seed(0)
    head = PairHead(WIDTH, WIDTH, PairHeadConfig()).eval()
    genes, molecules = side(torch.randn(4, WIDTH)), side(torch.randn(3, WIDTH))
    gene, molecule = torch.tensor([0, 3, 1, 1, 2]), torch.tensor([2, 0, 1, 1, 2])
    logits = head(genes, molecules, gene, molecule)
    assert logits.shape == (5,)
    assert not torch.isclose(logits, head(molecules, genes, molecule, gene.clamp(max=2))).any()
    assert logits[2] == logits[3]
    for row in range(5):  # one pair says nothing of another
        alone = head(genes, molecules, gene[row : row + 1], molecule[row : row + 1])
        torch.testing.assert_close(alone[0], logits[row])


def test_dropout_runs_in_training_alone():
    head = PairHead(WIDTH, WIDTH, PairHeadConfig())
    both = side(torch.randn(5, WIDTH)), side(torch.randn(5, WIDTH)), torch.arange(5), torch.arange(5)
    assert not torch.equal(head(*both), head(*both))
    head.eval()
    assert torch.equal(head(*both), head(*both))


def test_a_side_is_one_vector_pooled_as_its_shape_says():
    torch.manual_seed(0)
    head = PairHead(WIDTH, WIDTH, PairHeadConfig("max", "mean")).eval()
    states, real = torch.randn(2, 3, WIDTH), torch.tensor([[True, True, False], [True, True, True]])
    genes, molecules = head.gene_side(states, real), head.molecule_side(states, real)
    assert genes.states.shape == molecules.states.shape == (2, 1, WIDTH)
    assert genes.real.all()
    torch.testing.assert_close(genes.states[0, 0], states[0, :2].amax(0))
    torch.testing.assert_close(molecules.states[0, 0], states[0, :2].mean(0))


@pytest.mark.parametrize("name", ["gene_side", "molecule_side"])
def test_refuses_wrong_shapes(name):
    pool = getattr(PairHead(WIDTH, WIDTH, PairHeadConfig()), name)
    with pytest.raises(ValueError, match=r"states must be \[B, S, 4\], got \[2, 3, 5\]"):
        pool(torch.zeros(2, 3, 5), torch.ones(2, 3).bool())
    with pytest.raises(ValueError, match=r"real must be \[2, 3\], got \[2, 2\]"):
        pool(torch.zeros(2, 3, WIDTH), torch.ones(2, 2).bool())


def test_refuses_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="gene_pooling must be one of max, attention, mean, got 'sum'; att"):
        PairHeadConfig(gene_pooling="sum", attention=0)
    with pytest.raises(ValueError, match="head_dropout must be at least 0"):
        PairHeadConfig(head_dropout=1.0)
