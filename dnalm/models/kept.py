"""KeptStates: the place of a frozen encoder in a model, whose states were computed before.

Shapes used below
    B  sequences in the batch        L  states per sequence, the most
    D  width of the states
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dnalm.errors import InputError

LEAST_SPREAD = 0.1
"""Of the median channel: one that varies less is taken to vary so much."""


@dataclass(frozen=True)
class KeptConfig:
    """What stands before a model in the place of an encoder."""

    width: int = 768
    """Width of its states (D)."""
    causal: bool = False
    """Whether a state has seen only the left of its token."""
    parameters: int = 0
    """Of the frozen encoder."""
    source: str = ""
    """Where the encoder was found: a folder, or a name."""
    revision: str = ""
    """Commit of a hub name."""
    identity: dict[str, Any] = field(default_factory=dict)
    """JSON values that decide its states: the weights' digest, tokenizer and windows among them."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError(f"width must be at least 1, got {self.width}")


class KeptStates(nn.Module):
    """Hands on the states it is given, each channel with mean 0 and spread 1 over what it was calibrated on.

    States of a language model are nearly constant: what tells one gene from another is a small part of them,
    and what stands behind is slow to find it. (Our own.) It has no parameters, only two vectors that
    `calibrate` sets.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: KeptConfig) -> None:
        super().__init__()
        self.config, self.width, self.causal = config, config.width, config.causal
        self.register_buffer("mean", torch.zeros(config.width))
        self.register_buffer("scale", torch.ones(config.width))

    @torch.no_grad()
    def calibrate(self, states: Tensor) -> None:
        """Take mean and spread of each channel from states [N, D], none of them padding."""
        spread, mean = torch.std_mean(states.float(), dim=0, correction=0)
        if len(states) < 2:  # there is no spread to speak of
            spread = torch.ones_like(mean)
        # A channel that hardly varies is not blown up: it may be rounding alone.
        spread = spread.clamp(min=LEAST_SPREAD * float(spread.median()) + 1e-6)
        self.mean.copy_(mean)
        self.scale.copy_(1.0 / spread)

    def state_mask(self, real: Tensor) -> Tensor:
        """Return which states are real, bool [B, L]: those that were given."""
        return real

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Return the states [B, L, D] in float on their new scale, exactly 0 at padding.

        Args:
            states: of any floating type, [B, L, D].
            real: bool, [B, L].

        Raises:
            InputError: if `states` is not [B, L, D], or `real` is not its [B, L].
        """
        if states.ndim != 3 or states.shape[-1] != self.width or real.shape != states.shape[:2]:
            raise InputError(
                f"states must be [B, L, {self.width}] and real [B, L], got {list(states.shape)}, "
                f"{list(real.shape)}"
            )
        scaled = (states.float() - self.mean) * self.scale
        return scaled.masked_fill(~real.unsqueeze(-1), 0.0)
