"""GeneCNN: the DNA side of the published gene-and-molecule model, three blocks of convolution and pooling.

Shapes: B sequences in the batch; L bases per sequence, the longest's; S states per sequence; D width of the
states; P bases of all sequences, concatenated with gaps; C channels of a block.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.dna import BASES, encode
from dnalm.models.layers import Encoder, check_padding_on_right, check_tokens, mask_padding

LETTERS = len(BASES) + 1  # A C G T, and N for every other letter
POOL = 2  # Positions that each block pools
MOMENTUM, EPS = 0.1, 1e-5  # Of batch normalisation, PyTorch's own


@dataclass(frozen=True)
class GeneCNNConfig:
    """The shape of a GeneCNN; the defaults are the published ones."""

    embedding: int = 128  # Width of a letter's vector
    channels: tuple[int, ...] = (64, 128, 256)  # Of each block; the last is the width of the states (D)
    kernels: tuple[int, ...] = (3, 5, 7)  # Of each block: odd, so that none is shifted
    dropout: float = 0.3  # Dropout rate at the end of each block


def letter_codes(sequence: str, longest: int) -> npt.NDArray[np.int16]:
    """Return codes of a gene's first `longest` letters: 0 to 3 for A C G T in either case, 4 for others."""
    return np.minimum(encode(sequence[:longest]), len(BASES)).astype(np.int16)


class NormReluPool(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015), ReLU and max pooling over real positions only.

    Without padding it is `nn.BatchNorm1d`, `nn.ReLU` and `nn.MaxPool1d(2)`.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Map [C, P] and its mask, bool [P], to [C, P / 2]: exactly 0 where both of a pair are padding."""
        mask = real.to(self.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):  # sums over many values need full precision
            values, count = x.to(mask.dtype), mask.sum().clamp(min=1.0)
            mean = values @ mask / count if self.training else self.running_mean
            centred = (values - mean[:, None]) * mask  # [C, P]
            variance = centred.square().sum(1) / count if self.training else self.running_var
            scale = self.weight * torch.rsqrt(variance + EPS)
            normed = centred * scale[:, None] + self.bias[:, None] * mask
            pooled = torch.maximum(normed[:, 0::POOL], normed[:, 1::POOL]).relu()
        if self.training:
            with torch.no_grad():  # the running variance is unbiased, as in PyTorch's layer
                self.running_mean.lerp_(mean, MOMENTUM)
                self.running_var.lerp_(variance * count / (count - 1.0).clamp(min=1.0), MOMENTUM)
        return pooled.to(x.dtype)


class GeneCNN(Encoder):
    """Letters' vectors; then three times convolution, batch normalisation, ReLU, max pooling, dropout.

    Each pooling halves the number of states, rounded up: after three, a state stands for 8 bases. Sequences
    of different lengths are concatenated, with gaps of zeros wider than any kernel reaches: no computation
    is spent on padding.

    With the published sizes it has 296,896 parameters: 640 of letters, 24,640 + 41,088 + 229,632 of
    convolutions, 896 of batch normalisations.
    """

    def __init__(self, config: GeneCNNConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.channels[-1]
        self.embedding = nn.Embedding(LETTERS, config.embedding)
        widths = (config.embedding, *config.channels[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, kernel, padding=kernel // 2)
            for before, after, kernel in zip(widths, config.channels, config.kernels, strict=True)
        )
        self.norms = nn.ModuleList(NormReluPool(channels) for channels in config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.stride = int(POOL ** len(config.channels))  # bases that a state stands for
        # Zeros after each sequence, so that no kernel of any block reaches two sequences.
        self._gap = max(kernel // 2 * int(POOL**block) for block, kernel in enumerate(config.kernels))

    def state_mask(self, real: Tensor) -> Tensor:
        """Return which states are real, bool [B, S]: those with a real base, of the mask [B, L] of bases."""
        padded = F.pad(real, (0, -real.shape[1] % self.stride))
        return padded.view(len(real), -1, self.stride).any(-1)

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map letter codes, 0 to 3 for A C G T and 4 for N, to L / 8 states; padding must be on the right."""
        check_tokens(tokens, real)
        check_padding_on_right(real)
        spans = (real.sum(1) + self._gap).add(self.stride - 1) // self.stride * self.stride  # [B]
        starts = spans.cumsum(0) - spans
        index = (starts[:, None] + torch.arange(tokens.shape[1], device=tokens.device))[real]
        size = int(spans.sum())
        x = self.embedding.weight.new_zeros(LETTERS, size)  # one-hot, [5, P]
        x[tokens[real].long(), index] = 1.0
        mask = torch.zeros(size, dtype=torch.bool, device=tokens.device)  # [P]
        mask[index] = True
        x = self._blocks(x, mask)  # [D, P / 8]
        mask = self.state_mask(real)  # [B, S]
        at = (starts // self.stride)[:, None] + torch.arange(mask.shape[1], device=tokens.device)
        states = x.T.index_select(0, at.masked_fill(~mask, 0).flatten()).view(*mask.shape, self.width)
        return mask_padding(states, mask)

    def _blocks(self, x: Tensor, real: Tensor) -> Tensor:
        """Map one-hot letters [5, P], 0 in the gaps, to [D, P / 8]; `real` is False in the gaps, [P]."""
        for block, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            assert isinstance(convolution, nn.Conv1d)
            weight = convolution.weight if block else self._first_kernel(convolution.weight)
            x = F.conv1d(x[None], weight, convolution.bias, padding=convolution.padding)[0]  # [C, P]
            x, real = norm(x, real), real.view(-1, POOL).any(-1)  # [C, P / 2], [P / 2]
            x = self.dropout(x)
        return x

    def _first_kernel(self, weight: Tensor) -> Tensor:
        """Return the first convolution as it acts on one-hot letters, [C, 5, K], from [C, 128, K].

        A convolution of the letters' vectors is one of the one-hot letters, 25 times cheaper.
        """
        with torch.autocast(weight.device.type, enabled=False):
            return torch.einsum("cdk,vd->cvk", weight, self.embedding.weight)
