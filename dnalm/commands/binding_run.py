"""What `finetune` and `baseline` share: from windows and scores to a trained model and all its files."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from dnalm import checkpoint
from dnalm.bootstrap import moments
from dnalm.commands.binding_files import check_outputs, clear, write_results
from dnalm.commands.binding_options import (
    BindingOptions,
    check_options,
    identity_of,
    recipe_of,
    say,
    trained_as,
)
from dnalm.commands.binding_set import Prepared, prepare_set
from dnalm.data.augment import reverse_complements, shifted_copies
from dnalm.data.binding import BindingWindows
from dnalm.devices import (
    choose_device,
    choose_precision,
    describe_device,
    make_fabric,
    set_threads,
)
from dnalm.encoders.gpt import GPT, start_local
from dnalm.evaluate.binding import binding_detail, binding_scores
from dnalm.files import lock, recover
from dnalm.fit import BEST, LAST, Loop
from dnalm.records import Record, peak_memory
from dnalm.report.binding import refresh_comparisons
from dnalm.states import StateCache, weights_digest
from dnalm.tasks.binding import BindingModel, BindingShape, BindingTask, predict


@dataclass(frozen=True)
class Start:
    """What training begins with."""

    verb: str
    shape: BindingShape
    core: dict[str, Tensor] | None
    """The encoder's tensors; None for weights drawn at random."""
    about: dict[str, Any]
    """Said of the model in results: `core`, in words, and whether it is a `random_core`."""
    local_start: bool = False
    """Whether weights drawn at random begin as pretraining did, with local heads."""


def train_binding(options: BindingOptions, start: Start) -> None:
    """Train a binding model, judge it on the validation part, and write everything that OUT should hold.

    Raises:
        ValueError: for a mistake in the options or the data.
    """
    check_options(options)
    set_threads(options.threads)
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    check_outputs(options.out, options.name, resume=options.resume, overwrite=options.overwrite)
    prepared = prepare_set(options.sequences, options.scores, options.data, start.shape)
    say(options, prepared.summary)
    torch.manual_seed(options.seed)
    model = BindingModel(start.shape)
    if start.core is not None:
        _load_core(model, start)
    elif start.local_start and isinstance(model.encoder, GPT) and model.encoder.config.position == "rotary":
        start_local(model.encoder)
    total = model.parameter_count
    model.prepare_training()
    about = {
        "kind": start.shape.kind,
        "tune": start.shape.tuning.tune if start.shape.kind == "gpt" else "all",
        "both_strands": start.shape.tuning.both_strands,
        "causal": model.encoder.causal,
        "parameters": total,
        "trained_parameters": model.trained_count,
        "trained_as": trained_as(options, prepared.about["digest"]),
        **start.about,
    }
    say(
        options,
        f"{options.name}: {total:,} parameters, {model.trained_count:,} of them trained"
        + (" (low-rank updates counted)" if about["tune"] == "lora" else "")
        + f", on {describe_device(device)} in {precision}",
    )
    train, validation = _windows(options, start.shape, prepared)
    task = BindingTask(start.shape, train, validation, about)
    steps = task.windows(options.train.batch_size, options.seed).steps_per_epoch
    if options.dry_run:
        _dry_run(options, task, model, steps, device, precision)
        return
    with lock(options.out / options.name):
        _train(options, start.verb, task, model, prepared, steps=steps, device=device, precision=precision)


def redraw(out: Path) -> None:
    """Draw the two comparison plots anew from the results in `out`, and print their paths."""
    for path in refresh_comparisons(out):
        print(path)


