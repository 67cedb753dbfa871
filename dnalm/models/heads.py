"""Next-token head: states in, one score per token of the vocabulary out.

Shapes used below
    B  sequences in the batch        L  tokens per sequence
    D  width of the states           V  tokens in the vocabulary

Regression head: states in, one score per base out (the published `ImprovedRegressionHead`).

Shapes used below
    B  windows in the batch          L  bases per window
    D  width of the states           H  channels of the convolution

Side: genes or molecules as a head keeps them, to be paired.

Shapes used below
    N  genes or molecules            S  states of one of them, the most
    W  width of a state              B  pairs

Pair head: the states of a gene and of a molecule in, one logit out (the published classifier).

Shapes used below
    N  genes or molecules            B  pairs
    S  states of one of them         D  width of a state
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.config import check_fractions
from dnalm.errors import InputError
from dnalm.models.layers import convolve, dropout, silenced


class NextTokenHead(nn.Module):
    """Score every token of the vocabulary by its embedding's product with the state (Press and Wolf 2017).

    Args:
        embedding: [V, D], the encoder's token embedding; the head holds the same tensor, not a copy.
    """

    def __init__(self, embedding: nn.Parameter) -> None:
        super().__init__()
        self.weight = embedding

    def forward(self, states: Tensor) -> Tensor:
        """Map states [B, L, D] to logits [B, L, V] of the token that follows each."""
        return F.linear(states, self.weight)


LEAST_SPREAD = 0.1
"""Of the median channel: one that varies less is not blown up to a spread of 1, it may be rounding alone."""
LEAST_VARIANCE = 1e-3
"""Of the mean over directions, added to each in whitening: what varies less is mostly rounding."""


@dataclass(frozen=True)
class RegressionHeadConfig:
    """The shape of a regression head; the width of the states comes with the encoder."""

    channels: int = 128
    """Channels of the convolution (H)."""
    kernel: int = 11
    """Bases that one score sees of the states: odd, so that scores line up with bases."""
    head_dropout: float = 0.2
    """Share of channels dropped in training, before the last layer."""

    def __post_init__(self) -> None:
        wrong = []
        if self.channels < 1:
            wrong.append(f"channels must be at least 1, got {self.channels}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            wrong.append(f"kernel must be odd and at least 1, got {self.kernel}")
        wrong += check_fractions(self, "head_dropout")
        if wrong:
            raise InputError("; ".join(wrong))


class RegressionHead(nn.Module):
    """LayerNorm, convolution, exact GELU, dropout, linear layer.

    The head does not know what its score means. With the published sizes it has 541,697 parameters on states
    of width 384, and 180,737 on width 128.
    """

    whitening: Tensor | None

    def __init__(self, width: int, config: RegressionHeadConfig) -> None:
        super().__init__()
        self.config, self.width = config, width
        self.layer_norm = nn.LayerNorm(width)
        self.conv1d = nn.Conv1d(width, config.channels, config.kernel, padding="same")
        self.fc = nn.Linear(config.channels, 1)
        self.register_buffer("whitening", None)

    def add_whitening(self) -> None:
        """Let training see the states through a fixed matrix [D, D], set by `calibrate`, until it is merged.

        What a trained language model knows of the bases around a token lies in directions along which its
        states vary thousands of times less than along others, and gradient descent hardly moves along those.
        The convolution is therefore trained on whitened states. Its product with the matrix is a convolution
        of the published shape again: `merge_whitening`. (Our own.)
        """
        self.whitening = torch.eye(self.width)

    @torch.no_grad()
    def merge_whitening(self) -> None:
        """Put the matrix into the convolution's weights, in place: the same function, published shape."""
        self.conv1d.weight.copy_(self._kernel())
        self.whitening = None

    def _kernel(self) -> Tensor:
        """Return the convolution's weights as they act on the normalised states, [H, D, K]."""
        if self.whitening is None:
            return self.conv1d.weight
        with torch.autocast(self.whitening.device.type, enabled=False):
            return torch.einsum("hek,ed->hdk", self.conv1d.weight, self.whitening)

    @torch.no_grad()
    def calibrate(self, states: Tensor) -> None:
        """Set scale and bias of the untrained LayerNorm so that each channel has mean 0 and spread 1.

        The states of a trained language model are nearly constant: what tells bases apart is a small part of
        them, and a head whose LayerNorm starts with scale 1 is slow to find it. The architecture is the
        published one; this is another start. (Our own.) After `add_whitening` its matrix is set too.

        Args:
            states: float, [B, L, D], of training windows without padding.
        """
        plain = F.layer_norm(
            states.float().flatten(0, 1), (self.width,), eps=self.layer_norm.eps
        )  # [B * L, D]
        spread, mean = torch.std_mean(plain, dim=0)
        spread = spread.clamp(min=LEAST_SPREAD * float(spread.median()) + 1e-6)
        self.layer_norm.weight.copy_(1.0 / spread)
        self.layer_norm.bias.copy_(-mean / spread)
        if self.whitening is not None:
            covariance = torch.cov(((plain - mean) / spread).double().T)  # [D, D]
            variance, directions = torch.linalg.eigh(covariance)
            scale = (variance.clamp(min=0.0) + LEAST_VARIANCE * variance.mean()).rsqrt()
            self.whitening.copy_(directions * scale @ directions.T)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Map states to one score per base.

        Args:
            states: float, [B, L, D].
            real: bool, [B, L]; True at a base, False at padding.

        Returns:
            float, [B, L]; exactly 0 at padding.

        Raises:
            InputError: if `states` is not [B, L, D], or `real` is not its [B, L].
        """
        if states.ndim != 3 or states.shape[-1] != self.width:
            raise InputError(f"states must be [B, L, {self.width}], got {list(states.shape)}")
        if real.shape != states.shape[:2]:
            raise InputError(f"real must be {list(states.shape[:2])}, got {list(real.shape)}")
        x = self._convolved(states, real)  # [B, L, H]
        x = dropout(F.gelu(x), self.config.head_dropout if self.training else 0.0)
        scores: Tensor = self.fc(x).squeeze(-1)  # [B, L]
        return scores.masked_fill(~real, 0.0)

    def _convolved(self, states: Tensor, real: Tensor) -> Tensor:
        """Map states [B, L, D] through LayerNorm and convolution to [B, L, H]."""
        scale, shift, kernel = self.layer_norm.weight, self.layer_norm.bias, self._kernel()
        # States that nothing is learned through need no gradient: a third of the convolution's work. That of
        # LayerNorm's scale and shift is then taken where they meet the convolution's weights, below.
        kept = torch.is_grad_enabled() and not states.requires_grad and bool(scale.all())
        # Filled before and after the norm: NaN at padding would spread, and the norm's bias would leak into
        # the bases beside it, where the convolution pads with zeros.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not kept):
            x = silenced(self.layer_norm(silenced(states, real)), real)  # [B, L, D]
        if not kept:
            return convolve(x, kernel, self.conv1d.bias)
        ratio = scale / scale.detach()  # 1, and what it stands before is not differentiated: [D]
        out = convolve(x, kernel * ratio[:, None], self.conv1d.bias)
        moved = torch.einsum("hdk,d->hk", kernel, shift - shift.detach() * ratio)  # 0 in value
        return out + convolve(real.to(moved.dtype).unsqueeze(2), moved.unsqueeze(1), None)


class Side(NamedTuple):
    """What a head needs of genes or of molecules, whatever they are paired with."""

    states: Tensor
    """float, [N, S, W]; 0 at padding."""
    real: Tensor
    """bool, [N, S]."""

    def take(self, rows: Tensor) -> "Side":
        """Return those of `rows`, int64 [B], in their order."""
        return Side(self.states.index_select(0, rows), self.real.index_select(0, rows))


def mean_of(states: Tensor, real: Tensor) -> Tensor:
    """Return the mean of the real states, [N, D], of states [N, S, D]; 0 where none is real."""
    total = silenced(states, real).sum(1)
    mean: Tensor = total / real.sum(1, keepdim=True).clamp(min=1)
    return mean


def check_states(states: Tensor, real: Tensor, width: int) -> None:
    """Check what a head is given.

    Raises:
        InputError: if `states` is not [N, S, width], or `real` is not its [N, S].
    """
    if states.ndim != 3 or states.shape[-1] != width:
        raise InputError(f"states must be [B, S, {width}], got {list(states.shape)}")
    if real.shape != states.shape[:2]:
        raise InputError(f"real must be {list(states.shape[:2])}, got {list(real.shape)}")


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
        wrong += check_fractions(self, "head_dropout")
        if wrong:
            raise InputError("; ".join(wrong))


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
            InputError: if `states` is not [N, S, D], or `real` is not its [N, S].
        """
        check_states(states, real, self.gene_width)
        return _alone(self.gene_pooling(states, real))

    def molecule_side(self, states: Tensor, real: Tensor) -> Side:
        """Map the states of molecules [N, S, D] and their mask [N, S] to one vector each, as of genes.

        Raises:
            InputError: if `states` is not [N, S, D], or `real` is not its [N, S].
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
