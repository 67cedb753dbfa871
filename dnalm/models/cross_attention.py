"""Cross-attention head: the states of a gene and of a molecule attend to each other, then one logit.

Shapes used below
    G  distinct genes                M  distinct molecules
    N  genes or molecules            B  pairs
    S  states of one of them, the most
    W  common width of both sides    D  width of a side's states
    H  attention heads
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.config import check_fractions, check_minimum
from dnalm.errors import InputError
from dnalm.models.heads import Side, check_states, mean_of
from dnalm.models.layers import dropout

FUSION = (512, 256)
"""Widths between the layers that join both sides."""
CLASSIFIER = (128, 64)
"""Widths between the classifier's layers."""


@dataclass(frozen=True)
class CrossAttentionConfig:
    """The shape of a cross-attention head; the widths of the states come with the encoders."""

    width: int = 512
    """To which both sides are projected (W)."""
    heads: int = 8
    """Of each attention (H)."""
    feed_forward: int = 1024
    """Width of the layer behind each attention."""
    attention_dropout: float = 0.1
    """Share of values dropped in training behind attention and feed-forward layers."""
    head_dropout: float = 0.3
    """Share of values dropped in training in the fusion."""
    classifier_dropout: float = 0.2
    """Share of values dropped in training in the classifier."""
    pooled: ClassVar[bool] = False
    """Whether a side is one vector, the mean of its states."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, width=1, heads=1, feed_forward=1)
        if not wrong and self.width % self.heads:
            wrong.append(f"width must be a multiple of heads, got {self.width} and {self.heads}")
        wrong += check_fractions(self, "attention_dropout", "head_dropout", "classifier_dropout")
        if wrong:
            raise InputError("; ".join(wrong))


@dataclass(frozen=True)
class PooledAttentionConfig(CrossAttentionConfig):
    """The shape of a head that attends between one vector of each side, as published.

    There is then one key alone, and a softmax over one key is always 1: whatever the query, what is attended
    to is the other side's only vector. Queries and keys learn nothing (their gradients are 0); what is left
    of the attention is a linear layer. It is kept to show what that costs.
    """

    pooled: ClassVar[bool] = True


class _Dropout(nn.Dropout):
    """The same, made faster on a CPU in bf16 (`layers.dropout`)."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p if self.training else 0.0)


