"""Training on nested parts of the labels: each model, number of windows and seed, evaluated on one test part.

Shapes: N test windows; L bases of each; F numbers of training windows; S seeds.
"""

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
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
from dnalm.evaluate.label_curve import curve_statistics, sum_stretches
from dnalm.files import atomic_file
from dnalm.formats.binding import Scores
from dnalm.process import Say
from dnalm.record import Record
from dnalm.results import write
from dnalm.results.labels import RULE
from dnalm.train.binding import BindingConfig, BindingRun
from dnalm.train.binding_start import BindingStart
from dnalm.train.loop import Loop, Progress
from dnalm.train.run import RunConfig

LEAST_TRAIN, LEAST_VALIDATION = 16, 4
"""Windows of each part that there must be."""
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
    windows: int  # Of the training part
    seed: int

    @property
    def name(self) -> str:
        """Its name in files."""
        return f"{self.model.replace(' ', '-')}_{self.windows}_seed{self.seed}"

    @property
    def file(self) -> str:
        """Its file of moments in the folder of the curve."""
        return f"{self.name}.npz"


@dataclass(frozen=True)
class PointCurve:
    """The trainings of a curve, and the file of its results.

    Args:
        name: results go to OUT/label_curve_NAME.json, and what is trained to OUT/label_curve_NAME/.
        models: by name, `results.PRETRAINED` among them; all of one set of windows.
        sizes: numbers of training windows, ascending; the validation part is cut by the same fraction.
        seeds: each chooses the windows and begins a training.
        data: the windows.
        rule: what a rule that is not trained predicts of the test windows, [N, L]; None for no rule.

    Raises:
        InputError: if there is no test part, a number of windows is too small or too large, or all labels
            of a training, of the test part or of the rule are the same.
    """

    name: str
    models: Mapping[str, CurveModel]
    sizes: Sequence[int]
    seeds: Sequence[int]
    data: SplitSet
    rule: Scores | None = None

    def __post_init__(self) -> None:
        parts = self.data.split.windows
        if not parts["test"]:
            raise InputError("a label curve needs a test part: use `split` blocks")
        for scores, what in ((self.data.part("test").scores, "a true"), (self.rule, "the rule's")):
            if scores is not None and (why := constant(scores, f"{what} score of")):
                raise InputError(f"test windows: {why}")
        few = [
            f"{train} and {validation}"
            for train, validation in zip(self.sizes, self.validation_sizes, strict=True)
            if train < LEAST_TRAIN or validation < LEAST_VALIDATION
        ]
        if few:
            raise InputError(
                f"`label_fractions`: expected at least {LEAST_TRAIN} training and {LEAST_VALIDATION} "
                f"validation windows, of {parts['train']:,} and {parts['validation']:,}, got "
                f"{'; '.join(few)}; take larger ones"
            )
        if self.sizes[-1] > parts["train"]:
            raise InputError(f"expected at most {parts['train']:,} training windows, got {self.sizes[-1]:,}")
        for size, seed in product(self.sizes, self.seeds):
            if why := constant(self.data.labelled(size, seed).part("train").scores, "a score of"):
                raise InputError(f"{size:,} training windows of seed {seed}: {why}; take more windows")

    @property
    def validation_sizes(self) -> list[int]:
        """Validation windows of each number of training windows, [F]."""
        parts = self.data.split.windows
        return [round(parts["validation"] * size / parts["train"]) for size in self.sizes]

    @property
    def points(self) -> list[Point]:
        """Every training, seed by seed, the fewest windows first."""
        return [
            Point(model, windows, seed)
            for seed in self.seeds
            for windows in self.sizes
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
        data = self.data.labelled(point.windows, point.seed)
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
        todo: list[Point] = []
        digests = {name: self._digest(model, processor) for name, model in self.models.items()}
        if process.is_rank_zero():
            todo = [each for each in self.points if not self._is_done(each, digests[each.model])]
        todo = process.broadcast(todo)
        recipe = {name: config.as_recipe(start.shape) for name, (config, start) in self.models.items()}
        record = Record(
            self.results.with_name(f"run_{self.results.name}"),
            "finetune",
            recipe={"name": "label curve", **recipe},
            seed=self.seeds[0],
            data=self.data.about,
            device=str(processor),
        )
        with record.ending():
            for number, point in enumerate(todo, start=1):
                what = f"{point.model}, {point.windows:,} training windows, seed {point.seed}"
                say(f"{number} of {len(todo)}: {what}")
                training = self.prepared(point, processor, progress=progress)
                training.train()
                if process.is_rank_zero():
                    assert training.sums is not None
                    digest = np.array(digests[point.model])
                    with atomic_file(self.folder / point.file) as file:
                        np.savez_compressed(file, moments=training.sums, digest=digest)
                    shutil.rmtree(training.folder)
                process.barrier()
            if not process.is_rank_zero():
                return None
            results = self._summary(processor)
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        record.finish("done", results)
        return results

    def _is_done(self, point: Point, digest: str) -> bool:
        path = self.folder / point.file
        if not path.is_file():
            return False
        with contextlib.suppress(*DAMAGED), np.load(path, allow_pickle=False) as arrays:
            if str(arrays["digest"]) == digest and np.isfinite(arrays["moments"]).all():
                return True
        raise InputError(
            f"{path}: was trained with other settings or windows, or is damaged; give those, or `overwrite`"
        )

    def _digest(self, model: CurveModel, processor: Processor) -> str:
        """Return a digest of all that decides the result of a model, windows and seed aside."""
        config, start = model
        core = None if start.core is None else weights_digest(start.build().encoder)
        content: list[Any] = [self.data.about["digest"], config.as_recipe(start.shape), core]
        content += [start.shape.as_dict(), start.local_start, processor.precision, LEAST_STEPS]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _summary(self, processor: Processor) -> dict[str, Any]:
        """Write and return the results of all points."""
        test = self.data.part("test")
        sums = read_moments(self.folder, list(self.models), self.sizes, self.seeds, test.names)
        if self.rule is not None:
            of_rule = sum_stretches(moments(test.scores, self.rule), test.names)
            sums[RULE] = np.broadcast_to(of_rule, next(iter(sums.values())).shape)
        length = self.data.windows.letters.shape[1]
        bases = [length * sum(each) for each in zip(self.sizes, self.validation_sizes, strict=True)]
        results = {
            "format": "dnalm-label-curve",
            "format_version": 1,
            "name": self.name,
            "split": self.data.split_about | {"part": "test"},
            "core": next(model.start.origin for model in self.models.values()),
            "seeds": list(self.seeds),
            "windows": list(self.sizes),
            "validation_windows": self.validation_sizes,
            "bases": bases,
            **curve_statistics(sums, bases),
            "files": self.data.about["files"],
            "device": str(processor),
        }
        write(self.results, results)
        return results


class PointRun(BindingRun):
    """The training of one point, scored on the test part; only the sums of each window are returned."""

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


def read_moments(
    folder: Path, models: Sequence[str], sizes: Sequence[int], seeds: Sequence[int], names: Sequence[str]
) -> dict[str, Numbers]:
    """Return the moments of stretches of the test part, [F, S, G, 6], by model, from a curve's folder.

    Args:
        folder: label_curve_NAME.
        models: names of models.
        sizes: numbers of training windows, F.
        seeds: S of them.
        names: of the test windows.
    """

    def of(point: Point) -> Numbers:
        with np.load(folder / point.file, allow_pickle=False) as arrays:
            return sum_stretches(arrays["moments"], names)

    return {
        model: np.array([[of(Point(model, size, seed)) for seed in seeds] for size in sizes])
        for model in models
    }


def parse_fractions(text: str, total: int) -> list[int]:
    """Return the numbers of windows, of `total`, that a text such as 0.01,0.1,1 or 300,1500,1 stands for.

    A number up to 1 is a fraction, a larger one a number of windows; ascending.

    Raises:
        InputError: if they are not such numbers, or two are the same.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [0.0]
    valid = [each for each in values if 0 < each <= 1 or (1 < each <= total and each.is_integer())]
    sizes = sorted({round(each * total) if each <= 1 else int(each) for each in valid})
    if len(sizes) < len(values):
        raise InputError(
            f"`label_fractions`: expected different fractions above 0 and at most 1, or numbers of training "
            f"windows from 2 to {total:,}, as in 0.01,0.1,1 or 300,1500, got {text!r}"
        )
    return sizes
