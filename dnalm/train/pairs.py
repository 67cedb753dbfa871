"""Training a model of pairs: does a gene interact with a molecule?

Shapes used below
    N  pairs                         B  pairs, genes or molecules in the batch
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import checkpoint
from dnalm.data.pair_batches import PairBatch, PairBatches, PairRows, PairTokens
from dnalm.data.pairs import PairSet, open_pairs
from dnalm.errors import InputError, counted
from dnalm.evaluate.auroc import auroc
from dnalm.evaluate.baselines.ladder import check_classes
from dnalm.evaluate.baselines.node_rate import node_rate
from dnalm.evaluate.pair_scores import cross_entropy, fit_temperature, interaction_scores, probability
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.identity import IdentityConfig, IdentityOptions
from dnalm.models.input_encoder import InputEncoder, attention_of, shape_of, store_of
from dnalm.models.open import open_interaction
from dnalm.models.pair import InteractionModel, predict
from dnalm.models.pair_shape import EncodersConfig, InteractionShape, PairTexts, TuningConfig
from dnalm.models.pretrained import PretrainedConfig
from dnalm.models.smiles_lstm import smiles_characters
from dnalm.results import write
from dnalm.train.loop import Loop
from dnalm.train.optim import EpochConfig
from dnalm.train.resume import BEST
from dnalm.train.run import Estimate, TrainingRun, training_summary

TRAIN_SAMPLE = 4096
"""Training pairs, evenly spread, on which the training loss is measured at each evaluation."""
RESULTS = "results.json"
SAME = ("gene", "molecule", "head", "characters", "morgan", "identities", "dna_length", "smiles_length")
"""Fields of a shape that a run shares with the one it begins with."""


@dataclass(frozen=True)
class PairTrainingConfig:
    """Data, model and settings of the training of a model of pairs."""

    data: Path = Path("data/pairs")  # A folder of pairs made by `dnalm interact prepare`.
    model: str = "original"  # original, foundation or foundation-pooled, see `attention_of`
    out: Path = Path("runs/original")
    """The run's folder, runs/MODEL unless given; its name is the model's name in tables and plots."""
    store: Path | None = None
    """Where states of frozen encoders are cached; the folder states beside --data unless given."""
    init_from: Path | None = None
    """A run whose weights this one begins with, of the same encoders and head; its frozen encoders may be
    trained now."""
    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    identity: IdentityOptions = field(default_factory=IdentityOptions)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    attention: CrossAttentionConfig = field(default_factory=CrossAttentionConfig)
    train: EpochConfig = field(default_factory=EpochConfig)


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
        check_classes(train.label, "training")
        check_classes(validation.label, "validation")
        self.shape, self.tokens, self.train, self.validation = shape, tokens, train, validation
        self.about = dict(about or {})
        self._early: dict[str, Any] = {"early": early, "early_epochs": early_epochs}
        self._sample = train.take(np.arange(len(train))[:: -(-len(train) // TRAIN_SAMPLE)])

    def windows(self, batch_size: int, seed: int) -> PairBatches:
        """Return the training batches."""
        return PairBatches(self.tokens, self.train, batch_size, seed, **self._early)

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


class PairRun(TrainingRun):
    """A training run of a model of pairs; genes and molecules are encoded when it trains."""

    command = "interact train"
    reported = (
        "name",
        "model",
        "split",
        "negatives",
        "ratio",
        "training",
        "validation",
        "node_rate_validation",
    )
    config: PairTrainingConfig
    task: InteractionTask
    model: InteractionModel

    def prepare(self) -> None:
        """Check everything, and make the untrained model."""
        config, run, say = self.config, self.run, self.say
        late, self.unused = config.tuning.unfreeze_at_epoch, config.tuning.any
        if late >= config.train.epochs:
            epochs = counted(config.train.epochs, "epoch")
            raise InputError(
                f"`unfreeze_at_epoch` {late}: the run has {epochs}, so that the encoders would never "
                "be trained; give a lower one, or more `epochs`"
            )
        if self.processor.strategy == "fsdp" and self.unused:
            raise InputError("`strategy` fsdp cannot train pretrained encoders; use ddp")
        self.folder, self.files = config.out, [config.out / RESULTS]
        self.check_folder(reads=config.init_from)
        self.pairs = pairs = open_pairs(config.data)
        trained = training_texts(pairs)
        shape, self.pretrained = shape_of(
            config.encoders,
            lambda: smiles_characters(trained.smiles, config.encoders.smiles_length),
            attention_of(config.model, config.attention),
            config.tuning,
        )
        if config.identity.identity:
            counts = len(trained.sequences), len(trained.smiles)
            shape = replace(shape, identities=IdentityConfig(*counts, config.identity.identity_dropout))
        cautions = [encoder.caution for encoder in self.pretrained.values() if encoder.caution]
        for caution in cautions:
            say(caution)
        torch.manual_seed(run.seed)
        self.model = InteractionModel(shape, self.pretrained)
        self.model.prepare_training(config.tuning)
        self.model.set_known(trained)
        self.about = {
            "kind": shape.kind,
            "parameters": self.model.parameter_count + shape.frozen_parameters,
            "trained_parameters": self.model.trained_count,
            "set": pairs.digest,
            "split": pairs.meta["split"],
            "seed": run.seed,
        } | ({"cautions": cautions} if cautions else {})
        if config.init_from is not None:
            self.about |= self._initialize(config.init_from)
        self.inputs = InputEncoder(store_of(config.store, config.data), self.processor, say)

    def _initialize(self, path: Path) -> dict[str, Any]:
        """Copy the weights of another run into the model, and return what results report about it.

        Pretrained encoders that were frozen in that run may be trained now, from their own weights.

        Raises:
            InputError: if there is no such run, its encoders or head differ, or its encoders were trained and
                must be frozen now.
        """
        opened, late = open_interaction(path), self.config.tuning.unfreeze_at_epoch
        if not isinstance(opened.model, InteractionModel):
            raise InputError(f"`init_from` {path}: is a combined model; give a neural one")
        before, now = opened.model.shape, self.model.shape
        parts = {name: [_essence(getattr(shape, name)) for shape in (before, now)] for name in SAME}
        if differing := [name for name, (one, other) in parts.items() if one != other]:
            raise InputError(
                f"`init_from` {path}: its model differs in {', '.join(differing)} from what the options ask "
                "for; give the encoders and sizes that it was trained with"
            )
        for side, each in before.pretrained.items():
            encoder = now.pretrained[side]
            if not each.frozen and (encoder.frozen or encoder.lora_rank or late):
                raise InputError(
                    f"`init_from` {path}: its encoder ({side}) was trained, and can neither be frozen now "
                    "nor take `unfreeze_at_epoch` or `lora_rank`; train all of it, or begin with another run"
                )
        newly_trained = tuple(
            f"{side}.encoder."
            for side, each in before.pretrained.items()
            if each.frozen and not now.pretrained[side].frozen
        )
        wanted = {
            key: each for key, each in self.model.state_dict().items() if not key.startswith(newly_trained)
        }
        checkpoint.load_strict(opened.model.state_dict(), wanted, str(path))
        sets = sorted({str(opened.about.get("set")), *opened.about.get("init_sets", [])})
        if sets != [self.pairs.digest]:
            self.say(
                f"`init_from` {path}: it, or a run that it began with, was trained on another set of pairs, "
                "which may hold validation or test pairs of this one: its scores may be too good"
            )
        return {
            "init_from": str(path),
            "init_set": str(opened.about.get("set")),
            "init_sets": sets,
            "init_weights": checkpoint.weights_digest(opened.model),
        }

    def estimate(self) -> Estimate:
        """Time a few steps, if all states are cached; nothing is encoded or written."""
        late, shape = self.config.tuning.unfreeze_at_epoch, self.model.shape
        if missing := self.inputs.missing(shape.frozen if late else shape, self.pairs):
            return Estimate(np.nan, 0, 0, missing)
        self._encode()
        return super().estimate()

    def train(self, recipe: str = "custom") -> dict[str, Any] | None:
        """Train, score the best weights on the validation part, and write the run's folder.

        Returns the content of results.json; None in all but the first of several processes.
        """
        config, pairs = self.config, self.pairs
        tables = ("encoders", "identity", "tuning", "attention", "train")
        self._encode()
        return self.fit(
            recipe,
            {name: asdict(getattr(config, name)) for name in tables},
            {key: pairs.meta.get(key) for key in ("digest", "sources", "split", "parts")},
            free={"patience", "gradient_checkpointing"},  # accumulate counts: batch norm is of micro-batches
            identity={
                "init_weights": self.about.get("init_weights"),
                "model": config.model,
                "set": pairs.digest,
                "frozen": [each.identity for each in self.model.shape.pretrained.values()],
            },
            shape=self.model.shape.as_dict(),
            patience_from=config.tuning.unfreeze_at_epoch * self.steps,
        )

    def _encode(self) -> None:
        """Make the task, with all that frozen encoders read encoded; calibrate a new model."""
        config, model, pairs, shape = self.config, self.model, self.pairs, self.model.shape
        late = config.tuning.unfreeze_at_epoch
        early = self.inputs.tokens(model, pairs, self.pretrained, all_frozen=True) if late else None
        tokens = self.inputs.tokens(model, pairs, self.pretrained)
        train, validation = PairRows.of(pairs, "train"), PairRows.of(pairs, "validation")
        self.task = InteractionTask(
            shape, tokens, train, validation, self.about, early=early, early_epochs=late
        )
        if config.init_from is None:
            model.calibrate(tokens, train.gene, train.molecule)
        self.steps = self.task.windows(config.train.batch_size, self.run.seed).steps_per_epoch
        self.say(
            f"{config.out.name}: {len(train):,} training and {len(validation):,} validation pairs of "
            f"{config.data}; {shape.kind}: {self.about['parameters']:,} parameters, "
            f"{model.trained_count:,} of them trained, on {self.processor}"
        )

    def evaluate(self, loop: Loop) -> dict[str, Any]:
        """Score the best weights on the validation part; save them with a temperature, and the results."""
        config, model, pairs, task = self.config, self.model, self.pairs, self.task
        validation, curves = task.validation, ("train_loss", "val_bce", "val_auroc", "elapsed")
        if InteractionShape.from_dict(checkpoint.describe(config.out / BEST)) != task.shape:
            model.merge()  # evaluated before: LoRA's updates are merged
        best = loop.load_best()
        model.merge()
        logits = predict(loop.eval_model(), task.tokens, validation.gene, validation.molecule)
        temperature = fit_temperature(logits, validation.label)
        saved = task.describe() | model.shape.as_dict() | {"temperature": temperature}
        saved |= {key: best[key] for key in ("step", "val_loss", "identity")}
        saved["cleaning"] = {key: pairs.meta[key] for key in ("salts", "isotopes") if key in pairs.meta}
        checkpoint.save(config.out / BEST, task.weights(model), saved)
        rows = pairs.parts["validation"]
        units, resampled = pairs.resampling_units(rows)
        results = {
            "format": "dnalm-interaction-results",
            "format_version": 1,
            "name": config.out.name,
            "model": task.about | {"weights": checkpoint.weights_digest(model)},
            **{key: pairs.meta[key] for key in ("split", "negatives", "ratio", "seed")},
            "digest": pairs.digest,
            "training": training_summary(loop, best, self.steps, *curves),
            "validation": interaction_scores(
                validation.label, probability(logits), validation.gene, validation.molecule, resampled
            ),
            "drawn": units,
            "temperature": temperature,
            "node_rate_validation": auroc(validation.label, node_rate(pairs, pairs.parts["train"], rows)),
        }
        write(config.out / RESULTS, results)
        return results


def training_texts(pairs: PairSet) -> PairTexts:
    """Return the distinct genes and molecules of the training pairs."""
    rows = pairs.parts["train"]
    genes, molecules = np.unique(pairs.gene[rows]), np.unique(pairs.molecule[rows])
    sequences = list(dict.fromkeys(pairs.sequences[row] for row in genes))
    return PairTexts(sequences, [pairs.smiles[row] for row in molecules])


def _essence(part: Any) -> Any:
    """Return what must be equal in a part of two shapes: an encoder may be frozen in one of them."""
    return (part.identity, part.width) if isinstance(part, PretrainedConfig) else part
