"""`dnalm pretrain`: train a language model on a prepared genome and report what it learned."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dnalm.commands.progress import progress_bar
from dnalm.commands.runs import RunOptions, forecast, interval, prepare_process
from dnalm.config import MODIFIED_SUFFIX, NON_TRAINING_FIELDS, from_recipe, nearest
from dnalm.errors import InputError, counted
from dnalm.files import finite, read_json
from dnalm.genome.folder import PreparedGenome
from dnalm.models.sizes import CONV_SIZES, SIZES, SMALL_GENOME, auto_size
from dnalm.report.figures import loss_curve, save_all, time_comparison
from dnalm.results import decode
from dnalm.results.language import LanguageMetrics
from dnalm.train.language import BITS, TIME_COMPARISON, PretrainConfig, PretrainRun, result_files

TABLES = ("encoder", "train", "task")  # of a recipe


@dataclass(frozen=True)
class Options(PretrainConfig):
    """Train a language model on a prepared genome, and score it in bits per base beside count models."""

    recipe: str = "default"
    """default, published, or a TOML file; sets encoder, train and task, and flags win over it."""
    size: str = "auto"
    """1M, 3M, 7M, 10M, 30M, 100M or 350M: depth, heads, width and learning rate of a model of about so many
    parameters, in place of the recipe's; flags win over it. auto: the default recipe takes 1M for a training
    part of up to 12 million bases (as good as 7M on the 10.1 million of yeast) and 7M for a longer one, which
    was not tried; it leaves other recipes, and a model whose --n-embd is given, as they are."""
    architecture: Annotated[Literal["gpt", "conv"], tyro.conf.arg(name="encoder")] = "gpt"
    """The encoder: a GPT, or dilated convolutions (n_layer blocks, n_embd wide; heads and positions do not
    count), for --objective masked."""
    region_weight: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """FILE.bed=WEIGHT, or FILE.gff3:TYPE=WEIGHT for features of a type: weight in the loss, at least 0, of
    the bases in these regions, multiplied with that of repeats; give it again for another file."""
    run: RunOptions = field(default_factory=RunOptions)


def default_options(
    recipe: str = "default", size: str = "auto", data: str = "", n_embd: str = "", encoder: str = "gpt"
) -> Options:
    """Return the options that `--recipe`, `--size` and `--encoder` stand for; flags are laid over them.

    The size auto depends on `data`, a prepared folder (`run` refuses what is none), and is not used where
    `n_embd` is given.

    Raises:
        InputError: if the recipe or the size does not exist, or the recipe has wrong fields (all named).
    """
    start = replace(from_recipe(Options(data=Path()), recipe, TABLES), size=size)
    if size == "auto":
        if recipe != "default" or n_embd or not (Path(data) / "meta.json").is_file():
            return start
        size = auto_size(_training_bases(Path(data)))
    if size not in SIZES:
        sizes = ["auto", *SIZES]
        raise InputError(f"--size: expected {', '.join(sizes)}, got {size!r}{nearest(size, sizes)}")
    shape = (CONV_SIZES if encoder == "conv" else SIZES)[size]
    train = replace(start.train, lr=shape.rate(start.train.lr), min_lr=shape.rate(start.train.min_lr))
    return replace(start, encoder=replace(start.encoder, **shape._asdict()), train=train)


def run(options: Options) -> None:
    """Train, score, print the result, and draw.

    Raises:
        InputError: for a mistake in the options or the data, and when memory runs out.
    """
    processor = prepare_process(options.run.compute, options.run.say)
    out, mode, say = options.out, options.mode, options.run.say
    if options.size == "auto" and options.recipe == "default":
        _say_size(options)
    if options.run.dry_run:
        estimate = PretrainRun(options, processor, options.run, say=say).estimate()
        forecast(
            f"{counted(options.train.steps, 'step')} of {counted(options.train.batch_size, 'window')} of "
            f"{options.encoder.block_size} tokens into {out / mode}, and then score",
            estimate,
        )
        return
    recipe = _recipe_name(options)
    with progress_bar(quiet=options.run.quiet) as progress:
        metrics = PretrainRun(options, processor, options.run, say=say, progress=progress).train(recipe)
    if metrics is None:
        return
    files = result_files(out, mode)
    scores = decode(finite(metrics), LanguageMetrics, out / mode / "run.json")
    bits = BITS[options.encoder.objective]
    published = "" if scores.masked else f"checkpoint {files['checkpoint']}, "
    print(
        f"{mode}: validation loss {metrics['best_val_loss']:.4f} nats per token after "
        f"{metrics['tokens'] / 1e6:.1f} million tokens; "
        f"{interval(metrics[bits], ' ' + bits.replace('_', ' '))}\n{metrics['verdict']}\n"
        f"model {out / mode}, {published}curve {files['loss_curve']}\n"
        f"next: dnalm compare {out}"
    )
    figures = {files["loss_curve"]: partial(loss_curve, scores, f"Pretraining, {mode}")}
    seconds = {name: _elapsed(result_files(out, name)["summary"]) for name in ("full", "vocab4")}
    if all(seconds.values()):
        times = {name: float(time or 0) for name, time in seconds.items()}
        figures[out / TIME_COMPARISON] = partial(time_comparison, times)
    save_all(figures, say)


def _recipe_name(options: Options) -> str:
    """Return the recipe's name, marked where flags have changed what it trains."""
    preset = default_options(options.recipe, options.size, str(options.data), encoder=options.architecture)
    same = preset.settings(NON_TRAINING_FIELDS) == options.settings(NON_TRAINING_FIELDS)
    return options.recipe + ("" if same and not options.region_weight else MODIFIED_SUFFIX)


def _training_bases(data: Path) -> int:
    """Return the A/C/G/T bases of the training part of a prepared folder."""
    return int(PreparedGenome(data).meta["counts"]["train_bases"])


def _say_size(options: Options) -> None:
    """Say which size auto has taken, and why, unless flags give the model another shape."""
    bases = _training_bases(options.data)
    name = auto_size(bases)
    sizes = CONV_SIZES if options.architecture == "conv" else SIZES
    if sizes[name] == (options.encoder.n_layer, options.encoder.n_head, options.encoder.n_embd):
        limit = f"1M is for up to {SMALL_GENOME / 1e6:.0f} million, 7M beyond"
        options.run.say(f"size {name}, by --size auto: {bases / 1e6:.1f} million training bases; {limit}")


def _elapsed(summary: Path) -> float | None:
    """Return the time in a summary; None when there is none, or one of another program."""
    try:
        return float(read_json(summary)["elapsed_time"])
    except (OSError, InputError, KeyError, TypeError, ValueError):
        return None
