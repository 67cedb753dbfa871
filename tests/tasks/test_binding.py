"""Tests for dnalm/tasks/binding.py, lora.py and binding_load.py."""

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.data.binding import BindingWindows
from dnalm.evaluate.binding import predict
from dnalm.models.binding import BindingModel, BindingShape, TuneConfig
from dnalm.models.cnn import CNNConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.models.open import open_binding
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4
from dnalm.train.binding import BindingTask, calibrate_head

SMALL = GPTConfig(n_layer=2, n_head=2, n_embd=8, block_size=12, dropout=0.5)
HEAD = RegressionHeadConfig(channels=4, kernel=3, head_dropout=0.0)


def model(characters=VOCAB4.characters, encoder=SMALL, head=HEAD, **tuning):
    torch.manual_seed(0)
    made = BindingModel(BindingShape(encoder, characters, head, TuneConfig(**tuning)))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    made.prepare_training()
    return made


@pytest.fixture
def tokens():
    return torch.randint(4, (5, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("characters", "total"), [(HG38_CHARACTERS, 7_753_601), (VOCAB4.characters, 7_739_777)]
)
def test_published_sizes(characters, total):
    made = BindingModel(BindingShape(GPTConfig(position="learned"), characters))
    made.prepare_training()
    assert (made.parameter_count, made.trained_count) == (total, 541_697)


def test_size_of_the_baseline():
    made = BindingModel(BindingShape(CNNConfig()))
    made.prepare_training()
    assert made.parameter_count == made.trained_count == 186_497


def test_both_strands_need_a_head_twice_as_wide():
    made = BindingModel(BindingShape(GPTConfig(), VOCAB4.characters, tuning=TuneConfig(both_strands=True)))
    assert sum(parameter.numel() for parameter in made.head.parameters()) == 1_083_137


def test_a_causal_core_sees_the_right_of_a_base_with_both_strands_alone(tokens):
    changed = tokens.clone()
    changed[:, 9] = 3 - changed[:, 9]
    for both, places in ((False, range(8, 12)), (True, range(12))):  # the head's kernel of 3 sees one on
        made = model(both_strands=both).eval()
        moved = (made(tokens) != made(changed)).any(0).nonzero().flatten().tolist()
        assert moved == list(places)


def test_states_of_the_other_strand_lie_at_their_bases(tokens):
    made = model(both_strands=True).eval()
    states, other = made.encode(tokens), made.encode(made.complement[tokens.long()].flip(1))
    forward, reverse = states.split(8, dim=-1)
    torch.testing.assert_close(reverse, other.flip(1)[..., :8])
    torch.testing.assert_close(forward, other.flip(1)[..., 8:])


def test_states_given_or_computed_are_the_same(tokens):
    made = model(both_strands=True).eval()
    with torch.no_grad():
        assert torch.equal(made(tokens), made(tokens, made.encode(tokens)))


def one_step(made, tokens):
    made.train()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.1)
    made(tokens).square().mean().backward()
    optimizer.step()
    return {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, before[name])}


def test_frozen_trains_the_head_alone_and_the_core_has_no_dropout(tokens):
    made = model(tune="frozen")
    assert {name.split(".")[0] for name in one_step(made, tokens)} == {"head"}
    assert made.training
    assert not any(module.training for module in made.encoder.modules())
    assert torch.equal(made(tokens), made(tokens))  # the core's dropout of 0.5 would show
    assert all(parameter.grad is None for parameter in made.encoder.parameters())


def test_full_trains_everything_that_is_used_with_dropout(tokens):
    made = model(tune="full")
    assert one_step(made, tokens) == set(made.state_dict())
    assert not torch.equal(made(tokens), made(tokens))


def test_lora_trains_updates_and_head_alone(tokens):
    made = model(tune="lora", lora_rank=2)
    changed = one_step(made, tokens)
    assert {name.split(".")[0] for name in changed} == {"encoder", "head"}
    assert all("lora_" in name for name in changed if name.startswith("encoder."))
    # ranks 2 of c_attn (8 -> 24), c_proj (8 -> 8), c_fc (8 -> 32), c_proj (32 -> 8), in two blocks
    updates = 2 * 2 * ((8 + 24) + (8 + 8) + (8 + 32) + (32 + 8))
    assert made.trained_count == updates + sum(p.numel() for p in made.head.parameters())


