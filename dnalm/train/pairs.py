"""Do a gene and a molecule interact: pairs + two encoders + pair head + cross-entropy + AUROC.

Shapes used below
    N  pairs                         B  pairs, genes or molecules in the batch
    L  tokens per gene or molecule   D  width of one's vector
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import process
from dnalm.data.pair_batches import PairBatch, PairBatches, PairRows, PairTokens, Source
from dnalm.errors import InputError
from dnalm.models.heads import Side
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.tuned import TunedEncoder
from dnalm.models.windowed import CurrentStates

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

ENCODE_BATCH = 128
"""Genes or molecules encoded at a time in prediction: no result depends on it."""
CLASSIFY_BATCH = 8192
"""Pairs classified at a time."""
ATTEND_BATCH = 256
"""Pairs classified at a time where states attend to states."""
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

    def counted(self, batch: PairBatch) -> float:
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


def auroc(label: npt.NDArray[np.uint8], score: Numbers) -> float:
    """Return the area under the ROC curve, ties counted half; NaN if a score is not finite.

    It is Mann and Whitney's U (1947) over its largest value: torchmetrics computes it in float32, and of
    scores outside 0 to 1 after a sigmoid that makes ties of large logits.
    """
    if not np.isfinite(score).all():
        return math.nan
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1; tied scores share the mean of theirs
    positives = int(label.sum())
    won = rank[label == 1].sum() - positives * (positives + 1) / 2
    return float(won / (positives * (len(label) - positives)))


def cross_entropy(label: npt.NDArray[np.uint8], logits: Numbers) -> float:
    """Return the mean cross-entropy in nats a pair."""
    return float((np.logaddexp(0.0, logits) - label * logits).mean())


@torch.no_grad()
def predict(
    model: nn.Module, tokens: PairTokens, gene: Rows, molecule: Rows, *, together: bool = False
) -> Numbers:
    """Return the logits of pairs, computed in full precision.

    Where a head makes one vector of each gene and molecule, each is encoded once; whatever the head, so it is
    by a pretrained encoder that is trained.

    Args:
        model: an `InteractionModel`, or what the training loop made of one.
        tokens: of a set's genes and molecules.
        gene: rows of the genes, [N].
        molecule: rows of the molecules, [N].
        together: whether all processes of the run ask for the same at once: each then does its share.

    Returns:
        float64, [N].
    """
    if together and process.current().world_size > 1:
        info, by_gene = process.current(), np.argsort(gene, kind="stable")  # a gene's pairs together
        shares, logits = np.array_split(by_gene, info.world_size), np.zeros(len(gene))
        own = shares[info.rank]
        parts = process.all_gather(predict(model, tokens, gene[own], molecule[own]))
        for share, part in zip(shares, parts, strict=True):
            logits[share] = part
        return logits
    inner = getattr(model, "module", model)  # without autocast, so that results are those of an opened model
    assert isinstance(inner, InteractionModel)
    was_training = inner.training
    inner.eval()
    tokens = _now(inner, tokens, gene, molecule)
    logits = np.zeros(len(gene))
    if inner.head.one_vector and len(gene):
        genes, of_gene, molecules, of_molecule = _both(inner, tokens, gene, molecule)
        for at in range(0, len(gene), CLASSIFY_BATCH):
            rows = slice(at, at + CLASSIFY_BATCH)
            logits[rows] = _numbers(inner.head(genes, molecules, of_gene[rows], of_molecule[rows]))
    else:
        order = np.lexsort((tokens.molecules.lengths(molecule), gene))  # a gene's pairs together
        for at in range(0, len(order), ATTEND_BATCH):
            some = order[at : at + ATTEND_BATCH]
            genes, of_gene, molecules, of_molecule = _both(inner, tokens, gene[some], molecule[some])
            logits[some] = _numbers(inner.head(genes, molecules, of_gene, of_molecule))
    inner.train(was_training)
    return logits


def _numbers(logits: Tensor) -> Numbers:
    found: Numbers = logits.double().cpu().numpy()
    return found


def _now(model: InteractionModel, tokens: PairTokens, gene: Rows, molecule: Rows) -> PairTokens:
    """Return the same with the states that the model's own pretrained encoders make now for tokens."""
    genes, molecules = tokens.genes, tokens.molecules
    if isinstance(model.gene, TunedEncoder):
        genes = CurrentStates(model.gene, genes, np.unique(gene))
    if isinstance(model.molecule, TunedEncoder):
        molecules = CurrentStates(model.molecule, molecules, np.unique(molecule))
    return replace(tokens, genes=genes, molecules=molecules)


def _both(
    model: InteractionModel, tokens: PairTokens, gene: Rows, molecule: Rows
) -> tuple[Side, Tensor, Side, Tensor]:
    """Return both sides of pairs, each with which of it is each pair's."""
    return (
        *_sides(model.gene_side, tokens.genes, tokens.genes.take, gene, model),
        *_sides(model.molecule_side, tokens.molecules, tokens.take_molecules, molecule, model),
    )


def _sides(
    encode: Callable[..., Side],
    source: Source,
    take: Callable[[Rows], tuple[Tensor, ...]],
    rows: Rows,
    model: InteractionModel,
) -> tuple[Side, Tensor]:
    """Return the sides of the distinct among `rows`, and which of them is each row's, [N]."""
    device = next(model.parameters()).device
    distinct, which = np.unique(rows, return_inverse=True)
    order = np.argsort(source.lengths(distinct), kind="stable")  # like lengths together: little padding
    parts = []
    for at in range(0, len(order), ENCODE_BATCH):
        taken = take(distinct[order[at : at + ENCODE_BATCH]])
        parts.append(encode(*(each.to(device) for each in taken)))
    longest = max(part.states.shape[1] for part in parts)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    found = Side(
        torch.cat([F.pad(part.states.float(), (0, 0, 0, longest - part.states.shape[1])) for part in parts]),
        torch.cat([F.pad(part.real, (0, longest - part.real.shape[1])) for part in parts]),
    )
    return found, torch.from_numpy(place[which]).to(device)
