"""The chapter on binding models: which is better, by how much, how certainly."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dnalm.bootstrap import RESAMPLES
from dnalm.errors import counted
from dnalm.report import figures_predictions as predictions
from dnalm.report.comparisons import BindingComparison, BindingRuns, ranked, read_binding
from dnalm.report.figures import Draw, duration, epoch_curves, time_comparison
from dnalm.report.figures_scores import Panel, performance_comparison
from dnalm.report.pages import Chapter, Picture, Table, how_made, picture
from dnalm.report.sentences import binding_findings, interval, number, paragraphs, twins, verdict
from dnalm.results.binding import BindingModelInfo, Split

TIME_PLOT, PERFORMANCE_PLOT = "finetuning_time_comparison.png", "performance_comparison.png"
MOST_LINES = 4
"""Models drawn over each other in one figure; more could not be distinguished."""


def binding_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on the binding models in some folders; raises InputError as `read_binding` does."""
    runs = read_binding(folders)
    titled = _titled(runs)
    models = {name: one.model for c in runs.comparisons for name, one in c.models.items() if one.model}
    details = []
    for name, one in runs.trained.items():
        core, split = one.model.core or "none, or untrained", f"{one.split.kind}, digest {one.split.digest}"
        more = [["core", core], ["device", one.device or "unknown"], ["split", split]]
        if weights := one.model.layer_weights:
            more.append(["weights of the layers, from the embedding on", ", ".join(map(number, weights))])
        details.append(how_made(name, runs.paths[name], more))
    tables = [table for title, c in titled.items() for table in (_scores(title, c), _differences(title, c))]
    return Chapter(
        title="Transcription-factor binding",
        findings=[f"{title}: {text}" for title, c in titled.items() for text in binding_findings(c)],
        tables=[table for table in (*tables, _cost(runs)) if table.rows],
        figures=_figures(runs),
        paragraphs=paragraphs(
            "binding",
            resamples=RESAMPLES,
            splits=list({c.split.digest: c.split for c in runs.comparisons}.values()),
            tested={c.split.digest for c in runs.comparisons if c.part == "test"},
            name_of=_split_name,
            causal=[n for n in _names(runs) if models[n].causal and not models[n].both_strands],
        ),
        details=details,
    )


def comparison_figures(folders: Sequence[Path], out: Path) -> dict[Path, Draw]:
    """Return the two figures that compare the binding models in some folders, by their files in `out`.

    Where only evaluations are known, there are no times to draw. Raises InputError as `read_binding` does.
    """
    runs = read_binding(folders)
    figures = {out / TIME_PLOT: _times(runs)} if runs.trained else {}
    return figures | {out / PERFORMANCE_PLOT: _performance(runs)}


def kind_of(model: BindingModelInfo) -> str:
    """Say in a few words what a model is, as in "GPT, untrained core, frozen"."""
    if model.kind not in ("gpt", "conv"):
        return f"{'dilated CNN' if model.kind == 'dilated' else model.kind.upper()}, fully trained"
    if model.tune == "unknown":  # a published file
        return "GPT from a .pt file, training unknown"
    core = "untrained core" if model.random_core else "pretrained core"
    tuned = {"lora": "tuned by LoRA", "full": "fully tuned", "all": "fully tuned"}
    name = "dilated convolutions" if model.kind == "conv" else "GPT"
    reads = {"last": "", "mix": ", mix of all layers"}.get(model.features, f", layer {model.features}")
    return f"{name}, {core}, {tuned.get(model.tune, model.tune)}{reads}"


def _names(runs: BindingRuns) -> list[str]:
    """Return every model once, best first: the order of the colours in every figure."""
    return list(dict.fromkeys(name for c in runs.comparisons for name in ranked(c.models)))


def _titled(runs: BindingRuns) -> dict[str, BindingComparison]:
    """Name the part of each comparison, with the split where there are several."""
    several = len({c.split.digest for c in runs.comparisons}) > 1
    titled = {}
    for c in runs.comparisons:
        title = f"{c.part.capitalize()} part"
        if c.part == "all":
            undivided = c.split.kind == "none"
            title = "All windows" + ("" if undivided else ", those of the training part included")
        titled[title + (f" of the {_split_name(c.split)}" if several else "")] = c
    return titled


def _split_name(split: Split) -> str:
    kind = "set without a split" if split.kind == "none" else f"{split.kind} split"
    return f"{kind} {split.digest[:8]}"


def _windows(comparison: BindingComparison) -> str:
    return counted(max(entry.scores.windows for entry in comparison.entries.values()), "window")


def _scores(title: str, comparison: BindingComparison) -> Table:
    """Return the table of scores of models and baselines on one part."""
    columns = ["", "Pearson R (95 % interval)", "R, mean over batches of 64", "mean squared error", "AUROC"]
    rows = []
    for name, entry in comparison.entries.items():
        s = entry.scores
        others = (s.pearson_r_batches, s.mse, s.auroc, s.auprc, s.median_window_r)
        rows.append([name, interval(s.pearson_r), *map(number, others)])
    caption = f"Scores. {title}, {_windows(comparison)}."
    return Table(caption, [*columns, "AUPRC", "median R of a window"], rows)


