"""TunedEncoder: a pretrained encoder that is trained with the model, in whole or in part.

Shapes used below
    B  genes or molecules in the batch
    W  windows of one, the most      L  tokens per window, the most
    S  states per gene or molecule, the most
    D  width of the states
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dnalm.errors import InputError
from dnalm.models.kept import KeptConfig, KeptStates

PADDING, SPECIAL = -2, -1
"""In the place of a token's state: no token at all, and one that is read and has no state."""


@dataclass(frozen=True)
class TunedConfig(KeptConfig):
    """What is known of an encoder whose weights are in the model; `identity` is what it was before."""

    encoder: dict[str, Any] = field(default_factory=dict)
    """JSON values from which it is built: its name and shape."""
    lora_rank: int = 0
    """Rank of the low-rank updates beside its layers; 0 where there are none."""


class TunedEncoder(KeptStates):
    """Reads windows of tokens and makes states of them, as they would be kept, on the scale of `KeptStates`.

    A state is the mean over the tokens that have its place: a token's own, a segment's, or all of a text's.
    It also takes states that were kept before, which then pass the encoder by.

    Args:
        config: what is known of it.
        encoder: tokens [N, L] and mask to states [N, L, D].
    """

    def __init__(self, config: TunedConfig, encoder: nn.Module) -> None:
        super().__init__(config)
        self.encoder = encoder
        self._resting: Callable[[], list[nn.Module]] = list

    def train_last(self, count: int) -> None:
        """Train the last `count` layers alone (and a norm behind them): what is before stays as it is.

        Raises:
            InputError: if there are not so many layers.
        """
        layers = self.encoder.layers
        assert isinstance(layers, nn.ModuleList)
        if count > len(layers):
            raise InputError(f"--unfreeze-last {count}: the encoder has {len(layers)} layers")
        trained = {id(p) for layer in layers[-count:] for p in layer.parameters()}
        trained |= {id(p) for name, p in self.encoder.named_parameters() if name.startswith("ln_f.")}
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        kept = {id(module) for layer in layers[-count:] for module in layer.modules()}
        self._resting = lambda: [each for each in self.encoder.modules() if id(each) not in kept]

    def train(self, mode: bool = True) -> "TunedEncoder":
        """Set training or evaluation; layers that are not trained stay in evaluation: no dropout in them."""
        super().train(mode)
        for module in self._resting():
            module.training = False
        return self

    def state_mask(self, real: Tensor) -> Tensor:
        """Return which states are real, bool [B, S], of a mask [B, S] or places [B, W, L]."""
        if real.dtype == torch.bool:
            return real
        counts = real.amax((1, 2)).long() + 1  # [B]
        return torch.arange(max(1, int(counts.max())), device=real.device) < counts.unsqueeze(-1)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Return states on their scale, float [B, S, D], exactly 0 at padding.

        Args:
            states: tokens, integers [B, W, L]; or kept states, of a floating type, [B, S, D].
            real: of tokens, the place of each one's state, int [B, W, L], `SPECIAL` or `PADDING`; of states,
                bool [B, S].

        Raises:
            InputError: if the two do not fit.
        """
        if states.is_floating_point():
            return super().forward(states, real)
        return super().forward(self.encode(states, real), self.state_mask(real))

    def encode(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Return the states of windows as the encoder gives them, float [B, S, D], 0 at padding.

        Args:
            tokens: integers, [B, W, L].
            places: int, [B, W, L].

        Raises:
            InputError: if `tokens` is not [B, W, L], or `places` has another shape.
        """
        if tokens.ndim != 3 or places.shape != tokens.shape:
            raise InputError(
                f"tokens and places must be [B, W, L], got {list(tokens.shape)}, {list(places.shape)}"
            )
        size, count, _ = tokens.shape
        most = self.state_mask(places).shape[1]
        flat, where = tokens.flatten(0, 1), places.flatten(0, 1).long()  # [B W, L]
        owner = torch.arange(size, device=tokens.device).repeat_interleave(count)
        total = torch.zeros(size * most, self.width, device=tokens.device)
        number = total.new_zeros(size * most)
        for some, longest in _alike((where > PADDING).sum(1)):
            own, at = flat[some, :longest], where[some, :longest]
            found = self.encoder(own, at > PADDING).float()  # [windows, longest, D]
            kept = at >= 0
            slot = (owner[some].unsqueeze(-1) * most + at)[kept]
            total = total.index_add(0, slot, found[kept])
            number = number.index_add(0, slot, number.new_ones(len(slot)))
        states: Tensor = (total / number.clamp(min=1).unsqueeze(-1)).view(size, most, self.width)
        return states


def _alike(lengths: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Yield rows of like length, none of them empty, and the longest's: they go through an encoder together.

    No length of a group is below half of its longest: most genes may be far shorter than the longest.
    """
    longest = int(lengths.max())
    while longest:
        some = ((lengths > longest // 2) & (lengths <= longest)).nonzero().squeeze(1)
        yield some, longest
        longest = int(lengths.masked_fill(lengths > longest // 2, 0).max())
