"""Tests for the peers of the bench: they do the work that they stand for."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.plain import Plain, plain_step
from bench.published import Published, published_batch, published_step
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel
from dnalm.train.optim import TrainConfig

SMALL = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=12, position="learned")
NAMES = {"attention.joint": "joint", "attention.out": "out", "mlp.0": "up", "mlp.2": "down"}
OURS = {"transformer.wte": "tokens", "transformer.wpe": "places", "transformer.h": "blocks"}
OURS |= {"transformer.ln_f": "norm", "ln_1": "norm_1", "ln_2": "norm_2", "attn.c_attn": "joint"}
OURS |= {"attn.c_proj": "out", "mlp.c_fc": "up", "mlp.c_proj": "down"}


def renamed(state, names, tied):
    """A state dict under the plain model's names, without the tied head."""
    pattern = re.compile("|".join(map(re.escape, names)))
    return {pattern.sub(lambda found: names[found[0]], key): state[key] for key in state if key != tied}


def test_published_plain_and_ours_are_the_same_model():
    torch.manual_seed(0)
    published, plain = Published(SMALL, 4), Plain(SMALL, 4)
    plain.load_state_dict(renamed(published.state_dict(), NAMES, "head.weight"))
    tokens, targets = torch.randint(4, (3, 12)), torch.randint(4, (3, 12))
    loss, maps = published(tokens, targets)
    # the same arithmetic in another order, in float32
    torch.testing.assert_close(plain(tokens, targets), loss, rtol=1e-5, atol=1e-6)
    assert [each.shape for each in maps] == [(3, 2, 12, 12)] * 2
    for position in ("learned", "rotary"):
        config = replace(SMALL, position=position)
        ours, plain = LanguageModel(config, 4), Plain(config, 4)
        plain.load_state_dict(renamed(ours.state_dict(), OURS, "lm_head.weight"))
        logits = ours(tokens, torch.ones_like(tokens, dtype=torch.bool))
        wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        torch.testing.assert_close(plain(tokens, targets), wanted, rtol=1e-5, atol=1e-6)


def test_the_published_batch_is_windows_and_what_follows():
    ids = (np.arange(500) % 200).astype(np.uint8)
    tokens, targets = published_batch(ids, 5, 20)
    assert tokens.shape == targets.shape == (5, 20)
    assert torch.equal(targets, (tokens + 1) % 200)


@pytest.mark.parametrize("peer", ["published", "plain, fp32", "plain, bf16"])
def test_peers_learn(peer, monkeypatch):
    torch.manual_seed(0)
    ids = np.tile(np.arange(4, dtype=np.uint8), 100)
    losses, entropy = [], torch.nn.functional.cross_entropy

    def noted(*asked):
        losses.append(entropy(*asked))
        return losses[-1]

    monkeypatch.setattr("torch.nn.functional.cross_entropy", noted)
    given = (ids, 4, SMALL, TrainConfig(batch_size=4, lr=1e-2), "cpu")
    step = published_step(*given) if peer == "published" else plain_step(*given, bf16="bf16" in peer, mode="")
    for _ in range(40):
        step()
    assert losses[0].item() == pytest.approx(np.log(4), abs=0.1)  # guessing among four
    assert losses[-1].item() < 0.2
