"""The combiner of a combined model: fitted to pairs that no member has seen, for each state by itself.

Shapes: n pairs; C columns of a pair; D columns and their products.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Numbers
from dnalm.data.pairs import Rows
from dnalm.errors import import_extra
from dnalm.evaluate.pair_scores import Labels, cross_entropy, probability
from dnalm.models.combined import STATES, Combiner
from dnalm.models.pair_knowledge import COLUMNS, SCORES

MIN_PAIRS = 100
"""Validation pairs, a fifth of them of each class, without which no combiner is fitted."""
MIN_STATE = 1000
"""Validation pairs of a state for a combiner of its own; fewer are completed from the training part."""
FOLDS = 5
CONSTANT = 1e-9
"""Standard deviation up to which a column is constant but for rounding, and is left out."""
PENALTIES = (1e1, 1e2, 1e3)
"""L2 penalties of the weights where nothing is new, for standardised columns and a loss summed over pairs;
validation chooses."""
WEIGHT_SPREAD, PREVALENCE_SPREAD = 1.0, 0.1
"""Where a node is new: standard deviation of the normal distributions, cut at 0, that weights are believed to
come from, and of the one about the log-odds of the set's prevalence that the intercept comes from."""
SCORE_COLUMNS = [COLUMNS.index(name) for names in SCORES.values() for name in names]
"""Columns that are higher for likelier pairs; where a node is new, these and neural members alone count."""
UNITS = {"known": (1,), "new molecule": (1,), "new gene": (0,), "both new": (0, 1)}
"""Which kinds of `Examples.units` hold what a state has of new: pairs of one unit are not independent."""


@dataclass(frozen=True)
class Examples:
    """Pairs that no member has seen, with what members say of them."""

    columns: Numbers  # [n, C]
    state: Rows  # [n]
    label: Labels  # [n]
    units: Rows  # [n, 2]: cluster of the gene; molecule, or its scaffold where the split holds those out

    def take(self, rows: npt.NDArray[Any]) -> "Examples":
        """Return some of them."""
        return Examples(self.columns[rows], self.state[rows], self.label[rows], self.units[rows])

    def joined(self, other: "Examples") -> "Examples":
        """Return these and then those of another, whose missing last columns are 0."""
        missing = self.columns.shape[1] - other.columns.shape[1]
        columns = np.pad(other.columns, ((0, 0), (0, missing)))
        return Examples(
            np.concatenate([self.columns, columns]),
            np.concatenate([self.state, other.state]),
            np.concatenate([self.label, other.label]),
            np.concatenate([self.units, other.units]),
        )


def fit_combiner(
    validation: Examples, held: Examples, prevalence: float, seed: int = 0
) -> tuple[Combiner, Numbers, dict[str, dict[str, Any]]]:
    """Fit a combiner to validation pairs; a state with few of them is completed with pairs `held` of it.

    Neural members have seen the pairs `held`, and are left out of the states that need them. `prevalence` is
    the set's fraction of positives.

    Returns:
        The combiner; cross-validated logits of the validation pairs, [n]; and how each state was fitted:
        pairs, their effective number, cross-validated loss, and where nothing is new penalty and products.
    """
    width, states = validation.columns.shape[1], len(STATES)
    combiner = Combiner(
        np.zeros((states, width)),
        np.zeros((states, width)),
        np.zeros((states, width)),
        np.zeros((states, width, width)),
        np.zeros(states),
    )
    logits, fitted = np.zeros(len(validation.label)), {}
    for state, name in enumerate(STATES):
        own = np.flatnonzero(validation.state == state)
        examples, columns, rows = validation.take(own), width, np.arange(len(own))
        if len(own) < MIN_STATE:
            examples, columns = examples.joined(held.take(held.state == state)), len(COLUMNS)
        if not is_enough(examples.label):
            examples, columns, rows = validation.joined(held), len(COLUMNS), own
        held_out, fitted[name] = _fit_state(combiner, state, examples, columns, prevalence, seed)
        logits[own] = held_out[rows]
    return combiner, logits, fitted


def is_enough(label: Labels) -> bool:
    """Return whether a combiner can be fitted to pairs of these labels."""
    return min(label.sum(), len(label) - label.sum()) >= MIN_PAIRS // 5 and len(label) >= MIN_PAIRS


