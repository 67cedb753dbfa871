"""Tests for dnalm/models/binding.py and dnalm/models/lora.py."""

import numpy as np
import pytest
import torch

from dnalm.errors import InputError
from dnalm.models.binding import base_codes, token_ids
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4, CharacterTokenizer
from tests.models.small_binding import model


@pytest.fixture
def tokens():
    return torch.randint(4, (5, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


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
    with torch.no_grad():
        assert torch.equal(made(tokens), made(tokens, made.encode(tokens)))  # given or computed


def one_step(made, tokens):
    """Train one step, and return the names of the tensors that it has changed."""
    made.train()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.1)
    made(tokens).square().mean().backward()
    optimizer.step()
    return {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, before[name])}


def test_frozen_trains_the_head_alone_and_the_core_has_no_dropout(tokens):
    made = model(tune="frozen")
    assert {name.split(".")[0] for name in one_step(made, tokens)} == {"head"}
    assert made.trained_count == sum(p.numel() for p in made.head.parameters())
    assert made.training
    assert not any(module.training for module in made.encoder.modules())
    assert torch.equal(made(tokens), made(tokens))  # the core's dropout of 0.5 would show
    assert all(parameter.grad is None for parameter in made.encoder.parameters())


def test_full_trains_everything_that_is_used_with_dropout(tokens):
    made = model(tune="full")
    assert one_step(made, tokens) == set(made.state_dict())
    assert not torch.equal(made(tokens), made(tokens))


def test_lora_trains_updates_and_head_alone_and_merged_is_a_plain_model_that_predicts_the_same(tokens):
    made = model(tune="lora", lora_rank=2)
    changed = one_step(made, tokens)
    assert {name.split(".")[0] for name in changed} == {"encoder", "head"}
    assert all("lora_" in name for name in changed if name.startswith("encoder."))
    # ranks 2 of c_attn (8 -> 24), c_proj (8 -> 8), c_fc (8 -> 32), c_proj (32 -> 8), in two blocks
    updates = 2 * 2 * ((8 + 24) + (8 + 8) + (8 + 32) + (32 + 8))
    assert made.trained_count == updates + sum(p.numel() for p in made.head.parameters())
    before = made.eval()(tokens)
    made.merge()
    assert set(made.state_dict()) == set(model(tune="full").state_dict())
    torch.testing.assert_close(made(tokens), before)  # a sum of two products is one, but for rounding


def letters(text):
    return np.frombuffer(text.encode(), dtype=np.uint8)


@pytest.mark.parametrize(
    ("characters", "read"),
    [
        (VOCAB4.characters, "ACGTAA"),  # a letter without a token becomes A where there is no N
        ("\n>ACGIT", "ACGTAA"),
        (HG38_CHARACTERS, "ACGTNN"),
        ("\n1>Nacgt", "acgtNN"),  # lower case where there is no other
    ],
)
def test_every_letter_has_a_token(characters, read):
    tokenizer = CharacterTokenizer(characters)
    assert tokenizer.decode(token_ids(letters("ACGTNS"), tokenizer).numpy()) == read


def test_a_vocabulary_without_a_base_is_refused_and_base_codes_know_no_fifth():
    assert base_codes(letters("ACGTNRM")).tolist() == [0, 1, 2, 3, 4, 4, 4]
    with pytest.raises(InputError, match="no token for the base T"):
        token_ids(letters("ACGT"), CharacterTokenizer("ACGN"))


def test_complement_of_tokens_is_that_of_letters():
    tokenizer = CharacterTokenizer(HG38_CHARACTERS)
    assert tokenizer.decode(tokenizer.complement[tokenizer.encode("ACGTacgtN>\n")]) == "TGCAtgcaN>\n"
    assert VOCAB4.complement.tolist() == [3, 2, 1, 0]
