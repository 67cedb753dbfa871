"""Pair head: the states of a gene and of a molecule in, one logit out (the published classifier).

Shapes used below
    B  genes, molecules or pairs in the batch
    S  states of one of them         D  width of a state
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["max", "attention", "mean"]
LAYERS = (256, 128, 64)
"""Widths between the classifier's layers."""


@dataclass(frozen=True)
class PairHeadConfig:
    """The shape of a pair head; the widths of the states come with the encoders."""

    gene_pooling: Pooling = "max"
    """How the states of a gene become one vector."""
    molecule_pooling: Pooling = "attention"
    """How the states of a molecule become one vector."""
    attention: int = 128
    """Width of the hidden layer of `attention`."""
    head_dropout: float = 0.3
    """Share of values dropped in training, after each of the classifier's first two layers."""

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must be one of {', '.join(POOLINGS)}, got {value!r}"
            for name in ("gene_pooling", "molecule_pooling")
            if (value := getattr(self, name)) not in POOLINGS
        ]
        if self.attention < 1:
            wrong.append(f"attention must be at least 1, got {self.attention}")
        if not 0.0 <= self.head_dropout < 1.0:
            wrong.append(f"head_dropout must be at least 0 and below 1, got {self.head_dropout}")
        if wrong:
            raise ValueError("; ".join(wrong))


class MaxPooling(nn.Module):
    """The highest value of each channel."""

    def __init__(self, width: int, _config: PairHeadConfig) -> None:
        super().__init__()

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Map states [B, S, D] and their mask [B, S] to [B, D]; 0 where no state is real."""
        highest = states.masked_fill(~real.unsqueeze(-1), float("-inf")).amax(1)
        return highest.masked_fill(~real.any(1, keepdim=True), 0.0)


class MeanPooling(nn.Module):
    """The mean of the real states."""

    def __init__(self, width: int, _config: PairHeadConfig) -> None:
        super().__init__()

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Map states [B, S, D] and their mask [B, S] to [B, D]; 0 where no state is real."""
        total = states.masked_fill(~real.unsqueeze(-1), 0.0).sum(1)
        mean: Tensor = total / real.sum(1, keepdim=True).clamp(min=1)
        return mean


class AttentionPooling(nn.Module):
    """A mean of the real states weighted by softmax(v . tanh(W state + b)) (additive attention).

    The formula is that of Bahdanau, Cho and Bengio 2015, without a query. On states of width 256 it has
    33,024 parameters: 32,896 of W and b, 128 of v.
    """

    def __init__(self, width: int, config: PairHeadConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, config.attention)
        self.score = nn.Linear(config.attention, 1, bias=False)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Map states [B, S, D] and their mask [B, S] to [B, D]; 0 where no state is real."""
        states = states.masked_fill(~real.unsqueeze(-1), 0.0)
        scores = self.score(torch.tanh(self.hidden(states))).squeeze(-1).float()  # [B, S]
        weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1)
        return torch.bmm(weights.to(states.dtype).unsqueeze(1), states).squeeze(1)


POOLINGS = {"max": MaxPooling, "attention": AttentionPooling, "mean": MeanPooling}


class PairHead(nn.Module):
    """Pooling on either side, then a classifier of both vectors: 256 and 128 with dropout, 64, and 1.

    On states of width 256 and 256 the classifier has 172,545 parameters: 131,328 + 32,896 + 8,256 + 65.
    """

    def __init__(self, gene_width: int, molecule_width: int, config: PairHeadConfig) -> None:
        super().__init__()
        self.config, self.gene_width, self.molecule_width = config, gene_width, molecule_width
        self.gene_pooling = POOLINGS[config.gene_pooling](gene_width, config)
        self.molecule_pooling = POOLINGS[config.molecule_pooling](molecule_width, config)
        first, second, third = LAYERS
        self.classifier = nn.Sequential(
            nn.Linear(gene_width + molecule_width, first),
            nn.ReLU(),
            nn.Dropout(config.head_dropout),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Dropout(config.head_dropout),
            nn.Linear(second, third),
            nn.ReLU(),
            nn.Linear(third, 1),
        )

    def pool_gene(self, states: Tensor, real: Tensor) -> Tensor:
        """Map the states of genes [B, S, D] and their mask [B, S] to one vector each, [B, D].

        Raises:
            ValueError: if `states` is not [B, S, D], or `real` is not its [B, S].
        """
        _check(states, real, self.gene_width)
        pooled: Tensor = self.gene_pooling(states, real)
        return pooled

    def pool_molecule(self, states: Tensor, real: Tensor) -> Tensor:
        """Map the states of molecules [B, S, D] and their mask [B, S] to one vector each, [B, D].

        Raises:
            ValueError: if `states` is not [B, S, D], or `real` is not its [B, S].
        """
        _check(states, real, self.molecule_width)
        pooled: Tensor = self.molecule_pooling(states, real)
        return pooled

    def forward(self, genes: Tensor, molecules: Tensor) -> Tensor:
        """Map the vectors of pairs, genes [B, D] and molecules [B, D], to logits [B]."""
        logits: Tensor = self.classifier(torch.cat([genes, molecules], dim=-1)).squeeze(-1)
        return logits


def _check(states: Tensor, real: Tensor, width: int) -> None:
    if states.ndim != 3 or states.shape[-1] != width:
        raise ValueError(f"states must be [B, S, {width}], got {list(states.shape)}")
    if real.shape != states.shape[:2]:
        raise ValueError(f"real must be {list(states.shape[:2])}, got {list(real.shape)}")
