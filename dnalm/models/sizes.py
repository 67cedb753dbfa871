"""Sizes of a language model by one number of parameters: depth, width and learning rate.

The loss hardly depends on how parameters are split between depth L and width E (Kaplan et al. 2020, section
3.1). The shapes are chosen: 7M is the published one, the others have heads 64 wide and a layer for every 25
to 55 of the width. The rate falls with the square root of the width, from what works at width 384; that is a
rule of thumb, tried at 1M and 7M alone. Convolutions have as many blocks as the way from dilation 1 to 64 and
back needs, once, twice or three times, or the way there alone for 1M; their rates are untried.
"""

import math
from typing import NamedTuple


class Size(NamedTuple):
    """The shape of a GPT."""

    n_layer: int
    n_head: int
    n_embd: int

    def rate(self, reference: float) -> float:
        """Return the learning rate of this width, where `reference` is that of width 384."""
        return reference * math.sqrt(384 / self.n_embd)


SIZES = {  # smallest first
    "1M": Size(5, 2, 128),
    "3M": Size(7, 3, 192),
    "7M": Size(4, 4, 384),  # the published model
    "10M": Size(8, 5, 320),
    "30M": Size(12, 7, 448),
    "100M": Size(14, 12, 768),
    "350M": Size(28, 16, 1024),
}
CONV_SIZES = {  # blocks and width; heads do not count
    "1M": Size(7, 2, 120),
    "3M": Size(13, 2, 152),
    "7M": Size(13, 2, 232),
    "10M": Size(13, 2, 276),
    "30M": Size(25, 2, 344),
    "100M": Size(25, 2, 632),
    "350M": Size(37, 2, 972),
}
"""Sizes of an encoder of dilated convolutions, about 10 width^2 parameters a block."""
SMALL_GENOME = 12_000_000
"""A/C/G/T bases of the training part up to which `auto_size` is 1M.

From S. cerevisiae, 10.1 million training bases (docs/records/yeast-default-vocab4-*): 1M has 1.9113 bits per
base after 19.2 million tokens, 0.022 below the best Markov model of the same bases, and 7M has 1.9110 after
20.0 million, 0.024 below. On a piece of human chr2, 2.1 million bases, 1M, 3M and 7M have 1.9043, 1.9057 and
1.9023 after 2.0 million tokens (chr2-default-vocab4-*). On that and a piece of chr22, validation being
very repetitive, 7M is better: 1.7898 against 1.8642 after 5.0 million tokens, far behind a Markov model of
order 12 at 1.4332 (human-default-vocab4-*). No longer genome was tried.
"""


def auto_size(bases: int) -> str:
    """Return the size for a training part of so many A/C/G/T bases."""
    return "1M" if bases <= SMALL_GENOME else "7M"
