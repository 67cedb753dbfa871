"""Replacements of PyTorch functions on a CPU, each of which speeds up a model's training step 1.25 times.

`lstm` computes what `nn.LSTM` does. `python -m bench lstm` measures it beside PyTorch's own.

Shapes: B sequences in the batch; L steps per sequence, the longest's; I width of a layer's input; H cells of
one direction; P steps of all sequences, without padding: the first step of each, longest first, then the
second ....
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

DIRECTIONS = ("", "_reverse")
"""Suffixes of the names of `nn.LSTM`'s weights."""


def lstm(layers: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """Apply a bidirectional `nn.LSTM` to padded sequences; return [B, L, 2 H], 0 at padding.

    Padding is never computed. On a CPU by `_Recurrence`, which speeds up the training step of the published
    pair model 1.5 times.

    Args:
        layers: with `batch_first`, biases and no dropout.
        x: [B, L, I].
        lengths: steps of each sequence, at least 1, int64 [B] on the CPU.
    """
    if x.device.type == "cpu":
        return _lstm_on_cpu(layers, x, lengths)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layers(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class _Order(NamedTuple):
    """Where the steps of a padded batch are in the packed order."""

    packed: Tensor  # int64, [P]: index of each in the flattened [B * L]
    sizes: list[int]  # How many sequences have a first, second, ... step
    reverse: Tensor  # int64, [P]: for each step, the one as far from the other end of its sequence
    previous: Tensor  # int64, [P - B]: for each step but the first ones, the one before it


def _order(lengths: Tensor, longest: int) -> _Order:
    index = torch.arange(len(lengths) * longest).view(-1, longest, 1)
    packed = pack_padded_sequence(index, lengths, batch_first=True, enforce_sorted=False)
    at, sizes = packed.data.squeeze(1), packed.batch_sizes  # [P], [longest]
    row, time = at // longest, at % longest
    begins = sizes.cumsum(0) - sizes
    rank = torch.arange(len(at)) - begins[time]  # of the sequence, longest first
    reverse = begins[lengths[row] - 1 - time] + rank
    return _Order(at, sizes.tolist(), reverse, (begins[time - 1] + rank)[time > 0])


def _lstm_on_cpu(layers: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    batch, length, _ = x.shape
    order = _order(lengths, length)
    states = x.flatten(0, 1).index_select(0, order.packed)  # [P, I]
    for number in range(layers.num_layers):
        states = _layer(layers, number, states, order)  # [P, 2 H]
    flat = states.new_zeros(batch * length, states.shape[-1])
    return flat.index_copy(0, order.packed, states).view(batch, length, -1)


def _layer(layers: nn.LSTM, number: int, x: Tensor, order: _Order) -> Tensor:
    """Map a layer's packed input [P, I] to its output [P, 2 H]; both directions at once, one reversed."""
    of_input, of_state, bias, more_bias = (
        torch.stack([getattr(layers, f"{name}_l{number}{direction}") for direction in DIRECTIONS])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    both = torch.stack([x, x.index_select(0, order.reverse)])  # [2, P, I]
    gates = torch.baddbmm((bias + more_bias).unsqueeze(1), both, of_input.transpose(1, 2))  # [2, P, 4 H]
    states: Tensor = _Recurrence.apply(gates, of_state.to(gates.dtype), order.sizes, order.previous)  # type: ignore[no-untyped-call]
    return torch.cat([states[0], states[1].index_select(0, order.reverse)], dim=-1)


def _steps(x: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """Return views of [2, P, ..], one for the first steps of all sequences, one for the second ..."""
    return torch.split(x, sizes, dim=1)


class _Recurrence(torch.autograd.Function):
    """The sequential part of an LSTM layer, for two directions side by side.

    The formulas are those of `torch.nn.LSTM`, with gates in its order: in, forget, cell, out. The backward
    pass goes through time for the gates alone; the weights' gradient is one product over all steps.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, sizes: list[int], previous: Tensor) -> Tensor:
        """Map gates before their activation [2, P, 4 H], and weights [2, 4 H, H], to states [2, P, H]."""
        width = weight.shape[-1]
        active = torch.empty_like(gates)
        cells, squashed, states = (gates.new_empty(*gates.shape[:2], width) for _ in range(3))
        raw, out = _steps(gates, sizes), _steps(active, sizes)
        enter, forget, cell, leave = (_steps(part, sizes) for part in active.chunk(4, -1))
        at_cell, at_squashed, at_state = (_steps(x, sizes) for x in (cells, squashed, states))
        across = weight.transpose(1, 2)
        for time, size in enumerate(sizes):
            gate = raw[time]  # [2, size, 4 H]
            if time:
                gate = torch.baddbmm(gate, at_state[time - 1][:, :size], across)
            torch.sigmoid(gate, out=out[time])
            torch.tanh(gate[..., 2 * width : 3 * width], out=cell[time])
            torch.mul(enter[time], cell[time], out=at_cell[time])
            if time:
                at_cell[time].addcmul_(forget[time], at_cell[time - 1][:, :size])
            torch.tanh(at_cell[time], out=at_squashed[time])
            torch.mul(leave[time], at_squashed[time], out=at_state[time])
        ctx.save_for_backward(active, cells, squashed, states, weight, previous)
        ctx.sizes = sizes
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Map the gradient of the states [2, P, H] to those of gates and weights."""
        active, cells, squashed, states, weight, previous = ctx.saved_tensors
        sizes: list[int] = ctx.sizes
        enter, forget, cell, leave = active.chunk(4, -1)
        first = sizes[0]
        earlier = torch.zeros_like(cells)
        earlier[:, first:] = cells.index_select(1, previous)
        slopes = torch.stack(  # of the cell by three gates, [2, P, 3, H]
            [
                cell * enter * (1 - enter),
                earlier * forget * (1 - forget),
                enter * (1 - cell * cell),
            ],
            dim=2,
        )
        through_cell = leave * (1 - squashed * squashed)
        through_leave = squashed * leave * (1 - leave)
        gradients = torch.empty(*cells.shape[:2], 4, cells.shape[-1], dtype=cells.dtype)
        parts = (gradients.flatten(2), gradients[:, :, :3], gradients[:, :, 3])
        all_gates, three, last = (_steps(x, sizes) for x in parts)
        steps = zip(
            *(_steps(x, sizes) for x in (gradient.clone(), through_cell, through_leave, slopes, forget)),
            strict=True,
        )
        after, carried, size = None, torch.empty(0), 0  # gates' gradient, cells' and molecules one step on
        for time, (state, to_cell, to_leave, slope, kept) in reversed(list(enumerate(steps))):
            if after is not None:
                state[:, :size].baddbmm_(after, weight)
            memory = state * to_cell  # [2, size, H]
            if after is not None:
                memory[:, :size] += carried
            torch.mul(slope, memory.unsqueeze(2), out=three[time])
            torch.mul(to_leave, state, out=last[time])
            after, carried, size = all_gates[time], memory * kept, sizes[time]
        flat = gradients.flatten(2)
        of_weight = flat[:, first:].transpose(1, 2) @ states.index_select(1, previous)
        return flat, of_weight, None, None
