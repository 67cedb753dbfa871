"""`dnalm interact train`: a model of genes and molecules, on prepared pairs."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dnalm.commands.info_models import command
from dnalm.commands.progress import progress_bar
from dnalm.commands.runs import RunOptions, epochs_text, forecast, interval, prepare_process, show
from dnalm.config import from_recipe
from dnalm.device import Processor
from dnalm.errors import InputError, counted
from dnalm.models.input_encoder import ModelName
from dnalm.train.combined import CombinedConfig, CombinedRun
from dnalm.train.pairs import RESULTS, PairRun, PairTrainingConfig

MODELS = get_args(ModelName)  # each has a recipe of its name
TABLES = ("encoders", "identity", "tuning", "attention", "train")  # of a recipe
COMBINED = "combined"


@dataclass(frozen=True)
class Options(PairTrainingConfig):
    """Train a model to classify pairs of gene and molecule: do they interact?"""

    model: ModelName | Literal["combined"] = "original"
    """original: the published classifier of one vector a side; foundation: cross-attention between states;
    foundation-pooled: between one vector of each side, as published, to show what that costs; combined:
    counts, common partners, similar molecules, boosted trees and --members, weighed and calibrated."""
    members: tuple[Path, ...] = ()
    """Models that --model combined weighs too: folders of `dnalm interact train`, of the same pairs."""
    recipe: str = "original"
    """The recipe of --model unless given: its name, or a TOML file; flags win over it."""
    run: RunOptions = field(default_factory=RunOptions)


def default_options(recipe: str = "", model: str = "original") -> Options:
    """Return the options that `--recipe` stands for, or `--model` unless it is given; flags win over them.

    Raises:
        InputError: if the recipe does not exist or has wrong fields, all of them named.
    """
    recipe = recipe or (model if model in MODELS else "original")
    start = from_recipe(Options(), recipe, TABLES)
    if model == COMBINED:
        return replace(start, out=Path("runs") / model)
    return replace(start, out=Path("runs") / recipe) if recipe in MODELS else start


def run(options: Options) -> None:
    """Train, score on the validation part, and print the result.

    Raises:
        InputError: for a mistake in the options or the data, and when memory runs out.
    """
    processor = prepare_process(options.run.compute, options.run.say)
    out, say = options.out, options.run.say
    if options.model == COMBINED:
        _print(options, _combine(options, processor))
        return
    if options.members:
        raise InputError("--members is for --model combined; leave it out, or choose that model")
    if options.run.dry_run:
        training = PairRun(options, processor, options.run, say=say)
        estimate, count = training.estimate(), len(training.pairs.parts["train"])
        epochs = f"{counted(options.train.epochs, 'epoch')} of {counted(count, 'pair')} into {out}"
        if estimate.to_encode:
            show(
                f"would encode {estimate.to_encode:,} genes and molecules, once, and then train {epochs}; "
                "how long is known when they are encoded"
            )
            return
        forecast(epochs, estimate)
        return
    with progress_bar(quiet=options.run.quiet) as progress:
        results = PairRun(options, processor, options.run, say=say, progress=progress).train(options.recipe)
    if results is not None:
        _print(options, results)


def _combine(options: Options, processor: Processor) -> dict[str, Any]:
    """Fit a combined model, and return its results."""
    preset = default_options(model=COMBINED)
    if changed := [
        name for name in (*TABLES, "init_from") if getattr(options, name) != getattr(preset, name)
    ]:
        raise InputError(
            f"--model combined trains no network, so that flags and recipes of {', '.join(changed)} change "
            "nothing; train that model first, and give its folder with --members"
        )
    if options.run.dry_run:
        raise InputError("--dry-run: --model combined is fitted in minutes; leave the flag out")
    config = CombinedConfig(options.data, options.out, options.members, options.store)
    return CombinedRun(config, processor, options.run, say=options.run.say).train()


def _print(options: Options, results: dict[str, Any]) -> None:
    """Print the validation scores, and the command that evaluates the test part."""
    out, scores = options.out, results["validation"]
    test = command("interact", "evaluate", out, "--data", options.data, "--part", "test")
    ended = epochs_text(results["training"], f"run {test}")
    if options.model == COMBINED:
        ended = f"the validation part fitted the combiner, and was cross-validated: for a claim run {test}"
    ratio = "" if results["ratio"] is None else f", ratio {results['ratio']}"
    print(
        f"{results['name']}: validation AUROC {interval(scores['auroc'])}, node rate, which sees no feature, "
        f"{results['node_rate_validation']:.4f}; split {results['split']}, negatives {results['negatives']}"
        f"{ratio}, {counted(scores['rows'], 'pair')}, {scores['positives']:,} of them positive\n"
        f"{ended}\n"
        f"model {out}, results {out / RESULTS}"
    )
