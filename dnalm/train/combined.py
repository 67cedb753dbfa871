"""Fitting a combined model of pairs: members on training pairs, a combiner on pairs that no member has seen.

Shapes: n pairs; C columns of a pair; D columns and their products.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm import checkpoint, process
from dnalm.bootstrap import Numbers
from dnalm.data.molecules import fingerprints
from dnalm.data.pairs import PairSet, Rows, open_pairs
from dnalm.device import Processor
from dnalm.errors import InputError, counted, import_extra
from dnalm.evaluate.auroc import auroc
from dnalm.evaluate.baselines.boosting import fit_trees
from dnalm.evaluate.baselines.factorisation import factors
from dnalm.evaluate.baselines.ladder import check_classes
from dnalm.evaluate.baselines.node_rate import node_rate
from dnalm.evaluate.pair_scores import interaction_scores, probability
from dnalm.files import lock
from dnalm.models.combined import STATES, CombinedModel, CombinedPredictor, Combiner
from dnalm.models.identity import digests
from dnalm.models.input_encoder import InputEncoder, store_of
from dnalm.models.open import open_interaction, unique_names
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_knowledge import COLUMNS, PairKnowledge
from dnalm.process import Say, silent
from dnalm.record import Record
from dnalm.results import write
from dnalm.train.resume import BEST, clear_run
from dnalm.train.run import DEFAULT_RUN, RunConfig, check_run_folder

Labels = npt.NDArray[np.uint8]

RESULTS = "results.json"
MIN_PAIRS = 100
"""Validation pairs, a fifth of them of each class, without which no combiner is fitted."""
MIN_STATE = 1000
"""Validation pairs of a state for a combiner of its own; fewer are completed from the training part."""
HELD_NODES, HELD_PAIRS = 0.2, 0.1
"""Fractions of genes, of molecules, and of the other training pairs that members are fitted without, to learn
how they do on what is new."""
FOLDS = 5
CONSTANT = 1e-9
"""Standard deviation up to which a column is constant but for rounding, and is left out."""
PENALTIES = (1e1, 1e2, 1e3)
"""L2 penalties of the combiner, for standardised columns and a loss summed over pairs; validation chooses."""


@dataclass(frozen=True)
class CombinedConfig:
    """Data and members of a combined model."""

    data: Path
    out: Path
    members: tuple[Path, ...] = ()  # Folders of neural models trained on the same pairs
    store: Path | None = None  # Of states of their frozen encoders; beside `data` unless given


def fit_knowledge(pairs: PairSet, rows: Rows, seed: int) -> PairKnowledge:
    """Fit what is known of pairs to the pairs `rows`."""
    positive = rows[pairs.label[rows] == 1]
    left, right = factors(pairs, positive, np.ones(len(positive)), seed=seed)
    return PairKnowledge(
        genes=digests(pairs.sequences),
        clusters=pairs.clusters,
        molecules=digests(pairs.smiles),
        bits=np.packbits(fingerprints(pairs.smiles), axis=1),
        gene=pairs.gene[rows],
        molecule=pairs.molecule[rows],
        label=pairs.label[rows],
        gene_factors=np.ascontiguousarray(left),
        molecule_factors=np.ascontiguousarray(right),
        trees=fit_trees(pairs, rows, seed),
    )


def held_out(pairs: PairSet, rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Divide training pairs into those to fit members to and those to learn how they do on what is new.

    All pairs of `HELD_NODES` of the genes (clusters of them) and of the molecules are held out, and some of
    the other pairs.
    """
    draws = np.random.default_rng(seed)

    def some(node: Rows) -> npt.NDArray[np.bool_]:
        distinct = np.unique(node)
        chosen = draws.choice(distinct, round(HELD_NODES * len(distinct)), replace=False)
        return np.isin(node, chosen)

    held = some(pairs.clusters[pairs.gene[rows]]) | some(pairs.molecule[rows])
    held |= draws.random(len(rows)) < HELD_PAIRS
    return rows[~held], rows[held]


