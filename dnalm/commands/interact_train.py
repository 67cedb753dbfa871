"""`dnalm interact train`: a model of genes and molecules, on prepared pairs."""

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from dnalm import checkpoint, process
from dnalm.checkpoint import weights_digest
from dnalm.commands.interact_start import go_on_from
from dnalm.commands.runs import RunOptions, prepare_process, progress_bar, show
from dnalm.config import from_recipe
from dnalm.data.pair_batches import PairRows
from dnalm.data.pairs import PairSet, open_pairs
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.evaluate.auroc import auroc
from dnalm.evaluate.baselines.node_rate import node_rate
from dnalm.evaluate.pair_scores import fit_temperature, interaction_scores, probability
from dnalm.files import write_json
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.input_encoder import InputEncoder, ModelName, attention_of, shape_of, store_of
from dnalm.models.pair import InteractionModel, predict
from dnalm.models.pair_shape import EncodersConfig, InteractionShape, TuningConfig
from dnalm.models.smiles_lstm import smiles_characters
from dnalm.record import peak_memory
from dnalm.train.loop import Loop
from dnalm.train.optim import EpochConfig
from dnalm.train.pairs import InteractionTask
from dnalm.train.resume import BEST
from dnalm.train.run import Outcome, TrainingRun, run_folder_lock, seconds_per_step
from dnalm.train.sharding import synchronize_batch_norm

MODELS = get_args(ModelName)
"""Each has a recipe of its name."""
TABLES = ("encoders", "tuning", "attention", "train")
"""What a recipe may set."""
RESULTS = "results.json"


@dataclass(frozen=True)
class Options:
    """Train a model to tell pairs of gene and molecule that interact from those that do not."""

    data: Path = Path("data/pairs")
    """A folder of pairs made by `dnalm interact prepare`."""
    model: ModelName = "original"
    """original: the published classifier of one vector a side; foundation: cross-attention between states;
    foundation-pooled: between one vector of each side, as published, kept to show what that costs."""
    out: Path = Path("runs/original")
    """The run's folder, runs/MODEL unless given; its name is the model's name in tables and plots."""
    store: Path | None = None
    """Where states of frozen encoders are kept; the folder states beside --data unless given."""
    init_from: Path | None = None
    """A run to go on from, of the same encoders and head; its frozen encoders may be trained now."""
    recipe: str = "original"
    """The recipe of --model unless given: its name, or a TOML file; flags win over it."""
    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    attention: CrossAttentionConfig = field(default_factory=CrossAttentionConfig)
    train: EpochConfig = field(default_factory=EpochConfig)
    run: RunOptions = field(default_factory=RunOptions)


def default_options(recipe: str = "", model: str = "original") -> Options:
    """Return the options that `--recipe` stands for, or `--model` unless it is given; flags win over them.

    Raises:
        InputError: if the recipe does not exist or has wrong fields, all of them named.
    """
    recipe = recipe or (model if model in MODELS else "original")
    start = from_recipe(Options(), recipe, TABLES)
    return replace(start, out=Path("runs") / recipe) if recipe in MODELS else start


def run(options: Options) -> None:
    """Train, judge on the validation part, and write the run's folder.

    Raises:
        InputError: for a mistake in the options or the data.
    """
    _check(options)
    processor = prepare_process(options.run.compute)
    if processor.strategy == "fsdp" and options.tuning.any:
        raise InputError("--strategy fsdp does not go with pretrained encoders that are trained; use ddp")
    begun = [] if options.init_from is None else [options.init_from]
    with progress_bar(quiet=options.run.quiet) as progress:
        training = TrainingRun(
            command="interact train",
            folder=options.out,
            processor=processor,
            config=options.run,
            files=[options.out / RESULTS],
            say=options.run.say,
            progress=progress,
        )
        training.check_folder(reads=begun)
        _run(options, training)


