"""A pair model on plain strings: the probability that a gene and a molecule interact.

Shapes: n pairs.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from dnalm.data.molecules import canonical_smiles
from dnalm.data.pairs import open_pairs
from dnalm.device import Processor
from dnalm.errors import InputError, counted, shortened
from dnalm.evaluate.pair_scores import probability
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.open import OpenedInteraction
from dnalm.models.pair_shape import PairTexts
from dnalm.process import silent
from dnalm.use.sequences import check_sequences


class PairModel:
    """A model of genes and molecules.

    `pairs` are the prepared pairs that it was trained on, which know genes by their ids; InputError if they
    are others. `cache` is a folder for the states of frozen encoders; a temporary one unless given.
    """

    def __init__(
        self, opened: OpenedInteraction, device: torch.device, pairs: Path | None, cache: Path | None
    ) -> None:
        self.name, self.module, self.device, self._opened = opened.name, opened.model, device, opened
        if opened.temperature is None:
            raise InputError(f"{opened.name}: has no temperature: its training has not ended; resume it")
        self.temperature = opened.temperature
        """What logits are divided by before they become probabilities."""
        if cache is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="dnalm-")
            cache = Path(self._temporary.name)
        self._encoder = InputEncoder(cache, Processor(device.type, "fp32"), silent)
        self._genes: dict[str, str] = {}
        self._canonical: Callable[[str], str | None] = partial(canonical_smiles, **opened.cleaning)
        if pairs is not None:
            known = open_pairs(pairs)
            if known.digest != opened.about.get("set"):
                raise InputError(f"{pairs}: other pairs than those that {opened.name} was trained on")
            self._genes = dict(zip(known.gene_ids, known.sequences, strict=True))
            self._canonical = known.canonical_smiles

    def predict(self, genes: Sequence[str], smiles: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the calibrated probability that each gene interacts with its molecule.

        The probability is that of a set with as large a part of positives as the training set has.

        Args:
            genes: DNA sequences, or ids of the pairs given when the model was loaded; or one for all.
            smiles: molecules as SMILES, as many as genes; or one for all.

        Returns:
            float64, [n].

        Raises:
            InputError: naming the gene or molecule, by its index from 0, that cannot be read.
        """
        longest = max(len(genes), len(smiles))
        if min(len(genes), len(smiles)) not in (1, longest):
            got = f"{counted(len(genes), 'gene')} and {counted(len(smiles), 'molecule')}"
            raise InputError(f"expected as many molecules as genes, or one of either, got {got}")
        sequences, gene = np.unique([self._sequence(*each) for each in enumerate(genes)], return_inverse=True)
        texts, molecule = np.unique(
            [self._molecule(*each) for each in enumerate(smiles)], return_inverse=True
        )
        predictor = self._opened.predictor(self._encoder, PairTexts(sequences.tolist(), texts.tolist()))
        rows = (np.broadcast_to(each, longest).astype(np.int64) for each in (gene, molecule))
        return probability(predictor(*rows), self.temperature)

    def _sequence(self, index: int, gene: str) -> str:
        """Return the sequence of a gene, given by its id or as letters; `index` names it in an error."""
        if gene in self._genes:
            return self._genes[gene]
        try:
            check_sequences([gene])
        except InputError as error:
            ids = "it is no id of `pairs`, the folder of prepared pairs that the model was trained on, either"
            raise InputError(f"gene {index}: {error}; {ids}") from None
        return gene.upper()

    def _molecule(self, index: int, smiles: str) -> str:
        """Return the canonical SMILES of a molecule; `index` names it in an error."""
        canonical = self._canonical(smiles)
        if canonical is None:
            raise InputError(f"molecule {index}: expected SMILES, got {shortened(smiles, 60)!r}")
        return canonical
