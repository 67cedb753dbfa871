"""`dnalm finetune`: a pretrained core under a regression head, trained on a score at each base."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from dnalm.commands.info_models import evaluation
from dnalm.commands.progress import progress_bar
from dnalm.commands.runs import RunOptions, epochs_text, forecast, interval, prepare_process
from dnalm.config import from_recipe
from dnalm.errors import InputError, counted
from dnalm.files import finite
from dnalm.models.binding import TuneConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.report.binding import comparison_figures
from dnalm.report.figures import Draw, epoch_curves, save, save_all
from dnalm.results import decode
from dnalm.results.binding import BindingResults
from dnalm.train.binding import BindingConfig, BindingRun
from dnalm.train.binding_start import BindingStart, Vocabulary, start_from_core, start_from_model

TABLES = ("data", "augment", "head", "train", "tuning")  # of a recipe


@dataclass(frozen=True)
class BindingOptions(BindingConfig):
    """Options that `finetune` and `baseline` share."""

    recipe: str = ""  # A recipe's name or a TOML file; sets the fields of training, and flags win over it.
    head: RegressionHeadConfig = field(default_factory=RegressionHeadConfig)
    run: RunOptions = field(default_factory=RunOptions)
    plot_only: bool = False  # Only redraw the two comparison plots from the results that are in OUT.


@dataclass(frozen=True)
class Options(BindingOptions):
    """Fine-tune a pretrained model to predict a score at each base, such as TF binding."""

    config: Vocabulary = "vocab4"  # The core's vocabulary.
    checkpoint_dir: Path = Path("outputs")
    """What was --out of `dnalm pretrain`; or a model folder, or a published ckpt_*.pt. An untrained one is
    refused, one of an unfinished run gives a warning."""
    init_from: Path | None = None
    """A model of `dnalm finetune` to begin with, core and head, on the same windows and split;
    --checkpoint-dir and --features are not read then. A head trained on whitened states magnifies small
    changes of the core: with --tune lora or full take a --lr far below the default."""
    recipe: str = "finetune"
    """finetune, finetune-published, or a TOML file; sets the fields of training, and flags win over it."""
    tuning: TuneConfig = field(default_factory=TuneConfig)
    random_core: bool = False
    """Begin with a core of the same shape that was never trained: what did pretraining buy?"""
    label_fractions: str = ""
    """Fractions of the training windows, such as 0.01,0.1,1, or numbers of them, such as 300,1500: trains the
    pretrained core, an untrained one and two CNNs on each, with as large a fraction of the validation
    windows, and draws how many labels pretraining saves. --resume trains only what is not trained yet."""
    compare_with: str = "untrained,cnn,dilated"
    """With --label-fractions: what is trained beside the pretrained core, separated by commas. Without
    dilated, the CNN that sees as far as the core, a curve cannot tell pretraining from reach."""
    seeds: int = 3  # With --label-fractions: trainings of each model on each of them.
    rule: Path | None = None
    """With --label-fractions: what a rule without training predicts at each base, a table as --scores, to be
    compared with on the test part."""


def default_options(recipe: str = "finetune") -> Options:
    """Return the options that `--recipe` stands for; flags are laid over them.

    Raises:
        InputError: if the recipe does not exist or has wrong fields, all of them named.
    """
    return from_recipe(Options(), recipe, TABLES)


def run(options: Options) -> None:
    """Train, evaluate, print the result, and draw.

    Raises:
        InputError: for a mistake in the options, the core or the data.
    """
    if options.plot_only:
        redraw(options.out)
        return
    if options.label_fractions:
        from dnalm.commands import label_curve  # which imports this module

        label_curve.run(options)
        return
    if options.rule is not None:
        raise InputError("`rule` is compared with in a label curve: give `label_fractions` too")
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
        raise InputError("`init_from` begins with a trained core and `random_core` with none: choose one")
    else:
        start = start_from_model(options.init_from, options.config, options.tuning)
    train(replace(options, name=name), start)


def redraw(out: Path) -> None:
    """Draw the two comparison plots anew from the results in `out`, and print their paths."""
    for path, draw in comparison_figures([out], out).items():
        save(draw, path)
        print(path)


def train(options: BindingOptions, start: BindingStart) -> None:
    """Train a model from `start`, or estimate what that takes; print the result, and draw its curves.

    Raises:
        InputError: for a mistake in the options or the data.
    """
    say, model = options.run.say, options.out / options.name
    processor = prepare_process(options.run.compute, options.run.say)
    with progress_bar(quiet=options.run.quiet) as progress:
        training = BindingRun(options, start, processor, options.run, say=say, progress=progress)
        if options.run.dry_run:
            windows = len(training.task.train)
            what = f"{counted(options.train.epochs, 'epoch')} of {counted(windows, 'window')} into {model}"
            forecast(what, training.estimate())
            return
        results = training.train(options.recipe)
    if results is None:
        return
    curves = decode(finite(results), BindingResults, training.paths["results"]).training
    scores, claim = results["scores"], f"run {evaluation('binding', model)}"
    if not results["split"]["windows"]["test"]:
        claim = "train with --split blocks: the published split has no test part"
    print(
        f"{options.name}: Pearson R {interval(scores['pearson_r'])} over all {scores['bases']:,} bases of "
        f"{counted(scores['windows'], 'validation window')}; {scores['pearson_r_batches']:.4f}, a mean over "
        f"batches; AUROC {scores['auroc']:.4f}, AUPRC {scores['auprc']:.4f}\n"
        f"{epochs_text(results['training'], claim)}\n"
        f"model {model}, results {training.paths['results']}"
    )
    figures: dict[Path, Draw] = {
        training.paths["curves"]: partial(epoch_curves, curves, f"Training, {options.name}")
    }
    try:
        figures |= comparison_figures([options.out], options.out)
    except InputError as error:  # of another file in the folder: this run is done
        say(f"the comparison plots were not drawn: {error}")
    save_all(figures, say)
