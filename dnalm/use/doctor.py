"""Checks of an installation: do the encoders of a pair model open, and does the model train here?"""

import importlib.metadata
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from dnalm.data.pair_batches import PairRows
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.models.cross_attention import CrossAttentionConfig, CrossAttentionHead
from dnalm.models.input_encoder import InputEncoder, shape_of
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import EncodersConfig, InteractionShape, PairTexts, TuningConfig
from dnalm.models.smiles_lstm import smiles_characters
from dnalm.process import silent
from dnalm.train.pairs import InteractionTask

LIBRARIES = ("rdkit", "scikit-learn", "h5py", "transformers", "tokenizers", "huggingface_hub", "peft")
"""Libraries that genes and molecules may need, by their names on the package index."""
SAMPLE = PairTexts(
    ["ATGGATTTATCTGCTCTTCGCGTTGAAGAAGTACAAAATGTC", "GATTACAGATTACAGATTACA", "CCGGAATTCCGGTTAACCGG"],
    ["CC(=O)Oc1ccccc1C(=O)O", "CCO"],
)
"""Arbitrary genes and molecules."""
PAIRS = PairRows(np.array([0, 1, 2, 0]), np.array([0, 1, 1, 1]), np.array([1, 0, 1, 0], dtype=np.uint8))
ROUNDING = 1e-9
"""A smaller gradient is 0 up to rounding."""


@dataclass(frozen=True)
class Step:
    """One training step of a pair model."""

    shape: InteractionShape
    parameters: int
    """Those of frozen encoders included."""
    trained_parameters: int
    pairs: int
    loss: float
    """Cross-entropy in nats a pair."""
    query_gradient: float | None
    """Largest gradient of the queries of cross-attention; None if the model has none."""


def library_versions() -> Iterator[tuple[str, str]]:
    """Yield each library that genes and molecules may need, with its version or how to install it."""
    for name in LIBRARIES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            extra = "tune" if name == "peft" else "interaction"
            yield name, f'not installed; pip install "dnalm[{extra}]"'


def describe_encoder(side: Literal["dna", "mol"], config: EncodersConfig) -> str:
    """Open one of the encoders, and return what it is.

    Raises:
        InputError: if it cannot be opened.
    """
    other = {"mol_encoder": "morgan"} if side == "dna" else {"dna_encoder": "kmer"}
    _, pretrained = shape_of(replace(config, **other), _characters, None)  # type: ignore[arg-type]
    name = config.dna_encoder if side == "dna" else config.mol_encoder
    if not pretrained:
        return f"{name}, trained with the model"
    (encoder,) = pretrained.values()
    known = encoder.config()
    sees = (
        "a state depends on the left of its token alone"
        if known.causal
        else "a state depends on the full text"
    )
    size = f"{known.parameters:,} parameters; states of width {known.width}"
    return "; ".join([f"{name}, {size}", sees, *([encoder.caution] if encoder.caution else [])])


def try_step(
    encoders: EncodersConfig,
    tuning: TuningConfig,
    attention: CrossAttentionConfig | None,
    processor: Processor,
) -> Step:
    """Build a pair model and take a training step on a few pairs.

    Args:
        encoders: of the model.
        tuning: which weights of pretrained encoders are trained.
        attention: of a cross-attention head; None for the published classifier.
        processor: where to compute.

    Raises:
        InputError: if an encoder cannot be opened, or the loss or a gradient is missing.
    """
    shape, pretrained = shape_of(encoders, _characters, attention, tuning)
    model = InteractionModel(shape, pretrained)
    model.prepare_training(tuning)
    with tempfile.TemporaryDirectory() as folder:
        tokens = InputEncoder(Path(folder), processor, silent).tokens(shape, SAMPLE, pretrained)
        model.calibrate(tokens, PAIRS.gene, PAIRS.molecule)
        task, fabric = InteractionTask(shape, tokens, PAIRS, PAIRS), processor.fabric()
        wrapped = fabric.setup_module(model)
        loss = task.loss(wrapped, fabric.to_device(task.windows(len(PAIRS), 0).batch(0)))
        fabric.backward(loss)
    missing = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
    if not np.isfinite(loss.item()) or missing:
        raise InputError(
            f"the step failed: loss {loss.item()}, no gradient of {', '.join(missing) or 'nothing'}"
        )
    gradient = None
    if isinstance(model.head, CrossAttentionHead):
        blocks = (model.head.gene_attending, model.head.molecule_attending)
        gradients = [block.query.weight.grad for block in blocks]
        gradient = max(float(each.abs().max()) for each in gradients if each is not None)
    count = model.parameter_count + shape.frozen_parameters
    return Step(shape, count, model.trained_count, len(PAIRS), loss.item(), gradient)


def _characters() -> str:
    return smiles_characters(SAMPLE.smiles, 200)
