"""What encoders use: checks of their input, embedding, dropout, causal attention, rotary positions.

Shapes used below
    B  sequences in the batch        L  tokens per sequence
    H  attention heads               K  width of one head (even, where rotary positions are used)
    D  H K, width of the states      E  tokens up to the end of a block of queries
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from dnalm.errors import InputError

Angles = tuple[Tensor, Tensor]
"""Cosines and sines of rotary positions, each [L, K/2]."""

LONGEST_PRODUCT = 1024
"""Tokens up to which a training step on a CPU multiplies out the whole [L, L] attention matrix."""
QUERY_BLOCKS = 3
"""Parts of the queries, each with the keys up to its own end: a third of the [L, L] matrix is never made."""


def check_tokens(tokens: Tensor, real: Tensor) -> None:
    """Check what an encoder is given.

    Raises:
        InputError: if `tokens` is not [B, L], or `real` has another shape.
    """
    if tokens.ndim != 2 or real.shape != tokens.shape:
        raise InputError(f"tokens and real must be [B, L], got {list(tokens.shape)}, {list(real.shape)}")


def look_up(table: Tensor, tokens: Tensor) -> Tensor:
    """Return the rows of `table`, [V, D], that tokens [B, L] name, [B, L, D].

    The gradient is a product: PyTorch's own adds row by row, slow where a few rows take all tokens, in the
    precision of the table, and on CUDA in an order that differs between runs.
    """
    found: Tensor = _LookUp.apply(table, tokens)  # type: ignore[no-untyped-call]
    return found


class _LookUp(torch.autograd.Function):
    """An embedding whose gradient is a product with one-hot tokens."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, tokens: Tensor) -> Tensor:
        ctx.save_for_backward(tokens)
        ctx.rows = table.shape[0]
        return F.embedding(tokens, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (tokens,) = ctx.saved_tensors
        which = torch.arange(ctx.rows, device=tokens.device)[:, None] == tokens.flatten()  # [V, B L]
        return which.to(gradient.dtype) @ gradient.flatten(0, 1), None


def silenced(states: Tensor, real: Tensor) -> Tensor:
    """Return states [B, L, D], exactly 0 where `real`, [B, L], is False; not copied in vain on a CPU."""
    if states.device.type == "cpu" and not torch.compiler.is_compiling() and bool(real.all()):
        return states
    return states.masked_fill(~real.unsqueeze(-1), 0.0)


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


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve along the sequence, which has zeros beyond its ends.

    On a CPU as an image one pixel high, its channels last, as states are: `F.conv1d` would copy them into
    another layout and back, and was measured 1.2 times slower.

    Args:
        x: [B, L, D].
        weight: [N, D, W] of N channels, W odd.
        bias: [N].

    Returns:
        [B, L, N].
    """
    if x.device.type != "cpu":
        return F.conv1d(x.transpose(1, 2), weight, bias, padding="same").transpose(1, 2)
    image = x.transpose(1, 2).unsqueeze(2)  # [B, D, 1, L]
    out = F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, weight.shape[2] // 2))
    return out.squeeze(2).transpose(1, 2)


def causal_attention(joint: Tensor, heads: int, angles: Angles | None, rate: float = 0.0) -> Tensor:
    """Attend from each token to itself and to all on its left.

    Three ways to the same numbers: PyTorch's fused kernel; in training on a CPU, where its backward pass was
    measured slow, at lengths whose [L, L] matrix is small, batched products with a backward pass of our own;
    and with dropout the same products through autograd.

    Args:
        joint: [B, L, 3 D], the queries, keys and values of all heads.
        heads: H.
        angles: by which queries and keys are turned; None for no rotary positions.
        rate: dropout of the attention weights; 0 outside training.

    Returns:
        [B, L, D].
    """
    size, length, width = joint.shape[0], joint.shape[1], joint.shape[2] // 3
    products = joint.device.type == "cpu" and torch.is_grad_enabled() and length <= LONGEST_PRODUCT
    products = products and not torch.compiler.is_compiling()
    mixed: Tensor
    if products and rate == 0.0:
        mixed = _CausalProducts.apply(joint, heads, angles)  # type: ignore[no-untyped-call]
        return mixed
    query, key, value = _by_head(joint, heads)
    if angles is not None:
        query, key = rotate(query, *angles), rotate(key, *angles)
    if products:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [B, H, L, L]
        future = torch.full((length, length), float("-inf"), dtype=scores.dtype).triu(1)
        weights = torch.softmax(scores + future, dim=-1, dtype=scores.dtype)
        out = dropout(weights, rate) @ value
    else:
        out = F.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=True)
    mixed = out.transpose(1, 2).reshape(size, length, width)
    return mixed


def _by_head(joint: Tensor, heads: int) -> Tensor:
    """View [B, L, 3 D] as queries, keys and values, [3, B, H, L, K]."""
    size, length, width = joint.shape
    return joint.view(size, length, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)


class _CausalProducts(torch.autograd.Function):
    """Causal attention by batched products, a block of queries at a time.

    Kept for the backward pass: turned queries (scaled), turned keys, values, and the weights of each block.
    """

    @staticmethod
    def forward(ctx: Any, joint: Tensor, heads: int, angles: Angles | None) -> Tensor:
        size, length, width = joint.shape[0], joint.shape[1], joint.shape[2] // 3
        flat = (size * heads, length, width // heads)  # [B H, L, K]
        by_head = _by_head(joint, heads)
        query, key, value = joint.new_empty(3, *flat)
        _turn(by_head[0], angles, query.view(by_head[0].shape), flat[-1] ** -0.5)
        _turn(by_head[1], angles, key.view(by_head[1].shape))
        value.view(by_head[2].shape).copy_(by_head[2])
        out = joint.new_empty(size, length, heads, flat[-1])
        mixed_by_head, weights = out.transpose(1, 2), []
        for begin, end in _blocks(length):
            # Slices are made contiguous: a product of others was measured slower than the copy.
            scores = query[:, begin:end].contiguous() @ key[:, :end].contiguous().transpose(1, 2)
            own = (end - begin, end - begin)
            scores[..., begin:] += torch.full(own, float("-inf"), dtype=scores.dtype).triu_(1)
            weights.append(torch.softmax(scores, dim=-1))  # [B H, E - begin, E]
            mixed = weights[-1] @ value[:, :end].contiguous()
            mixed_by_head[:, :, begin:end] = mixed.view(size, heads, end - begin, flat[-1])
        ctx.heads, ctx.turned = heads, angles is not None
        ctx.save_for_backward(query, key, value, *weights, *(angles or ()))
        return out.view(size, length, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        query, key, value, *rest = ctx.saved_tensors
        angles = (rest.pop(-2), rest.pop()) if ctx.turned else None
        size, length, width = gradient.shape
        by_head = gradient.view(size, length, ctx.heads, -1).transpose(1, 2)  # [B, H, L, K]
        of_query = torch.empty_like(query)
        of_key = of_value = torch.empty(0)
        # The last block first, whose keys are all: what it finds is what the others are added to.
        for (begin, end), weights in reversed(list(zip(_blocks(length), rest, strict=True))):
            of_mixed = by_head[:, :, begin:end].reshape(size * ctx.heads, end - begin, -1)
            of_weights = of_mixed @ value[:, :end].contiguous().transpose(1, 2)
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            of_query[:, begin:end] = of_scores @ key[:, :end].contiguous()
            add_key = of_scores.transpose(1, 2) @ query[:, begin:end].contiguous()
            add_value = weights.transpose(1, 2) @ of_mixed
            if end == length:
                of_key, of_value = add_key, add_value
            else:
                of_key[:, :end] += add_key
                of_value[:, :end] += add_value
        joint = gradient.new_empty(size, length, 3 * width)
        parts = _by_head(joint, ctx.heads)
        _turn(of_query.view(parts[0].shape), angles, parts[0], query.shape[-1] ** -0.5, back=True)
        _turn(of_key.view(parts[1].shape), angles, parts[1], back=True)
        parts[2].copy_(of_value.view(parts[2].shape))
        return joint, None, None


def _blocks(length: int) -> list[tuple[int, int]]:
    """Return begin and end of each block of queries; none is empty."""
    edges = [length * number // QUERY_BLOCKS for number in range(QUERY_BLOCKS + 1)]
    return [(begin, end) for begin, end in zip(edges[:-1], edges[1:], strict=True) if begin < end]


def _turn(x: Tensor, angles: Angles | None, out: Tensor, scale: float = 1.0, back: bool = False) -> None:
    """Do what `rotate` does to [..., L, K], in fewer passes, and multiply by `scale`; `out` takes it."""
    if angles is None:
        torch.mul(x, scale, out=out)
        return
    cosines, sines = angles
    near = (torch.cat([cosines, cosines], dim=-1) * scale).to(x.dtype)  # [L, K]
    across = (torch.cat([sines, -sines] if back else [-sines, sines], dim=-1) * scale).to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    torch.mul(x, near, out=out).addcmul_(torch.cat([second, first], dim=-1), across)


def rotary_speeds(width: int, base: float = 10_000.0) -> Tensor:
    """Return by how much a token's place turns each pair of a head, radians a token, float64, [K/2]."""
    return torch.tensor(base, dtype=torch.float64) ** (
        -torch.arange(0, width, 2, dtype=torch.float64) / width
    )


def rotary_angles(length: int, width: int) -> Angles:
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
