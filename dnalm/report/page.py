"""The report: chapters of text, tables and pictures, as one HTML file that needs nothing but itself."""

import base64
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from dnalm.errors import InputError
from dnalm.files import read_json, write_text
from dnalm.record import read_record
from dnalm.report.plots import DPI, duration, loss_curve, markov_ladder, same_bases, time_comparison

TEMPLATE = Path(__file__).with_name("page.html.j2")
CONTIGS_SHOWN = 30

EXPLAINED = (
    "Each model learns to guess the next letter of a genome from the letters before it, and is judged on "
    "bases it was not trained on. Bits per base says how well: 2 is guessing blindly among A, C, G and T, "
    "and lower is better. It is measured on A, C, G and T only, with upper and lower case added together, so "
    "that models over different alphabets compare on the same bases; nats per token do not compare between "
    "alphabets.",
    "The yardstick is a Markov model, which counts how often each base follows the few bases before it. A "
    "language model that does not beat the best Markov model has learned nothing that such counting does not "
    "know.",
    "These models are causal: at each base the model sees only what lies to its left, never to its right.",
    "The weights judged are those with the lowest loss among a few evaluations on a sample of the same "
    "held-out bases, which flatters a model a little.",
)


@dataclass(frozen=True)
class Table:
    """Rows of text, or of text and pictures, under named columns; the first column names the row."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence["str | Picture"]]

    @property
    def is_drawn(self) -> bool:
        """Whether it holds a picture, beside which long words must be broken."""
        return any(isinstance(cell, Picture) for row in self.rows for cell in row)


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows; `alt` is what a reader who cannot see it is told."""

    png: bytes
    caption: str
    alt: str

    @property
    def data(self) -> str:
        """The PNG in base64, for a data: address."""
        return base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """Width on the page in CSS pixels, 96 an inch, so that letters are as large in every picture."""
        return int.from_bytes(self.png[16:20], "big") * 96 // DPI  # PNG: IHDR's width is at byte 16


@dataclass(frozen=True)
class Chapter:
    """One part of the report."""

    title: str
    paragraphs: Sequence[str] = ()
    findings: Sequence[str] = ()
    """Sentences that answer the reader's question; shown first and set apart."""
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()
    details: Sequence[Table] = ()
    """Tables folded away: how the result was made."""


def write_page(chapters: Sequence[Chapter], path: Path, title: str) -> None:
    """Write `chapters` as one self-contained HTML page, whole or not at all."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    write_text(path, template.render(title=title, chapters=chapters))


def read_runs(outputs: Path) -> dict[str, dict[str, Any]]:
    """Read the finished pretraining runs of an outputs folder, by mode.

    Raises:
        InputError: if there is none.
    """
    runs = {path.parent.name: read_record(path) for path in sorted(outputs.glob("*/run.json"))}
    runs = {mode: run for mode, run in runs.items() if (run["verb"], run["status"]) == ("pretrain", "done")}
    if not runs:
        raise InputError(
            f"{outputs}: expected at least one finished pretraining run (MODE/run.json), got none; "
            f"run dnalm pretrain --data DATA/MODE --out {outputs}"
        )
    return runs


def pretraining_chapter(outputs: Path) -> Chapter:
    """Tell what the pretraining runs in a folder came to.

    Args:
        outputs: what was --out of `dnalm pretrain`.

    Returns:
        Findings, table, curves of each mode, Markov ladder, times, and how each run was made.

    Raises:
        InputError: if there is no finished run, or one of the files is damaged.
    """
    runs = read_runs(outputs)
    metrics = {mode: run["metrics"] for mode, run in runs.items()}
    summaries = {mode: read_json(outputs / f"summary_{mode}.json") for mode in runs}
    seconds = {mode: float(summary["elapsed_time"]) for mode, summary in summaries.items()}
    figures = [
        draw(
            partial(_curves, outputs, mode, metrics[mode]["ladder"]),
            f"{mode}: losses (left) and bits per base of the held-out bases (right) as training went on. "
            "Lower is better; the dashed line is the Markov model to beat.",
            f"Loss curves of {mode}",
        )
        for mode in runs
    ]
    figures.append(
        draw(
            partial(markov_ladder, metrics),
            "Interpolated Markov models of every order, trained and judged on the same bases as the language "
            "models. Lower is better; a band is the 95 % bootstrap interval of a language model.",
            "Bits per base of Markov models and language models",
        )
    )
    figures.append(
        draw(partial(time_comparison, seconds), "Elapsed time of each training.", "Training times")
    )
    return Chapter(
        title="Pretraining",
        findings=[f"{mode}: {finding(m)}" for mode, m in metrics.items()],
        paragraphs=[*EXPLAINED, *_splits(runs), *_comparison(metrics)],
        tables=[_results(metrics, seconds)],
        figures=figures,
        details=[facts(mode, run) for mode, run in runs.items()],
    )


def finding(metrics: Mapping[str, Any]) -> str:
    """Say in plain words whether a language model beats the best Markov model; then the run's verdict."""
    plain = {
        "model": "better than every Markov model tried.",
        "markov": "it loses to a Markov model, which is far simpler.",
        "neither": "no winner; chance alone could put it on either side of the best Markov model.",
    }
    return f"{plain[metrics['gain']['winner']]} {metrics['verdict']}"


