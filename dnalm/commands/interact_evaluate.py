"""`dnalm interact evaluate`: models of genes and molecules on held-out pairs, beside baselines."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dnalm.bootstrap import Estimate
from dnalm.commands.progress import aligned
from dnalm.commands.runs import EvaluationOptions, difference
from dnalm.data.pairs import open_pairs
from dnalm.errors import InputError, counted
from dnalm.evaluate.pairs import SEED, check_part, evaluate_pairs, open_models
from dnalm.models.input_encoder import InputEncoder, store_of
from dnalm.report.sentences import number, verdict

VERDICTS = {
    "better": "beats it",
    "worse": "is behind it",
    "undecided": "does not differ from it",
    "unknown": "cannot be compared with it",
}


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
    ensemble: bool = False  # Evaluate the mean of all models' calibrated logits too.
    ladder_only: bool = False  # No model: the baselines alone.
    judging: EvaluationOptions = field(default_factory=EvaluationOptions)


def run(options: Options) -> None:
    """Score, print a table, and write the results.

    Raises:
        InputError: for a mistake in the options, the runs or the pairs.
    """
    if options.ladder_only == bool(options.runs):
        raise InputError("no run is given; give folders of dnalm interact train, or else --ladder-only alone")
    processor = options.judging.prepare()
    pairs = open_pairs(options.data)
    check_part(pairs, options.part)
    encoder = InputEncoder(store_of(options.store, options.data), processor, options.judging.say)
    models = open_models(options.runs, pairs, encoder, ensemble=options.ensemble)
    protocol = {key: pairs.meta[key] for key in ("split", "negatives", "ratio", "seed")}
    options.judging.evaluate_and_save(
        "interact evaluate",
        lambda: evaluate_pairs(pairs, options.part, models, options.judging.say),
        _table,
        recipe={name: getattr(options, name) for name in ("part", "ladder_only", "ensemble")},
        seed=SEED,
        data={"digest": pairs.digest, "sources": pairs.meta["sources"], **protocol},
        device=str(processor),
    )


def _table(results: dict[str, Any]) -> str:
    """Return the protocol, one line for each model, permutation and baseline, and the comparisons."""
    ratio = "" if results["ratio"] is None else f", ratio {results['ratio']:g}"
    rows = [[f"{'':28}", "AUROC 95 % interval", "AUPRC", "per gene", "per mol.", "EF1 %"]]
    rows[0] += ["Brier", "ECE", "sequenced"]
    for name, entry in (results["models"] | results["ladder"]).items():
        rows.append(_row(name, entry["scores"], entry["sequenced"]))
        if name in results["models"]:
            rows.append(_row(f"{name}, genes permuted", entry["shuffled_genes"]))
            rows.append(_row(f"{name}, molecules permuted", entry["shuffled_molecules"]))
        for member, auroc in entry.get("members", {}).items():
            rows.append([f"{name}: {member}", _interval(auroc), *[""] * 7])
    lines = [
        f"{results['part']} part of the {results['split']} split: {counted(results['rows'], 'pair')}, "
        f"negatives {results['negatives']}{ratio}, prevalence {results['positives'] / results['rows']:.3f}",
        aligned(rows),
        "per gene, per mol.: mean AUROC within the genes and molecules with pairs of both kinds; sequenced: "
        f"AUROC where the gene has an mRNA or CDS; intervals: bootstrap of {results['drawn']}",
    ]
    lines += [f"{each['one']} minus {each['other']}: {difference(each)}" for each in results["pairs"]]
    return "\n".join([*lines, _verdict(results)])


def _row(name: str, scores: dict[str, Any], sequenced: dict[str, Any] | None = None) -> list[str]:
    """Return one line of the table: name, AUROC with its interval, and other scores."""
    means = [number(scores[key]["value"]) for key in ("auprc", "auroc_per_gene", "auroc_per_molecule")]
    cells = [number(scores["ef1"], 2), number(scores["brier"]), number(scores["ece"])]
    return [
        name,
        _interval(scores["auroc"]),
        *means,
        *cells,
        number(sequenced["auroc"]["value"]) if sequenced else "",
    ]


def _interval(auroc: dict[str, float]) -> str:
    return f"{number(auroc['value'])} {number(auroc['low'])} to {number(auroc['high'])}"


def _verdict(results: dict[str, Any]) -> str:
    """Return one line with the best baseline and how each model compares with it."""
    best = results["best_baseline"]
    if best is None:
        return f"no baseline has an AUROC: the {counted(results['rows'], 'pair')} of this part have one class"
    auroc = results["ladder"][best]["scores"]["auroc"]["value"]
    sentences = [f"best baseline: {best}, AUROC {number(auroc)}"]
    for name, entry in results["models"].items():
        gain = entry["minus_best_baseline"]
        words = VERDICTS[verdict(Estimate(gain["value"], gain["low"], gain["high"]))]
        sentences.append(f"{name} {words} ({difference(gain)})")
    return "; ".join(sentences)
