"""`dnalm finetune`: a pretrained core under a regression head, trained on a score at each base."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dnalm.commands.binding_options import BindingOptions
from dnalm.commands.binding_run import Start, redraw, train_binding
from dnalm.config import from_recipe
from dnalm.errors import InputError
from dnalm.models.binding import BindingShape, TuneConfig
from dnalm.models.core import load_core
from dnalm.models.open import open_binding
from dnalm.tokens.characters import VOCAB4

TABLES = ("data", "augment", "head", "train", "tuning")
"""What a recipe may set."""


@dataclass(frozen=True)
class Options(BindingOptions):
    """Fine-tune a pretrained model to predict a score at each base, such as TF binding."""

    config: Literal["full", "vocab4"] = "vocab4"
    """The core's vocabulary."""
    checkpoint_dir: Path = Path("outputs")
    """What was --out of `dnalm pretrain`; or a model folder, or a published ckpt_*.pt. One that is
    untrained is refused, one of an unfinished run is told."""
    init_from: Path | None = None
    """A model of `dnalm finetune` to go on from, core and head, on the same windows and split;
    --checkpoint-dir is not read then. A head trained on whitened states magnifies small changes of the core:
    with --tune lora or full take a --lr far below the default."""
    recipe: str = "finetune"
    """finetune, finetune-published, or a TOML file; sets the fields of training, and flags win over it."""
    tuning: TuneConfig = field(default_factory=TuneConfig)
    random_core: bool = False
    """Begin with a core of the same shape that was never trained: what did pretraining buy?"""


def default_options(recipe: str = "finetune") -> Options:
    """Return the options that `--recipe` stands for; flags are laid over them.

    Raises:
        InputError: if the recipe does not exist or has wrong fields, all of them named.
    """
    return from_recipe(Options(), recipe, TABLES)


def run(options: Options) -> None:
    """Train, judge, and write everything that OUT should hold.

    Raises:
        InputError: for a mistake in the options, the core or the data.
    """
    if options.plot_only:
        redraw(options.out)
        return
    name = options.name or options.config + ("_random" if options.random_core else "")
    options = replace(options, name=name)
    if options.init_from is not None:
        train_binding(options, _going_on(options, options.init_from))
        return
    core = load_core(options.checkpoint_dir, options.config, untrained=options.random_core)
    if core.caution and not options.random_core:
        options.run.say(core.caution)
    shape = BindingShape(core.encoder, core.characters, options.head, options.tuning)
    about = {"core": core.origin, "random_core": options.random_core}
    tensors = None if options.random_core else core.tensors
    train_binding(options, Start("finetune", shape, tensors, about, core.path, core.local_start))


def _going_on(options: Options, path: Path) -> Start:
    """Return the start that is a trained model.

    Raises:
        InputError: if it is none, or not of the kind that the options ask for.
    """
    if options.random_core:
        raise InputError("--init-from begins with a trained core and --random-core with none: choose one")
    opened = open_binding(path)
    model = opened.model
    is_vocab4 = model.shape.characters == VOCAB4.characters
    if model.shape.kind != "gpt" or is_vocab4 != (options.config == "vocab4"):
        raise InputError(f"{path}: expected a fine-tuned GPT of --config {options.config}, got another model")
    if model.shape.tuning.both_strands != options.tuning.both_strands:
        has, flag = ("was", "add") if model.shape.tuning.both_strands else ("was not", "leave out")
        raise InputError(f"{path}: {has} trained on both strands; {flag} --both-strands")
    # Its head is trained: neither whitening nor another start for it.
    tuning = replace(options.tuning, whiten=False)
    shape = BindingShape(model.shape.encoder, model.shape.characters, model.shape.head, tuning)
    about = {
        "core": f"{opened.about.get('core')}, then trained as {path}",
        "random_core": bool(opened.about.get("random_core")),
    }
    core, head = dict(model.encoder.state_dict()), dict(model.head.state_dict())
    return Start(
        "finetune",
        shape,
        core,
        about,
        path,
        head=head,
        weights=opened.weights,
        trained_on=str(opened.identity.get("set")),
    )