def genome_chapter(data: Path) -> Chapter:
    """Tell what is in a prepared genome.

    Args:
        data: a folder written by `dnalm prepare`, for example data/full.
    """
    meta = read_json(data / "meta.json")
    counts, contigs = meta["counts"], meta["contigs"]
    where = {(True, False): "training", (False, True): "validation", (True, True): "both, cut in two"}
    rows = [
        [
            c["name"],
            f"{c['length']:,}",
            f"{c['bases']:,}",
            where.get((bool(c["train"]), bool(c["val"])), "none"),
        ]
        for c in contigs[:CONTIGS_SHOWN]
    ]
    shown = f"; the first {CONTIGS_SHOWN}" if len(contigs) > CONTIGS_SHOWN else ""
    text = (
        f"{', '.join(source['name'] for source in meta['sources'])}: {len(contigs):,} contigs, "
        f"{counts['bases']:,} bases, of which {counts['soft_masked'] / max(1, counts['bases']):.1%} are "
        f"soft-masked (lower case); {counts['n']:,} N and {sum(counts['other_iupac'].values()):,} other "
        f"ambiguous letters. {counts['train_bases']:,} bases are for training, {counts['val_bases']:,} for "
        "validation."
    )
    columns = ["contig", "length", "A, C, G and T", "part"]
    return Chapter("The genome", [text], tables=[Table(f"Contigs{shown}", columns, rows)])


def _splits(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    sentences: dict[str, list[str]] = {}
    for mode, run in runs.items():
        ladder, split = run["metrics"]["ladder"], run["data"].get("split") or {}
        how = ""
        if split.get("kind") == "contigs":
            how = f": the contigs {', '.join(split['val_contigs'])} are held out whole"
        elif split.get("kind") == "fraction":
            how = f": everything after position {split['position']:,} of {split['contig']} is held out"
        text = (
            f"the models were trained on {ladder['train_bases']:,} bases and judged on "
            f"{ladder['validation_bases']:,} held-out bases{how}."
        )
        sentences.setdefault(text, []).append(mode)
    return [f"Split ({' and '.join(modes)}): {text}" for text, modes in sentences.items()]


def _comparison(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    groups = same_bases(metrics)
    if len(groups) > 1:
        return [
            "The models were not judged on the same bases, so that their bits per base do not compare with "
            "each other: each has its own Markov models."
        ]
    if len(metrics) < 2:
        return []
    best, second = sorted(metrics, key=lambda mode: metrics[mode]["bits_per_base"]["value"])[:2]
    gap = metrics[second]["bits_per_base"]["value"] - metrics[best]["bits_per_base"]["value"]
    apart = metrics[best]["bits_per_base"]["high"] < metrics[second]["bits_per_base"]["low"]
    doubt = "their intervals do not overlap" if apart else "their intervals overlap, so this settles little"
    return [f"On the same bases, {best} is {gap:.4f} bits per base lower than {second}; {doubt}."]


def _results(metrics: Mapping[str, Mapping[str, Any]], seconds: Mapping[str, float]) -> Table:
    columns = [_column(m, seconds[mode]) for mode, m in metrics.items()]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    caption = "Results on the held-out bases; a gain below zero means that the Markov model is better."
    return Table(caption, ["", *metrics], rows)


def _column(m: Mapping[str, Any], seconds: float) -> dict[str, str]:
    bits, best = m["bits_per_base"], m["ladder"]["best"]
    return {
        "vocabulary": f"{m['vocab_size']} tokens",
        "parameters": f"{m['parameters']:,}",
        "trained on": f"{m['tokens']:,} tokens in {m['step']:,} steps",
        "time": duration(seconds),
        "lowest validation loss (nats per token)": f"{m['best_val_loss']:.4f}",
        "bits per base": f"{bits['value']:.4f}",
        "its 95 % interval": f"{bits['low']:.4f} to {bits['high']:.4f}",
        "best Markov model (bits per base)": f"{best['bits']:.4f}",
        "its order": f"{best['order']}, {'both strands' if best['strands'] == 2 else 'one strand'} counted",
        "gain over it (bits per base)": f"{best['bits'] - bits['value']:+.4f}",
    }


def facts(mode: str, run: Mapping[str, Any]) -> Table:
    """Tell how a run was made, from its run.json."""
    rows = [["command", shlex.join(run["command"])], ["seed", str(run["seed"])]]
    for part in ("recipe", "versions", "hardware", "data", "git"):
        rows.append([part, _flat(run.get(part))])
    rows.append(["finished", str(run["timings"].get("finished"))])
    if run.get("peak_memory_bytes"):
        rows.append(["peak memory", f"{run['peak_memory_bytes'] / 1e6:,.0f} MB"])
    return Table(f"How the {mode} run was made", ["", ""], rows)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(_flat(item) for item in value)
    return "none" if value is None else str(value)


def _curves(outputs: Path, mode: str, ladder: Mapping[str, Any], path: Path) -> None:
    loss_curve(read_json(outputs / f"losses_{mode}.json"), path, f"Pretraining: {mode}", ladder)


def draw(plot: Callable[[Path], None], caption: str, alt: str) -> Picture:
    """Return what `plot` draws; it is given the path to write to."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plot.png"
        plot(path)
        return Picture(path.read_bytes(), caption, alt)
