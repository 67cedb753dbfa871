"""`dnalm interact evaluate`: models of genes and molecules on held-out pairs, beside the ladder of baselines.

Shapes used below
    N  pairs of the part
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import tyro

from dnalm import process
from dnalm.checkpoint import weights_digest
from dnalm.commands.runs import EvaluationOptions
from dnalm.data.pairs import PairSet, open_pairs
from dnalm.errors import InputError
from dnalm.evaluate.baselines.ladder import check_classes, ladder_scores
from dnalm.evaluate.pairs import fit_temperature, interaction_scores, paired_auroc, probability
from dnalm.files import read_json
from dnalm.models.input_encoder import InputEncoder, store_of
from dnalm.models.open import OpenedInteraction, open_interaction
from dnalm.models.pair import predict

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Predict = Callable[[Rows, Rows], Numbers]
"""Maps genes [N] and molecules [N] to logits [N]."""

ENSEMBLE = "ensemble"
SEED = 0
"""Of the bootstrap, the permutations and the rungs: an evaluation is the same each time."""


@dataclass(frozen=True)
class Options:
    """Score models of genes and molecules on held-out pairs, beside baselines that need little chemistry."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]")] = ()
    """Folders written by `dnalm interact train`."""
    data: Path = Path("data/pairs")
    """The folder written by `dnalm interact prepare` that they were trained on."""
    part: Literal["validation", "test"] = "validation"
    """The validation part has chosen the models' epochs and temperatures, the test part nothing."""
    store: Path | None = None
    """Where states of frozen encoders are kept; the folder states beside --data unless given."""
    ensemble: bool = False
    """Judge the mean of all models named beside each of them."""
    ladder_only: bool = False
    """No model: the baselines alone."""
    judging: EvaluationOptions = field(default_factory=EvaluationOptions)


@dataclass(frozen=True)
class Subject:
    """What is judged: a model, or several as one."""

    about: dict[str, Any]
    """What results say of it."""
    path: str
    """Where it was found."""
    logits_of: Predict


def run(options: Options) -> None:
    """Score, print a table, and write the results.

    Raises:
        InputError: for a mistake in the options, the runs or the pairs.
    """
    if options.ladder_only and options.runs:
        raise InputError(
            f"--ladder-only judges no model, and {options.runs[0]} is named: leave one of them out"
        )
    if options.ensemble and len(options.runs) < 2:
        raise InputError(f"--ensemble needs at least two models, got {len(options.runs)}: name more of them")
    if not options.runs and not options.ladder_only:
        raise InputError("no run is named; name folders of dnalm interact train, or give --ladder-only")
    processor = options.judging.prepare()
    pairs = open_pairs(options.data)
    check_classes(pairs)
    if not len(pairs.parts[options.part]):
        raise InputError(f"{options.data}: its {options.part} part is empty; prepare the pairs again")
    models = _opened(options, pairs)
    reading = InputEncoder(store_of(options.store, options.data), processor, options.judging.say)
    judged = partial(_judged, options, pairs, models, reading)
    options.judging.evaluate_and_save(
        "interact evaluate",
        judged,
        table=_table,
        metrics=_without_bins,
        recipe={
            "part": options.part,
            "ladder_only": options.ladder_only,
            "ensemble": options.ensemble,
        },
        seed=SEED,
        data={"digest": pairs.digest, "sources": pairs.meta["sources"], **_protocol(pairs)},
        device=str(processor),
    )


