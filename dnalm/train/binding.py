"""Training of binding models, of a score at every base: the task, and a run from windows to result files.

Shapes used below
    B  windows in the batch          L  bases (tokens) per window
    W  windows of the set
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import checkpoint, process
from dnalm.bootstrap import moments, pearson
from dnalm.checkpoint import weights_digest
from dnalm.data.binding import (
    AugmentConfig,
    BindingBatch,
    BindingBatches,
    BindingWindows,
    SplitConfig,
    SplitSet,
    read_split_set,
)
from dnalm.data.binding_states import StateCache
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.evaluate.binding import PREDICT_BATCH, binding_detail, binding_scores, predict
from dnalm.models.binding import BindingModel, BindingShape
from dnalm.process import Say, silent
from dnalm.record import peak_memory
from dnalm.train.binding_files import BindingFiles
from dnalm.train.binding_start import BindingStart
from dnalm.train.loop import Loop, Progress, silent_progress
from dnalm.train.optim import EpochConfig
from dnalm.train.resume import BEST
from dnalm.train.run import (
    DEFAULT_RUN,
    Outcome,
    RunConfig,
    TrainingRun,
    run_folder_lock,
    seconds_per_step,
)

if TYPE_CHECKING:  # slow to import
    from lightning_fabric import Fabric

CALIBRATION_SAMPLE = 256
"""Training windows, evenly spaced, from whose states the head's start is computed."""
TRAIN_SAMPLE = 1024
"""Training windows, evenly spaced, on which the training loss is measured at each evaluation."""


