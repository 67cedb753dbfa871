"""Genes or molecules as windows of tokens, for an encoder that is trained; and as states that it has now.

Shapes used below
    B  genes or molecules taken
    W  windows of one, the most      L  tokens per window, the most
    S  states per gene or molecule, the most
    D  width of the states
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.data.pair_batches import Rows, Source
from dnalm.models.backbones import WINDOWS_AT_ONCE, Window, Windows
from dnalm.models.tuned import PADDING, SPECIAL, TunedEncoder


class WindowedTexts:
    """What an encoder reads of texts, and which token belongs to which state.

    Args:
        texts: genes or molecules.
        windows: maps one to what is read of it.
        segments: how many states it has at most, equal in tokens; None for one of each token.

    Raises:
        InputError: if there is nothing to read in a text.
    """

    def __init__(self, texts: Sequence[str], windows: Windows, segments: int | None) -> None:
        self._windows = [windows(text) for text in texts]
        self._places = [_places(each, segments) for each in self._windows]

    def __len__(self) -> int:
        return len(self._windows)

    def lengths(self, rows: Rows) -> Rows:
        """Return how many tokens each of `rows` has, over all its windows, [B]."""
        return np.array([sum(len(w.ids) for w in self._windows[row]) for row in rows], dtype=np.int64)

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return tokens of `rows`, int32 [B, W, L], and the place of each one's state, int16 [B, W, L]."""
        taken = [self._windows[row] for row in rows]
        most = max((len(each) for each in taken), default=1)
        longest = max((len(window.ids) for each in taken for window in each), default=1)
        tokens = np.zeros((len(rows), most, longest), dtype=np.int32)
        places = np.full((len(rows), most, longest), PADDING, dtype=np.int16)
        for at, (row, each) in enumerate(zip(rows, taken, strict=True)):
            for number, (window, where) in enumerate(zip(each, self._places[row], strict=True)):
                tokens[at, number, : len(window.ids)] = window.ids
                places[at, number, : len(window.ids)] = where
        return torch.from_numpy(tokens), torch.from_numpy(places)


def _places(windows: Sequence[Window], segments: int | None) -> list[npt.NDArray[np.int16]]:
    """Return, for each window, the state that each of its tokens belongs to."""
    count = sum(int(window.kept.sum()) for window in windows)
    pieces = np.array_split(np.arange(count), min(segments or count, count))
    state = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    found, done = [], 0
    for window in windows:
        where = np.full(len(window.ids), SPECIAL, dtype=np.int16)
        own = int(window.kept.sum())
        where[window.kept] = state[done : done + own]
        found.append(where)
        done += own
    return found


class CurrentStates:
    """The states that an encoder makes of texts as its weights are now, in memory.

    Args:
        encoder: in evaluation.
        source: windows of the texts.
        rows: the distinct ones of which states are wanted.
    """

    def __init__(self, encoder: TunedEncoder, source: Source, rows: Rows) -> None:
        device = next(encoder.parameters()).device
        self._count = len(source)
        self._states: dict[int, Tensor] = {}
        order = rows[np.argsort(source.lengths(rows), kind="stable")]  # like lengths together: little padding
        with torch.no_grad():
            for begin in range(0, len(order), WINDOWS_AT_ONCE):
                some = order[begin : begin + WINDOWS_AT_ONCE]
                tokens, places = (each.to(device) for each in source.take(some))
                states, real = encoder.encode(tokens, places).cpu(), encoder.state_mask(places).cpu()
                for at, row in enumerate(some.tolist()):
                    self._states[row] = states[at][real[at]].clone()

    def __len__(self) -> int:
        return self._count

    def lengths(self, rows: Rows) -> Rows:
        """Return how many states each of `rows` has, [B]."""
        return np.array([len(self._states[row]) for row in rows.tolist()], dtype=np.int64)

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the states of `rows`, float [B, S, D], 0 at padding, and which are real, bool [B, S]."""
        found = [self._states[row] for row in rows.tolist()]
        states = torch.nn.utils.rnn.pad_sequence(found, batch_first=True)
        counts = torch.tensor([len(each) for each in found])
        return states, torch.arange(states.shape[1]) < counts.unsqueeze(-1)
