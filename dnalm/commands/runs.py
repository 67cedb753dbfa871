"""For commands that train or evaluate: flags, settings of the process, messages."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dnalm import process
from dnalm.device import Compute, Processor
from dnalm.errors import InputError
from dnalm.process import Say
from dnalm.record import Record
from dnalm.results import write
from dnalm.train.run import Estimate, RunConfig

DETAILS = ("detail", "reliability")
"""Entries of results that only the report needs: a record leaves them out."""


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """Where a command computes, and whether it speaks."""

    compute: Compute = field(default_factory=Compute)
    quiet: bool = False  # No progress and no messages.

    def say(self, message: str) -> None:
        """Print a message on stderr in the first of several processes, unless it is to be quiet."""
        if not self.quiet and process.is_rank_zero():
            print(message, file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class RunOptions(RunConfig, ProcessOptions):
    """How a run begins, what it may replace, and where it computes."""

    dry_run: bool = False  # Print what would be done, with time, memory and disk needed, and stop.


@dataclass(frozen=True, kw_only=True)
class UseOptions(ProcessOptions):
    """Where a model is used on a user's files, and whether it speaks."""

    compute: Compute = field(default_factory=partial(Compute, precision="fp32"))
    overwrite: bool = False  # Replace OUT.

    def begin(self, out: Path, *others: Path) -> Processor:
        """Prepare the process, and return where it computes.

        Raises:
            InputError: if `out`, or one of `others` that are written beside it, exists and may not be
                replaced, or the device cannot be used.
        """
        for path in (out, *others):
            if path.exists() and not self.overwrite:
                raise InputError(f"{path}: exists already; --overwrite replaces it, or choose another --out")
        return prepare_process(self.compute, self.say)


def record_path(out: Path) -> Path:
    """Return where the record of a file that a model was used for stands: run_OUT.json beside it."""
    return out.with_name(f"run_{out.name}.json")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(ProcessOptions):
    """Where an evaluation computes, and where its results go."""

    out: Path | None = None
    """A JSON file for the results; evaluation_*.json beside the models joins the page that compares them."""
    overwrite: bool = False  # Replace that file.

    def prepare(self) -> Processor:
        """Prepare the process, and return where it computes.

        Raises:
            InputError: if OUT exists and may not be replaced, or the device cannot be used.
        """
        if self.out is not None and self.out.exists() and not self.overwrite:
            raise InputError(f"{self.out}: exists already; --overwrite replaces it, or choose another --out")
        return prepare_process(self.compute, self.say)

    def evaluate_and_save(
        self,
        command: str,
        evaluate: Callable[[], dict[str, Any]],
        table: Callable[[dict[str, Any]], str],
        **about: Any,
    ) -> None:
        """Evaluate, print the table, and where OUT is given write the results and beside them run_OUT.

        Several processes evaluate together; the first prints and writes.

        Args:
            command: for the record.
            evaluate: returns the results.
            table: the results as text.
            about: for the record: recipe, seed, data, device.
        """
        if self.out is None or not process.is_rank_zero():
            show(table(evaluate()))
            return
        record = Record(self.out.with_name(f"run_{self.out.name}"), command, **about)
        with record.ending():
            results = evaluate()
            print(table(results))
            write(self.out, results)
        record.finish("done", _without_details(results))
        print(self.out)


def _without_details(results: Any) -> Any:
    if isinstance(results, dict):
        return {key: _without_details(value) for key, value in results.items() if key not in DETAILS}
    return results


def prepare_process(compute: Compute, say: Say = process.silent) -> Processor:
    """Choose the device, set this process's threads and determinism, and join the other processes.

    Raises:
        InputError: if the machine has not what is wanted, or not all processes have started.
    """
    processor = compute.processor()
    if compute.deterministic and processor.device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by cuBLAS
        torch.use_deterministic_algorithms(True)
    if compute.threads:
        torch.set_num_threads(compute.threads)
        os.environ["OMP_NUM_THREADS"] = str(compute.threads)
    info = process.current()
    if info.launcher == "srun":  # required by lightning-fabric; srun sets it only if it was given
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(info.local_world_size))
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        first, backend = SLURMEnvironment(), "nccl" if processor.device == "cuda" else "gloo"
        process.join(first.main_address, first.main_port, backend, say)
    if processor.strategy != "single":
        processor.fabric()
        process.barrier()  # connected, so that each notices when another ends
    return processor


def show(result: str) -> None:
    """Print a result, in the first of several processes."""
    if process.is_rank_zero():
        print(result)


def forecast(what: str, estimate: Estimate) -> None:
    """Print what a run would do and need."""
    show(
        f"would train {what}: at most about {estimate.seconds / 60:,.0f} min, "
        f"{estimate.memory_bytes / 1e9:.1f} GB of memory, {estimate.disk_bytes / 1e6:,.0f} MB of disk"
    )


def epochs_text(training: dict[str, Any], claim: str) -> str:
    """Return how a training went in words; `claim` is what to do for a figure of unseen data."""
    return (
        f"best epoch {training['best_epoch']} of {training['epochs']}, {training['seconds']:.0f} s of "
        f"training; the validation part chose the epoch: for a claim {claim}"
    )


def interval(figure: dict[str, float], unit: str = "") -> str:
    """Return a figure of results with its 95 % interval in words."""
    return f"{figure['value']:.4f}{unit} (95 % interval {figure['low']:.4f} to {figure['high']:.4f})"


def difference(gap: dict[str, Any]) -> str:
    """Return a paired difference of results in words."""
    return f"{gap['value']:+.4f}, 95 % paired interval {gap['low']:+.4f} to {gap['high']:+.4f}"
