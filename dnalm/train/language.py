"""Pretraining of a language model on a prepared genome: the task, and a training run from data to results."""

import time
from collections.abc import Callable, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import checkpoint, process
from dnalm.config import check_minimum
from dnalm.data.language import LanguageBatch, LanguageWindows
from dnalm.device import Processor, choose_compiled, compile_mode
from dnalm.errors import InputError
from dnalm.evaluate.language import evaluate_language, score
from dnalm.files import write_json
from dnalm.genome.folder import PreparedGenome
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel
from dnalm.models.local_start import start_local
from dnalm.process import Say, silent
from dnalm.record import peak_memory
from dnalm.train.loop import Loop, Progress, silent_progress
from dnalm.train.memory import raise_on_out_of_memory
from dnalm.train.optim import TrainConfig
from dnalm.train.resume import BEST
from dnalm.train.run import DEFAULT_RUN, Outcome, RunConfig, TrainingRun, run_folder_lock, seconds_per_step

MIN_WEIGHT = 1e-9
"""Stands for the sum of weights that are all 0."""
LADDER_MEMORY = 450_000_000
"""Bytes that counting Markov models of order 12 takes."""
HISTORY = {
    "iterations": "step",
    "train_losses": "train_loss",
    "val_losses": "val_loss",
    "bits_per_base": "bits_per_base",
    "elapsed_time": "elapsed",
}
"""Keys of the published history, and of the evaluations."""
TIME_COMPARISON = "training_time_comparison.png"
"""Picture of the training times of both vocabularies."""
NOT_IN_IDENTITY = frozenset({"checkpoint_every", "final_bases", "accumulate"})
"""Settings that a resumed run may change."""


@dataclass(frozen=True)
class LanguageConfig:
    """Settings of language modelling, beside the shape of the model."""

    local_start: bool = True
    """Heads begin by attending to nearby tokens, each at a distance of its own (rotary positions only)."""
    repeat_weight: float = 1.0
    """Weight of soft-masked (lower-case, repetitive) bases in the loss, 0 to 1."""
    eval_bases: int = 76_800
    """Bases of train and of validation scored at each evaluation; the same ones every time."""
    final_bases: int = 500_000
    """Validation bases for the final score and the Markov models; 0 for all."""

    def __post_init__(self) -> None:
        wrong = check_minimum(self, eval_bases=1, final_bases=0)
        if not 0.0 <= self.repeat_weight <= 1.0:
            wrong.append(f"`repeat_weight` must be from 0 to 1, got {self.repeat_weight}")
        if wrong:
            raise InputError("; ".join(wrong))


