"""Evaluation of models of genes and molecules on held-out pairs, beside the ladder of baselines.

Shapes: N pairs.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from dnalm import process
from dnalm.bootstrap import Numbers
from dnalm.checkpoint import weights_digest
from dnalm.data.pairs import PairSet, Part, Rows
from dnalm.errors import InputError
from dnalm.evaluate.auroc import area_estimates, paired_auroc
from dnalm.evaluate.baselines.ladder import check_classes, ladder_scores
from dnalm.evaluate.pair_scores import auroc_by_count, fit_temperature, interaction_scores, probability
from dnalm.files import read_json
from dnalm.models.combined import CombinedPredictor
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.open import OpenedInteraction, open_interaction, unique_names

ENSEMBLE = "ensemble"
UNDEFINED = dict.fromkeys(("value", "low", "high"), float("nan"))
SEED = 0
"""Of the bootstrap, the permutations and the baselines."""


@dataclass(frozen=True)
class EvaluatedModel:
    """A model, or an ensemble of several, with its inputs."""

    about: dict[str, Any]  # its description in results
    path: str
    predict: Callable[[Rows, Rows], Numbers]  # maps rows of genes [N] and of molecules [N] to logits, [N]
    members: Callable[[Rows, Rows], dict[str, Numbers]] | None = None
    """Scores of its members, where it has any."""
    temperature: float | None = None  # of its logits; None if the validation part is to fit it

    def calibration(self, pairs: PairSet) -> float:
        """Return the temperature that its logits are divided by."""
        if self.temperature is not None:
            return self.temperature
        rows = pairs.parts["validation"]
        return fit_temperature(self.predict(pairs.gene[rows], pairs.molecule[rows]), pairs.label[rows])


def check_part(pairs: PairSet, part: Part) -> None:
    """Refuse a set that no model can be evaluated on.

    Raises:
        InputError: if the part is empty, or the training part has pairs of one class only.
    """
    check_classes(pairs.label[pairs.parts["train"]], "training")
    if not len(pairs.parts[part]):
        raise InputError(f"the {part} part is empty; prepare the pairs again")


def open_models(
    runs: Sequence[Path], pairs: PairSet, encoder: InputEncoder, *, ensemble: bool = False
) -> dict[str, EvaluatedModel]:
    """Open models, folders of `dnalm interact train`, by name, with their inputs.

    All must have been trained on the set `pairs`. `ensemble` adds the mean of their calibrated logits.

    Raises:
        InputError: if a model cannot be opened, was trained on another set, or is given twice, or there are
            too few for an ensemble.
    """
    opened = [open_interaction(path) for path in runs]
    for path, each in zip(runs, opened, strict=True):
        if each.about.get("set") != pairs.digest:
            raise InputError(
                f"{path}: trained on another set or split of pairs, so that these pairs may have been in its "
                "training; give the `data` that it was trained on, or train it again"
            )
    unique = unique_names([each.name for each in opened], runs)
    if ensemble and (len(unique) < 2 or ENSEMBLE in unique):
        raise InputError(
            f"`ensemble` needs at least two models, none of them called {ENSEMBLE}; got "
            f"{', '.join(unique) or 'none'}"
        )
    models = {
        name: _with_inputs(each, path, pairs, encoder)
        for name, each, path in zip(unique, opened, runs, strict=True)
    }
    return {**models, ENSEMBLE: _ensemble(models, pairs)} if ensemble else models


def _with_inputs(
    opened: OpenedInteraction, path: Path, pairs: PairSet, encoder: InputEncoder
) -> EvaluatedModel:
    """Return an opened model with the encoded genes and molecules of the set."""
    about = opened.about | {"weights": weights_digest(opened.model)}
    predictor = opened.predictor(encoder, pairs)
    if isinstance(predictor, CombinedPredictor):  # validation fitted its combiner: not to be used again
        return EvaluatedModel(about, str(path), predictor, predictor.member_scores, opened.temperature)
    return EvaluatedModel(about, str(path), predictor)


def evaluate_pairs(
    pairs: PairSet,
    part: Part,
    models: Mapping[str, EvaluatedModel],
    say: Callable[[str], None] = lambda _message: None,
) -> dict[str, Any]:
    """Evaluate models and the ladder of baselines on a part of a set; return an evaluation file's content.

    Several processes evaluate together, and all return the same. The validation part has chosen the epochs
    and temperatures of the models; without models the baselines alone are evaluated. `say` is called with
    progress and warnings.

    Raises:
        InputError: see `check_part`.
    """
    check_part(pairs, part)
    rows = pairs.parts[part]
    label, (unit, clusters) = pairs.label[rows], pairs.resampling_units(rows)

    def difference(one: Numbers, other: Numbers) -> dict[str, float]:
        return paired_auroc(label, one, other, clusters, SEED)._asdict()

    ladder, baselines, best = _evaluate_ladder(pairs, rows, say)
    entries: dict[str, Any] = {}
    scores: dict[str, Numbers] = {}
    for name, model in models.items():
        say(f"predicting: {name}")
        entries[name], scores[name] = _evaluate_model(model, pairs, part)
        gain = UNDEFINED if best is None else difference(scores[name], ladder[best])
        entries[name]["minus_best_baseline"] = {"baseline": best, **gain}
    warnings = _warnings(pairs, part, models)
    for warning in warnings:
        say(warning)
    return {
        "format": "dnalm-interaction-evaluation",
        "format_version": 1,
        "part": part,
        **{key: pairs.meta[key] for key in ("split", "negatives", "ratio", "seed")},
        "digest": pairs.digest,
        "rows": len(rows),
        "positives": int(label.sum()),
        "models": entries,
        "ladder": baselines,
        "best_baseline": best,
        "drawn": unit,
        "pairs": [
            {"one": one, "other": other, **difference(scores[one], scores[other])}
            for one, other in combinations(scores, 2)
        ],
        "warnings": warnings,
    }


def _evaluate_ladder(
    pairs: PairSet, rows: Rows, say: Callable[[str], None]
) -> tuple[dict[str, Numbers], dict[str, Any], str | None]:
    """Return scores [N] and results of each baseline, and the name of the best; None if all are NaN."""
    ladder: dict[str, Numbers] = {}
    if process.is_rank_zero():
        ladder = ladder_scores(pairs, rows, SEED, lambda name: say(f"fitting: {name}"))
    ladder = process.broadcast(ladder)
    results = {name: _scores_of(pairs, rows, score) for name, score in ladder.items()}
    aurocs = {name: entry["scores"]["auroc"]["value"] for name, entry in results.items()}
    known = {name: value for name, value in aurocs.items() if np.isfinite(value)}
    return ladder, results, max(known, key=known.__getitem__, default=None)


def _ensemble(models: Mapping[str, EvaluatedModel], pairs: PairSet) -> EvaluatedModel:
    """Return the mean of several models' logits, each divided by its own temperature."""
    members = list(models.values())

    @cache
    def temperatures() -> list[float]:
        return [each.calibration(pairs) for each in members]

    def predict(gene: Rows, molecule: Rows) -> Numbers:
        """Return the mean of the calibrated logits of all members, [N]."""
        scaled = [
            each.predict(gene, molecule) / temperature
            for each, temperature in zip(members, temperatures(), strict=True)
        ]
        mean: Numbers = np.mean(scaled, axis=0)
        return mean

    weights = hashlib.sha256("".join(sorted(each.about["weights"] for each in members)).encode())
    counts = {key: sum(each.about[key] for each in members) for key in ("parameters", "trained_parameters")}
    about = {"kind": f"ensemble of {', '.join(models)}", **counts, "weights": weights.hexdigest()}
    return EvaluatedModel(about, ", ".join(each.path for each in members), predict)


