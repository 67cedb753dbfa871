"""Side: genes or molecules as a head keeps them, to be paired.

Shapes used below
    N  genes or molecules            S  states of one of them, the most
    W  width of a state              B  pairs
"""

from typing import NamedTuple

from torch import Tensor

from dnalm.layers import silenced


class Side(NamedTuple):
    """What a head needs of genes or of molecules, whatever they are paired with."""

    states: Tensor
    """float, [N, S, W]; 0 at padding."""
    real: Tensor
    """bool, [N, S]."""

    def take(self, rows: Tensor) -> "Side":
        """Return those of `rows`, int64 [B], in their order."""
        return Side(self.states.index_select(0, rows), self.real.index_select(0, rows))


def mean_of(states: Tensor, real: Tensor) -> Tensor:
    """Return the mean of the real states, [N, D], of states [N, S, D]; 0 where none is real."""
    total = silenced(states, real).sum(1)
    mean: Tensor = total / real.sum(1, keepdim=True).clamp(min=1)
    return mean


def check_states(states: Tensor, real: Tensor, width: int) -> None:
    """Check what a head is given.

    Raises:
        ValueError: if `states` is not [N, S, width], or `real` is not its [N, S].
    """
    if states.ndim != 3 or states.shape[-1] != width:
        raise ValueError(f"states must be [B, S, {width}], got {list(states.shape)}")
    if real.shape != states.shape[:2]:
        raise ValueError(f"real must be {list(states.shape[:2])}, got {list(real.shape)}")
