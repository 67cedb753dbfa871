"""How well binding models predict the score at every base, side by side and beside untrained baselines.

Shapes: N windows; L bases in a window; M windows to predict.
"""

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from dnalm import process
from dnalm.bootstrap import Numbers, moments, paired_difference, pearson, pearson_estimate
from dnalm.data.binding import BindingWindows, SplitConfig, SplitSet, read_split_set
from dnalm.device import alone
from dnalm.errors import InputError
from dnalm.evaluate.auroc import areas
from dnalm.evaluate.baselines.motif_scan import MotifScan
from dnalm.formats.binding import BindingSet
from dnalm.models.open import OpenedBinding, open_binding, unique_names

if TYPE_CHECKING:  # slow to import
    from lightning_fabric import Fabric

Tracks = npt.NDArray[np.float32]
EvaluatedPart = Literal["validation", "test", "all"]

PREDICT_BATCH = 64
"""Windows predicted at a time: no result depends on it."""
PUBLISHED_BATCH = 64
"""Windows over which the published project computes an R, of which it then takes the mean."""
EXAMPLES = 5
"""Windows whose tracks are stored for the report."""
BINS = 60
"""Bins of an axis of the density."""


@torch.no_grad()
def predict(
    model: nn.Module,
    windows: BindingWindows,
    rows: npt.NDArray[np.int64] | None = None,
    *,
    together: bool = False,
) -> Tracks:
    """Return the scores that `model` predicts for all windows, or for `rows`: [M, L].

    The model maps tokens and states to scores. `together`: all processes call this at the same time, and
    divide the windows among them.
    """
    rows = np.arange(len(windows), dtype=np.int64) if rows is None else rows
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()

    def scores(first: int) -> Tracks:
        batch = windows.take(rows[first : first + PREDICT_BATCH])
        states = None if batch.states is None else batch.states.to(device)
        predicted: Tracks = model(batch.tokens.to(device), states).float().cpu().numpy()
        return predicted

    parts = process.map_over_ranks(range(0, len(rows), PREDICT_BATCH), scores, together=together)
    model.train(was_training)
    return np.concatenate(parts)


def binding_scores(truth: Tracks, predicted: Tracks) -> dict[str, Any]:
    """Score predicted tracks; a base whose true score is not 0 is inside a site. Both are [N, L].

    Returns:
        `pearson_r` over all bases, with the 95 % bootstrap interval over windows; `pearson_r_batches`, the
        published figure: the mean of R over batches of 64 windows, in their order; `auroc` and `auprc` of
        "inside a site", and `site_share`, the AUPRC of guessing. NaN where one is not defined.
    """
    sums, inside = moments(truth, predicted), truth != 0
    auroc, auprc = areas(inside.ravel(), predicted.ravel())
    return {
        "pearson_r": pearson_estimate(sums)._asdict(),
        "pearson_r_batches": pearson_of_batches(sums),
        "mse": float(np.square(truth.astype(np.float64) - predicted).mean()),
        "auroc": auroc,
        "auprc": auprc,
        "site_share": float(inside.mean()),
        "median_window_r": _of_finite(np.median, pearson(sums)),
        "windows": len(truth),
        "bases": truth.size,
    }


def pearson_of_batches(sums: Numbers) -> float:
    """Return the published figure from moments [N, 6]: the mean of R over batches of 64 windows."""
    batches = [pearson(sums[at : at + PUBLISHED_BATCH].sum(0)) for at in range(0, len(sums), PUBLISHED_BATCH)]
    return _of_finite(np.mean, np.array(batches))


def _of_finite(summary: Any, values: Numbers) -> float:
    finite = values[np.isfinite(values)]
    return float(summary(finite)) if len(finite) else math.nan


def binding_detail(names: Sequence[str], truth: Tracks, predicted: Tracks) -> dict[str, Any]:
    """Return what the report draws of tracks [N, L], as JSON values of `results.BindingDetail`."""
    rows = ((np.arange(EXAMPLES) + 0.5) * len(names) / EXAMPLES).astype(int)
    tracks = [
        {
            "window": names[row],
            "truth": np.round(truth[row], 4).tolist(),
            "predicted": np.round(predicted[row].astype(np.float64), 4).tolist(),
        }
        for row in dict.fromkeys(rows.tolist())
    ]
    low = min(float(truth.min()), float(predicted.min()))
    high = max(float(truth.max()), float(predicted.max()))
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts, _, _ = np.histogram2d(truth.ravel(), predicted.ravel(), bins=[edges, edges])
    error = np.sqrt(np.square(truth.astype(np.float64) - predicted).mean(0))
    return {
        "tracks": tracks,
        "density": {"edges": edges.tolist(), "counts": counts.astype(int).tolist()},
        "error_by_position": error.tolist(),
    }


def paired_comparisons(sums: Mapping[str, Numbers]) -> list[dict[str, Any]]:
    """Return the difference in R of every two models on the same windows, with its 95 % paired interval.

    Models with moments [N, 6] of which R is not defined are left out.
    """
    defined = {name: each for name, each in sums.items() if np.isfinite(pearson(each.sum(0)))}
    return [
        {"one": one, "other": other, **paired_difference(defined[one], defined[other])._asdict()}
        for one, other in itertools.combinations(defined, 2)
    ]


def open_models(paths: Sequence[Path]) -> dict[str, OpenedBinding]:
    """Open binding models, by their names; by their paths where two have one name.

    Raises:
        InputError: if there are none, one is given twice, or one is no binding model.
    """
    if not paths:
        raise InputError(
            "no model is given; give folders of dnalm finetune or dnalm baseline, or published .pt files"
        )
    opened = [open_binding(path) for path in paths]
    return dict(zip(unique_names([each.name for each in opened], paths), opened, strict=True))


