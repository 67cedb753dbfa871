"""Tests for the task of dnalm/train/language.py, and for the scores of a language model."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dnalm import checkpoint
from dnalm.data.language import LanguageBatch, choose_pieces
from dnalm.evaluate.language import score
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel, base_log_probabilities
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4, CharacterTokenizer
from dnalm.train.language import LanguageConfig, LanguageTask

SHAPE = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=40)


@pytest.fixture(params=["full", "vocab4"])
def task(request, toy):
    return LanguageTask(toy[request.param], SHAPE, LanguageConfig())


def model_of(task, seed=0):
    torch.manual_seed(seed)
    model = task.build_model()
    with torch.no_grad():
        model.transformer.wte.weight.mul_(20)  # far from the uniform guess
    return model.eval()


def score_of(task, model, bases=0):
    return score(model, task.genome, "val", bases, SHAPE.block_size)


def test_the_state_dict_has_the_published_names_and_the_head_is_tied():
    model = LanguageModel(GPTConfig(n_layer=1, position="learned"), 4)
    block = {"ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"}
    ends = {f"transformer.{name}.weight" for name in ("wte", "wpe", "ln_f")} | {"lm_head.weight"}
    assert set(model.state_dict()) == {f"transformer.h.0.{part}.weight" for part in block} | ends
    assert model.lm_head.weight is model.transformer.wte.weight
    assert "lm_head.weight" not in dict(model.named_parameters())


def test_an_untrained_model_guesses(task):
    torch.manual_seed(0)
    loss = task.loss(task.build_model(), task.windows(16, 0).batch(0)).item()
    # embeddings of 0.02 times states of norm 4: logits within about 0.1 of each other
    assert loss == pytest.approx(math.log(task.genome.tokenizer.vocab_size), abs=0.1)


def test_loss_weighs_targets(task):
    batch = task.windows(4, 0).batch(0)
    model = model_of(task)
    logits = model(batch.tokens, torch.ones_like(batch.tokens, dtype=torch.bool))
    each = F.cross_entropy(logits.flatten(0, 1), batch.targets.long().flatten(), reduction="none")
    some = torch.rand(4, 40)
    expected = (each * some.flatten()).sum() / some.sum()
    for weights, wanted in ((some, expected), (None, each.mean()), (torch.zeros(4, 40), torch.tensor(0.0))):
        given = batch if weights is None else LanguageBatch(batch.tokens, batch.targets, weights)
        torch.testing.assert_close(task.loss(model, given), wanted)


def test_cases_are_added_and_other_tokens_left_out():
    p = torch.full((40,), 0.02)
    shares = {"A": 0.10, "a": 0.05, "C": 0.10, "c": 0.0, "G": 0.0, "g": 0.15, "T": 0.05, "t": 0.01}
    for letter, share in shares.items():
        p[HG38_CHARACTERS.index(letter)] = share
    expected = torch.tensor([0.15, 0.10, 0.15, 0.06]) / 0.46
    for logits in (p.log(), p.log() + 3.0):
        found = base_log_probabilities(logits, CharacterTokenizer(HG38_CHARACTERS)).exp()
        torch.testing.assert_close(found, expected)
    logits = torch.randn(5, 4)
    torch.testing.assert_close(base_log_probabilities(logits, VOCAB4), logits.log_softmax(-1))


def slow_bits(task, model, pieces):
    """Bits of each piece, one window at a time from the genome's letters, with context from its segment."""
    characters, out = task.genome.tokenizer.characters, []
    text = torch.from_numpy(np.array(task.genome.tokens("val"))).long()
    for start, end in pieces:
        (segment, _), (first, last) = (task.genome.text_span("val", *b) for b in ((0, 1), (start, end)))
        bits = 0.0
        for at in range(first, last - 1, 40):
            stop = min(at + 40, last - 1)
            window = text[max(segment, stop - 40) : stop + 1]
            p = model(window[None, :-1], torch.ones(1, len(window) - 1, dtype=torch.bool))[0].softmax(-1)
            for row, token in list(zip(p.tolist(), window[1:].tolist(), strict=True))[at - stop :]:
                share = dict.fromkeys("ACGT", 0.0)
                for each, letter in zip(row, characters, strict=True):
                    if letter.upper() in share:
                        share[letter.upper()] += each
                if characters[token].upper() in share:
                    bits -= math.log2(share[characters[token].upper()] / sum(share.values()))
        out.append(bits)
    return out


def test_scores_equal_a_slow_reference_whatever_the_batch(task, monkeypatch):
    model = model_of(task).train()
    scores = score_of(task, model)
    assert model.training  # as before
    pieces = choose_pieces(task.genome, "val", 0)
    with torch.no_grad():
        expected = slow_bits(task, model.eval(), pieces)
    assert scores.bits.tolist() == pytest.approx(expected, rel=1e-5)  # float32 against float64 sums
    assert scores.bases.tolist() == [end - start - 1 for start, end in pieces]
    assert scores.bits_per_base == pytest.approx(sum(expected) / scores.bases.sum(), rel=1e-5)
    monkeypatch.setattr("dnalm.evaluate.language.EVALUATION_BATCH", 3)
    other = score_of(task, model)
    assert other.bits.tolist() == pytest.approx(scores.bits.tolist(), rel=1e-6)
    assert other.nats_per_token == pytest.approx(scores.nats_per_token, rel=1e-6)


def test_both_vocabularies_are_scored_on_the_same_bases(toy):
    full, vocab4 = (
        score(LanguageModel(SHAPE, toy[mode].tokenizer.vocab_size), toy[mode], "val", 0, 40).bases.tolist()
        for mode in ("full", "vocab4")
    )
    assert full == vocab4


def test_weights_come_back_and_wrong_ones_are_named(task):
    one, other = model_of(task, 0), model_of(task, 1)
    checkpoint.load_strict(task.weights(one), task.weights(other), "here")
    tokens, real = torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 5, dtype=torch.bool)
    assert torch.equal(one(tokens, real), other(tokens, real))
    wrong, name = task.weights(one), "transformer.ln_f.weight"
    before = {key: each.clone() for key, each in other.state_dict().items()}
    for change in ({}, {name: torch.full((3,), 7.0)}):  # none, and one of another shape
        given = {key: each + 1 for key, each in wrong.items() if key != name} | change
        with pytest.raises(ValueError, match=r"here: .*transformer\.ln_f\.weight"):
            checkpoint.load_strict(given, task.weights(other), "here")
    assert all(torch.equal(each, before[key]) for key, each in other.state_dict().items())


@pytest.mark.parametrize("wrong", [{"repeat_weight": -0.1}, {"eval_bases": 0}, {"final_bases": -1}])
def test_refuses_wrong_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LanguageConfig(**wrong)


@pytest.mark.parametrize(
    ("position", "local", "differs"),
    [("rotary", True, True), ("rotary", False, False), ("learned", True, False)],
)
def test_local_start_is_where_the_recipe_says_and_positions_rotate(toy, position, local, differs):
    shape = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20, position=position)
    torch.manual_seed(0)
    built = LanguageTask(toy["vocab4"], shape, LanguageConfig(local_start=local)).build_model()
    torch.manual_seed(0)
    plain = LanguageModel(shape, 4)
    name = "transformer.h.0.attn.c_attn.weight"
    assert torch.equal(built.state_dict()[name], plain.state_dict()[name]) != differs
