"""`dnalm interact evaluate`: models of genes and molecules on held-out pairs, beside baselines."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from dnalm.commands.runs import EvaluationOptions
from dnalm.data.pairs import open_pairs
from dnalm.errors import InputError
from dnalm.evaluate.pairs import SEED, check_part, evaluate_pairs, open_models
from dnalm.models.input_encoder import InputEncoder, store_of


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
    """Folder of cached states of frozen encoders; the folder states beside --data unless given."""
    ensemble: bool = False
    """Evaluate the mean of all models too."""
    ladder_only: bool = False
    """No model: the baselines alone."""
    judging: EvaluationOptions = field(default_factory=EvaluationOptions)


def run(options: Options) -> None:
    """Score, print a table, and write the results.

    Raises:
        InputError: for a mistake in the options, the runs or the pairs.
    """
    if options.ladder_only and options.runs:
        raise InputError(f"--ladder-only evaluates no model: leave out {options.runs[0]} or the flag")
    if not options.runs and not options.ladder_only:
        raise InputError("no run is given; give folders of dnalm interact train, or --ladder-only")
    processor = options.judging.prepare()
    pairs = open_pairs(options.data)
    check_part(pairs, options.part)
    encoder = InputEncoder(store_of(options.store, options.data), processor, options.judging.say)
    models = open_models(options.runs, pairs, encoder, ensemble=options.ensemble)
    protocol = {key: pairs.meta[key] for key in ("split", "negatives", "ratio", "seed")}
    options.judging.evaluate_and_save(
        "interact evaluate",
        lambda: evaluate_pairs(pairs, options.part, models, options.judging.say),
        table=_table,
        metrics=_without_bins,
        recipe={name: getattr(options, name) for name in ("part", "ladder_only", "ensemble")},
        seed=SEED,
        data={"digest": pairs.digest, "sources": pairs.meta["sources"], **protocol},
        device=str(processor),
    )


def _table(results: dict[str, Any]) -> str:
    """Return the protocol, one line for each model, permutation and baseline, and the comparisons."""
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
        f"where the gene has an mRNA or CDS; intervals: bootstrap of {results['drawn']}"
    )
    lines += [f"{each['one']} less {each['other']}: {_interval(each)}" for each in results["pairs"]]
    return "\n".join([*lines, _verdict(results)])


def _line(name: str, scores: dict[str, Any], sequenced: dict[str, Any] | None = None) -> str:
    auroc = scores["auroc"]
    interval = f"{_number(auroc['low'])} to {_number(auroc['high'])}"
    return (
        f"{name:<30}{_number(auroc['value']):>7}  {interval:<17}{_number(scores['auprc']['value']):>7}"
        f"{_number(scores['auroc_per_gene']['value']):>9}{_number(scores['auroc_per_molecule']['value']):>14}"
        f"{_number(scores['ef1'], 2):>7}{_number(scores['brier']):>8}{_number(scores['ece']):>7}"
        f"{_number(sequenced['auroc']['value']) if sequenced else '':>11}"
    ).rstrip()


def _verdict(results: dict[str, Any]) -> str:
    """Return one line with the best baseline and how each model compares with it."""
    best = results["best_rung"]
    if best is None:
        return f"no baseline has an AUROC: all {results['rows']:,} pairs are of one class"
    auroc = results["ladder"][best]["scores"]["auroc"]["value"]
    sentences = [f"best baseline: {best}, AUROC {_number(auroc)}"]
    for name, entry in results["models"].items():
        gain = entry["minus_best_rung"]
        verdict = "does not differ from it"
        if gain["low"] > 0:
            verdict = "beats it"
        elif gain["high"] < 0:
            verdict = "is behind it"
        sentences.append(f"{name} {verdict} ({_interval(gain)})")
    return "; ".join(sentences)


def _interval(gain: dict[str, Any]) -> str:
    return f"{gain['value']:+.4f}, 95 % paired interval {gain['low']:+.4f} to {gain['high']:+.4f}"


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "none"


def _without_bins(results: Any) -> Any:
    """Return results without the reliability bins, which only the report needs, for the run's record."""
    if isinstance(results, dict):
        return {key: _without_bins(value) for key, value in results.items() if key != "reliability"}
    return results
