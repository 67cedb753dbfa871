"""A small binding model with weights of its own, for tests of the model and of its training."""

import torch

from dnalm.models.binding import BindingModel, BindingShape, TuneConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.tokens.characters import VOCAB4

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
