"""The report's chapter on transcription-factor binding: which model is better, by how much, how certainly."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dnalm.bootstrap import RESAMPLES
from dnalm.record import read_record
from dnalm.report.binding_plots import (
    density,
    error_by_position,
    performance_comparison,
    tracks,
    training_curves,
)
from dnalm.report.binding_words import against_baselines, differences, figure_of, pretraining, ranking
from dnalm.report.page import Chapter, Picture, Table, draw, facts
from dnalm.report.plots import duration, time_comparison
from dnalm.report.read_binding import BindingResults, Comparison, read_results

TIME_TITLE = "Training time of the binding models"
TIME_PLOT, PERFORMANCE_PLOT = "finetuning_time_comparison.png", "performance_comparison.png"
MOST_LINES = 4
"""Models drawn over each other in one picture; more could not be told apart."""

EXPLAINED = (
    "Each model predicts a binding score at every base of a window. Pearson R is taken over all bases of all "
    "windows together: 1 is perfect, 0 is no better than a constant. Intervals are 95 % bootstrap intervals: "
    f"whole windows are drawn again, {RESAMPLES:,} times. For a difference between two models the same "
    "windows are drawn for both, so that it can be certain though their own intervals overlap. Where the "
    "interval of a difference includes 0, the two models cannot be told apart.",
    "The mean over batches of 64 windows is given only because the published project reports it; it depends "
    "on how windows fall into batches. AUROC and AUPRC ask whether a base lies inside a site. The median R, "
    "over windows, says how a usual window fares.",
)


def binding_chapter(folder: Path) -> Chapter:
    """Tell what the binding models in a folder came to.

    Args:
        folder: what was --out of `dnalm finetune` and `dnalm baseline`.

    Returns:
        Findings, tables of scores, differences and cost, pictures, and how each model was made.

    Raises:
        InputError: if there are no results, or one of the files is damaged.
    """
    results = read_results(folder)
    names = _names(results.comparisons)
    titles = _titles(results.comparisons)
    findings, tables = [], []
    for title, comparison in zip(titles, results.comparisons, strict=True):
        said = ranking(comparison) + pretraining(comparison) + against_baselines(comparison)
        findings += [f"{title}: {sentence}" for sentence in said]
        tables.append(_scores(_heading(title, comparison), comparison))
        rows = differences(comparison)
        if rows:
            columns = ["", "difference in R", "95 % interval", "which is better"]
            tables.append(Table(f"Differences in Pearson R. {title}.", columns, rows))
    if results.trained:
        tables.append(_cost(results))
    return Chapter(
        title="Transcription-factor binding",
        findings=findings,
        paragraphs=[*_parts(results), *EXPLAINED, *_causal(results.comparisons), *_missing(results)],
        tables=tables,
        figures=_figures(results, titles, names),
        details=[_how(results, name) for name in results.trained],
    )


def refresh_comparisons(folder: Path) -> list[Path]:
    """Write the two comparison plots of a folder, from the results that are there.

    Args:
        folder: what was --out of `dnalm finetune` and `dnalm baseline`.

    Returns:
        The paths written; where only evaluations are there, no times are known and none are drawn.

    Raises:
        InputError: if there are no results, or one of the files is damaged.
    """
    results = read_results(folder)
    names = _names(results.comparisons)
    written = []
    if results.trained:
        time_comparison(_seconds(results), folder / TIME_PLOT, TIME_TITLE, names)
        written.append(folder / TIME_PLOT)
    _performance(results, folder / PERFORMANCE_PLOT)
    return [*written, folder / PERFORMANCE_PLOT]


def _names(comparisons: Sequence[Comparison]) -> list[str]:
    """Every model once, in the order in which they are told: the same colours in every picture."""
    return list(dict.fromkeys(name for comparison in comparisons for name in comparison.models()))


def _titles(comparisons: Sequence[Comparison]) -> list[str]:
    """Name what each comparison was judged on, with the split where there are several."""
    splits = {comparison.split["digest"]: _split_name(comparison.split) for comparison in comparisons}
    return [
        _part_name(c) + (f" of the {splits[c.split['digest']]}" if len(splits) > 1 else "")
        for c in comparisons
    ]


def _part_name(comparison: Comparison) -> str:
    if comparison.part != "all":
        return f"{comparison.part.capitalize()} part"
    return "All windows" + ("" if _is_whole(comparison.split) else ", those trained on included")


def _is_whole(split: Mapping[str, Any]) -> bool:
    """Whether the windows are not split at all."""
    return bool(split["kind"] == "none")


def _split_name(split: Mapping[str, Any]) -> str:
    kind = "set without a split" if _is_whole(split) else f"{split['kind']} split"
    return f"{kind} {split['digest'][:8]}"


def _heading(title: str, comparison: Comparison) -> str:
    windows = max(int(one.scores["windows"]) for one in comparison.judged.values())
    return f"{title}, {windows:,} windows"


def _parts(results: BindingResults) -> list[str]:
    """Say what was judged, which part chose the epoch, and how far the parts are apart."""
    comparisons = results.comparisons
    splits = {c.split["digest"]: c.split for c in comparisons}
    tested = {c.split["digest"] for c in comparisons if c.part == "test"}
    text = []
    if len(splits) > 1:
        text.append(
            f"The results in this folder are of {len(splits)} different splits or sets of windows. Figures "
            "of different ones do not compare, and none are compared here: each is told by itself."
        )
    for digest, split in splits.items():
        name = _split_name(split).capitalize()
        if _is_whole(split):
            text.append(
                f"{name}: its windows could not be divided into parts, and all of them are judged. Believe "
                "the figures of models that were trained on none of them."
            )
            continue
        text.append(f"{name}: {_how_split(split)} {_near(split)}")
        if digest in tested:
            text.append(
                f"{name}: the validation part chose the epoch whose weights were kept, which flatters every "
                "model a little there. The test part had no say in training or in that choice: believe its "
                "figures first."
            )
            continue
        why = "the published split has no test part."
        if split["kind"] != "published":
            why = "the test part has not been judged yet; run dnalm evaluate MODEL --part test."
        text.append(
            f"{name}: only the validation part is judged here, which also chose the epoch whose weights were "
            f"kept; that flatters every model a little, and {why}"
        )
    return text


def _how_split(split: Mapping[str, Any]) -> str:
    counts = split["windows"]
    parts = [f"{counts[part]:,} {part}" for part in ("train", "validation", "test") if counts.get(part)]
    sizes = ", ".join(parts).replace("train", "training", 1)
    if split["kind"] == "published":
        return (
            f"windows were shuffled and a fifth set aside ({sizes}), so that neighbours in the genome lie on "
            "both sides, which flatters every model."
        )
    left_out = counts.get("left_out") or 0
    return (
        f"contiguous stretches of the contigs went to each part ({sizes} windows); {left_out:,} windows near "
        "a border were left out."
    )


def _near(split: Mapping[str, Any]) -> str:
    near = split.get("near_duplicates")
    if near is None:
        return "Near-duplicates across parts were not counted."
    counts = " and ".join(
        f"{found:,} of the {split['windows'].get(part) or 0:,} {part} windows" for part, found in near.items()
    )
    return (
        f"Near-duplicates of a window of an earlier part, on either strand: {counts}. The more of them, the "
        "more a model gains by remembering."
    )


def _causal(comparisons: Sequence[Comparison]) -> list[str]:
    names = [n for n in _names(comparisons) if any(_one_sided(c, n) for c in comparisons)]
    if not names:
        return []
    what, they = (
        ("is causal and reads", "it sees") if len(names) == 1 else ("are causal and read", "they see")
    )
    return [
        f"{' and '.join(names)} {what} one strand: at each base {they} only what lies to its "
        "left, so that the first bases of a site are scored before the site has been read. With "
        "--both-strands the reverse complement is read too, and both sides of every base are seen."
    ]


def _one_sided(comparison: Comparison, name: str) -> bool:
    model = comparison.judged[name].model if name in comparison.judged else None
    return bool(model and model["causal"] and not model["both_strands"])


def _missing(results: BindingResults) -> list[str]:
    if not results.missing:
        return []
    paths = ", ".join(path.relative_to(results.folder).as_posix() for path in results.missing)
    return [
        f"Left out: paired differences of the validation part for models without their sums of each window "
        f"({paths}). Train such a model again to have them."
    ]


def _scores(title: str, comparison: Comparison) -> Table:
    columns = ["", "Pearson R (95 % interval)", "R, mean over batches of 64", "mean squared error", "AUROC"]
    rows = []
    for name in comparison.models() + comparison.baselines():
        scores = comparison.judged[name].scores
        others = ("pearson_r_batches", "mse", "auroc", "auprc", "median_window_r")
        rows.append([name, figure_of(comparison.r(name)), *(_figure(scores[key]) for key in others)])
    return Table(f"Scores. {title}.", [*columns, "AUPRC", "median R of a window"], rows)


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _cost(results: BindingResults) -> Table:
    columns = ["", "model", "sees", "parameters trained", "epochs (best)", "time", "peak memory"]
    rows = []
    for name in sorted(results.trained, key=_names(results.comparisons).index):
        content = results.trained[name]
        model, training = content["model"], content["training"]
        sees = "the left of each base" if model["causal"] else "both sides of each base"
        trained, whole = model["trained_parameters"], model["parameters"]
        states = training["states_seconds"]
        time = duration(training["seconds"]) + (f", {duration(states)} for the states" if states else "")
        memory = content.get("peak_memory_bytes")
        rows.append(
            [name, kind_of(model), "both strands" if model["both_strands"] else sees]
            + [f"{trained:,} of {whole:,} ({100 * trained / max(1, whole):.0f} %)"]
            + [f"{training['epochs']} ({training['best_epoch']})", time]
            + [f"{memory / 1e6:,.0f} MB" if memory else "not measured"]
        )
    return Table("What each model is and what it cost.", columns, rows)


def kind_of(model: Mapping[str, Any]) -> str:
    """Say in a few words what a model is, as in "GPT, untrained core, frozen"."""
    if model["kind"] != "gpt":
        return f"{model['kind'].upper()}, trained whole"
    if model["tune"] == "unknown":  # a published file, which tells neither
        return "GPT from a .pt file, how it was trained is not told"
    core = "untrained core" if model["random_core"] else "pretrained core"
    tuned = {"frozen": "frozen", "lora": "tuned by LoRA", "full": "tuned whole", "all": "tuned whole"}
    return f"GPT, {core}, {tuned.get(model['tune'], model['tune'])}"


def _seconds(results: BindingResults) -> dict[str, float]:
    """Time of each model: training, and the states before it."""
    times = {}
    for name in sorted(results.trained, key=_names(results.comparisons).index):
        training = results.trained[name]["training"]
        times[name] = float(training["seconds"]) + float(training["states_seconds"])
    return times


def _performance(results: BindingResults, path: Path) -> None:
    titles = _titles(results.comparisons)
    panels = {
        _heading(title, c): {name: c.judged[name].scores for name in c.models() + c.baselines()}
        for title, c in zip(titles, results.comparisons, strict=True)
    }
    performance_comparison(panels, path, everyone=_names(results.comparisons))


def _figures(results: BindingResults, titles: Sequence[str], names: Sequence[str]) -> list[Picture]:
    figures = [
        draw(
            partial(_performance, results),
            "Pearson R over all bases with its 95 % interval. Panels are of different windows: compare "
            "within a panel only. Grey dots are baselines without training.",
            "Pearson R of each model",
        )
    ]
    drawn: set[str] = set()
    for title, comparison in zip(titles, results.comparisons, strict=True):
        if comparison.split["digest"] not in drawn:  # the test part, where it was judged
            pictures = _detail(title, comparison, names)
            figures += pictures
            drawn |= {comparison.split["digest"]} if pictures else set()
    for name, content in results.trained.items():
        training = content["training"]
        plot = partial(
            training_curves,
            training["history"],
            title=f"Training: {name}",
            best_epoch=int(training["best_epoch"]),
        )
        caption = f"{name}: loss (left) and Pearson R (right) as training went on; epoch 0 is untrained."
        figures.append(draw(plot, caption, f"Training curves of {name}"))
    if results.trained:
        plot = partial(time_comparison, _seconds(results), title=TIME_TITLE, everyone=names)
        caption = "Time of each training, with that of computing the states of a frozen core."
        if len({comparison.split["digest"] for comparison in results.comparisons}) > 1:
            caption += " They were not all trained on the same windows, so that times compare only roughly."
        figures.append(draw(plot, caption, "Training times"))
    return figures


def _detail(title: str, comparison: Comparison, names: Sequence[str]) -> list[Picture]:
    """Draw tracks, density and error by position of the best models of a comparison."""
    details = {name: d for name in comparison.models() if (d := comparison.judged[name].detail)}
    if not details:
        return []
    shown = list(details)[:MOST_LINES]
    which = f" Only the {MOST_LINES} best models are drawn." if len(details) > MOST_LINES else ""
    errors = {name: details[name]["error_by_position"] for name in shown}
    densities = {name: one["density"] for name, one in details.items()}
    windows = _windows({name: details[name]["tracks"] for name in shown})
    pictures = (
        [
            draw(
                partial(tracks, windows, everyone=names),
                f"{title}. True scores are a filled area, models are lines; the genome is counted "
                f"from 1.{which}",
                "Predicted and true tracks",
            )
        ]
        if windows
        else []
    )
    return [
        *pictures,
        draw(
            partial(density, densities),
            f"{title}. How many bases have a true and a predicted score; the dashed line is a perfect "
            "prediction. The colours are on a logarithmic scale.",
            "Density of predicted against true scores",
        ),
        draw(
            partial(error_by_position, errors, everyone=names),
            f"{title}. Root mean squared error at each base of the window.{which}",
            "Error by position in the window",
        ),
    ]


def _windows(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Lay the models' tracks of the same windows together; the windows are those of the best model."""
    windows = []
    for track in next(iter(found.values())):
        predicted = {
            name: other["predicted"]
            for name, theirs in found.items()
            for other in theirs
            if (other["window"], other["truth"]) == (track["window"], track["truth"])
        }
        windows.append({"window": track["window"], "truth": track["truth"], "predicted": predicted})
    return windows


def _how(results: BindingResults, name: str) -> Table:
    """Tell how a model was made: from its run.json where that is there, and from its results."""
    content = results.trained[name]
    path = results.folder / name / "run.json"
    rows = [list(row) for row in facts(name, read_record(path)).rows] if path.is_file() else []
    model, split = content["model"], content["split"]
    rows += [
        ["core", str(model.get("core") or "none, or untrained")],
        ["device", str(content.get("device") or "not told")],
        ["split", f"{split['kind']}, digest {split['digest']}"],
    ]
    return Table(f"How {name} was made", ["", ""], rows)
