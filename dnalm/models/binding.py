"""A score at every base, such as TF binding: an encoder under a regression head.

Shapes: B windows in the batch; L bases (tokens) per window; D width of the encoder's states; N layers
that are mixed, 1 unless `features` is mix.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.config import check_minimum, refuse
from dnalm.dna import BASE_CODES, BASES
from dnalm.errors import InputError
from dnalm.models.heads import RegressionHead, RegressionHeadConfig
from dnalm.models.layer_mix import LayerMix, normalized
from dnalm.models.layers import Model
from dnalm.models.lora import add_lora, merge_lora
from dnalm.models.registry import EncoderEntry, encoders_for, entry_of
from dnalm.tokens.characters import CharacterTokenizer

Letters = npt.NDArray[np.uint8]

NO_BASE = len(BASES)  # base code of every letter that is not A, C, G or T

Tune = Literal["frozen", "lora", "full"]


@dataclass(frozen=True)
class TuneConfig:
    """Which weights of the encoder are trained, and what it reads."""

    tune: Tune = "frozen"  # frozen: the head alone; lora: low-rank updates of the core too; full: all weights
    lora_rank: int = 8  # Rank of the updates of --tune lora.
    both_strands: bool = False
    """The core also reads the reverse complement, so that a causal core sees both sides of every base."""
    whiten: bool = False
    """Train the head on whitened states of a GPT: what varies little is learned as fast as the rest."""
    features: str = "last"
    """What the head reads of the core: mix (by default), a sum of all layers whose weights are learned with
    the head; last, the last layer alone (with --recipe finetune-published); a number, that layer, 0 being
    the embedding. The .pt file of a mix opens with dnalm alone; of a layer by its number there is none."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, lora_rank=1)
        if self.features not in ("last", "mix") and not self.features.isdecimal():
            wrong.append(f"`features` must be last, mix or the number of a layer, got {self.features!r}")
        refuse(wrong)

    def layers(self, depth: int) -> list[int] | None:
        """Return which layers the head reads of a core of `depth`, 0 the embedding; None for the last alone.

        Raises:
            InputError: if the core has no such layer.
        """
        if self.features == "last":
            return None
        if self.features == "mix" and depth:
            return list(range(depth + 1))
        if self.features == "mix" or int(self.features) > depth:
            layers = f"has layers 0 (the embedding) to {depth}" if depth else "gives its last layer alone"
            raise InputError(f"`features` {self.features}: the core {layers}; take one of these, or last")
        return [int(self.features)]


