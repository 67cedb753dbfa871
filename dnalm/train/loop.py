"""The training loop: the only one. It knows no model and no task, only how to train and to lose nothing.

The batch and the dropout of step n are a pure function of (seed, n), so a run that is stopped and resumed
takes the same steps as one that is not. A batch is divided into `accumulate` micro-batches for each process:
the gradient is that of the full batch, however it is divided.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from dnalm import checkpoint, process
from dnalm.device import alone, compile_mode, is_sharded
from dnalm.errors import InputError
from dnalm.files import finite
from dnalm.process import Say, silent
from dnalm.train.memory import keep_freed_memory, raise_on_out_of_memory
from dnalm.train.optim import TrainConfig, build_optimizer, learning_rate
from dnalm.train.resume import BEFORE, BEST, LAST, LOG, check_identity, cut_log, newest_state
from dnalm.train.sharding import gather_full, gathered, shard, synchronize_batch_norm

if TYPE_CHECKING:  # slow to import
    from lightning_fabric import Fabric

LOG_EVERY = 10
"""Steps between lines of metrics.jsonl."""
TOO_LARGE = "a batch does not fit; use a higher `accumulate` (the same training) or a lower `batch_size`"
DRY_RUN_STEPS = 3
"""Steps that are timed in a dry run."""

Progress = Callable[[int, int, str], None]
"""Takes the steps done, all steps, and the loss in words."""


def silent_progress(_step: int, _steps: int, _note: str) -> None:
    """Show no progress."""


class Batches(Protocol):
    """The training batches."""

    def batch(self, step: int, rank: int = 0, world: int = 1) -> tuple[Tensor | None, ...]:
        """Return part `rank` of `world` of the batch of `step`: a NamedTuple of tensors, the tokens first."""

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch."""