def test_lora_merged_is_a_plain_model_that_predicts_the_same(tokens):
    made, plain = model(tune="lora"), model(tune="full")
    one_step(made, tokens)
    made.eval()
    before = made(tokens)
    made.merge()
    assert set(made.state_dict()) == set(plain.state_dict())
    torch.testing.assert_close(
        made(tokens), before
    )  # the sum of two products is one product, but for rounding


def windows(tokens, scores=None, states=None):
    return BindingWindows(tokens, torch.zeros(tokens.shape) if scores is None else scores, states)


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
    assert scores["val_loss"] == pytest.approx(4.0, rel=1e-5)
    assert scores["train_loss"] == pytest.approx(4.0, rel=1e-5)
    assert scores["pearson_r"] == pytest.approx(1.0, abs=1e-6)  # R does not mind a constant


@pytest.mark.parametrize("kind", ["gpt", "cnn"])
def test_can_learn_where_a_motif_is(kind):
    torch.manual_seed(0)
    encoder = GPTConfig(n_layer=1, n_head=2, n_embd=32, block_size=24) if kind == "gpt" else CNNConfig(32, 5)
    characters = VOCAB4.characters if kind == "gpt" else ""
    shape = BindingShape(encoder, characters, RegressionHeadConfig(16, 5, 0.0), TuneConfig("full"))
    made = BindingModel(shape)
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
        model("", CNNConfig(8, 3)),
    ],
    ids=["frozen", "lora", "both strands", "whitened", "cnn"],
)
def test_saved_and_opened_it_predicts_the_same(made, tokens, tmp_path):
    one_step(made, tokens)
    task = BindingTask(made.shape, windows(tokens), windows(tokens), {"kind": made.shape.kind})
    identity = {"set": "digest", "split": "blocks"}
    checkpoint.save(
        tmp_path / "mine" / "checkpoint", task.weights(made), task.describe() | {"identity": identity}
    )
    opened = open_binding(tmp_path / "mine")
    assert (opened.name, opened.identity, opened.about) == ("mine", identity, {"kind": made.shape.kind})
    made.eval()
    made.merge()
    assert torch.equal(opened.model(tokens), made(tokens))


def test_refuses_weights_of_another_shape_and_changes_nothing(tokens):
    made, other = model(), model(both_strands=True)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    with pytest.raises(ValueError, match=r"there: its tensors are not this model's: head.conv1d.weight is"):
        checkpoint.load_strict(other.state_dict(), made.state_dict(), "there")
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())


def test_refuses_a_language_model(tmp_path):
    checkpoint.save(tmp_path / "lm", {"x": torch.zeros(1)}, {"kind": "language"})
    with pytest.raises(ValueError, match="expected a binding model, got a model of kind 'language'"):
        open_binding(tmp_path / "lm")


def test_shape_survives_json():
    for shape in (model(both_strands=True).shape, BindingShape(CNNConfig(16, 7))):
        assert BindingShape.from_dict(shape.as_dict()) == shape


def test_calibration_reads_kept_states_or_computes_them_and_leaves_the_cnn_alone(tokens):
    for both in (False, True):
        one, other = model(both_strands=both), model(both_strands=both)
        with torch.no_grad():
            states = one.eval().encode(tokens)
        calibrate_head(one, windows(tokens))
        calibrate_head(other, windows(tokens, states=states))
        torch.testing.assert_close(one.head.layer_norm.weight, other.head.layer_norm.weight)
        assert not torch.equal(one.head.layer_norm.bias, model(both_strands=both).head.layer_norm.bias)
    cnn = model("", CNNConfig(8, 3))
    before = cnn.head.layer_norm.weight.clone()
    calibrate_head(cnn, windows(tokens))
    assert torch.equal(cnn.head.layer_norm.weight, before)
