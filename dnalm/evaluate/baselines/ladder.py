"""The baselines that a model of genes and molecules must beat, which need little or no chemistry.

Shapes: N pairs.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Numbers
from dnalm.data.pairs import PairSet, Rows
from dnalm.errors import InputError, counted
from dnalm.evaluate.baselines.boosting import boosting
from dnalm.evaluate.baselines.factorisation import factorisation
from dnalm.evaluate.baselines.neighbours import nearest_molecules
from dnalm.evaluate.baselines.node_rate import node_rate

Baseline = Callable[[PairSet, Rows, Rows, int], Numbers]
"""Maps a set, the rows to learn from, the rows to score [N], and a seed to scores from 0 to 1, [N].

The scores are probabilities where the method gives them.
"""

LADDER: dict[str, Baseline] = {
    "node rate": node_rate,
    "matrix factorisation": factorisation,
    "nearest molecules": nearest_molecules,
    "gradient boosting": boosting,
}
HIDDEN = 255
"""In place of the labels of pairs that are not for training."""


def ladder_scores(
    pairs: PairSet, rows: Rows, seed: int = 0, say: Callable[[str], None] = lambda _name: None
) -> dict[str, Numbers]:
    """Fit every baseline on the training part and return its scores of other pairs `rows`, [N] each.

    `say` is called with the name of a baseline before it is fitted.

    Raises:
        InputError: if the training part has pairs of one class only.
    """
    train = pairs.parts["train"]
    check_classes(pairs.label[train], "training")
    labels = np.full_like(pairs.label, HIDDEN)
    labels[train] = pairs.label[train]
    blind = replace(pairs, label=labels)
    scores = {}
    for name, baseline in LADDER.items():
        say(name)
        scores[name] = baseline(blind, train, rows, seed)
    return scores


def check_classes(label: npt.NDArray[np.uint8], part: str) -> None:
    """Raise InputError if labels of a part, 0 or 1, are of one class, for which no AUROC is defined."""
    if not 0 < int(label.sum()) < len(label):
        raise InputError(
            f"the {part} part has {counted(len(label), 'pair')}, {int(label.sum()):,} of them positive, and "
            "both classes are needed; prepare the pairs again with `negatives` degree-matched, or more pairs"
        )
