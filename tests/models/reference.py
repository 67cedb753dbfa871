"""What references of published encoders are written with: it shares no code with the package."""

import math

import torch


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


def norm(x, weight, bias, eps):
    """LayerNorm over the last axis."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight + bias
