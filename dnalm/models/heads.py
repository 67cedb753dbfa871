"""Heads: states of an encoder in, predictions out.

`RegressionHead` gives a score per base (the published `ImprovedRegressionHead`), `PairHead` a logit per pair
of a gene and a molecule (the published classifier).

Shapes: B sequences in the batch, or pairs; L tokens per sequence; N genes or molecules; S states of one of
them, the most; D width of the states; H channels of the convolution; K bases under its kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.config import check_fractions, check_minimum, check_odd, refuse
from dnalm.models.layer_mix import LayerMix
from dnalm.models.layers import check_states, mask_padding, masked_mean

MIN_SPREAD = 0.1
"""Lower bound of a channel's spread in `mean_and_spread`, relative to the median: less may be rounding."""
MIN_VARIANCE = 1e-3
"""Added in whitening to the variance of each direction, relative to their mean: less is mostly rounding."""


@dataclass(frozen=True)
class RegressionHeadConfig:
    """The shape of a regression head; the width of the states comes with the encoder."""

    channels: int = 128  # Channels of the convolution (H)
    kernel: int = 11  # Bases under the convolution's kernel (K): odd, so that scores line up with bases
    head_dropout: float = 0.2  # Dropout rate before the last layer

    def __post_init__(self) -> None:
        wrong = check_minimum(self, channels=1) + check_odd(self, "kernel")
        refuse(wrong + check_fractions(self, "head_dropout"))


class RegressionHead(nn.Module):
    """LayerNorm, convolution, exact GELU, dropout, linear layer; a mix of layers before them, if it is given.

    With the published sizes it has 541,697 parameters on states of width 384, and 180,737 on width 128.
    """

    whitening: Tensor | None

    def __init__(self, width: int, config: RegressionHeadConfig, mix: LayerMix | None = None) -> None:
        super().__init__()
        self.config, self.width, self.mix = config, width, mix
        self.layer_norm = nn.LayerNorm(width)
        self.conv1d = nn.Conv1d(width, config.channels, config.kernel, padding="same")
        self.dropout = nn.Dropout(config.head_dropout)
        self.fc = nn.Linear(config.channels, 1)
        self.register_buffer("whitening", None)

    def add_whitening(self) -> None:
        """Train on states multiplied by a fixed matrix [D, D], set by `calibrate`, until `merge_whitening`.

        States of a language model vary thousands of times less along some directions than along others, and
        gradient descent hardly moves along those, although they carry information. The convolution is
        therefore trained on whitened states; its product with the matrix is a convolution of the published
        shape again. (Our own.)
        """
        self.whitening = torch.eye(self.width)

    @torch.no_grad()
    def merge_whitening(self) -> None:
        """Multiply the matrix into the convolution's weights, in place: the same function."""
        self.conv1d.weight.copy_(self._kernel())
        self.whitening = None

    def _kernel(self) -> Tensor:
        """Return the convolution's weights as they act on the normalised states, [H, D, K]."""
        if self.whitening is None:
            return self.conv1d.weight
        with torch.autocast(self.whitening.device.type, enabled=False):
            return torch.einsum("hek,ed->hdk", self.conv1d.weight, self.whitening)

    def mixed(self, states: Tensor) -> Tensor:
        """Mix states of all layers, [B, L, N D], into [B, L, D]; without a mix return them as they are."""
        if self.mix is None:
            return states
        mixed: Tensor = self.mix(states)
        return mixed

    @torch.no_grad()
    def calibrate(self, states: Tensor) -> None:
        """Set scale and bias of the untrained LayerNorm so that each channel has mean 0 and spread 1.

        Mixed states of a trained language model, [B, L, D] of training windows without padding, are nearly
        constant: what distinguishes bases is a small part of them, which a head whose LayerNorm starts with
        scale 1 is slow to find. (Our own.) After `add_whitening` its matrix is set too.
        """
        normed = F.layer_norm(states.float(), (self.width,), eps=self.layer_norm.eps).flatten(0, 1)
        mean, spread = mean_and_spread(normed)
        self.layer_norm.weight.copy_(1.0 / spread)
        self.layer_norm.bias.copy_(-mean / spread)
        if self.whitening is not None:
            covariance = torch.cov(((normed - mean) / spread).double().T)  # [D, D]
            variance, directions = torch.linalg.eigh(covariance)
            scale = (variance.clamp(min=0.0) + MIN_VARIANCE * variance.mean()).rsqrt()
            self.whitening.copy_(directions * scale @ directions.T)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Map states, float [B, L, D], to a score per base, [B, L]; exactly 0 where `real` is False.

        With a mix the states are those of all layers, [B, L, N D].
        """
        check_states(states, real, self.width * (1 if self.mix is None else self.mix.layers))
        if self.mix is not None:
            states = self.mixed(mask_padding(states, real))
        # Masked before and after the norm: NaN at padding would spread, and the norm's bias would reach the
        # bases beside it.
        kernel, frozen = self._kernel(), not states.requires_grad
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            x = mask_padding(self.layer_norm(mask_padding(states, real)), real)  # [B, L, D]
        if frozen and torch.is_grad_enabled() and bool(self.layer_norm.weight.all()):
            x = self._convolve_frozen(x, real, kernel)
        else:
            x = _convolve(x, kernel, self.conv1d.bias)
        scores: Tensor = self.fc(self.dropout(F.gelu(x))).squeeze(-1)
        return scores.masked_fill(~real, 0.0)

    def _convolve_frozen(self, x: Tensor, real: Tensor, kernel: Tensor) -> Tensor:
        """Convolve normalised states that need no gradient: a third of the work less.

        LayerNorm's scale and bias get their gradients through the kernel: factors of 1 and terms of 0 in
        value stand for them.
        """
        scale, bias = self.layer_norm.weight, self.layer_norm.bias
        ratio = scale / scale.detach()  # 1, [D]
        moved = torch.einsum("hdk,d->hk", kernel, bias - bias.detach() * ratio)  # 0, [H, K]
        out = _convolve(x, kernel * ratio[:, None], self.conv1d.bias)
        return out + _convolve(real.to(moved.dtype).unsqueeze(2), moved.unsqueeze(1), None)


def mean_and_spread(states: Tensor, correction: int = 1) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, [D] each, of states [N, D].

    A channel that hardly varies is not scaled up; a single state has the spread 1.
    """
    spread, mean = torch.std_mean(states, dim=0, correction=correction)
    if len(states) < 2:
        spread = torch.ones_like(mean)
    return mean, spread.clamp(min=MIN_SPREAD * float(spread.median()) + 1e-6)


