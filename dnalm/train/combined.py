"""A combined model of pairs: members fitted to training pairs, a combiner to pairs that none of them saw."""

import time
from collections.abc import Mapping
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
from dnalm.errors import InputError, counted
from dnalm.evaluate.auroc import auroc
from dnalm.evaluate.baselines.boosting import fit_trees
from dnalm.evaluate.baselines.factorisation import factors
from dnalm.evaluate.baselines.ladder import check_classes
from dnalm.evaluate.baselines.node_rate import node_rate
from dnalm.evaluate.pair_scores import cross_entropy, interaction_scores, probability
from dnalm.files import lock
from dnalm.models.combined import CombinedModel, CombinedPredictor, Combiner
from dnalm.models.identity import digests
from dnalm.models.input_encoder import InputEncoder, store_of
from dnalm.models.open import open_interaction, unique_names
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_knowledge import PairKnowledge
from dnalm.process import Say, silent
from dnalm.record import Record
from dnalm.results import write
from dnalm.train.combiner import MIN_PAIRS, Examples, fit_combiner, is_enough
from dnalm.train.resume import BEST, clear_run
from dnalm.train.run import DEFAULT_RUN, RunConfig, check_run_folder

RESULTS = "results.json"
HELD_NODES, HELD_PAIRS = 0.2, 0.1
"""Fractions of genes, of molecules, and of the other training pairs that members are fitted without, to learn
how they do on what is new."""


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
        if not is_enough(label):
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
        given = validation, _examples(without, pairs, held), float(pairs.label[train].mean())
        combiner, logits, fitted = fit_combiner(*given, seed)
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
        loss, area = cross_entropy(label, logits), auroc(label, logits)
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
    scaffolds = pairs.meta["split"] == "scaffold"
    molecules = pairs.resampling_units(rows)[1][0] if scaffolds else pairs.molecule[rows]
    units = np.column_stack([pairs.clusters[pairs.gene[rows]], molecules])
    return Examples(columns, state, pairs.label[rows], units)
