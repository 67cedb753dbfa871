"""`dnalm baseline`: the CNNs that a fine-tuned model must beat, by the same data, head and loop."""

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Literal

import tyro

from dnalm.commands.finetune import BindingOptions, redraw, train
from dnalm.config import from_recipe
from dnalm.models.binding import BindingShape
from dnalm.models.cnn import CNNConfig
from dnalm.models.dilated_cnn import DilatedCNNConfig
from dnalm.train.binding_start import BindingStart

TABLES = ("data", "augment", "encoder", "head", "train")  # of a recipe


@dataclass(frozen=True)
class Options(BindingOptions):
    """Train a CNN baseline on the same windows, with the same head, copies and loop."""

    kind: Annotated[Literal["cnn", "dilated"], tyro.conf.arg(name="encoder")] = "cnn"
    """cnn: one convolution, as published. dilated: six dilated ones behind it, with which each base sees
    all of a window of 300, as with a pretrained model."""
    name: str = ""  # What the model is called in files and plots; baseline, or dilated, unless given.
    recipe: str = "baseline"
    """baseline, dilated or baseline-published, or a TOML file; that of --encoder unless given. Sets fields
    of training, and flags win over it."""
    encoder: CNNConfig = field(default_factory=CNNConfig)

    def start(self) -> BindingStart:
        """Return the untrained model."""
        encoder = self.encoder if self.kind == "cnn" else DilatedCNNConfig(**asdict(self.encoder))
        return BindingStart(shape=BindingShape(encoder, head=self.head))


def default_options(recipe: str = "", encoder: str = "cnn") -> Options:
    """Return the options that `--recipe` stands for, or `--encoder` unless it is given; flags win over them.

    Raises:
        InputError: if the recipe does not exist or has wrong fields, all of them named.
    """
    return from_recipe(Options(), recipe or ("dilated" if encoder == "dilated" else "baseline"), TABLES)


def run(options: Options) -> None:
    """Train, evaluate, print the result, and draw.

    Raises:
        InputError: for a mistake in the options or the data.
    """
    if options.plot_only:
        redraw(options.out)
    else:
        name = options.name or {"cnn": "baseline"}.get(options.kind, options.kind)
        train(replace(options, name=name), options.start())
