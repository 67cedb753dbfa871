"""`dnalm evaluate`: binding models on the same windows, beside baselines that are not trained."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from dnalm.commands.runs import EvaluationOptions
from dnalm.evaluate.baselines.motif_scan import MotifScan
from dnalm.evaluate.binding import evaluate_models, evaluation_warnings, open_models, read_evaluation_set
from dnalm.formats.motif import choose_motif
from dnalm.genome.motif_scan import site_threshold


@dataclass(frozen=True)
class Options:
    """Score binding models on windows with known scores, side by side and with intervals."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL [MODEL ...]")]
    """Folders written by finetune or baseline, or published .pt files."""
    sequences: Path = Path("data/binding/sequences.txt.gz")
    """Windows: a table of sequence and window_name."""
    scores: Path = Path("data/binding/scores.txt.gz")
    """The true score at each base."""
    part: Literal["validation", "test", "all"] = "validation"
    """The validation part has chosen the models' epochs, the test part nothing; all: every window, of a
    set that is too small to split, too."""
    split: Literal["auto", "blocks", "published"] = "auto"
    """auto: the split that the models were trained with; published for .pt files."""
    motif: Path | None = None
    """A motif file: its scan is evaluated beside the models."""
    motif_name: str | None = None
    """Which motif of the file."""
    threshold: float | None = None
    """Least score of a site in the scan, in nats; left out, that of the file."""
    pvalue: float | None = None
    """Least score of a site as a probability, as in `dnalm label`."""
    every_site: bool = False
    """Scan as `dnalm label --every-site` labels."""
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)


def run(options: Options) -> None:
    """Score, print a table, and write the results.

    Raises:
        InputError: for a mistake in the options, the models or the data.
    """
    processor = options.evaluation.prepare()
    scan = _scan(options)
    models = open_models(options.models)
    data = read_evaluation_set(
        models, options.sequences, options.scores, split=options.split, part=options.part
    )
    for warning in evaluation_warnings(models, data, options.part):
        options.evaluation.say(warning)
    paths = dict(zip(models, options.models, strict=True))
    options.evaluation.evaluate_and_save(
        "evaluate",
        lambda: evaluate_models(models, data, processor.fabric(), part=options.part, scan=scan, paths=paths),
        table=_table,
        metrics=_without_details,
        recipe={key: getattr(options, key) for key in ("part", "threshold", "pvalue", "every_site")},
        seed=0,
        data=data.about,
        device=str(processor),
    )


def _scan(options: Options) -> MotifScan | None:
    """Open the motif whose scan is evaluated beside the models, if one is given."""
    if options.motif is None:
        return None
    motif = choose_motif(options.motif, options.motif_name)
    threshold = site_threshold(motif, threshold=options.threshold, pvalue=options.pvalue)
    return MotifScan(motif, threshold, every_site=options.every_site)


def _without_details(results: dict[str, Any]) -> dict[str, Any]:
    """Return results as a record holds them: without the tracks and densities that the report draws."""
    models = {
        name: {key: value for key, value in entry.items() if key != "detail"}
        for name, entry in results["models"].items()
    }
    keys = ("part", "split", "windows", "bases", "baselines", "pairs", "warnings")
    return {key: results[key] for key in keys} | {"models": models}


def _table(results: dict[str, Any]) -> str:
    """Return one line a model, and the difference of the best model from each of the others."""
    r_of = {name: entry["scores"]["pearson_r"]["value"] for name, entry in results["models"].items()}
    best = max(r_of, key=lambda name: np.nan_to_num(r_of[name], nan=-1.0))
    kind = results["split"]["kind"]
    part = f"{results['part']} part of the {kind} split"
    if kind == "none":
        part = "all of the set, which is not split"
    lines = [
        f"{part}: {results['windows']:,} windows, {results['bases']:,} bases",
        f"{'':<24}{'Pearson R':>10}  {'95 % interval':<18}{'batch mean':>10}{'MSE':>9}"
        f"{'AUROC':>8}{'AUPRC':>8}",
    ]
    for name, entry in (results["models"] | results["baselines"]).items():
        scores = entry["scores"]
        r = scores["pearson_r"]
        interval = f"{_figure(r['low'])} to {_figure(r['high'])}"
        lines.append(
            f"{name:<24}{_figure(r['value']):>10}  {interval:<18}{_figure(scores['pearson_r_batches']):>10}"
            f"{scores['mse']:>9.4f}{_figure(scores['auroc']):>8}{_figure(scores['auprc']):>8}"
        )
    lines += [
        f"{pair['one']} less {pair['other']}: {pair['value']:+.4f} (95 % paired interval {pair['low']:+.4f} "
        f"to {pair['high']:+.4f})"
        for pair in results["pairs"]
        if best in (pair["one"], pair["other"])
    ]
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "none"
