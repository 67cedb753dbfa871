"""TF binding at every base: windows + encoder + regression head + mean squared error + Pearson's R.

Shapes used below
    B  windows in the batch          L  bases (tokens) per window
    M  windows of a part             D  width of the encoder's states
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import process
from dnalm.bootstrap import moments, pearson
from dnalm.data.binding import BindingBatch, BindingBatches, BindingWindows, base_codes, token_ids
from dnalm.errors import InputError
from dnalm.models.cnn import CNN, CNNConfig
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.heads import RegressionHead, RegressionHeadConfig
from dnalm.models.lora import add_lora, merge_lora
from dnalm.tokens.characters import CharacterTokenizer

PREDICT_BATCH = 64
"""Windows predicted at a time: no result depends on it."""
CALIBRATION = 256
"""Training windows from whose states the head's start is taken, evenly spread."""
TRAIN_SAMPLE = 1024
"""Training windows on which the training loss is measured at each evaluation, evenly spread."""

Tune = Literal["frozen", "lora", "full"]


@dataclass(frozen=True)
class TuneConfig:
    """Which weights of the encoder are trained, and what it reads."""

    tune: Tune = "frozen"
    """frozen: the head alone; lora: low-rank updates of the core too; full: all weights."""
    lora_rank: int = 8
    """Rank of the updates of --tune lora."""
    both_strands: bool = False
    """The core also reads the reverse complement, so that a causal core sees both sides of every base."""
    whiten: bool = False
    """Train the head on whitened states of a GPT: what varies little is learned as fast as the rest."""

    def __post_init__(self) -> None:
        if self.lora_rank < 1:
            raise InputError(f"lora_rank must be at least 1, got {self.lora_rank}")


