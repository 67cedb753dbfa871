"""Pretraining of a language model on a prepared genome: the task, and a training run from data to results."""

import functools
import time
from collections.abc import Callable, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import checkpoint
from dnalm.config import check_minimum, refuse
from dnalm.data.language import LanguageBatch, LanguageWindows
from dnalm.data.region_weights import RegionWeights
from dnalm.device import choose_compiled
from dnalm.errors import InputError, import_extra
from dnalm.evaluate.language import evaluate_language, score
from dnalm.files import write_json
from dnalm.genome.folder import PreparedGenome
from dnalm.models.conv import ConvConfig
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.language import LanguageModel, LanguageShape
from dnalm.models.local_start import start_local
from dnalm.models.published import gpt_fields, is_published
from dnalm.models.registry import entry_of
from dnalm.train.loop import Loop
from dnalm.train.memory import raise_on_out_of_memory
from dnalm.train.optim import TrainConfig
from dnalm.train.run import TrainingRun

MIN_WEIGHT = 1e-9
"""Stands for the sum of weights that are all 0."""
HISTORY = {
    "iterations": "step",
    "train_losses": "train_loss",
    "val_losses": "val_loss",
    "elapsed_time": "elapsed",
}
"""Keys of the published history, and of the evaluations; bits have the same key in both."""
BITS = {"causal": "bits_per_base", "masked": "bits_per_masked_base"}
"""What a model is scored in, by its objective: the two do not compare."""
TIME_COMPARISON = "training_time_comparison.png"
"""Picture of the training times of both vocabularies."""
NOT_IN_IDENTITY = frozenset({"checkpoint_every", "final_bases", "accumulate"})
"""Settings that a resumed run may change."""


@dataclass(frozen=True)
class LanguageConfig:
    """Settings of language modelling, beside the shape of the model."""

    local_start: bool = True
    """Heads begin by attending to nearby tokens, each at a distance of its own (rotary positions only)."""
    repeat_weight: float = 1.0  # Weight of soft-masked (lower-case, repetitive) bases in the loss, 0 to 1.
    rc_augment: bool = False
    """Read half of the training windows from the other strand."""
    eval_bases: int = 76_800
    """Bases of train and of validation scored at each evaluation; the same ones every time."""
    final_bases: int = 500_000  # Validation bases for the final score and the Markov models; 0 for all.

    def __post_init__(self) -> None:
        refuse(check_minimum(self, eval_bases=1, final_bases=0))
        if not 0.0 <= self.repeat_weight <= 1.0:
            raise InputError(f"`repeat_weight` must be from 0 to 1, got {self.repeat_weight}")


