"""What `finetune` and `baseline` share: from windows and scores to a trained model and all its files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from dnalm import checkpoint, process
from dnalm.bootstrap import moments
from dnalm.checkpoint import weights_digest
from dnalm.commands.binding_files import result_files, write_results
from dnalm.commands.binding_options import BindingOptions, check_options, identity_of, recipe_of, trained_as
from dnalm.commands.runs import prepare_process, progress_bar, show
from dnalm.data.augment import reverse_complements, shifted_copies
from dnalm.data.binding import BindingWindows
from dnalm.data.binding_set import Prepared, prepare_set
from dnalm.data.binding_states import StateCache
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.evaluate.binding import binding_detail, binding_scores
from dnalm.models.binding import BindingModel, BindingShape, BindingTask, predict
from dnalm.models.gpt import GPT, start_local
from dnalm.record import peak_memory
from dnalm.report.binding import refresh_comparisons
from dnalm.train.loop import Loop
from dnalm.train.resume import BEST
from dnalm.train.run import Outcome, TrainingRun, run_folder_lock, seconds_per_step


@dataclass(frozen=True)
class Start:
    """What training begins with."""

    verb: str
    shape: BindingShape
    core: dict[str, Tensor] | None
    """The encoder's tensors; None for weights drawn at random."""
    about: dict[str, Any]
    """Said of the model in results: `core`, in words, and whether it is a `random_core`."""
    path: Path | None = None
    """Where it was read; None where nothing was."""
    local_start: bool = False
    """Whether weights drawn at random begin as pretraining did, with local heads."""
    head: dict[str, Tensor] | None = None
    """The head's tensors, where it is trained already; None for an untrained one."""
    weights: str = ""
    """What a resumed run knows a trained start by, see `checkpoint.stored_digest`; of an untrained head the
    core's own tensors serve."""
    trained_on: str | None = None
    """Digest of the windows and the split that the start was trained on, where it has seen any."""


def train_binding(options: BindingOptions, start: Start) -> None:
    """Train a binding model, judge it on the validation part, and write everything that OUT should hold.

    Raises:
        InputError: for a mistake in the options or the data.
    """
    check_options(options)
    processor = prepare_process(options.run.compute)
    process.check_batch(options.train.batch_size, options.train.accumulate)
    beside = result_files(options.out, options.name)
    folder, reads = options.out / options.name, [] if start.path is None else [start.path]
    with progress_bar(quiet=options.run.quiet) as progress:
        training = TrainingRun(
            command=start.verb,
            folder=folder,
            processor=processor,
            config=options.run,
            files=[folder / "moments.npz", *beside],
            say=options.run.say,
            progress=progress,
        )
        training.check_folder(option="`out` or `name`", reads=reads)
        _run(options, start, training)


def _run(options: BindingOptions, start: Start, training: TrainingRun) -> None:
    """Make the model and the task, and train; or say what a dry run would need."""
    processor = training.processor
    prepared = prepare_set(options.sequences, options.scores, options.data, start.shape)
    options.run.say(prepared.summary)
    if start.trained_on not in (None, prepared.about["digest"]):
        raise InputError(
            "--init-from was trained on other windows or another split, and may have seen those it would be "
            "judged on; give the --sequences, --scores and --split it was trained with"
        )
    torch.manual_seed(options.run.seed)
    model = BindingModel(start.shape)
    if start.core is not None:
        checkpoint.put(start.core, model.encoder.state_dict(), str(start.about["core"]))
    elif start.local_start and isinstance(model.encoder, GPT) and model.encoder.config.position == "rotary":
        start_local(model.encoder)
    if start.head is not None:
        checkpoint.put(start.head, model.head.state_dict(), str(start.about["core"]))
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
    options.run.say(
        f"{options.name}: {total:,} parameters, {model.trained_count:,} of them trained"
        + (" (low-rank updates counted)" if about["tune"] == "lora" else "")
        + f", on {processor}"
    )
    train, validation = _windows(options, start.shape, prepared)
    task = BindingTask(start.shape, train, validation, about)
    if options.run.dry_run:
        _dry_run(options, task, model, processor)
        return
    with run_folder_lock(training.folder):
        _train(options, start, task, model, prepared, training)


def redraw(out: Path) -> None:
    """Draw the two comparison plots anew from the results in `out`, and print their paths."""
    for path in refresh_comparisons(out):
        print(path)