def _judged(
    options: Options, pairs: PairSet, models: dict[str, OpenedInteraction], reading: InputEncoder
) -> dict[str, Any]:
    """Return what the results file holds."""
    rows = pairs.parts[options.part]
    label, (words, drawn) = pairs.label[rows], pairs.resampling_units(rows)
    subjects = {
        name: _subject(opened, path, pairs, reading)
        for (name, opened), path in zip(models.items(), options.runs, strict=True)
    }
    if options.ensemble:
        subjects[ENSEMBLE] = _ensemble(list(subjects.values()), list(subjects), pairs)
    ladder = process.broadcast(
        ladder_scores(pairs, rows, SEED, lambda name: options.judging.say(f"fitting: {name}"))
        if process.is_rank_zero()
        else {}
    )
    rungs = {
        name: {"scores": _scores(pairs, rows, score), "sequenced": _sequenced(pairs, rows, score)}
        for name, score in ladder.items()
    }
    best = _best(rungs)
    entries: dict[str, Any] = {}
    scored: dict[str, Numbers] = {}
    for name, subject in subjects.items():
        options.judging.say(f"predicting: {name}")
        entries[name], scored[name] = _model_entry(options, pairs, subject)
        paired = dict.fromkeys(("value", "low", "high"), float("nan"))
        if best is not None:
            paired = paired_auroc(label, scored[name], ladder[best], drawn, SEED)
        entries[name]["minus_best_rung"] = {"rung": best, **paired}
    warnings = _warnings(options, pairs) + _other_sets(models, pairs)
    for warning in warnings:
        options.judging.say(warning)
    return {
        "format": "dnalm-interaction-evaluation",
        "format_version": 1,
        "part": options.part,
        **_protocol(pairs),
        "digest": pairs.digest,
        "rows": len(rows),
        "positives": int(label.sum()),
        "models": entries,
        "ladder": rungs,
        "best_rung": best,
        "drawn": words,
        "pairs": [
            {"one": one, "other": other, **paired_auroc(label, scored[one], scored[other], drawn, SEED)}
            for one, other in combinations(scored, 2)
        ],
        "warnings": warnings,
    }


def _subject(opened: OpenedInteraction, path: Path, pairs: PairSet, reading: InputEncoder) -> Subject:
    """Return a model with all that it reads."""
    tokens = reading.tokens(opened.model.shape, pairs)
    model = opened.model.to(reading.processor.fabric().device)
    logits_of = partial(predict, model, tokens, together=True)
    return Subject(opened.about | {"weights": weights_digest(opened.model)}, str(path), logits_of)


def _ensemble(members: list[Subject], names: list[str], pairs: PairSet) -> Subject:
    """Return the mean of several models' logits, each over its own temperature: all count alike."""
    held_out = pairs.parts["validation"]
    asked = pairs.gene[held_out], pairs.molecule[held_out]
    heat = [fit_temperature(each.logits_of(*asked), pairs.label[held_out]) for each in members]

    def logits_of(gene: Rows, molecule: Rows) -> Numbers:
        parts = [each.logits_of(gene, molecule) / warm for each, warm in zip(members, heat, strict=True)]
        mean: Numbers = np.mean(parts, axis=0)
        return mean

    weights = hashlib.sha256("".join(sorted(each.about["weights"] for each in members)).encode())
    counts = {key: sum(each.about[key] for each in members) for key in ("parameters", "trained_parameters")}
    about = {"kind": f"ensemble of {', '.join(names)}", **counts, "weights": weights.hexdigest()}
    return Subject(about, ", ".join(each.path for each in members), logits_of)


def _model_entry(options: Options, pairs: PairSet, subject: Subject) -> tuple[dict[str, Any], Numbers]:
    """Return what the results say of a model on its own, and its probabilities, [N]."""
    rows, held_out = pairs.parts[options.part], pairs.parts["validation"]
    gene, molecule = pairs.gene[rows], pairs.molecule[rows]
    logits = subject.logits_of(gene, molecule)
    told = logits
    if options.part != "validation":
        told = subject.logits_of(pairs.gene[held_out], pairs.molecule[held_out])
    temperature = fit_temperature(told, pairs.label[held_out])
    score = probability(logits, temperature)
    draws = np.random.default_rng(SEED)
    other_genes = probability(subject.logits_of(permuted(gene, draws), molecule), temperature)
    other_molecules = probability(subject.logits_of(gene, permuted(molecule, draws)), temperature)
    entry = {
        "model": subject.about,
        "path": subject.path,
        "temperature": temperature,
        "scores": _scores(pairs, rows, score),
        "sequenced": _sequenced(pairs, rows, score),
        "shuffled_genes": _scores(pairs, rows, other_genes),
        "shuffled_molecules": _scores(pairs, rows, other_molecules),
    }
    return entry, score


