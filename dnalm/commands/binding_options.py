"""Options that `finetune` and `baseline` share, and what of them decides a result."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dnalm.commands.runs import RunOptions
from dnalm.data.binding_set import SplitConfig
from dnalm.errors import InputError
from dnalm.models.binding import BindingShape
from dnalm.models.heads import RegressionHeadConfig
from dnalm.train.optim import EpochConfig


@dataclass(frozen=True)
class AugmentConfig:
    """Copies of the training windows that are trained on beside them."""

    max_shift: int = 10
    """Bases by which each window's copy is shifted at most, never cutting a site off; 0 for no copies."""
    reverse_complement: bool = False
    """Also train on the reverse complement of every window."""

    def __post_init__(self) -> None:
        if self.max_shift < 0:
            raise InputError(f"max_shift must be at least 0, got {self.max_shift}")


@dataclass(frozen=True)
class BindingOptions:
    """Options that `finetune` and `baseline` share."""

    sequences: Path = Path("data/binding/sequences.txt.gz")
    """Windows: a table of sequence and window_name, as `dnalm label` writes it."""
    scores: Path = Path("data/binding/scores.txt.gz")
    """The score at each base: a column a window, a row a base."""
    out: Path = Path("models")
    """Where results go: OUT/NAME/ and files named after it beside it."""
    name: str = ""
    """What the model is called in files and plots."""
    recipe: str = ""
    """A recipe's name or a TOML file; sets the fields of training, and flags win over it."""
    data: SplitConfig = field(default_factory=SplitConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    head: RegressionHeadConfig = field(default_factory=RegressionHeadConfig)
    train: EpochConfig = field(default_factory=EpochConfig)
    run: RunOptions = field(default_factory=RunOptions)
    max_cache: float = 40.0
    """GB that kept states of frozen cores may take on disk; 0 to compute them anew in each epoch."""
    plot_only: bool = False
    """Only redraw the two comparison plots from the results that are in OUT."""


def check_options(options: BindingOptions) -> None:
    """Refuse options that do not go together or are out of range.

    Raises:
        InputError: naming all of them.
    """
    wrong = []
    if options.max_cache < 0 or not math.isfinite(options.max_cache):
        wrong.append(f"--max-cache must be at least 0, got {options.max_cache}")
    if not options.name or "/" in options.name or options.name.startswith("."):
        wrong.append(f"--name must be a plain file name, got {options.name!r}")
    if wrong:
        raise InputError("; ".join(wrong))


def recipe_of(options: BindingOptions) -> dict[str, Any]:
    """Return every setting that decides the result, nested as in a recipe file."""
    names = ("data", "augment", "encoder", "head", "train", "tuning")
    return {name: asdict(getattr(options, name)) for name in names if hasattr(options, name)}


def identity_of(
    options: BindingOptions, shape: BindingShape, data_digest: str, precision: str, core: str
) -> dict[str, Any]:
    """Return what a resumed run must share with the one before: all that decides its weights.

    Args:
        options: of the run.
        shape: of the model.
        data_digest: of the windows and their split.
        precision: resolved.
        core: digest of the encoder's weights at the start.
    """
    tables = recipe_of(options) | {"tuning": asdict(shape.tuning)}
    free = ("patience", "accumulate")
    settings = {key: value for table in tables.values() for key, value in table.items() if key not in free}
    # Kept states are rounded to bfloat16: a head trained on them is another than one trained without.
    kept = shape.tuning.tune == "frozen" and shape.kind == "gpt" and options.max_cache > 0
    data = {"set": data_digest, "core weights": core, "kept states": kept}
    return settings | data | {"seed": options.run.seed, "precision": precision}


def trained_as(options: BindingOptions, data_digest: str) -> str:
    """Return a digest of how a model was trained, its core aside: two that differ in more are no fair pair.

    Args:
        options: of the run.
        data_digest: of the windows and their split.
    """
    recipe = recipe_of(options)
    del recipe["train"]["accumulate"]  # the same training, however a batch is gone through
    told = {"recipe": recipe, "seed": options.run.seed, "data": data_digest}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