def _run(options: Options, training: TrainingRun) -> None:
    """Make the model and the task, and train; or say what a dry run would need."""
    processor = training.processor
    pairs = open_pairs(options.data)
    shape, backbones = shape_of(
        options.encoders,
        partial(_characters, pairs, options.encoders.smiles_length),
        attention_of(options.model, options.attention),
        options.tuning,
    )
    cautions = [backbone.caution for backbone in backbones.values() if backbone.caution]
    for caution in cautions:
        options.run.say(caution)
    torch.manual_seed(options.run.seed)
    model = InteractionModel(shape, backbones)
    model.prepare_training(options.tuning)
    about = {
        "kind": shape.kind,
        "parameters": model.parameter_count + shape.frozen_parameters,
        "trained_parameters": model.trained_count,
        "set": pairs.digest,
        "split": pairs.meta["split"],
        "seed": options.run.seed,
    } | ({"cautions": cautions} if cautions else {})
    if options.init_from is not None:
        early_epochs = bool(options.tuning.unfreeze_at_epoch)
        about |= go_on_from(options.init_from, model, pairs, options.run.say, early=early_epochs)
    reading = InputEncoder(store_of(options.store, options.data), processor, options.run.say)
    early = shape.frozen if options.tuning.unfreeze_at_epoch else None
    if options.run.dry_run and (missing := reading.missing(early or shape, pairs)):
        show(
            f"would encode {missing:,} genes and molecules into {reading.store}, once, and then train "
            f"{options.train.epochs} epochs of {len(pairs.parts['train']):,} pairs into {options.out}; how "
            "long that takes is known when they are encoded"
        )
        return
    task = InteractionTask(
        shape,
        reading.tokens(shape, pairs, backbones),
        _part(pairs, "train"),
        _part(pairs, "validation"),
        about,
        early=None if early is None else reading.tokens(early, pairs, backbones),
        early_epochs=options.tuning.unfreeze_at_epoch,
    )
    if options.init_from is None:
        model.calibrate(task.tokens, task.train.gene, task.train.molecule)
    _start(options, task, model, pairs, training)


def _check(options: Options) -> None:
    """Refuse options that do not go together."""
    process.check_batch(options.train.batch_size, options.train.accumulate)
    if options.tuning.unfreeze_at_epoch >= options.train.epochs:
        raise InputError(
            f"--unfreeze-at-epoch {options.tuning.unfreeze_at_epoch}: there are {options.train.epochs} "
            "epochs, so that the encoders would never be trained; give a lower one, or more --epochs"
        )


def _start(
    options: Options, task: InteractionTask, model: InteractionModel, pairs: PairSet, training: TrainingRun
) -> None:
    """Say what is trained, and train it; or try a few steps, where a dry run is asked for."""
    batches = task.windows(options.train.batch_size, options.run.seed)
    synchronize_batch_norm(
        model, options.train.accumulate, batches.smallest
    )  # refuses shares that are too small
    parameters = f"{task.about['parameters']:,} parameters, {model.trained_count:,} of them trained"
    options.run.say(
        f"{options.out.name}: {len(task.train):,} training and {len(task.validation):,} validation pairs of "
        f"{options.data}; {task.shape.kind}: {parameters}, on {training.processor}"
    )
    if options.run.dry_run:
        _dry_run(options, task, model, training.processor)
        return
    with run_folder_lock(options.out):
        _train(options, task, model, pairs, training)


def _characters(pairs: PairSet, longest: int) -> str:
    """Return the characters of the training part's molecules: others must not be learned from."""
    seen = np.unique(pairs.molecule[pairs.parts["train"]])
    return smiles_characters((pairs.smiles[row] for row in seen), longest)


def _part(pairs: PairSet, name: str) -> PairRows:
    rows = pairs.parts[name]
    return PairRows(pairs.gene[rows], pairs.molecule[rows], pairs.label[rows])


def _train(
    options: Options, task: InteractionTask, model: InteractionModel, pairs: PairSet, training: TrainingRun
) -> None:
    steps = task.windows(options.train.batch_size, options.run.seed).steps_per_epoch
    recipe = {name: asdict(getattr(options, name)) for name in TABLES}
    loop = Loop(
        task,
        model,
        options.train.in_steps(steps),
        folder=options.out,
        fabric=training.processor.fabric(unused=options.tuning.any),
        seed=options.run.seed,
        identity=_identity(options, task, pairs.digest, training.processor),
        patience_from=options.tuning.unfreeze_at_epoch * steps,
    )
    results = training.train(
        loop,
        recipe={"name": options.recipe} | recipe | {"model": task.shape.as_dict()},
        data={"digest": pairs.digest, **{key: pairs.meta.get(key) for key in ("sources", "split", "parts")}},
        evaluate=lambda loop: _outcome(options, loop, task, model, pairs, steps),
    )
    if results is not None:
        print(_summary(options, results))


def _outcome(
    options: Options, loop: Loop, task: InteractionTask, model: InteractionModel, pairs: PairSet, steps: int
) -> Outcome:
    """Evaluate the best weights, write the results, and return them with those that run.json holds."""
    results = _judged(options, loop, task, model, pairs, steps)
    write_json(options.out / RESULTS, results)
    kept = ("name", "model", "split", "negatives", "ratio", "training", "validation", "node_rate_validation")
    return Outcome(results, {key: results[key] for key in kept})


