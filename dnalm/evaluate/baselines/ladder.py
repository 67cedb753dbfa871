"""The ladder that a model of genes and molecules must climb: baselines that need little or no chemistry.

Shapes used below
    N  pairs
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dnalm.data.pairs import PairSet
from dnalm.errors import InputError
from dnalm.evaluate.baselines.boosting import Boosting
from dnalm.evaluate.baselines.factorisation import Factorisation
from dnalm.evaluate.baselines.neighbours import NearestMolecules
from dnalm.evaluate.baselines.node_rate import NodeRate

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

HIDDEN = 255
"""Stands where the label of a pair that is not for training was."""


class Rung(Protocol):
    """A baseline."""

    name: str

    def fit(self, pairs: PairSet, rows: Rows) -> None:
        """Learn from the pairs of `rows`, all of them of the training part, and from no other pair."""
        ...

    def predict(self, pairs: PairSet, rows: Rows) -> Numbers:
        """Return scores from 0 to 1 for the pairs of `rows`, [N]: probabilities where that makes sense."""
        ...


LADDER: dict[str, Callable[[int], Rung]] = {
    "node rate": lambda _seed: NodeRate(),
    "matrix factorisation": Factorisation,
    "nearest molecules": lambda _seed: NearestMolecules(),
    "gradient boosting": Boosting,
}
"""Makes each rung from a seed."""


def ladder_scores(
    pairs: PairSet, rows: Rows, seed: int = 0, watch: Callable[[str], None] = lambda _name: None
) -> dict[str, Numbers]:
    """Fit every rung on the training part and return its scores of other pairs.

    Args:
        pairs: a prepared set.
        rows: of the pairs to score, N.
        seed: of the rungs that draw.
        watch: called with a rung's name before it is fitted.

    Returns:
        [N] for each rung.

    Raises:
        InputError: if the training part has no pair of one class.
    """
    train = pairs.parts["train"]
    check_classes(pairs)
    labels = np.full_like(pairs.label, HIDDEN)
    labels[train] = pairs.label[train]
    blind = replace(pairs, label=labels)
    found = {}
    for name, make in LADDER.items():
        watch(name)
        rung = make(seed)
        rung.fit(blind, train)
        found[name] = rung.predict(blind, rows)
    return found


def check_classes(pairs: PairSet) -> None:
    """Check that there is something to learn.

    Raises:
        InputError: if the training part has no pair of one class.
    """
    labels = pairs.label[pairs.parts["train"]]
    if labels.any() and not labels.all():
        return
    only = "positive" if labels.any() else "negative"
    raise InputError(
        f"the training part has only {only} pairs, {len(labels):,} of them, and a score needs both kinds; "
        "prepare the pairs again with --negatives degree-matched"
    )
