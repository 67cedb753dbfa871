"""Training a model of pairs: does a gene interact with a molecule?

Shapes used below
    N  pairs                         B  pairs, genes or molecules in the batch
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import checkpoint, process
from dnalm.data.pair_batches import PairBatch, PairBatches, PairRows, PairTokens
from dnalm.data.pairs import PairSet, open_pairs
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.evaluate.auroc import auroc
from dnalm.evaluate.baselines.node_rate import node_rate
from dnalm.evaluate.pair_scores import fit_temperature, interaction_scores, probability
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.input_encoder import InputEncoder, ModelName, attention_of, shape_of, store_of
from dnalm.models.pair import InteractionModel, predict
from dnalm.models.pair_shape import EncodersConfig, InteractionShape, TuningConfig
from dnalm.models.pretrained import PretrainedEncoder
from dnalm.models.smiles_lstm import smiles_characters
from dnalm.process import Say, silent
from dnalm.record import peak_memory
from dnalm.results import write
from dnalm.train.loop import Loop, Progress, silent_progress
from dnalm.train.optim import EpochConfig
from dnalm.train.pairs_init import initialize_from_run
from dnalm.train.resume import BEST
from dnalm.train.run import DEFAULT_RUN, Outcome, RunConfig, TrainingRun, run_folder_lock, seconds_per_step
from dnalm.train.sharding import synchronize_batch_norm

Numbers = npt.NDArray[np.float64]

TRAIN_SAMPLE = 4096
"""Training pairs, evenly spread, on which the training loss is measured at each evaluation."""
RESULTS = "results.json"
METRICS = ("name", "model", "split", "negatives", "ratio", "training", "validation", "node_rate_validation")
"""Results that run.json holds too."""


@dataclass(frozen=True)
class PairTrainingConfig:
    """Data, model and settings of the training of a model of pairs."""

    data: Path = Path("data/pairs")
    """A folder of pairs made by `dnalm interact prepare`."""
    model: ModelName = "original"
    """original: the published classifier of one vector a side; foundation: cross-attention between states;
    foundation-pooled: between one vector of each side, as published, to show what that costs."""
    out: Path = Path("runs/original")
    """The run's folder, runs/MODEL unless given; its name is the model's name in tables and plots."""
    store: Path | None = None
    """Where states of frozen encoders are cached; the folder states beside --data unless given."""
    init_from: Path | None = None
    """A run whose weights this one begins with, of the same encoders and head; its frozen encoders may be
    trained now."""
    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    attention: CrossAttentionConfig = field(default_factory=CrossAttentionConfig)
    train: EpochConfig = field(default_factory=EpochConfig)


class Estimate(NamedTuple):
    """What a training run would need."""

    to_encode: int
    """Genes and molecules that frozen encoders would encode first; if any, the times are not known."""
    training_pairs: int
    seconds_per_epoch: float = np.nan
    memory_bytes: int = 0
    disk_bytes: int = 0


class InteractionTask:
    """Classification of pairs, as the training loop needs it.

    Args:
        shape: of the model.
        tokens: of the set's genes and molecules.
        train: the training pairs.
        validation: the validation pairs, of both classes.
        about: JSON values that are saved with the model: how it was trained, for results.
        early: cached states, used instead of `tokens` in the first epochs, in which encoders are frozen.
        early_epochs: how many those are.

    Raises:
        InputError: if a part has pairs of one class alone.
    """

    unit = "pairs"

    def __init__(
        self,
        shape: InteractionShape,
        tokens: PairTokens,
        train: PairRows,
        validation: PairRows,
        about: Mapping[str, Any] | None = None,
        *,
        early: PairTokens | None = None,
        early_epochs: int = 0,
    ) -> None:
        for name, label in (("training", train.label), ("validation", validation.label)):
            if not 0 < int(label.sum()) < len(label):
                raise InputError(
                    f"the {name} part has {len(label):,} pairs, {int(label.sum()):,} of them positive: AUROC "
                    "is not defined without both classes; prepare more pairs, with `negatives` degree-matched"
                )
        self.shape, self.tokens, self.train, self.validation = shape, tokens, train, validation
        self.about = dict(about or {})
        self._early, self._early_epochs = early, early_epochs
        self._sample = train.take(np.arange(len(train))[:: -(-len(train) // TRAIN_SAMPLE)])

    def windows(self, batch_size: int, seed: int) -> PairBatches:
        """Return the training batches."""
        return PairBatches(
            self.tokens, self.train, batch_size, seed, early=self._early, early_epochs=self._early_epochs
        )

    def loss(self, model: nn.Module, batch: PairBatch) -> Tensor:
        """Return the mean cross-entropy of the batch, in nats a pair."""
        return F.binary_cross_entropy_with_logits(model(*batch[:-1]).float(), batch.labels)

    def loss_weight(self, batch: PairBatch) -> float:
        """Return what the loss is a mean over: pairs."""
        return float(len(batch.labels))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score `model` on a fixed sample of the training pairs and on all validation pairs.

        Returns:
            `train_loss` and `val_bce`, cross-entropies in nats a pair; `val_auroc`; and `val_loss`, which
            is 1 - AUROC: it chooses the best weights. NaN where a logit is not finite.
        """
        sample, logits = (
            predict(model, self.tokens, pairs.gene, pairs.molecule, together=True)
            for pairs in (self._sample, self.validation)
        )
        area = auroc(self.validation.label, logits)
        return {
            "train_loss": cross_entropy(self._sample.label, sample),
            "val_bce": cross_entropy(self.validation.label, logits),
            "val_auroc": area,
            "val_loss": 1.0 - area,
        }

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return every tensor of the model, running statistics of batch normalisation among them."""
        return dict(model.state_dict())

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again."""
        return {"kind": "interaction", **self.shape.as_dict(), "about": self.about}