@dataclass(frozen=True)
class Examples:
    """Pairs that no member has seen, with what members say of them."""

    columns: Numbers  # [n, C]
    state: Rows  # [n]
    label: Labels  # [n]
    unit: Rows  # what the split holds out together, [n]: in one fold of the cross-validation

    def take(self, rows: npt.NDArray[Any]) -> "Examples":
        """Return some of them."""
        return Examples(self.columns[rows], self.state[rows], self.label[rows], self.unit[rows])

    def joined(self, other: "Examples") -> "Examples":
        """Return these and then those of another, whose missing last columns are 0."""
        missing = self.columns.shape[1] - other.columns.shape[1]
        columns = np.pad(other.columns, ((0, 0), (0, missing)))
        return Examples(
            np.concatenate([self.columns, columns]),
            np.concatenate([self.state, other.state]),
            np.concatenate([self.label, other.label]),
            np.concatenate([self.unit, other.unit]),
        )


def fit_combiner(
    validation: Examples, held: Examples, seed: int = 0
) -> tuple[Combiner, Numbers, dict[str, dict[str, Any]]]:
    """Fit a combiner to validation pairs; a state with few of them is completed with pairs `held` of it.

    Neural members have seen the pairs `held`, and are left out of the states that need them.

    Returns:
        The combiner; cross-validated logits of the validation pairs, [n]; and how each state was fitted:
        pairs, penalty, and whether products of columns are used.
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
        examples, columns, place = validation.take(own), width, np.arange(len(own))
        if len(own) < MIN_STATE:
            examples, columns = examples.joined(held.take(held.state == state)), len(COLUMNS)
        if not _enough(examples.label):
            examples, columns, place = validation.joined(held), len(COLUMNS), own
        out_of_fold, fitted[name] = _fit_state(combiner, state, examples, columns, seed)
        logits[own] = out_of_fold[place]
    return combiner, logits, fitted


def _enough(label: Labels) -> bool:
    """Return whether a combiner can be fitted to pairs of these labels."""
    return min(label.sum(), len(label) - label.sum()) >= MIN_PAIRS // 5 and len(label) >= MIN_PAIRS


def _fit_state(
    combiner: Combiner, state: int, examples: Examples, columns: int, seed: int
) -> tuple[Numbers, dict[str, Any]]:
    """Fit one state of a combiner in place to the first `columns` columns of pairs.

    The penalty grows with the pairs of a new node: a thousand pairs of one molecule say of new molecules
    little more than one. Products of columns are tried where nothing is new.

    Returns:
        Cross-validated logits, [n], and how the state was fitted.
    """
    selection = import_extra("sklearn.model_selection", "interaction", "a combined model")
    label, unit = examples.label, examples.unit
    splitter = selection.GroupKFold(min(FOLDS, len(np.unique(unit))), shuffle=True, random_state=seed)
    folds = [*splitter.split(label, groups=unit)]
    x, known = examples.columns[:, :columns], STATES[state] == "known"
    spread = x.std(axis=0)
    combiner.mean[state, :columns] = x.mean(axis=0)
    combiner.scale[state, :columns] = np.where(spread > CONSTANT, spread, 0.0)
    z = combiner.standardised(examples.columns, np.full(len(x), state))[:, :columns]
    repeats = 1.0 if known else len(label) / len(np.unique(unit))
    best: tuple[float, Numbers, float, bool] | None = None
    for products in (False, True)[: 1 + known]:
        design = _design(z, products)
        for penalty in (each * repeats for each in PENALTIES):
            logits = np.zeros(len(label))
            for train, test in folds:
                weights, intercept = _logistic(design[train], label[train], penalty)
                logits[test] = design[test] @ weights + intercept
            loss = float((np.logaddexp(0.0, logits) - label * logits).mean())
            if best is None or loss < best[0]:
                best = loss, logits, penalty, products
    assert best is not None
    loss, logits, penalty, products = best
    weights, intercept = _logistic(_design(z, products), label, penalty)
    combiner.linear[state, :columns], combiner.intercept[state] = weights[:columns], intercept
    if products:
        upper = np.zeros((columns, columns))
        upper[np.triu_indices(columns)] = weights[columns:]
        combiner.quadratic[state, :columns, :columns] = (upper + upper.T) / 2
    return logits, {"pairs": len(label), "penalty": penalty, "products": products, "loss": loss}


def _design(z: Numbers, products: bool) -> Numbers:
    """Return standardised columns [n, C], and the products of each two of them if wanted, [n, D]."""
    if not products:
        return z
    one, other = np.triu_indices(z.shape[1])
    return np.concatenate([z, z[:, one] * z[:, other]], axis=1)


def _logistic(x: Numbers, label: Labels, penalty: float) -> tuple[Numbers, float]:
    """Return the weights and the intercept of a logistic regression.

    The penalty decides how the columns are weighed; the slope of their sum is then fitted without it, so that
    the probabilities are calibrated.
    """
    if not 0 < label.sum() < len(label):  # a fold of one class
        return np.zeros(x.shape[1]), 0.0
    linear = import_extra("sklearn.linear_model", "interaction", "a combined model")
    weights = linear.LogisticRegression(C=1 / penalty, max_iter=1000).fit(x, label).coef_[0]
    total = x @ weights
    spread = float(total.std()) or 1.0
    slope = linear.LogisticRegression(C=1 / PENALTIES[0]).fit(total[:, None] / spread, label)
    return weights * float(slope.coef_[0, 0]) / spread, float(slope.intercept_[0])


class CombinedRun:
    """Fitting a combined model in its folder: checked when it is made, nothing is written before `train`.

    Raises:
        InputError: for a mistake in the members, the pairs or the folder.
    """

    def __init__(
        self, config: CombinedConfig, processor: Processor, run: RunConfig = DEFAULT_RUN, *, say: Say = silent
    ) -> None:
        self.config, self.processor, self.run, self.say = config, processor, run, say
        if process.current().world_size > 1:
            raise InputError("a combined model is fitted by one process; start it without torchrun")
        if run.resume:
            raise InputError("`resume`: a combined model is fitted at once; use `overwrite` to fit it again")
        check_run_folder(config.out, [config.out / RESULTS], "interact train", run)
        self.pairs = pairs = open_pairs(config.data)
        for part in ("train", "validation"):
            check_classes(pairs.label[pairs.parts[part]], "training" if part == "train" else part)
        label = pairs.label[pairs.parts["validation"]]
        if not _enough(label):
            raise InputError(
                f"{config.data}: the validation part has {counted(len(label), 'pair')}, {int(label.sum()):,} "
                f"of them positive; a combined model needs {MIN_PAIRS}, {MIN_PAIRS // 5} of each class; "
                "prepare more pairs, or a larger validation part"
            )
        self.neural = self._open_members()

    def _open_members(self) -> dict[str, InteractionModel]:
        """Return the neural members by name."""
        paths = self.config.members
        opened = [open_interaction(path) for path in paths]
        for path, each in zip(paths, opened, strict=True):
            if not isinstance(each.model, InteractionModel):
                raise InputError(f"`members` {path}: is a combined model itself; give its members")
            if each.temperature is None:
                raise InputError(f"`members` {path}: its training has not ended; resume it")
            sets = {str(each.about.get("set")), *each.about.get("init_sets", [])}
            if sets != {self.pairs.digest}:
                raise InputError(
                    f"`members` {path}: trained on other pairs or another split than {self.config.data}, so "
                    "that it may have seen validation or test pairs; train it on these"
                )
        names = unique_names([each.name for each in opened], paths)
        return {
            name: each.model
            for name, each in zip(names, opened, strict=True)
            if isinstance(each.model, InteractionModel)
        }

    def train(self) -> dict[str, Any]:
        """Fit members and combiner, write the run's folder, and return the content of results.json."""
        config, pairs, begin = self.config, self.pairs, time.monotonic()
        with lock(config.out):
            clear_run(config.out)
            (config.out / RESULTS).unlink(missing_ok=True)
            recipe = {"name": "combined", "members": [each.name for each in config.members]}
            data = {key: pairs.meta.get(key) for key in ("digest", "sources", "split", "parts")}
            record = Record(
                config.out / "run.json",
                "interact train",
                recipe=recipe,
                seed=self.run.seed,
                data=data,
                device=str(self.processor),
            )
            with record.ending():
                model, logits, fitted = self._fit()
                results = self._save(model, logits, fitted, time.monotonic() - begin)
            record.finish("done", results | {"states": fitted}, training_s=results["training"]["seconds"])
        return results

    def _fit(self) -> tuple[CombinedModel, Numbers, dict[str, dict[str, Any]]]:
        """Return the model, cross-validated logits of the validation pairs, and how each state was fitted."""
        pairs, seed, train = self.pairs, self.run.seed, self.pairs.parts["train"]
        rows = pairs.parts["validation"]
        encoder = InputEncoder(store_of(self.config.store, self.config.data), self.processor, self.say)
        self.say(f"fitting the members to {counted(len(train), 'training pair')}")
        knowledge = fit_knowledge(pairs, train, seed)
        none = Combiner(*(np.zeros(0) for _ in range(5)))
        predictor = CombinedModel(knowledge, none, self.neural).predictor(encoder, pairs)
        validation = _examples(predictor, pairs, rows)
        fit_on, held = held_out(pairs, train, seed)
        self.say(f"fitting them to {len(fit_on):,} of these, to learn how they do on new genes and molecules")
        without = CombinedModel(fit_knowledge(pairs, fit_on, seed), none, {}).predictor(encoder, pairs)
        combiner, logits, fitted = fit_combiner(validation, _examples(without, pairs, held), seed)
        return CombinedModel(knowledge, combiner, self.neural), logits, fitted

    def _save(
        self, model: CombinedModel, logits: Numbers, fitted: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]:
        """Write the checkpoint and the results, and return them."""
        config, pairs, rows = self.config, self.pairs, self.pairs.parts["validation"]
        label, (units, resampled) = pairs.label[rows], pairs.resampling_units(rows)
        about = {
            "kind": model.kind,
            "parameters": model.parameter_count,
            "trained_parameters": model.parameter_count,
            "set": pairs.digest,
            "split": pairs.meta["split"],
            "seed": self.run.seed,
        }
        description = {"kind": "interaction", "about": about, "temperature": 1.0, "states": dict(fitted)}
        description |= model.describe()
        description["cleaning"] = {key: pairs.meta[key] for key in ("salts", "isotopes") if key in pairs.meta}
        checkpoint.save(config.out / BEST, model.state_dict(), description)
        loss, area = float((np.logaddexp(0.0, logits) - label * logits).mean()), auroc(label, logits)
        history = {"epoch": [1], "train_loss": [loss], "val_bce": [loss], "val_auroc": [area]}
        results = {
            "format": "dnalm-interaction-results",
            "format_version": 1,
            "name": config.out.name,
            "model": about | {"weights": checkpoint.weights_digest(model)},
            **{key: pairs.meta[key] for key in ("split", "negatives", "ratio", "seed")},
            "digest": pairs.digest,
            "training": {
                "epochs": 1,
                "best_epoch": 1,
                "seconds": seconds,
                "history": history | {"elapsed": [seconds]},
            },
            "validation": interaction_scores(
                label, probability(logits), pairs.gene[rows], pairs.molecule[rows], resampled
            ),
            "drawn": units,
            "temperature": 1.0,
            "node_rate_validation": auroc(label, node_rate(pairs, pairs.parts["train"], rows)),
        }
        write(config.out / RESULTS, results)
        return results


def _examples(predictor: CombinedPredictor, pairs: PairSet, rows: Rows) -> Examples:
    """Return what members say of the pairs `rows`."""
    columns, state = predictor.columns(pairs.gene[rows], pairs.molecule[rows])
    units: Sequence[Rows] = pairs.resampling_units(rows)[1]
    return Examples(columns, state, pairs.label[rows], units[0])
