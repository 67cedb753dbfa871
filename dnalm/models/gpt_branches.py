"""Sequences that share their beginning with a reference, read by a GPT from where they branch off.

Left of a variant a causal model computes the same for both alleles: keys and values of the reference serve
all of its alternatives.

Shapes: R references of L tokens; A alternatives of T tokens; V tokens in the vocabulary; D width of the
states; H heads; K width of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dnalm.models.gpt import GPT, Block, SelfAttention
from dnalm.models.language import LanguageModel
from dnalm.models.layers import Angles, rotate


def branch_logits(
    model: LanguageModel, references: Tensor, alternatives: Tensor, of: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the logits of the next token of references, [R, L, V], and of alternatives, [A, T, V].

    Alternative a is the first `start[a]` tokens of reference `of[a]`, followed by `alternatives[a]`. Padding,
    any tokens on the right, is read by nothing else; its logits mean nothing.

    Args:
        model: causal.
        references: integers, [R, L], L at most the model's block.
        alternatives: integers, [A, T], each with its start at most the block, but for padding.
        of: index of the reference, [A].
        start: tokens that are shared, 0 to L, [A].
    """
    core, length = model.transformer, references.shape[1]
    assert isinstance(core, GPT)
    steps = torch.arange(alternatives.shape[1], device=start.device)
    position = (start[:, None] + steps).clamp(max=core.config.block_size - 1)  # [A, T]
    x, y = core.wte(references.long()), core.wte(alternatives.long())
    if core.species is not None:
        x, y = core.species(x), core.species(y)
    x_angles: Angles | None = None
    y_angles: Angles | None = None
    if core.config.position == "learned":
        x, y = x + core.wpe.weight[:length], y + core.wpe(position)
    else:
        cosines, sines = core.cosines, core.sines
        assert isinstance(cosines, Tensor)
        assert isinstance(sines, Tensor)
        x_angles = (cosines[:length], sines[:length])
        y_angles = (cosines[position][:, None], sines[position][:, None])  # [A, 1, T, K/2]
    longest = int(start.max())
    shared = (torch.arange(longest, device=start.device) < start[:, None])[:, None].expand(-1, len(steps), -1)
    own = (steps[:, None] >= steps).expand(len(start), -1, -1)
    mask = torch.cat([shared, own], dim=2)[:, None]  # [A, 1, T, longest + T]
    for block in core.h:
        assert isinstance(block, Block)
        attention = block.attn
        query, key, value = _heads(attention, block.ln_1(x), x_angles)
        x = x + _merged(attention, F.scaled_dot_product_attention(query, key, value, is_causal=True))
        x = x + block.mlp(block.ln_2(x))
        query, own_key, own_value = _heads(attention, block.ln_1(y), y_angles)
        keys = torch.cat([key[of, :, :longest], own_key], dim=2)  # [A, H, longest + T, K]
        values = torch.cat([value[of, :, :longest], own_value], dim=2)
        y = y + _merged(attention, F.scaled_dot_product_attention(query, keys, values, attn_mask=mask))
        y = y + block.mlp(block.ln_2(y))
    return model.lm_head(core.ln_f(x)), model.lm_head(core.ln_f(y))


def _heads(attention: SelfAttention, x: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value, each [B, H, L, K], of x [B, L, D]."""
    size, length, width = x.shape
    joint = attention.c_attn(x).view(size, length, 3, attention.heads, width // attention.heads)
    query, key, value = joint.permute(2, 0, 3, 1, 4)
    if angles is not None:
        query, key = rotate(query, *angles), rotate(key, *angles)
    return query, key, value


def _merged(attention: SelfAttention, mixed: Tensor) -> Tensor:
    """Return what attention adds to the states, [B, L, D], of its heads' values [B, H, L, K]."""
    size, heads, length, width = mixed.shape
    out: Tensor = attention.c_proj(mixed.transpose(1, 2).reshape(size, length, heads * width))
    return out
