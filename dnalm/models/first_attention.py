"""Attention in the first block of a model with few tokens in its vocabulary: counted, not multiplied out.

There the query, key and value of a token depend on nothing but which token it is. With rotary positions, how
much a query heeds a key then depends on nothing but which tokens both are and how far apart: V x V x L
numbers a head tell all. What the queries find among all keys of one token is a product of that token's places
(0 or 1, [B, L]) with a matrix that has one number along each diagonal. For A C G T this is a tenth of what
multiplying queries with keys takes. (Our own.)

Shapes used below
    B  sequences in the batch        L  tokens per sequence
    H  attention heads               K  width of one head
    V  tokens in the vocabulary, as query (Q) or as key (C)
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dnalm.models.combination import Combination
from dnalm.models.layers import LONGEST_PRODUCT, Angles, rotate

MOST_TOKENS = 5
"""In a vocabulary: the work grows with its square."""
LARGEST_GAP = 60.0
"""Nats by which a token may heed itself less than what it heeds most: exp of minus that is far above the
smallest number. Beyond, the sums could be 0."""


def few_tokens(table: Tensor, tokens: Tensor) -> bool:
    """Tell whether attention is best counted, to rows of `table`, [V, D], that tokens, [B, L], name."""
    here = table.device.type == "cpu" and not torch.compiler.is_compiling()
    return here and len(table) <= MOST_TOKENS and tokens.shape[1] <= LONGEST_PRODUCT


def counted_attention(joint: Tensor, tokens: Tensor, heads: int, angles: Angles) -> Combination | None:
    """Attend from each token to itself and to all on its left, as `causal_attention` of looked-up rows.

    Args:
        joint: [V, 3 D], the queries, keys and values of each token of the vocabulary, all heads.
        tokens: int64, [B, L].
        heads: H.
        angles: by which queries and keys are turned.

    Returns:
        [B, L, D], as combinations of the values of each token of the vocabulary, H V rows, with coefficients
        in float32 or wider; None where weights differ too much for it to be safe.
    """
    with torch.autocast("cpu", enabled=False):
        wide = torch.promote_types(joint.dtype, torch.float32)
        query, key, value = joint.to(wide).view(len(joint), 3, heads, -1).unbind(1)  # [V, H, K]
        turned = rotate(query.unsqueeze(2).expand(-1, -1, tokens.shape[1], -1), *angles)  # [Q, H, L, K]
        scores = torch.einsum("qhlk,chk->hqcl", turned, key) * query.shape[-1] ** -0.5  # by distance
        most = scores.detach().amax(dim=(2, 3), keepdim=True)  # [H, Q, 1, 1]
        itself = scores.detach()[..., 0].diagonal(dim1=1, dim2=2)  # [H, Q]
        if not float((most[:, :, 0, 0] - itself).max()) <= LARGEST_GAP:
            return None
        weights = (scores - most).exp().to(joint.dtype)  # [H, Q, C, L]
        found: Tensor = _Sums.apply(weights, tokens)  # type: ignore[no-untyped-call]
        shares = found.to(wide) / found.to(wide).sum(dim=-1, keepdim=True)  # [B, L, H, C]
        by_head = torch.block_diag(*value.transpose(0, 1))  # type: ignore[no-untyped-call]
        return Combination(shares.flatten(2), by_head.to(joint.dtype))  # [B, L, H C] of [H C, D]


class _Sums(torch.autograd.Function):
    """Sums of weights over the places of each token on the left: [H, Q, C, L] by distance to [B, L, H, C]."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, tokens: Tensor) -> Tensor:
        heads, count, _, length = weights.shape
        batch = len(tokens)
        padded = torch.cat([weights.new_zeros(heads, count, count, length - 1), weights], dim=-1)
        by_diagonal = padded.unfold(-1, length, 1)  # [H, Q, C, L, L]: at [i, L - 1 - j] that of i - j
        places = _places(tokens, count, weights.dtype)
        which = tokens[:, None, None].expand(batch, heads, 1, length)
        out = weights.new_empty(batch, length, heads, count)
        for key in range(count):
            sums = places[key] @ by_diagonal[:, :, key].reshape(-1, length).T  # [B, H Q L]
            own = sums.view(batch, heads, count, length).gather(2, which)  # of the token that asks
            out[..., key] = own[:, :, 0].transpose(1, 2)
        ctx.save_for_backward(tokens)
        ctx.shape = weights.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (tokens,) = ctx.saved_tensors
        heads, count, _, length = ctx.shape
        batch = len(tokens)
        places = _places(tokens, count, gradient.dtype)
        which = tokens[:, None, None].expand(batch, heads, 1, length)
        found = gradient.new_empty(ctx.shape)
        for key in range(count):
            of_sums = gradient.new_zeros(batch, heads, count, length)
            of_sums.scatter_(2, which, gradient[..., key].transpose(1, 2).unsqueeze(2))
            each = of_sums.view(batch, -1).T @ places[key]  # [H Q L, L]
            found[:, :, key] = _diagonals(each.view(heads * count, length, length)).view(heads, count, length)
        return found, None


def _places(tokens: Tensor, count: int, dtype: torch.dtype) -> list[Tensor]:
    """Return for each token of the vocabulary where it stands, last place first: 0 or 1, [B, L]."""
    backwards = tokens.flip(1)
    return [(backwards == token).to(dtype) for token in range(count)]


def _diagonals(each: Tensor) -> Tensor:
    """Return the sums of [N, L, L] over where [i, L - 1 - j] has i - j = 0, 1, ... L - 1: [N, L]."""
    number, length, _ = each.shape
    skewed = torch.nn.functional.pad(each, (0, length)).view(number, -1)[:, : length * (2 * length - 1)]
    return skewed.view(number, length, 2 * length - 1).sum(dim=1)[:, length - 1 :]