def cross_entropy(label: npt.NDArray[np.uint8], logits: Numbers) -> float:
    """Return the mean cross-entropy in nats a pair."""
    return float((np.logaddexp(0.0, logits) - label * logits).mean())


def train_pairs(
    config: PairTrainingConfig,
    processor: Processor,
    run: RunConfig = DEFAULT_RUN,
    *,
    recipe: str = "custom",
    say: Say = silent,
    progress: Progress = silent_progress,
) -> dict[str, Any] | None:
    """Train a model of pairs, score it on the validation part, and write its folder.

    Args:
        config: data, folder and settings.
        processor: where to compute.
        run: seed, and what may be replaced.
        recipe: name of the settings, for the record.
        say: called with each message.
        progress: called after each step.

    Returns:
        What results.json holds; None in all but the first of several processes.

    Raises:
        InputError: for a mistake in the settings or the data, and when memory runs out.
    """
    start = _prepare(config, processor, run, say, progress)
    task = start.task(config)
    batches = _batches(config, start, task, run.seed)
    settings = {name: asdict(getattr(config, name)) for name in ("encoders", "tuning", "attention", "train")}
    with run_folder_lock(config.out):
        loop = Loop(
            task,
            start.model,
            config.train.in_steps(batches.steps_per_epoch),
            folder=config.out,
            fabric=processor.fabric(unused=config.tuning.any),
            seed=run.seed,
            identity=_identity(config, task, start.pairs.digest, run.seed, processor.precision),
            patience_from=config.tuning.unfreeze_at_epoch * batches.steps_per_epoch,
        )
        return start.training.train(
            loop,
            recipe={"name": recipe} | settings | {"model": task.shape.as_dict()},
            data={key: start.pairs.meta.get(key) for key in ("digest", "sources", "split", "parts")},
            evaluate=lambda loop: _evaluate(config, loop, task, start, batches.steps_per_epoch),
        )


