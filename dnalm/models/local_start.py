"""Initialisation of a GPT (our own): each attention head begins with one nearby distance."""

import math

import torch

from dnalm.models.gpt import GPT, INIT_STD, Block
from dnalm.models.layers import rotary_speeds

DISTANCES = {"causal": list(range(9)), "masked": [side * far for far in range(1, 9) for side in (1, -1)]}
"""Heads begin with distances of so many tokens to the left, in turn; below 0 to the right."""
STRENGTH = 2.5  # size of the added queries and keys, relative to those of the initialisation
MIN_SPEED = 0.03  # radians per token: slower rotations hardly depend on the distance and are left alone


@torch.no_grad()
def start_local(model: GPT) -> None:
    """Make each head of an untrained model with rotary positions attend to one nearby distance, in place.

    Untrained heads attend to all tokens alike, and learn slowly that in DNA the nearest bases are the most
    informative. Heads of a masked model look at 1 to 8 tokens to the left and to the right in turn, as its
    own token is mostly masked. With rotary positions, a constant query and a constant key, rotated against
    each other by d positions, match best d tokens apart. The constant is a direction shared by all token
    embeddings, which a tied next-token head does not see: it adds the same to every logit.
    """
    config = model.config
    width, half = config.n_embd, config.n_embd // config.n_head // 2
    shared = torch.randint(0, 2, (width,)) * 2.0 - 1.0  # [D]
    # As large as the differences between tokens: LayerNorm leaves 1 / sqrt(2) of it.
    model.wte.weight += INIT_STD * shared
    pull = STRENGTH * math.sqrt(2) / width * shared
    speed, distances = rotary_speeds(2 * half).float(), DISTANCES[config.objective]
    used = (speed > MIN_SPEED).float()
    for number, block in enumerate(model.h):
        assert isinstance(block, Block)
        joint = block.attn.c_attn.weight.view(3, config.n_head, 2 * half, width)
        for head in range(config.n_head):
            distance = distances[(number * config.n_head + head) % len(distances)]
            query = torch.cat([used, torch.zeros(half)])
            key = torch.cat([(speed * distance).cos() * used, (speed * distance).sin() * used])
            joint[0, head] += query[:, None] * pull
            joint[1, head] += key[:, None] * pull
