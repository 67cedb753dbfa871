"""What several encoders and heads use: checks of their input, padding, rotary positions.

Shapes: B sequences; L tokens of each; D width of the states; K width of an attention head, even.
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dnalm.errors import InputError

Angles = tuple[Tensor, Tensor]  # Cosines and sines of rotary positions, each [L, K/2]


class Encoder(nn.Module):
    """What a head expects of an encoder: `forward(tokens, real)` maps tokens to states.

    Tokens are integers, [B, L], anything at padding; `real`, bool [B, L], is False at padding. States are
    float, [B, S, D], exactly 0 at padding; S is L unless `state_mask` has another. InputError if not so.
    """

    width: int  # D, the width of its states
    depth = 0  # Layers whose states it can return too, the embedding aside; see `GPT.forward`
    causal = False  # Whether a state depends only on its own token and those on its left: reports say so
    mask_token: int | None = None  # The token that stands for a masked one, where it was trained with it
    left_out = ""  # What its file holds beside it, such as the head of another task, in words

    def state_mask(self, real: Tensor) -> Tensor:
        """Return which states are real, bool [B, S], of the mask [B, L] of tokens."""
        return real


class SpeciesToken(nn.Module):
    """A vector for each genome that a model was trained on, added to the embedding of every token.

    Row 0 is for any other genome. All are 0 at first: an untrained model is the same with them and without.
    `row` is the one where a call names none.
    """

    def __init__(self, names: str, width: int) -> None:
        super().__init__()
        self.names, self.row = ["unknown", *names.split(",")], 0
        self.weight = nn.Parameter(torch.zeros(len(self.names), width))

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return embeddings x, [B, L, D], with the vector of each sequence, rows [B], added."""
        return x + (self.weight[self.row] if rows is None else self.weight[rows.long(), None])


class Model(nn.Module):
    """An encoder with its head."""

    @property
    def parameter_count(self) -> int:
        """All parameters, tied ones once; those of LoRA too until they are merged."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def trained_count(self) -> int:
        """Parameters that training changes."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def check_tokens(tokens: Tensor, real: Tensor, longest: int | None = None) -> None:
    """Raise InputError if `tokens` is not [B, L] with L at most `longest`, or `real` has another shape."""
    if tokens.ndim != 2 or real.shape != tokens.shape:
        raise InputError(f"tokens and real must be [B, L], got {list(tokens.shape)}, {list(real.shape)}")
    if longest is not None and tokens.shape[1] > longest:
        raise InputError(f"sequences must have at most {longest} tokens, got {tokens.shape[1]}")


def check_states(states: Tensor, real: Tensor, width: int) -> None:
    """Raise InputError if `states` is not [B, L, width], or `real` is not its [B, L]."""
    if states.ndim != 3 or states.shape[-1] != width or real.shape != states.shape[:2]:
        got = f"{list(states.shape)}, {list(real.shape)}"
        raise InputError(f"states must be [B, L, {width}] and real [B, L], got {got}")


def check_padding_on_right(real: Tensor) -> None:
    """Raise InputError if padding, where `real` [B, L] is False, precedes a token."""
    if (real[:, 1:] & ~real[:, :-1]).any():
        raise InputError("padding must follow the tokens, got some before a token")


def run_layer(layer: nn.Module, *inputs: Any, recompute: bool) -> Tensor:
    """Return a layer's output; `recompute`: store its input alone, and compute it again for gradients."""
    recompute = recompute and torch.is_grad_enabled()
    out: Tensor = checkpoint(layer, *inputs, use_reentrant=False) if recompute else layer(*inputs)
    return out


def run_layers(
    x: Tensor,
    blocks: nn.ModuleList,
    norm: nn.Module,
    real: Tensor,
    *inputs: Any,
    layers: Collection[int] | None,
    recompute: bool,
) -> Tensor:
    """Return `norm` of the states after all blocks, [B, L, D], 0 where `real` [B, L] is False.

    Or the states of each of `layers` in turn, [B, L, layers D]: 0 is `x` [B, L, D], the number of blocks the
    last. `inputs` go to each block beside the states; `recompute` as of `run_layer`.
    """
    last = len(blocks)
    wanted = {last} if layers is None else set(layers)
    found: list[Tensor] = []
    for number, block in enumerate(blocks):
        if number in wanted:
            found.append(x)
        x = run_layer(block, x, *inputs, recompute=recompute)
    if last in wanted:
        found.append(norm(x))
    return mask_padding(found[0] if len(found) == 1 else torch.cat(found, dim=-1), real)


def mask_padding(states: Tensor, real: Tensor) -> Tensor:
    """Return states [B, L, D], exactly 0 where `real` [B, L] is False, whatever they are there."""
    return states.masked_fill(~real.unsqueeze(-1), 0.0)


def masked_mean(states: Tensor, real: Tensor) -> Tensor:
    """Return the mean of the real states, [B, D], of states [B, L, D]; 0 where none is real."""
    mean: Tensor = mask_padding(states, real).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
    return mean


def rotary_speeds(width: int) -> Tensor:
    """Return the angle between neighbouring positions of each pair of values, in radians, float64, [K/2]."""
    exponents = -torch.arange(0, width, 2, dtype=torch.float64) / width
    return torch.tensor(10_000.0, dtype=torch.float64) ** exponents


def rotary_angles(length: int, width: int) -> Angles:
    """Return cosines and sines of rotary positions, each [L, K/2] (Su et al. 2021, RoFormer, section 3.4)."""
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rotary_speeds(width)  # [L, K/2]
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate each pair (x[i], x[i + K/2]) of x [..., L, K] by its position's angle; angles are [L, K/2]."""
    near = torch.cat([cosines, cosines], dim=-1).to(x.dtype)  # [L, K]
    across = torch.cat([-sines, sines], dim=-1).to(x.dtype)
    return x * near + x.roll(x.shape[-1] // 2, dims=-1) * across