def _differences(title: str, comparison: BindingComparison) -> Table:
    """Compare the best model with each other one, and each pretrained model with its untrained twin."""
    names = ranked(comparison.models)
    pairs = [(names[0], other) for other in names[1:]]
    pairs += [pair for pair in twins(comparison) if pair not in pairs and pair[::-1] not in pairs]
    rows = []
    for one, other in pairs:
        cells, gap = ["unknown", ""], comparison.difference(one, other)
        if isinstance(gap, str):
            cells[1] = gap
        else:
            cells = [interval(gap, "+"), {"better": one, "worse": other}.get(verdict(gap), "undecided")]
        rows.append([f"{one} minus {other}", *cells])
    columns = ["", "difference in R (95 % paired interval)", "which is better"]
    return Table(f"Differences in Pearson R. {title}.", columns, rows)


def _cost(runs: BindingRuns) -> Table:
    """Return the table of what each training took."""
    rows = []
    for name in sorted(runs.trained, key=_names(runs).index):
        content = runs.trained[name]
        model, training, memory = content.model, content.training, content.peak_memory_bytes
        sees = "both strands" if model.both_strands else "both sides of each base"
        trained, states = model.trained_parameters or 0, training.states_seconds
        rows.append(
            [name, kind_of(model)]
            + ["the left of each base" if model.causal and not model.both_strands else sees]
            + [f"{trained:,} of {model.parameters:,} ({100 * trained / max(1, model.parameters):.0f} %)"]
            + [f"{training.epochs} ({training.best_epoch})"]
            + [duration(training.seconds) + (f", {duration(states)} for the states" if states else "")]
            + [f"{memory / 1e6:,.0f} MB" if memory else "not measured"]
        )
    columns = ["", "model", "sees", "parameters trained", "epochs (best)", "time", "peak memory"]
    return Table("What each model is and what it cost.", columns, rows)


def _times(runs: BindingRuns) -> Draw:
    """Return the figure of how long each model was trained."""
    names = _names(runs)
    trainings = {name: runs.trained[name].training for name in names if name in runs.trained}
    seconds = {name: one.seconds + one.states_seconds for name, one in trainings.items()}
    return partial(time_comparison, seconds, "Training time of the binding models", names)


def _performance(runs: BindingRuns) -> Draw:
    """Return the figure of R with its interval, model by model."""
    panels = []
    for title, comparison in _titled(runs).items():
        entries = comparison.entries.items()
        published = {name: one.scores.pearson_r_batches for name, one in entries}
        heading = f"{title}, {_windows(comparison)}"
        panels.append(Panel(heading, {name: one.score for name, one in entries}, published))
    return partial(performance_comparison, panels, _names(runs))


def _figures(runs: BindingRuns) -> list[Picture]:
    """Draw the figures of all comparisons."""
    pictures = [
        picture(
            _performance(runs),
            "Pearson R over all bases with its 95 % interval. Panels show different windows: compare "
            "within a panel only. Grey dots are baselines without training.",
            "Pearson R of each model",
        )
    ]
    shown: set[str] = set()
    for title, c in _titled(runs).items():
        if c.split.digest not in shown:  # the test part, where it was evaluated
            made = _predictions(title, c, _names(runs))
            pictures += made
            shown |= {c.split.digest} if made else set()
    for name, content in runs.trained.items():
        caption = f"{name}: loss (left) and Pearson R (right) during training; epoch 0 is untrained."
        curves = partial(epoch_curves, content.training, f"Training: {name}")
        pictures.append(picture(curves, caption, f"Training curves of {name}"))
    if runs.trained:
        caption = "Time of each training, with that of computing the states of a frozen core."
        pictures.append(picture(_times(runs), caption, "Training times"))
    return pictures


def _predictions(title: str, comparison: BindingComparison, names: Sequence[str]) -> list[Picture]:
    """Draw tracks, density and error by position of the best models of a comparison."""
    every = {name: comparison.models[name].detail for name in ranked(comparison.models)}
    details = {name: detail for name, detail in every.items() if detail and detail.tracks}
    if not details:
        return []
    best = dict(list(details.items())[:MOST_LINES])
    which = f" Only the {MOST_LINES} best models are drawn." if len(details) > MOST_LINES else ""
    errors = {name: one.error_by_position for name, one in best.items()}
    drawn = [
        (
            "Predicted and true tracks",
            partial(predictions.tracks, best, names),
            f"True scores are a filled area, models are lines; the genome is counted from 1.{which}",
        ),
        (
            "Predicted against true",
            partial(predictions.density, {name: one.density for name, one in details.items()}),
            "How many bases have a true and a predicted score, on a logarithmic scale of colours; the dashed "
            "line is a perfect prediction.",
        ),
        (
            "Error by position in the window",
            partial(predictions.error_by_position, errors, names),
            f"Root mean squared error at each base of the window.{which}",
        ),
    ]
    return [picture(draw, f"{title}. {caption}", alt) for alt, draw, caption in drawn]
