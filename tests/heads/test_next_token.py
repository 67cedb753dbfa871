"""Tests for dnalm/heads/next_token.py."""

import torch
from torch import nn

from dnalm.models.heads import NextTokenHead


def test_a_token_scores_its_embeddings_product_with_the_state():
    head = NextTokenHead(nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])))
    assert head(torch.tensor([[[3.0, 4.0]]])).tolist() == [[[3.0, 8.0, 7.0]]]


def test_the_embedding_is_shared_and_not_copied():
    embedding = nn.Parameter(torch.zeros(3, 2))
    assert NextTokenHead(embedding).weight is embedding
