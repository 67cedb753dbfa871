"""Texts as windows of tokens, for encoders that read no more than a window at once; and their states.

Shapes: B genes or molecules in the batch; W windows of one, the most; L tokens per window, the most; S states
per gene or molecule, the most; D width of the states.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dnalm.data.pair_batches import pad_states
from dnalm.data.pairs import Rows
from dnalm.errors import InputError

Spans = npt.NDArray[np.int64]
"""Begin and end of stretches of a text, 0-based half-open, [S, 2]."""

PADDING, NO_STATE = -2, -1
"""In place of the index of a token's state: padding, and a special token, which is read but has no state."""
WINDOWS_AT_ONCE = 16
"""Windows that a frozen encoder reads together: no result depends on it."""


class Window(NamedTuple):
    """Tokens that an encoder reads together."""

    ids: npt.NDArray[np.int32]  # [L]
    has_state: npt.NDArray[np.bool_]  # Which tokens are of the text itself, and not special tokens, [L]
    spans: Spans  # Letters of each token in the text as it was given, [L, 2]


Tokenize = Callable[[str], list[Window]]
"""Splits a text into windows of tokens."""


class TokenWindows:
    """Texts as windows of tokens, with the index of the state that each token contributes to.

    Args:
        texts: genes or molecules.
        tokenize: of the encoder.
        segments: most states of a text, each the mean over consecutive tokens; None for a state per token.

    Raises:
        InputError: if a text has no token.
    """

    def __init__(self, texts: Sequence[str], tokenize: Tokenize, segments: int | None) -> None:
        self._windows = [tokenize(text) for text in texts]
        self._state_of = [_state_of_tokens(windows, segments) for windows in self._windows]
        self.most_windows = max(map(len, self._windows), default=1)

    def __len__(self) -> int:
        return len(self._windows)

    def lengths(self, rows: Rows) -> Rows:
        """Return how many tokens each of `rows` has, over all its windows, [B]."""
        return np.array([sum(len(w.ids) for w in self._windows[row]) for row in rows], dtype=np.int64)

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return tokens of `rows`, int32 [B, W, L], and the index of each token's state, int16 [B, W, L]."""
        windows = [self._windows[row] for row in rows]
        most = max(map(len, windows), default=1)
        longest = max((len(window.ids) for each in windows for window in each), default=1)
        tokens = np.zeros((len(rows), most, longest), dtype=np.int32)
        state_of = np.full((len(rows), most, longest), PADDING, dtype=np.int16)
        for i, row in enumerate(rows):
            for j, (window, states) in enumerate(zip(windows[i], self._state_of[row], strict=True)):
                tokens[i, j, : len(window.ids)] = window.ids
                state_of[i, j, : len(window.ids)] = states
        return torch.from_numpy(tokens), torch.from_numpy(state_of)

    def tokens_per_state(self, row: int) -> Tensor:
        """Return how many tokens each state of one text is the mean of, float [S]."""
        states = np.concatenate(self._state_of[row])
        return torch.from_numpy(np.bincount(states[states >= 0])).float()

    def spans(self, row: int) -> Spans:
        """Return the letters of one text that each of its states stands for, [S, 2].

        A segment extends from the begin of its first token to the end of its last; where tokens do not touch
        (a gene with N, or read in windows), it includes letters that no token has.
        """
        states = np.concatenate(self._state_of[row])
        spans = np.concatenate([window.spans for window in self._windows[row]])
        _, first = np.unique(states[states >= 0], return_index=True)
        begins, ends = spans[states >= 0].T
        return np.stack([begins[first], ends[np.append(first[1:], len(ends)) - 1]], axis=1)


def _state_of_tokens(windows: Sequence[Window], segments: int | None) -> list[npt.NDArray[np.int16]]:
    """Return, for each window, the index of each token's state; segments differ by one token at most."""
    count = sum(int(window.has_state.sum()) for window in windows)
    pieces = np.array_split(np.arange(count), min(segments or count, count))
    state_of = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    parts, done = [], 0
    for window in windows:
        part = np.full(len(window.ids), NO_STATE, dtype=np.int16)
        own = int(window.has_state.sum())
        part[window.has_state] = state_of[done : done + own]
        parts.append(part)
        done += own
    return parts