def _identity(options: Options, task: InteractionTask, digest: str, processor: Processor) -> dict[str, Any]:
    """Return what a resumed run must share with the one before: all that decides its weights."""
    settings = asdict(options.encoders) | asdict(options.tuning) | asdict(options.attention)
    settings |= asdict(options.train)
    for free in ("patience", "gradient_checkpointing"):  # micro-batches are normalised each by its own rows
        del settings[free]
    shape = task.shape
    return settings | {
        "init_weights": task.about.get("init_weights"),
        "model": options.model,
        "set": digest,
        "seed": options.run.seed,
        "precision": processor.precision,
        "frozen": [each.identity for each in shape.pretrained.values()],
    }


def _judged(
    options: Options, loop: Loop, task: InteractionTask, model: InteractionModel, pairs: PairSet, steps: int
) -> dict[str, Any]:
    """Take the best weights, and return all that results.json holds."""
    weights, best = checkpoint.load(options.out / BEST)
    if InteractionShape.from_dict(best) != task.shape:  # judged before: its low-rank updates are added in
        model.merge()
    checkpoint.put(weights, task.weights(model), str(options.out))
    if model.merge():
        kept = {key: best[key] for key in ("step", "val_loss", "identity")}
        plain = {"kind": "interaction", **model.shape.as_dict(), "about": task.about}
        checkpoint.save(options.out / BEST, task.weights(model), plain | kept)
    held, (words, drawn) = task.validation, pairs.resampling_units(pairs.parts["validation"])
    logits = predict(loop.eval_model(), task.tokens, held.gene, held.molecule)
    history: dict[str, list[Any]] = {
        "epoch": [round(scores["step"] / steps) for scores in loop.evaluations],
        **{
            key: [scores[key] for scores in loop.evaluations]
            for key in ("train_loss", "val_bce", "val_auroc", "elapsed")
        },
    }
    return {
        "format": "dnalm-interaction-results",
        "format_version": 1,
        "name": options.out.name,
        "model": task.about | {"weights": weights_digest(model)},
        **{key: pairs.meta[key] for key in ("split", "negatives", "ratio", "seed")},
        "digest": pairs.digest,
        "training": {
            "epochs": history["epoch"][-1],
            "best_epoch": round(best["step"] / steps),
            "seconds": loop.elapsed,
            "history": history,
        },
        "validation": interaction_scores(held.label, probability(logits), held.gene, held.molecule, drawn),
        "drawn": words,
        "temperature": fit_temperature(logits, held.label),
        "node_rate_validation": _node_rate(pairs),
    }


def _node_rate(pairs: PairSet) -> float:
    """Return the validation AUROC of the baseline that sees no feature of gene or molecule."""
    rows = pairs.parts["validation"]
    return auroc(pairs.label[rows], node_rate(pairs, pairs.parts["train"], rows))


def _summary(options: Options, results: dict[str, Any]) -> str:
    scores, training, area = results["validation"], results["training"], results["validation"]["auroc"]
    ratio = "" if results["ratio"] is None else f", ratio {results['ratio']}"
    return "\n".join(
        [
            f"{results['name']}: validation AUROC {area['value']:.4f} (95 % interval {area['low']:.4f} to "
            f"{area['high']:.4f}), node rate, which sees no feature, {results['node_rate_validation']:.4f}; "
            f"split {results['split']}, negatives {results['negatives']}{ratio}, "
            f"{scores['rows']:,} pairs, {scores['positives']:,} of them positive",
            f"best epoch {training['best_epoch']} of {training['epochs']}, {training['seconds']:.0f} s of "
            "training; the validation part chose the epoch: for a claim run dnalm interact evaluate "
            f"{options.out} --part test",
            f"model {options.out}, results {options.out / RESULTS}",
        ]
    )


def _dry_run(options: Options, task: InteractionTask, model: InteractionModel, processor: Processor) -> None:
    """Time a few steps and print what the whole run would need at most."""
    fabric = processor.fabric(unused=options.tuning.any)
    wrapped = fabric.setup_module(model)
    batches = task.windows(options.train.batch_size, options.run.seed)
    epoch = seconds_per_step(task, wrapped, batches, fabric, options.train.accumulate)
    epoch *= batches.steps_per_epoch
    show(
        f"would train {options.train.epochs} epochs of {len(task.train):,} pairs into {options.out}: about "
        f"{epoch / 60:,.1f} min an epoch, at most {epoch * options.train.epochs / 60:,.0f} min in all, "
        f"{peak_memory() / 1e9:.1f} GB of memory, {16 * model.parameter_count / 1e6:,.0f} MB of models"
    )
