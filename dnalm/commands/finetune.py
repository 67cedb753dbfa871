"""`dnalm finetune`: a pretrained core under a regression head, trained on a score at each base."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dnalm.commands.binding_options import BindingOptions
from dnalm.commands.binding_run import Start, redraw, train_binding
from dnalm.config import from_recipe
from dnalm.tasks.binding import BindingShape, TuneConfig
from dnalm.tasks.core import load_core

TABLES = ("data", "augment", "head", "train", "tuning")
"""What a recipe may set."""


@dataclass(frozen=True)
class Options(BindingOptions):
    """Fine-tune a pretrained model to predict a score at each base, such as TF binding."""

    config: Literal["full", "vocab4"] = "vocab4"
    """The core's vocabulary."""
    checkpoint_dir: Path = Path("outputs")
    """What was --out of `dnalm pretrain`; or a model folder, or a published ckpt_*.pt."""
    recipe: str = "finetune"
    """finetune, finetune-published, or a TOML file; sets the fields of training, and flags win over it."""
    tuning: TuneConfig = field(default_factory=TuneConfig)
    random_core: bool = False
    """Begin with a core of the same shape that was never trained: what did pretraining buy?"""


def default_options(recipe: str) -> Options:
    """Return the options that `--recipe` stands for; flags are laid over them.

    Raises:
        ValueError: if the recipe does not exist or has wrong fields, all of them named.
    """
    return from_recipe(Options(), recipe, TABLES)


def run(options: Options) -> None:
    """Train, judge, and write everything that OUT should hold.

    Raises:
        ValueError: for a mistake in the options, the core or the data.
    """
    if options.plot_only:
        redraw(options.out)
        return
    name = options.name or options.config + ("_random" if options.random_core else "")
    core = load_core(options.checkpoint_dir, options.config)
    shape = BindingShape(core.encoder, core.characters, options.head, options.tuning)
    about = {"core": core.origin, "random_core": options.random_core}
    tensors = None if options.random_core else core.tensors
    train_binding(replace(options, name=name), Start("finetune", shape, tensors, about, core.local_start))