def _train(
    options: BindingOptions,
    start: Start,
    task: BindingTask,
    model: BindingModel,
    prepared: Prepared,
    training: TrainingRun,
) -> None:
    processor, fabric = training.processor, training.processor.fabric()
    core = start.weights or weights_digest(model.encoder)
    states_seconds = 0.0
    if model.frozen and options.max_cache:
        task, states_seconds = _with_states(options, task, model, prepared, fabric)
    steps = task.windows(options.train.batch_size, options.run.seed).steps_per_epoch
    if start.head is None and not options.run.resume:
        fabric.to_device(model)
        with fabric.autocast():
            model.calibrate(task.train)
    loop = Loop(
        task,
        model,
        options.train.in_steps(steps),
        folder=training.folder,
        fabric=fabric,
        seed=options.run.seed,
        identity=identity_of(options, task.shape, prepared.about["digest"], processor.precision, core),
    )
    results = training.train(
        loop,
        recipe={"name": options.recipe} | recipe_of(options) | {"model": task.shape.as_dict()},
        data=prepared.about,
        evaluate=lambda loop: _outcome(
            options, loop, task, model, prepared, steps, states_seconds, processor
        ),
    )
    if results is None:
        return
    print(_summary(options, results))
    try:
        refresh_comparisons(options.out)
    except InputError as error:  # of some other file in the folder: this run is done
        options.run.say(f"the comparison plots were not drawn: {error}")


def _outcome(
    options: BindingOptions,
    loop: Loop,
    task: BindingTask,
    model: BindingModel,
    prepared: Prepared,
    steps: int,
    states_seconds: float,
    processor: Processor,
) -> Outcome:
    """Evaluate the best weights, write the results, and return them with those that run.json holds."""
    results = _judged(options, loop, task, model, prepared, steps, states_seconds)
    results["device"] = str(processor)
    write_results(options.out, options.name, results, model, prepared.names("validation"))
    metrics = {key: results[key] for key in ("name", "model", "split", "training", "scores")}
    return Outcome(results, metrics, {"states_s": states_seconds})


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
    checkpoint.put(weights, task.weights(model), str(options.out / options.name))
    predicted = predict(loop.eval_model(), task.validation)
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
        "model": task.about | {"weights": checkpoint.stored_digest(best)},
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
            letters, scores, max_shift=options.augment.max_shift, seed=options.run.seed
        )
        every.append((shifted, moved))
    if options.augment.reverse_complement:
        every += [reverse_complements(*each) for each in list(every)]
    letters, scores = (np.concatenate(column) for column in zip(*every, strict=True))
    held, truth = prepared.part("validation")
    train = BindingWindows(shape.tokens(letters), torch.from_numpy(scores))
    return train, BindingWindows(shape.tokens(held), torch.from_numpy(truth))


def _with_states(
    options: BindingOptions, task: BindingTask, model: BindingModel, prepared: Prepared, fabric: Fabric
) -> tuple[BindingTask, float]:
    """Return the task with the frozen core's states at hand, and the seconds that computing them took.

    Kept are those of every window of the set, in its order, and then those of the copies; those of the other
    strand are kept apart. So another split finds them again, and both strands those of one.
    """
    cache = StateCache(options.out / "cache", int(options.max_cache * 1e9), options.run.say)
    key = {
        "weights": weights_digest(model.encoder),
        "shape": {name: task.shape.as_dict()[name] for name in ("encoder", "characters")},
        "precision": fabric.strategy.precision.precision,
    }
    fabric.to_device(model)
    model.eval()

    @torch.no_grad()
    def encode(tokens: Tensor) -> Tensor:
        with fabric.autocast():
            tokens = tokens.to(fabric.device)
            states: Tensor = model.encoder(tokens, torch.ones_like(tokens, dtype=torch.bool))
        return states

    rows = prepared.split
    every = task.shape.tokens(prepared.windows.letters)  # [W, L]
    copies = task.train.tokens[len(rows.train) :]
    strands = [torch.cat([every, copies])]
    if task.shape.tuning.both_strands:
        strands.append(model.other_strand(strands[0].to(fabric.device)).cpu())
    kept = [cache.get(encode, tokens, model.encoder.width, key) for tokens in strands]
    forward, other = kept[0].states, kept[1].states if len(kept) > 1 else None
    of_train = torch.cat([torch.from_numpy(rows.train), torch.arange(len(every), len(every) + len(copies))])
    train = replace(task.train, states=forward, other_states=other, state_rows=of_train)
    validation = replace(
        task.validation, states=forward, other_states=other, state_rows=torch.from_numpy(rows.validation)
    )
    return BindingTask(task.shape, train, validation, task.about), sum(each.seconds for each in kept)


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


def _dry_run(options: BindingOptions, task: BindingTask, model: BindingModel, processor: Processor) -> None:
    """Time a few steps without kept states, and print what the whole run would need at most."""
    fabric = processor.fabric()
    wrapped = fabric.setup_module(model)
    batches = task.windows(options.train.batch_size, options.run.seed)
    seconds = seconds_per_step(task, wrapped, batches, fabric, options.train.accumulate)
    seconds *= batches.steps_per_epoch * options.train.epochs
    size = 2 * (len(task.train) + len(task.validation)) * task.train.tokens.shape[1] * model.width
    states = f", {size / 1e9:.1f} GB of states on disk" if model.frozen and options.max_cache else ""
    show(
        f"would train {options.train.epochs} epochs of {len(task.train):,} windows into "
        f"{options.out / options.name}: at most about {seconds / 60:,.0f} min, "
        f"{peak_memory() / 1e9:.1f} GB of memory, {12 * model.parameter_count / 1e6:,.0f} MB of models"
        f"{states}"
    )
