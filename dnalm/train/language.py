"""Pretraining of a language model on a prepared genome: the task, and a training run from data to results."""

import tempfile
import time
from collections.abc import Callable, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import checkpoint, process
from dnalm.data.language import LanguageBatch, LanguageWindows
from dnalm.device import Processor, choose_compiled
from dnalm.errors import InputError
from dnalm.evaluate.language import evaluate_language, score
from dnalm.files import write_json
from dnalm.genome.folder import PreparedGenome
from dnalm.models.gpt import GPTConfig, start_local
from dnalm.models.language import LanguageModel
from dnalm.process import Say, silent
from dnalm.record import peak_memory
from dnalm.train.loop import Loop, Progress, silent_progress
from dnalm.train.memory import raise_on_out_of_memory
from dnalm.train.optim import TrainConfig
from dnalm.train.resume import BEST
from dnalm.train.run import DEFAULT_RUN, DRY_RUN_STEPS, Outcome, RunConfig, TrainingRun, run_folder_lock

MIN_WEIGHT = 1e-9
"""Stands for the sum of weights that are all 0."""
LADDER_MEMORY = 450_000_000
"""Bytes that counting Markov models of order 12 takes."""
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
        if not 0.0 <= self.repeat_weight <= 1.0:
            raise InputError(f"repeat_weight must be from 0 to 1, got {self.repeat_weight}")
        if self.eval_bases < 1 or self.final_bases < 0:
            raise InputError(
                "eval_bases must be at least 1 and final_bases at least 0, "
                f"got {self.eval_bases} and {self.final_bases}"
            )


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


class ResultFiles(NamedTuple):
    """What a run leaves in OUT beside its own folder, by the names of the published project."""

    checkpoint: Path
    loss_curve: Path
    loss_data: Path
    summary: Path

    @classmethod
    def of(cls, out: Path, mode: str) -> "ResultFiles":
        """Return the files of a mode."""
        names = (f"ckpt_{mode}.pt", f"loss_{mode}.png", f"losses_{mode}.json", f"summary_{mode}.json")
        return cls(*(out / name for name in names))


class Estimate(NamedTuple):
    """What a run would need, from a few steps."""

    seconds: float
    memory_bytes: int
    disk_bytes: int


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
    training, task, model, compiled = _start(config, processor, run, say, progress)
    genome = task.genome
    with run_folder_lock(training.folder):
        return training.train(
            task,
            model,
            config.train,
            fabric=processor.fabric(),
            identity=_identity(config, genome.digest, run.seed, processor.precision),
            recipe={"name": recipe} | config.as_recipe(),
            data={"name": config.mode, "digest": genome.digest}
            | {key: genome.meta[key] for key in ("sources", "split")},
            evaluate=lambda loop: _evaluate(config, loop, task, model, say),
            metrics_so_far=lambda loop: _metrics(loop, model, config.mode),
            stop_at=config.stop_at or None,
            watch=_tensorboard(training.folder) if config.tensorboard else None,
            compiled=compiled,
        )


def estimate_pretraining(
    config: PretrainConfig,
    processor: Processor,
    run: RunConfig = DEFAULT_RUN,
    *,
    say: Say = silent,
) -> Estimate:
    """Time a few steps in a temporary folder; arguments and errors as of `pretrain`, nothing is written."""
    _training, task, model, compiled = _start(config, processor, run, say, silent_progress)
    first = 3 if compiled else 1  # the first steps are slower: they are compiled, memory is new
    steps = first + DRY_RUN_STEPS
    with tempfile.TemporaryDirectory() as scratch:
        loop = Loop(
            task,
            model,
            replace(config.train, steps=steps, eval_every=steps, checkpoint_every=steps),
            folder=Path(scratch),
            fabric=processor.fabric(),
            seed=run.seed,
            identity={},
            compiled=compiled,
        )
        begin = time.monotonic()
        loop.run(stop_at=first)
        start = time.monotonic() - begin  # with two evaluations
        loop.run()
        evaluation = time.monotonic() - begin - start - DRY_RUN_STEPS * loop.seconds_per_step
    count = config.train.steps // config.train.eval_every
    return Estimate(
        seconds=start + config.train.steps * loop.seconds_per_step + count * evaluation,
        memory_bytes=peak_memory() + (0 if processor.device == "cuda" else LADDER_MEMORY),
        # Two states of 3 numbers a parameter and their successor, best weights and theirs, and the .pt file.
        disk_bytes=(4 * 3 + 2 + 1) * 4 * model.parameter_count,
    )


def _start(
    config: PretrainConfig, processor: Processor, run: RunConfig, say: Say, progress: Progress
) -> tuple[TrainingRun, LanguageTask, LanguageModel, bool]:
    """Check everything, and return the run, its task, its untrained model and whether it is compiled."""
    compiled = choose_compiled(config.compile, processor, config.train.steps)
    process.check_batch(config.train.batch_size, config.train.accumulate)
    genome = PreparedGenome(config.data)
    genome.verify()
    folder = config.out / config.mode
    training = TrainingRun(
        command="pretrain",
        folder=folder,
        processor=processor,
        config=run,
        files=ResultFiles.of(config.out, config.mode),
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
    return training, task, model, compiled


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
    checkpoint.put(weights, task.weights(model), str(loop.folder))
    metrics = _metrics(loop, model, config.mode) | evaluate_language(
        loop.eval_model(), task.genome, config.task.final_bases, config.encoder.block_size
    )
    files = ResultFiles.of(config.out, config.mode)
    write_json(files.loss_data, metrics["history"] | {"vocab_size": metrics["vocab_size"]})
    checkpoint.write_pt(
        files.checkpoint,
        {
            "model_args": model_args(config.encoder, task.genome.tokenizer.vocab_size),
            "characters": task.genome.tokenizer.characters,
            "model": {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
            "best_val_loss": best["val_loss"],
            "iter": best["step"],
        },
    )
    names = {key: path.name for key, path in files._asdict().items() if key != "summary"}
    write_json(files.summary, {"elapsed_time": loop.elapsed, "best_val_loss": best["val_loss"], **names})
    return Outcome(metrics, metrics, {"scoring_s": time.monotonic() - begin})


def model_args(encoder: GPTConfig, vocab_size: int) -> dict[str, Any]:
    """Return the model's arguments in a published checkpoint; `position` only when it is not learned."""
    args = {**asdict(encoder), "vocab_size": vocab_size}
    if encoder.position == "learned":
        del args["position"]
    return args


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
