"""What references of published encoders are written with: it shares no code with the package."""

import math

import torch
import torch.nn.functional as F


@torch.no_grad()
def perturbed(model, published):
    """Give every tensor its own values, that make scores as large as those of the published width."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "embeddings.weight" in name:
            parameter.normal_(std=0.02)
        elif parameter.ndim == 2:
            parameter.normal_(std=0.02 * math.sqrt(published / model.config.hidden))
        else:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def linear(state, name, x):
    """A linear layer, by its name."""
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state, name, x, eps):
    """LayerNorm over the last axis, by its name."""
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return centred / spread * state[f"{name}.weight"] + state[f"{name}.bias"]


def attend(query, key, value, heads, bias=None):
    """Attention head by head, of [L, D] each; `bias`, [H, L, L], is added to the scores."""
    mixed = []
    for head, (q, k, v) in enumerate(zip(*(x.chunk(heads, -1) for x in (query, key, value)), strict=True)):
        scores = q @ k.T / math.sqrt(q.shape[-1]) + (0.0 if bias is None else bias[head])
        weights = (scores - scores.max(-1, keepdim=True).values).exp()
        mixed.append(weights / weights.sum(-1, keepdim=True) @ v)
    return torch.cat(mixed, -1)


def gelu(x, by_tanh=False):
    """The exact GELU, or its approximation."""
    return F.gelu(x, approximate="tanh") if by_tanh else x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def ragged(lengths, vocabulary, before=0, behind=0, padding=-7):
    """Random tokens, a row of each length; around them padding, which is no token of any model."""
    torch.manual_seed(2)
    wide = before + max(lengths) + behind
    real = torch.tensor([[before <= at < before + length for at in range(wide)] for length in lengths])
    return torch.randint(vocabulary, real.shape).masked_fill(~real, padding), real