def permuted(node: Rows, draws: np.random.Generator) -> Rows:
    """Return `node` [N] with its nodes exchanged: each becomes one other, wherever it is.

    All pairs of a gene are given the same other gene, so that degrees stay and only the sequence is wrong.
    """
    there, place = np.unique(node, return_inverse=True)
    order = draws.permutation(len(there))
    other = np.empty_like(there)
    other[order] = there[np.roll(order, 1)]  # one ring through all: no node stays itself
    return other[place]


def _opened(options: Options, pairs: PairSet) -> dict[str, OpenedInteraction]:
    """Return the models by name, all trained on these pairs."""
    opened = [open_interaction(path) for path in options.runs]
    for path, each in zip(options.runs, opened, strict=True):
        if each.about.get("set") != pairs.digest:
            raise InputError(
                f"{path}: trained on other pairs or another split than {options.data} holds, and may have "
                "seen the pairs it would be judged on; give the --data it was trained on, or train it again"
            )
    names = [each.name for each in opened]
    unique = [
        name if names.count(name) == 1 else str(path) for name, path in zip(names, options.runs, strict=True)
    ]
    if options.ensemble and ENSEMBLE in unique:
        raise InputError(f"a run is called {ENSEMBLE}, as is the mean of all: rename its folder")
    if len(set(unique)) < len(unique):
        raise InputError(f"a run is named twice: {', '.join(map(str, options.runs))}; name each once")
    return dict(zip(unique, opened, strict=True))


def _scores(pairs: PairSet, rows: Rows, score: Numbers) -> dict[str, Any]:
    gene, molecule, (_, drawn) = pairs.gene[rows], pairs.molecule[rows], pairs.resampling_units(rows)
    return interaction_scores(pairs.label[rows], score, gene, molecule, drawn, SEED)


def _sequenced(pairs: PairSet, rows: Rows, score: Numbers) -> dict[str, Any] | None:
    """Return the scores over the rows whose gene has an mRNA or CDS, None where there is no such row."""
    kept = pairs.has_transcript()[rows]
    return _scores(pairs, rows[kept], score[kept]) if kept.any() else None


def _best(rungs: dict[str, dict[str, Any]]) -> str | None:
    """Return the rung with the highest AUROC; None where no rung has one."""
    auroc = {name: entry["scores"]["auroc"]["value"] for name, entry in rungs.items()}
    known = {name: value for name, value in auroc.items() if np.isfinite(value)}
    return max(known, key=known.__getitem__) if known else None


def _protocol(pairs: PairSet) -> dict[str, Any]:
    """Return how the pairs were divided and the negatives drawn."""
    return {key: pairs.meta[key] for key in ("split", "negatives", "ratio", "seed")}


def _warnings(options: Options, pairs: PairSet) -> list[str]:
    """Say what makes the figures less than they seem."""
    found = []
    for part in dict.fromkeys((options.part, "validation")):
        label = pairs.label[pairs.parts[part]]
        if label.any() and not label.all():
            continue
        only = "positive" if label.any() else "negative"
        what = (
            "AUROC, AUPRC and EF are not defined" if part == options.part else "no temperature can be fitted"
        )
        found.append(f"the {part} part has only {only} pairs ({len(label):,}): {what}")
    for path in options.runs:
        record = path / "run.json"
        if record.is_file() and (status := read_json(record).get("status")) != "done":
            found.append(
                f"{path}: its training has not come to its end ({status}): judged are the best weights so "
                "far; go on with dnalm interact train --resume"
            )
    if options.part == "validation" and options.runs:
        found.append(
            "the validation part has chosen the epoch and the temperature of each model: for a claim run "
            "with --part test"
        )
    return found