def _evaluate_model(model: EvaluatedModel, pairs: PairSet, part: Part) -> tuple[dict[str, Any], Numbers]:
    """Return the results of one model, and its probabilities, [N]."""
    rows = pairs.parts[part]
    gene, molecule = pairs.gene[rows], pairs.molecule[rows]
    temperature = model.calibration(pairs)
    score = probability(model.predict(gene, molecule), temperature)
    draws = np.random.default_rng(SEED)
    other_genes = probability(model.predict(permute_nodes(gene, draws), molecule), temperature)
    other_molecules = probability(model.predict(gene, permute_nodes(molecule, draws)), temperature)
    entry = {
        "model": model.about,
        "path": model.path,
        "temperature": temperature,
        **_scores_of(pairs, rows, score),
        "shuffled_genes": _scores(pairs, rows, other_genes),
        "shuffled_molecules": _scores(pairs, rows, other_molecules),
    }
    if model.members is not None:
        clusters = pairs.resampling_units(rows)[1]
        entry["members"] = {
            name: area_estimates(pairs.label[rows], member, clusters, SEED)[0]._asdict()
            for name, member in model.members(gene, molecule).items()
        }
    return entry, score


def permute_nodes(node: Rows, draws: np.random.Generator) -> Rows:
    """Return `node` [N] with each gene or molecule replaced by one other, the same in all of its pairs.

    Degrees stay, and only the sequence or structure is wrong.
    """
    nodes, row = np.unique(node, return_inverse=True)
    order = draws.permutation(len(nodes))
    other = np.empty_like(nodes)
    other[order] = nodes[np.roll(order, 1)]  # one cycle through all: no node stays itself
    return other[row]


