"""Tests for dnalm/data/binding.py."""

import numpy as np
import pytest
import torch

from dnalm.data.binding import BindingBatches, BindingWindows
from dnalm.models.binding import base_codes, token_ids
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4, CharacterTokenizer


def letters(text):
    return np.frombuffer(text.encode(), dtype=np.uint8)


@pytest.fixture
def windows():
    """23 windows in which window i holds the number i everywhere, so that a batch says what is in it."""
    tokens = torch.arange(23, dtype=torch.uint8)[:, None].repeat(1, 5)
    return BindingWindows(tokens, tokens.float(), tokens[..., None].to(torch.bfloat16))


def test_every_window_once_an_epoch_in_another_order(windows):
    batches = BindingBatches(windows, 4, seed=3)
    assert batches.steps_per_epoch == 6
    epochs = [[batches.rows(6 * epoch + step).tolist() for step in range(6)] for epoch in range(2)]
    for epoch in epochs:
        assert sorted(sum(epoch, [])) == list(range(23))
    assert epochs[0] != epochs[1]
    assert [len(rows) for rows in epochs[0]] == [4] * 5 + [3]
    assert batches.smallest == 3
    assert BindingBatches(windows, 23, seed=3).smallest == 23
    assert BindingBatches(windows, 30, seed=3).smallest == 23


def test_a_batch_is_a_function_of_seed_and_step_alone(windows):
    one, other = BindingBatches(windows, 4, seed=3), BindingBatches(windows, 4, seed=3)
    for step in (11, 0, 7, 11):  # whatever was asked before
        assert torch.equal(one.batch(step).tokens, other.batch(step).tokens)
        other.batch(step + 6)
    assert not torch.equal(one.batch(0).tokens, BindingBatches(windows, 4, seed=4).batch(0).tokens)


def test_ranks_share_one_batch(windows):
    batches = BindingBatches(windows, 7, seed=0)
    shares = [batches.batch(2, rank, 3).tokens[:, 0].tolist() for rank in range(3)]
    assert sorted(sum(shares, [])) == sorted(batches.batch(2).tokens[:, 0].tolist())


def test_tokens_scores_and_states_stay_together(windows):
    batch = BindingBatches(windows, 8, seed=0).batch(1)
    assert torch.equal(batch.tokens.float(), batch.scores)
    assert torch.equal(batch.states[..., 0].float(), batch.scores)
    assert BindingWindows(windows.tokens, windows.scores).take(np.array([0])).states is None
    # States of more windows, in another order.
    others = torch.full((3, *windows.states.shape[1:]), -1.0)
    rows = torch.arange(len(windows)).flip(0) + 3
    turned = BindingWindows(windows.tokens, windows.scores, torch.cat([others, windows.states.flip(0)]), rows)
    assert torch.equal(turned.take(np.arange(5)).states, windows.take(np.arange(5)).states)


def test_base_codes_know_no_fifth_base():
    assert base_codes(letters("ACGTNRM")).tolist() == [0, 1, 2, 3, 4, 4, 4]


@pytest.mark.parametrize(
    ("characters", "stand_in"), [(VOCAB4.characters, "A"), (HG38_CHARACTERS, "N"), ("\n>ACGIT", "A")]
)
def test_a_letter_without_a_token_becomes_n_or_else_a(characters, stand_in):
    tokenizer = CharacterTokenizer(characters)
    assert tokenizer.decode(token_ids(letters("ACGTNS"), tokenizer).numpy()) == "ACGT" + 2 * stand_in


@pytest.mark.parametrize("characters", [VOCAB4.characters, HG38_CHARACTERS])
def test_complement_of_tokens_is_that_of_letters_and_undoes_itself(characters):
    tokenizer = CharacterTokenizer(characters)
    ids = tokenizer.encode("ACGT")
    assert tokenizer.decode(tokenizer.complement[ids]) == "TGCA"
    if "a" in characters:
        assert tokenizer.decode(tokenizer.complement[tokenizer.encode("acgtN>\n")]) == "tgcaN>\n"
    assert (tokenizer.complement[tokenizer.complement[ids]] == ids).all()


def test_bases_that_a_vocabulary_has_in_lower_case_alone_are_read_so():
    tokenizer = CharacterTokenizer("\n1>Nacgt")
    assert tokenizer.decode(token_ids(letters("ACGTN"), tokenizer).numpy()) == "acgtN"


def test_a_vocabulary_without_a_base_is_refused():
    with pytest.raises(ValueError, match="has no token for the base T"):
        token_ids(letters("ACGT"), CharacterTokenizer("ACGN"))