def _train(
    options: BindingOptions,
    verb: str,
    task: BindingTask,
    model: BindingModel,
    prepared: Prepared,
    *,
    steps: int,
    device: str,
    precision: str,
) -> None:
    folder = options.out / options.name
    for name in (BEST, LAST):
        recover(folder / name)
    fabric = make_fabric(device, precision)
    begin = time.monotonic()
    core = weights_digest(model.encoder)
    if model.frozen and options.max_cache:
        task = _with_states(options, task, model, fabric, core)
    states_seconds = time.monotonic() - begin
    loop = Loop(
        task,
        model,
        options.train.in_steps(steps),
        folder=folder,
        fabric=fabric,
        seed=options.seed,
        identity=identity_of(options, task.shape, prepared.about["digest"], precision, core),
    )
    _begin(options, loop, task, model)
    record = Record(
        folder / "run.json",
        verb,
        recipe={"name": options.recipe} | recipe_of(options) | {"model": task.shape.as_dict()},
        seed=options.seed,
        data=prepared.about,
        device=f"{describe_device(device)}, {precision}",
    )
    try:
        complete = loop.run(quiet=options.quiet)
        results = _judged(options, loop, task, model, prepared, steps, states_seconds)
        results["device"] = record.content["hardware"]["device"]
        write_results(options.out, options.name, results, model, prepared.names("validation"))
    except KeyboardInterrupt:
        record.finish("interrupted", {"step": loop.step})
        say(options, f"stopped at step {loop.step:,}; its state is saved, and --resume goes on from there")
        raise
    except BaseException:
        record.finish("failed", {"step": loop.step})
        raise
    metrics = {key: results[key] for key in ("name", "model", "split", "training", "scores")}
    record.finish(
        "done" if complete else "interrupted", metrics, training_s=loop.elapsed, states_s=states_seconds
    )
    print(_summary(options, results))
    try:
        refresh_comparisons(options.out)
    except ValueError as error:  # of some other file in the folder: this run is done
        say(options, f"the comparison plots were not drawn: {error}")


def _begin(options: BindingOptions, loop: Loop, task: BindingTask, model: BindingModel) -> None:
    """Go on with the run that is there, or clear it away and give the head its start."""
    if options.resume:
        loop.resume()
        return
    clear(options.out, options.name, task.shape.kind)
    with loop.fabric.autocast():
        model.calibrate(task.train)


def _judged(
    options: BindingOptions,
    loop: Loop,
    task: BindingTask,
    model: BindingModel,
    prepared: Prepared,
    steps: int,
    states_seconds: float,
) -> dict[str, Any]:
    """Take the best weights, and return all that results_NAME.json holds, and the moments."""
    weights, best = checkpoint.load(options.out / options.name / BEST)
    task.load_weights(model, weights, str(options.out / options.name))
    predicted = predict(loop.wrapped, task.validation)
    truth = task.validation.scores.numpy()
    model.merge()
    evaluations = loop.evaluations
    history: dict[str, list[Any]] = {
        "epoch": [round(scores["step"] / steps) for scores in evaluations],
        **{
            key: [scores[key] for scores in evaluations]
            for key in ("train_loss", "val_loss", "pearson_r", "elapsed")
        },
    }
    return {
        "format": "dnalm-binding-results",
        "format_version": 1,
        "name": options.name,
        "model": task.about | {"weights": weights_digest(model)},
        "split": prepared.split_about | {"part": "validation"},
        "training": {
            "epochs": history["epoch"][-1],
            "best_epoch": round(best["step"] / steps),
            "best_val_loss": best["val_loss"],
            "seconds": loop.elapsed,
            "states_seconds": states_seconds,
            "training_windows": len(task.train),
            "history": history,
        },
        "peak_memory_bytes": peak_memory(),
        "scores": binding_scores(truth, predicted),
        "detail": binding_detail(prepared.names("validation"), truth, predicted),
        "moments": moments(truth, predicted),
    }


