"""A binding model on plain strings: the predicted score at each base.

Shapes: L letters of a sequence.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dnalm.data.labels import rename_rule
from dnalm.formats.indexed import IndexedGenome
from dnalm.models.open import OpenedBinding
from dnalm.results.use import Explanation, VariantScores
from dnalm.use.predict import predict_regions, tiling_of
from dnalm.use.regions import Region, Regions
from dnalm.use.sequences import check_sequences, computing


class BindingModel:
    """A model of a score at each base, such as transcription-factor binding."""

    batch_size = 64  # sequences that are computed at once

    def __init__(self, opened: OpenedBinding, device: torch.device, precision: str = "fp32") -> None:
        self.name, self.module, self.device = opened.name, opened.model.to(device).eval(), device
        self.precision = precision
        self.longest = opened.model.shape.longest
        """Most bases that it reads at once; None for any number."""
        self.reach = opened.model.shape.reach
        """Bases to either side of a base on which its score depends; None for all of the window."""
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

    def predict_regions(
        self,
        genome: str | Path,
        regions: str | Path | None = None,
        *,
        both_strands: bool = False,
        window: int | None = None,
        stride: int | None = None,
        rename: str | None = None,
    ) -> Iterator[tuple[Region, npt.NDArray[np.float32]]]:
        """Yield regions of a genome in the order of the file, each with the score at each of its bases.

        A score depends on the genome, `window` and `stride`, not on the regions: overlapping ones agree.

        Args:
            genome: FASTA (plain, gzip or bgzip) or .2bit.
            regions: BED; unless given each contig in full.
            both_strands: average the scores of the sequence and of its reverse complement.
            window: bases that the model reads at once; unless given the most that it can, or 512.
            stride: bases from a window to the next; less is slower and smoother.
            rename: chr, or a file of names, see `dnalm.data.labels.rename_rule`.

        Returns:
            Region (0-based, half-open) and float32 [L]; NaN at letters that are no A, C, G or T. Regions of
            no length, beyond their contig or of another contig are left out.

        Raises:
            InputError: if a file is damaged, no region can be used, or `window` or `stride` is out of range.
        """
        tiling = tiling_of(self, window, stride)
        with IndexedGenome(Path(genome)) as opened:
            wanted = Regions(opened, Path(regions) if regions is not None else None, rename_rule(rename))
            yield from predict_regions(self, opened, wanted, tiling, both_strands=both_strands)
