"""Tests for dnalm/models/cross_attention.py."""

import pytest
import torch

from dnalm.errors import InputError
from dnalm.models.cross_attention import (
    CrossAttentionConfig,
    CrossAttentionHead,
    PooledAttentionConfig,
)
from dnalm.models.heads import EncodedBatch

GENE, MOLECULE = 6, 5
"""Widths of the states."""


def head(pooled=False, **changes):
    torch.manual_seed(0)
    kind = PooledAttentionConfig if pooled else CrossAttentionConfig
    config = kind(**({"width": 8, "heads": 2, "feed_forward": 12} | changes))
    made = CrossAttentionHead(GENE, MOLECULE, config).double().eval()
    seen = made.fusion[1]
    for tensor in (seen.running_mean, seen.running_var, seen.weight.data, seen.bias.data):
        tensor.uniform_(0.5, 1.5)
    return made


def states(seed=1):
    """Three genes of 4, 2 and 1 states, two molecules of 3 and 1; five pairs of them."""
    draws = torch.Generator().manual_seed(seed)
    genes = torch.randn(3, 4, GENE, generator=draws, dtype=torch.float64)
    molecules = torch.randn(2, 3, MOLECULE, generator=draws, dtype=torch.float64)
    genes_real = torch.arange(4) < torch.tensor([[4], [2], [1]])
    molecules_real = torch.arange(3) < torch.tensor([[3], [1]])
    gene, molecule = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 0, 1, 1, 1])
    return genes, genes_real, molecules, molecules_real, gene, molecule


def logits(made, genes, genes_real, molecules, molecules_real, gene, molecule):
    sides = made.gene_side(genes, genes_real), made.molecule_side(molecules, molecules_real)
    return made(*sides, gene, molecule)


def reference(made, gene, molecule):
    """The logit of one pair, states [S, D] without padding, by plain sums: an independent writing of it."""

    def linear(layer, x):
        return x @ layer.weight.T + layer.bias

    def norm(layer, x):
        spread = (x.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt()
        return (x - x.mean(-1, keepdim=True)) / spread * layer.weight + layer.bias

    def attend(block, own, other):
        size = own.shape[-1] // block.heads
        mixed = []
        for at in range(block.heads):
            cut = slice(at * size, (at + 1) * size)
            query, key, value = (
                linear(layer, x)[:, cut]
                for layer, x in ((block.query, own), (block.key, other), (block.value, other))
            )
            scores = torch.exp(query @ key.T / size**0.5)
            mixed.append(scores / scores.sum(1, keepdim=True) @ value)
        x = norm(block.attention_norm, own + linear(block.out, torch.cat(mixed, 1)))
        inner = linear(block.feed[0], x).clamp(min=0)
        return norm(block.feed_norm, x + linear(block.feed[3], inner))

    one, other = linear(made.gene_projection, gene), linear(made.molecule_projection, molecule)
    if made.config.pooled:
        one, other = one.mean(0, keepdim=True), other.mean(0, keepdim=True)
    x = torch.cat(
        [attend(made.gene_attending, one, other).mean(0), attend(made.molecule_attending, other, one).mean(0)]
    )
    seen = made.fusion[1]
    x = (linear(made.fusion[0], x) - seen.running_mean) / (seen.running_var + seen.eps).sqrt()
    x = (x * seen.weight + seen.bias).clamp(min=0)
    for layer in (made.fusion[4], made.classifier[0], made.classifier[3]):
        x = linear(layer, x).clamp(min=0)
    return linear(made.classifier[6], x)[0]


@pytest.mark.parametrize("pooled", [False, True])
def test_equals_a_plain_writing_of_it_pair_by_pair(pooled):
    made = head(pooled=pooled)
    genes, genes_real, molecules, molecules_real, gene, molecule = states()
    found = logits(made, *states())
    for place, (one, other) in enumerate(zip(gene, molecule, strict=True)):
        wanted = reference(made, genes[one][genes_real[one]], molecules[other][molecules_real[other]])
        torch.testing.assert_close(found[place], wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pooled", [False, True])
def test_padding_is_silent_in_values_and_gradients(pooled):
    made = head(pooled=pooled)
    genes, genes_real, molecules, molecules_real, *pairs = states()
    wanted = logits(made, genes, genes_real, molecules, molecules_real, *pairs)
    dirty = genes.masked_fill(~genes_real.unsqueeze(-1), float("nan")).requires_grad_()
    dirty_molecules = molecules.masked_fill(~molecules_real.unsqueeze(-1), float("nan"))
    found = logits(made, dirty, genes_real, dirty_molecules, molecules_real, *pairs)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    found.sum().backward()
    assert torch.isfinite(dirty.grad).all()
    assert not dirty.grad[~genes_real].any()


def gradients(made):
    """Of queries and keys, in training with real differences between states."""
    logits(made, *states()).square().sum().backward()
    blocks = (made.gene_attending, made.molecule_attending)
    return [layer.weight.grad.abs().max().item() for block in blocks for layer in (block.query, block.key)]


def test_queries_and_keys_learn_where_there_are_states_to_choose_from():
    assert min(gradients(head())) > 1e-6


def test_queries_and_keys_cannot_learn_between_pooled_vectors():
    """A softmax over one key is 1 whatever the query: the published attention is a linear layer."""
    assert max(gradients(head(pooled=True))) == 0.0


@pytest.mark.parametrize(("pooled", "changes"), [(False, True), (True, False)])
def test_another_query_attends_to_something_else_unless_pooled(pooled, changes):
    made = head(pooled=pooled)
    before = logits(made, *states())
    with torch.no_grad():
        for block in (made.gene_attending, made.molecule_attending):
            block.query.weight.mul_(-3.0)
    assert torch.equal(before, logits(made, *states())) != changes


def test_the_order_of_a_sides_states_does_not_matter_but_what_they_are_does():
    made = head()
    genes, genes_real, molecules, molecules_real, *pairs = states()
    before = logits(made, genes, genes_real, molecules, molecules_real, *pairs)
    turned = logits(made, genes.flip(1), genes_real.flip(1), molecules, molecules_real, *pairs)
    torch.testing.assert_close(turned, before)
    genes[0, 0] += 1.0
    other = logits(made, genes, genes_real, molecules, molecules_real, *pairs)
    assert (other != before).tolist() == [True, False, False, True, False]  # the pairs of gene 0


def test_weights_of_attention_add_up_to_one_over_real_states():
    made = head()
    genes, genes_real, molecules, molecules_real, *_ = states()
    sides = made.gene_side(genes[:2], genes_real[:2]), made.molecule_side(molecules, molecules_real)
    weights = made.gene_attending.weights(*sides)
    assert weights.shape == (2, 2, 4, 3)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 4, dtype=torch.float64))
    assert (weights[1, :, :, 0] == 1.0).all()  # its molecule has one state