class ComputedStates:
    """The states of some texts, distinct `rows`, by an encoder's present weights, in memory."""

    @torch.no_grad()
    def __init__(self, encoder: nn.Module, windows: TokenWindows, rows: Rows) -> None:
        self._count = len(windows)
        self.states: dict[int, Tensor] = {}
        device = next(encoder.parameters()).device
        order = rows[np.argsort(windows.lengths(rows), kind="stable")]  # similar lengths: little padding
        at_once = max(1, WINDOWS_AT_ONCE // windows.most_windows)
        for begin in range(0, len(order), at_once):
            some = order[begin : begin + at_once]
            tokens, state_of = (each.to(device) for each in windows.take(some))
            states, real = encode_windows(encoder, tokens, state_of).cpu(), state_mask(state_of).cpu()
            self.states |= {row: states[i][real[i]].clone() for i, row in enumerate(some.tolist())}

    def __len__(self) -> int:
        return self._count

    def lengths(self, rows: Rows) -> Rows:
        """Return how many states each of `rows` has, [B]."""
        return np.array([len(self.states[row]) for row in rows.tolist()], dtype=np.int64)

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the states of `rows`, float [B, S, D], 0 at padding, and which are real, bool [B, S]."""
        return pad_states([self.states[row] for row in rows.tolist()])


def state_mask(state_of: Tensor) -> Tensor:
    """Return which states are real, bool [B, S], of the indices of tokens' states, int [B, W, L]."""
    counts = state_of.amax((1, 2)).long() + 1  # [B]
    return torch.arange(max(1, int(counts.max())), device=state_of.device) < counts.unsqueeze(-1)


def encode_windows(encoder: nn.Module, tokens: Tensor, state_of: Tensor) -> Tensor:
    """Return the states of texts, each the mean over its tokens, float [B, S, D], 0 at padding.

    Args:
        encoder: maps tokens [N, L] and their mask to states [N, L, D].
        tokens: integers, [B, W, L].
        state_of: index of each token's state, `NO_STATE` or `PADDING`, int [B, W, L].

    Raises:
        InputError: if `tokens` is not [B, W, L], or `state_of` has another shape.
    """
    if tokens.ndim != 3 or state_of.shape != tokens.shape:
        shapes = f"{list(tokens.shape)}, {list(state_of.shape)}"
        raise InputError(f"tokens and state_of must be [B, W, L], got {shapes}")
    size, count, _ = tokens.shape
    most = state_mask(state_of).shape[1]
    flat, index = tokens.flatten(0, 1), state_of.flatten(0, 1).long()  # [B W, L]
    owner = torch.arange(size, device=tokens.device).repeat_interleave(count)
    total, number = None, torch.zeros(size * most, device=tokens.device)
    for rows, longest in _similar_lengths((index > PADDING).sum(1)):
        part = index[rows, :longest]
        states = encoder(flat[rows, :longest], part > PADDING).float()  # [windows, longest, D]
        slot = (owner[rows].unsqueeze(-1) * most + part)[part >= 0]
        if total is None:
            total = states.new_zeros(size * most, states.shape[-1])
        total = total.index_add(0, slot, states[part >= 0])
        number = number.index_add(0, slot, number.new_ones(len(slot)))
    assert total is not None
    mean: Tensor = total / number.clamp(min=1).unsqueeze(-1)
    return mean.view(size, most, -1)


def _similar_lengths(lengths: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Yield rows of similar, non-zero lengths, which are encoded together, and the longest's length.

    No length of a group is below half of its longest: most genes may be far shorter than the longest.
    """
    longest = int(lengths.max())
    while longest:
        yield ((lengths > longest // 2) & (lengths <= longest)).nonzero().squeeze(1), longest
        longest = int(lengths.masked_fill(lengths > longest // 2, 0).max())
