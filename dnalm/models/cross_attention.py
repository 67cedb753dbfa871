"""Cross-attention head: the states of a gene and of a molecule attend to each other, then one logit.

Shapes: G distinct genes; M distinct molecules; N genes or molecules; B pairs; S states of one of them, the
most; W common width of both sides; D width of a side's states; H attention heads.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from dnalm.config import check_fractions, check_minimum, check_multiple, refuse
from dnalm.models.heads import EncodedBatch, Side, hidden_layers
from dnalm.models.layers import check_states, masked_mean


@dataclass(frozen=True)
class CrossAttentionConfig:
    """The shape of a cross-attention head; the widths of the states come with the encoders."""

    width: int = 512  # To which both sides are projected (W)
    heads: int = 8  # Of each attention (H)
    feed_forward: int = 1024  # Width of the layer behind each attention
    attention_dropout: float = 0.1  # Dropout rate behind attention and feed-forward layers
    head_dropout: float = 0.3  # Dropout rate in the fusion
    classifier_dropout: float = 0.2  # Dropout rate in the classifier
    pooled: ClassVar[bool] = False  # Whether a side is one vector, the mean of its states

    def __post_init__(self) -> None:
        refuse(
            check_minimum(self, width=1, heads=1, feed_forward=1)
            + check_multiple(self, "width", "heads")
            + check_fractions(self, "attention_dropout", "head_dropout", "classifier_dropout")
        )


@dataclass(frozen=True)
class PooledAttentionConfig(CrossAttentionConfig):
    """The shape of a head that attends between one vector of each side, as published.

    A softmax over a single key is always 1, whatever the query: queries and keys learn nothing (their
    gradients are 0), and what is left of the attention is a linear layer. This head shows what that costs.
    """

    pooled: ClassVar[bool] = True


class CrossAttentionBlock(nn.Module):
    """One side attends to the other: attention, residual, LayerNorm; feed-forward, residual, LayerNorm.

    The block is that of Vaswani et al. 2017, section 3.1 (its decoder's second half), with ReLU. Query, key
    and value are computed once for each distinct gene and molecule, whatever the number of pairs.
    """

    def __init__(self, config: CrossAttentionConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, config.feed_forward),
            nn.ReLU(),
            nn.Dropout(config.attention_dropout),
            nn.Linear(config.feed_forward, width),
        )
        self.dropout = nn.Dropout(config.attention_dropout)

    def forward(self, own: EncodedBatch, other: EncodedBatch, own_row: Tensor, other_row: Tensor) -> Tensor:
        """Return the own side's states after attending to the other's, [B, S, W], 0 at padding.

        `own_row` and `other_row`, int64 [B], are the rows of each pair.
        """
        query = of_real(self.query, own).index_select(0, own_row)
        key, value = (of_real(layer, other).index_select(0, other_row) for layer in (self.key, self.value))
        shares = self._shares(query, key, other.real.index_select(0, other_row))
        mixed = (shares @ self._split(value)).transpose(1, 2).flatten(2)  # [B, S, W]
        own = own.take(own_row)
        real = own.real.flatten().nonzero().squeeze(1)  # the layers below see real states alone
        before, mixed = (x.flatten(0, 1).index_select(0, real) for x in (own.states, mixed))
        x = self.attention_norm(before + self.dropout(self.out(mixed)))  # [real states, W]
        x = self.feed_norm(x + self.dropout(self.feed(x)))
        return _scatter(x, real, own.real)

    def weights(self, own: EncodedBatch, other: EncodedBatch) -> Tensor:
        """Return how much each own state attends to each other state, pair by pair, [B, H, S own, S other].

        Rows of real states add up to 1; padding is attended to by none.
        """
        return self._shares(self.query(own.states), self.key(other.states), other.real)

    def _shares(self, query: Tensor, key: Tensor, real: Tensor) -> Tensor:
        """Map queries [B, S, W], keys [B, S', W] and the latter's mask to shares, [B, H, S, S']."""
        query, key = self._split(query) * (query.shape[-1] // self.heads) ** -0.5, self._split(key)
        scores = query @ key.transpose(-1, -2)
        hidden = ~real[:, None, None]  # [B, 1, 1, S']
        shares = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1, dtype=scores.dtype)
        return shares.masked_fill(hidden, 0.0)

    def _split(self, x: Tensor) -> Tensor:
        """Map [B, S, W] to [B, H, S, W / H]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def of_real(layer: nn.Module, batch: EncodedBatch) -> Tensor:
    """Return a layer's output for the real states alone, [N, S, W], 0 at padding."""
    real = batch.real.flatten().nonzero().squeeze(1)
    return _scatter(layer(batch.states.flatten(0, 1).index_select(0, real)), real, batch.real)


def _scatter(x: Tensor, index: Tensor, real: Tensor) -> Tensor:
    """Return rows [real states, W] at their indices, and 0 at padding, [N, S, W]."""
    states = x.new_zeros(real.numel(), x.shape[-1])
    return states.index_copy(0, index, x).view(*real.shape, -1)


class CrossAttentionHead(nn.Module):
    """Both sides projected to one width, attending to each other, pooled, joined, classified.

    On states of width 768 and 384 (DNABERT-2 and ChemBERTa) it has 5,494,785 parameters: 393,728 + 197,120
    of projections, 2 x 2,102,784 of attentions, 657,152 of the fusion, 41,217 of the classifier.
    """

    def __init__(self, gene_width: int, molecule_width: int, config: CrossAttentionConfig) -> None:
        super().__init__()
        self.config, self.widths = config, {"gene": gene_width, "molecule": molecule_width}
        self.one_vector = config.pooled  # a side is one vector: cheap to store, however many there are
        width = config.width
        self.gene_projection = nn.Linear(gene_width, width)
        self.molecule_projection = nn.Linear(molecule_width, width)
        self.gene_attending, self.molecule_attending = (CrossAttentionBlock(config) for _ in range(2))
        self.fusion = nn.Sequential(
            *(nn.Linear(2 * width, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(config.head_dropout)),
            *hidden_layers(512, 256, dropout=config.head_dropout),
        )
        self.classifier = nn.Sequential(
            *hidden_layers(256, 128, 64, dropout=config.classifier_dropout), nn.Linear(64, 1)
        )

    def encode(self, side: Side, states: Tensor, real: Tensor) -> EncodedBatch:
        """Project the states of genes or molecules [N, S, D] with their mask [N, S] to width W."""
        check_states(states, real, self.widths[side])
        batch = EncodedBatch(states, real)
        batch = batch.mean() if self.config.pooled else batch
        return EncodedBatch(of_real(getattr(self, f"{side}_projection"), batch), batch.real)

    def forward(self, genes: EncodedBatch, molecules: EncodedBatch, gene: Tensor, molecule: Tensor) -> Tensor:
        """Return logits, [B], of pairs of G genes and M molecules whose rows are given, int64 [B] each."""
        of_gene = self.gene_attending(genes, molecules, gene, molecule)
        of_molecule = self.molecule_attending(molecules, genes, molecule, gene)
        pooled = [
            masked_mean(states, side.real.index_select(0, rows))
            for states, side, rows in ((of_gene, genes, gene), (of_molecule, molecules, molecule))
        ]
        logits: Tensor = self.classifier(self.fusion(torch.cat(pooled, dim=-1))).squeeze(-1)
        return logits