class LanguageTask:
    """Next-token prediction on one prepared genome."""

    unit = "tokens"

    def __init__(self, genome: PreparedGenome, encoder: GPTConfig, config: LanguageConfig) -> None:
        self.genome, self.encoder, self.config = genome, encoder, config

    def windows(self, batch_size: int, seed: int) -> LanguageWindows:
        """Return the training windows."""
        return LanguageWindows(
            self.genome,
            "train",
            length=self.encoder.block_size,
            batch_size=batch_size,
            seed=seed,
            repeat_weight=self.config.repeat_weight,
        )

    def build_model(self) -> LanguageModel:
        """Return an untrained model."""
        model = LanguageModel(self.encoder, self.genome.tokenizer.vocab_size)
        if self.config.local_start and self.encoder.position == "rotary":
            start_local(model.transformer)
        return model

    def loss(self, model: nn.Module, batch: LanguageBatch) -> Tensor:
        """Return the mean cross-entropy in nats per token (weighted, where the batch has weights)."""
        logits = model(batch.tokens, torch.ones_like(batch.tokens, dtype=torch.bool)).float().flatten(0, 1)
        targets = batch.targets.long().flatten()
        if batch.weights is None:
            return F.cross_entropy(logits, targets)
        weights = batch.weights.flatten()
        each = F.cross_entropy(logits, targets, reduction="none")
        return (each * weights).sum() / weights.sum().clamp(min=MIN_WEIGHT)

    def loss_weight(self, batch: LanguageBatch) -> float:
        """Return what the loss is a mean over: the number of tokens, or the sum of their weights."""
        return float(batch.tokens.numel() if batch.weights is None else batch.weights.sum())

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score `model` on the fixed pieces of train and of validation."""
        bases, length = self.config.eval_bases, self.encoder.block_size
        train = score(model, self.genome, "train", bases, length, together=True)
        val = score(model, self.genome, "val", bases, length, together=True)
        return {
            "train_loss": train.nats_per_token,
            "val_loss": val.nats_per_token,
            "bits_per_base": val.bits_per_base,
        }

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the model's tensors by name, without the tied head."""
        return {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again."""
        return {
            "kind": "language",
            "encoder": {"name": "gpt", **asdict(self.encoder)},
            "vocab_size": self.genome.tokenizer.vocab_size,
            "characters": self.genome.tokenizer.characters,
            "mode": self.genome.mode,
            "data_digest": self.genome.digest,
        }


@dataclass(frozen=True)
class PretrainConfig:
    """Pretraining of a GPT: data, output folder and all settings."""

    data: Path
    """A folder written by `dnalm prepare`, for example data/vocab4; its name is the mode."""
    out: Path = Path("outputs")
    """Where results go: OUT/MODE/ and files named after the mode beside it."""
    encoder: GPTConfig = field(default_factory=GPTConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    task: LanguageConfig = field(default_factory=LanguageConfig)
    gradient_checkpointing: bool = False
    """Compute each block again in the backward pass: slower, and far less memory with many blocks."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Training steps through torch.compile; auto: on CUDA, from 2,000 steps on, where it pays."""
    stop_at: int = 0
    """Stop after this step, score the model and save the state; 0 for none. A run resumed from there keeps
    the scores, and its best weights may be those of this step."""
    tensorboard: bool = False
    """Also log to OUT/MODE/tensorboard (needs dnalm[log])."""

    def __post_init__(self) -> None:
        if self.stop_at < 0:
            raise InputError(f"`stop_at` must be at least 0, got {self.stop_at}")

    @property
    def mode(self) -> str:
        """Name of the prepared folder, after which results are named."""
        return self.data.resolve().name

    def as_recipe(self) -> dict[str, Any]:
        """Return every setting that decides the result, nested as in a recipe file."""
        return {"encoder": asdict(self.encoder), "train": asdict(self.train), "task": asdict(self.task)}

    def settings(self, excluded: Set[str]) -> dict[str, Any]:
        """Return the settings of all tables but those in `excluded`."""
        tables = self.as_recipe().values()
        return {key: value for table in tables for key, value in table.items() if key not in excluded}


class Estimate(NamedTuple):
    """What a run would need, from a few steps."""

    seconds: float
    memory_bytes: int
    disk_bytes: int


def result_files(out: Path, mode: str) -> dict[str, Path]:
    """Return what a run leaves in OUT beside its own folder, by the names of the published project."""
    return {
        "checkpoint": out / f"ckpt_{mode}.pt",
        "loss_curve": out / f"loss_{mode}.png",
        "loss_data": out / f"losses_{mode}.json",
        "summary": out / f"summary_{mode}.json",
    }


def pretrain(
    config: PretrainConfig,
    processor: Processor,
    run: RunConfig = DEFAULT_RUN,
    *,
    recipe: str = "custom",
    say: Say = silent,
    progress: Progress = silent_progress,
) -> dict[str, Any] | None:
    """Train a GPT on a prepared genome, score it beside Markov models, and write all of OUT but the figures.

    Args:
        config: data, folder and settings.
        processor: where to compute.
        run: seed, and what may be replaced.
        recipe: name of the settings, for the record.
        say: called with each message.
        progress: called after each step.

    Returns:
        The metrics that run.json holds; None in all but the first of several processes.

    Raises:
        InputError: for a mistake in the settings or the data, and when memory runs out.
    """
    training, task, model = _start(config, processor, run, say, progress)
    genome = task.genome
    with run_folder_lock(training.folder):
        loop = Loop(
            task,
            model,
            config.train,
            folder=training.folder,
            fabric=processor.fabric(),
            seed=run.seed,
            identity=_identity(config, genome.digest, run.seed, processor.precision),
            watch=_tensorboard(training.folder) if config.tensorboard else None,
            compiled=choose_compiled(config.compile, processor, config.train.steps),
        )
        return training.train(
            loop,
            recipe={"name": recipe} | config.as_recipe(),
            data={"name": config.mode, "digest": genome.digest}
            | {key: genome.meta[key] for key in ("sources", "split")},
            evaluate=lambda loop: _evaluate(config, loop, task, model, say),
            metrics_so_far=lambda loop: _metrics(loop, model, config.mode),
            stop_at=config.stop_at or None,
        )


def estimate_pretraining(
    config: PretrainConfig, processor: Processor, run: RunConfig = DEFAULT_RUN, *, say: Say = silent
) -> Estimate:
    """Time a few steps; arguments and errors as of `pretrain`, and nothing is written."""
    _training, task, model = _start(config, processor, run, say, silent_progress)
    fabric, train = processor.fabric(), config.train
    if choose_compiled(config.compile, processor, train.steps):
        model.compile(mode=compile_mode(fabric, train.accumulate))
    wrapped, batches = fabric.setup_module(model), task.windows(train.batch_size, run.seed)
    seconds = train.steps * seconds_per_step(task, wrapped, batches, fabric, train.accumulate)
    memory = peak_memory() + 8 * model.parameter_count  # the optimiser's moments
    return Estimate(
        seconds,
        memory + (0 if processor.device == "cuda" else LADDER_MEMORY),
        # Two states of 3 numbers a parameter and their successor, best weights and theirs, and the .pt file.
        disk_bytes=(4 * 3 + 2 + 1) * 4 * model.parameter_count,
    )


def _start(
    config: PretrainConfig, processor: Processor, run: RunConfig, say: Say, progress: Progress
) -> tuple[TrainingRun, LanguageTask, LanguageModel]:
    """Check everything, and return the run, its task and its untrained model."""
    choose_compiled(config.compile, processor, config.train.steps)
    process.check_batch(config.train.batch_size, config.train.accumulate)
    genome = PreparedGenome(config.data)
    genome.verify()
    training = TrainingRun(
        command="pretrain",
        folder=config.out / config.mode,
        processor=processor,
        config=run,
        files=list(result_files(config.out, config.mode).values()),
        derived=[config.out / TIME_COMPARISON],
        say=say,
        progress=progress,
    )
    training.check_folder()
    task = LanguageTask(genome, config.encoder, config.task)
    task.windows(config.train.batch_size, run.seed)  # refuses a block longer than the genome's stretches
    with raise_on_out_of_memory(
        f"the weights of {config.encoder.n_layer} layers of width {config.encoder.n_embd:,} do not fit; "
        "choose a smaller `n_embd` or `n_layer`"
    ):
        torch.manual_seed(run.seed)
        model = task.build_model()
        model.transformer.gradient_checkpointing = config.gradient_checkpointing
    say(f"{config.mode}: {model.parameter_count:,} parameters, on {processor}")
    return training, task, model


def _identity(config: PretrainConfig, digest: str, seed: int, precision: str) -> dict[str, Any]:
    """Return what a resumed run must share with the one before: all that decides its weights."""
    free = set(NOT_IN_IDENTITY)
    if config.train.schedule != "plateau" and not config.train.patience:
        free.add("eval_every")  # otherwise evaluations decide the rate or the end
    return config.settings(free) | {"seed": seed, "data": digest, "precision": precision}


def _evaluate(
    config: PretrainConfig, loop: Loop, task: LanguageTask, model: LanguageModel, say: Say
) -> Outcome:
    """Score the best weights beside Markov models, and write the files of the published project."""
    say("scoring the best weights and the Markov models on the same bases")
    begin = time.monotonic()
    weights, best = checkpoint.load(loop.folder / BEST)
    checkpoint.load_strict(weights, task.weights(model), str(loop.folder))
    metrics = _metrics(loop, model, config.mode) | evaluate_language(
        loop.eval_model(), task.genome, config.task.final_bases, config.encoder.block_size
    )
    files = result_files(config.out, config.mode)
    write_json(files["loss_data"], metrics["history"] | {"vocab_size": metrics["vocab_size"]})
    checkpoint.write_pt(
        files["checkpoint"],
        {
            "model_args": model_args(config.encoder, task.genome.tokenizer.vocab_size),
            "characters": task.genome.tokenizer.characters,
            "model": {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
            "best_val_loss": best["val_loss"],
            "iter": best["step"],
        },
    )
    names = {key: path.name for key, path in files.items() if key != "summary"}
    write_json(files["summary"], {"elapsed_time": loop.elapsed, "best_val_loss": best["val_loss"], **names})
    return Outcome(metrics, metrics, {"scoring_s": time.monotonic() - begin})


def model_args(encoder: GPTConfig, vocab_size: int) -> dict[str, Any]:
    """Return the model's arguments in a published checkpoint; `position` only when it is not learned."""
    args = {**asdict(encoder), "vocab_size": vocab_size}
    if encoder.position == "learned":
        del args["position"]
    return args


def _metrics(loop: Loop, model: LanguageModel, mode: str) -> dict[str, Any]:
    history = {key: [scores[name] for scores in loop.evaluations] for key, name in HISTORY.items()}
    per_step = loop.config.batch_size * model.transformer.config.block_size
    last = loop.evaluations[-1] if loop.evaluations else {}
    return {
        "mode": mode,
        "vocab_size": model.transformer.vocab_size,
        "parameters": model.parameter_count,
        "step": loop.step,
        "tokens": loop.step * per_step,
        "train_loss": last.get("train_loss"),
        "val_loss": last.get("val_loss"),
        "best_val_loss": loop.best if last else None,
        "tokens_per_second": per_step / loop.seconds_per_step if loop.seconds_per_step else None,
        "history": history | {"tokens": [step * per_step for step in history["iterations"]]},
    }


def _tensorboard(folder: Path) -> Callable[[dict[str, Any]], None]:
    """Return a function that logs each metrics line to TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError('`tensorboard` needs another package: pip install "dnalm[log]"') from error
    writers: list[Any] = []  # opened at the first line, when an earlier run has been removed

    def write(line: dict[str, Any]) -> None:
        if not writers:
            writers.append(SummaryWriter(folder / "tensorboard"))
        for key, value in (line.get("evaluation") or {key: line[key] for key in ("loss", "lr")}).items():
            writers[0].add_scalar(key, value, line["step"])
        writers[0].flush()

    return write
