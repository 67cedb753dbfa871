"""The chapter on binding models: which is better, by how much, how certainly."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from dnalm.bootstrap import RESAMPLES
from dnalm.record import read_record
from dnalm.report import figures_predictions as predictions
from dnalm.report.figures import binding_curves, duration, save, time_comparison
from dnalm.report.figures_scores import Panel, performance_comparison
from dnalm.report.pages import Chapter, Picture, Table, paragraphs, picture, run_facts
from dnalm.report.read_binding import BindingComparison, BindingRuns, read_binding
from dnalm.report.sentences import binding_findings, interval, listed, number, split_counts, twins, verdict
from dnalm.results import BindingDetail, BindingModelInfo, Split

TIME_PLOT, PERFORMANCE_PLOT = "finetuning_time_comparison.png", "performance_comparison.png"
TIME_TITLE = "Training time of the binding models"
MOST_LINES = 4
"""Models drawn over each other in one figure; more could not be distinguished."""


def binding_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on the binding models in some folders.

    Args:
        folders: each was `out` of `dnalm finetune` and `dnalm baseline`.

    Raises:
        InputError: if there are no results, or a file is damaged.
    """
    runs = read_binding(folders)
    titles = _titles(runs.comparisons)
    findings, tables = [], []
    for title, comparison in zip(titles, runs.comparisons, strict=True):
        findings += [f"{title}: {sentence}" for sentence in binding_findings(comparison)]
        tables += [_scores(title, comparison), *_differences(title, comparison)]
    return Chapter(
        title="Transcription-factor binding",
        findings=findings,
        tables=[*tables, *_cost(runs)],
        figures=_figures(runs, titles),
        paragraphs=_text(runs),
        details=[_how(runs, name) for name in runs.trained],
    )


