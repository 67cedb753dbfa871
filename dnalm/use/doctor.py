"""Checks of an installation: do the encoders of a pair model open, and does the model train here?"""

import importlib.metadata
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from dnalm.data.pair_batches import PairRows
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.models.cross_attention import CrossAttentionConfig, CrossAttentionHead
from dnalm.models.input_encoder import InputEncoder, shape_of
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import EncodersConfig, PairTexts, TuningConfig
from dnalm.models.pretrained import PretrainedEncoder
from dnalm.models.smiles_lstm import smiles_characters
from dnalm.process import silent
from dnalm.train.pairs import InteractionTask

LIBRARIES = ("rdkit", "scikit-learn", "h5py", "transformers", "tokenizers", "huggingface_hub", "peft")
SAMPLE = PairTexts(
    ["ATGGATTTATCTGCTCTTCGCGTTGAAGAAGTACAAAATGTC", "GATTACAGATTACAGATTACA", "CCGGAATTCCGGTTAACCGG"],
    ["CC(=O)Oc1ccccc1C(=O)O", "CCO"],
)
CHARACTERS = smiles_characters(SAMPLE.smiles, 200)
PAIRS = PairRows(np.array([0, 1, 2, 0]), np.array([0, 1, 1, 1]), np.array([1, 0, 1, 0], dtype=np.uint8))
ROUNDING = 1e-9  # a smaller gradient is 0 up to rounding


def check_pair_model(
    encoders: EncodersConfig,
    tuning: TuningConfig,
    attention: CrossAttentionConfig | None,
    processor: Processor,
    *,
    tensors: bool = False,
) -> Iterator[str]:
    """Yield a sentence for each library, each encoder and a training step on a few pairs.

    `attention` is of a cross-attention head; None for the published classifier. With `tensors`, a line for
    each tensor that a pretrained encoder was loaded with follows.

    Raises:
        InputError: naming every encoder that cannot be opened, or if the loss or a gradient is missing.
    """
    for name in LIBRARIES:
        yield f"library {name}: {_version(name)}"
    wrong = []
    parts = {
        "dna_encoder": replace(encoders, mol_encoder="morgan"),
        "mol_encoder": replace(encoders, dna_encoder="kmer"),
    }
    for option, alone in parts.items():
        try:
            yield from _encoder(alone, option, tensors)
        except InputError as error:
            yield f"`{option}`: does not work"
            wrong.append(str(error))
    if wrong:
        raise InputError("; ".join(wrong))
    shape, pretrained = shape_of(encoders, lambda: CHARACTERS, attention, tuning)
    model = InteractionModel(shape, pretrained)
    model.prepare_training(tuning)
    loss = _step(model, pretrained, processor)
    count, trained = model.parameter_count + shape.frozen_parameters, model.trained_count
    frozen = f"{trained:,} of them trained, {count - trained:,} frozen"
    yield f"model: {shape.kind}, {count:,} parameters, {frozen}"
    yield f"one step on {len(PAIRS)} pairs: cross-entropy {loss:.4f} nats a pair (a guess: 0.6931)"
    missing = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
    if not np.isfinite(loss) or missing:
        raise InputError(f"the step failed: loss {loss}, no gradient of {', '.join(missing) or 'nothing'}")
    if isinstance(model.head, CrossAttentionHead):
        blocks = (model.head.gene_attending, model.head.molecule_attending)
        gradients = [block.query.weight.grad for block in blocks]
        largest = max(float(each.abs().max()) for each in gradients if each is not None)
        learns = f"the largest gradient of its queries is {largest:.1e}"
        if largest <= ROUNDING:
            learns = "its queries have no gradient; with one vector a side there is nothing to choose"
        yield f"attention: {learns}"


def _version(library: str) -> str:
    """Return the installed version of a library, or that it is missing."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        extra = "tune" if library == "peft" else "interaction"
        return f'not installed; pip install "dnalm[{extra}]"'


def _encoder(config: EncodersConfig, option: str, tensors: bool) -> Iterator[str]:
    """Open the one encoder that may be pretrained, and yield what it is, and each of its tensors if asked."""
    _, pretrained = shape_of(config, lambda: CHARACTERS, None)
    name = f"`{option}`: {getattr(config, option)}"
    if not pretrained:
        yield f"{name}, trained with the model"
        return
    (encoder,) = pretrained.values()
    known = encoder.config()
    sees = "the left of its token alone" if known.causal else "the full text"
    size = f"{known.parameters:,} parameters; states of width {known.width}; a state depends on {sees}"
    at = f" at {encoder.revision}" if encoder.revision else ""
    yield f"{name}{at}, {size}" + (f"; {encoder.caution}" if encoder.caution else "")
    for key, tensor in encoder.module.state_dict().items() if tensors else ():
        spread = tensor.std(correction=0)
        yield f"  {key} {list(tensor.shape)}: mean {tensor.mean():.4g}, standard deviation {spread:.4g}"


def _step(model: InteractionModel, pretrained: dict[str, PretrainedEncoder], processor: Processor) -> float:
    """Take a step forward and backward, and return the loss."""
    with tempfile.TemporaryDirectory() as folder:
        tokens = InputEncoder(Path(folder), processor, silent).tokens(model, SAMPLE, pretrained)
        model.calibrate(tokens, PAIRS.gene, PAIRS.molecule)
        task, fabric = InteractionTask(model.shape, tokens, PAIRS, PAIRS), processor.fabric()
        wrapped = fabric.setup_module(model)
        loss = task.loss(wrapped, fabric.to_device(task.windows(len(PAIRS), 0).batch(0)))
        fabric.backward(loss)
    return loss.item()
