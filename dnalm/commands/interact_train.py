"""`dnalm interact train`: a model of genes and molecules, on prepared pairs."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from dnalm.commands.progress import progress_bar
from dnalm.commands.runs import RunOptions, prepare_process, show
from dnalm.config import from_recipe
from dnalm.models.input_encoder import ModelName
from dnalm.train.pairs import RESULTS, PairRun, PairTrainingConfig

MODELS = get_args(ModelName)
"""Each has a recipe of its name."""
TABLES = ("encoders", "tuning", "attention", "train")
"""Tables of a recipe."""


@dataclass(frozen=True)
class Options(PairTrainingConfig):
    """Train a model to classify pairs of gene and molecule: do they interact?"""

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
    return replace(start, out=Path("runs") / recipe) if recipe in MODELS else start


def run(options: Options) -> None:
    """Train, score on the validation part, and print the result.

    Raises:
        InputError: for a mistake in the options or the data, and when memory runs out.
    """
    processor = prepare_process(options.run.compute)
    if options.run.dry_run:
        training = PairRun(options, processor, options.run, say=options.run.say)
        estimate, count = training.estimate(), len(training.pairs.parts["train"])
        epochs = f"{options.train.epochs} epochs of {count:,} pairs into {options.out}"
        if estimate.to_encode:
            show(
                f"would encode {estimate.to_encode:,} genes and molecules, once, and then train {epochs}; "
                "how long is known when they are encoded"
            )
            return
        minutes = estimate.seconds / 60
        show(
            f"would train {epochs}: about {minutes / options.train.epochs:,.1f} min an epoch, at most "
            f"{minutes:,.0f} min in all, {estimate.memory_bytes / 1e9:.1f} GB of "
            f"memory, {estimate.disk_bytes / 1e6:,.0f} MB of models"
        )
        return
    with progress_bar(quiet=options.run.quiet) as progress:
        training = PairRun(options, processor, options.run, say=options.run.say, progress=progress)
        results = training.train(options.recipe)
    if results is not None:
        print(_summary(options.out, results))


def _summary(out: Path, results: dict[str, Any]) -> str:
    scores, training, area = results["validation"], results["training"], results["validation"]["auroc"]
    ratio = "" if results["ratio"] is None else f", ratio {results['ratio']}"
    return "\n".join(
        [
            f"{results['name']}: validation AUROC {area['value']:.4f} (95 % interval {area['low']:.4f} to "
            f"{area['high']:.4f}), node rate, which sees no feature, {results['node_rate_validation']:.4f}; "
            f"split {results['split']}, negatives {results['negatives']}{ratio}, "
            f"{scores['rows']:,} pairs, {scores['positives']:,} of them positive",
            f"best epoch {training['best_epoch']} of {training['epochs']}, {training['seconds']:.0f} s of "
            "training; the validation part chose the epoch: for a claim run dnalm interact evaluate "
            f"{out} --part test",
            f"model {out}, results {out / RESULTS}",
        ]
    )
