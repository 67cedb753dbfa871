"""A training run of any kind of model in its folder: what it may replace, its lock and its record."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from dnalm import process
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.files import lock
from dnalm.process import Say, silent
from dnalm.record import Record, read_record
from dnalm.train.loop import Batches, Loop, Progress, Trainable, silent_progress
from dnalm.train.memory import raise_on_out_of_memory
from dnalm.train.resume import clear_run, has_state, recover_run

if TYPE_CHECKING:  # slow to import
    from lightning_fabric import Fabric

DRY_RUN_STEPS = 3
"""Steps of a dry run."""
INTERCHANGEABLE_COMMANDS = {"baseline": "finetune"}
"""Commands that write the same files as another: the two may replace each other's runs."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run begins, and what it may replace."""

    seed: int = 0
    """Of the weights, the batches and dropout."""
    resume: bool = False
    """Continue the run in the output folder from its last saved state."""
    overwrite: bool = False
    """Replace the run in the output folder."""

    def __post_init__(self) -> None:
        wrong = []
        if self.resume and self.overwrite:
            wrong.append("`resume` continues a run and `overwrite` replaces it: choose one")
        if not 0 <= self.seed < 2**31:
            wrong.append(f"`seed` must be from 0 to {2**31 - 1}, got {self.seed}")
        if wrong:
            raise InputError("; ".join(wrong))


DEFAULT_RUN = RunConfig()


class Outcome(NamedTuple):
    """What a run leaves."""

    results: dict[str, Any]
    """All results."""
    metrics: dict[str, Any]
    """Those that run.json holds."""
    timings: Mapping[str, float] = {}
    """Seconds of further steps, for run.json."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """One training run of any kind of model: where it writes, on what it computes, where its messages go."""

    command: str
    """Name of the command, as run.json has it: pretrain, finetune ..."""
    folder: Path
    """The run's own folder: states, best weights, metrics.jsonl and run.json."""
    processor: Processor
    config: RunConfig = DEFAULT_RUN
    files: Sequence[Path] = ()
    """Further files that belong to the run."""
    derived: Sequence[Path] = ()
    """Files made from this run and others, which are removed when it begins anew."""
    say: Say = silent
    """Called with each message."""
    progress: Progress = silent_progress
    """Called after each step."""

    def check_folder(self, *, option: str = "`out`", reads: Sequence[Path] = ()) -> None:
        """Refuse to write over what is not this run's, before anything is written.

        Args:
            option: the parameters that choose another folder.
            reads: models that the run begins from.

        Raises:
            InputError: naming what is in the folder, or that there is nothing to resume.
        """
        if not process.is_rank_zero():
            return
        record = self.folder / "run.json"
        _check_same_kind(record, self.command, option)
        own = {path.resolve() for path in (self.folder, *self.files)}
        for path in reads:
            if own & {path.resolve(), *path.resolve().parents}:
                raise InputError(
                    f"{path}: this run would begin from it and overwrite it; choose another {option}"
                )
        saved = has_state(self.folder)
        if self.config.resume:
            if not saved:
                raise InputError(f"{self.folder}: nothing to resume here; run without `resume`")
            return
        foreign = (
            self.folder.exists() and not record.exists() and any(map(_is_foreign, self.folder.iterdir()))
        )
        if foreign:
            raise InputError(
                f"{self.folder}: holds files that are not a run of dnalm; choose another {option}"
            )
        if self.config.overwrite:
            return
        if record.exists() and saved:
            status = read_record(record)["status"]
            raise InputError(
                f"{self.folder}: holds another run ({status}); use `resume`, `overwrite` or another {option}"
            )
        if existing := [path for path in self.files if path.exists()]:
            raise InputError(
                f"{existing[0]}: exists already, from another run; use `overwrite` or another {option}"
            )

    def train(
        self,
        loop: Loop,
        *,
        recipe: dict[str, Any],
        data: dict[str, Any],
        evaluate: Callable[[Loop], Outcome],
        metrics_so_far: Callable[[Loop], dict[str, Any]] = lambda loop: {"step": loop.step},
        stop_at: int | None = None,
    ) -> dict[str, Any] | None:
        """Train to the end or from the last state on, evaluate, and record it; the caller holds the lock.

        Args:
            loop: a new one, in this run's folder.
            recipe: every setting, for run.json.
            data: digests and names of the data, for run.json.
            evaluate: called in the first process: scores the best weights, and writes the result files.
            metrics_so_far: what run.json holds of a run that was stopped.
            stop_at: the step after which to stop; None for the last one.

        Returns:
            The results in the first process, None in the others.
        """
        if self.config.resume:
            loop.resume(self.say)
        elif process.is_rank_zero():
            clear_run(self.folder)
            for path in (*self.files, *self.derived):
                path.unlink(missing_ok=True)
        record = Record(
            self.folder / "run.json",
            self.command,
            recipe=recipe,
            seed=self.config.seed,
            data=data,
            device=str(self.processor) + (", compiled" if loop.compiled else ""),
        )
        with recorded_run(record, loop, lambda: metrics_so_far(loop), self.say):
            complete = loop.run(stop_at=stop_at, say=self.say, progress=self.progress)
            if not process.is_rank_zero():
                return None
            results, metrics, timings = evaluate(loop)
        record.finish("done" if complete else "interrupted", metrics, training_s=loop.elapsed, **timings)
        return results


