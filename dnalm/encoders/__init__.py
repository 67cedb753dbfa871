"""Encoders: tokens in, one state per token out. One file each, one line each in `ENCODERS`."""

from typing import Protocol

from torch import Tensor

from dnalm.encoders.cnn import CNN
from dnalm.encoders.gpt import GPT


class Encoder(Protocol):
    """What a head may expect of an encoder."""

    width: int
    """D, the width of its states."""
    causal: bool
    """True when a state has seen only the left of its token: the report must say so."""

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map tokens [B, L] and their mask, bool [B, L], to states [B, L, D]."""
        ...


ENCODERS = {"gpt": GPT, "cnn": CNN}