def estimate_pair_training(
    config: PairTrainingConfig, processor: Processor, run: RunConfig = DEFAULT_RUN, *, say: Say = silent
) -> Estimate:
    """Time a few steps, if all states are cached; arguments and errors as of `train_pairs`."""
    start = _prepare(config, processor, run, say, silent_progress)
    count = len(start.pairs.parts["train"])
    if missing := start.inputs.missing(start.first_shape(config), start.pairs):
        return Estimate(missing, count)
    task = start.task(config)
    batches, fabric = _batches(config, start, task, run.seed), processor.fabric(unused=config.tuning.any)
    wrapped = fabric.setup_module(start.model)
    epoch = batches.steps_per_epoch * seconds_per_step(
        task, wrapped, batches, fabric, config.train.accumulate
    )
    return Estimate(0, count, epoch, peak_memory(), 16 * start.model.parameter_count)


class _Start(NamedTuple):
    """A run before its genes and molecules are encoded."""

    training: TrainingRun
    pairs: PairSet
    model: InteractionModel
    pretrained: Mapping[str, PretrainedEncoder]
    inputs: InputEncoder
    about: dict[str, Any]

    def first_shape(self, config: PairTrainingConfig) -> InteractionShape:
        """Return the shape in the first epoch: with all encoders frozen, if they are unfrozen later."""
        return self.model.shape.frozen if config.tuning.unfreeze_at_epoch else self.model.shape

    def task(self, config: PairTrainingConfig) -> InteractionTask:
        """Return the task, with all that frozen encoders read encoded, and calibrate a new model."""
        shape, pretrained = self.model.shape, self.pretrained
        late = config.tuning.unfreeze_at_epoch
        early = self.inputs.tokens(shape.frozen, self.pairs, pretrained) if late else None
        task = InteractionTask(
            shape,
            self.inputs.tokens(shape, self.pairs, pretrained),
            PairRows.of(self.pairs, "train"),
            PairRows.of(self.pairs, "validation"),
            self.about,
            early=early,
            early_epochs=late,
        )
        if config.init_from is None:
            self.model.calibrate(task.tokens, task.train.gene, task.train.molecule)
        return task


def _prepare(
    config: PairTrainingConfig, processor: Processor, run: RunConfig, say: Say, progress: Progress
) -> _Start:
    """Check everything, and return the run with its untrained model."""
    process.check_batch(config.train.batch_size, config.train.accumulate)
    late = config.tuning.unfreeze_at_epoch
    if late >= config.train.epochs:
        raise InputError(
            f"`unfreeze_at_epoch` {late}: there are {config.train.epochs} epochs, so that the encoders would "
            "never be trained; give a lower one, or more `epochs`"
        )
    if processor.strategy == "fsdp" and config.tuning.any:
        raise InputError("`strategy` fsdp cannot train pretrained encoders; use ddp")
    training = TrainingRun(
        command="interact train",
        folder=config.out,
        processor=processor,
        config=run,
        files=[config.out / RESULTS],
        say=say,
        progress=progress,
    )
    training.check_folder(reads=[] if config.init_from is None else [config.init_from])
    pairs = open_pairs(config.data)
    shape, pretrained = shape_of(
        config.encoders,
        partial(_characters, pairs, config.encoders.smiles_length),
        attention_of(config.model, config.attention),
        config.tuning,
    )
    cautions = [encoder.caution for encoder in pretrained.values() if encoder.caution]
    for caution in cautions:
        say(caution)
    torch.manual_seed(run.seed)
    model = InteractionModel(shape, pretrained)
    model.prepare_training(config.tuning)
    about = {
        "kind": shape.kind,
        "parameters": model.parameter_count + shape.frozen_parameters,
        "trained_parameters": model.trained_count,
        "set": pairs.digest,
        "split": pairs.meta["split"],
        "seed": run.seed,
    } | ({"cautions": cautions} if cautions else {})
    if config.init_from is not None:
        about |= initialize_from_run(config.init_from, model, pairs.digest, say, frozen_first=late > 0)
    inputs = InputEncoder(store_of(config.store, config.data), processor, say)
    return _Start(training, pairs, model, pretrained, inputs, about)


