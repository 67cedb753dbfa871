"""`dnalm finetune`: a pretrained core under a regression head, trained on a score at each base."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dnalm.commands.progress import progress_bar
from dnalm.commands.runs import RunOptions, prepare_process, show
from dnalm.config import from_recipe
from dnalm.errors import InputError
from dnalm.files import finite
from dnalm.models.binding import TuneConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.report.binding import draw_comparisons
from dnalm.report.figures import epoch_curves, save
from dnalm.results import BindingResults, decode
from dnalm.train.binding import BindingConfig, BindingRun
from dnalm.train.binding_start import BindingStart, Vocabulary, start_from_core, start_from_model

TABLES = ("data", "augment", "head", "train", "tuning")
"""What a recipe may set."""


@dataclass(frozen=True)
class BindingOptions(BindingConfig):
    """Options that `finetune` and `baseline` share."""

    recipe: str = ""
    """A recipe's name or a TOML file; sets the fields of training, and flags win over it."""
    head: RegressionHeadConfig = field(default_factory=RegressionHeadConfig)
    run: RunOptions = field(default_factory=RunOptions)
    plot_only: bool = False
    """Only redraw the two comparison plots from the results that are in OUT."""


@dataclass(frozen=True)
class Options(BindingOptions):
    """Fine-tune a pretrained model to predict a score at each base, such as TF binding."""

    config: Vocabulary = "vocab4"
    """The core's vocabulary."""
    checkpoint_dir: Path = Path("outputs")
    """What was --out of `dnalm pretrain`; or a model folder, or a published ckpt_*.pt. An untrained one is
    refused, one of an unfinished run gives a warning."""
    init_from: Path | None = None
    """A model of `dnalm finetune` to begin with, core and head, on the same windows and split;
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
    """Train, evaluate, draw, and print the result.

    Raises:
        InputError: for a mistake in the options, the core or the data.
    """
    if options.plot_only:
        redraw(options.out)
        return
    name = options.name or options.config + ("_random" if options.random_core else "")
    if options.init_from is None:
        start = start_from_core(
            options.checkpoint_dir,
            options.config,
            options.head,
            options.tuning,
            random_core=options.random_core,
        )
    elif options.random_core:
        raise InputError("--init-from begins with a trained core and --random-core with none: choose one")
    else:
        start = start_from_model(options.init_from, options.config, options.tuning)
    train(replace(options, name=name), start)


def redraw(out: Path) -> None:
    """Draw the two comparison plots anew from the results in `out`, and print their paths."""
    for path in draw_comparisons([out], out):
        print(path)


def train(options: BindingOptions, start: BindingStart) -> None:
    """Train a model from `start`, or estimate what that takes; draw its curves, and print the result.

    Raises:
        InputError: for a mistake in the options or the data.
    """
    say = options.run.say
    processor = prepare_process(options.run.compute)
    if options.run.dry_run:
        training = BindingRun(options, start, processor, options.run, say=say)
        estimate = training.estimate()
        show(
            f"would train {options.train.epochs} epochs of {len(training.task.train):,} windows into "
            f"{options.out / options.name}: at most about {estimate.seconds / 60:,.0f} min, "
            f"{estimate.memory_bytes / 1e9:.1f} GB of memory, {estimate.disk_bytes / 1e6:,.0f} MB of disk"
        )
        return
    with progress_bar(quiet=options.run.quiet) as progress:
        training = BindingRun(options, start, processor, options.run, say=say, progress=progress)
        results = training.train(options.recipe)
    if results is None:
        return
    curves = decode(finite(results), BindingResults, training.paths["results"]).training
    save(epoch_curves(curves, f"Training, {options.name}"), training.paths["curves"])
    print(_summary(options, results))
    print(f"model {options.out / options.name}, results {training.paths['results']}")
    try:
        draw_comparisons([options.out], options.out)
    except InputError as error:  # of another file in the folder: this run is done
        say(f"the comparison plots were not drawn: {error}")


def _summary(options: BindingOptions, results: dict[str, Any]) -> str:
    scores, training = results["scores"], results["training"]
    r = scores["pearson_r"]
    return (
        f"{options.name}: Pearson R {r['value']:.4f} (95 % interval {r['low']:.4f} to {r['high']:.4f}) "
        f"over all {scores['bases']:,} bases of {scores['windows']:,} validation windows, "
        f"{scores['pearson_r_batches']:.4f} as a mean over batches; AUROC {scores['auroc']:.4f}, "
        f"AUPRC {scores['auprc']:.4f}\n"
        f"best epoch {training['best_epoch']} of {training['epochs']}, {training['seconds']:.0f} s of "
        "training; the validation part chose the epoch: for a claim run dnalm evaluate --part test"
    )
