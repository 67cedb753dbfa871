"""Sizes of a GPT by one number: depth, width and learning rate from how many parameters it should have.

The blocks of a GPT of depth L and width E have about 12 L E^2 parameters, and the loss hardly depends on how
they are split between the two (Kaplan et al. 2020, section 3.1). The shapes are chosen: 7M is the published
one, the others have heads 64 wide and a layer for every 25 to 55 of the width. The rate falls with the square
root of the width, from what was measured to work at width 384. That is a rule of thumb, not the result of a
search: of every size but 7M the rate is untried.
"""

import math
from typing import NamedTuple

REFERENCE_WIDTH = 384
"""At which the recipes' learning rate was chosen."""


class Size(NamedTuple):
    """The shape of a GPT."""

    n_layer: int
    n_head: int
    n_embd: int

    @property
    def parameters(self) -> int:
        """Of the blocks' matrices: 12 L E^2."""
        return 12 * self.n_layer * self.n_embd**2

    def rate(self, reference: float) -> float:
        """Return the learning rate of this width, where `reference` is that of `REFERENCE_WIDTH`."""
        return reference * math.sqrt(REFERENCE_WIDTH / self.n_embd)


SIZES = {
    "1M": Size(5, 2, 128),
    "3M": Size(7, 3, 192),
    "7M": Size(4, 4, 384),  # the published model
    "10M": Size(8, 5, 320),
    "30M": Size(12, 7, 448),
    "100M": Size(14, 12, 768),
    "350M": Size(28, 16, 1024),
}
"""By name, smallest first."""