def _other_sets(models: dict[str, OpenedInteraction], pairs: PairSet) -> list[str]:
    """Name the models that went on from a run on other pairs, which may be among those judged."""
    others = [
        name
        for name, opened in models.items()
        if set(opened.about.get("init_sets", [opened.about.get("init_set", pairs.digest)])) - {pairs.digest}
    ]
    return [
        f"{name}: went on from a run on another set of pairs, which may hold some that it is judged by here: "
        "its scores may flatter it"
        for name in others
    ]


def _table(results: dict[str, Any]) -> str:
    """Return the protocol, one line a model, a shuffle and a rung, and what the models are worth."""
    ratio = "" if results["ratio"] is None else f", ratio {results['ratio']:g}"
    first = next(iter(results["ladder"].values()))["scores"]
    lines = [
        f"{results['part']} part of the {results['split']} split: {results['rows']:,} pairs, negatives "
        f"{results['negatives']}{ratio}, prevalence {results['positives'] / results['rows']:.3f}",
        f"{'':<30}{'AUROC':>7}  {'95 % interval':<17}{'AUPRC':>7}{'per gene':>9}{'per molecule':>14}"
        f"{'EF1 %':>7}{'Brier':>8}{'ECE':>7}{'sequenced':>11}",
    ]
    for name, entry in results["models"].items():
        lines.append(_line(name, entry["scores"], entry["sequenced"]))
        lines.append(_line(f"{name}, genes permuted", entry["shuffled_genes"]))
        lines.append(_line(f"{name}, molecules permuted", entry["shuffled_molecules"]))
    lines += [_line(name, entry["scores"], entry["sequenced"]) for name, entry in results["ladder"].items()]
    lines.append(
        f"per gene, per molecule: mean AUROC within the {first['auroc_per_gene']['groups']:,} genes and "
        f"{first['auroc_per_molecule']['groups']:,} molecules with pairs of both kinds; sequenced: AUROC "
        f"where the gene has an mRNA or CDS; intervals: whole {results['drawn']} drawn again"
    )
    lines += [
        f"{each['one']} less {each['other']}: {each['value']:+.4f}, 95 % paired interval {each['low']:+.4f} "
        f"to {each['high']:+.4f}"
        for each in results["pairs"]
    ]
    return "\n".join([*lines, _verdict(results)])


def _line(name: str, scores: dict[str, Any], sequenced: dict[str, Any] | None = None) -> str:
    auroc = scores["auroc"]
    spread = f"{_shown(auroc['low'])} to {_shown(auroc['high'])}"
    return (
        f"{name:<30}{_shown(auroc['value']):>7}  {spread:<17}{_shown(scores['auprc']['value']):>7}"
        f"{_shown(scores['auroc_per_gene']['value']):>9}{_shown(scores['auroc_per_molecule']['value']):>14}"
        f"{_shown(scores['ef1'], 2):>7}{_shown(scores['brier']):>8}{_shown(scores['ece']):>7}"
        f"{_shown(sequenced['auroc']['value']) if sequenced else '':>11}"
    ).rstrip()


def _verdict(results: dict[str, Any]) -> str:
    """Return one line that says which rung is best and what each model is worth beside it."""
    best = results["best_rung"]
    if best is None:
        return f"no rung has an AUROC: all {results['rows']:,} pairs are of one kind"
    start = f"best rung: {best}, AUROC {_shown(results['ladder'][best]['scores']['auroc']['value'])}"
    found = []
    for name, entry in results["models"].items():
        gain = entry["minus_best_rung"]
        spread = f"{gain['value']:+.4f}, 95 % paired interval {gain['low']:+.4f} to {gain['high']:+.4f}"
        is_told = (
            "beats it"
            if gain["low"] > 0
            else "is behind it"
            if gain["high"] < 0
            else "cannot be told from it"
        )
        found.append(f"{name} {is_told} ({spread})")
    return "; ".join([start, *found])


def _shown(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "none"


def _without_bins(results: Any) -> Any:
    """Return results as a record keeps them: without the bins that the report draws."""
    if isinstance(results, dict):
        return {key: _without_bins(value) for key, value in results.items() if key != "reliability"}
    return results
