"""`dnalm evaluate`: binding models on the same windows, beside baselines that are not trained."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dnalm.commands.progress import aligned
from dnalm.commands.runs import EvaluationOptions, difference
from dnalm.errors import counted
from dnalm.evaluate.baselines.motif_scan import MotifScan
from dnalm.evaluate.binding import evaluate_models, evaluation_warnings, open_models, read_evaluation_set
from dnalm.formats.motif import choose_motif
from dnalm.genome.motif_scan import site_threshold
from dnalm.report.sentences import number


@dataclass(frozen=True)
class Options:
    """Score binding models on windows with known scores, side by side and with intervals."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL [MODEL ...]")]
    """Folders written by finetune or baseline, or published .pt files."""
    sequences: Path = Path("data/binding/sequences.txt.gz")  # Windows: a table of sequence and window_name.
    scores: Path = Path("data/binding/scores.txt.gz")  # The true score at each base.
    part: Literal["validation", "test", "all"] = "validation"
    """The validation part has chosen the models' epochs, the test part nothing; all: every window, of a
    set that is too small to split, too."""
    split: Literal["auto", "blocks", "published"] = "auto"
    """auto: the split that the models were trained with; published for .pt files."""
    motif: Path | None = None  # A motif file: its scan is evaluated beside the models.
    motif_name: str | None = None  # Which motif of the file.
    threshold: float | None = None  # Least score of a site in the scan, in nats; left out, that of the file.
    pvalue: float | None = None  # Least score of a site as a probability, as in `dnalm label`.
    every_site: bool = False  # Scan as `dnalm label --every-site` labels.
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)


def run(options: Options) -> None:
    """Score, print a table, and write the results.

    Raises:
        InputError: for a mistake in the options, the models or the data.
    """
    processor = options.evaluation.prepare()
    scan = None
    if options.motif is not None:
        motif = choose_motif(options.motif, options.motif_name)
        threshold = site_threshold(motif, threshold=options.threshold, pvalue=options.pvalue)
        scan = MotifScan(motif, threshold, every_site=options.every_site)
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
        _table,
        recipe={key: getattr(options, key) for key in ("part", "threshold", "pvalue", "every_site")},
        seed=0,
        data=data.about,
        device=str(processor),
    )


def _table(results: dict[str, Any]) -> str:
    """Return one line a model, and the paired differences."""
    kind = results["split"]["kind"]
    what = f"{results['part']} part of the {kind} split" if kind != "none" else "all of the set, not split"
    rows = [["", "Pearson R", "95 % interval", "batch mean", "MSE", "AUROC", "AUPRC"]]
    for name, entry in (results["models"] | results["baselines"]).items():
        scores, r = entry["scores"], entry["scores"]["pearson_r"]
        others = [number(scores[key]) for key in ("pearson_r_batches", "mse", "auroc", "auprc")]
        rows.append([name, number(r["value"]), f"{number(r['low'])} to {number(r['high'])}", *others])
    return "\n".join(
        [
            f"{what}: {counted(results['windows'], 'window')}, {results['bases']:,} bases",
            aligned(rows),
            *(f"{pair['one']} minus {pair['other']}: {difference(pair)}" for pair in results["pairs"]),
        ]
    )
