"""Pretrained encoders of genes or molecules: text in, states out; frozen, or trained further in a pair model.

Shapes: B genes or molecules in the batch; W windows of one, the most; L tokens per window, the most; S states
per gene or molecule, the most; D width of the states.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dnalm.checkpoint import load_strict
from dnalm.errors import InputError
from dnalm.models.layers import check_states, mask_padding
from dnalm.models.lora import add_lora
from dnalm.models.registry import encoders_for, entry_of
from dnalm.models.token_windows import (
    ComputedStates,
    Spans,
    Tokenize,
    TokenWindows,
    encode_windows,
    state_mask,
)

MIN_SPREAD = 0.1
"""Lowest standard deviation of a channel, as a fraction of the median channel's."""


@dataclass(frozen=True)
class PretrainedEncoder:
    """A pretrained encoder with its tokenizer, frozen: in evaluation mode, without gradients."""

    source: str
    """Where it was opened: a folder, a file, or a hub name."""
    module: nn.Module
    identity: dict[str, Any]
    """JSON values that, with the text, determine the states; `name` is what the encoder is called."""
    tokenize: Tokenize
    segments: int | None
    """Most states of a text, each the mean over consecutive tokens; None for a state per token."""
    report_losses: Callable[[Sequence[str]], str] = lambda _texts: ""
    """Returns what of these texts the tokens leave out, in words; empty where nothing is left out."""
    caution: str = ""
    """What limits its training, in a sentence; empty where nothing does."""

    def __post_init__(self) -> None:
        self.module.eval().requires_grad_(False)

    def config(self, revision: str = "", *, trained: bool = False, lora_rank: int = 0) -> "PretrainedConfig":
        """Return what a pair model saves of this encoder; `trained` with the model, or frozen."""
        module: Any = self.module
        return PretrainedConfig(
            width=module.width,
            causal=module.causal,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            source=self.source,
            revision=revision,
            identity=dict(self.identity),
            encoder=architecture_of(module) if trained else None,
            lora_rank=lora_rank,
        )

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the states of each text, float [1 + S, D]: first the mean over its tokens, then the states.

        Raises:
            InputError: if a text has no token.
        """
        windows = TokenWindows(texts, self.tokenize, self.segments)
        states = ComputedStates(self.module, windows, np.arange(len(texts))).states
        with_mean = []
        for row in range(len(texts)):
            weight = windows.tokens_per_state(row).unsqueeze(-1)
            mean = (weight * states[row]).sum(0, keepdim=True) / weight.sum()
            with_mean.append(torch.cat([mean, states[row]]))
        return with_mean

    def spans(self, text: str) -> Spans:
        """Return the letters of a text that each of its states stands for, [S, 2]; nothing is encoded.

        Raises:
            InputError: if the text has no token.
        """
        return TokenWindows([text], self.tokenize, self.segments).spans(0)


def architecture_of(encoder: nn.Module) -> dict[str, Any]:
    """Return JSON values from which the encoder is built again, weights aside."""
    config: Any = encoder.config
    entry = entry_of(config)
    assert entry is not None
    vocabulary = {"vocab_size": encoder.vocab_size} if entry.has_vocabulary else {}
    return {"kind": entry.name, **vocabulary, "config": asdict(config)}


@dataclass(frozen=True)
class PretrainedConfig:
    """A pretrained encoder as a pair model saves it."""

    width: int = 768
    """Width of its states (D)."""
    causal: bool = False
    """Whether a state depends on the left of its token alone."""
    parameters: int = 0
    """Of the encoder."""
    source: str = ""
    """Where it was opened: a folder, a file, or a hub name."""
    revision: str = ""
    """Commit of a hub name."""
    identity: dict[str, Any] = field(default_factory=dict)
    """JSON values that determine its states as they were before any training here."""
    encoder: dict[str, Any] | None = None
    """Of an encoder whose weights are in the model, as `architecture_of` returns it; None if frozen."""
    lora_rank: int = 0
    """Rank of LoRA's updates beside its layers; 0 for none."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError(f"width must be at least 1, got {self.width}")

    @property
    def frozen(self) -> bool:
        """Whether the encoder is not in the model, which reads cached states."""
        return self.encoder is None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values: the name `kept` or `tuned`, and the fields."""
        values = {"name": "kept" if self.frozen else "tuned", **asdict(self)}
        if self.frozen:
            del values["encoder"], values["lora_rank"]
        return values


class PretrainedStates(nn.Module):
    """The states of a pretrained encoder in a pair model, each channel with mean 0 and spread 1.

    A frozen encoder's states are cached, and it has no weights in the model. An encoder that is trained is
    part of the model and reads windows of tokens; cached states, in a floating type, bypass it.

    States of a language model are nearly constant: what distinguishes genes is a small part of them, which a
    head is slow to find. (Standardising is our own.)

    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.config, self.width, self.causal = config, config.width, config.causal
        self.register_buffer("mean", torch.zeros(config.width))
        self.register_buffer("scale", torch.ones(config.width))
        self.encoder: nn.Module | None = None
        self._trained_modules: set[int] | None = None  # ids; None: all
        if config.encoder is None:
            return
        entry = encoders_for("pretrained")[config.encoder["kind"]]
        rest = {key: value for key, value in config.encoder.items() if key not in ("kind", "config")}
        with torch.random.fork_rng(devices=[]):  # later random weights are those of a frozen encoder's model
            self.encoder = entry.module(entry.config(**config.encoder["config"]), **rest)

    def load_pretrained(self, pretrained: PretrainedEncoder | None) -> None:
        """Begin a trained encoder with the pretrained weights, if they are given, and add LoRA's updates."""
        if self.encoder is not None and pretrained is not None:
            load_strict(pretrained.module.state_dict(), self.encoder.state_dict(), self.config.source)
        if self.encoder is not None and self.config.lora_rank:
            add_lora(self.encoder, self.config.lora_rank)

    def train_last(self, count: int) -> None:
        """Train the last `count` layers (and a norm after them) alone.

        Raises:
            InputError: if there are fewer layers.
        """
        assert self.encoder is not None
        layers: Any = self.encoder.layers
        if count > len(layers):
            raise InputError(f"`unfreeze_last` {count}: the encoder has {len(layers)} layers")
        trained = {id(p) for layer in layers[-count:] for p in layer.parameters()}
        trained |= {id(p) for name, p in self.encoder.named_parameters() if name.startswith("ln_f.")}
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        self._trained_modules = {id(module) for layer in layers[-count:] for module in layer.modules()}

    @property
    def frozen_modules(self) -> list[nn.Module]:
        """Parts of the encoder that are not trained, and stay in evaluation mode."""
        if self.encoder is None or self._trained_modules is None:
            return []
        return [each for each in self.encoder.modules() if id(each) not in self._trained_modules]

    def train(self, mode: bool = True) -> "PretrainedStates":
        """Set training or evaluation mode; frozen layers stay in evaluation: no dropout in them."""
        super().train(mode)
        for module in self.frozen_modules:
            module.training = False
        return self

    @torch.no_grad()
    def calibrate(self, states: Tensor) -> None:
        """Take mean and spread of each channel from states [N, D] without padding."""
        spread, mean = torch.std_mean(states.float(), dim=0, correction=0)
        if len(states) < 2:
            spread = torch.ones_like(mean)
        # A channel that hardly varies is not scaled up: its variation may be rounding.
        spread = spread.clamp(min=MIN_SPREAD * float(spread.median()) + 1e-6)
        self.mean.copy_(mean)
        self.scale.copy_(1.0 / spread)

    def state_mask(self, real: Tensor) -> Tensor:
        """Return which states are real, bool [B, S], of a mask [B, S] or of indices of states [B, W, L]."""
        return real if real.dtype == torch.bool else state_mask(real)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Return standardised states, float [B, S, D], exactly 0 at padding.

        Args:
            states: cached states, of any floating type, [B, S, D]; or tokens, integers [B, W, L].
            real: of states, bool [B, S]; of tokens, the index of each one's state, int [B, W, L].

        Raises:
            InputError: if the shapes do not fit.
        """
        if not states.is_floating_point():
            assert self.encoder is not None
            states, real = encode_windows(self.encoder, states, real), self.state_mask(real)
        check_states(states, real, self.width)
        return mask_padding((states.float() - self.mean) * self.scale, real)
