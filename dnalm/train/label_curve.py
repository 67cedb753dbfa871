"""Training on nested parts of the labels: each model, fraction and seed, evaluated on one test part.

Shapes: N test windows; F fractions; S seeds.
"""

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dnalm import process
from dnalm.bootstrap import Numbers, moments
from dnalm.checkpoint import weights_digest
from dnalm.data.binding import BindingWindows, SplitSet
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.evaluate.binding import constant, predict
from dnalm.evaluate.label_curve import curve_statistics
from dnalm.files import atomic_file
from dnalm.process import Say
from dnalm.results import write
from dnalm.train.binding import BindingConfig, BindingRun
from dnalm.train.binding_start import BindingStart
from dnalm.train.loop import Loop, Progress
from dnalm.train.run import RunConfig

LEAST_TRAIN, LEAST_VALIDATION = 16, 4
"""Windows that a fraction must leave."""
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)  # from reading a point
LEAST_STEPS = 15
"""Steps of an epoch: fewer windows are repeated in it."""


class CurveModel(NamedTuple):
    """A model of the curve: how it is trained, and from what."""

    config: BindingConfig
    start: BindingStart


class Point(NamedTuple):
    """One training of a curve."""

    model: str
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        """Its name in files."""
        return f"{self.model.replace(' ', '-')}_{self.fraction:g}_seed{self.seed}"