class BindingTask:
    """Prediction of the score at each base of windows."""

    unit = "bases"

    def __init__(
        self,
        shape: BindingShape,
        train: BindingWindows,
        validation: BindingWindows,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.shape, self.train, self.validation = shape, train, validation
        self.about = dict(about or {})
        """JSON values that are saved with the model: how it was trained, for results."""

    def windows(self, batch_size: int, seed: int) -> BindingBatches:
        """Return the training batches."""
        return BindingBatches(self.train, batch_size, seed)

    def loss(self, model: nn.Module, batch: BindingBatch) -> Tensor:
        """Return the mean squared error over all bases of the batch."""
        return F.mse_loss(model(batch.tokens, batch.states).float(), batch.scores)

    def loss_weight(self, batch: BindingBatch) -> float:
        """Return the number of bases, over which the loss is a mean."""
        return float(batch.scores.numel())

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score `model` on a fixed sample of the training windows and on all validation windows."""
        rows = every_nth(len(self.train), TRAIN_SAMPLE)
        sample = predict(model, self.train, rows, together=True)
        predicted = predict(model, self.validation, together=True)
        truth = self.validation.scores.numpy()
        error = sample - self.train.scores.numpy()[rows]
        return {
            "train_loss": float(np.square(error).mean(dtype=np.float64)),
            "val_loss": float(np.square(predicted - truth).mean(dtype=np.float64)),
            "pearson_r": float(pearson(moments(truth, predicted).sum(0))),
        }

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return every tensor of the model."""
        return dict(model.state_dict())

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again."""
        return {"kind": "binding", **self.shape.as_dict(), "about": self.about}


def every_nth(count: int, most: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return at most `most` of the rows 0 to `count`, evenly spaced."""
    return np.arange(count, dtype=np.int64)[:: -(-count // most)]


@torch.no_grad()
def calibrate_head(model: BindingModel, windows: BindingWindows) -> None:
    """Fit the start of the head to the core's states of up to `CALIBRATION_SAMPLE` windows.

    The head of an untrained encoder, such as the CNN, is not calibrated: its states are as untrained.
    """
    if not model.shape.pretrained:
        return
    batch = windows.take(every_nth(len(windows), CALIBRATION_SAMPLE))
    device = model.head.fc.weight.device
    was_training = model.training
    model.eval()
    states = batch.states
    if states is None:
        parts = torch.split(batch.tokens, PREDICT_BATCH)
        states = torch.cat([model.encode(part.to(device)) for part in parts])
    model.head.calibrate(states.to(device))
    model.train(was_training)


@dataclass(frozen=True)
class BindingConfig:
    """Data, output folder and settings of training, the model aside."""

    sequences: Path = Path("data/binding/sequences.txt.gz")
    """Windows: a table of sequence and window_name, as `dnalm label` writes it."""
    scores: Path = Path("data/binding/scores.txt.gz")
    """The score at each base: a column a window, a row a base."""
    out: Path = Path("models")
    """Where results go: OUT/NAME/ and files named after it beside it."""
    name: str = ""
    """What the model is called in files and plots."""
    data: SplitConfig = field(default_factory=SplitConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: EpochConfig = field(default_factory=EpochConfig)
    max_cache: float = 40.0
    """GB that cached states of frozen cores may take on disk; 0 to compute them anew in each epoch."""

    def as_recipe(self, shape: BindingShape) -> dict[str, Any]:
        """Return every setting that decides the result, nested as in a recipe file."""
        tables = {
            "data": asdict(self.data),
            "augment": asdict(self.augment),
            "head": asdict(shape.head),
            "train": asdict(self.train),
        }
        if shape.pretrained:
            return tables | {"tuning": asdict(shape.tuning)}
        return tables | {"encoder": asdict(shape.encoder)}

    def check(self) -> None:
        """Refuse a name that is no file name, and a cache of no size.

        Raises:
            InputError: naming all mistakes.
        """
        wrong = []
        if self.max_cache < 0 or not math.isfinite(self.max_cache):
            wrong.append(f"`max_cache` must be at least 0, got {self.max_cache}")
        if not self.name or "/" in self.name or self.name.startswith("."):
            wrong.append(f"`name` must be a plain file name, got {self.name!r}")
        if wrong:
            raise InputError("; ".join(wrong))


class Estimate(NamedTuple):
    """What a run would need at most, from a few steps."""

    training_windows: int
    seconds: float
    memory_bytes: int
    models_bytes: int
    states_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A run that can begin."""

    config: BindingConfig
    start: BindingStart
    run: TrainingRun
    data: SplitSet
    task: BindingTask
    model: BindingModel


def train_binding(
    config: BindingConfig,
    start: BindingStart,
    processor: Processor,
    run: RunConfig = DEFAULT_RUN,
    *,
    recipe: str = "custom",
    say: Say = silent,
    progress: Progress = silent_progress,
) -> dict[str, Any] | None:
    """Train a binding model, score it on the validation part, and write all of OUT but the figures.

    Args:
        config: data, folder and settings.
        start: the model with which training begins.
        processor: where to compute.
        run: seed, and what may be replaced.
        recipe: name of the settings, for the record.
        say: called with each message.
        progress: called after each step.

    Returns:
        The content of results_NAME.json; None in all but the first of several processes.

    Raises:
        InputError: for a mistake in the settings or the data.
    """
    prepared = _prepare(config, start, processor, run, say, progress)
    with run_folder_lock(prepared.run.folder):
        return _train(prepared, processor.fabric(), recipe)


def estimate_binding(
    config: BindingConfig,
    start: BindingStart,
    processor: Processor,
    run: RunConfig = DEFAULT_RUN,
    *,
    say: Say = silent,
) -> Estimate:
    """Time a few steps without cached states, and write nothing; arguments as of `train_binding`."""
    prepared = _prepare(config, start, processor, run, say, silent_progress)
    task, model, fabric = prepared.task, prepared.model, processor.fabric()
    batches = task.windows(config.train.batch_size, run.seed)
    seconds = seconds_per_step(task, fabric.setup_module(model), batches, fabric, config.train.accumulate)
    states = 2 * (len(task.train) + len(task.validation)) * task.train.tokens.shape[1] * model.width
    return Estimate(
        training_windows=len(task.train),
        seconds=seconds * batches.steps_per_epoch * config.train.epochs,
        memory_bytes=peak_memory(),
        models_bytes=12 * model.parameter_count,
        states_bytes=states if model.frozen and config.max_cache else 0,
    )


def _prepare(
    config: BindingConfig,
    start: BindingStart,
    processor: Processor,
    run: RunConfig,
    say: Say,
    progress: Progress,
) -> _Prepared:
    """Check everything, read the windows and build the model."""
    config.check()
    process.check_batch(config.train.batch_size, config.train.accumulate)
    training = TrainingRun(
        command=start.command,
        folder=config.out / config.name,
        processor=processor,
        config=run,
        files=BindingFiles.of(config.out, config.name),
        say=say,
        progress=progress,
    )
    training.check_folder(option="`out` or `name`", reads=[] if start.path is None else [start.path])
    if start.caution:
        say(start.caution)
    data = read_split_set(config.sequences, config.scores, config.data, start.shape.longest)
    say(data.summary)
    if start.trained_on not in (None, data.about["digest"]):
        raise InputError(
            "`init_from` was trained on other windows or another split, perhaps on some of these validation "
            "windows; give the `sequences`, `scores` and `split` of its training"
        )
    torch.manual_seed(run.seed)
    model = start.build()
    total = model.parameter_count
    model.prepare_training()
    shape, trained = start.shape, model.trained_count
    settings = config.as_recipe(shape)
    del settings["train"]["accumulate"]  # the training is the same
    # Equal in two models that differ in nothing but their start, and may be compared.
    trained_as = {"recipe": settings, "seed": run.seed, "data": data.about["digest"]}
    about = {
        "kind": shape.kind,
        "tune": shape.tune if shape.pretrained else "all",
        "both_strands": shape.tuning.both_strands,
        "causal": model.encoder.causal,
        "parameters": total,
        "trained_parameters": trained,
        "trained_as": hashlib.sha256(json.dumps(trained_as, sort_keys=True).encode()).hexdigest(),
        **start.about,
    }
    lora = " (low-rank updates included)" if shape.tune == "lora" else ""
    say(f"{config.name}: {total:,} parameters, {trained:,} of them trained{lora}, on {processor}")
    parts = data.part("train"), data.part("validation")
    letters, scores = config.augment.augmented(parts[0].letters, parts[0].scores, run.seed)
    train = BindingWindows(shape.tokens(letters), torch.from_numpy(scores))
    validation = BindingWindows(shape.tokens(parts[1].letters), torch.from_numpy(parts[1].scores))
    task = BindingTask(shape, train, validation, about)
    return _Prepared(config=config, start=start, run=training, data=data, task=task, model=model)


def _train(prepared: _Prepared, fabric: "Fabric", recipe: str) -> dict[str, Any] | None:
    config, start, run, model = prepared.config, prepared.start, prepared.run, prepared.model
    task, states_seconds, shape = prepared.task, 0.0, prepared.start.shape
    core = start.weights or weights_digest(model.encoder)
    if model.frozen and config.max_cache:
        task, states_seconds = _with_cached_states(prepared, fabric)
    if start.head is None and not run.config.resume:
        fabric.to_device(model)
        with fabric.autocast():
            calibrate_head(model, task.train)
    settings = config.as_recipe(shape)
    identity = {key: value for table in settings.values() for key, value in table.items()}
    identity |= asdict(shape.tuning) | {
        "set": prepared.data.about["digest"],
        "core weights": core,
        "kept states": model.frozen and config.max_cache > 0,  # rounded to bfloat16
        "seed": run.config.seed,
        "precision": run.processor.precision,
    }
    del identity["patience"], identity["accumulate"]
    steps = task.windows(config.train.batch_size, run.config.seed).steps_per_epoch
    loop = Loop(
        task,
        model,
        config.train.in_steps(steps),
        folder=run.folder,
        fabric=fabric,
        seed=run.config.seed,
        identity=identity,
    )
    return run.train(
        loop,
        recipe={"name": recipe} | settings | {"model": shape.as_dict()},
        data=prepared.data.about,
        evaluate=lambda loop: _evaluate(prepared, loop, task, steps, states_seconds),
    )


def _with_cached_states(prepared: _Prepared, fabric: "Fabric") -> tuple[BindingTask, float]:
    """Return the task with the frozen core's states from the cache, and the seconds of computing them.

    They are cached of every window of the set, in its order, followed by the copies, and those of the other
    strand separately: another split reads the same file, and both strands that of one.
    """
    config, task, model, split = prepared.config, prepared.task, prepared.model, prepared.data.split
    cache = StateCache(config.out / "cache", int(config.max_cache * 1e9), prepared.run.say)
    described = task.shape.as_dict()
    key = {
        "weights": weights_digest(model.encoder),
        "shape": {name: described[name] for name in ("encoder", "characters")},
        "precision": fabric.strategy.precision.precision,
    }
    fabric.to_device(model)
    model.eval()

    @torch.no_grad()
    def encode(tokens: Tensor) -> Tensor:
        with fabric.autocast():
            tokens = tokens.to(fabric.device)
            states: Tensor = model.encoder(tokens, torch.ones_like(tokens, dtype=torch.bool))
        return states

    every = task.shape.tokens(prepared.data.windows.letters)  # [W, L]
    copies = task.train.tokens[len(split.train) :]
    strands = [torch.cat([every, copies])]
    if task.shape.tuning.both_strands:
        strands.append(model.other_strand(strands[0].to(fabric.device)).cpu())
    cached = [cache.get(encode, tokens, model.encoder.width, key) for tokens in strands]
    states, other = cached[0].states, cached[1].states if cached[1:] else None
    copy_rows = len(every) + torch.arange(len(copies))
    train_rows = torch.cat([torch.from_numpy(split.train), copy_rows])
    train, validation = (
        replace(part, states=states, state_rows=rows, other_states=other)
        for part, rows in ((task.train, train_rows), (task.validation, torch.from_numpy(split.validation)))
    )
    return BindingTask(task.shape, train, validation, task.about), sum(each.seconds for each in cached)


def _evaluate(
    prepared: _Prepared, loop: Loop, task: BindingTask, steps: int, states_seconds: float
) -> Outcome:
    """Score the best weights on the validation windows, and write the result files."""
    config, model = prepared.config, prepared.model
    weights, best = checkpoint.load(loop.folder / BEST)
    checkpoint.load_strict(weights, task.weights(model), str(loop.folder))
    names, truth = prepared.data.part("validation").names, task.validation.scores.numpy()
    predicted = predict(loop.eval_model(), task.validation)
    model.merge()
    history: dict[str, list[Any]] = {
        key: [scores[key] for scores in loop.evaluations]
        for key in ("train_loss", "val_loss", "pearson_r", "elapsed")
    }
    history["epoch"] = [round(scores["step"] / steps) for scores in loop.evaluations]
    results = {
        "format": "dnalm-binding-results",
        "format_version": 1,
        "name": config.name,
        "model": task.about | {"weights": checkpoint.stored_digest(best)},
        "split": prepared.data.split_about | {"part": "validation"},
        "training": {
            "epochs": history["epoch"][-1],
            "best_epoch": round(best["step"] / steps),
            "best_val_loss": best["val_loss"],
            "seconds": loop.elapsed,
            "states_seconds": states_seconds,
            "training_windows": len(task.train),
            "history": history,
        },
        "peak_memory_bytes": peak_memory(),
        "scores": binding_scores(truth, predicted),
        "detail": binding_detail(names, truth, predicted),
        "device": str(prepared.run.processor),
    }
    BindingFiles.of(config.out, config.name).write(results, model, names, truth, predicted)
    metrics = {key: results[key] for key in ("name", "model", "split", "training", "scores")}
    return Outcome(results, metrics, {"states_s": states_seconds})
