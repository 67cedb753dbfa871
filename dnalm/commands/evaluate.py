"""`dnalm evaluate`: binding models on the same windows, beside baselines that were never trained."""

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import tyro
from lightning_fabric import Fabric

from dnalm.bootstrap import moments
from dnalm.commands.runs import EvaluationOptions
from dnalm.data.binding import BindingWindows
from dnalm.data.binding_set import Prepared, SplitConfig, prepare_set
from dnalm.device import alone
from dnalm.errors import InputError
from dnalm.evaluate.baselines.motif_scan import MotifScan
from dnalm.evaluate.binding import binding_detail, binding_scores, paired_comparisons
from dnalm.formats.motif import choose_motif
from dnalm.genome.motif_scan import site_threshold
from dnalm.models.binding import predict
from dnalm.models.open import OpenedBinding, open_binding

Tracks = npt.NDArray[np.float32]


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
    """A motif file: its scan is judged beside the models."""
    motif_name: str | None = None
    """Which motif of the file."""
    threshold: float | None = None
    """Least score of a site in the scan, in nats; left out, that of the file."""
    pvalue: float | None = None
    """Least score of a site as a probability, as in `dnalm label`."""
    every_site: bool = False
    """Scan as `dnalm label --every-site` labels."""
    judging: EvaluationOptions = field(default_factory=EvaluationOptions)


def run(options: Options) -> None:
    """Score, print a table, and write the results.

    Raises:
        InputError: for a mistake in the options, the models or the data.
    """
    if not options.models:
        raise InputError(
            "no model is named; name folders of dnalm finetune or dnalm baseline, or published .pt files"
        )
    processor = options.judging.prepare()
    scan = _scan(options)
    models = _named([open_binding(path) for path in options.models], options.models)
    config = _split_config(options, models)
    shapes = [opened.model.shape for opened in models.values()]
    narrowest = min(shapes, key=lambda shape: shape.longest or sys.maxsize)
    whole = options.part == "all"
    prepared = prepare_set(options.sequences, options.scores, config, narrowest, whole=whole)
    warnings = _warnings(options, models, prepared)
    for warning in warnings:
        options.judging.say(warning)
    judged = partial(_judged, options, models, prepared, scan, alone(processor.fabric()))
    options.judging.evaluate_and_save(
        "evaluate",
        lambda: judged() | {"warnings": warnings},
        table=_table,
        metrics=_without_details,
        recipe={key: getattr(options, key) for key in ("part", "threshold", "pvalue", "every_site")},
        seed=0,
        data=prepared.about,
        device=str(processor),
    )


def _without_details(results: dict[str, Any]) -> dict[str, Any]:
    """Return results as a record keeps them: without the tracks and densities that the report draws."""
    models = {
        name: {key: value for key, value in entry.items() if key != "detail"}
        for name, entry in results["models"].items()
    }
    kept = ("part", "split", "windows", "bases", "baselines", "pairs", "warnings")
    return {key: results[key] for key in kept} | {"models": models}


def _judged(
    options: Options,
    models: dict[str, OpenedBinding],
    prepared: Prepared,
    scan: MotifScan | None,
    fabric: Fabric,
) -> dict[str, Any]:
    """Return what the results file holds."""
    letters, truth, names = _part(options, prepared)
    tracks = {}
    for name, opened in models.items():
        windows = BindingWindows(opened.model.shape.tokens(letters), torch.from_numpy(truth))
        tracks[name] = predict(fabric.setup_module(opened.model), windows, together=True)
    baselines = _baselines(scan, prepared, letters, truth)
    sums = {name: moments(truth, track) for name, track in (tracks | baselines).items()}
    return {
        "format": "dnalm-binding-evaluation",
        "format_version": 1,
        "part": options.part,
        "split": prepared.split_about,
        "files": prepared.about["files"],
        "windows": len(truth),
        "bases": truth.size,
        "models": {
            name: {
                "model": models[name].about | {"weights": models[name].weights},
                "path": str(path),
                "scores": binding_scores(truth, tracks[name]),
                "detail": binding_detail(names, truth, tracks[name]),
            }
            for name, path in zip(models, options.models, strict=True)
        },
        "baselines": {name: {"scores": binding_scores(truth, track)} for name, track in baselines.items()},
        "pairs": paired_comparisons(sums),
    }