@dataclass(frozen=True)
class PointCurve:
    """The trainings of a curve, and the file of its results.

    Args:
        name: results go to OUT/label_curve_NAME.json, and what is trained to OUT/label_curve_NAME/.
        models: by name, `results.PRETRAINED` among them; all of one set of windows.
        fractions: of the training and the validation windows, ascending.
        seeds: each chooses the windows and begins a training.

    Raises:
        InputError: if there is no test part, or a fraction leaves too few windows.
    """

    name: str
    models: Mapping[str, CurveModel]
    fractions: Sequence[float]
    seeds: Sequence[int]
    data: SplitSet

    def __post_init__(self) -> None:
        parts = self.data.split.windows
        if not parts["test"]:
            raise InputError("a label curve needs a test part: use `split` blocks")
        if why := constant(self.data.part("test").scores, "a true score of"):
            raise InputError(f"test windows: {why}")
        few = [
            f"{fraction:g} leaves {train} and {validation}"
            for fraction in self.fractions
            for train, validation in [[round(fraction * parts[part]) for part in ("train", "validation")]]
            if train < LEAST_TRAIN or validation < LEAST_VALIDATION
        ]
        if few:
            raise InputError(
                f"`label_fractions`: expected at least {LEAST_TRAIN} training and {LEAST_VALIDATION} "
                f"validation windows, of {parts['train']:,} and {parts['validation']:,}, but "
                f"{', '.join(few)}; take larger fractions"
            )

    @property
    def points(self) -> list[Point]:
        """Every training, the cheapest first."""
        return [
            Point(model, fraction, seed)
            for seed in self.seeds
            for fraction in self.fractions
            for model in self.models
        ]

    @property
    def out(self) -> Path:
        """The folder for the results."""
        return next(iter(self.models.values())).config.out

    @property
    def folder(self) -> Path:
        """The folder of what is trained."""
        return self.out / f"label_curve_{self.name}"

    @property
    def results(self) -> Path:
        """The file of the results."""
        return self.out / f"label_curve_{self.name}.json"

    def prepared(self, point: Point, processor: Processor, **more: Any) -> "PointRun":
        """Return the training of a point."""
        config, start = self.models[point.model]
        data = self.data.labelled(point.fraction, point.seed)
        copies = (2 if config.augment.max_shift else 1) * (2 if config.augment.reverse_complement else 1)
        times = max(1, -(-LEAST_STEPS * config.train.batch_size // (copies * len(data.split.train))))
        data = replace(data, split=replace(data.split, train=np.tile(data.split.train, times)))
        config = replace(config, out=self.folder, name=point.name)
        run = RunConfig(seed=point.seed, overwrite=True)
        return PointRun(config, start, processor, run, data=data, **more)

    def train(
        self, processor: Processor, run: RunConfig, *, say: Say, progress: Progress
    ) -> dict[str, Any] | None:
        """Train what is not trained yet; return the results in the first process, None in the others.

        Raises:
            InputError: if there is another curve in the folder, or a point of it had other settings.
        """
        before = any(self.folder.glob("*.npz")) if process.is_rank_zero() else False
        if before and not (run.resume or run.overwrite):
            raise InputError(
                f"{self.folder}: holds another curve; use `resume`, `overwrite` or another `name`"
            )
        if before and run.overwrite:
            shutil.rmtree(self.folder)
        digests = {name: self._digest(model, processor) for name, model in self.models.items()}
        for number, point in enumerate(self.points, start=1):
            path = self.folder / f"{point.name}.npz"
            if process.broadcast(process.is_rank_zero() and self._is_done(path, digests[point.model])):
                continue
            what = f"{point.model}, {point.fraction:g} of the labels, seed {point.seed}"
            say(f"{number} of {len(self.points)}: {what}")
            training = self.prepared(point, processor, progress=progress)
            training.train()
            if process.is_rank_zero():
                assert training.sums is not None
                with atomic_file(path) as file:
                    np.savez_compressed(file, moments=training.sums, digest=np.array(digests[point.model]))
                shutil.rmtree(training.folder)
            process.barrier()
        return self._summary(processor) if process.is_rank_zero() else None

    def _is_done(self, path: Path, digest: str) -> bool:
        if not path.is_file():
            return False
        with contextlib.suppress(*DAMAGED), np.load(path, allow_pickle=False) as arrays:
            if str(arrays["digest"]) == digest and np.isfinite(arrays["moments"]).all():
                return True
        raise InputError(
            f"{path}: was trained with other settings or windows, or is damaged; give those, or `overwrite`"
        )

    def _digest(self, model: CurveModel, processor: Processor) -> str:
        """Return a digest of all that decides the result of a model, fraction and seed aside."""
        config, start = model
        core = None if start.core is None else weights_digest(start.build().encoder)
        content: list[Any] = [self.data.about["digest"], config.as_recipe(start.shape), core]
        content += [start.shape.as_dict(), start.local_start, processor.precision, LEAST_STEPS]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _summary(self, processor: Processor) -> dict[str, Any]:
        """Write and return the results of all points."""
        sums: dict[str, Numbers] = {}
        for name in self.models:
            files = [[Point(name, each, seed).name for seed in self.seeds] for each in self.fractions]
            sums[name] = np.array([[_moments(self.folder / f"{one}.npz") for one in row] for row in files])
        parts, length = self.data.split.windows, self.data.windows.letters.shape[1]
        windows = [round(fraction * parts["train"]) for fraction in self.fractions]
        labelled = [n + round(f * parts["validation"]) for n, f in zip(windows, self.fractions, strict=True)]
        bases = [length * count for count in labelled]
        results = {
            "format": "dnalm-label-curve",
            "format_version": 1,
            "name": self.name,
            "split": self.data.split_about | {"part": "test"},
            "core": next(model.start.origin for model in self.models.values()),
            "seeds": list(self.seeds),
            "fractions": list(self.fractions),
            "windows": windows,
            "bases": bases,
            **curve_statistics(sums, bases),
            "files": self.data.about["files"],
            "device": str(processor),
        }
        write(self.results, results)
        return results


class PointRun(BindingRun):
    """The training of one point, scored on the test part; nothing of it stays but the sums of each window."""

    reported = ("name",)
    sums: Numbers | None = None  # Moments of the test windows, [N, 6], after training

    def evaluate(self, loop: Loop) -> dict[str, Any]:
        """Score the weights that are best on the validation windows."""
        loop.load_best()
        test = self.data.part("test")
        tokens = self.start.shape.tokens(test.letters)
        predicted = predict(loop.eval_model(), BindingWindows(tokens, torch.from_numpy(test.scores)))
        self.sums = moments(test.scores, predicted)
        return {"name": self.config.name}


def _moments(path: Path) -> Numbers:
    with np.load(path, allow_pickle=False) as arrays:
        sums: Numbers = arrays["moments"]
    return sums


def parse_fractions(text: str) -> tuple[float, ...]:
    """Return fractions of a text such as 0.01,0.1,1, ascending.

    Raises:
        InputError: if they are not different numbers above 0 and at most 1.
    """
    try:
        values = sorted(float(part) for part in text.split(","))
    except ValueError:
        values = []
    if not values or len(set(values)) < len(values) or not all(0.0 < value <= 1.0 for value in values):
        raise InputError(
            f"`label_fractions`: expected numbers above 0 and at most 1, as in 0.01,0.1,1, got {text!r}"
        )
    return tuple(values)
