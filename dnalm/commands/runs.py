"""What the verbs that train share, and those that judge: flags, where results go, what is replaced."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from dnalm import process
from dnalm.device import Compute, Processor
from dnalm.errors import InputError
from dnalm.files import lock, write_json
from dnalm.record import Record, read_record
from dnalm.train.loop import Batches, Loop, Trainable
from dnalm.train.memory import raise_on_out_of_memory
from dnalm.train.resume import has_state, recover_run

if TYPE_CHECKING:  # slow to import
    from lightning_fabric import Fabric

TRIED = 3
"""Steps of a dry run."""
LIKE = {"baseline": "finetune"}
"""Verbs that leave the same files as another: their runs may replace each other's, and no other verb's."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How it is run, and what may be replaced."""

    compute: Compute = field(default_factory=Compute)
    seed: int = 0
    """Of the weights and of all that is drawn in training."""
    resume: bool = False
    """Go on where the run in the output folder stopped."""
    overwrite: bool = False
    """Replace the run in the output folder."""
    dry_run: bool = False
    """Print what would be done, with time, memory and disk needed, and stop."""
    quiet: bool = False
    """No progress and no messages."""

    def wrong(self) -> list[str]:
        """Return what is wrong with these flags, in words."""
        found = []
        if self.resume and self.overwrite:
            found.append("--resume goes on with a run and --overwrite replaces it: choose one")
        if not 0 <= self.seed < 2**31:
            found.append(f"--seed must be from 0 to {2**31 - 1}, got {self.seed}")
        return found

    def say(self, message: str) -> None:
        """Tell a person on stderr, unless it is to be quiet; of several processes the first speaks."""
        if not self.quiet and process.is_rank_zero():
            print(message, file=sys.stderr)

    def show(self, result: str) -> None:
        """Print a result; of several processes the first does."""
        if process.is_rank_zero():
            print(result)

    @contextlib.contextmanager
    def holding(self, folder: Path) -> Iterator[None]:
        """Hold a run's folder for this run alone, cleared up; of several processes the first holds it.

        Raises:
            InputError: if another run holds it.
        """
        with lock(folder) if process.is_rank_zero() else contextlib.nullcontext():
            if process.is_rank_zero():
                recover_run(folder)
            process.barrier()
            yield

    @contextlib.contextmanager
    def recording(self, record: Record, loop: Loop, so_far: Callable[[], dict[str, Any]]) -> Iterator[None]:
        """Record how the run ends if it does not end well, and say how to go on after Ctrl-C.

        Args:
            record: of the run.
            loop: its training.
            so_far: gives the metrics that are known then.
        """
        with record.ending(so_far):
            try:
                yield
            except KeyboardInterrupt:
                kept = "no state is saved yet"
                if loop.saved is not None:
                    which = "its state" if loop.saved == loop.step else f"the state of step {loop.saved:,}"
                    kept = f"{which} is saved, and --resume goes on from there"
                self.say(f"stopped at step {loop.step:,}; {kept}")
                raise

    def check_folder(
        self,
        folder: Path,
        files: Sequence[Path],
        verb: str,
        *,
        elsewhere: str = "--out",
        reads: Sequence[Path] = (),
    ) -> None:
        """Refuse to write over what is not this run's, before anything is written.

        Args:
            folder: the run's own.
            files: what the run writes beside it.
            verb: of the run.
            elsewhere: the flags by which a run goes to another place.
            reads: models that it begins from.

        Raises:
            InputError: naming what is there, or that there is nothing to resume.
        """
        if not process.is_rank_zero():
            return
        there = folder / "run.json"
        _check_kind(there, verb, elsewhere)
        own = {path.resolve() for path in (folder, *files)}
        for path in reads:
            if own & {path.resolve(), *path.resolve().parents}:
                raise InputError(
                    f"{path}: this run would begin from it and write over it; choose another {elsewhere}"
                )
        saved = has_state(folder)
        if self.resume:
            if not saved:
                raise InputError(f"{folder}: nothing to resume here; run without --resume")
            return
        if folder.exists() and not there.exists() and any(_foreign(path) for path in folder.iterdir()):
            raise InputError(f"{folder}: holds files that are not a run of dnalm; choose another {elsewhere}")
        if self.overwrite:
            return
        if there.exists() and saved:
            status = read_record(there)["status"]
            raise InputError(
                f"{folder}: holds another run ({status}); use --resume, --overwrite or another {elsewhere}"
            )
        if found := [path for path in files if path.exists()]:
            raise InputError(
                f"{found[0]}: is there already, from another run; use --overwrite or another {elsewhere}"
            )


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """Where it is computed, and where the results go."""

    out: Path | None = None
    """A JSON file for the results; evaluation_*.json beside the models joins the page that compares them."""
    overwrite: bool = False
    """Replace that file."""
    compute: Compute = field(default_factory=Compute)
    quiet: bool = False
    """No messages."""

    def say(self, message: str) -> None:
        """Tell a person on stderr, unless it is to be quiet; of several processes the first speaks."""
        if not self.quiet and process.is_rank_zero():
            print(message, file=sys.stderr)

    def resolve(self) -> Processor:
        """Return where it is computed.

        Raises:
            InputError: if OUT is there already and may not be replaced, or the device cannot be used.
        """
        if self.out is not None and self.out.exists() and not self.overwrite:
            raise InputError(
                f"{self.out}: is there already; --overwrite replaces it, or choose another --out"
            )
        return self.compute.resolve()

    def keep(
        self,
        verb: str,
        judged: Callable[[], dict[str, Any]],
        *,
        table: Callable[[dict[str, Any]], str],
        brief: Callable[[dict[str, Any]], dict[str, Any]],
        **about: Any,
    ) -> None:
        """Judge, print the table, and where OUT is given write the results and beside them run_OUT.

        Several processes judge together; the first prints and writes.

        Args:
            verb: for the record.
            judged: gives the results.
            table: of the results, for stdout.
            brief: the results as a record keeps them.
            about: of the record: recipe, seed, data, device.
        """
        if self.out is None or not process.is_rank_zero():
            results = judged()
            if process.is_rank_zero():
                print(table(results))
            return
        record = Record(self.out.with_name(f"run_{self.out.name}"), verb, **about)
        with record.ending():
            results = judged()
            print(table(results))
            write_json(self.out, results)
        record.finish("done", brief(results))
        print(self.out)


