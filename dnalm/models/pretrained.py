"""Pretrained encoders of genes or molecules: text in, states out; frozen, or trained further in a pair model.

Shapes: B genes or molecules in the batch; W windows of one, the most; L tokens per window, the most; S states
per gene or molecule, the most; D width of the states.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dnalm.checkpoint import load_strict
from dnalm.data.pair_batches import pad_states
from dnalm.data.pairs import Rows
from dnalm.errors import InputError, counted
from dnalm.models.heads import mean_and_spread
from dnalm.models.layers import check_states, mask_padding
from dnalm.models.lora import add_lora
from dnalm.models.registry import encoders_for, entry_of

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

    `segments` is the most states of a text, each the mean over consecutive tokens; None: a state per token.

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
        state_of = np.full(tokens.shape, PADDING, dtype=np.int16)
        for i, row in enumerate(rows):
            for j, (window, states) in enumerate(zip(windows[i], self._state_of[row], strict=True)):
                tokens[i, j, : len(states)], state_of[i, j, : len(states)] = window.ids, states
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
    has_state = np.concatenate([window.has_state for window in windows])
    count = int(has_state.sum())
    pieces = np.array_split(np.arange(count), min(segments or count, count))
    state_of = np.full(len(has_state), NO_STATE, dtype=np.int16)
    state_of[has_state] = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    return np.split(state_of, np.cumsum([len(window.ids) for window in windows])[:-1])


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

    `state_of` has the index of each token's state, `NO_STATE` or `PADDING`, int [B, W, L].

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
        total = states.new_zeros(size * most, states.shape[-1]) if total is None else total
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


@dataclass(frozen=True)
class PretrainedEncoder:
    """A pretrained encoder with its tokenizer, frozen: in evaluation mode, without gradients."""

    source: str  # Where it was opened: a folder, a file, or a hub name
    module: nn.Module
    identity: dict[str, Any]  # JSON values that, with the text, determine the states; the name is one of them
    tokenize: Tokenize
    segments: int | None  # Most states of a text, each the mean over tokens; None for a state per token
    report_losses: Callable[[Sequence[str]], str] = lambda _texts: ""
    """Returns what of these texts the tokens leave out, in words; empty where nothing is left out."""
    revision: str = ""  # Commit of a hub name
    caution: str = ""  # What limits its training, or was left out of its file; empty where nothing is

    def __post_init__(self) -> None:
        self.module.eval().requires_grad_(False)

    def config(self, trained: bool = False, lora_rank: int = 0) -> "PretrainedConfig":
        """Return what a pair model saves of this encoder; `trained` with the model, or frozen."""
        module: Any = self.module
        count = sum(parameter.numel() for parameter in module.parameters())
        opened = self.source, self.revision, dict(self.identity)
        architecture = architecture_of(module) if trained else None
        return PretrainedConfig(module.width, module.causal, count, *opened, architecture, lora_rank)

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the states of each text, float [1 + S, D]: first the mean over its tokens, then the states.

        Raises:
            InputError: if a text has no token.
        """
        windows, with_mean = TokenWindows(texts, self.tokenize, self.segments), []
        computed = ComputedStates(self.module, windows, np.arange(len(texts))).states
        for row, states in sorted(computed.items()):
            weight = windows.tokens_per_state(row).unsqueeze(-1)
            with_mean.append(torch.cat([(weight * states).sum(0, keepdim=True) / weight.sum(), states]))
        return with_mean

    def spans(self, text: str) -> Spans:
        """Return the letters of a text that each of its states stands for, [S, 2]; nothing is encoded."""
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

    width: int = 768  # Of its states (D)
    causal: bool = False  # Whether a state depends on the left of its token alone
    parameters: int = 0
    source: str = ""  # Where it was opened: a folder, a file, or a hub name
    revision: str = ""  # Commit of a hub name
    identity: dict[str, Any] = field(default_factory=dict)  # Determines its states before any training here
    encoder: dict[str, Any] | None = None  # Its `architecture_of` if its weights are in the model
    lora_rank: int = 0  # Of LoRA's updates beside its layers; 0 for none

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
        self._frozen_modules: list[nn.Module] = []  # parts of the encoder that stay in evaluation mode
        if config.encoder is not None:
            build = dict(config.encoder)
            entry = encoders_for("pretrained")[build.pop("kind")]
            shape = entry.config(**build.pop("config"))
            with torch.random.fork_rng(devices=[]):  # later random weights are those of a frozen encoder's
                self.encoder = entry.module(shape, **build)

    def load_pretrained(self, pretrained: PretrainedEncoder | None) -> None:
        """Begin a trained encoder with the pretrained weights, if they are given, and add LoRA's updates."""
        if self.encoder is not None and pretrained is not None:
            load_strict(pretrained.module.state_dict(), self.encoder.state_dict(), self.config.source)
        if self.encoder is not None and self.config.lora_rank:
            add_lora(self.encoder, self.config.lora_rank)

    def train_last(self, count: int) -> None:
        """Train the last `count` layers (and a norm after them) alone; InputError if there are fewer."""
        assert self.encoder is not None
        layers: Any = self.encoder.layers
        if count > len(layers):
            raise InputError(f"`unfreeze_last` {count}: the encoder has {counted(len(layers), 'layer')}")
        self.encoder.requires_grad_(False)
        last = layers[-count:]
        for module in (last, getattr(self.encoder, "ln_f", nn.Identity())):
            module.requires_grad_(True)
        trained = {module for layer in last for module in layer.modules()}
        self._frozen_modules = [each for each in self.encoder.modules() if each not in trained]

    def train(self, mode: bool = True) -> "PretrainedStates":
        """Set training or evaluation mode; frozen layers stay in evaluation: no dropout in them."""
        super().train(mode)
        for module in self._frozen_modules:
            module.training = False
        return self

    @torch.no_grad()
    def calibrate(self, states: Tensor) -> None:
        """Take mean and spread of each channel from states [N, D] without padding."""
        mean, spread = mean_and_spread(states.float(), correction=0)
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