class LanguageTask:
    """Prediction of the next token, or of masked ones, on one prepared genome."""

    def __init__(
        self,
        genome: PreparedGenome,
        encoder: LanguageShape,
        config: LanguageConfig,
        regions: RegionWeights | None = None,
    ) -> None:
        self.genome, self.encoder, self.config, self.regions = genome, encoder, config, regions
        self.masked = encoder.objective == "masked"

    def windows(self, batch_size: int, seed: int) -> LanguageWindows:
        """Return the training windows."""
        return LanguageWindows(
            self.genome,
            self.encoder.block_size,
            batch_size,
            seed,
            self.config.repeat_weight,
            regions=self.regions,
            masked=self.masked,
            rc_augment=self.config.rc_augment,
            species=self.encoder.species_token,
        )

    def build_model(self) -> LanguageModel:
        """Return an untrained model."""
        model = LanguageModel(self.encoder, self.genome.tokenizer.vocab_size)
        encoder = model.transformer
        if self.config.local_start and isinstance(encoder, GPT) and encoder.config.position == "rotary":
            start_local(encoder)
        return model

    def loss(self, model: nn.Module, batch: LanguageBatch) -> Tensor:
        """Return the mean cross-entropy in nats per token (weighted, where the batch has weights)."""
        of = {} if batch.species is None else {"species": batch.species}
        logits = model(batch.tokens, torch.ones_like(batch.tokens, dtype=torch.bool), **of)
        logits = logits.float().flatten(0, 1)
        targets = batch.targets.long().flatten()
        if batch.weights is None:
            return F.cross_entropy(logits, targets)
        weights = batch.weights.flatten()
        each = F.cross_entropy(logits, targets, reduction="none")
        return (each * weights).sum() / weights.sum().clamp(min=MIN_WEIGHT)

    def loss_weight(self, batch: LanguageBatch) -> float:
        """Return what the loss is a mean over: the number of tokens, or the sum of their weights."""
        return float(batch.tokens.numel() if batch.weights is None else batch.weights.sum())

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score `model` on the fixed pieces of train and of validation."""
        bases, length = self.config.eval_bases, self.encoder.block_size
        how: dict[str, Any] = {"masked": self.masked, "species": self.encoder.species_token, "together": True}
        train = score(model, self.genome, "train", bases, length, **how)
        val = score(model, self.genome, "val", bases, length, **how)
        return {
            "train_loss": train.nats_per_token,
            "val_loss": val.nats_per_token,
            BITS[self.encoder.objective]: val.bits_per_base,
        }

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the model's tensors by name, without the tied head."""
        return {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again."""
        entry = entry_of(self.encoder)
        assert entry is not None
        return {
            "kind": "language",
            "encoder": {"name": entry.name, **asdict(self.encoder)},
            "vocab_size": self.genome.tokenizer.vocab_size,
            "characters": self.genome.tokenizer.characters,
            "mode": self.genome.mode,
            "data_digest": self.genome.digest,
        }


@dataclass(frozen=True)
class PretrainConfig:
    """Pretraining of a language model: data, output folder and all settings."""

    data: Path  # A folder written by `dnalm prepare`, for example data/vocab4; its name is the mode.
    out: Path = Path("outputs")  # Where results go: OUT/MODE/ and files named after the mode beside it.
    encoder: GPTConfig = field(default_factory=GPTConfig)
    architecture: Literal["gpt", "conv"] = "gpt"
    """The encoder: a GPT, or dilated convolutions (n_layer blocks, n_embd wide) for masked bases."""
    train: TrainConfig = field(default_factory=TrainConfig)
    task: LanguageConfig = field(default_factory=LanguageConfig)
    region_weight: tuple[str, ...] = ()
    """FILE.bed=WEIGHT, or FILE.gff3:TYPE=WEIGHT for the features of one type: weight in the loss of the bases
    in a file's regions, at least 0; as often as there are files. It is multiplied with that of repeats."""
    gradient_checkpointing: bool = False
    """Compute each block again in the backward pass: slower, and far less memory with many blocks."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Training steps through torch.compile; auto: on CUDA, from 2,000 steps on, where it pays."""
    stop_at: int = 0
    """Stop after this step, score the model and save the state; 0 for none. A run resumed from there keeps
    the scores, and its best weights may be those of this step."""
    tensorboard: bool = False  # Also log to OUT/MODE/tensorboard (needs dnalm[log]).

    def __post_init__(self) -> None:
        if self.stop_at < 0:
            raise InputError(f"`stop_at` must be at least 0, got {self.stop_at}")
        if self.architecture == "conv" and self.encoder.objective != "masked":
            raise InputError("`encoder` conv sees both sides of a base: give `objective` masked too")

    @property
    def shape(self) -> LanguageShape:
        """The shape of the encoder."""
        gpt = self.encoder
        if self.architecture == "gpt":
            return gpt
        return ConvConfig(
            width=gpt.n_embd,
            blocks=gpt.n_layer,
            block_size=gpt.block_size,
            dropout=gpt.dropout,
            species_token=gpt.species_token,
        )

    @property
    def mode(self) -> str:
        """Name of the prepared folder, after which results are named."""
        return self.data.resolve().name

    def as_recipe(self) -> dict[str, Any]:
        """Return every setting that decides the result, nested as in a recipe file."""
        name = {} if self.architecture == "gpt" else {"name": self.architecture}
        return {"encoder": name | asdict(self.shape), "train": asdict(self.train), "task": asdict(self.task)}

    def settings(self, excluded: Set[str]) -> dict[str, Any]:
        """Return the settings of all tables but those in `excluded`."""
        tables = self.as_recipe().values()
        return {key: value for table in tables for key, value in table.items() if key not in excluded}


def result_files(out: Path, mode: str) -> dict[str, Path]:
    """Return what a run leaves in OUT beside its own folder, by the names of the published project."""
    return {
        "checkpoint": out / f"ckpt_{mode}.pt",
        "loss_curve": out / f"loss_{mode}.png",
        "loss_data": out / f"losses_{mode}.json",
        "summary": out / f"summary_{mode}.json",
    }


class PretrainRun(TrainingRun):
    """Pretraining of a language model on a prepared genome, scored beside count models."""

    command = "pretrain"
    config: PretrainConfig
    task: LanguageTask
    model: LanguageModel
    scoring_memory = 450_000_000  # Markov models of order 12

    def prepare(self) -> None:
        """Check everything, and make the untrained model."""
        config, train = self.config, self.config.train
        self.compiled = choose_compiled(config.compile, self.processor, train.steps)
        genome = PreparedGenome(config.data)
        genome.verify()
        if config.encoder.species_token:
            species = _species(genome, config.encoder.species_token)
            self.config = config = replace(config, encoder=replace(config.encoder, species_token=species))
        self.folder, self.derived = config.out / config.mode, [config.out / TIME_COMPARISON]
        self.files = list(result_files(config.out, config.mode).values())
        self.check_folder()
        regions = RegionWeights(genome, config.region_weight) if config.region_weight else None
        if regions is not None and regions.caution:
            self.say(regions.caution)
        self.task = LanguageTask(genome, config.shape, config.task, regions)
        # Refuses a block longer than every stretch, and a weight that leaves nothing to learn.
        if caution := self.task.windows(train.batch_size, self.run.seed).caution:
            self.say(caution)
        with raise_on_out_of_memory("the model's weights do not fit; choose a smaller `n_embd` or `n_layer`"):
            torch.manual_seed(self.run.seed)
            self.model = self.task.build_model()
            self.model.transformer.gradient_checkpointing = config.gradient_checkpointing
        self.say(f"{config.mode}: {self.model.parameter_count:,} parameters, on {self.processor}")

    def train(self, recipe: str = "custom") -> dict[str, Any] | None:
        """Train, score the best weights, and write all of OUT but the figures.

        Returns the metrics that run.json holds; None in all but the first of several processes.
        """
        config, genome, free = self.config, self.task.genome, NOT_IN_IDENTITY
        if config.train.schedule != "plateau" and not config.train.patience:
            free = free | {"eval_every"}  # otherwise evaluations decide the rate or the end
        data: dict[str, Any] = {
            key: genome.meta[key] for key in ("sources", "split", "genomes") if key in genome.meta
        }
        regions = [] if self.task.regions is None else self.task.regions.sources
        data |= {"regions": regions} if regions else {}
        return self.fit(
            recipe,
            config.as_recipe(),
            {"name": config.mode, "digest": genome.digest} | data,
            free=free,
            identity={"data": genome.digest, "regions": regions},
            stop_at=config.stop_at or None,
            watch=_tensorboard(self.folder) if config.tensorboard else None,
        )

    def evaluate(self, loop: Loop) -> dict[str, Any]:
        """Score the best weights beside Markov models, and write the files of the published project."""
        self.say("scoring the best weights and the count models on the same bases")
        begin, config, genome = time.monotonic(), self.config, self.task.genome
        best = loop.load_best()
        metrics = self.metrics_so_far(loop) | evaluate_language(
            loop.eval_model(),
            genome,
            config.task.final_bases,
            config.encoder.block_size,
            masked=self.task.masked,
            species=config.encoder.species_token,
        )
        files = result_files(config.out, config.mode)
        write_json(files["loss_data"], metrics["history"] | {"vocab_size": metrics["vocab_size"]})
        has_published = is_published(config.encoder)
        if has_published:
            content = {
                "model_args": gpt_fields(config.encoder) | {"vocab_size": genome.tokenizer.vocab_size},
                "characters": genome.tokenizer.characters,
                "model": {name: tensor.detach().cpu() for name, tensor in self.model.state_dict().items()},
                "best_val_loss": best["val_loss"],
                "iter": best["step"],
            }
            checkpoint.write_pt(files["checkpoint"], content)
        left_out = {"summary"} | (set() if has_published else {"checkpoint"})
        names = {key: path.name for key, path in files.items() if key not in left_out}
        summary = {"elapsed_time": loop.elapsed, "best_val_loss": best["val_loss"], **names}
        write_json(files["summary"], summary)
        self.timings["scoring_s"] = time.monotonic() - begin
        return metrics

    def metrics_so_far(self, loop: Loop) -> dict[str, Any]:
        """Return what is known of a run before its best weights are scored."""
        bits = BITS[self.config.encoder.objective]
        keys = HISTORY | {bits: bits}
        history = {key: [scores[name] for scores in loop.evaluations] for key, name in keys.items()}
        per_step = loop.config.batch_size * self.config.encoder.block_size
        last = loop.evaluations[-1] if loop.evaluations else {}
        return {
            "mode": self.config.mode,
            "vocab_size": self.model.transformer.vocab_size,
            "parameters": self.model.parameter_count,
            "step": loop.step,
            "tokens": loop.step * per_step,
            "train_loss": last.get("train_loss"),
            "val_loss": last.get("val_loss"),
            "best_val_loss": loop.best if last else None,
            "tokens_per_second": per_step / loop.seconds_per_step if loop.seconds_per_step else None,
            "history": history | {"tokens": [step * per_step for step in history["iterations"]]},
        }


def _species(genome: PreparedGenome, names: str) -> str:
    """Return the genomes that get a token, of `names`; all: every one of the data."""
    if "genomes" not in genome.meta:
        raise InputError(
            f"{genome.folder}: `species_token` needs named genomes; prepare them with `genome_names`"
        )
    wanted = genome.genomes if names == "all" else [name.strip() for name in names.split(",")]
    if unknown := [name for name in wanted if name not in genome.genomes]:
        raise InputError(
            f"`species_token`: no genome {unknown[0]!r} in {genome.folder}; there are "
            f"{', '.join(genome.genomes)}; all is for every one"
        )
    return ",".join(dict.fromkeys(wanted))


def _tensorboard(folder: Path) -> Callable[[dict[str, Any]], None]:
    """Return a function that logs each metrics line to TensorBoard."""
    library = import_extra("torch.utils.tensorboard", "log", "`tensorboard`")
    # Opened at the first line, when an earlier run has been removed.
    writer = functools.cache(lambda: library.SummaryWriter(folder / "tensorboard"))

    def write(line: dict[str, Any]) -> None:
        for key, value in (line.get("evaluation") or {key: line[key] for key in ("loss", "lr")}).items():
            writer().add_scalar(key, value, line["step"])
        writer().flush()

    return write
