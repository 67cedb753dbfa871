"""A binding model on plain strings: the predicted score at each base.

Shapes: L letters of a sequence.
"""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dnalm.models.open import OpenedBinding
from dnalm.results_use import Explanation, VariantScores
from dnalm.use.sequences import check_sequences, computing


class BindingModel:
    """A model of a score at each base, such as transcription-factor binding."""

    batch_size = 64  # sequences that are computed at once

    def __init__(self, opened: OpenedBinding, device: torch.device, precision: str = "fp32") -> None:
        self.name, self.module, self.device = opened.name, opened.model.to(device).eval(), device
        self.precision = precision
        self.longest = opened.model.shape.longest
        """Most bases that it reads at once; None for any number."""
        self.both_strands = opened.model.shape.tuning.both_strands
        """Whether it reads the reverse complement too; it does so by itself."""
        self.context = opened.model.shape.context or self.longest
        """Bases of a window that holds all that the base in its middle changes, and what decides there."""

    @torch.no_grad()
    def predict(self, sequences: Sequence[str]) -> list[npt.NDArray[np.float32]]:
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
        texts = [np.frombuffer(sequence.upper().encode("ascii"), np.uint8) for sequence in sequences]
        scores: dict[int, npt.NDArray[np.float32]] = {}
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for _, same in itertools.groupby(order, key=lambda index: len(texts[index])):
            while some := list(itertools.islice(same, self.batch_size)):
                tokens = self.module.shape.tokens(np.stack([texts[index] for index in some]))
                with computing(self.device, self.precision):
                    found = self.module(tokens.to(self.device)).float().cpu().numpy()
                scores |= zip(some, found, strict=True)
        return [scores[index] for index in range(len(texts))]

    def explain(self, sequences: Sequence[str], **how: Any) -> list[Explanation]:
        """Explain the sum of the track of each sequence, see `dnalm.use.explain.explain`."""
        from dnalm.use.explain import explain

        return explain(self, sequences, **how)

    def score_variants(
        self, genome: str | Path, variants: str | Path | Iterable[tuple[str, int, str, str]], **how: Any
    ) -> VariantScores:
        """Return DMAX, DSUM, GAINED and LOST of variants, see `dnalm.use.variant_scores.score_variants`."""
        from dnalm.use.variant_scores import score_variants

        return score_variants(self, genome, variants, **how)