@dataclass(frozen=True)
class BindingShape:
    """All that is needed to build a `BindingModel`, weights aside."""

    encoder: Any  # Config of an encoder of the registry for binding models
    characters: str = ""  # The GPT's vocabulary in id order; empty for an encoder that reads base codes
    head: RegressionHeadConfig = field(default_factory=RegressionHeadConfig)
    tuning: TuneConfig = field(default_factory=TuneConfig)

    @property
    def entry(self) -> EncoderEntry:
        """The encoder in the registry."""
        entry = entry_of(self.encoder)
        assert entry is not None
        return entry

    @property
    def kind(self) -> str:
        """The encoder's name."""
        return self.entry.name

    @property
    def pretrained(self) -> bool:
        """Whether the encoder is trained before, and tuned or frozen here; others are trained in full."""
        return "pretrained" in self.entry.uses

    @property
    def tune(self) -> Tune:
        """Which weights are trained; all of an encoder that is not pretrained."""
        return self.tuning.tune if self.pretrained else "full"

    @property
    def longest(self) -> int | None:
        """Most bases in a window; None for any number."""
        return getattr(self.encoder, "block_size", None)

    @property
    def context(self) -> int | None:
        """Bases of a window in which a change of the middle base has all its effects; None: no such width.

        Of a CNN: a base changes scores half a kernel of encoder and head away, which read as far again.
        """
        return None if self.reach is None else 1 + 4 * self.reach

    @property
    def reach(self) -> int | None:
        """Bases to either side of a base on which its score depends; None for all of the window."""
        reach = getattr(self.encoder, "reach", None)
        return None if reach is None else reach + self.head.kernel // 2

    def tokens(self, letters: Letters) -> Tensor:
        """Return what the encoder reads of upper-case IUPAC letters [.., L], uint8."""
        if self.entry.reads == "bases":
            return base_codes(letters)
        return token_ids(letters, CharacterTokenizer(self.characters))

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values from which `from_dict` makes the same shape."""
        return asdict(self) | {"encoder": {"name": self.kind, **asdict(self.encoder)}}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "BindingShape":
        """Return the shape that `as_dict` has written."""
        encoder = dict(content["encoder"])
        config = encoders_for("binding")[encoder.pop("name")].config
        head, tuning = RegressionHeadConfig(**content["head"]), TuneConfig(**content["tuning"])
        return cls(config(**encoder), content["characters"], head, tuning)


class BindingModel(Model):
    """An encoder under a regression head.

    With both strands the states of the reverse complement, reversed so that each is at its base, follow the
    forward ones: the head's input is twice as wide. A mix of layers is part of the head. After training with
    LoRA or whitened states, `merge` makes the model plain again.
    """

    complement: Tensor

    def __init__(self, shape: BindingShape) -> None:
        super().__init__()
        self.shape, self.frozen = shape, shape.tune == "frozen"
        encoder: Any = shape.entry.build(shape.encoder, shape.characters)
        self.encoder = encoder
        complement = torch.tensor([3, 2, 1, 0, NO_BASE], dtype=torch.uint8)
        if shape.entry.reads == "vocabulary":
            complement = torch.from_numpy(CharacterTokenizer(shape.characters).complement)
        self.register_buffer("complement", complement, persistent=False)
        self.layers = shape.tuning.layers(encoder.depth) if shape.pretrained else None
        mix = None if shape.tuning.features != "mix" else LayerMix(encoder.depth + 1, encoder.width)
        self.head = RegressionHead(encoder.width * self.strands, shape.head, mix)

    @property
    def strands(self) -> int:
        """How many strands the core reads."""
        return 2 if self.shape.tuning.both_strands else 1

    @property
    def strand_width(self) -> int:
        """Width of what `encode_strand` returns, N D."""
        return int(self.encoder.width) * (1 if self.layers is None else len(self.layers))

    def prepare_training(self) -> None:
        """Choose which weights are trained, add LoRA's updates and whitening; once, with the core loaded."""
        if self.shape.pretrained and self.shape.tuning.whiten:
            self.head.add_whitening()
        if self.frozen:
            self.encoder.requires_grad_(False)
        elif self.shape.tune == "lora":
            add_lora(self.encoder, self.shape.tuning.lora_rank)

    def merge(self) -> None:
        """Add what `prepare_training` has added into the weights of encoder and head, in place."""
        if self.head.whitening is not None:
            self.head.merge_whitening()
        if self.shape.tune == "lora":
            merge_lora(self.encoder)

    def train(self, mode: bool = True) -> "BindingModel":
        """Set training or evaluation; a frozen encoder stays in evaluation: its dropout must not run."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def encode_strand(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, L] to the states of `features`, [B, L, N D]."""
        real = torch.ones_like(tokens, dtype=torch.bool)
        if self.layers is None:
            last: Tensor = self.encoder(tokens, real)
            return last
        states: Tensor = self.encoder(tokens, real, self.layers)
        return states if self.head.mix is None else normalized(states, self.encoder.width)

    def encode(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, L] to the states under the head, [B, L, N D] or with both strands [B, L, 2 N D]."""
        forward = self.encode_strand(tokens)
        if not self.shape.tuning.both_strands:
            return forward
        return torch.cat([forward, self.encode_strand(self.other_strand(tokens)).flip(1)], dim=-1)

    def other_strand(self, tokens: Tensor) -> Tensor:
        """Return the reverse complement of tokens [B, L]."""
        return self.complement[tokens.long()].flip(1)

    def forward(self, tokens: Tensor, states: Tensor | None = None) -> Tensor:
        """Map tokens [B, L], or what `encode` made of them, to scores [B, L]."""
        if states is None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                states = self.encode(tokens)
        if not torch.is_autocast_enabled(states.device.type):
            states = states.to(self.head.fc.weight.dtype)  # cached states are in bfloat16
        scores: Tensor = self.head(states, torch.ones_like(tokens, dtype=torch.bool))
        return scores


def base_codes(letters: Letters) -> Tensor:
    """Return base codes of letters [.., L] for the CNN: 0 to 3, and `NO_BASE` for any other letter; uint8."""
    return torch.from_numpy(np.minimum(BASE_CODES[letters], NO_BASE, dtype=np.uint8))


def token_ids(letters: Letters, tokenizer: CharacterTokenizer) -> Tensor:
    """Return token ids of upper-case IUPAC letters [.., L], uint8.

    A base that the vocabulary has in lower case alone is read so. Any other letter that it lacks becomes its
    N, or where it has no N (vocab4) its A, as in the published project: the model takes it for a real base.

    Raises:
        InputError: if the vocabulary lacks a base in either case.
    """
    table = tokenizer.ids.copy()
    for base in BASES:
        if table[ord(base)] < 0:
            table[ord(base)] = table[ord(base.lower())]
        if table[ord(base)] < 0:
            raise InputError(f"the vocabulary {tokenizer.characters!r} has no token for the base {base}")
    substitute = next(table[ord(letter)] for letter in "NA" if table[ord(letter)] >= 0)
    return torch.from_numpy(np.where(table < 0, substitute, table).astype(np.uint8)[letters])