def _convolve(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Map [B, L, D] to [B, L, H] by kernels [H, D, K]."""
    return F.conv1d(x.transpose(1, 2), kernel, bias, padding="same").transpose(1, 2).contiguous()


class EncodedBatch(NamedTuple):
    """Encoded genes or molecules, to be paired."""

    states: Tensor  # float, [N, S, D]; 0 at padding
    real: Tensor  # bool, [N, S]

    def take(self, rows: Tensor) -> "EncodedBatch":
        """Return those of `rows`, int64 [B], in their order."""
        return EncodedBatch(self.states.index_select(0, rows), self.real.index_select(0, rows))

    def mean(self) -> "EncodedBatch":
        """Return one state of each: the mean, [N, 1, D]."""
        return EncodedBatch(masked_mean(self.states, self.real).unsqueeze(1), self.real.any(1, keepdim=True))


Side = Literal["gene", "molecule"]
Pooling = Literal["max", "attention", "mean"]


@dataclass(frozen=True)
class PairHeadConfig:
    """The shape of a pair head; the widths of the states come with the encoders."""

    gene_pooling: Pooling = "max"  # How the states of a gene become one vector
    molecule_pooling: Pooling = "attention"
    attention: int = 128  # Width of the hidden layer of `attention`
    head_dropout: float = 0.3  # Dropout rate after each of the classifier's first two layers


def max_pooling(states: Tensor, real: Tensor) -> Tensor:
    """Return the highest value of each channel, [N, D], of states [N, S, D]; 0 where no state is real."""
    highest = states.masked_fill(~real.unsqueeze(-1), float("-inf")).amax(1)
    return highest.masked_fill(~real.any(1, keepdim=True), 0.0)


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
        states = mask_padding(states, real)
        scores = self.score(torch.tanh(self.hidden(states))).squeeze(-1).float()  # [N, S]
        weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1)
        return torch.bmm(weights.to(states.dtype).unsqueeze(1), states).squeeze(1)


POOLINGS: dict[str, Callable[[int, PairHeadConfig], Callable[[Tensor, Tensor], Tensor]]] = {
    "max": lambda _width, _config: max_pooling,
    "attention": AttentionPooling,
    "mean": lambda _width, _config: masked_mean,
}


def hidden_layers(*widths: int, dropout: float) -> list[nn.Module]:
    """Return linear layers from each width to the next, with ReLU and dropout behind each."""
    return [
        layer
        for before, after in pairwise(widths)
        for layer in (nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout))
    ]


class PairHead(nn.Module):
    """Pooling on either side, then a classifier of both vectors: 256 and 128 with dropout, 64, and 1.

    On states of width 256 and 256 the classifier has 172,545 parameters: 131,328 + 32,896 + 8,256 + 65.
    """

    one_vector = True  # A side is one vector: cheap to store, however many there are

    def __init__(self, gene_width: int, molecule_width: int, config: PairHeadConfig) -> None:
        super().__init__()
        self.config, self.widths = config, {"gene": gene_width, "molecule": molecule_width}
        self.gene_pooling = POOLINGS[config.gene_pooling](gene_width, config)
        self.molecule_pooling = POOLINGS[config.molecule_pooling](molecule_width, config)
        self.classifier = nn.Sequential(
            *hidden_layers(gene_width + molecule_width, 256, 128, dropout=config.head_dropout),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, 1),
        )

    def encode(self, side: Side, states: Tensor, real: Tensor) -> EncodedBatch:
        """Pool the states of genes or molecules [N, S, D] with their mask [N, S] into [N, 1, D]."""
        check_states(states, real, self.widths[side])
        vectors = getattr(self, f"{side}_pooling")(states, real)
        return EncodedBatch(vectors.unsqueeze(1), torch.ones_like(vectors[:, :1], dtype=torch.bool))

    def forward(self, genes: EncodedBatch, molecules: EncodedBatch, gene: Tensor, molecule: Tensor) -> Tensor:
        """Return logits, [B], of pairs of the genes and molecules whose rows are given, int64 [B] each."""
        both = [genes.states[:, 0].index_select(0, gene), molecules.states[:, 0].index_select(0, molecule)]
        logits: Tensor = self.classifier(torch.cat(both, dim=-1)).squeeze(-1)
        return logits