def _scores_of(pairs: PairSet, rows: Rows, score: Numbers) -> dict[str, Any]:
    """Return the scores of all rows, of those whose gene has an mRNA or CDS, and by training pairs."""
    known = pairs.has_transcript()[rows]
    sequenced = _scores(pairs, rows[known], score[known]) if known.any() else None
    seen = {}
    for side, node in (("gene", pairs.gene), ("molecule", pairs.molecule)):
        counts = np.bincount(node[pairs.parts["train"]], minlength=node.max() + 1)[node[rows]]
        seen[side] = auroc_by_count(pairs.label[rows], score, counts)
    return {"scores": _scores(pairs, rows, score), "sequenced": sequenced, "by_training_pairs": seen}


def _scores(pairs: PairSet, rows: Rows, score: Numbers) -> dict[str, Any]:
    """Return the scores of some rows, with intervals over the units that the split holds out."""
    clusters = pairs.resampling_units(rows)[1]
    return interaction_scores(
        pairs.label[rows], score, pairs.gene[rows], pairs.molecule[rows], clusters, SEED
    )


def _warnings(pairs: PairSet, part: Part, models: Mapping[str, EvaluatedModel]) -> list[str]:
    """Return what limits the meaning of the results, a sentence each."""
    warnings = []
    for each in dict.fromkeys((part, "validation")):
        label = pairs.label[pairs.parts[each]]
        if label.any() and not label.all():
            continue
        kind = "positive" if label.any() else "negative"
        lost = "AUROC, AUPRC and EF are not defined" if each == part else "no temperature can be fitted"
        warnings.append(f"the {each} part has only {kind} pairs ({len(label):,}): {lost}")
    for model in models.values():
        record = Path(model.path) / "run.json"
        if record.is_file() and (status := read_json(record).get("status")) != "done":
            warnings.append(
                f"{model.path}: its training is not finished ({status}), and its best weights so far are "
                "evaluated; dnalm interact train can resume it"
            )
    if part == "validation" and models:
        warnings.append(
            "the validation part has chosen the epoch and the temperature of each model: for a claim "
            "evaluate the test part"
        )
    for name, model in models.items():
        sets = model.about.get("init_sets", [model.about.get("init_set", pairs.digest)])
        if set(sets) - {pairs.digest}:
            warnings.append(
                f"{name}: initialized from a run on another set of pairs, which may hold some of the pairs "
                "evaluated here: its scores may be too high"
            )
    return warnings
