"""`dnalm baseline`: the CNN that a fine-tuned model must beat, by the same data, head and loop."""

from dataclasses import dataclass, field

from dnalm.commands.finetune import BindingOptions, redraw, train
from dnalm.config import from_recipe
from dnalm.models.binding import BindingShape
from dnalm.models.cnn import CNNConfig
from dnalm.train.binding_start import BindingStart

TABLES = ("data", "augment", "encoder", "head", "train")  # of a recipe


@dataclass(frozen=True)
class Options(BindingOptions):
    """Train the CNN baseline on the same windows, with the same head, copies and loop."""

    name: str = "baseline"  # What the model is called in files and plots.
    recipe: str = "baseline"
    """baseline, baseline-published, or a TOML file; sets the fields of training, and flags win over it."""
    encoder: CNNConfig = field(default_factory=CNNConfig)


def default_options(recipe: str = "baseline") -> Options:
    """Return the options that `--recipe` stands for; flags are laid over them.

    Raises:
        InputError: if the recipe does not exist or has wrong fields, all of them named.
    """
    return from_recipe(Options(), recipe, TABLES)


def run(options: Options) -> None:
    """Train, evaluate, print the result, and draw.

    Raises:
        InputError: for a mistake in the options or the data.
    """
    if options.plot_only:
        redraw(options.out)
    else:
        train(options, BindingStart(shape=BindingShape(options.encoder, head=options.head)))