def draw_comparisons(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write the two figures that compare the binding models in some folders.

    Args:
        folders: each was `out` of `dnalm finetune` and `dnalm baseline`.
        out: the folder for the figures.

    Returns:
        The paths written; where only evaluations are known, there are no times to draw.

    Raises:
        InputError: if there are no results, or a file is damaged.
    """
    runs = read_binding(folders)
    figures = {TIME_PLOT: _times(runs)} if runs.trained else {}
    figures[PERFORMANCE_PLOT] = _performance(runs, _titles(runs.comparisons))
    for name, figure in figures.items():
        save(figure, out / name)
    return [out / name for name in figures]


def kind_of(model: BindingModelInfo) -> str:
    """Say in a few words what a model is, as in "GPT, untrained core, frozen"."""
    if model.kind != "gpt":
        return f"{model.kind.upper()}, fully trained"
    if model.tune == "unknown":  # a published file
        return "GPT from a .pt file, training unknown"
    core = "untrained core" if model.random_core else "pretrained core"
    tuned = {"lora": "tuned by LoRA", "full": "fully tuned", "all": "fully tuned"}
    return f"GPT, {core}, {tuned.get(model.tune, model.tune)}"


def _names(runs: BindingRuns) -> list[str]:
    """Return every model once, best first: the order of the colours in every figure."""
    return list(dict.fromkeys(name for comparison in runs.comparisons for name in comparison.models()))


def _titles(comparisons: Sequence[BindingComparison]) -> list[str]:
    """Name the part of each comparison, with the split where there are several."""
    several = len({comparison.split.digest for comparison in comparisons}) > 1
    titles = []
    for comparison in comparisons:
        if comparison.part != "all":
            title = f"{comparison.part.capitalize()} part"
        else:
            undivided = comparison.split.kind == "none"
            title = "All windows" + ("" if undivided else ", those of the training part included")
        titles.append(title + (f" of the {_split_name(comparison.split)}" if several else ""))
    return titles


def _split_name(split: Split) -> str:
    kind = "set without a split" if split.kind == "none" else f"{split.kind} split"
    return f"{kind} {split.digest[:8]}"


def _windows(comparison: BindingComparison) -> str:
    return f"{max(entry.scores.windows for entry in comparison.entries.values()):,} windows"


def _scores(title: str, comparison: BindingComparison) -> Table:
    columns = ["", "Pearson R (95 % interval)", "R, mean over batches of 64", "mean squared error", "AUROC"]
    rows = []
    for name in comparison.models() + comparison.baselines():
        s = comparison.entries[name].scores
        others = (s.pearson_r_batches, s.mse, s.auroc, s.auprc, s.median_window_r)
        rows.append([name, interval(s.pearson_r), *map(number, others)])
    caption = f"Scores. {title}, {_windows(comparison)}."
    return Table(caption, [*columns, "AUPRC", "median R of a window"], rows)


def _differences(title: str, comparison: BindingComparison) -> list[Table]:
    """Compare the best model with each other one, and each pretrained model with its untrained twin."""
    names = comparison.models()
    pairs = [(names[0], other) for other in names[1:]]
    pairs += [pair for pair in twins(comparison) if pair not in pairs and pair[::-1] not in pairs]
    rows = []
    for one, other in pairs:
        gap = comparison.difference(one, other)
        if isinstance(gap, str):
            rows.append([f"{one} minus {other}", "unknown", gap])
        else:
            better = {"better": one, "worse": other}.get(verdict(gap), "undecided")
            rows.append([f"{one} minus {other}", interval(gap, "+"), better])
    columns = ["", "difference in R (95 % paired interval)", "which is better"]
    return [Table(f"Differences in Pearson R. {title}.", columns, rows)] if rows else []


def _cost(runs: BindingRuns) -> list[Table]:
    rows = []
    for name in sorted(runs.trained, key=_names(runs).index):
        content = runs.trained[name]
        model, training = content.model, content.training
        sees = "the left of each base" if model.causal else "both sides of each base"
        trained, states = model.trained_parameters or 0, training.states_seconds
        time = duration(training.seconds) + (f", {duration(states)} for the states" if states else "")
        memory = content.peak_memory_bytes
        rows.append(
            [name, kind_of(model), "both strands" if model.both_strands else sees]
            + [f"{trained:,} of {model.parameters:,} ({100 * trained / max(1, model.parameters):.0f} %)"]
            + [f"{training.epochs} ({training.best_epoch})", time]
            + [f"{memory / 1e6:,.0f} MB" if memory else "not measured"]
        )
    columns = ["", "model", "sees", "parameters trained", "epochs (best)", "time", "peak memory"]
    return [Table("What each model is and what it cost.", columns, rows)] if rows else []


def _text(runs: BindingRuns) -> list[str]:
    comparisons = runs.comparisons
    causal = [
        name
        for name in _names(runs)
        if any(
            (model := c.entries[name].model) and model.causal and not model.both_strands
            for c in comparisons
            if name in c.entries
        )
    ]
    return paragraphs(
        "binding",
        resamples=RESAMPLES,
        splits=list({c.split.digest: c.split for c in comparisons}.values()),
        tested={c.split.digest for c in comparisons if c.part == "test"},
        name_of=_split_name,
        counts=split_counts,
        causal=listed(causal) if causal else "",
        missing=[path.as_posix() for path in runs.missing],
    )


def _times(runs: BindingRuns) -> Figure:
    names = _names(runs)
    seconds = {
        name: runs.trained[name].training.seconds + runs.trained[name].training.states_seconds
        for name in sorted(runs.trained, key=names.index)
    }
    return time_comparison(seconds, TIME_TITLE, names)


def _performance(runs: BindingRuns, titles: Sequence[str]) -> Figure:
    panels = []
    for title, comparison in zip(titles, runs.comparisons, strict=True):
        scores = {n: comparison.entries[n].scores for n in comparison.models() + comparison.baselines()}
        panels.append(
            Panel(
                f"{title}, {_windows(comparison)}",
                {name: one.pearson_r for name, one in scores.items()},
                published={name: one.pearson_r_batches for name, one in scores.items()},
            )
        )
    return performance_comparison(panels, _names(runs))


def _figures(runs: BindingRuns, titles: Sequence[str]) -> list[Picture]:
    pictures = [
        picture(
            _performance(runs, titles),
            "Pearson R over all bases with its 95 % interval. Panels show different windows: compare "
            "within a panel only. Grey dots are baselines without training.",
            "Pearson R of each model",
        )
    ]
    shown: set[str] = set()
    for title, comparison in zip(titles, runs.comparisons, strict=True):
        if comparison.split.digest not in shown:  # the test part, where it was evaluated
            made = _predictions(title, comparison, _names(runs))
            pictures += made
            shown |= {comparison.split.digest} if made else set()
    for name, content in runs.trained.items():
        caption = f"{name}: loss (left) and Pearson R (right) during training; epoch 0 is untrained."
        curves = binding_curves(content.training, f"Training: {name}")
        pictures.append(picture(curves, caption, f"Training curves of {name}"))
    if runs.trained:
        caption = "Time of each training, with that of computing the states of a frozen core."
        pictures.append(picture(_times(runs), caption, "Training times"))
    return pictures


def _predictions(title: str, comparison: BindingComparison, names: Sequence[str]) -> list[Picture]:
    """Draw tracks, density and error by position of the best models of a comparison."""
    details = {name: d for name in comparison.models() if (d := comparison.entries[name].detail)}
    if not details:
        return []
    best = dict(list(details.items())[:MOST_LINES])
    which = f" Only the {MOST_LINES} best models are drawn." if len(details) > MOST_LINES else ""
    pictures = []
    if windows := _common_windows(best):
        caption = f"{title}. True scores are a filled area, models are lines; the genome is counted from 1."
        figure = predictions.tracks(windows, names)
        pictures.append(picture(figure, caption + which, "Predicted and true tracks"))
    caption = (
        f"{title}. How many bases have a true and a predicted score, on a logarithmic scale of colours; the "
        "dashed line is a perfect prediction."
    )
    figure = predictions.density({name: one.density for name, one in details.items()})
    pictures.append(picture(figure, caption, "Density of predicted against true scores"))
    figure = predictions.error_by_position({n: one.error_by_position for n, one in best.items()}, names)
    caption = f"{title}. Root mean squared error at each base of the window.{which}"
    return [*pictures, picture(figure, caption, "Error by position in the window")]


def _common_windows(details: dict[str, BindingDetail]) -> list[predictions.Window]:
    """Return the windows of the best model, with the predictions of all models for them."""
    windows = []
    for track in next(iter(details.values())).tracks:
        predicted = {
            name: other.predicted
            for name, one in details.items()
            for other in one.tracks
            if (other.window, other.truth) == (track.window, track.truth)
        }
        windows.append(predictions.Window(track.window, track.truth, predicted))
    return windows


def _how(runs: BindingRuns, name: str) -> Table:
    """Return how a model was made: from its run.json where there is one, and from its results."""
    content, path = runs.trained[name], runs.paths[name] / "run.json"
    rows = list(run_facts(name, read_record(path)).rows) if path.is_file() else []
    rows += [
        ["core", content.model.core or "none, or untrained"],
        ["device", content.device or "unknown"],
        ["split", f"{content.split.kind}, digest {content.split.digest}"],
    ]
    return Table(f"How {name} was made", ["", ""], rows)
