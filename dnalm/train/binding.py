"""Training of binding models, of a score at every base: the task, and a run from windows to result files.

Shapes used below
    B  windows in the batch          L  bases (tokens) per window
    M  windows of a part             D  width of the encoder's states
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    read_split_set,
)
from dnalm.data.state_cache import StateStore
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.evaluate.binding import PREDICT_BATCH, binding_detail, binding_scores, predict
from dnalm.models.binding import BindingModel, BindingShape
from dnalm.process import Say, silent
from dnalm.record import peak_memory
from dnalm.train.binding_files import BindingFiles
from dnalm.train.binding_start import BindingStart
from dnalm.train.language import Estimate
from dnalm.train.loop import Loop, Progress, silent_progress
from dnalm.train.optim import EpochConfig
from dnalm.train.resume import BEST
from dnalm.train.run import DEFAULT_RUN, Outcome, RunConfig, TrainingRun, run_folder_lock, seconds_per_step

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
        rows = np.arange(len(self.train), dtype=np.int64)[:: -(-len(self.train) // TRAIN_SAMPLE)]
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


@torch.no_grad()
def calibrate_head(model: BindingModel, windows: BindingWindows) -> None:
    """Fit the start of the head to the core's states of up to `CALIBRATION_SAMPLE` windows.

    The head of an untrained encoder, such as the CNN, is not calibrated: its states are as untrained.
    """
    if not model.shape.pretrained:
        return
    batch = windows.take(np.arange(len(windows), dtype=np.int64)[:: -(-len(windows) // CALIBRATION_SAMPLE)])
    device, was_training = model.head.fc.weight.device, model.training
    model.eval()
    states = batch.states
    if states is None:
        parts = torch.split(batch.tokens, PREDICT_BATCH)
        states = torch.cat([model.encode(part.to(device)) for part in parts])
    model.head.calibrate(states.to(device))
    model.train(was_training)


def with_cached_states(
    parts: Sequence[BindingWindows],
    model: BindingModel,
    folder: Path,
    fabric: "Fabric",
    *,
    limit: int,
    say: Say = silent,
) -> tuple[list[BindingWindows], float]:
    """Return windows with the states of the frozen encoder, and the seconds that computing them took.

    Each distinct window is encoded once, ever, and its other strand by itself.

    Args:
        parts: windows, M each.
        model: its encoder is frozen.
        folder: of the cached states of all encoders.
        fabric: device, precision, processes.
        limit: bytes that the folder may hold.
        say: called with each message.

    Raises:
        InputError: if the states are larger than `limit` or than the space on the disk.
    """
    shape, width = model.shape.as_dict(), model.encoder.width
    identity = {
        "name": "windows",
        "weights": weights_digest(model.encoder),
        "shape": {key: shape[key] for key in ("encoder", "characters")},
        "precision": fabric.strategy.precision.precision,
    }
    fabric.to_device(model).eval()

    @torch.no_grad()
    def encode(texts: list[str]) -> list[Tensor]:
        ids = torch.frombuffer(bytearray("".join(texts).encode()), dtype=torch.uint8)
        tokens = ids.view(len(texts), -1).to(fabric.device)
        with fabric.autocast():
            states: Tensor = model.encoder(tokens, torch.ones_like(tokens, dtype=torch.bool))
        return list(torch.cat([states.mean(1, keepdim=True), states], dim=1))

    # Token ids as characters of ASCII, by part and strand.
    strands = [[part.tokens for part in parts]]
    if model.shape.tuning.both_strands:
        strands.append([model.other_strand(tokens.to(fabric.device)).cpu() for tokens in strands[0]])
    texts = [[[bytes(row).decode() for row in tokens.numpy()] for tokens in strand] for strand in strands]
    every = [text for strand in texts for part in strand for text in part]
    store = StateStore(folder, identity, width)
    store.make_room(every, 2 * (parts[0].tokens.shape[1] + 1) * width, limit, say)
    store.fill(every, encode, say)
    states = zip(*([store.states(part) for part in strand] for strand in texts), strict=True)
    cached = [replace(part, states=tuple(each)) for part, each in zip(parts, states, strict=True)]
    return cached, store.seconds(every)


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
        tables: dict[str, Any] = {"data": self.data, "augment": self.augment, "train": self.train}
        tables |= {"tuning": shape.tuning} if shape.pretrained else {"encoder": shape.encoder}
        return {name: asdict(table) for name, table in (tables | {"head": shape.head}).items()}

    def training_digest(self, shape: BindingShape, seed: int, data: str) -> str:
        """Return a digest that two models share whose training differs in its start alone."""
        recipe = self.as_recipe(shape)
        del recipe["train"]["accumulate"]  # the training is the same
        content = json.dumps({"recipe": recipe, "seed": seed, "data": data}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def check(self) -> None:
        """Raise an InputError for settings that no training can have."""
        if self.max_cache < 0 or not math.isfinite(self.max_cache):
            raise InputError(f"`max_cache` must be at least 0, got {self.max_cache}")
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise InputError(f"`name` must be a plain file name, got {self.name!r}")
        process.check_batch(self.train.batch_size, self.train.accumulate)


class BindingRun:
    """A training run of a binding model: everything is checked and read, and nothing is written yet.

    Args:
        config: data, folder and settings.
        start: the model with which training begins.
        processor: where to compute.
        run: seed, and what may be replaced.
        say: called with each message.
        progress: called after each step.

    Raises:
        InputError: for a mistake in the settings or the data.
    """

    def __init__(
        self,
        config: BindingConfig,
        start: BindingStart,
        processor: Processor,
        run: RunConfig = DEFAULT_RUN,
        *,
        say: Say = silent,
        progress: Progress = silent_progress,
    ) -> None:
        config.check()
        shape, self.files = start.shape, BindingFiles.of(config.out, config.name)
        self.config, self.start = config, start
        self.training = TrainingRun(
            command="finetune" if shape.pretrained else "baseline",
            folder=config.out / config.name,
            processor=processor,
            config=run,
            files=self.files,
            say=say,
            progress=progress,
        )
        self.training.check_folder(option="`out` or `name`", reads=[start.path] if start.path else [])
        if start.caution:
            say(start.caution)
        self.data = data = read_split_set(config.sequences, config.scores, config.data, shape.longest)
        say(data.summary)
        if start.trained_on not in (None, data.about["digest"]):
            raise InputError(
                "`init_from` was trained on other windows or another split, perhaps on some of these "
                "validation windows; give the `sequences`, `scores` and `split` of its training"
            )
        self._validation = data.part("validation")
        train = data.part("train")
        letters, scores = config.augment.augmented(train.letters, train.scores, run.seed)
        torch.manual_seed(run.seed)
        self.model = start.build()
        total = self.model.parameter_count
        self.model.prepare_training()
        trained = self.model.trained_count
        lora = " (low-rank updates included)" if shape.tune == "lora" else ""
        say(f"{config.name}: {total:,} parameters, {trained:,} of them trained{lora}, on {processor}")
        about = {
            "kind": shape.kind,
            "tune": shape.tune if shape.pretrained else "all",
            "both_strands": shape.tuning.both_strands,
            "causal": self.model.encoder.causal,
            "parameters": total,
            "trained_parameters": trained,
            "trained_as": config.training_digest(shape, run.seed, data.about["digest"]),
            "core": start.origin,
            "random_core": start.random_core,
        }
        self.task = BindingTask(
            shape,
            BindingWindows(shape.tokens(letters), torch.from_numpy(scores)),
            BindingWindows(shape.tokens(self._validation.letters), torch.from_numpy(self._validation.scores)),
            about,
        )

    def estimate(self) -> Estimate:
        """Time a few steps without cached states, and write nothing; the figures are upper bounds."""
        config, task, model = self.config.train, self.task, self.model
        batches, fabric = task.windows(config.batch_size, 0), self.training.processor.fabric()
        seconds = seconds_per_step(task, fabric.setup_module(model), batches, fabric, config.accumulate)
        states = 2 * (len(task.train) + len(task.validation)) * task.train.tokens.shape[1] * model.width
        return Estimate(
            seconds=seconds * batches.steps_per_epoch * config.epochs,
            memory_bytes=peak_memory(),
            disk_bytes=12 * model.parameter_count + states * (model.frozen and self.config.max_cache > 0),
        )

    def train(self, recipe: str = "custom") -> dict[str, Any] | None:
        """Train, score the best weights on the validation part, and write all of OUT but the figures.

        Args:
            recipe: name of the settings, for the record.

        Returns:
            The content of results_NAME.json; None in all but the first of several processes.

        Raises:
            InputError: if another run writes to the folder, the states do not fit, or the loss is no number.
        """
        with run_folder_lock(self.training.folder):
            return self._train(recipe)

    def _train(self, recipe: str) -> dict[str, Any] | None:
        config, start, model, task, run = self.config, self.start, self.model, self.task, self.training
        fabric, states_seconds = run.processor.fabric(), 0.0
        core = start.weights or weights_digest(model.encoder)
        cached = model.frozen and config.max_cache > 0
        if cached:
            limit = int(config.max_cache * 1e9)
            (task.train, task.validation), states_seconds = with_cached_states(
                (task.train, task.validation), model, config.out / "cache", fabric, limit=limit, say=run.say
            )
        if start.head is None and not run.config.resume:
            fabric.to_device(model)
            with fabric.autocast():
                calibrate_head(model, task.train)
        settings = config.as_recipe(start.shape)
        identity = {key: value for table in settings.values() for key, value in table.items()}
        identity |= asdict(start.shape.tuning) | {
            "set": self.data.about["digest"],
            "core weights": core,
            "kept states": cached,  # they are rounded to bfloat16
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
            recipe={"name": recipe} | settings | {"model": start.shape.as_dict()},
            data=self.data.about,
            evaluate=lambda loop: self._evaluate(loop, steps, states_seconds),
        )

    def _evaluate(self, loop: Loop, steps: int, states_seconds: float) -> Outcome:
        """Score the best weights on the validation windows, and write the result files."""
        weights, best = checkpoint.load(loop.folder / BEST)
        checkpoint.load_strict(weights, self.task.weights(self.model), str(loop.folder))
        names, truth = self._validation.names, self._validation.scores
        predicted = predict(loop.eval_model(), self.task.validation)
        self.model.merge()
        history: dict[str, list[Any]] = {
            key: [scores[key] for scores in loop.evaluations]
            for key in ("train_loss", "val_loss", "pearson_r", "elapsed")
        }
        history["epoch"] = [round(scores["step"] / steps) for scores in loop.evaluations]
        results = {
            "format": "dnalm-binding-results",
            "format_version": 1,
            "name": self.config.name,
            "model": self.task.about | {"weights": checkpoint.stored_digest(best)},
            "split": self.data.split_about | {"part": "validation"},
            "training": {
                "epochs": history["epoch"][-1],
                "best_epoch": round(best["step"] / steps),
                "best_val_loss": best["val_loss"],
                "seconds": loop.elapsed,
                "states_seconds": states_seconds,
                "training_windows": len(self.task.train),
                "history": history,
            },
            "peak_memory_bytes": peak_memory(),
            "scores": binding_scores(truth, predicted),
            "detail": binding_detail(names, truth, predicted),
            "device": str(self.training.processor),
        }
        self.files.write(results, self.model, names, moments(truth, predicted))
        metrics = {key: results[key] for key in ("name", "model", "split", "training", "scores")}
        return Outcome(results, metrics, {"states_s": states_seconds})
