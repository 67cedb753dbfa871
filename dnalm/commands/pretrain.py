"""`dnalm pretrain`: train a GPT on a prepared genome and say what it learned."""

import tempfile
import time
from collections.abc import Callable, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from dnalm import checkpoint, process
from dnalm.commands.pretrain_files import clear, result_files, write_results
from dnalm.commands.runs import RunOptions
from dnalm.config import MODIFIED_SUFFIX, NON_TRAINING_FIELDS, from_recipe, nearest
from dnalm.device import Processor, choose_compiled
from dnalm.errors import InputError
from dnalm.evaluate.language import judge
from dnalm.genome.folder import PreparedGenome
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel
from dnalm.models.sizes import SIZES
from dnalm.record import Record, peak_memory
from dnalm.train.language import LanguageConfig, LanguageTask
from dnalm.train.loop import Loop
from dnalm.train.memory import raise_on_out_of_memory
from dnalm.train.optim import TrainConfig
from dnalm.train.resume import BEST

TABLES = ("encoder", "train", "task")
"""What a recipe may set."""
LADDER_MEMORY = 450_000_000
"""Bytes that counting Markov models of order 12 takes."""


@dataclass(frozen=True)
class Options:
    """Train a GPT on a prepared genome, and judge it in bits per base beside Markov models."""

    data: Path
    """A folder written by `dnalm prepare`, for example data/vocab4; its name is the mode."""
    out: Path = Path("outputs")
    """Where results go: OUT/MODE/ and files named after the mode beside it."""
    recipe: str = "default"
    """default, published, or a TOML file; sets every field below, and flags win over it."""
    size: str = ""
    """1M, 3M, 7M, 10M, 30M, 100M or 350M: depth, heads, width and learning rate of a model of about so many
    parameters, in place of the recipe's; flags win over it."""
    encoder: GPTConfig = field(default_factory=GPTConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    task: LanguageConfig = field(default_factory=LanguageConfig)
    run: RunOptions = field(default_factory=RunOptions)
    gradient_checkpointing: bool = False
    """Compute each block again in the backward pass: slower, and far less memory with many blocks."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Training steps through torch.compile; auto: on CUDA, from 2,000 steps on, where it pays."""
    stop_at: int = 0
    """Stop after this step, score the model and save the state; 0 for none. A run that goes on from there
    keeps the scores, and its best weights may be those of this step."""
    tensorboard: bool = False
    """Also log to OUT/MODE/tensorboard (needs dnalm[log])."""


def default_options(recipe: str = "default", size: str = "") -> Options:
    """Return the options that `--recipe` and `--size` stand for; flags are laid over them.

    Raises:
        InputError: if the recipe does not exist or has wrong fields, all of them named, or the size is none.
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
    """Train, judge, and write everything that OUT should hold.

    Raises:
        InputError: for a mistake in the options or the data, and when memory runs out.
    """
    _check_options(options)
    processor = options.run.compute.resolve()
    compiled = choose_compiled(options.compile, processor, options.train.steps)
    process.check_batch(options.train.batch_size, options.train.accumulate)
    genome = PreparedGenome(options.data)
    genome.verify()
    mode = options.data.resolve().name
    options.run.check_folder(options.out / mode, result_files(options.out, mode), "pretrain")
    task = LanguageTask(genome, options.encoder, options.task)
    # Refuses a block longer than the genome's stretches.
    task.windows(options.train.batch_size, options.run.seed)
    with raise_on_out_of_memory(
        f"the weights of {options.encoder.n_layer} layers of width {options.encoder.n_embd:,} do not fit; "
        "choose a smaller --n-embd or --n-layer"
    ):
        torch.manual_seed(options.run.seed)
        model = task.build_model()
        model.transformer.gradient_checkpointing = options.gradient_checkpointing
    options.run.say(f"{mode}: {model.parameter_count:,} parameters, on {processor}")
    if options.run.dry_run:
        _dry_run(options, task, model, processor, compiled)
        return
    with options.run.holding(options.out / mode):
        _train(options, task, model, processor, compiled)


def _train(
    options: Options, task: LanguageTask, model: LanguageModel, processor: Processor, compiled: bool
) -> None:
    mode = options.data.resolve().name
    folder = options.out / mode
    loop = Loop(
        task,
        model,
        options.train,
        folder=folder,
        fabric=processor.fabric(),
        seed=options.run.seed,
        identity=_identity(options, task, processor.precision),
        watch=_watch(folder, options.tensorboard),
        compiled=compiled,
    )
    if options.run.resume:
        loop.resume(options.run.say)
    elif process.is_rank_zero():
        clear(options.out, mode)
    record = Record(
        folder / "run.json",
        "pretrain",
        recipe={"name": _recipe_name(options)} | _recipe(options),
        seed=options.run.seed,
        data={"name": mode, "digest": task.genome.digest}
        | {key: task.genome.meta[key] for key in ("sources", "split")},
        device=f"{processor}, compiled" if compiled else str(processor),
    )
    with options.run.recording(record, loop, lambda: _metrics(loop, model, mode)):
        complete = loop.run(stop_at=options.stop_at or None, quiet=options.run.quiet)
        if not process.is_rank_zero():
            return
        metrics, scoring = _judged(options, loop, task, model, mode)
    record.finish("done" if complete else "interrupted", metrics, training_s=loop.elapsed, scoring_s=scoring)
    print(_summary(options.out, mode, metrics))


def _judged(
    options: Options, loop: Loop, task: LanguageTask, model: LanguageModel, mode: str
) -> tuple[dict[str, Any], float]:
    """Score the best weights, write the result files, and return the metrics and the seconds that took."""
    options.run.say("scoring the best weights and the Markov models on the same bases")
    begin = time.monotonic()
    weights, about = checkpoint.load(options.out / mode / BEST)
    checkpoint.put(weights, task.weights(model), str(options.out / mode))
    metrics = _metrics(loop, model, mode) | judge(task, loop.alone(), options.task.final_bases)
    write_results(options.out, mode, metrics, loop.elapsed, about, model, task)
    return metrics, time.monotonic() - begin


def _metrics(loop: Loop, model: LanguageModel, mode: str) -> dict[str, Any]:
    steps = [int(scores["step"]) for scores in loop.evaluations]
    per_step = loop.config.batch_size * model.transformer.config.block_size
    history: dict[str, list[Any]] = {
        "iterations": steps,
        "tokens": [step * per_step for step in steps],
        "train_losses": [scores["train_loss"] for scores in loop.evaluations],
        "val_losses": [scores["val_loss"] for scores in loop.evaluations],
        "bits_per_base": [scores["bits_per_base"] for scores in loop.evaluations],
        "elapsed_time": [scores["elapsed"] for scores in loop.evaluations],
    }
    return {
        "mode": mode,
        "vocab_size": model.transformer.vocab_size,
        "parameters": model.parameter_count,
        "step": loop.step,
        "tokens": loop.step * per_step,
        "train_loss": history["train_losses"][-1] if steps else None,
        "val_loss": history["val_losses"][-1] if steps else None,
        "best_val_loss": loop.best if steps else None,
        "tokens_per_second": per_step / loop.seconds_per_step if loop.seconds_per_step else None,
        "history": history,
    }


def _summary(out: Path, mode: str, metrics: dict[str, Any]) -> str:
    bits = metrics["bits_per_base"]
    return "\n".join(
        [
            f"{mode}: validation loss {metrics['best_val_loss']:.4f} nats per token after "
            f"{metrics['tokens'] / 1e6:.1f} million tokens; {bits['value']:.4f} bits per base "
            f"(95 % interval {bits['low']:.4f} to {bits['high']:.4f}, {bits['bases']:,} bases)",
            metrics["verdict"],
            f"model {out / mode}, checkpoint {out / f'ckpt_{mode}.pt'}, curve {out / f'loss_{mode}.png'}",
        ]
    )


def _recipe(options: Options) -> dict[str, Any]:
    """Return every setting that decides the result, nested as in a recipe file."""
    return {"encoder": asdict(options.encoder), "train": asdict(options.train), "task": asdict(options.task)}


def _settings(options: Options, free: Set[str]) -> dict[str, Any]:
    """Return the settings of all tables but those in `free`."""
    return {
        key: value for table in _recipe(options).values() for key, value in table.items() if key not in free
    }


def _recipe_name(options: Options) -> str:
    """Return the recipe's name, and say so when flags have changed what it trains."""
    told = default_options(options.recipe, options.size)
    same = _settings(told, NON_TRAINING_FIELDS) == _settings(options, NON_TRAINING_FIELDS)
    return options.recipe + ("" if same else MODIFIED_SUFFIX)


def _identity(options: Options, task: LanguageTask, precision: str) -> dict[str, Any]:
    """Return what a resumed run must share with the one before: all that decides its weights."""
    free = {"checkpoint_every", "final_bases", "accumulate"}
    if options.train.schedule != "plateau" and not options.train.patience:
        free.add("eval_every")  # otherwise evaluations decide the rate or the end
    return _settings(options, free) | {
        "seed": options.run.seed,
        "data": task.genome.digest,
        "precision": precision,
    }


def _check_options(options: Options) -> None:
    wrong = options.run.wrong()
    if options.stop_at < 0:
        wrong.append(f"--stop-at must be at least 0, got {options.stop_at}")
    if wrong:
        raise InputError("; ".join(wrong))


def _watch(folder: Path, tensorboard: bool) -> Callable[[dict[str, Any]], None] | None:
    """Return a function that logs each metrics line to TensorBoard; None when not asked for."""
    if not tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError('--tensorboard needs another package: pip install "dnalm[log]"') from error
    writers: list[Any] = []  # opened at the first line, when an earlier run has been cleared away

    def write(line: dict[str, Any]) -> None:
        writer = writers[0] if writers else SummaryWriter(folder / "tensorboard")
        writers[:] = [writer]
        scores = line.get("evaluation") or {key: line[key] for key in ("loss", "lr")}
        for key, value in scores.items():
            writer.add_scalar(key, value, line["step"])
        writer.flush()

    return write


def _dry_run(
    options: Options, task: LanguageTask, model: LanguageModel, processor: Processor, compiled: bool
) -> None:
    """Time a few steps in a folder that is thrown away, and print what the whole run would need."""
    first, tried = (3 if compiled else 1), 3  # the first ones are slower: they are compiled, memory is new
    steps = first + tried
    with tempfile.TemporaryDirectory() as scratch:
        trial = replace(options.train, steps=steps, eval_every=steps, checkpoint_every=steps)
        loop = Loop(
            task,
            model,
            trial,
            folder=Path(scratch),
            fabric=processor.fabric(),
            seed=options.run.seed,
            identity={},
            compiled=compiled,
        )
        begin = time.monotonic()
        loop.run(stop_at=first, quiet=True)
        start = time.monotonic() - begin  # with two evaluations
        loop.run(quiet=True)
        evaluation = time.monotonic() - begin - start - tried * loop.seconds_per_step
    count = options.train.steps // options.train.eval_every
    seconds = start + options.train.steps * loop.seconds_per_step + count * evaluation
    # Two states of 3 numbers a parameter with their successor, best weights with theirs, and the .pt file.
    disk = (4 * 3 + 2 + 1) * 4 * model.parameter_count
    memory = peak_memory() + (0 if processor.device == "cuda" else LADDER_MEMORY)
    options.run.show(
        f"would train {options.train.steps:,} steps of {options.train.batch_size} windows of "
        f"{options.encoder.block_size} tokens into {options.out / options.data.resolve().name}: about "
        f"{seconds / 60:,.0f} min and the final scoring, {memory / 1e9:.1f} GB of memory, "
        f"{disk / 1e6:,.0f} MB of disk"
    )
