"""The training loop: the only one. It knows no model and no task, only how to train and not to lose anything.

The batch and the dropout of step n are a pure function of (seed, n), so a run that is stopped
and resumed takes the same steps as one that is not. A batch is cut into as many shares as there are processes
times micro-batches: the gradient is that of the whole batch, however it is cut.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from dnalm import checkpoint, process
from dnalm.device import alone, compile_mode, is_sharded
from dnalm.errors import InputError
from dnalm.files import finite
from dnalm.process import any_asked, stop_signal
from dnalm.train.memory import advice, keep_freed_memory, largest_that_fits, raise_on_out_of_memory, ran_out
from dnalm.train.optim import TrainConfig, build_optimizer, learning_rate
from dnalm.train.resume import BEST, LAST, LOG, check_identity, cut_log, newest_state, save_state
from dnalm.train.sharding import gather_full, gathered, shard, shard_all, synchronize_batch_norm

if TYPE_CHECKING:  # slow to import
    from lightning_fabric import Fabric

LOG_EVERY = 10
"""Steps between lines of metrics.jsonl."""


class Batches(Protocol):
    """Where batches come from."""

    def batch(self, step: int, rank: int = 0, world: int = 1) -> tuple[Tensor | None, ...]:
        """Return rank's share of the batch of `step`: a NamedTuple of tensors, the tokens first."""
        ...

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch."""
        ...


class Trainable(Protocol):
    """What the loop needs of a task."""

    def windows(self, batch_size: int, seed: int) -> Batches:
        """Return the training batches."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the loss of a batch, a scalar: a mean."""
        ...

    unit: str
    """What is counted, in a word: tokens, bases, pairs."""

    def counted(self, batch: Any) -> float:
        """Return what that mean is over: how many values, or the sum of their weights."""
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
        fabric: device, precision, processes.
        seed: of batches and dropout.
        identity: settings and data digests that a resumed run must share with the one before.
        watch: called with each new metrics line.
        patience_from: the step of the first evaluation that counts for the patience.
        compiled: whether training steps go through torch.compile; evaluation never does.

    Raises:
        InputError: if the processes cannot share the batch alike, or the model does not allow it.
    """

    def __init__(
        self,
        task: Trainable,
        model: nn.Module,
        config: TrainConfig,
        *,
        folder: Path,
        fabric: "Fabric",
        seed: int,
        identity: Mapping[str, Any],
        watch: Callable[[dict[str, Any]], None] | None = None,
        patience_from: int = 0,
        compiled: bool = False,
    ) -> None:
        process.check_batch(config.batch_size, config.accumulate)
        self.task, self.config, self.folder, self.fabric = task, config, folder, fabric
        self.seed, self.identity, self.watch = seed, finite(dict(identity)), watch
        self.patience_from = patience_from
        self._whole = model
        self.model = copy.deepcopy(model) if is_sharded(fabric) else model
        self._batches = task.windows(config.batch_size, seed)
        synchronize_batch_norm(self.model, config.accumulate, self._batches.smallest)
        self._compiled = compiled
        if compiled:
            self.model.compile(mode=compile_mode(fabric, config.accumulate))
        self.step = 0
        self.saved: int | None = None  # the step of the state saved last
        self.elapsed = 0.0  # seconds of training and evaluation, over all sittings
        self._training, self._taken = 0.0, 0
        self._counted = 0.0  # in one step, over all processes
        self._shown: float | None = None  # the loss of the last line of metrics.jsonl
        self._lines = 0  # of metrics.jsonl
        self._log: list[Tensor] = []  # losses since then: of this process, their mean over processes is meant
        self.evaluations: list[dict[str, float]] = []
        self.wrapped = fabric.setup_module(self.model)
        self._names = {parameter: name for name, parameter in self.model.named_parameters()}
        self._optimizer: Any = fabric.setup_optimizers(build_optimizer(self.model, config))

    @property
    def best(self) -> float:
        """The lowest validation loss so far; infinity before the first evaluation."""
        return min((scores["val_loss"] for scores in self.evaluations), default=math.inf)

    def _rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return learning_rate(step, self.config, list(self._planned.values()))

    @property
    def _planned(self) -> dict[int, float]:
        """Validation losses, by step, that decide how training goes on: not of where a run was stopped."""
        every = self.config.eval_every
        return {int(s["step"]): s["val_loss"] for s in self.evaluations if s["step"] % every == 0}

    @property
    def patience_spent(self) -> bool:
        """Whether the last evaluations, as many as the patience allows, brought no lower validation loss."""
        losses = [loss for step, loss in self._planned.items() if step >= self.patience_from]
        since = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return 0 < self.config.patience <= since

    @property
    def seconds_per_step(self) -> float:
        """Training time of one step, without evaluation."""
        return self._training / max(1, self._taken)

    def alone(self) -> nn.Module:
        """Return the model that was given, on this process's device and in its precision, for it to judge.

        Training is over then: nothing of it is compiled any more.
        """
        self._whole._compiled_call_impl = None
        return (
            self.wrapped
            if process.current().world_size == 1
            else alone(self.fabric).setup_module(self._whole)
        )

    def run(self, *, stop_at: int | None = None, quiet: bool = False) -> bool:
        """Train to the last step, to `stop_at`, or until patience is spent; return True if it is complete.

        Ctrl-C and SIGTERM end the step in hand, save the state and raise KeyboardInterrupt.

        Raises:
            InputError: if the loss is no number, or a batch does not fit in memory.
        """
        keep_freed_memory()
        last = min(self.config.steps, stop_at or self.config.steps)
        self._training, self._taken = 0.0, 0
        self._clock = time.monotonic() - self.elapsed
        with _progress(quiet or not process.is_rank_zero()) as bar, stop_signal() as stopped:
            if not self.evaluations:
                self._save()  # from here on there is something to resume
                self._evaluate()
            task_id = bar.add_task("training", total=self.config.steps, completed=self.step, note="")
            while self.step < last and not self.patience_spent and not any_asked(stopped):
                begin = time.monotonic()
                self._log.append(self._step_that_fits())
                if self.step % LOG_EVERY == 0 or self.step == self.config.steps:
                    self._write_log()  # waits for the device
                elif self.step == last:
                    self._log[-1].item()  # as does this: the times of a run that goes on are whole
                self._training += time.monotonic() - begin
                self._taken += 1
                self._after_step(last)
                bar.update(task_id, completed=self.step, note=self._note())
            if any_asked(stopped):
                self._save()
                process.barrier()  # a launcher that sees one process end may kill the one that writes
                raise KeyboardInterrupt
        return self.step >= self.config.steps or self.patience_spent

    def _step_that_fits(self) -> Tensor:
        """Take a step; where memory runs out, look for a micro-batch that fits, and say so."""
        try:
            return self._take_step()
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
        # Out of the block above, which holds what the step had made.
        self._optimizer.zero_grad(set_to_none=True)
        size, pieces = self.config.batch_size, process.current().world_size * self.config.accumulate
        rows = size // pieces
        # Of several processes one cannot try alone.
        fits = None if process.current().world_size > 1 else largest_that_fits(rows, self._attempt)
        raise InputError(advice(rows, self.config.accumulate, size, fits))

    def _attempt(self, rows: int) -> None:
        """Go through a micro-batch of `rows`, with room for the optimiser's moments, and change nothing."""
        kept = [[torch.empty_like(p) for _ in range(2)] for p in self._names if p.requires_grad]
        batch = self._batches.batch(0, 0, self.config.batch_size // rows)
        try:
            with self.fabric.autocast(), self._as_written():
                loss = self.task.loss(self._whole, self.fabric.to_device(batch))
            loss.backward()  # type: ignore[no-untyped-call]
        finally:
            self._optimizer.zero_grad(set_to_none=True)
            kept.clear()

    def _as_written(self) -> AbstractContextManager[object]:
        """Return a context in which nothing is compiled: for shapes that are seen once."""
        return torch.compiler.set_stance("force_eager") if self._compiled else nullcontext()

    def _take_step(self) -> Tensor:
        rate = self._rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.wrapped.train()
        losses = []
        shares = self._shares()
        for number, (share, batch, weight) in enumerate(shares):
            torch.manual_seed((self.seed * 1_000_003 + self.step) * 4096 + share)
            with self.fabric.no_backward_sync(self.wrapped, enabled=number < len(shares) - 1):
                loss = self.task.loss(self.wrapped, self.fabric.to_device(batch)) * weight
                self.fabric.backward(loss)
            losses.append(loss.detach())
        if self.config.clip:
            self.fabric.clip_gradients(
                self.wrapped, self._optimizer, max_norm=self.config.clip, error_if_nonfinite=False
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return torch.stack(losses).sum()

    def _shares(self) -> list[tuple[int, Any, float]]:
        """Return this process's micro-batches: number of the share, batch, and its weight in the gradient.

        Gradients are added over micro-batches, and their mean is taken over processes. A share without rows
        stands in with those of the first share and weighs nothing, so that no process waits in vain.
        """
        rank, world = self.fabric.global_rank, self.fabric.world_size
        pieces = world * self.config.accumulate
        own = range(rank * self.config.accumulate, (rank + 1) * self.config.accumulate)
        batches = [self._batches.batch(self.step, share, pieces) for share in own]
        counts = [self.task.counted(b) if b[0] is not None and len(b[0]) else 0.0 for b in batches]
        (every,) = process.all_reduce_sum([sum(counts)])
        self._counted = every
        spare = None if all(counts) else self._batches.batch(self.step, 0, pieces)
        return [
            (share, batch if count else spare, world * count / every if every else 0.0)
            for share, batch, count in zip(own, batches, counts, strict=True)
        ]

    def _after_step(self, last: int) -> None:
        if self.step % self.config.eval_every == 0 or self.step == last:
            self._evaluate()
        if self.step % self.config.checkpoint_every == 0 or self.step == last or self.patience_spent:
            self._save()

    def _write_log(self) -> None:
        self._shown = loss = float(torch.tensor(self._losses(), dtype=torch.float32).mean())
        self._log.clear()
        if not math.isfinite(loss):
            raise InputError(self._diverged(f"the loss became {loss}"))
        self._append({"step": self.step, "loss": loss, "lr": self._rate(self.step - 1)})

    def _losses(self) -> list[float]:
        """Return the losses of the whole batches that are not logged yet."""
        losses = torch.stack(self._log).tolist() if self._log else []
        return [each / self.fabric.world_size for each in process.all_reduce_sum(losses)]

    def _diverged(self, what: str) -> str:
        return (
            f"{what} at step {self.step}; choose a lower --lr (now {self.config.lr:g}) or --precision fp32, "
            "and --overwrite"
        )

    def _evaluate(self) -> None:
        """Score the model, all processes together: what the first one finds is what counts."""
        too_large = "the model does not fit when it is evaluated; choose a smaller one, or shorter windows"
        with raise_on_out_of_memory(too_large), gathered(self.model), self._as_written():
            scores = process.broadcast(self.task.evaluate(self.wrapped))
        if not math.isfinite(scores["val_loss"]):
            raise InputError(self._diverged(f"the validation loss is {scores['val_loss']}"))
        self.elapsed = time.monotonic() - self._clock
        improved = scores["val_loss"] < self.best
        self.evaluations.append({"step": self.step, "elapsed": self.elapsed, **scores})
        self._append({"step": self.step, "evaluation": scores})
        if improved:
            weights = gather_full(self.task.weights(self.model))
            about = {"step": self.step, "val_loss": scores["val_loss"], "identity": self.identity}
            if process.is_rank_zero():
                checkpoint.save(self.folder / BEST, weights, self.task.describe() | about)

    def _append(self, line: dict[str, Any]) -> None:
        self._lines += 1
        if not process.is_rank_zero():
            return
        line["elapsed"] = round(time.monotonic() - self._clock, 3)
        with (self.folder / LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.watch:
            self.watch(line)

    def _note(self) -> str:
        shown = f"loss {self._shown:.4f}  " if self._shown is not None else ""
        return f"{shown}{self._counted / self.seconds_per_step:,.0f} {self.task.unit}/s"

    def _save(self) -> None:
        """Write the state that `resume` reads: whole, the same for any number of processes."""
        self.elapsed = time.monotonic() - self._clock
        tensors = {f"model.{name}": tensor for name, tensor in self.task.weights(self.model).items()}
        for parameter, state in self._optimizer.state.items():
            for key, value in state.items():
                tensors[f"{key}.{self._names[parameter]}"] = value
        tensors = gather_full(tensors)
        about = {
            "step": self.step,
            "elapsed": self.elapsed,
            "evaluations": self.evaluations,
            "unlogged_losses": self._losses(),
            "log_lines": self._lines,
            "scaler": self.fabric.strategy.precision.state_dict(),  # of fp16; empty otherwise
            "identity": self.identity,
        }
        if process.is_rank_zero():
            save_state(self.folder, tensors, about)
        self.saved = self.step

    def resume(self, say: Callable[[str], None]) -> None:
        """Go on from the newest whole state in the folder.

        Args:
            say: told of a damaged state that is passed over.

        Raises:
            InputError: if there is nothing to resume, or it was made with other settings or data (named).
        """
        tensors, about = newest_state(self.folder, say)
        check_identity(self.folder, about["identity"], self.identity)
        model = self.task.weights(self.model)
        weights = {name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")}
        checkpoint.put(shard_all(weights, model), model, str(self.folder / LAST))
        parameters = {name: parameter for parameter, name in self._names.items()}
        for name, tensor in tensors.items():
            key, _, of = name.partition(".")
            if key != "model":
                self._optimizer.state[parameters[of]][key] = shard(tensor, parameters[of])
        self.step, self.elapsed, self.evaluations = about["step"], about["elapsed"], about["evaluations"]
        self.saved = self.step
        self._log = [torch.tensor(loss, device=self.fabric.device) for loss in about["unlogged_losses"]]
        self.fabric.strategy.precision.load_state_dict(about["scaler"])
        self._lines = about["log_lines"]
        if process.is_rank_zero():
            cut_log(self.folder, self._lines)
        process.barrier()  # all have read it before the first writes the next


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
