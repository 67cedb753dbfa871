"""A binding model on plain strings: the predicted score at each base.

Shapes used below
    L  letters of a sequence
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from dnalm.models.open import OpenedBinding
from dnalm.use.sequences import check_sequences

Array = npt.NDArray[np.float32]


class BindingModel:
    """A model of a score at each base, such as transcription-factor binding."""

    def __init__(self, opened: OpenedBinding, device: torch.device, batch_size: int = 64) -> None:
        self.name, self.module = opened.name, opened.model.to(device).eval()
        self.device, self.batch_size = device, batch_size
        self.longest = opened.model.shape.longest
        """Most bases that it reads at once; None for any number."""
        self.both_strands = opened.model.shape.tuning.both_strands
        """Whether it reads the reverse complement too; it does so by itself."""

    @torch.no_grad()
    def predict(self, sequences: Sequence[str]) -> list[Array]:
        """Return the predicted score at each base, as it was in training.

        Args:
            sequences: DNA in IUPAC letters; the case does not matter. A letter that is no base is read as
                in training: as N, or where the vocabulary has none as A.

        Returns:
            float32, [L] for each sequence.

        Raises:
            InputError: naming the sequence, by its index from 0, that is empty, too long for the model, or
                has other letters.
        """
        check_sequences(sequences, self.longest)
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        scores: list[Array] = [np.empty(0, dtype=np.float32)] * len(sequences)
        for _, group in itertools.groupby(order, key=lambda index: len(sequences[index])):
            same = list(group)
            for first in range(0, len(same), self.batch_size):
                some = same[first : first + self.batch_size]
                letters = np.stack(
                    [np.frombuffer(sequences[i].upper().encode("ascii"), np.uint8) for i in some]
                )
                found = self.module(self.module.shape.tokens(letters).to(self.device)).float().cpu().numpy()
                for index, row in zip(some, found, strict=True):
                    scores[index] = row
        return scores