class Attending(nn.Module):
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
            _Dropout(config.attention_dropout),
            nn.Linear(config.feed_forward, width),
        )
        self.dropout = _Dropout(config.attention_dropout)

    def forward(self, own: Side, other: Side, own_row: Tensor, other_row: Tensor) -> Tensor:
        """Return the own side's states after attending to the other's, [B, S, W], 0 at padding.

        Args:
            own: states that ask, of distinct genes or molecules.
            other: states that are asked.
            own_row: which of `own` is each pair's, int64 [B].
            other_row: which of `other` is each pair's, int64 [B].
        """
        found = self._attend(
            of_real(self.query, own).index_select(0, own_row),
            of_real(self.key, other).index_select(0, other_row),
            of_real(self.value, other).index_select(0, other_row),
            other.real.index_select(0, other_row),
        )
        asking = own.take(own_row)
        place = asking.real.flatten().nonzero().squeeze(1)  # real states alone are computed with
        before, found = (x.flatten(0, 1).index_select(0, place) for x in (asking.states, found))
        x = self.attention_norm(before + self.dropout(self.out(found)))  # [real states, W]
        x = self.feed_norm(x + self.dropout(self.feed(x)))
        return _spread(x, place, asking.real)

    def weights(self, own: Side, other: Side) -> Tensor:
        """Return how much each own state attends to each other state, pair by pair, [B, H, S own, S other].

        Rows of real states add up to 1; padding is attended to by none.
        """
        query, key = (self._split(x) for x in (self.query(own.states), self.key(other.states)))
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        scores = scores.masked_fill(~other.real[:, None, None], torch.finfo(scores.dtype).min)
        shares: Tensor = scores.softmax(-1)
        return shares.masked_fill(~other.real[:, None, None], 0.0)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
        """Map queries [B, S, W], keys and values [B, S', W] and the mask of the latter to [B, S, W].

        Two ways to the same numbers: PyTorch's fused kernel, and plain matrix products in training on a CPU,
        where the fused backward pass was measured to take two thirds of a whole step.
        """
        # Where no state is real all are attended to, since a softmax over nothing is NaN; they are 0.
        mask = (real | ~real.any(1, keepdim=True))[:, None, None]  # [B, 1, 1, S']
        query, key, value = self._split(query), self._split(key), self._split(value)
        if query.device.type == "cpu" and torch.is_grad_enabled():
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [B, H, S, S']
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            mixed = torch.softmax(scores, dim=-1, dtype=scores.dtype) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        """Map [B, S, W] to [B, H, S, W / H]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def of_real(layer: nn.Module, side: Side) -> Tensor:
    """Return a layer's output for the real states of a side, [N, S, W], 0 at padding; it sees no other."""
    place = side.real.flatten().nonzero().squeeze(1)
    return _spread(layer(side.states.flatten(0, 1).index_select(0, place)), place, side.real)


def _spread(x: Tensor, place: Tensor, real: Tensor) -> Tensor:
    """Return rows [real states, W] at their places, and 0 at padding, [N, S, W]."""
    whole = x.new_zeros(real.numel(), x.shape[-1])
    return whole.index_copy(0, place, x).view(*real.shape, -1)


class CrossAttentionHead(nn.Module):
    """Both sides projected to one width, attending to each other, pooled, joined, classified.

    On states of width 768 and 384 (DNABERT-2 and ChemBERTa) it has 5,494,785 parameters: 393,728 + 197,120
    of projections, 2 x 2,102,784 of attentions, 657,152 of the fusion, 41,217 of the classifier.
    """

    def __init__(self, gene_width: int, molecule_width: int, config: CrossAttentionConfig) -> None:
        super().__init__()
        self.config, self.gene_width, self.molecule_width = config, gene_width, molecule_width
        width = config.width
        self.gene_projection = nn.Linear(gene_width, width)
        self.molecule_projection = nn.Linear(molecule_width, width)
        self.gene_attending, self.molecule_attending = Attending(config), Attending(config)
        first, second = FUSION
        third, fourth = CLASSIFIER
        self.fusion = nn.Sequential(
            nn.Linear(2 * width, first),
            nn.BatchNorm1d(first),
            nn.ReLU(),
            nn.Dropout(config.head_dropout),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Dropout(config.head_dropout),
        )
        self.classifier = nn.Sequential(
            nn.Linear(second, third),
            nn.ReLU(),
            nn.Dropout(config.classifier_dropout),
            nn.Linear(third, fourth),
            nn.ReLU(),
            nn.Dropout(config.classifier_dropout),
            nn.Linear(fourth, 1),
        )

    @property
    def one_vector(self) -> bool:
        """Whether a side is one vector: cheap to keep, however many there are."""
        return self.config.pooled

    def gene_side(self, states: Tensor, real: Tensor) -> Side:
        """Map genes' states [N, S, D] and their mask [N, S] to what pairs are made of.

        Raises:
            InputError: if `states` is not [N, S, D], or `real` is not its [N, S].
        """
        return self._side(states, real, self.gene_projection, self.gene_width)

    def molecule_side(self, states: Tensor, real: Tensor) -> Side:
        """Map molecules' states [N, S, D] and their mask [N, S] to what pairs are made of.

        Raises:
            InputError: if `states` is not [N, S, D], or `real` is not its [N, S].
        """
        return self._side(states, real, self.molecule_projection, self.molecule_width)

    def _side(self, states: Tensor, real: Tensor, projection: nn.Linear, width: int) -> Side:
        check_states(states, real, width)
        if self.config.pooled:
            states, real = mean_of(states, real).unsqueeze(1), real.any(1, keepdim=True)
        return Side(of_real(projection, Side(states, real)), real)

    def forward(self, genes: Side, molecules: Side, gene: Tensor, molecule: Tensor) -> Tensor:
        """Return the logits of pairs, [B].

        Args:
            genes: G distinct ones.
            molecules: M distinct ones.
            gene: which of the G is each pair's, int64 [B].
            molecule: which of the M is each pair's, int64 [B].
        """
        of_gene = self.gene_attending(genes, molecules, gene, molecule)
        of_molecule = self.molecule_attending(molecules, genes, molecule, gene)
        pooled = [
            mean_of(of_gene, genes.real.index_select(0, gene)),
            mean_of(of_molecule, molecules.real.index_select(0, molecule)),
        ]
        logits: Tensor = self.classifier(self.fusion(torch.cat(pooled, dim=-1))).squeeze(-1)
        return logits