class Trainable(Protocol):
    """What the loop needs of a task."""

    def windows(self, batch_size: int, seed: int) -> Batches:
        """Return the training batches."""

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the mean loss of a batch, a scalar."""

    def loss_weight(self, batch: Any) -> float:
        """Return what that mean is over: the number of values, or the sum of their weights."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return scores on fixed data; the lowest `val_loss` decides which weights are best."""

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors that make the model, no two sharing memory."""

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again, as JSON values."""


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
        InputError: if the model does not allow that the batch is divided.
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
        self.task, self.config, self.folder, self.fabric = task, config, folder, fabric
        self.seed, self.identity, self.watch = seed, finite(dict(identity)), watch
        self.patience_from, self.compiled = patience_from, compiled
        self.unwrapped_model = model
        self.model = copy.deepcopy(model) if is_sharded(fabric) else model
        self._batches = task.windows(config.batch_size, seed)
        synchronize_batch_norm(self.model, config.accumulate, self._batches.smallest)
        if compiled:
            self.model.compile(mode=compile_mode(fabric, config.accumulate))
        self.step = 0
        self.saved: int | None = None  # the step of the last saved state
        self.elapsed = 0.0  # seconds of training and evaluation, those before a resume included
        self.evaluations: list[dict[str, float]] = []
        self._training_seconds, self._steps_taken = 0.0, 0
        self._note = ""  # the loss of the last line of metrics.jsonl
        self._lines = 0  # of metrics.jsonl
        self._unlogged: list[Tensor] = []  # losses since then, of this process
        self.wrapped = fabric.setup_module(self.model)
        self._names = {parameter: name for name, parameter in self.model.named_parameters()}
        self._optimizer: Any = fabric.setup_optimizers(build_optimizer(self.model, config))

    @property
    def best(self) -> float:
        """The lowest validation loss so far; infinity before the first evaluation."""
        return min((scores["val_loss"] for scores in self.evaluations), default=math.inf)

    def load_best(self) -> dict[str, Any]:
        """Load the weights of the lowest validation loss into the model, and return their description."""
        weights, about = checkpoint.load(self.folder / BEST)
        checkpoint.load_strict(weights, self.task.weights(self.unwrapped_model), str(self.folder))
        return about

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.config, self._planned_losses(0))

    def _planned_losses(self, begin: int) -> list[float]:
        """Return validation losses from step `begin` on, without that of the step where a run was stopped."""
        every = self.config.eval_every
        return [s["val_loss"] for s in self.evaluations if s["step"] >= begin and s["step"] % every == 0]

    @property
    def patience_spent(self) -> bool:
        """Whether the last `patience` evaluations brought no lower validation loss."""
        losses = self._planned_losses(self.patience_from)
        since = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return 0 < self.config.patience <= since

    @property
    def seconds_per_step(self) -> float:
        """Training time of one step, without evaluation."""
        return self._training_seconds / max(1, self._steps_taken)

    def eval_model(self) -> nn.Module:
        """Return the trained model, not compiled, for this process alone, on its device in its precision."""
        self.unwrapped_model._compiled_call_impl = None
        if process.current().world_size == 1:
            return self.wrapped
        return alone(self.fabric).setup_module(self.unwrapped_model)

    def run(
        self, *, stop_at: int | None = None, say: Say = silent, progress: Progress = silent_progress
    ) -> bool:
        """Train to the last step, to `stop_at`, or until patience is spent; return True if it is complete.

        Ctrl-C and SIGTERM let the current step end, save the state and raise KeyboardInterrupt.

        Raises:
            InputError: if the loss is not finite, or a batch does not fit in memory.
        """
        keep_freed_memory()
        last = min(self.config.steps, stop_at or self.config.steps)
        self._training_seconds, self._steps_taken = 0.0, 0
        self._clock = time.monotonic() - self.elapsed
        with process.stop_signal(say) as stopped:
            if not self.evaluations:
                self._save()  # from now on there is a state to resume from
                self._evaluate()
            progress(self.step, self.config.steps, "")
            while self.step < last and not self.patience_spent and not process.any_set(stopped):
                begin = time.monotonic()
                with raise_on_out_of_memory(TOO_LARGE):
                    self._unlogged.append(self._take_step())
                if self.step % LOG_EVERY == 0 or self.step == self.config.steps:
                    self._write_log()  # waits for the device
                elif self.step == last:
                    self._unlogged[-1].item()  # waits too, so that the time of the run is complete
                self._training_seconds += time.monotonic() - begin
                self._steps_taken += 1
                if self.step % self.config.eval_every == 0 or self.step == last:
                    self._evaluate()
                saving = self.step % self.config.checkpoint_every == 0 or self.step == last
                if saving or self.patience_spent:
                    self._save()
                progress(self.step, self.config.steps, self._note)
            if process.any_set(stopped):
                self._save()
                process.barrier()  # a launcher may kill the process that writes as soon as another ends
                raise KeyboardInterrupt
        return self.step >= self.config.steps or self.patience_spent

    def time_step(self) -> float:
        """Take a step and then `DRY_RUN_STEPS` more; return the seconds of one. Nothing is written."""
        begin = 0.0
        with raise_on_out_of_memory(TOO_LARGE):
            for _ in range(1 + DRY_RUN_STEPS):  # the first one is slower: it is compiled, memory is new
                self._take_step().item()  # waits for the device
                begin = begin or time.monotonic()
        return (time.monotonic() - begin) / DRY_RUN_STEPS

    def _take_step(self) -> Tensor:
        """Take a step, and return the sum of its weighted losses in this process."""
        rate = self._rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.wrapped.train()
        losses = []
        micro_batches = self._micro_batches()
        for index, (number, batch, weight) in enumerate(micro_batches):
            torch.manual_seed((self.seed * 1_000_003 + self.step) * 4096 + number)
            with self.fabric.no_backward_sync(self.wrapped, enabled=index < len(micro_batches) - 1):
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

    def _micro_batches(self) -> list[tuple[int, Any, float]]:
        """Return this process's micro-batches: number, batch, and weight in the gradient.

        Gradients are added over micro-batches, and averaged over processes. In place of one without rows the
        first one is computed with weight zero, to avoid a deadlock.
        """
        rank, world = self.fabric.global_rank, self.fabric.world_size
        pieces = world * self.config.accumulate
        own = range(rank * self.config.accumulate, (rank + 1) * self.config.accumulate)
        batches = [self._batches.batch(self.step, number, pieces) for number in own]
        weights = [self.task.loss_weight(b) if b[0] is not None and len(b[0]) else 0.0 for b in batches]
        (total,) = process.all_reduce_sum([sum(weights)])
        spare = None if all(weights) else self._batches.batch(self.step, 0, pieces)
        return [
            (number, batch if weight else spare, world * weight / total if total else 0.0)
            for number, batch, weight in zip(own, batches, weights, strict=True)
        ]

    def _write_log(self) -> None:
        """Write the mean loss since the last line to metrics.jsonl."""
        loss = float(torch.tensor(self._losses(), dtype=torch.float32).mean())
        self._note = f"loss {loss:.4f}"
        self._unlogged.clear()
        if not math.isfinite(loss):
            raise self._diverged(f"the loss became {loss}")
        self._append({"step": self.step, "loss": loss, "lr": self._rate(self.step - 1)})

    def _losses(self) -> list[float]:
        """Return the losses of the full batches that are not logged yet."""
        losses = torch.stack(self._unlogged).tolist() if self._unlogged else []
        return [each / self.fabric.world_size for each in process.all_reduce_sum(losses)]

    def _diverged(self, what: str) -> InputError:
        advice = f"choose a lower `lr` (now {self.config.lr:g}) or `precision` fp32, and `overwrite`"
        return InputError(f"{what} at step {self.step}; {advice}")

    def _evaluate(self) -> None:
        """Score the model, all processes together; the scores of the first process count."""
        too_large = "the model does not fit when it is evaluated; choose a smaller one, or shorter windows"
        uncompiled = torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()
        with raise_on_out_of_memory(too_large), gathered(self.model), uncompiled:
            scores = process.broadcast(self.task.evaluate(self.wrapped))
        if not math.isfinite(scores["val_loss"]):
            raise self._diverged(f"the validation loss is {scores['val_loss']}")
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
        """Add one line to metrics.jsonl."""
        self._lines += 1
        if not process.is_rank_zero():
            return
        line["elapsed"] = round(time.monotonic() - self._clock, 3)
        with (self.folder / LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.watch:
            self.watch(line)

    def _save(self) -> None:
        """Write the full state that `resume` reads, the same for any number of processes."""
        self.elapsed = time.monotonic() - self._clock
        tensors = {f"model.{name}": tensor for name, tensor in self.task.weights(self.model).items()}
        for parameter, state in self._optimizer.state.items():
            tensors |= {f"{key}.{self._names[parameter]}": value for key, value in state.items()}
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
            checkpoint.save(self.folder / LAST, tensors, about, before=self.folder / BEFORE)
        self.saved = self.step

    def resume(self, say: Say) -> None:
        """Continue from the newest complete state in the folder; `say` gets a warning for a damaged one.

        Raises:
            InputError: if there is nothing to resume, or it was made with other settings or data (named).
        """
        tensors, about = newest_state(self.folder, say)
        check_identity(self.folder, about["identity"], self.identity)
        model = self.task.weights(self.model)
        weights = {}
        parameters = {name: parameter for parameter, name in self._names.items()}
        for full_name, tensor in tensors.items():
            key, _, name = full_name.partition(".")
            if key == "model":
                weights[name] = shard(tensor, model.get(name, tensor))
            else:
                self._optimizer.state[parameters[name]][key] = shard(tensor, parameters[name])
        checkpoint.load_strict(weights, model, str(self.folder / LAST))
        self.step = self.saved = about["step"]
        self.elapsed, self.evaluations = about["elapsed"], about["evaluations"]
        self._unlogged = [torch.tensor(loss, device=self.fabric.device) for loss in about["unlogged_losses"]]
        self.fabric.strategy.precision.load_state_dict(about["scaler"])
        self._lines = about["log_lines"]
        if process.is_rank_zero():
            cut_log(self.folder, self._lines)
        process.barrier()  # all have read it before the first writes the next