@contextlib.contextmanager
def run_folder_lock(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this run alone, cleaned up; the first of several processes holds the lock.

    Raises:
        InputError: if another run holds it.
    """
    with lock(folder) if process.is_rank_zero() else contextlib.nullcontext():
        if process.is_rank_zero():
            recover_run(folder)
        process.barrier()
        yield


@contextlib.contextmanager
def recorded_run(
    record: Record, loop: Loop, metrics_so_far: Callable[[], dict[str, Any]], say: Say
) -> Iterator[None]:
    """Record an end by an error or by Ctrl-C; after Ctrl-C, report which state is saved."""
    with record.ending(metrics_so_far):
        try:
            yield
        except KeyboardInterrupt:
            saved = "no state is saved yet"
            if loop.saved is not None:
                state = "its state" if loop.saved == loop.step else f"the state of step {loop.saved:,}"
                saved = f"{state} is saved, and --resume continues from there"
            say(f"stopped at step {loop.step:,}; {saved}")
            raise


def seconds_per_step(
    task: Trainable, model: nn.Module, batches: Batches, fabric: "Fabric", accumulate: int
) -> float:
    """Take one step and then `DRY_RUN_STEPS` more, without the optimiser; return the seconds of one of these.

    Raises:
        InputError: if a batch does not fit in memory.
    """
    own = range(fabric.global_rank * accumulate, (fabric.global_rank + 1) * accumulate)
    begin = 0.0
    with raise_on_out_of_memory("a batch does not fit; use a lower `batch_size`, or a higher `accumulate`"):
        for step in range(1 + DRY_RUN_STEPS):  # the first one is slower: it is compiled, memory is new
            for number in own:
                batch = batches.batch(step, number, fabric.world_size * accumulate)
                loss = task.loss(model, fabric.to_device(batch))
                fabric.backward(loss)
            loss.item()  # waits for the device
            begin = begin or time.monotonic()
    return (time.monotonic() - begin) / DRY_RUN_STEPS


def _check_same_kind(record: Path, command: str, option: str) -> None:
    """Refuse a folder whose `run.json` is of another kind of run than `command` makes."""
    try:
        existing = str(read_record(record)["verb"])
    except (OSError, ValueError, KeyError):
        return  # none, or an unreadable one
    if INTERCHANGEABLE_COMMANDS.get(existing, existing) != INTERCHANGEABLE_COMMANDS.get(command, command):
        raise InputError(
            f"{record.parent}: holds a run of dnalm {existing}, which dnalm {command} does not replace; "
            f"choose another {option}"
        )


def _is_foreign(path: Path) -> bool:
    """Return whether a file is neither a run's lock nor left by a killed process."""
    return path.name != ".lock" and not (path.name.startswith(".") and path.suffix in (".part", ".old"))
