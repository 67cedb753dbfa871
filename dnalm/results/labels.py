"""Results of a label curve: `dnalm finetune --label-fractions`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dnalm.bootstrap import Estimate
from dnalm.results.binding import Split
from dnalm.results.schema import check

PRETRAINED = "pretrained"  # The model of a label curve that the others are compared with
RULE = "rule"  # What needs no training in a label curve; several are "rule: NAME"
STRETCH = 3000
"""Bases of a genome whose test windows intervals resample together: neighbours may be of one gene."""


class Saving(NamedTuple):
    """How many times the labels other models need for a score; `at_least`: the largest number is too few."""

    value: float
    low: float
    high: float
    at_least: bool


@dataclass(frozen=True)
class LabelCurve:
    """label_curve_NAME.json, written by `finetune`: scores by the number of labels, F of them, ascending.

    `scores` and `runs` (of each seed) are by model; `minus` is the pretrained model's score minus another's.
    `bases` are those of the training windows and the validation windows together. `RULE` is among the models
    where a rule was given; its score is the same for all F.
    """

    name: str
    split: Split
    core: str
    seeds: list[int]
    windows: list[int]
    validation_windows: list[int]
    bases: list[int]
    scores: dict[str, list[Estimate]]
    runs: dict[str, list[list[float]]]
    minus: dict[str, list[Estimate]]
    saving: list[Saving]

    def __post_init__(self) -> None:
        check(self.scores.keys() == {*self.minus, PRETRAINED}, "minus")
        columns: list[Sequence[object]] = [self.validation_windows, self.bases, self.saving]
        columns += [*self.scores.values(), *self.minus.values()]
        check({len(self.windows)} == {len(each) for each in columns}, "windows")
