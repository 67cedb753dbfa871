"""Tests for dnalm/models/smiles_lstm.py."""

import pytest
import torch

from dnalm.errors import InputError
from dnalm.models.smiles_lstm import (
    UNKNOWN,
    SmilesLSTM,
    SmilesLSTMConfig,
    character_ids,
    smiles_characters,
)

SMALL = SmilesLSTMConfig(embedding=5, hidden=3, layers=2)


def make(config=SMALL, characters=9) -> SmilesLSTM:
    torch.manual_seed(0)
    made = SmilesLSTM(config, characters)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.uniform_(-1.0, 1.0)
    return made


def batch(lengths):
    tokens = torch.randint(10, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(1))
    return tokens.to(torch.int16), torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


def test_in_bf16_it_is_near_float32():
    made = make(SmilesLSTMConfig(16, 16, 2))
    tokens, real = batch([30, 4])
    states = made(tokens, real)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = made(tokens, real)
    rough.float().sum().backward()
    torch.testing.assert_close(rough.float(), states, rtol=0, atol=0.05)  # 8 bits, 30 steps
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


def test_both_directions_see_their_own_molecule_whole_and_no_other():
    made = make()
    tokens, real = batch([6, 4])
    for place in (0, 3):
        changed = tokens.clone()
        changed[1, place] = (changed[1, place] + 1) % 10
        moved = (made(tokens, real) != made(changed, real)).any(-1)
        assert moved.tolist() == [[False] * 6, [True] * 4 + [False] * 2]


def test_a_molecule_without_characters_has_no_state_and_padding_before_one_is_refused():
    made = make()
    tokens, real = batch([4, 2])
    real[1] = False
    states = made(tokens, real)
    assert (states[1] == 0).all()
    states.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())
    with pytest.raises(InputError, match="padding must follow"):
        made(torch.zeros(1, 3, dtype=torch.int16), torch.tensor([[False, True, True]]))


def test_vocabulary_is_what_is_read_of_training_and_the_rest_is_unknown():
    characters = smiles_characters(["CCO", "c1ccccc1N"], longest=3)
    assert characters == "1COc"
    assert character_ids("OCNc#", characters, longest=4).tolist() == [3, 2, UNKNOWN, 4]
    assert (SmilesLSTM(SMALL, 4).embedding.weight[UNKNOWN] == 0).all()  # no random vector at first sight
