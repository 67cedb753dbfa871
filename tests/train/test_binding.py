"""Tests for dnalm/train/binding.py: the task, the start of the head, cached states; models opened again."""

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.data.binding import BindingWindows
from dnalm.device import Processor
from dnalm.evaluate.binding import predict
from dnalm.models.binding import BindingModel, BindingShape, TuneConfig
from dnalm.models.cnn import CNNConfig
from dnalm.models.dilated_cnn import DilatedCNNConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.models.open import open_binding
from dnalm.tokens.characters import VOCAB4
from dnalm.train.binding import BindingTask, calibrate_head, with_cached_states
from tests.models.small_binding import model


def windows(tokens, scores=None):
    return BindingWindows(tokens, torch.zeros(tokens.shape) if scores is None else scores)


@pytest.fixture
def tokens():
    return torch.randint(4, (5, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_prediction_does_not_depend_on_the_batch(tokens):
    many = tokens.repeat(30, 1)
    made = model().eval()
    together = predict(made, windows(many))
    alone = np.concatenate([predict(made, windows(many[i : i + 1])) for i in range(len(many))])
    np.testing.assert_allclose(together, alone, atol=1e-5)  # matrix products of other sizes round otherwise
    assert np.abs(together[7] - together[3]).max() > 0.01
    np.testing.assert_allclose(predict(made, windows(many), np.array([7, 3])), together[[7, 3]], atol=1e-5)


def test_loss_and_scores_worked_out_by_hand(tokens):
    made = model().eval()
    truth = torch.from_numpy(predict(made, windows(tokens))) + 2.0  # off by 2 at each base
    task = BindingTask(made.shape, windows(tokens, truth), windows(tokens, truth))
    batch = task.windows(5, seed=0).batch(0)
    assert float(task.loss(made, batch).detach()) == pytest.approx(4.0, rel=1e-5)
    scores = task.evaluate(made)
    assert [scores["val_loss"], scores["train_loss"]] == pytest.approx([4.0, 4.0], rel=1e-5)
    assert scores["pearson_r"] == pytest.approx(1.0, abs=1e-6)  # R does not mind a constant
    levels = truth + torch.arange(5.0)[:, None]  # R is 1 in each window, and less over all bases
    whole = np.corrcoef(levels.ravel(), truth.ravel())[0, 1]
    assert whole < 0.99
    task = BindingTask(made.shape, windows(tokens, levels), windows(tokens, levels))
    assert task.evaluate(made)["pearson_r"] == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize(
    ("encoder", "characters"),
    [(GPTConfig(n_layer=1, n_head=2, n_embd=32, block_size=24), VOCAB4.characters), (CNNConfig(32, 5), "")],
    ids=["gpt", "cnn"],
)
def test_can_learn_where_a_motif_is(encoder, characters):
    torch.manual_seed(0)
    head = RegressionHeadConfig(16, 5, 0.0)
    made = BindingModel(BindingShape(encoder, characters, head, TuneConfig("full")))
    made.prepare_training()
    tokens = torch.randint(4, (64, 24), dtype=torch.uint8)
    starts = (tokens[:, :-1] == 2) & (tokens[:, 1:] == 0)  # "GA"
    truth = torch.zeros(64, 24)
    truth[:, :-1] += starts
    truth[:, 1:] += starts
    optimizer = torch.optim.Adam(made.parameters(), lr=5e-3)
    for _ in range(150):
        loss = torch.nn.functional.mse_loss(made(tokens), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02 * float(truth.var())  # 98 % of the variance explained


@pytest.mark.parametrize(
    "made",
    [
        model(),
        model(tune="lora"),
        model(both_strands=True, tune="full"),
        model(whiten=True),
        model(features="mix", both_strands=True, tune="lora", whiten=True),
        model(features="1", tune="full"),
        model("", CNNConfig(8, 3)),
        model("", DilatedCNNConfig(8, 3, 3, 2)),
    ],
    ids=["frozen", "lora", "both strands", "whitened", "mix", "layer", "cnn", "dilated"],
)
def test_saved_and_opened_it_predicts_the_same(made, tokens, tmp_path):
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.1)
    made(tokens).square().mean().backward()
    optimizer.step()
    task = BindingTask(made.shape, windows(tokens), windows(tokens), {"kind": made.shape.kind})
    identity = {"set": "digest", "split": "blocks"}
    described = task.describe() | {"identity": identity}
    checkpoint.save(tmp_path / "mine" / "checkpoint", task.weights(made), described)
    opened = open_binding(tmp_path / "mine")
    assert (opened.name, opened.identity, opened.about) == ("mine", identity, {"kind": made.shape.kind})
    made.eval()
    made.merge()
    assert torch.equal(opened.model(tokens), made(tokens))


@pytest.mark.parametrize("features", ["last", "1", "mix"])
@pytest.mark.parametrize("both", [False, True])
def test_cached_states_are_those_of_the_model_and_calibrate_the_head_alike(tokens, tmp_path, both, features):
    one, other = (model(both_strands=both, features=features) for _ in range(2))
    fabric = Processor("cpu", "fp32").fabric()
    parts = [windows(tokens), windows(tokens.flip(0)[:2])]
    parts, seconds = with_cached_states(parts, one, tmp_path / "cache", fabric, limit=10**6)
    assert seconds > 0
    with torch.no_grad():
        states = one.eval().encode(tokens)
    for part, wanted in zip(parts, (states, states.flip(0)[:2]), strict=True):
        batch = part.take(np.arange(len(part)))
        torch.testing.assert_close(batch.states.float(), wanted, rtol=0.01, atol=0.01)  # bfloat16
    calibrate_head(one, parts[0])
    calibrate_head(other, windows(tokens))
    norms = one.head.layer_norm, other.head.layer_norm
    torch.testing.assert_close(norms[0].weight, norms[1].weight, rtol=0.02, atol=0.01)
    assert not torch.equal(norms[1].bias, model(both_strands=both).head.layer_norm.bias)
    cnn = model("", CNNConfig(8, 3))
    before = cnn.head.layer_norm.weight.clone()
    calibrate_head(cnn, windows(tokens))
    assert torch.equal(cnn.head.layer_norm.weight, before)