def seconds_of_a_step(
    task: Trainable, model: nn.Module, batches: Batches, fabric: "Fabric", accumulate: int
) -> float:
    """Take a few steps, the optimiser's part left out, and return the seconds that each takes.

    Raises:
        InputError: if a batch does not fit in memory.
    """
    own = range(fabric.global_rank * accumulate, (fabric.global_rank + 1) * accumulate)
    begin = time.monotonic()
    with raise_on_out_of_memory("a batch does not fit; use a lower --batch-size, or a higher --accumulate"):
        for step in range(TRIED):
            for share in own:
                batch = batches.batch(step, share, fabric.world_size * accumulate)
                loss = task.loss(model, fabric.to_device(batch))
                fabric.backward(loss)
            loss.item()  # waits for the device
    return (time.monotonic() - begin) / TRIED


def _check_kind(record: Path, verb: str, elsewhere: str) -> None:
    """Refuse a folder whose `run.json` is of another kind of run than `verb` is."""
    try:
        found = str(read_record(record)["verb"])
    except (OSError, ValueError, KeyError):
        return  # none, or none that can be read
    if LIKE.get(found, found) != LIKE.get(verb, verb):
        raise InputError(
            f"{record.parent}: holds a run of dnalm {found}, which dnalm {verb} does not replace; choose "
            f"another {elsewhere}"
        )


def _foreign(path: Path) -> bool:
    """Tell whether a file is neither a run's lock nor what a killed process has left."""
    return path.name != ".lock" and not (path.name.startswith(".") and path.suffix in (".part", ".old"))
