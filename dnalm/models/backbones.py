"""Frozen encoders of genes and molecules: text in, states to keep out.

Shapes used below
    B  windows encoded at a time     L  tokens per window, the most
    T  states of a gene or molecule  S  segments of a gene
    D  width of the states
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Spans = npt.NDArray[np.int64]
"""Letters of a text, begin and end of each piece, 0-based half-open, [T, 2]."""

WINDOWS_AT_ONCE = 16
"""Windows that go through an encoder together: no result depends on it."""


class Window(NamedTuple):
    """What an encoder reads at once."""

    ids: npt.NDArray[np.int32]
    """Tokens, [L]."""
    kept: npt.NDArray[np.bool_]
    """Which of their states are those of the text itself, and not of a special token, [L]."""
    spans: Spans
    """Letters of each token in the text as it was given, [L, 2]."""


Windows = Callable[[str], list[Window]]
"""Maps a text to what an encoder reads of it."""


@dataclass(frozen=True)
class Backbone:
    """An encoder with all that turns text into its states; it is frozen: in evaluation, without gradients."""

    source: str
    """Where it was found."""
    encoder: nn.Module
    identity: dict[str, Any]
    """JSON values that, with the text, decide the states; `name` is what it is called."""
    windows: Windows
    segments: int | None
    """How many states of a text are kept, each a mean over a segment; None for one of each token."""
    report: Callable[[Sequence[str]], str] = lambda _texts: ""
    """Tells what of these texts the tokens leave out, in words; nothing where they leave nothing out."""
    caution: str = ""
    """What to tell of its own training before a model is built on it; nothing where that is done."""

    def __post_init__(self) -> None:
        self.encoder.eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.identity["name"])

    @property
    def width(self) -> int:
        """D, the width of its states."""
        width = self.encoder.width
        assert isinstance(width, int)
        return width

    @property
    def causal(self) -> bool:
        """Whether a state has seen only the left of its token."""
        return bool(self.encoder.causal)

    @property
    def parameters(self) -> int:
        """Of the encoder."""
        return sum(parameter.numel() for parameter in self.encoder.parameters())

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the states of each text, float [1 + T, D]: first the mean of all, then what is kept.

        Raises:
            InputError: if there is nothing to read in a text.
        """
        windows = [self.windows(text) for text in texts]
        flat = [window for each in windows for window in each]
        order = sorted(range(len(flat)), key=lambda place: len(flat[place].ids))  # little padding
        found: list[Tensor] = [torch.empty(0)] * len(flat)
        for begin in range(0, len(order), WINDOWS_AT_ONCE):
            some = order[begin : begin + WINDOWS_AT_ONCE]
            for place, states in zip(some, self._states([flat[place] for place in some]), strict=True):
                found[place] = states
        whole = [torch.cat([found.pop(0) for _ in each]) for each in windows]
        return [torch.cat([each.mean(0, keepdim=True), self._kept(each)]) for each in whole]

    def spans(self, text: str) -> Spans:
        """Return which letters of a text each kept state stands for, [T, 2] or [S, 2]; nothing is encoded.

        A segment is the letters from the begin of its first token to the end of its last: where tokens do not
        touch (a gene cut at N, or read in windows), it holds letters that no token has.

        Raises:
            InputError: if there is nothing to read in the text.
        """
        found = np.concatenate([window.spans[window.kept] for window in self.windows(text)])
        return found if self.segments is None else segment_spans(found, self.segments)

    def _kept(self, states: Tensor) -> Tensor:
        return states if self.segments is None else segments(states, self.segments)

    def _states(self, windows: Sequence[Window]) -> list[Tensor]:
        """Return the kept states of each window, float [T, D]."""
        device = next(self.encoder.parameters()).device
        longest = max(len(window.ids) for window in windows)
        tokens = torch.zeros(len(windows), longest, dtype=torch.long)
        real = torch.zeros(len(windows), longest, dtype=torch.bool)
        for row, window in enumerate(windows):
            tokens[row, : len(window.ids)] = torch.from_numpy(window.ids.astype(np.int64))
            real[row, : len(window.ids)] = True
        states = self.encoder(tokens.to(device), real.to(device)).float().cpu()
        return [
            states[row, : len(window.ids)][torch.from_numpy(window.kept)]
            for row, window in enumerate(windows)
        ]


def segments(states: Tensor, count: int) -> Tensor:
    """Return the means of `count` pieces of states [T, D] that follow each other, [S, D].

    Their lengths differ by one state at most; S is T where there are fewer states than pieces.
    """
    return torch.stack([piece.mean(0) for piece in torch.tensor_split(states, min(count, len(states)))])


def segment_spans(spans: Spans, count: int) -> Spans:
    """Return the letters of the `count` pieces that `segments` makes of tokens with spans [T, 2], [S, 2]."""
    pieces = np.array_split(spans, min(count, len(spans)))  # of the sizes that torch.tensor_split gives
    return np.array([(piece[0, 0], piece[-1, 1]) for piece in pieces], dtype=np.int64)