@dataclass(frozen=True)
class BindingShape:
    """All that is needed to build a `BindingModel`, weights aside."""

    encoder: GPTConfig | CNNConfig
    characters: str = ""
    """The GPT's vocabulary in id order; empty for a CNN, which reads base codes."""
    head: RegressionHeadConfig = field(default_factory=RegressionHeadConfig)
    tuning: TuneConfig = field(default_factory=TuneConfig)

    @property
    def kind(self) -> str:
        """The encoder's name in `ENCODERS`."""
        return "gpt" if isinstance(self.encoder, GPTConfig) else "cnn"

    @property
    def longest(self) -> int | None:
        """Most bases in a window; None for any number."""
        return self.encoder.block_size if isinstance(self.encoder, GPTConfig) else None

    def tokens(self, letters: npt.NDArray[np.uint8]) -> Tensor:
        """Return what the encoder reads of upper-case IUPAC letters [.., L], uint8."""
        return (
            token_ids(letters, CharacterTokenizer(self.characters))
            if self.characters
            else base_codes(letters)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values from which `from_dict` makes the same shape."""
        return {
            "encoder": {"name": self.kind, **asdict(self.encoder)},
            "characters": self.characters,
            "head": asdict(self.head),
            "tuning": asdict(self.tuning),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "BindingShape":
        """Return the shape that `as_dict` has written."""
        encoder = dict(content["encoder"])
        kind: Any = {"gpt": GPTConfig, "cnn": CNNConfig}[encoder.pop("name")]
        head, tuning = RegressionHeadConfig(**content["head"]), TuneConfig(**content["tuning"])
        return cls(kind(**encoder), content["characters"], head, tuning)


class BindingModel(nn.Module):
    """An encoder under a regression head.

    With both strands the states of the reverse complement, turned round so that each lies at its base, stand
    behind the forward ones: the head's input is twice as wide.
    """

    complement: Tensor

    def __init__(self, shape: BindingShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder: GPT | CNN
        if isinstance(shape.encoder, GPTConfig):
            tokenizer = CharacterTokenizer(shape.characters)
            self.encoder = GPT(shape.encoder, tokenizer.vocab_size)
            complement = torch.from_numpy(tokenizer.complement)
        else:
            self.encoder = CNN(shape.encoder)
            complement = torch.tensor([3, 2, 1, 0, 4], dtype=torch.uint8)
        self.register_buffer("complement", complement, persistent=False)
        self.head = RegressionHead(self.width, shape.head)

    @property
    def width(self) -> int:
        """Width of the states under the head."""
        return self.encoder.width * (2 if self.shape.tuning.both_strands else 1)

    @property
    def frozen(self) -> bool:
        """Whether the encoder's states do not change in training: it is a GPT whose head alone is trained."""
        return self.shape.kind == "gpt" and self.shape.tuning.tune == "frozen"

    def prepare_training(self) -> None:
        """Say which weights are trained, add LoRA's updates and the whitening; once, with the core loaded."""
        if self.shape.kind == "gpt" and self.shape.tuning.whiten:
            self.head.add_whitening()
        if self.frozen:
            self.encoder.requires_grad_(False)
        elif self.shape.kind == "gpt" and self.shape.tuning.tune == "lora":
            add_lora(self.encoder, self.shape.tuning.lora_rank)

    def train(self, mode: bool = True) -> "BindingModel":
        """Set training or evaluation; a frozen encoder stays in evaluation: its dropout must not run."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def encode(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, L] to the states under the head, [B, L, D] or [B, L, 2 D]."""
        real = torch.ones_like(tokens, dtype=torch.bool)
        forward: Tensor = self.encoder(tokens, real)
        if not self.shape.tuning.both_strands:
            return forward
        return torch.cat([forward, self.encoder(self.other_strand(tokens), real).flip(1)], dim=-1)

    def other_strand(self, tokens: Tensor) -> Tensor:
        """Return the reverse complement of tokens [B, L]."""
        return self.complement[tokens.long()].flip(1)

    @torch.no_grad()
    def calibrate(self, windows: BindingWindows) -> None:
        """Fit the start of the head to the core's states of up to `CALIBRATION` training windows.

        A CNN is not calibrated: its states are as untrained as its head.
        """
        if self.shape.kind == "cnn":
            return
        rows = np.arange(len(windows), dtype=np.int64)[:: -(-len(windows) // CALIBRATION)]
        batch = windows.take(rows)
        device = self.head.fc.weight.device
        was_training = self.training
        self.eval()
        self.head.calibrate(
            torch.cat([self.encode(part.to(device)) for part in torch.split(batch.tokens, PREDICT_BATCH)])
            if batch.states is None
            else batch.states.to(device)
        )
        self.train(was_training)

    def forward(self, tokens: Tensor, states: Tensor | None = None) -> Tensor:
        """Map tokens [B, L], or states [B, L, D] computed before, to scores [B, L]."""
        if states is None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                states = self.encode(tokens)
        if not torch.is_autocast_enabled(states.device.type):
            states = states.to(self.head.fc.weight.dtype)  # those that were kept are in bfloat16
        scores: Tensor = self.head(states, torch.ones_like(tokens, dtype=torch.bool))
        return scores

    @property
    def parameter_count(self) -> int:
        """All parameters; those of LoRA too until they are merged."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def trained_count(self) -> int:
        """Parameters that training changes."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def merge(self) -> None:
        """Make encoder and head plain again after training with LoRA or whitened states, in place."""
        if self.head.whitening is not None:
            self.head.merge_whitening()
        if self.shape.kind == "gpt" and self.shape.tuning.tune == "lora":
            merge_lora(self.encoder)


class BindingTask:
    """Predict the score at each base of windows; what the training loop needs to know of it."""

    unit = "bases"

    def __init__(
        self,
        shape: BindingShape,
        train: BindingWindows,
        validation: BindingWindows,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.shape, self.train, self.validation = shape, train, validation
        self.about = dict(about or {})
        """JSON values that are saved with the model: how it was trained, for results."""
        rows = np.arange(len(train), dtype=np.int64)
        self._sample = rows[:: -(-len(train) // TRAIN_SAMPLE)]

    def windows(self, batch_size: int, seed: int) -> BindingBatches:
        """Return the training batches."""
        return BindingBatches(self.train, batch_size, seed)

    def loss(self, model: nn.Module, batch: BindingBatch) -> Tensor:
        """Return the mean squared error over all bases of the batch."""
        return F.mse_loss(model(batch.tokens, batch.states).float(), batch.scores)

    def loss_weight(self, batch: BindingBatch) -> float:
        """Return what the loss is a mean over: bases."""
        return float(batch.scores.numel())

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score `model` on a fixed sample of the training windows and on all validation windows."""
        sample = predict(model, self.train, self._sample, together=True)
        truth = self.train.scores[torch.from_numpy(self._sample)].numpy()
        found = predict(model, self.validation, together=True)
        wanted = self.validation.scores.numpy()
        return {
            "train_loss": float(np.square(sample - truth).mean(dtype=np.float64)),
            "val_loss": float(np.square(found - wanted).mean(dtype=np.float64)),
            "pearson_r": float(pearson(moments(wanted, found).sum(0))),
        }

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return every tensor of the model."""
        return dict(model.state_dict())

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again."""
        return {"kind": "binding", **self.shape.as_dict(), "about": self.about}


@torch.no_grad()
def predict(
    model: nn.Module,
    windows: BindingWindows,
    rows: npt.NDArray[np.int64] | None = None,
    *,
    together: bool = False,
) -> npt.NDArray[np.float32]:
    """Return the scores that `model` predicts for all windows, or for `rows`: [M, L].

    Args:
        model: maps tokens and states to scores.
        windows: of which set.
        rows: of the windows; all unless given.
        together: whether all processes of the run ask for the same at once: each then does its share.
    """
    rows = np.arange(len(windows), dtype=np.int64) if rows is None else rows
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()

    def scores(at: int) -> npt.NDArray[np.float32]:
        batch = windows.take(rows[at : at + PREDICT_BATCH])
        states = None if batch.states is None else batch.states.to(device)
        found: npt.NDArray[np.float32] = model(batch.tokens.to(device), states).float().cpu().numpy()
        return found

    batches = range(0, len(rows), PREDICT_BATCH)
    parts = process.map_over_ranks(batches, scores, together=together)
    model.train(was_training)
    return np.concatenate(parts)
