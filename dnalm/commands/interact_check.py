"""`dnalm interact check`: do encoders and model load and run here? What is missing, and how to get it."""

import importlib.metadata
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from dnalm.commands import interact_train
from dnalm.commands.runs import prepare_process
from dnalm.data.pair_batches import PairRows, PairTokens
from dnalm.device import Compute, Processor
from dnalm.errors import InputError
from dnalm.models.cross_attention import CrossAttentionConfig, CrossAttentionHead
from dnalm.models.input_encoder import InputEncoder, ModelName, attention_of, shape_of
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import EncodersConfig, InteractionShape, PairTexts, TuningConfig
from dnalm.models.smiles_lstm import smiles_characters
from dnalm.train.pairs import InteractionTask

LIBRARIES = ("rdkit", "scikit-learn", "h5py", "transformers", "tokenizers", "huggingface_hub", "peft")
"""That genes and molecules may need, by their names on the package index."""
SAMPLE = PairTexts(
    ["ATGGATTTATCTGCTCTTCGCGTTGAAGAAGTACAAAATGTC", "GATTACAGATTACAGATTACA", "CCGGAATTCCGGTTAACCGG"],
    ["CC(=O)Oc1ccccc1C(=O)O", "CCO"],
)
"""Genes and molecules of no meaning."""
ROUNDING = 1e-9
"""A gradient that is no larger is 0 but for rounding."""
PAIRS = PairRows(np.array([0, 1, 2, 0]), np.array([0, 1, 1, 1]), np.array([1, 0, 1, 0], dtype=np.uint8))


@dataclass(frozen=True)
class Options:
    """Open the encoders, take one training step on a few pairs, and say what is missing and how to get it."""

    model: ModelName = "foundation"
    """As for `dnalm interact train`."""
    recipe: str = "foundation"
    """The recipe of --model unless given: its name, or a TOML file; flags win over it."""
    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    attention: CrossAttentionConfig = field(default_factory=CrossAttentionConfig)
    compute: Compute = field(default_factory=Compute)


def default_options(recipe: str = "", model: str = "foundation") -> Options:
    """Return the options that `--recipe` stands for; flags are laid over them.

    Raises:
        InputError: if the recipe does not exist or has wrong fields, all of them named.
    """
    start = interact_train.default_options(recipe, model)
    return Options(
        recipe=start.recipe, encoders=start.encoders, tuning=start.tuning, attention=start.attention
    )


def run(options: Options) -> None:
    """Check, and print a line for each thing.

    Raises:
        InputError: naming all that is missing or does not work.
    """
    processor = prepare_process(options.compute)
    print(f"device: {processor}, {torch.get_num_threads()} threads")
    for name in LIBRARIES:
        print(f"library {name}: {_version(name)}")
    wrong = []
    for flag, alone in (
        ("--dna-encoder", replace(options.encoders, mol_encoder="morgan")),
        ("--mol-encoder", replace(options.encoders, dna_encoder="kmer")),
    ):
        try:
            print(f"{flag}: {_encoder(flag, alone)}")
        except ValueError as error:
            print(f"{flag}: does not work")
            wrong.append(str(error))
    if wrong:
        raise InputError("; ".join(wrong))
    for line in _step(options, processor):
        print(line)
    print("all of it works")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        extra = "tune" if name == "peft" else "interaction"
        return f'not installed; pip install "dnalm[{extra}]"'


def _encoder(flag: str, config: EncodersConfig) -> str:
    """Open one of the encoders, and return what it is."""
    _, backbones = shape_of(config, _characters, None)
    name = config.dna_encoder if flag == "--dna-encoder" else config.mol_encoder
    if not backbones:
        return f"{name}, trained with the model"
    (backbone,) = backbones.values()
    known = backbone.config()
    sees = "sees of each token its left alone" if known.causal else "sees the whole text"
    size = f"{known.parameters:,} parameters; states of width {known.width}"
    return f"{name}, {size}; {sees}" + (f"; {backbone.caution}" if backbone.caution else "")


def _characters() -> str:
    return smiles_characters(SAMPLE.smiles, 200)


def _step(options: Options, processor: Processor) -> list[str]:
    """Build the model, take a step forward and backward, and return what there is to tell."""
    attention = attention_of(options.model, options.attention)
    shape, backbones = shape_of(options.encoders, _characters, attention, options.tuning)
    model = InteractionModel(shape, backbones)
    model.prepare_training(options.tuning)
    with tempfile.TemporaryDirectory() as folder:
        tokens = InputEncoder(Path(folder), processor, lambda _text: None).tokens(shape, SAMPLE, backbones)
        loss = _loss(model, shape, tokens, processor)
    every = model.parameter_count + shape.frozen_parameters
    lines = [
        f"model: {shape.kind}, {every:,} parameters, {model.trained_count:,} of them trained, "
        f"{every - model.trained_count:,} frozen",
        f"one step on {len(PAIRS)} pairs: cross-entropy {loss:.4f} nats a pair (ln 2 = 0.6931 for a guess)",
    ]
    missing = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
    if not np.isfinite(loss) or missing:
        raise InputError(f"the step failed: loss {loss}, no gradient of {', '.join(missing) or 'nothing'}")
    if isinstance(model.head, CrossAttentionHead):
        blocks = (model.head.gene_attending, model.head.molecule_attending)
        gradients = [block.query.weight.grad for block in blocks]
        largest = max(float(each.abs().max()) for each in gradients if each is not None)
        lines.append(
            f"attention: the largest gradient of its queries is {largest:.1e}"
            if largest > ROUNDING
            else "attention: its queries have no gradient; with one vector a side there is nothing to choose"
        )
    return lines


def _loss(
    model: InteractionModel, shape: InteractionShape, tokens: PairTokens, processor: Processor
) -> float:
    """Return the cross-entropy of one training step, whose gradients stay in the model."""
    model.calibrate(tokens, PAIRS.gene, PAIRS.molecule)
    task = InteractionTask(shape, tokens, PAIRS, PAIRS)
    fabric = processor.fabric()
    wrapped = fabric.setup_module(model)
    loss = task.loss(wrapped, fabric.to_device(task.windows(len(PAIRS), 0).batch(0)))
    fabric.backward(loss)
    return float(loss.detach())
