"""The chapter on explanations: which bases decide, which motifs they make, and whether the checks hold."""

from collections.abc import Sequence
from pathlib import Path

from dnalm.errors import counted
from dnalm.report.pages import Chapter, Picture, Table, how_made
from dnalm.report.read import use_runs
from dnalm.report.sentences import number
from dnalm.results.use import ExplainMetrics

PICTURES = 4  # of a run
MOTIFS = 5
HOW_TO_READ = (
    "A letter's height is what that base adds to the model's output: the sum of the predicted track, or the "
    "log-likelihood of a language model. In the heat map each base is changed to each other; blue lowers the "
    "output. Grey stretches are the most important ones, named after the nearest motif of the library "
    "(Tomtom). Completeness is the sum of the attributions over the output minus that of shuffled sequences: "
    "1 for DeepLIFT that has converged; of mutagenesis it says how far single changes add up. An explanation "
    "shows what the model uses, which need not be what the cell uses."
)
MAP = (
    "In a map of dependencies a dark cell says that a change of the base of its row changes what the model "
    "expects at the base of its column: pairs of bases that the model has learned belong together."
)


def explain_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on the runs of `dnalm explain` in some folders; InputError if there is none."""
    runs = use_runs(folders, "explain", ExplainMetrics)
    pictures = []
    for run in runs:
        for name in run.metrics.pictures[:PICTURES]:
            caption = f"{run.label}: {name.partition('_')[2]}, as {run.metrics.model} sees it."
            path = run.path.parent / f"{name}.png"
            content = path.read_bytes() if path.is_file() else b""
            pictures.append(Picture(content, caption, f"Explanation of {name}"))
    has_map = any(run.metrics.kind == "language" for run in runs)
    return Chapter(
        title="What decides",
        findings=[text for run in runs for text in _findings(run.label, run.metrics)],
        tables=[_table({run.label: run.metrics for run in runs})],
        figures=pictures,
        paragraphs=[HOW_TO_READ, *([MAP] if has_map else [])],
        details=[how_made(run.label, run.path) for run in runs],
    )


def _findings(label: str, metrics: ExplainMetrics) -> list[str]:
    """Return what a run says, in sentences."""
    regions, found = counted(metrics.counts.written, "region"), []
    if metrics.first_matches:
        name, count = next(iter(metrics.first_matches.items()))
        found.append(
            f"{label}: the most important stretch is nearest to {name} in {count:,} of {regions} that "
            f"{metrics.model} was explained for."
        )
    if metrics.sites is not None and metrics.sites.bases:
        found.append(
            f"{label}: {metrics.sites.share:.0%} of the bases with the highest attributions lie in known "
            f"sites; by chance {metrics.sites.chance:.0%} would."
        )
    return found or [
        f"{label}: {metrics.model} was explained for {regions}; strands agree with r = {metrics.strands:.2f}."
    ]


def _table(runs: dict[str, ExplainMetrics]) -> Table:
    """Return the table of checks and motifs, a row a run."""
    columns = [
        "",
        "model",
        "regions",
        "left out",
        "attributions",
        "completeness",
        "strands (r)",
        "DeepLIFT delta",
    ]
    columns += ["first motifs", "in known sites (by chance)"]
    rows = []
    for label, m in runs.items():
        delta = "not used" if m.delta != m.delta else f"{m.delta:.1g}"
        motifs = ", ".join(f"{name} {count:,}" for name, count in list(m.first_matches.items())[:MOTIFS])
        sites = "not given" if m.sites is None else f"{number(m.sites.share)} ({number(m.sites.chance)})"
        how = ", ".join(f"{name} {count:,}" for name, count in m.methods.items())
        counts = [f"{m.counts.written:,}", f"{sum(m.counts.left_out.values()):,}"]
        checks = [number(m.completeness), number(m.strands), delta]
        rows.append([label, m.model, *counts, how, *checks, motifs or "no library", sites])
    return Table("Explanations; completeness, strands and delta are medians.", columns, rows, printed=True)
