"""SmilesLSTM: the molecule side of the published gene-and-molecule model, a bidirectional LSTM over SMILES.

Shapes used below
    B  molecules in the batch        L  characters per molecule, the longest's
    H  cells of one direction        D  width of the states: 2 H
    P  characters of all molecules, without padding: first the first character of each, then the second ...
    I  width of a layer's input
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from dnalm.config import check_minimum
from dnalm.errors import InputError
from dnalm.models.layers import check_tokens, silenced

UNKNOWN = 0
"""Token of every character that the vocabulary lacks."""
DIRECTIONS = ("", "_reverse")
"""Ends of the names of `nn.LSTM`'s weights."""


@dataclass(frozen=True)
class SmilesLSTMConfig:
    """The shape of a SmilesLSTM; the defaults are the published ones."""

    embedding: int = 128
    """Width of a character's vector."""
    hidden: int = 128
    """Cells of one direction (H)."""
    layers: int = 2

    @property
    def width(self) -> int:
        """D, the width of a state."""
        return 2 * self.hidden

    def __post_init__(self) -> None:
        wrong = check_minimum(self, embedding=1, hidden=1, layers=1)
        if wrong:
            raise InputError("; ".join(wrong))


def smiles_characters(smiles: Iterable[str], longest: int) -> str:
    """Return the vocabulary of molecules, each read up to its first `longest` characters, in id order."""
    return "".join(sorted({character for text in smiles for character in text[:longest]}))


def character_ids(smiles: str, characters: str, longest: int) -> npt.NDArray[np.int16]:
    """Return tokens of a molecule's first `longest` characters: 1 + the place in `characters`, or UNKNOWN."""
    places = [characters.find(character) + 1 for character in smiles[:longest]]
    return np.array(places, dtype=np.int16)


class _Order(NamedTuple):
    """Where the characters of a padded batch lie once they are packed."""

    packed: Tensor
    """int64, [P]: place in the flattened [B * L]."""
    sizes: list[int]
    """Molecules that have a first, second, ... character: those of the first rows, longest first."""
    turned: Tensor
    """int64, [P]: for each character, the one as far from the other end of its molecule."""
    before: Tensor
    """int64, [P - B]: for each character but the first ones, the one before it."""


