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

from dnalm import checkpoint
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
from dnalm.data.state_cache import StateStore
from dnalm.errors import InputError
from dnalm.evaluate.binding import (
    PREDICT_BATCH,
    binding_detail,
    binding_scores,
    constant,
    pearson_of_batches,
    predict,
)
from dnalm.files import atomic_file
from dnalm.models.binding import BindingModel, BindingShape
from dnalm.models.published import published_content
from dnalm.process import Say, silent
from dnalm.record import peak_memory
from dnalm.results import write
from dnalm.train.binding_start import BindingStart
from dnalm.train.loop import Loop
from dnalm.train.optim import EpochConfig
from dnalm.train.run import Estimate, TrainingRun, training_summary

if TYPE_CHECKING:  # slow to import
    from lightning_fabric import Fabric

CALIBRATION_SAMPLE = 256
"""Training windows, evenly spaced, from whose states the head's start is computed."""
TRAIN_SAMPLE = 1024
"""Training windows, evenly spaced, on which the training loss is measured at each evaluation."""


class BindingTask:
    """Prediction of the score at each base of windows."""

    def __init__(
        self,
        shape: BindingShape,
        train: BindingWindows,
        validation: BindingWindows,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.shape, self.train, self.validation = shape, train, validation
        self.about = dict(about or {})  # saved with the model: how it was trained, for results

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
        sums = moments(truth, predicted)
        error = sample - self.train.scores.numpy()[rows]
        return {
            "train_loss": float(np.square(error).mean(dtype=np.float64)),
            "val_loss": float(np.square(predicted - truth).mean(dtype=np.float64)),
            "pearson_r": float(pearson(sums.sum(0))),
            "pearson_r_batches": pearson_of_batches(sums),
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
    rows = np.arange(len(windows), dtype=np.int64)[:: -(-len(windows) // CALIBRATION_SAMPLE)]
    device, was_training = model.head.fc.weight.device, model.training
    model.eval()
    mixed = []
    for first in range(0, len(rows), PREDICT_BATCH):
        batch = windows.take(rows[first : first + PREDICT_BATCH])
        states = model.encode(batch.tokens.to(device)) if batch.states is None else batch.states.to(device)
        mixed.append(model.head.mixed(states))
    model.head.calibrate(torch.cat(mixed))
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
        limit: bytes that the folder may hold; InputError if the states are larger.
        say: called with each message.
    """
    shape, width = model.shape.as_dict(), model.strand_width
    identity: dict[str, Any] = {
        "name": "windows",
        "weights": weights_digest(model.encoder),
        "shape": {key: shape[key] for key in ("encoder", "characters")},
        "precision": fabric.strategy.precision.precision,
    }
    if model.layers is not None:
        identity["features"] = model.shape.tuning.features
    fabric.to_device(model).eval()

    @torch.no_grad()
    def encode(texts: list[str]) -> list[Tensor]:
        ids = torch.frombuffer(bytearray("".join(texts).encode()), dtype=torch.uint8)
        tokens = ids.view(len(texts), -1).to(fabric.device)
        with fabric.autocast():
            states = model.encode_strand(tokens)
        return list(torch.cat([states.mean(1, keepdim=True), states], dim=1))

    # Token ids as characters of ASCII, by part and strand.
    strands = [[part.tokens for part in parts]]
    if model.shape.tuning.both_strands:
        strands.append([model.other_strand(tokens.to(fabric.device)).cpu() for tokens in strands[0]])
    texts = [[bytes(row).decode() for row in tokens.numpy()] for strand in strands for tokens in strand]
    every = [text for part in texts for text in part]
    store = StateStore(folder, identity, width)
    store.make_room(every, 2 * (parts[0].tokens.shape[1] + 1) * width, limit, say)
    store.fill(every, encode, say)
    states, count = [store.states(part) for part in texts], len(parts)
    cached = [replace(part, states=tuple(states[at::count])) for at, part in enumerate(parts)]
    return cached, store.seconds(every)


@dataclass(frozen=True)
class BindingConfig:
    """Data, output folder and settings of training, the model aside."""

    sequences: Path = Path("data/binding/sequences.txt.gz")
    """Windows: a table of sequence and window_name, as `dnalm label` writes it."""
    scores: Path = Path("data/binding/scores.txt.gz")
    """The score at each base: a column a window, a row a base."""
    out: Path = Path("models")  # Where results go: OUT/NAME/ and files named after it beside it.
    name: str = ""  # What the model is called in files and plots.
    data: SplitConfig = field(default_factory=SplitConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: EpochConfig = field(default_factory=EpochConfig)
    max_cache: float = 40.0
    """GB that cached states of frozen cores may take on disk; 0 to compute them anew in each epoch."""

    def as_recipe(self, shape: BindingShape) -> dict[str, Any]:
        """Return every setting that decides the result, nested as in a recipe file."""
        tables: dict[str, Any] = {"augment": self.augment, "train": self.train, "head": shape.head}
        tables |= {"tuning": shape.tuning} if shape.pretrained else {"encoder": shape.encoder}
        return {"data": self.data.as_dict()} | {name: asdict(table) for name, table in tables.items()}


class BindingRun(TrainingRun):
    """A training run of a binding model, which begins with `start`."""

    config: BindingConfig
    task: BindingTask
    model: BindingModel
    reported: Sequence[str] = ("name", "model", "split", "training", "scores")

    def __init__(
        self, config: BindingConfig, start: BindingStart, *rest: Any, data: SplitSet | None = None, **how: Any
    ) -> None:
        self.start, self._data = start, data  # windows that are read already
        super().__init__(config, *rest, **how)

    def prepare(self) -> None:
        """Check and read everything, and make the untrained model."""
        config, start, run, say, shape = self.config, self.start, self.run, self.say, self.start.shape
        if not 0 <= config.max_cache < math.inf:
            raise InputError(f"`max_cache` must be at least 0, got {config.max_cache}")
        if not config.name or "/" in config.name or config.name.startswith("."):
            raise InputError(f"`name` must be a plain file name, got {config.name!r}")
        self.command = "finetune" if shape.pretrained else "baseline"
        self.folder, self.paths = config.out / config.name, binding_files(config.out, config.name)
        self.files = list(self.paths.values())
        self.check_folder(option="`out` or `name`", reads=start.path)
        if start.caution:
            say(start.caution)
        paths = config.sequences, config.scores
        self.data = data = self._data or read_split_set(*paths, config.data, shape.longest)
        say(data.summary)
        if start.trained_on not in (None, data.about["digest"]):
            raise InputError(
                "`init_from` was trained on other windows or another split, perhaps on some of these "
                "validation windows; give the `sequences`, `scores` and `split` of its training"
            )
        self._validation, train = data.part("validation"), data.part("train")
        if why := constant(train.scores, "a true score of"):
            raise InputError(f"{config.scores}: nothing to learn in the training windows: {why}")
        if why := constant(self._validation.scores, "a true score of"):
            say(f"validation windows: {why}")
        letters, scores = config.augment.augmented(train.letters, train.scores, run.seed)
        torch.manual_seed(run.seed)
        self.model = start.build()
        total = self.model.parameter_count
        self.model.prepare_training()
        trained = self.model.trained_count
        say(f"{config.name}: {total:,} parameters, {trained:,} of them trained, on {self.processor}")
        recipe = config.as_recipe(shape)
        del recipe["train"]["accumulate"]  # the training is the same
        if shape.pretrained and shape.tuning.features == "last":
            del recipe["tuning"]["features"]  # as runs from before it was a setting
        content = {"recipe": recipe, "seed": run.seed, "data": data.about["digest"]}
        about = {
            "kind": shape.kind,
            "tune": shape.tune if shape.pretrained else "all",
            "both_strands": shape.tuning.both_strands,
            "features": shape.tuning.features,
            "causal": self.model.encoder.causal,
            "parameters": total,
            "trained_parameters": trained,
            # A digest that two models share whose training differs in its start alone.
            "trained_as": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
            "core": start.origin,
            "random_core": start.random_core,
        }
        self.task = BindingTask(
            shape,
            BindingWindows(shape.tokens(letters), torch.from_numpy(scores)),
            BindingWindows(shape.tokens(self._validation.letters), torch.from_numpy(self._validation.scores)),
            about,
        )
        self.steps = self.task.windows(config.train.batch_size, run.seed).steps_per_epoch

    def estimate(self) -> Estimate:
        """Time a few steps without cached states, and write nothing; the figures are upper bounds."""
        found = super().estimate()
        return found._replace(disk_bytes=found.disk_bytes + self._cached_bytes())

    def _cached_bytes(self) -> int:
        """Return how much the cached states of a frozen encoder take; 0 if they are computed in each epoch.

        Those of all layers, for a mix, are computed in each epoch where `max_cache` is too small for them.
        """
        task, limit = self.task, self.config.max_cache
        if not self.model.frozen or not limit:
            return 0
        states = (len(task.train) + len(task.validation)) * (task.train.tokens.shape[1] + 1)
        size = 2 * states * self.model.strand_width * self.model.strands
        if self.model.head.mix is None or size <= limit * 1e9:
            return size
        self.say(f"states of layers take {size / 1e9:.1f} GB, over `max_cache`: computed anew in each epoch")
        return 0

    def train(self, recipe: str = "custom") -> dict[str, Any] | None:
        """Train, score the best weights on the validation part, and write all of OUT but the figures.

        Returns the content of results_NAME.json; None in all but the first of several processes.
        """
        config, shape, model, task = self.config, self.start.shape, self.model, self.task
        cached = self._cached_bytes() > 0
        identity = asdict(shape.tuning) | {
            "set": self.data.about["digest"],
            "core weights": self.start.weights or weights_digest(model.encoder),
            "kept states": cached,  # they are rounded to bfloat16
        }
        if cached:
            limit, parts = int(config.max_cache * 1e9), (task.train, task.validation)
            (task.train, task.validation), self.timings["states_s"] = with_cached_states(
                parts, model, config.out / "cache", self.fabric, limit=limit, say=self.say
            )
        if self.start.head is None and not self.run.resume:
            self.fabric.to_device(model)
            with self.fabric.autocast():
                calibrate_head(model, task.train)
        return self.fit(
            recipe,
            config.as_recipe(shape),
            self.data.about,
            free={"patience", "accumulate"},
            identity=identity,
            shape=shape.as_dict(),
        )

    def evaluate(self, loop: Loop) -> dict[str, Any]:
        """Score the best weights on the validation windows, and write the result files."""
        best, files, mix = loop.load_best(), self.paths, self.model.head.mix
        names, truth = self._validation.names, self._validation.scores
        predicted = predict(loop.eval_model(), self.task.validation)
        layers = None if mix is None else mix.weights.tolist()
        self.model.merge()
        scores = binding_scores(truth, predicted)
        curves = ("train_loss", "val_loss", "pearson_r", "elapsed")
        training = training_summary(loop, best, self.steps, *curves) | {
            "best_val_loss": best["val_loss"],
            "states_seconds": self.timings.get("states_s", 0.0),
            "training_windows": len(self.task.train),
        }
        results = {
            "format": "dnalm-binding-results",
            "format_version": 1,
            "name": self.config.name,
            "model": self.task.about | {"weights": checkpoint.stored_digest(best), "layer_weights": layers},
            "split": self.data.split_about | {"part": "validation"},
            "training": training,
            "peak_memory_bytes": peak_memory(),
            "scores": scores,
            "detail": binding_detail(names, truth, predicted),
            "device": str(self.processor),
        }
        with atomic_file(files["moments"]) as file:
            np.savez_compressed(file, names=np.array(names), moments=moments(truth, predicted))
        about = self._published(training, scores, loop.evaluations)
        published = files["gpt" if self.start.shape.pretrained else "cnn"]
        if (content := published_content(self.model, about)) is None:
            self.say(f"{published.name} is not written: published files have no such sizes, letters or layer")
        else:
            checkpoint.write_pt(published, content)
        if content and mix is not None:
            self.say(f"{published.name} has a mix of layers: published scripts read `features` last alone")
        write(files["results"], results)
        return results

    @staticmethod
    def _published(
        training: Mapping[str, Any], scores: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return what a published file has beside its tensors; its R are means over batches of windows."""
        history = {name: curve[1:] for name, curve in training["history"].items()}  # without the start
        return {
            "best_val_loss": float(training["best_val_loss"]),
            "epoch": training["best_epoch"],
            "elapsed_time": float(training["seconds"]),
            "epoch_times": np.diff(training["history"]["elapsed"]).tolist(),
            "pearson_r": scores["pearson_r_batches"],
            "training_history": {
                "epochs": history["epoch"],
                "train_losses": history["train_loss"],
                "val_losses": history["val_loss"],
                "pearson_scores": [each.get("pearson_r_batches", math.nan) for each in evaluations[1:]],
            },
        }


def binding_files(out: Path, name: str) -> dict[str, Path]:
    """Return what a run leaves in OUT beside the states and weights of its own folder."""
    return {
        "results": out / f"results_{name}.json",
        "curves": out / f"training_curves_{name}.png",
        "gpt": out / f"gpt_binding_model_{name}.pt",
        "cnn": out / ("cnn_baseline_model.pt" if name == "baseline" else f"cnn_{name}_model.pt"),
        "moments": out / name / "moments.npz",
    }
