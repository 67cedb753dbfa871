"""DeepLIFT with references of shuffled sequences (Shrikumar et al. 2017), for models that read one-hot bases.

Shapes: B sequences; L bases; K references.
"""

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dnalm.dna import BASES, encode, other_strand
from dnalm.errors import import_extra
from dnalm.models.binding import BindingModel

REFERENCES = 20
"""Shuffles of a sequence that keep its dinucleotides (K)."""


class Contributions(NamedTuple):
    """What DeepLIFT says of one sequence, as the model reads each strand."""

    values: npt.NDArray[np.float32]  # [2, L, 4]: of each base, if it were there
    reference: float  # Mean output of the references
    delta: float
    """Convergence: mean absolute error of the sum of the contributions, over the mean absolute difference of
    the output from the references."""


class OneHotModel(nn.Module):
    """A binding model of a CNN that maps one-hot bases, float [B, 4, L], to the sums of its tracks, [B, 1].

    It has the weights of the model, and a module for each function that DeepLIFT has a rule for.
    """

    def __init__(self, model: BindingModel) -> None:
        super().__init__()
        head = model.head
        self.first, self.norm, self.second, self.last = (
            model.encoder.initial_conv,
            head.layer_norm,
            head.conv1d,
            head.fc,
        )
        self.below, self.above = nn.GELU(), nn.GELU()
        self.both_strands = model.shape.tuning.both_strands

    def forward(self, bases: Tensor) -> Tensor:
        """Map one-hot bases to sums."""
        states = self.below(self.first(bases)).transpose(1, 2)
        if self.both_strands:
            other = self.below(self.first(bases.flip(1, 2))).transpose(1, 2).flip(1)
            states = torch.cat([states, other], dim=-1)
        hidden = self.above(self.second(self.norm(states).transpose(1, 2))).transpose(1, 2)
        sums: Tensor = self.last(hidden).sum(1)
        return sums


def deeplift(model: BindingModel, sequence: str, device: torch.device) -> Contributions:
    """Return DeepLIFT's contributions to the sum of the track of a sequence of A, C, G and T.

    Raises:
        InputError: if tangermeme is not installed.
    """
    tangermeme = import_extra("tangermeme.deep_lift_shap", "explain", "DeepLIFT")
    one_hot = OneHotModel(model)
    strands, errors, differences, references = [], [], [], []
    for text in (sequence, other_strand(sequence)):
        bases = torch.eye(len(BASES))[torch.from_numpy(encode(text).astype(np.int64))].T[None]  # [1, 4, L]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the deltas, which are reported
            multipliers, shuffled = tangermeme.deep_lift_shap(
                one_hot,
                bases,
                n_shuffles=REFERENCES,
                return_references=True,
                raw_outputs=True,
                device=device,
                random_state=0,
            )
        factors, shuffled = multipliers[0].cpu(), shuffled[0].cpu()  # [K, 4, L] each
        with torch.no_grad():
            outputs = one_hot(torch.cat([bases, shuffled]).to(device))[:, 0].cpu()
        difference = outputs[0] - outputs[1:]  # [K]
        errors.append(((bases - shuffled) * factors).sum((1, 2)) - difference)
        differences.append(difference)
        references.append(outputs[1:])
        values = (factors - (shuffled * factors).sum(1, keepdim=True)).mean(0).T.numpy()  # [L, 4]
        strands.append(values if text is sequence else values[::-1, ::-1])
    scale = float(torch.cat(differences).abs().mean())
    delta = float(torch.cat(errors).abs().mean()) / scale if scale else float("nan")
    return Contributions(np.stack(strands), float(torch.cat(references).mean()), delta)
