"""`dnalm pretrain`: train a GPT on a prepared genome and report what it learned."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dnalm.commands.progress import progress_bar
from dnalm.commands.runs import RunOptions, prepare_process, show
from dnalm.config import MODIFIED_SUFFIX, NON_TRAINING_FIELDS, from_recipe, nearest
from dnalm.errors import InputError
from dnalm.files import finite, read_json
from dnalm.models.sizes import SIZES
from dnalm.report.figures import loss_curve, save, time_comparison
from dnalm.results import LanguageMetrics, decode
from dnalm.train.language import TIME_COMPARISON, PretrainConfig, PretrainRun, result_files

TABLES = ("encoder", "train", "task")
"""Tables of a recipe."""
MODES = ("full", "vocab4")
"""The two vocabularies whose training times are compared."""


@dataclass(frozen=True)
class Options(PretrainConfig):
    """Train a GPT on a prepared genome, and score it in bits per base beside Markov models."""

    recipe: str = "default"
    """default, published, or a TOML file; sets encoder, train and task, and flags win over it."""
    size: str = ""
    """1M, 3M, 7M, 10M, 30M, 100M or 350M: depth, heads, width and learning rate of a model of about so many
    parameters, in place of the recipe's; flags win over it."""
    run: RunOptions = field(default_factory=RunOptions)


def default_options(recipe: str = "default", size: str = "") -> Options:
    """Return the options that `--recipe` and `--size` stand for; flags are laid over them.

    Raises:
        InputError: if the recipe or the size does not exist, or the recipe has wrong fields (all named).
    """
    start = from_recipe(Options(data=Path()), recipe, TABLES)
    if not size:
        return start
    if size not in SIZES:
        raise InputError(f"--size: expected {', '.join(SIZES)}, got {size!r}{nearest(size, list(SIZES))}")
    shape = SIZES[size]
    train = replace(start.train, lr=shape.rate(start.train.lr), min_lr=shape.rate(start.train.min_lr))
    return replace(start, size=size, encoder=replace(start.encoder, **shape._asdict()), train=train)


def run(options: Options) -> None:
    """Train, score, draw, and print the result.

    Raises:
        InputError: for a mistake in the options or the data, and when memory runs out.
    """
    processor = prepare_process(options.run.compute)
    if options.run.dry_run:
        estimate = PretrainRun(options, processor, options.run, say=options.run.say).estimate()
        show(
            f"would train {options.train.steps:,} steps of {options.train.batch_size} windows of "
            f"{options.encoder.block_size} tokens into {options.out / options.mode}: about "
            f"{estimate.seconds / 60:,.0f} min and the final scoring, {estimate.memory_bytes / 1e9:.1f} GB "
            f"of memory, {estimate.disk_bytes / 1e6:,.0f} MB of disk"
        )
        return
    with progress_bar(quiet=options.run.quiet) as progress:
        training = PretrainRun(options, processor, options.run, say=options.run.say, progress=progress)
        metrics = training.train(_recipe_name(options))
    if metrics is not None:
        _draw(options.out, options.mode, metrics)
        print(_summary(options.out, options.mode, metrics))


def _recipe_name(options: Options) -> str:
    """Return the recipe's name, marked where flags have changed what it trains."""
    preset = default_options(options.recipe, options.size).settings(NON_TRAINING_FIELDS)
    return options.recipe + ("" if preset == options.settings(NON_TRAINING_FIELDS) else MODIFIED_SUFFIX)


def _draw(out: Path, mode: str, metrics: dict[str, Any]) -> None:
    """Draw the loss curve, and the comparison of training times where both vocabularies are trained."""
    curve = result_files(out, mode)["loss_curve"]
    scores = decode(finite(metrics), LanguageMetrics, out / mode / "run.json")
    save(loss_curve(scores, f"Pretraining, {mode}"), curve)
    seconds = {name: _elapsed(result_files(out, name)["summary"]) for name in MODES}
    if all(seconds.values()):
        times = time_comparison({name: float(time or 0) for name, time in seconds.items()})
        save(times, out / TIME_COMPARISON)


def _elapsed(summary: Path) -> float | None:
    """Return the time in a summary; None when there is none, or one of another program."""
    try:
        return float(read_json(summary)["elapsed_time"])
    except (OSError, InputError, KeyError, TypeError, ValueError):
        return None


def _summary(out: Path, mode: str, metrics: dict[str, Any]) -> str:
    bits, files = metrics["bits_per_base"], result_files(out, mode)
    return "\n".join(
        [
            f"{mode}: validation loss {metrics['best_val_loss']:.4f} nats per token after "
            f"{metrics['tokens'] / 1e6:.1f} million tokens; {bits['value']:.4f} bits per base "
            f"(95 % interval {bits['low']:.4f} to {bits['high']:.4f}, {bits['bases']:,} bases)",
            metrics["verdict"],
            f"model {out / mode}, checkpoint {files['checkpoint']}, curve {files['loss_curve']}",
            f"next: dnalm compare {out}",
        ]
    )