class SmilesLSTM(nn.Module):
    """Characters' vectors under a bidirectional LSTM; padding is never computed.

    With the published sizes and V characters it has 659,456 + 128 (V + 1) parameters: 264,192 of the first
    layer, 395,264 of the second, and a vector for each character and the unknown one. That one is 0 and is
    never trained, since the vocabulary holds every character of the training part.

    Args:
        config: sizes.
        characters: how many the vocabulary has (V).
    """

    causal = False

    def __init__(self, config: SmilesLSTMConfig, characters: int) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.embedding = nn.Embedding(characters + 1, config.embedding)
        with torch.no_grad():
            self.embedding.weight[UNKNOWN] = 0.0
        self.lstm = nn.LSTM(
            config.embedding, config.hidden, config.layers, batch_first=True, bidirectional=True
        )

    def state_mask(self, real: Tensor) -> Tensor:
        """Return which states are real, bool [B, L]: one for each real character."""
        return real

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map tokens to states, each of which has seen the whole molecule.

        Args:
            tokens: integers, [B, L]; anything at padding.
            real: bool, [B, L]; True at a character, False at the padding behind the last one.

        Returns:
            float, [B, L, D]; exactly 0 at padding.

        Raises:
            InputError: if `tokens` is not [B, L], `real` has another shape, or padding stands before a
                character.
        """
        check_tokens(tokens, real)
        if (real[:, 1:] & ~real[:, :-1]).any():
            raise InputError("padding must stand behind the characters, got some before a character")
        vectors = self.embedding(tokens.masked_fill(~real, UNKNOWN).long())  # [B, L, I]
        lengths = real.sum(1).clamp(min=1).cpu()  # an LSTM takes no empty molecule: its state is masked
        states = (
            self._ours(vectors, lengths) if vectors.device.type == "cpu" else self._theirs(vectors, lengths)
        )
        return silenced(states, real)

    def _theirs(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Map [B, L, I] to [B, L, D] by PyTorch's LSTM."""
        packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        states: PackedSequence = self.lstm(packed)[0]
        return pad_packed_sequence(states, batch_first=True, total_length=vectors.shape[1])[0]

    def _ours(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Map [B, L, I] to [B, L, D]: the same function, measured three times faster in training on a CPU."""
        batch, length, _ = vectors.shape
        order = _order(lengths, length)
        x = vectors.flatten(0, 1).index_select(0, order.packed)  # [P, I]
        for layer in range(self.config.layers):
            x = self._layer(x, layer, order)  # [P, D]
        flat = x.new_zeros(batch * length, self.width)
        return flat.index_copy(0, order.packed, x).view(batch, length, self.width)

    def _layer(self, x: Tensor, layer: int, order: _Order) -> Tensor:
        """Map a layer's packed input [P, I] to its output [P, D]; both directions at once, one turned."""
        taken, kept, bias, more_bias = (
            torch.stack([getattr(self.lstm, f"{name}_l{layer}{direction}") for direction in DIRECTIONS])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        both = torch.stack([x, x.index_select(0, order.turned)])  # [2, P, I]
        gates = torch.baddbmm((bias + more_bias).unsqueeze(1), both, taken.transpose(1, 2))  # [2, P, 4 H]
        states: Tensor = _Recurrence.apply(gates, kept.to(gates.dtype), order.sizes, order.before)  # type: ignore[no-untyped-call]
        return torch.cat([states[0], states[1].index_select(0, order.turned)], dim=-1)


def _order(lengths: Tensor, longest: int) -> _Order:
    places = torch.arange(len(lengths) * longest).view(-1, longest, 1)
    packed = pack_padded_sequence(places, lengths, batch_first=True, enforce_sorted=False)
    at, sizes = packed.data.squeeze(1), packed.batch_sizes  # [P], [longest]
    row, time = at // longest, at % longest
    begins = sizes.cumsum(0) - sizes
    rank = torch.arange(len(at)) - begins[time]  # of the molecule, longest first
    turned = begins[lengths[row] - 1 - time] + rank
    later = time > 0
    return _Order(at, sizes.tolist(), turned, (begins[time - 1] + rank)[later])


def _steps(x: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """Return views of [2, P, ..], one for the first characters of all molecules, one for the second ..."""
    return torch.split(x, sizes, dim=1)


class _Recurrence(torch.autograd.Function):
    """What of an LSTM's layer cannot be done for all characters at once, for two directions side by side.

    The formulas are those of `torch.nn.LSTM`, with gates in its order: in, forget, cell, out. The backward
    pass goes through time for the gates alone; a product that can wait is one product over all characters.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, sizes: list[int], before: Tensor) -> Tensor:
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
        ctx.save_for_backward(active, cells, squashed, states, weight, before)
        ctx.sizes = sizes
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Map the gradient of the states [2, P, H] to those of gates and weights."""
        active, cells, squashed, states, weight, before = ctx.saved_tensors
        sizes: list[int] = ctx.sizes
        enter, forget, cell, leave = active.chunk(4, -1)
        first = sizes[0]
        earlier = torch.zeros_like(cells)
        earlier[:, first:] = cells.index_select(1, before)
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
        found = torch.empty(*cells.shape[:2], 4, cells.shape[-1], dtype=cells.dtype)
        whole, three, last = (_steps(x, sizes) for x in (found.flatten(2), found[:, :, :3], found[:, :, 3]))
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
            after, carried, size = whole[time], memory * kept, sizes[time]
        flat = found.flatten(2)
        of_weight = flat[:, first:].transpose(1, 2) @ states.index_select(1, before)
        return flat, of_weight, None, None
