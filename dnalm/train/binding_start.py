"""Where the training of a binding model begins: a pretrained core, a trained model, or random weights."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from dnalm import checkpoint
from dnalm.errors import InputError
from dnalm.models.binding import BindingModel, BindingShape, TuneConfig
from dnalm.models.core import load_core
from dnalm.models.gpt import GPT
from dnalm.models.heads import RegressionHeadConfig
from dnalm.models.local_start import start_local
from dnalm.models.open import open_binding
from dnalm.tokens.characters import VOCAB4

Vocabulary = Literal["full", "vocab4"]


@dataclass(frozen=True, kw_only=True)
class BindingStart:
    """The shape of a binding model, and its tensors as far as they are trained already."""

    shape: BindingShape
    origin: str | None = None  # Where the core was read and what it was trained on, in words; None for a CNN.
    random_core: bool = False  # Whether the core has random weights.
    core: dict[str, Tensor] | None = None  # The encoder's tensors; None for random weights.
    head: dict[str, Tensor] | None = None  # The head's tensors; None for an untrained head.
    path: Path | None = None  # Where it was read, if it was.
    caution: str = ""  # What limits the core's training, in a sentence.
    local_start: bool = False  # Whether random weights begin as in pretraining, with local heads.
    weights: str = ""  # Digest of a trained model's file, by which --resume recognises it; empty for a core
    trained_on: str | None = None  # Digest of the windows and the split that a trained model was trained on.

    def build(self) -> BindingModel:
        """Return the model; the global random state decides what is not loaded."""
        model = BindingModel(self.shape)
        if self.core is not None:
            checkpoint.load_strict(self.core, model.encoder.state_dict(), str(self.origin))
        elif self.local_start and isinstance(model.encoder, GPT):
            start_local(model.encoder)
        if self.head is not None:
            checkpoint.load_strict(self.head, model.head.state_dict(), str(self.origin))
        return model


def start_from_core(
    checkpoint_dir: Path,
    config: Vocabulary,
    head: RegressionHeadConfig,
    tuning: TuneConfig,
    *,
    random_core: bool = False,
) -> BindingStart:
    """Return the start with a pretrained core under an untrained head.

    Args:
        checkpoint_dir: the folder of `dnalm pretrain`, of a model, or a published ckpt_*.pt.
        config: the core's vocabulary.
        head: shape of the head.
        tuning: which weights are trained.
        random_core: take a core of the same shape with random weights, as pretraining begins with.

    Raises:
        InputError: if there is no such core, or it is untrained.
    """
    core = load_core(checkpoint_dir, config, untrained=random_core)
    cautions = [] if random_core or not core.caution else [core.caution]
    if getattr(core.encoder, "species_token", ""):
        cautions.append(f"{core.path}: fine-tuning reads every window as one of an unknown genome")
    return BindingStart(
        shape=BindingShape(core.encoder, core.characters, head, tuning),
        origin=core.origin,
        random_core=random_core,
        core=None if random_core else core.tensors,
        path=core.path,
        caution="; ".join(cautions),
        local_start=core.local_start and getattr(core.encoder, "position", "") == "rotary",
    )


def start_from_model(path: Path, config: Vocabulary, tuning: TuneConfig) -> BindingStart:
    """Return the start with a trained binding model, core and head; arguments as of `start_from_core`.

    Raises:
        InputError: if it is no fine-tuned core of this vocabulary, or reads other strands.
    """
    opened = open_binding(path)
    model, shape = opened.model, opened.model.shape
    if not shape.pretrained or (shape.characters == VOCAB4.characters) != (config == "vocab4"):
        raise InputError(f"{path}: expected a fine-tuned core of `config` {config}, got another model")
    if shape.tuning.both_strands != tuning.both_strands:
        trained, change = ("was", "add") if shape.tuning.both_strands else ("was not", "leave out")
        raise InputError(f"{path}: {trained} trained on both strands; {change} `both_strands`")
    return BindingStart(
        # The head is trained: it is neither whitened nor calibrated, and reads what it was trained on.
        shape=replace(shape, tuning=replace(tuning, whiten=False, features=shape.tuning.features)),
        origin=f"{opened.about.get('core')}, then trained as {path}",
        random_core=bool(opened.about.get("random_core")),
        core=dict(model.encoder.state_dict()),
        head=dict(model.head.state_dict()),
        path=path,
        weights=opened.weights,
        trained_on=str(opened.identity.get("set")),
    )
