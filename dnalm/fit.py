"""The training loop: the only one. It knows no model and no task, only how to train and not to lose anything.

The batch and the dropout of step n are a pure function of (seed, n), so a run that is stopped
and resumed takes the same steps as one that is not.
"""

import contextlib
import ctypes
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from dnalm import checkpoint
from dnalm.files import write_text
from dnalm.optim import TrainConfig, build_optimizer, learning_rate

LOG_EVERY = 10
"""Steps between lines of metrics.jsonl."""
LAST, BEST = "last", "checkpoint"
"""Folders of a run: the state to resume from, and the weights with the lowest validation loss."""


class Batches(Protocol):
    """Where batches come from."""

    def batch(self, step: int, rank: int = 0, world: int = 1) -> tuple[Tensor | None, ...]:
        """Return rank's share of the batch of `step`: a NamedTuple of tensors, the tokens first."""
        ...


class Trainable(Protocol):
    """What the loop needs of a task."""

    def windows(self, batch_size: int, seed: int) -> Batches:
        """Return the training batches."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the loss of a batch, a scalar."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return scores on fixed data; `val_loss` decides which weights are best."""
        ...

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors that make the model, no two sharing memory."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again, as JSON values."""
        ...


class Loop:
    """One training run in one folder.

    Args:
        task: what is trained.
        model: the model, changed in place.
        config: how it is trained.
        folder: where `last/`, `checkpoint/` and `metrics.jsonl` go.
        fabric: device and precision.
        seed: of batches and dropout.
        identity: settings and data digests that a resumed run must share with the one before.
        watch: called with each new metrics line.
    """

    def __init__(
        self,
        task: Trainable,
        model: nn.Module,
        config: TrainConfig,
        *,
        folder: Path,
        fabric: Fabric,
        seed: int,
        identity: Mapping[str, Any],
        watch: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.task, self.config, self.folder, self.fabric = task, config, folder, fabric
        self.seed, self.identity, self.watch = seed, dict(identity), watch
        self.model = model
        self.step = 0
        self.elapsed = 0.0
        """Seconds of training and evaluation, over all sittings."""
        self._training, self._taken = 0.0, 0
        self._tokens = 0  # in one step, over all processes
        self._shown: float | None = None  # the loss of the last line of metrics.jsonl
        self._log: list[Tensor] = []  # losses since then
        self.evaluations: list[dict[str, float]] = []
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        self.wrapped, self._optimizer = fabric.setup(model, build_optimizer(fabric.to_device(model), config))
        self._batches = task.windows(config.batch_size, seed)

    @property
    def best(self) -> float:
        """The lowest validation loss so far; infinity before the first evaluation."""
        return min((scores["val_loss"] for scores in self.evaluations), default=math.inf)

    def _rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return learning_rate(step, self.config, [scores["val_loss"] for scores in self.evaluations])

    @property
    def patience_spent(self) -> bool:
        """Whether the last evaluations, as many as the patience allows, brought no lower validation loss."""
        losses = [scores["val_loss"] for scores in self.evaluations]
        since = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return 0 < self.config.patience <= since

    @property
    def seconds_per_step(self) -> float:
        """Training time of one step, without evaluation."""
        return self._training / max(1, self._taken)

    def run(self, *, stop_at: int | None = None, quiet: bool = False) -> bool:
        """Train to the last step, to `stop_at`, or until patience is spent; return True if it is complete.

        Ctrl-C and SIGTERM end the step in hand, save the state and raise KeyboardInterrupt.
        """
        _keep_freed_memory()
        last = min(self.config.steps, stop_at or self.config.steps)
        self._training, self._taken = 0.0, 0
        self._clock = time.monotonic() - self.elapsed
        with _progress(quiet) as bar, _stop_signal() as stopped:
            if not self.evaluations:
                self._save()  # from here on there is something to resume
                self._evaluate()
            task_id = bar.add_task("training", total=self.config.steps, completed=self.step, note="")
            while self.step < last and not stopped.is_set() and not self.patience_spent:
                begin = time.monotonic()
                self._log.append(self._take_step())
                if self.step % LOG_EVERY == 0 or self.step == last:
                    self._write_log()  # waits for the device
                self._training += time.monotonic() - begin
                self._taken += 1
                self._after_step(last)
                bar.update(task_id, completed=self.step, note=self._note())
            if stopped.is_set():
                self._save()
                raise KeyboardInterrupt
        return self.step >= self.config.steps or self.patience_spent

    def _take_step(self) -> Tensor:
        rate = self._rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        batch = self._batches.batch(self.step, self.fabric.global_rank, self.fabric.world_size)
        batch = self.fabric.to_device(batch)
        self._tokens = batch[0].numel() * self.fabric.world_size
        torch.manual_seed((self.seed * 1_000_003 + self.step) * 4096 + self.fabric.global_rank)
        self.wrapped.train()
        loss = self.task.loss(self.wrapped, batch)
        self.fabric.backward(loss)
        if self.config.clip:
            self.fabric.clip_gradients(
                self.wrapped, self._optimizer, max_norm=self.config.clip, error_if_nonfinite=False
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return loss.detach()

    def _after_step(self, last: int) -> None:
        if self.step % self.config.eval_every == 0 or self.step == last:
            self._evaluate()
        if self.step % self.config.checkpoint_every == 0 or self.step == last or self.patience_spent:
            self._save()

    def _write_log(self) -> None:
        self._shown = loss = float(torch.stack(self._log).mean())
        self._log.clear()
        if not math.isfinite(loss):
            raise ValueError(self._diverged(f"the loss became {loss}"))
        self._append({"step": self.step, "loss": loss, "lr": self._rate(self.step - 1)})

    def _diverged(self, what: str) -> str:
        return (
            f"{what} at step {self.step}; choose a lower --lr (now {self.config.lr:g}) or --precision fp32, "
            "and --overwrite"
        )

    def _evaluate(self) -> None:
        scores = self.task.evaluate(self.wrapped)
        if not math.isfinite(scores["val_loss"]):
            raise ValueError(self._diverged(f"the validation loss is {scores['val_loss']}"))
        self.elapsed = time.monotonic() - self._clock
        improved = scores["val_loss"] < self.best
        self.evaluations.append({"step": self.step, "elapsed": self.elapsed, **scores})
        self._append({"step": self.step, "evaluation": scores})
        if improved:
            about = {"step": self.step, "val_loss": scores["val_loss"], "identity": self.identity}
            checkpoint.save(self.folder / BEST, self.task.weights(self.model), self.task.describe() | about)

    def _append(self, line: dict[str, Any]) -> None:
        line["elapsed"] = round(time.monotonic() - self._clock, 3)
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.watch:
            self.watch(line)

    def _note(self) -> str:
        shown = f"loss {self._shown:.4f}  " if self._shown is not None else ""
        return f"{shown}{self._tokens / self.seconds_per_step:,.0f} tokens/s"

    def _save(self) -> None:
        """Write the state that `resume` reads."""
        self.elapsed = time.monotonic() - self._clock
        tensors = {f"model.{name}": tensor for name, tensor in self.task.weights(self.model).items()}
        for parameter, state in self._optimizer.state.items():
            for key, value in state.items():
                tensors[f"{key}.{self._names[parameter]}"] = value
        about = {
            "step": self.step,
            "elapsed": self.elapsed,
            "evaluations": self.evaluations,
            "unlogged_losses": [float(loss) for loss in self._log],
            "scaler": self.fabric.strategy.precision.state_dict(),  # of fp16; empty otherwise
            "identity": self.identity,
        }
        checkpoint.save(self.folder / LAST, tensors, about)

    def resume(self) -> None:
        """Go on from `last/` in the folder.

        Raises:
            ValueError: if there is nothing to resume, or it was made with other settings or data (named).
        """
        if not (self.folder / LAST / checkpoint.DESCRIPTION).exists():
            raise ValueError(f"{self.folder}: nothing to resume here; run without --resume")
        tensors, about = checkpoint.load(self.folder / LAST)
        before = about["identity"]
        if differing := sorted(key for key in self.identity if before.get(key) != self.identity[key]):
            named = "; ".join(f"{key} was {before.get(key)}, is {self.identity[key]}" for key in differing)
            raise ValueError(
                f"{self.folder}: cannot resume with other settings: {named}; use --overwrite to start anew"
            )
        weights = {name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")}
        checkpoint.put(weights, self.task.weights(self.model), str(self.folder / LAST))
        for parameter, name in self._names.items():
            if f"exp_avg.{name}" in tensors:
                keys = ("step", "exp_avg", "exp_avg_sq")
                self._optimizer.state[parameter] = {
                    key: tensors[f"{key}.{name}"].to(parameter.device) for key in keys
                }
        self.step, self.elapsed, self.evaluations = about["step"], about["elapsed"], about["evaluations"]
        self._log = [torch.tensor(loss, device=self.fabric.device) for loss in about["unlogged_losses"]]
        self.fabric.strategy.precision.load_state_dict(about["scaler"])
        self._cut_log()

    def _cut_log(self) -> None:
        """Drop the lines of metrics.jsonl that were written after the state was saved."""
        path = self.folder / "metrics.jsonl"
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if _step_of(line) <= self.step]
            write_text(path, "".join(line + "\n" for line in lines))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError):
        return math.inf  # half a line, written as the process was killed


def _progress(quiet: bool) -> Progress:
    """Return a progress bar on stderr, silent when that is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=quiet or not console.is_terminal)


@contextlib.contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Catch Ctrl-C and SIGTERM: the first asks the loop to stop, a second one stops at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        print("stopping after this step; once more to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for reuse: large tensors otherwise page-fault anew each step."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform == "linux" and mallopt is not None:
        mallopt(-4, 0)  # M_MMAP_MAX: no allocation by mmap
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never shrink the heap