def _batches(config: PairTrainingConfig, start: _Start, task: InteractionTask, seed: int) -> PairBatches:
    """Report what is trained; return the batches, none of them too small for batch normalisation."""
    batches = task.windows(config.train.batch_size, seed)
    synchronize_batch_norm(start.model, config.train.accumulate, batches.smallest)
    start.training.say(
        f"{config.out.name}: {len(task.train):,} training and {len(task.validation):,} validation pairs of "
        f"{config.data}; {task.shape.kind}: {task.about['parameters']:,} parameters, "
        f"{start.model.trained_count:,} of them trained, on {start.training.processor}"
    )
    return batches


def _characters(pairs: PairSet, longest: int) -> str:
    """Return the characters of the training part's molecules; others cannot be learned."""
    seen = np.unique(pairs.molecule[pairs.parts["train"]])
    return smiles_characters((pairs.smiles[row] for row in seen), longest)


def _identity(
    config: PairTrainingConfig, task: InteractionTask, digest: str, seed: int, precision: str
) -> dict[str, Any]:
    """Return what a resumed run must share with the one before: all that determines its weights."""
    settings = asdict(config.encoders) | asdict(config.tuning) | asdict(config.attention)
    settings |= asdict(config.train)
    for key in ("patience", "gradient_checkpointing"):  # accumulate counts: batch norm is of micro-batches
        del settings[key]
    return settings | {
        "init_weights": task.about.get("init_weights"),
        "model": config.model,
        "set": digest,
        "seed": seed,
        "precision": precision,
        "frozen": [each.identity for each in task.shape.pretrained.values()],
    }


def _evaluate(
    config: PairTrainingConfig, loop: Loop, task: InteractionTask, start: _Start, steps: int
) -> Outcome:
    """Score the best weights on the validation part; save them with their temperature, and the results."""
    model, pairs, validation = start.model, start.pairs, task.validation
    weights, best = checkpoint.load(config.out / BEST)
    if InteractionShape.from_dict(best) != task.shape:  # evaluated before: LoRA's updates are merged
        model.merge()
    checkpoint.load_strict(weights, task.weights(model), str(config.out))
    model.merge()
    logits = predict(loop.eval_model(), task.tokens, validation.gene, validation.molecule)
    temperature = fit_temperature(logits, validation.label)
    saved = task.describe() | model.shape.as_dict() | {"temperature": temperature}
    saved |= {key: best[key] for key in ("step", "val_loss", "identity")}
    checkpoint.save(config.out / BEST, task.weights(model), saved)
    rows = pairs.parts["validation"]
    units, resampled = pairs.resampling_units(rows)
    history = {key: [scores[key] for scores in loop.evaluations] for key in loop.evaluations[0]}
    epochs = [round(step / steps) for step in history["step"]]
    results = {
        "format": "dnalm-interaction-results",
        "format_version": 1,
        "name": config.out.name,
        "model": task.about | {"weights": checkpoint.weights_digest(model)},
        **{key: pairs.meta[key] for key in ("split", "negatives", "ratio", "seed")},
        "digest": pairs.digest,
        "training": {
            "epochs": epochs[-1],
            "best_epoch": round(best["step"] / steps),
            "seconds": loop.elapsed,
            "history": {"epoch": epochs}
            | {key: history[key] for key in ("train_loss", "val_bce", "val_auroc", "elapsed")},
        },
        "validation": interaction_scores(
            validation.label, probability(logits), validation.gene, validation.molecule, resampled
        ),
        "drawn": units,
        "temperature": temperature,
        "node_rate_validation": auroc(validation.label, node_rate(pairs, pairs.parts["train"], rows)),
    }
    write(config.out / RESULTS, results)
    return Outcome(results, {key: results[key] for key in METRICS})
