"""A pair model on plain strings: the probability that a gene and a molecule interact.

Shapes used below
    n  pairs
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from dnalm.data.molecules import canonical_smiles
from dnalm.data.pairs import open_pairs
from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.evaluate.pair_scores import probability
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.open import OpenedInteraction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import PairTexts
from dnalm.use.sequences import LETTERS, check_sequences


class PairModel:
    """A model of genes and molecules.

    Args:
        opened: the model.
        device: where to compute.
        pairs: the prepared pairs that it was trained on, which know genes by their ids.
        cache: a folder for the states of frozen encoders, so that each text is encoded once; a temporary one
            unless given.

    Raises:
        InputError: if the model was trained on other pairs than `pairs`.
    """

    def __init__(
        self, opened: OpenedInteraction, device: torch.device, pairs: Path | None, cache: Path | None
    ) -> None:
        self.name, self.module, self.device = opened.name, opened.model.to(device).eval(), device
        if opened.temperature is None:
            raise InputError(f"{opened.name}: has no temperature: its training has not ended; resume it")
        self.temperature = opened.temperature
        """What logits are divided by before they become probabilities."""
        self._temporary = tempfile.TemporaryDirectory(prefix="dnalm-") if cache is None else None
        folder = Path(self._temporary.name) if self._temporary else cache
        assert folder is not None
        self._encoder = InputEncoder(folder, Processor(device.type, "fp32"), lambda _message: None)
        self._genes: dict[str, str] = {}
        if pairs is not None:
            known = open_pairs(pairs)
            if known.digest != opened.about.get("set"):
                raise InputError(f"{pairs}: other pairs than those that {opened.name} was trained on")
            self._genes = dict(zip(known.gene_ids, known.sequences, strict=True))

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
            raise InputError(
                f"expected as many molecules as genes, or one of either, got {len(genes)} genes and "
                f"{len(smiles)} molecules"
            )
        sequences, gene = np.unique([self._sequence(*each) for each in enumerate(genes)], return_inverse=True)
        molecules, molecule = np.unique(
            [_canonical(*each) for each in enumerate(smiles)], return_inverse=True
        )
        texts = PairTexts(sequences.tolist(), molecules.tolist())
        tokens = self._encoder.tokens(self.module.shape, texts)
        rows = (np.broadcast_to(each, longest).astype(np.int64) for each in (gene, molecule))
        return probability(predict(self.module, tokens, *rows), self.temperature)

    def _sequence(self, index: int, gene: str) -> str:
        if gene in self._genes:
            return self._genes[gene]
        if not set(gene) <= LETTERS and not self._genes:
            raise InputError(
                f"gene {index}: {gene[:40]!r} is no DNA sequence; to use ids give `pairs`, the folder of "
                "prepared pairs that the model was trained on"
            )
        if not set(gene) <= LETTERS:
            raise InputError(f"gene {index}: {gene[:40]!r} is neither an id of the pairs nor a DNA sequence")
        try:
            check_sequences([gene])
        except InputError as error:
            raise InputError(f"gene {index}: {error}") from None
        return gene.upper()


def _canonical(index: int, smiles: str) -> str:
    canonical = canonical_smiles(smiles)
    if canonical is None:
        raise InputError(f"molecule {index}: expected SMILES, got {smiles[:60]!r}")
    return canonical