def read_evaluation_set(
    models: Mapping[str, OpenedBinding],
    sequences: Path,
    scores: Path,
    *,
    split: Literal["auto", "blocks", "published"] = "auto",
    part: EvaluatedPart = "validation",
) -> SplitSet:
    """Read the windows on which models are compared; `split` auto is that of their training.

    With `part` all, the set may be too small to split.

    Raises:
        InputError: if the files are wrong, a model cannot take the windows, the models were trained with
            different splits, or the split has no such part.
    """
    longest = min(each.model.shape.longest or sys.maxsize for each in models.values())
    config = _split_config(models, split, part)
    data = read_split_set(sequences, scores, config, longest, part == "all")
    if not data.part(part).names:
        raise InputError(
            f"`part` {part}: the {data.split.kind} split has no such part; use `part` validation, or train "
            "with `split` blocks"
        )
    return data


def _split_config(models: Mapping[str, OpenedBinding], split: str, part: EvaluatedPart) -> SplitConfig:
    """Return the split of all models' training; or if `split` is given, that with the settings of a model."""
    trained_with = {}
    for name, opened in models.items():
        keys = {field.name for field in fields(SplitConfig)} & opened.identity.keys()
        config = SplitConfig(**{key: opened.identity[key] for key in keys})
        # The published split has no settings.
        published = not keys or config.split == "published"
        trained_with[name] = SplitConfig(split="published") if published else config
    if split != "auto":
        same_kind = [config for config in trained_with.values() if config.split == split]
        return same_kind[0] if same_kind else SplitConfig(split=split)  # type: ignore[arg-type]
    if len(set(trained_with.values())) > 1 and part != "all":  # all windows do not depend on the split
        listed = "; ".join(f"{name}: {config}" for name, config in trained_with.items())
        raise InputError(
            "the models were trained with different splits, so that the test windows of one are training "
            f"windows of another ({listed}); evaluate them separately, or give `split`, and mind which "
            "windows each was trained on"
        )
    return next(iter(trained_with.values()))


def evaluate_models(
    models: Mapping[str, OpenedBinding],
    data: SplitSet,
    fabric: "Fabric",
    *,
    part: EvaluatedPart = "validation",
    scan: MotifScan | None = None,
    paths: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Score models on the same windows, beside the mean training score at each position and a motif scan.

    All processes call this at the same time. `paths` are where each model was read, for the results.

    Returns:
        The content of an evaluation file: scores and detail of each model, scores of each baseline, paired
            differences in R, and warnings.
    """
    windows = data.part(part)
    single = alone(fabric)
    tracks = {}
    for name, opened in models.items():
        tokens = opened.model.shape.tokens(windows.letters)
        inputs = BindingWindows(tokens, torch.from_numpy(windows.scores))
        tracks[name] = predict(single.setup_module(opened.model), inputs, together=True)
    baselines = _baselines(data, windows, scan)
    return {
        "format": "dnalm-binding-evaluation",
        "format_version": 1,
        "part": part,
        "split": data.split_about,
        "files": data.about["files"],
        "windows": len(windows.names),
        "bases": windows.scores.size,
        "models": {
            name: {
                "model": opened.about | {"weights": opened.weights},
                "path": str((paths or {}).get(name, "")),
                "scores": binding_scores(windows.scores, tracks[name]),
                "detail": binding_detail(windows.names, windows.scores, tracks[name]),
            }
            for name, opened in models.items()
        },
        "baselines": {
            name: {"scores": binding_scores(windows.scores, track)} for name, track in baselines.items()
        },
        "pairs": paired_comparisons(
            {name: moments(windows.scores, track) for name, track in (tracks | baselines).items()}
        ),
        "warnings": evaluation_warnings(models, data, part)
        + [f"{name}: {why}" for name, track in tracks.items() if (why := constant(track, "a prediction of"))],
    }


def _baselines(data: SplitSet, windows: BindingSet, scan: MotifScan | None) -> dict[str, Tracks]:
    """Return the tracks of what needs no training."""
    baselines: dict[str, Tracks] = {}
    if not data.unsplit:
        mean = data.part("train").scores.mean(0, dtype=np.float64)
        baselines["mean score"] = np.broadcast_to(mean.astype(np.float32), windows.scores.shape)
    if scan is not None:
        baselines["motif scan"] = scan.predict(windows.letters)
    return baselines


def constant(tracks: Tracks, what: str) -> str:
    """Return why R is not defined, if tracks [N, L] are of one number; empty otherwise."""
    if np.ptp(tracks):
        return ""
    return f"R is not defined where nothing varies: every base has {what} {tracks.flat[0]:g}"


def evaluation_warnings(
    models: Mapping[str, OpenedBinding], data: SplitSet, part: EvaluatedPart = "validation"
) -> list[str]:
    """Return what limits the figures of an evaluation: windows that a model may have been trained on."""
    warnings = []
    if why := constant(data.part(part).scores, "a true score of"):
        warnings.append(why)
    if data.unsplit:
        warnings.append(
            "the mean score is no baseline here: it is that of the training part, and these windows cannot "
            f"be split ({data.unsplit})"
        )
    for name, opened in models.items():
        digest = opened.identity.get("set")
        if digest is None:
            warnings.append(
                f"{name}: the file does not name the windows it was trained on; some may be among these"
            )
        elif digest != data.about["digest"]:
            warnings.append(
                f"{name}: trained on other windows or another split; its training windows may be among these"
            )
        elif part == "all":
            warnings.append(f"{name}: all windows are evaluated, and it was trained on some of them")
    return warnings
