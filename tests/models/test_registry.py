"""Laws that every encoder of the registry obeys; and an encoder that is added to it.

Shapes: B sequences in the batch; L tokens per sequence.
"""

import importlib.util
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch

from dnalm.data.binding import BindingWindows
from dnalm.data.pair_batches import PairRows
from dnalm.errors import InputError
from dnalm.models import registry
from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.binding import BindingModel, BindingShape
from dnalm.models.chemberta import ChemBERTaConfig
from dnalm.models.cnn import CNNConfig
from dnalm.models.conv import ConvConfig
from dnalm.models.dilated_cnn import DilatedCNNConfig
from dnalm.models.dnabert2 import DNABert2Config
from dnalm.models.gene_cnn import GeneCNNConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.models.input_encoder import shape_of
from dnalm.models.layers import Encoder, check_tokens, mask_padding
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import EncodersConfig, PairTexts
from dnalm.models.registry import ENCODERS, EncoderEntry, entry_of
from dnalm.models.smiles_lstm import SmilesLSTMConfig
from dnalm.train.binding import BindingTask
from dnalm.train.pairs import InteractionTask

LENGTH, IDS = 20, 5
"""Tokens of the longest sequence, and how many different ones each encoder knows at least."""


class Sample(NamedTuple):
    """A small encoder: its config, and what it is known to do."""

    config: object
    stride: int = 1  # Tokens that a state stands for
    independent: bool = False  # A state knows nothing of other tokens


SAMPLES = [
    Sample(GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=LENGTH, dropout=0.5)),
    Sample(GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=LENGTH, dropout=0.5, objective="masked")),
    Sample(ConvConfig(width=8, blocks=4, kernel=3, widest=4, block_size=LENGTH, dropout=0.5)),
    Sample(CNNConfig(width=8, encoder_kernel=5)),
    Sample(DilatedCNNConfig(width=8, encoder_kernel=3, dilated_kernel=3, dilations=2)),
    Sample(GeneCNNConfig(6, (4, 8), (3, 5)), stride=4),
    Sample(SmilesLSTMConfig(6, 4, 1)),
    Sample(KmerConfig(k=2, width=8)),
    Sample(MorganConfig(bits=16, width=8), independent=True),
    Sample(DNABert2Config(IDS, 8, 1, 2, 12)),
    Sample(ChemBERTaConfig(IDS, 8, 1, 2, 12, positions=LENGTH + 2)),
]


@pytest.fixture(params=SAMPLES, ids=lambda sample: type(sample.config).__name__)
def sample(request):
    return request.param


@pytest.fixture
def encoder(sample):
    if isinstance(sample.config, ChemBERTaConfig) and importlib.util.find_spec("transformers") is None:
        pytest.skip("ChemBERTa needs transformers, which is not installed")
    torch.manual_seed(0)
    return entry_of(sample.config).build(sample.config, "ACGTN").eval()


def batch(*lengths, longest=LENGTH):
    """Tokens [B, L] that every encoder knows, and where they are real; anything at padding."""
    real = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return torch.randint(IDS, real.shape), real


def test_every_encoder_has_a_sample_and_names_are_unique_within_a_use():
    assert {entry.config for entry in ENCODERS} == {type(sample.config) for sample in SAMPLES}
    named = [(use, entry.name) for entry in ENCODERS for use in entry.uses]
    assert len(named) == len(set(named))


def test_causal_says_whether_a_state_sees_its_right(sample, encoder):
    tokens, real = batch(LENGTH)
    tokens %= 4  # no N: a k-mer that holds one is silent
    tokens[0, -1] = 0
    changed = tokens.clone()
    changed[0, -1] = 1
    states, mask = encoder(tokens, real), encoder.state_mask(real)
    assert states.shape == (*mask.shape, encoder.width) == (1, LENGTH // sample.stride, encoder.width)
    different = (states != encoder(changed, real)).any(-1)[0]
    sees_right = different[:-1].any().item()
    assert sees_right == (not encoder.causal and not sample.independent)
    assert different[mask[0]][-1]  # the last real state sees the last token


def with_gradients(encoder, tokens, real):
    """States that are real, and gradients of their sum with fixed weights."""
    states = encoder(tokens, real)
    mask = encoder.state_mask(real)
    assert (states[~mask] == 0).all()
    encoder.zero_grad()
    torch.manual_seed(1)
    (states[mask] * torch.randn_like(states[mask])).sum().backward()
    return [states[mask].detach(), *(p.grad for p in encoder.parameters() if p.grad is not None)]


def test_padding_is_silent_in_values_and_gradients(encoder):
    tokens, real = batch(8, 13, LENGTH)
    assert (~encoder.state_mask(real)).sum() > 0
    found = [with_gradients(encoder, tokens.masked_fill(~real, padding), real) for padding in (0, 1)]
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    tokens, real = batch(8, 12)
    found = [with_gradients(encoder, tokens[:, :longest], real[:, :longest]) for longest in (12, LENGTH)]
    # float32 sums in another order; a gradient of places that are nobody's is 0 in both
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_a_batch_of_one_is_a_batch_of_64(encoder):
    tokens, real = batch(*torch.randint(4, LENGTH + 1, (64,)).tolist())
    together = encoder(tokens, real)
    for row in range(0, 64, 7):
        alone = encoder(tokens[row : row + 1], real[row : row + 1])
        # float32 rounding of products that are blocked differently
        torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-5)