def _named(opened: list[OpenedBinding], paths: tuple[Path, ...]) -> dict[str, OpenedBinding]:
    names = [each.name for each in opened]
    unique = [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
    if len(set(unique)) < len(unique):
        raise InputError(f"a model is named twice: {', '.join(map(str, paths))}; name each once")
    return dict(zip(unique, opened, strict=True))


def _split_config(options: Options, models: dict[str, OpenedBinding]) -> SplitConfig:
    """Return the split to judge on: the one that all models were trained with, unless one is asked for."""
    told = {}
    for name, opened in models.items():
        keys = ("split", "gap", "split_seed")
        known = {key: opened.identity[key] for key in keys if key in opened.identity}
        config = SplitConfig(**known) if known else SplitConfig(split="published")
        # Nothing but its kind decides the published split.
        told[name] = SplitConfig(split="published") if config.split == "published" else config
    if options.split != "auto":
        fitting = [config for config in told.values() if config.split == options.split]
        return fitting[0] if fitting else SplitConfig(split=options.split)
    if len(set(told.values())) > 1 and options.part != "all":  # of all windows none is chosen by a split
        listed = "; ".join(f"{name}: {config}" for name, config in told.items())
        raise InputError(
            f"the models were trained with different splits, so that one's test windows are another's "
            f"training windows ({listed}); evaluate them apart, or give --split and mind which have seen what"
        )
    return next(iter(told.values()))


def _warnings(options: Options, models: dict[str, OpenedBinding], prepared: Prepared) -> list[str]:
    """Say what makes the figures less than they seem."""
    found = []
    if prepared.unsplit:
        found.append(
            "the mean score is not judged beside the models: it is that of the training part, and these "
            f"windows cannot be split ({prepared.unsplit})"
        )
    for name, opened in models.items():
        digest = opened.identity.get("set")
        if digest is None:
            found.append(
                f"{name}: the file does not say which windows it was trained on; some may be among these"
            )
        elif digest != prepared.about["digest"]:
            found.append(
                f"{name}: trained on other windows or another split; windows it has seen may be among these"
            )
        elif options.part == "all":
            found.append(f"{name}: --part all holds the windows it was trained on")
    return found


def _part(options: Options, prepared: Prepared) -> tuple[npt.NDArray[np.uint8], Tracks, list[str]]:
    if options.part == "all":
        return prepared.windows.letters, prepared.windows.scores, prepared.windows.names
    letters, truth = prepared.part(options.part)
    if not len(letters):
        raise InputError(
            f"--part {options.part}: the {prepared.split.kind} split has no such part; use --part "
            "validation, or train with --split blocks"
        )
    return letters, truth, prepared.names(options.part)


def _scan(options: Options) -> MotifScan | None:
    """Open the motif whose scan is judged beside the models, where there is one."""
    if options.motif is None:
        return None
    motif = choose_motif(options.motif, options.motif_name)
    threshold = site_threshold(motif, threshold=options.threshold, pvalue=options.pvalue)
    return MotifScan(motif, threshold, every_site=options.every_site)


def _baselines(
    scan: MotifScan | None, prepared: Prepared, letters: npt.NDArray[np.uint8], truth: Tracks
) -> dict[str, Tracks]:
    """Return what needs no training: the mean training score at each position, and the scan of a motif."""
    found: dict[str, Tracks] = {}
    if not prepared.unsplit:
        mean = prepared.part("train")[1].mean(0, dtype=np.float64)
        found["mean score"] = np.broadcast_to(mean.astype(np.float32), truth.shape)
    if scan is not None:
        found["motif scan"] = scan.predict(letters)
    return found


def _table(results: dict[str, Any]) -> str:
    """Return one line a model, and the best model against each of the others."""
    best = max(results["models"], key=lambda name: np.nan_to_num(_r(results["models"][name]), nan=-1.0))
    lines = [
        f"{_judged_on(results)}: {results['windows']:,} windows, {results['bases']:,} bases",
        f"{'':<24}{'Pearson R':>10}  {'95 % interval':<18}{'batch mean':>10}{'MSE':>9}"
        f"{'AUROC':>8}{'AUPRC':>8}",
    ]
    for name, entry in (results["models"] | results["baselines"]).items():
        scores = entry["scores"]
        r = scores["pearson_r"]
        spread = f"{_shown(r['low'])} to {_shown(r['high'])}"
        lines.append(
            f"{name:<24}{_shown(r['value']):>10}  {spread:<18}{_shown(scores['pearson_r_batches']):>10}"
            f"{scores['mse']:>9.4f}{_shown(scores['auroc']):>8}{_shown(scores['auprc']):>8}"
        )
    lines += [
        f"{pair['one']} less {pair['other']}: {pair['value']:+.4f} (95 % paired interval {pair['low']:+.4f} "
        f"to {pair['high']:+.4f})"
        for pair in results["pairs"]
        if best in (pair["one"], pair["other"])
    ]
    return "\n".join(lines)


def _judged_on(results: dict[str, Any]) -> str:
    kind = results["split"]["kind"]
    return (
        "all of the set, which is not split"
        if kind == "none"
        else f"{results['part']} part of the {kind} split"
    )


def _r(entry: dict[str, Any]) -> float:
    return float(entry["scores"]["pearson_r"]["value"])


def _shown(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "none"