def _fit_state(
    combiner: Combiner, state: int, examples: Examples, columns: int, prevalence: float, seed: int
) -> tuple[Numbers, dict[str, Any]]:
    """Fit one state of a combiner in place to the first `columns` columns of pairs.

    Returns:
        Cross-validated logits, [n], and how the state was fitted.
    """
    x, rows = examples.columns[:, :columns], slice(columns)
    spread = x.std(axis=0)
    combiner.mean[state, rows] = x.mean(axis=0)
    combiner.scale[state, rows] = np.where(spread > CONSTANT, spread, 0.0)
    z = combiner.standardised(examples.columns, np.full(len(x), state))[:, rows]
    repeats, kind = max((design_effect(examples.units[:, kind]), kind) for kind in UNITS[STATES[state]])
    fits = [partial(_fit_new, log_odds=float(np.log(prevalence / (1 - prevalence))), repeats=repeats)]
    if STATES[state] == "known":
        settings = product(PENALTIES, (False, True))
        fits = [partial(_fit_known, penalty=penalty, products=products) for penalty, products in settings]
    folds = _folds(examples.units[:, kind], seed)
    held_out = [_out_of_fold(fit, z, examples.label, folds) for fit in fits]
    losses = [cross_entropy(examples.label, logits) for logits in held_out]
    best = int(np.argmin(losses))
    fit = fits[best]
    weights, combiner.intercept[state] = fit(z, examples.label)
    combiner.linear[state, rows] = weights[:columns]
    if len(weights) > columns:
        upper = np.zeros((columns, columns))
        upper[np.triu_indices(columns)] = weights[columns:]
        combiner.quadratic[state, rows, rows] = (upper + upper.T) / 2
    how = {"pairs": len(x), "effective_pairs": len(x) / repeats, "loss": losses[best]}
    if STATES[state] == "known":
        how |= fit.keywords
    return held_out[best], how


def design_effect(unit: Rows) -> float:
    """Return how many pairs of a unit, [n], count as one independent pair (Kish 1965).

    A thousand pairs of one molecule say of new molecules little more than one. It is the mean, over pairs, of
    the size of the pair's unit.
    """
    sizes = np.unique(unit, return_counts=True)[1]
    return float((sizes**2).sum() / sizes.sum())


def _folds(unit: Rows, seed: int) -> list[tuple[Rows, Rows]]:
    """Return rows to fit to and rows to predict, of `FOLDS` folds; no unit is in two."""
    selection = import_extra("sklearn.model_selection", "interaction", "a combined model")
    splitter = selection.GroupKFold(min(FOLDS, len(np.unique(unit))), shuffle=True, random_state=seed)
    return [*splitter.split(unit, groups=unit)]


Fit = Callable[[Numbers, Labels], tuple[Numbers, float]]
"""Maps standardised columns and labels to weights, further ones being of products, and the intercept."""


def _out_of_fold(fit: Fit, z: Numbers, label: Labels, folds: list[tuple[Rows, Rows]]) -> Numbers:
    """Return the logits of standardised columns, [n], each by a fit to the other folds."""
    logits = np.zeros(len(label))
    for train, test in folds:
        weights, intercept = fit(z[train], label[train])
        logits[test] = _design(z[test], products=len(weights) > z.shape[1]) @ weights + intercept
    return logits


def _design(z: Numbers, products: bool) -> Numbers:
    """Return standardised columns [n, C], and the products of each two of them if wanted, [n, D]."""
    if not products:
        return z
    one, other = np.triu_indices(z.shape[1])
    return np.concatenate([z, z[:, one] * z[:, other]], axis=1)


def _fit_known(z: Numbers, label: Labels, penalty: float, *, products: bool) -> tuple[Numbers, float]:
    """Return the weights of columns, then of products of each two, and the intercept.

    The penalty decides how the columns are weighed; the slope of their sum is then fitted without it, so that
    the probabilities are calibrated.
    """
    x = _design(z, products)
    if not 0 < label.sum() < len(label):  # a fold of one class
        return np.zeros(x.shape[1]), 0.0
    linear = import_extra("sklearn.linear_model", "interaction", "a combined model")
    weights = linear.LogisticRegression(C=1 / penalty, max_iter=1000).fit(x, label).coef_[0]
    total = x @ weights
    spread = float(total.std()) or 1.0
    slope = linear.LogisticRegression(C=1 / PENALTIES[0]).fit(total[:, None] / spread, label)
    return weights * float(slope.coef_[0, 0]) / spread, float(slope.intercept_[0])


def _fit_new(z: Numbers, label: Labels, *, log_odds: float, repeats: float) -> tuple[Numbers, float]:
    """Return the weights of columns and the intercept where a node is new.

    They are the likeliest a posteriori: `repeats` pairs count as one, weights are not negative, and the
    intercept is near the log-odds of the set's prevalence. Few new molecules tell little of the next one;
    their own prevalence would be taken for that of all.
    """
    optimize = import_extra("scipy.optimize", "interaction", "a combined model")
    used = np.array([*SCORE_COLUMNS, *range(len(COLUMNS), z.shape[1])])
    x, precision = z[:, used], np.full(len(used) + 1, WEIGHT_SPREAD**-2)
    precision[-1] = PREVALENCE_SPREAD**-2

    def objective(values: Numbers) -> tuple[float, Numbers]:
        """Return the negative log posterior of weights and the intercept's distance, and its gradient."""
        logits = x @ values[:-1] + log_odds + values[-1]
        error = probability(logits) - label
        slopes = np.append(error @ x, error.sum()) / repeats
        loss = cross_entropy(label, logits) * len(label) / repeats + 0.5 * precision @ values**2
        return float(loss), slopes + precision * values

    bounds = [(0.0, None)] * len(used) + [(None, None)]
    values = optimize.minimize(objective, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds).x
    weights = np.zeros(z.shape[1])
    weights[used] = values[:-1]
    return weights, log_odds + float(values[-1])
