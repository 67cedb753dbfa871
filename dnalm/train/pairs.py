"""Do a gene and a molecule interact: pairs + two encoders + pair head + cross-entropy + AUROC.

Shapes used below
    N  pairs                         B  pairs, genes or molecules in the batch
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.data.pair_batches import PairBatch, PairBatches, PairRows, PairTokens
from dnalm.errors import InputError
from dnalm.evaluate.auroc import auroc
from dnalm.models.pair import predict
from dnalm.models.pair_shape import InteractionShape

Numbers = npt.NDArray[np.float64]

TRAIN_SAMPLE = 4096
"""Training pairs on which the training loss is measured at each evaluation, evenly spread."""


class InteractionTask:
    """Tell pairs that interact from those that do not; what the training loop needs to know of it.

    Args:
        shape: of the model.
        tokens: of the set's genes and molecules.
        train: the training pairs.
        validation: the validation pairs, of both classes.
        about: JSON values that are saved with the model: how it was trained, for results.
        early: kept states in the place of tokens in the first epochs, where encoders are frozen that long.
        early_epochs: how many those are.

    Raises:
        InputError: if a part has pairs of one class alone.
    """

    unit = "pairs"

    def __init__(
        self,
        shape: InteractionShape,
        tokens: PairTokens,
        train: PairRows,
        validation: PairRows,
        about: Mapping[str, Any] | None = None,
        *,
        early: PairTokens | None = None,
        early_epochs: int = 0,
    ) -> None:
        for name, part in (("training", train), ("validation", validation)):
            check_classes(part.label, name)
        self.shape, self.tokens, self.train, self.validation = shape, tokens, train, validation
        self.about = dict(about or {})
        self._early, self._early_epochs = early, early_epochs
        self._sample = train.take(np.arange(len(train))[:: -(-len(train) // TRAIN_SAMPLE)])

    def windows(self, batch_size: int, seed: int) -> PairBatches:
        """Return the training batches."""
        return PairBatches(
            self.tokens, self.train, batch_size, seed, early=self._early, early_epochs=self._early_epochs
        )

    def loss(self, model: nn.Module, batch: PairBatch) -> Tensor:
        """Return the mean cross-entropy of the batch, in nats a pair."""
        return F.binary_cross_entropy_with_logits(model(*batch[:-1]).float(), batch.labels)

    def loss_weight(self, batch: PairBatch) -> float:
        """Return what the loss is a mean over: pairs."""
        return float(len(batch.labels))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score `model` on a fixed sample of the training pairs and on all validation pairs.

        Returns:
            `train_loss` and `val_bce`, cross-entropies in nats a pair; `val_auroc`; and `val_loss`, which
            is 1 - AUROC: it chooses the best weights. NaN where a logit is not finite.
        """
        sample = self._predict(model, self._sample)
        logits = self._predict(model, self.validation)
        area = auroc(self.validation.label, logits)
        return {
            "train_loss": cross_entropy(self._sample.label, sample),
            "val_bce": cross_entropy(self.validation.label, logits),
            "val_auroc": area,
            "val_loss": 1.0 - area,
        }

    def _predict(self, model: nn.Module, pairs: PairRows) -> Numbers:
        return predict(model, self.tokens, pairs.gene, pairs.molecule, together=True)

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return every tensor of the model, running statistics of batch normalisation among them."""
        return dict(model.state_dict())

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again."""
        return {"kind": "interaction", **self.shape.as_dict(), "about": self.about}


def check_classes(label: npt.NDArray[np.uint8], part: str) -> None:
    """Refuse a part that has no AUROC.

    Raises:
        InputError: if its labels are not of both classes.
    """
    if not 0 < int(label.sum()) < len(label):
        raise InputError(
            f"the {part} part has {len(label):,} pairs, {int(label.sum()):,} of them positive: AUROC is not "
            "defined without both classes; prepare the pairs with --negatives degree-matched, or more of them"
        )


def cross_entropy(label: npt.NDArray[np.uint8], logits: Numbers) -> float:
    """Return the mean cross-entropy in nats a pair."""
    return float((np.logaddexp(0.0, logits) - label * logits).mean())
