"""Regression head: states in, one score per base out (the published `ImprovedRegressionHead`).

Shapes used below
    B  windows in the batch          L  bases per window
    D  width of the states           H  channels of the convolution
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.config import no_shares
from dnalm.layers import convolve, dropout, silenced

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
        wrong += no_shares(self, "head_dropout")
        if wrong:
            raise ValueError("; ".join(wrong))


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
            ValueError: if `states` is not [B, L, D], or `real` is not its [B, L].
        """
        if states.ndim != 3 or states.shape[-1] != self.width:
            raise ValueError(f"states must be [B, L, {self.width}], got {list(states.shape)}")
        if real.shape != states.shape[:2]:
            raise ValueError(f"real must be {list(states.shape[:2])}, got {list(real.shape)}")
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
