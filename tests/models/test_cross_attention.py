"""Tests for dnalm/models/cross_attention.py."""

import pytest
import torch

from dnalm.errors import InputError
from dnalm.models.cross_attention import CrossAttentionConfig, CrossAttentionHead, PooledAttentionConfig
from tests.models.reference import attend, linear, norm

GENE, MOLECULE = 6, 5
"""Widths of the states."""


def head(pooled=False):
    torch.manual_seed(0)
    config = (PooledAttentionConfig if pooled else CrossAttentionConfig)(width=8, heads=2, feed_forward=12)
    made = CrossAttentionHead(GENE, MOLECULE, config).double().eval()
    seen = made.fusion[1]
    for tensor in (seen.running_mean, seen.running_var, seen.weight.data, seen.bias.data):
        tensor.uniform_(0.5, 1.5)
    return made


def states():
    """Three genes of 4, 2 and 1 states, two molecules of 3 and 1; five pairs of them."""
    draws = torch.Generator().manual_seed(1)
    genes = torch.randn(3, 4, GENE, generator=draws, dtype=torch.float64)
    molecules = torch.randn(2, 3, MOLECULE, generator=draws, dtype=torch.float64)
    genes_real = torch.arange(4) < torch.tensor([[4], [2], [1]])
    molecules_real = torch.arange(3) < torch.tensor([[3], [1]])
    gene, molecule = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 0, 1, 1, 1])
    return genes, genes_real, molecules, molecules_real, gene, molecule


def logits(made, genes, genes_real, molecules, molecules_real, gene, molecule):
    sides = made.encode("gene", genes, genes_real), made.encode("molecule", molecules, molecules_real)
    return made(*sides, gene, molecule)


def reference(made, gene, molecule):
    """The logit of one pair, states [S, D] without padding, by plain sums: an independent writing of it."""
    state = made.state_dict()

    def attended(block, own, other):
        query = linear(state, f"{block}.query", own)
        mixed = attend(query, *(linear(state, f"{block}.{name}", other) for name in ("key", "value")), 2)
        x = norm(state, f"{block}.attention_norm", own + linear(state, f"{block}.out", mixed), 1e-5)
        inner = linear(state, f"{block}.feed.3", linear(state, f"{block}.feed.0", x).clamp(min=0))
        return norm(state, f"{block}.feed_norm", x + inner, 1e-5).mean(0)

    one, other = linear(state, "gene_projection", gene), linear(state, "molecule_projection", molecule)
    if made.config.pooled:
        one, other = one.mean(0, keepdim=True), other.mean(0, keepdim=True)
    x = torch.cat([attended("gene_attending", one, other), attended("molecule_attending", other, one)])
    seen = made.fusion[1]
    x = (linear(state, "fusion.0", x) - seen.running_mean) / (seen.running_var + seen.eps).sqrt()
    x = (x * seen.weight + seen.bias).clamp(min=0)
    for layer in ("fusion.4", "classifier.0", "classifier.3"):
        x = linear(state, layer, x).clamp(min=0)
    return linear(state, "classifier.6", x)[0]


@pytest.mark.parametrize("pooled", [False, True])
def test_equals_a_plain_writing_of_it_pair_by_pair(pooled):
    made = head(pooled)
    genes, genes_real, molecules, molecules_real, gene, molecule = states()
    found = logits(made, *states())
    for place, (one, other) in enumerate(zip(gene, molecule, strict=True)):
        wanted = reference(made, genes[one][genes_real[one]], molecules[other][molecules_real[other]])
        torch.testing.assert_close(found[place], wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pooled", [False, True])
def test_padding_is_silent_in_values_and_gradients(pooled):
    made = head(pooled)
    genes, genes_real, molecules, molecules_real, *pairs = states()
    wanted = logits(made, genes, genes_real, molecules, molecules_real, *pairs)
    dirty = genes.masked_fill(~genes_real.unsqueeze(-1), float("nan")).requires_grad_()
    dirty_molecules = molecules.masked_fill(~molecules_real.unsqueeze(-1), float("nan"))
    found = logits(made, dirty, genes_real, dirty_molecules, molecules_real, *pairs)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    found.sum().backward()
    assert torch.isfinite(dirty.grad).all()
    assert not dirty.grad[~genes_real].any()


@pytest.mark.parametrize("pooled", [False, True])
def test_queries_and_keys_learn_unless_there_is_one_vector_to_choose(pooled):
    """A softmax over one key is 1 whatever the query: the published attention is a linear layer."""
    made = head(pooled)
    before = logits(made, *states())
    before.square().sum().backward()
    blocks = (made.gene_attending, made.molecule_attending)
    layers = [layer for block in blocks for layer in (block.query, block.key)]
    gradients = [layer.weight.grad.abs().max().item() for layer in layers]
    assert max(gradients) == 0.0 if pooled else min(gradients) > 1e-6
    with torch.no_grad():
        for block in blocks:
            block.query.weight.mul_(-3.0)
    assert torch.equal(before, logits(made, *states())) == pooled


def test_weights_of_attention_add_up_to_one_over_real_states():
    made = head()
    genes, genes_real, molecules, molecules_real, *_ = states()
    gene, molecule = (
        made.encode("gene", genes, genes_real),
        made.encode("molecule", molecules, molecules_real),
    )
    weights = made.gene_attending.weights(gene.take(torch.tensor([0, 1])), molecule)
    assert weights.shape == (2, 2, 4, 3)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 4, dtype=torch.float64))
    assert (weights[1, :, :, 0] == 1.0).all()  # its molecule has one state


def test_a_gene_without_a_state_gives_no_nan():
    genes, _, molecules, molecules_real, *pairs = states()
    none = torch.zeros(3, 4, dtype=torch.bool)
    found = logits(head(), genes, none, molecules, molecules_real, *pairs)
    assert torch.isfinite(found).all()
    assert found[0] == found[1]  # nothing is left of what told the genes apart


def test_refuses_what_makes_no_sense():
    with pytest.raises(InputError, match="states must be"):
        head().encode("gene", torch.zeros(2, 3, 5), torch.ones(2, 3).bool())