def _windows(
    options: BindingOptions, shape: BindingShape, prepared: Prepared
) -> tuple[BindingWindows, BindingWindows]:
    """Return the training windows, with their copies, and the validation windows."""
    letters, scores = prepared.part("train")
    every = [(letters, scores)]
    if options.augment.max_shift:
        shifted, moved, _rows = shifted_copies(
            letters, scores, max_shift=options.augment.max_shift, seed=options.seed
        )
        every.append((shifted, moved))
    if options.augment.reverse_complement:
        every += [reverse_complements(*each) for each in list(every)]
    letters, scores = (np.concatenate(column) for column in zip(*every, strict=True))
    held, truth = prepared.part("validation")
    train = BindingWindows(shape.tokens(letters), torch.from_numpy(scores))
    return train, BindingWindows(shape.tokens(held), torch.from_numpy(truth))


def _with_states(
    options: BindingOptions, task: BindingTask, model: BindingModel, fabric: Fabric, core: str
) -> BindingTask:
    """Return the task with the frozen core's states at hand, computed now or found on disk."""
    cache = StateCache(
        options.out / "cache", int(options.max_cache * 1e9), lambda message: say(options, message)
    )
    key = {
        "weights": core,
        "shape": {name: task.shape.as_dict()[name] for name in ("encoder", "characters")},
        "both_strands": task.shape.tuning.both_strands,
        "precision": fabric.strategy.precision.precision,
    }
    fabric.to_device(model)
    model.eval()

    @torch.no_grad()
    def encode(tokens: Tensor) -> Tensor:
        with fabric.autocast():
            states: Tensor = model.encode(tokens.to(fabric.device))
        return states

    def kept(windows: BindingWindows) -> BindingWindows:
        states = cache.get(encode, windows.tokens, model.width, key)
        return BindingWindows(windows.tokens, windows.scores, states)

    return BindingTask(task.shape, kept(task.train), kept(task.validation), task.about)


def _load_core(model: BindingModel, start: Start) -> None:
    assert start.core is not None
    wanted = model.encoder.state_dict()
    checkpoint.check_names(start.core, wanted, str(start.about["core"]))
    model.encoder.load_state_dict(start.core)


def _summary(options: BindingOptions, results: dict[str, Any]) -> str:
    scores, training = results["scores"], results["training"]
    r = scores["pearson_r"]
    return "\n".join(
        [
            f"{options.name}: Pearson R {r['value']:.4f} (95 % interval {r['low']:.4f} to {r['high']:.4f}) "
            f"over all {scores['bases']:,} bases of {scores['windows']:,} validation windows, "
            f"{scores['pearson_r_batches']:.4f} as a mean over batches; AUROC {scores['auroc']:.4f}, "
            f"AUPRC {scores['auprc']:.4f}",
            f"best epoch {training['best_epoch']} of {training['epochs']}, {training['seconds']:.0f} s of "
            "training; the validation part chose the epoch: for a claim run dnalm evaluate --part test",
            f"model {options.out / options.name}, results {options.out / f'results_{options.name}.json'}",
        ]
    )


def _dry_run(
    options: BindingOptions, task: BindingTask, model: BindingModel, steps: int, device: str, precision: str
) -> None:
    """Time a few steps without kept states, and print what the whole run would need at most."""
    fabric = make_fabric(device, precision)
    wrapped = fabric.setup_module(model)
    batches = task.windows(options.train.batch_size, options.seed)
    tried = 3
    begin = time.monotonic()
    for step in range(tried):
        batch = fabric.to_device(batches.batch(step))
        fabric.backward(task.loss(wrapped, batch))
    seconds = (time.monotonic() - begin) / tried * steps * options.train.epochs
    size = 2 * (len(task.train) + len(task.validation)) * task.train.tokens.shape[1] * model.width
    states = f", {size / 1e9:.1f} GB of states on disk" if model.frozen and options.max_cache else ""
    print(
        f"would train {options.train.epochs} epochs of {len(task.train):,} windows into "
        f"{options.out / options.name}: at most about {seconds / 60:,.0f} min, "
        f"{peak_memory() / 1e9:.1f} GB of memory, {12 * model.parameter_count / 1e6:,.0f} MB of models"
        f"{states}"
    )
