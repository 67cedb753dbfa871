"""Pair head: the states of a gene and of a molecule in, one logit out (the published classifier).

Shapes used below
    N  genes or molecules            B  pairs
    S  states of one of them         D  width of a state
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dnalm.config import no_shares
from dnalm.heads.side import Side, check_states, mean_of
from dnalm.layers import silenced

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
        wrong += no_shares(self, "head_dropout")
        if wrong:
            raise ValueError("; ".join(wrong))


class MaxPooling(nn.Module):
    """The highest value of each channel."""

    def __init__(self, width: int, _config: PairHeadConfig) -> None:
        super().__init__()

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Map states [N, S, D] and their mask [N, S] to [N, D]; 0 where no state is real."""
        highest = states.masked_fill(~real.unsqueeze(-1), float("-inf")).amax(1)
        return highest.masked_fill(~real.any(1, keepdim=True), 0.0)


class MeanPooling(nn.Module):
    """The mean of the real states."""

    def __init__(self, width: int, _config: PairHeadConfig) -> None:
        super().__init__()

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Map states [N, S, D] and their mask [N, S] to [N, D]; 0 where no state is real."""
        return mean_of(states, real)


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
        """Map states [N, S, D] and their mask [N, S] to [N, D]; 0 where no state is real."""
        states = silenced(states, real)
        scores = self.score(torch.tanh(self.hidden(states))).squeeze(-1).float()  # [N, S]
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

    one_vector = True
    """A side is one vector: cheap to keep, however many there are."""

    def gene_side(self, states: Tensor, real: Tensor) -> Side:
        """Map the states of genes [N, S, D] and their mask [N, S] to one vector each, a side of [N, 1, D].

        Raises:
            ValueError: if `states` is not [N, S, D], or `real` is not its [N, S].
        """
        check_states(states, real, self.gene_width)
        return _alone(self.gene_pooling(states, real))

    def molecule_side(self, states: Tensor, real: Tensor) -> Side:
        """Map the states of molecules [N, S, D] and their mask [N, S] to one vector each, as of genes.

        Raises:
            ValueError: if `states` is not [N, S, D], or `real` is not its [N, S].
        """
        check_states(states, real, self.molecule_width)
        return _alone(self.molecule_pooling(states, real))

    def forward(self, genes: Side, molecules: Side, gene: Tensor, molecule: Tensor) -> Tensor:
        """Return the logits of pairs, [B].

        Args:
            genes: some genes.
            molecules: some molecules.
            gene: which of the genes is each pair's, int64 [B].
            molecule: which of the molecules is each pair's, int64 [B].
        """
        both = [
            side.states.squeeze(1).index_select(0, rows)
            for side, rows in ((genes, gene), (molecules, molecule))
        ]
        logits: Tensor = self.classifier(torch.cat(both, dim=-1)).squeeze(-1)
        return logits


def _alone(vectors: Tensor) -> Side:
    """Return vectors [N, D] as a side of one state each."""
    return Side(vectors.unsqueeze(1), torch.ones(len(vectors), 1, dtype=torch.bool, device=vectors.device))
