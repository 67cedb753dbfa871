"""What more than one encoder uses: checks of its input, dropout, causal attention, rotary positions.

Shapes used below
    B  sequences in the batch        L  tokens per sequence
    H  attention heads               K  width of one head (even, where rotary positions are used)
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST_PRODUCT = 1024
"""Tokens up to which a training step on a CPU multiplies out the whole [L, L] attention matrix."""


def check_tokens(tokens: Tensor, real: Tensor) -> None:
    """Check what an encoder is given.

    Raises:
        ValueError: if `tokens` is not [B, L], or `real` has another shape.
    """
    if tokens.ndim != 2 or real.shape != tokens.shape:
        raise ValueError(f"tokens and real must be [B, L], got {list(tokens.shape)}, {list(real.shape)}")


def dropout(x: Tensor, rate: float) -> Tensor:
    """Zero each value with probability `rate`, and scale the others by 1 / (1 - rate).

    On a CPU in bf16 the mask is made of 16-bit random integers by integer arithmetic, which was measured four
    times faster than `F.dropout`; the rate is then exact to 1 part in 32,768.
    """
    if rate == 0.0:
        return x
    if x.device.type != "cpu" or x.dtype != torch.bfloat16:
        return F.dropout(x, rate)
    return x * _bf16_mask(x.numel(), rate).view(x.shape)


def _bf16_mask(size: int, rate: float) -> Tensor:
    """Return 0 with probability `rate` and else 1 / (1 - rate), bf16, [size]."""
    words = torch.empty((size + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[:size]
    kept = int(torch.tensor(1.0 / (1.0 - rate), dtype=torch.bfloat16).view(torch.int16))
    # Of 2^15 equally likely values those below `first` are dropped: first - 1 - value is negative when kept,
    # and the shift by 15 spreads its sign over all 16 bits.
    first = -(2**14) + round(rate * 2**15)
    bits.bitwise_right_shift_(1).neg_().add_(first - 1).bitwise_right_shift_(15).bitwise_and_(kept)
    return bits.view(torch.bfloat16)


def causal_attention(query: Tensor, key: Tensor, value: Tensor, rate: float = 0.0) -> Tensor:
    """Attend from each token to itself and to all on its left.

    Two ways to the same numbers: PyTorch's fused kernel, and plain matrix products where they were measured
    faster (training on a CPU, at lengths whose [L, L] matrix is small).

    Args:
        query: [B, H, L, K].
        key: [B, H, L, K].
        value: [B, H, L, K].
        rate: dropout of the attention weights; 0 outside training.

    Returns:
        [B, H, L, K].
    """
    length = query.shape[-2]
    if query.device.type != "cpu" or not torch.is_grad_enabled() or length > LONGEST_PRODUCT:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=True)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [B, H, L, L]
    future = torch.full((length, length), float("-inf"), dtype=scores.dtype).triu(1)
    weights = torch.softmax(scores + future, dim=-1, dtype=scores.dtype)
    return dropout(weights, rate) @ value


def rotary_speeds(width: int, base: float = 10_000.0) -> Tensor:
    """Return by how much a token's place turns each pair of a head, radians a token, float64, [K/2]."""
    return torch.tensor(base, dtype=torch.float64) ** (
        -torch.arange(0, width, 2, dtype=torch.float64) / width
    )


def rotary_angles(length: int, width: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of rotary positions, each [L, K/2] (Su et al. 2021, RoFormer, section 3.4)."""
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rotary_speeds(width)  # [L, K/2]
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + K/2]) by its position's angle.

    Args:
        x: [..., L, K].
        cosines: [L, K/2].
        sines: [L, K/2].
    """
    cosines, sines = cosines.to(x.dtype), sines.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)