def test_saved_and_loaded_it_is_the_same_and_dropout_runs_in_training_alone(sample, encoder):
    tokens, real = batch(LENGTH, 8)
    torch.manual_seed(1)
    other = entry_of(sample.config).build(sample.config, "ACGTN").eval()
    assert (other(tokens, real) != encoder(tokens, real)).any()
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(tokens, real), encoder(tokens, real))
    encoder.train()
    drops = getattr(sample.config, "dropout", 0.0) > 0.0
    assert torch.equal(encoder(tokens, real), encoder(tokens, real)) != drops


def test_gradient_checkpointing_computes_layers_twice_and_changes_nothing(encoder):
    if not hasattr(encoder, "gradient_checkpointing"):
        pytest.skip("it has no layers to compute again")
    encoder.train()  # dropout is on: the same one must be drawn again
    calls, found, (tokens, real) = [], [], batch(9, LENGTH)
    linear = next(module for module in encoder.layers[0].modules() if isinstance(module, torch.nn.Linear))
    linear.register_forward_hook(lambda *_: calls.append(1))
    for number, wanted in enumerate((False, True, False)):
        encoder.gradient_checkpointing = wanted
        torch.manual_seed(3)
        found.append(with_gradients(encoder, tokens, real))
        assert len(calls) == (1, 3, 4)[number]
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)


def test_input_of_wrong_shape_is_refused(encoder):
    for tokens, real in ((torch.zeros(3), torch.ones(3)), (torch.zeros(1, 3), torch.ones(1, 2))):
        with pytest.raises(InputError, match="must be"):
            encoder(tokens.int(), real.bool())


@dataclass(frozen=True)
class ToyConfig:
    """Of an encoder that is added to the registry."""

    width: int = 8


class Toy(Encoder):
    """Three bases, added up."""

    def __init__(self, config):
        super().__init__()
        self.width = config.width
        self.embedding = torch.nn.Embedding(5, 3 * config.width)

    def forward(self, tokens, real):
        check_tokens(tokens, real)
        states = self.embedding(tokens.masked_fill(~real, 4).long())
        left, own, right = mask_padding(states, real).chunk(3, -1)
        return mask_padding((left.roll(1, 1) + own + right.roll(-1, 1)).tanh(), real)


@pytest.mark.parametrize("kind", ["binding", "interaction"])
def test_one_line_adds_an_encoder(monkeypatch, kind):
    entry = EncoderEntry("toy", ToyConfig, Toy, "bases", ("binding", "gene"))
    monkeypatch.setattr(registry, "ENCODERS", [*ENCODERS, entry])
    torch.manual_seed(0)
    if kind == "binding":
        shape = BindingShape(ToyConfig(), head=RegressionHeadConfig(8, 3, 0.0))
        letters = np.frombuffer(b"ACGTTGCAACGATCGNACCT" * 8, dtype=np.uint8).reshape(8, 20)
        windows = BindingWindows(shape.tokens(letters), torch.from_numpy(letters == ord("G")).float())
        task, model = BindingTask(shape, windows, windows), BindingModel(shape)
        model.prepare_training()
        assert shape.kind == "toy"
    else:
        shape, _ = shape_of(EncodersConfig("toy", "lstm", 30, 20), lambda: "CNO", None)
        texts = PairTexts(["ACGTACGTAC", "GATAAGGATAAG", "TTTTNTTT"], ["CCO", "CCN"])
        gene, molecule = np.divmod(np.arange(6), 2)
        rows = PairRows(gene, molecule, (gene == 1).astype(np.uint8))
        task, model = InteractionTask(shape, shape.tokens(texts), rows, rows), InteractionModel(shape)
        assert (shape.names, shape.head.gene_pooling) == (("toy", "lstm"), "mean")
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-2), []
    batch = task.windows(8 if kind == "binding" else 6, 0).batch(0)
    for _ in range(60):
        optimizer.zero_grad()
        losses.append(task.loss(model, batch))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    again = type(model)(type(shape).from_dict(shape.as_dict()))
    again.load_state_dict(model.state_dict())
    assert task.evaluate(again) == task.evaluate(model)