def test_a_gene_without_a_state_gives_no_nan():
    made = head()
    genes, _, molecules, molecules_real, *pairs = states()
    none = torch.zeros(3, 4, dtype=torch.bool)
    found = logits(made, genes, none, molecules, molecules_real, *pairs)
    assert torch.isfinite(found).all()
    assert found[0] == found[1]  # nothing is left of what told the genes apart


def test_parameters_with_the_published_sizes():
    with torch.device("meta"):
        made = CrossAttentionHead(768, 384, CrossAttentionConfig())
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in made.named_children()}
    assert count == {
        "gene_projection": 393_728,
        "molecule_projection": 197_120,
        "gene_attending": 2_102_784,
        "molecule_attending": 2_102_784,
        "fusion": 657_152,
        "classifier": 41_217,
    }
    assert sum(count.values()) == 5_494_785


def test_dropout_runs_in_training_alone():
    made = head().train()
    assert not torch.equal(logits(made, *states()), logits(made, *states()))
    made.eval()
    assert torch.equal(logits(made, *states()), logits(made, *states()))


def test_a_side_takes_its_rows():
    real = torch.tensor([[True, True], [True, False], [True, True]])
    side = EncodedBatch(torch.arange(6.0).view(3, 2, 1), real)
    taken = side.take(torch.tensor([2, 0, 2]))
    assert taken.states.flatten().tolist() == [4, 5, 0, 1, 4, 5]
    assert taken.real[1].tolist() == [True, True]


def test_refuses_what_makes_no_sense():
    with pytest.raises(InputError, match="states must be"):
        head().gene_side(torch.zeros(2, 3, 5), torch.ones(2, 3).bool())
    with pytest.raises(InputError, match="width must be a multiple of heads, got 10 and 4; head_dropout"):
        CrossAttentionConfig(width=10, heads=4, head_dropout=1.0)
