"""A training run of any kind of model in its folder: what it may replace, its lock and its record."""

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dnalm import process
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.files import lock
from dnalm.process import Say, silent
from dnalm.record import Record, peak_memory, read_record
from dnalm.train.loop import Loop, Progress, silent_progress
from dnalm.train.resume import clear_run, has_state, recover_run

if TYPE_CHECKING:  # slow to import
    from lightning_fabric import Fabric

INTERCHANGEABLE = {"baseline", "finetune"}
"""Commands that write the same files: the two may replace each other's runs."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run begins, and what it may replace."""

    seed: int = 0  # Of the weights, the batches and dropout.
    resume: bool = False  # Continue the run in the output folder from its last saved state.
    overwrite: bool = False  # Replace the run in the output folder.

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise InputError("`resume` continues a run and `overwrite` replaces it: choose one")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"`seed` must be from 0 to {2**31 - 1}, got {self.seed}")


DEFAULT_RUN = RunConfig()


class Estimate(NamedTuple):
    """What a run would need, from a few steps."""

    seconds: float
    memory_bytes: int
    disk_bytes: int
    to_encode: int = 0  # Texts that frozen encoders would encode first; if any, the rest is not known


class TrainingRun(ABC):
    """A training run of one kind of model: checked when it is made; nothing is written before `train`.

    Args:
        config: data, folder and settings.
        processor: where to compute.
        run: seed, and what may be replaced.
        say: called with each message.
        progress: called after each step.

    Raises:
        InputError: for a mistake in the settings or the data.
    """

    command: str  # Its name, as run.json has it: pretrain, finetune ...
    folder: Path  # Its own: states, best weights, metrics.jsonl and run.json
    files: Sequence[Path]  # Further files that belong to the run
    derived: Sequence[Path] = ()  # Made from this run and others; they are removed when it begins anew
    task: Any  # A `Trainable`
    model: Any
    steps = 0  # Of an epoch
    compiled = False  # Whether steps go through torch.compile
    unused = False  # Whether a step may leave out trained parameters
    scoring_memory = 0  # Bytes that scoring takes beside a model on the CPU
    reported: Sequence[str] = ()  # Results that run.json holds; all of them if empty

    def __init__(
        self,
        config: Any,
        processor: Processor,
        run: RunConfig = DEFAULT_RUN,
        *,
        say: Say = silent,
        progress: Progress = silent_progress,
    ) -> None:
        self.config, self.processor, self.run, self.say, self.progress = config, processor, run, say, progress
        self.timings: dict[str, float] = {}  # Seconds of further steps, for run.json
        process.check_batch(config.train.batch_size, config.train.accumulate)
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Check everything, and make the untrained model."""

    def check_folder(self, *, option: str = "`out`", reads: Path | None = None) -> None:
        """Refuse to write over what is not this run's, before anything is written.

        Args:
            option: the parameters that choose another folder.
            reads: a model that the run begins from.

        Raises:
            InputError: naming what is in the folder, or that there is nothing to resume.
        """
        check_run_folder(self.folder, self.files, self.command, self.run, option=option, reads=reads)

    @functools.cached_property
    def fabric(self) -> "Fabric":
        """Device, precision, processes."""
        return self.processor.fabric(unused=self.unused)

    def estimate(self) -> Estimate:
        """Time a few steps, and write nothing; memory and disk are upper bounds."""
        loop = self._loop({})
        seconds = loop.config.steps * loop.time_step()
        scoring = 0 if self.processor.device == "cuda" else self.scoring_memory
        # Two states of 3 numbers a parameter and their successor, best weights and theirs, and the .pt file.
        disk_bytes = (4 * 3 + 2 + 1) * 4 * self.model.parameter_count
        return Estimate(seconds, peak_memory() + scoring, disk_bytes)

    def _loop(self, identity: Mapping[str, Any], **options: Any) -> Loop:
        """Return the training loop of this run."""
        identity = {**identity, "seed": self.run.seed, "precision": self.processor.precision}
        config = self.config.train.in_steps(self.steps)
        options |= {"folder": self.folder, "fabric": self.fabric, "compiled": self.compiled}
        return Loop(self.task, self.model, config, seed=self.run.seed, identity=identity, **options)

    @abstractmethod
    def evaluate(self, loop: Loop) -> dict[str, Any]:
        """Score the best weights, write the result files, and return the results; for the first process."""

    def metrics_so_far(self, loop: Loop) -> dict[str, Any]:
        """Return what run.json holds of a run that was stopped."""
        return {"step": loop.step}

    def fit(
        self,
        recipe: str,
        settings: Mapping[str, Mapping[str, Any]],
        data: Mapping[str, Any],
        *,
        free: Set[str],
        identity: Mapping[str, Any],
        shape: Mapping[str, Any] | None = None,
        stop_at: int | None = None,
        **options: Any,
    ) -> dict[str, Any] | None:
        """Train to the end or from the last state on, evaluate and record it; the folder is locked.

        The first process returns the results, the others None.

        Args:
            recipe: name of the settings.
            settings: every setting, in tables.
            data: digests and names of the data, for run.json.
            free: settings that a resumed run may change.
            identity: what it must share with the one before, beside the other settings, seed and precision.
            shape: of the model, for run.json.
            stop_at: the step after which to stop; None for the last one.
            options: of the loop.
        """
        flat = {key: value for table in settings.values() for key, value in table.items() if key not in free}
        loop = self._loop({**flat, **identity}, **options)
        with contextlib.ExitStack() as held:
            if process.is_rank_zero():
                held.enter_context(lock(self.folder))
                recover_run(self.folder)
            process.barrier()
            if self.run.resume:
                loop.resume(self.say)
            elif process.is_rank_zero():
                clear_run(self.folder)
                for path in (*self.files, *self.derived):
                    path.unlink(missing_ok=True)
            record = Record(
                self.folder / "run.json",
                self.command,
                recipe={"name": recipe, **settings} | ({} if shape is None else {"model": shape}),
                seed=self.run.seed,
                data=dict(data),
                device=str(self.processor) + (", compiled" if loop.compiled else ""),
            )
            with record.ending(lambda: self.metrics_so_far(loop)):
                try:
                    complete = loop.run(stop_at=stop_at, say=self.say, progress=self.progress)
                    if not process.is_rank_zero():
                        return None
                    results = self.evaluate(loop)
                except KeyboardInterrupt:
                    self.say(f"stopped at step {loop.step:,}; --resume goes on from step {loop.saved or 0:,}")
                    raise
            metrics = {key: results[key] for key in self.reported or results}
            status = "done" if complete else "interrupted"
            record.finish(status, metrics, training_s=loop.elapsed, **self.timings)
            return results


def check_run_folder(
    folder: Path,
    files: Sequence[Path],
    command: str,
    run: RunConfig,
    *,
    option: str = "`out`",
    reads: Path | None = None,
) -> None:
    """Refuse a folder that holds something else than a run of `command`; see `TrainingRun.check_folder`."""
    if not process.is_rank_zero():
        return
    record, another = folder / "run.json", f"choose another {option}"
    try:
        existing = read_record(record)
    except (OSError, ValueError):
        existing = {"verb": command}  # none, or an unreadable one
    if existing["verb"] != command and {existing["verb"], command} != INTERCHANGEABLE:
        what = f"holds a run of dnalm {existing['verb']}, which dnalm {command} does not replace"
        raise InputError(f"{folder}: {what}; {another}")
    own = {path.resolve() for path in (folder, *files)}
    if reads is not None and own & {reads.resolve(), *reads.resolve().parents}:
        raise InputError(f"{reads}: this run would begin from it and overwrite it; {another}")
    saved = has_state(folder)
    if run.resume and not saved:
        raise InputError(f"{folder}: nothing to resume here; run without `resume`")
    if run.resume:
        return
    if folder.exists() and not record.exists() and any(path.name[0] != "." for path in folder.iterdir()):
        raise InputError(f"{folder}: holds files that are not a run of dnalm; {another}")
    others = [folder] if record.exists() and saved else [path for path in files if path.exists()]
    if others and not run.overwrite:
        what = "holds another run; use `resume`, `overwrite`"
        raise InputError(f"{others[0]}: {what} or another {option}")


def training_summary(
    loop: Loop, best: Mapping[str, Any], steps_per_epoch: int, *curves: str
) -> dict[str, Any]:
    """Return what results report about a run in epochs: how long it was, its best epoch, its curves.

    Args:
        loop: after training.
        best: the description of the best weights.
        steps_per_epoch: by which steps become epochs.
        curves: the scores to report for each epoch.
    """
    epochs = [round(scores["step"] / steps_per_epoch) for scores in loop.evaluations]
    history = {key: [scores[key] for scores in loop.evaluations] for key in curves}
    return {
        "epochs": epochs[-1],
        "best_epoch": round(best["step"] / steps_per_epoch),
        "seconds": loop.elapsed,
        "history": {"epoch": epochs, **history},
    }
