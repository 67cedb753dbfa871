"""`dnalm label`: a genome and a motif, peaks or tracks, in; windows with a score at each base, out."""

import os
import shutil
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from dnalm.data.labels import (
    UNCOVERED,
    Labelled,
    Labels,
    ListedWindows,
    MotifLabels,
    PeakLabels,
    Rename,
    Tiles,
    TrackLabels,
    Windows,
    first_of,
    label_genome,
)
from dnalm.errors import InputError
from dnalm.files import lock, need_space, read_json, sha256
from dnalm.formats import is_twobit
from dnalm.formats.binding import write_tracks
from dnalm.formats.fasta import Source
from dnalm.formats.motif import choose_motif
from dnalm.genome.motif_scan import BOTH_THRESHOLDS, log_odds, site_threshold
from dnalm.record import Record

SPEED = 20e6
"""Bases a second, a careful guess for --dry-run."""
PACKED = 3.5
"""Bases in a byte of gzip or .2bit, about."""
SEQUENCES, RECORD = "sequences.txt.gz", "run.json"


@dataclass(frozen=True)
class Options:
    """Cut a genome into windows with a score at each base, from a motif, peaks or tracks."""

    genome: Annotated[Path, tyro.conf.Positional]
    """FASTA (plain, gzip or bgzip) or .2bit."""
    motif: Path | None = None
    """Score sites of this matrix: HOMER .motif, JASPAR or MEME; natural log-odds, both strands."""
    name: str | None = None
    """Which motif of the file, where there are several."""
    threshold: float | None = None
    """Least score of a site, in nats; left out, that of the file."""
    pvalue: float | None = None
    """Least score of a site as a probability: of a word of the background, on one strand."""
    every_site: bool = False
    """Also sites that begin within half a motif of a better one, which the published labels leave out."""
    peaks: Path | None = None
    """Score 1 inside the peaks of this BED or narrowPeak file."""
    track: tuple[Path, ...] = ()
    """Score by the signal of bigWig files, on the contigs that all of them have; a table of scores each."""
    windows: Path | None = None
    """BED file of windows, all of one length; left out, the genome is cut into tiles."""
    window: int = 300
    """Bases of a tile."""
    all: bool = False
    """Keep windows whose scores are all 0."""
    rename: str | None = None
    """chr: contigs match with or without chr. Or a file: name in the labels, name in the genome."""
    out: Path = Path("data/binding")
    """Where the tables go."""
    overwrite: bool = False
    """Replace the tables that are there."""
    dry_run: bool = False
    """Say what would be done, with the time, memory and disk it needs, and stop."""
    quiet: bool = False
    """No progress bar and no summary."""


class Plan(NamedTuple):
    """What the options ask for, opened and checked."""

    labels: dict[str, Labels]
    """By the file their scores go to."""
    windows: Windows
    settings: dict[str, Any]
    """What was found out beside the options: motif and threshold."""
    thing: str
    """What the labels are of: a site, a peak, signal."""


def run(options: Options) -> None:
    """Label, with a progress bar on a terminal and a summary on stdout.

    Raises:
        InputError: for a mistake in the options or the input.
    """
    _check_options(options)
    _check_out(options)
    plan = _plan(options)
    with closing(Source(options.genome)) as source:
        text = options.genome.stat().st_size
        if is_twobit(source) or source.is_gzip:
            text = int(text * PACKED)
    need_space(options.out, text * len(plan.labels) // 4)
    if options.dry_run:
        print(_forecast(options, plan, text))
        return
    with lock(options.out):
        _check_out(options)  # again: another process may have written since
        for left in options.out.glob(".label.*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".label.", dir=options.out) as stage:
            summary = _label(options, plan, Path(stage))
            for old in _tables(options.out):
                old.unlink()
            for name in (SEQUENCES, *plan.labels, RECORD):
                os.replace(Path(stage) / name, options.out / name)
    if not options.quiet:
        print(summary)


def _label(options: Options, plan: Plan, stage: Path) -> str:
    """Write the tables and their record into `stage`, and return the summary."""
    inputs = [options.motif, options.peaks, *options.track, options.windows]
    settings = {
        key: [str(path) for path in value] if isinstance(value, tuple) else value
        for key, value in asdict(options).items()
        if key not in ("overwrite", "dry_run", "quiet")
    }
    record = Record(
        stage / RECORD,
        "label",
        recipe={key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
        | plan.settings
        | {"window": plan.windows.length},
        seed=0,
        data={"labels": [_digest(path) for path in inputs if path is not None]},
        device="cpu",
    )
    begin = time.monotonic()
    with _progress(options) as progress:
        task = progress.add_task("labelling", total=options.genome.stat().st_size)
        with closing(Source(options.genome, lambda count: progress.advance(task, count))) as source:
            found = label_genome(
                source,
                plan.windows,
                list(plan.labels.values()),
                keep_all=options.all,
                empty=f"without {plan.thing}",
            )
            record.content["data"]["genome"] = source.summary
    notes = _notes(plan, found)
    if not found.windows:
        advice = "choose a lower --threshold, a shorter --window, or keep windows without labels by --all"
        if found.left_out[UNCOVERED]:
            advice = "every track must have the windows' contigs; label tracks of different contigs apart"
        raise InputError(
            f"{options.genome}: no window is left of {found.bases:,} bases: {_left_out(found)}; {advice}"
        )
    labelling = time.monotonic() - begin
    tables = {stage / name: scores for name, scores in zip(plan.labels, found.scores, strict=True)}
    write_tracks(stage / SEQUENCES, found.windows, found.letters, tables)
    metrics = _metrics(plan, found) | notes
    record.finish("done", metrics, labelling_s=labelling)
    for messages in notes.values():
        for message in messages.values():
            print(message, file=sys.stderr)
    return _summary(options, plan, found, metrics)


def _plan(options: Options) -> Plan:
    """Open and check the files of labels and windows."""
    rename = Rename(options.rename)
    labels: dict[str, Labels] = {}
    settings: dict[str, Any] = {}
    thing = "signal"
    if options.motif is not None:
        motif = choose_motif(options.motif, options.name)
        threshold = site_threshold(motif, threshold=options.threshold, pvalue=options.pvalue)
        labels["scores.txt.gz"] = MotifLabels(log_odds(motif), threshold, every_site=options.every_site)
        settings, thing = {"name": motif.name, "threshold": threshold}, "a site"
    elif options.peaks is not None:
        labels["scores.txt.gz"], thing = PeakLabels(options.peaks, rename), "a peak"
    for track in options.track:
        name = "scores.txt.gz" if len(options.track) == 1 else f"scores_{track.stem}.txt.gz"
        if name in labels:
            raise InputError(f"--track: two files are called {track.stem}; rename one, or label them apart")
        labels[name] = TrackLabels(track, rename)
    windows = Tiles(options.window) if options.windows is None else ListedWindows(options.windows, rename)
    return Plan(labels, windows, settings, thing)


def _check_options(options: Options) -> None:
    wrong = []
    sources = [flag for flag in ("motif", "peaks", "track") if getattr(options, flag) not in (None, ())]
    if len(sources) != 1:
        got = " and ".join(f"--{flag}" for flag in sources) or "none"
        wrong.append(f"labels come from one of --motif, --peaks and --track, got {got}")
    if options.motif is None:
        wrong += [
            f"--{flag.replace('_', '-')} is of a motif: pass --motif too"
            for flag in ("name", "threshold", "pvalue", "every_site")
            if getattr(options, flag) not in (None, False)
        ]
    if options.threshold is not None and options.pvalue is not None:
        wrong.append(BOTH_THRESHOLDS)
    if options.window < 1:
        wrong.append(f"--window must be 1 or more, got {options.window}")
    if wrong:
        raise InputError("; ".join(wrong))


def _check_out(options: Options) -> None:
    out = options.out
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder or nothing, got a file; choose another --out")
    there = _tables(out)
    if there and not options.overwrite:
        raise InputError(
            f"{out}: there is a set already ({there[0].name}); choose another --out, or replace it by "
            "--overwrite"
        )
    record = out / RECORD
    about = read_json(record) if record.exists() else {}
    verb = about.get("verb") if isinstance(about, dict) else None
    if record.exists() and verb != "label":
        raise InputError(f"{out}: {RECORD} is of another run ({verb}), not of labels; choose another --out")


def _tables(out: Path) -> list[Path]:
    """Return the tables that are in a folder."""
    return sorted([*out.glob(SEQUENCES), *out.glob("scores.txt.gz"), *out.glob("scores_*.txt.gz")])


def _notes(plan: Plan, found: Labelled) -> dict[str, dict[str, str]]:
    """Return messages by file: contigs that one of file and genome does not have, and other lengths."""
    notes: dict[str, dict[str, str]] = {"not_in_genome": _missing(plan, found)}
    notes |= {"not_in_labels": {}, "other_lengths": {}}
    for label in plan.labels.values():
        names = label.names
        if names is not None and (lacking := [each for each in names.lacking if each in found.windowed]):
            notes["not_in_labels"][names.path.name] = _lacking(label, names.path, lacking)
        if isinstance(label, TrackLabels):
            longer = [contig for contig in label.longer if contig in found.windowed]
            if longer:
                notes["other_lengths"][label.names.path.name] = _longer(label, longer)
    return notes


def _lacking(label: Labels, path: Path, contigs: list[str]) -> str:
    of = f"{len(contigs):,} {'contig' if len(contigs) == 1 else 'contigs'} of the genome"
    if isinstance(label, TrackLabels):
        return f"{path}: nothing for {of}, whose windows are left out: {first_of(contigs)}"
    return f"{path}: no peak on {of}, where every label is 0: {first_of(contigs)}"


def _longer(label: TrackLabels, contigs: list[str]) -> str:
    told = [
        f"{contig} ({label.longer[contig][0]:,} bases there, {label.longer[contig][1]:,} in the genome)"
        for contig in contigs
    ]
    be = "contig is" if len(contigs) == 1 else "contigs are"
    return (
        f"{label.names.path}: {len(contigs):,} {be} longer than in the genome: {first_of(told)}; if the "
        "genome is the first piece of a contig of the same assembly, the labels are right; if it is whole, "
        "the track is of another assembly and its labels belong to other places"
    )


def _missing(plan: Plan, found: Labelled) -> dict[str, str]:
    """Return a message for each file with contigs that the genome does not have, or with other ends."""
    messages = {}
    for names in [plan.windows.names, *(label.names for label in plan.labels.values())]:
        if names is not None and (missing := names.missing(found.contigs)):
            be = "contig is" if len(missing) == 1 else "contigs are"
            messages[names.path.name] = (
                f"{names.path}: {len(missing):,} {be} not in the genome: {first_of(missing)}"
            )
    for label in plan.labels.values():
        if isinstance(label, PeakLabels) and label.beyond:
            what = "1 peak reaches" if label.beyond == 1 else f"{label.beyond:,} peaks reach"
            messages["beyond"] = (
                f"{label.names.path}: {what} beyond the end of the contig; is it of another assembly?"
            )
    return messages


def _metrics(plan: Plan, found: Labelled) -> dict[str, Any]:
    shares = {
        name: float(np.mean(scores != 0)) for name, scores in zip(plan.labels, found.scores, strict=True)
    }
    counts = {name: label.count for name, label in plan.labels.items() if label.count}
    return {
        "windows": len(found.windows),
        "window": plan.windows.length,
        "bases": found.letters.size,
        "share_not_zero": shares,
        "sites": counts,
        "genome": {"contigs": len(found.contigs), "bases": found.bases},
        "left_out": {reason: count for reason, count in found.left_out.items() if count},
    }


def _summary(options: Options, plan: Plan, found: Labelled, metrics: dict[str, Any]) -> str:
    shares = metrics["share_not_zero"]
    told = ", ".join(
        f"{share:.2%} not zero" + (f" in {name}" if len(shares) > 1 else "") for name, share in shares.items()
    )
    lines = [
        f"{options.out}: {len(found.windows):,} windows of {plan.windows.length:,} bases "
        f"({found.letters.size:,} bases), {told}"
    ]
    for count in metrics["sites"].values():
        what = "peaks"
        if "name" in plan.settings:
            what = f"sites of {plan.settings['name']}, scoring {plan.settings['threshold']:.3f} or more,"
        of = "1 contig" if len(found.contigs) == 1 else f"{len(found.contigs):,} contigs"
        lines.append(f"{count:,} {what} in {found.bases:,} bases of {of}")
    if metrics["left_out"]:
        lines.append(f"left out: {_left_out(found)}")
    return "\n".join(lines)


def _left_out(found: Labelled) -> str:
    told = [
        f"{count:,} {'window' if count == 1 else 'windows'} {reason}"
        for reason, count in found.left_out.items()
        if count
    ]
    return ", ".join(told) or "there are none"


def _forecast(options: Options, plan: Plan, text: int) -> str:
    kept = text * (4 * len(plan.labels) + 1)
    return (
        f"would write {', '.join([SEQUENCES, *plan.labels])} into {options.out} from a genome of about "
        f"{text / 1e6:,.0f} million bases in windows of {plan.windows.length:,}: about "
        f"{max(1, text / SPEED):,.0f} s, {4 * text / 1e6 + 200:,.0f} MB of memory and up to "
        f"{kept / 1e6:,.0f} MB for the windows that are kept, up to {text * len(plan.labels) / 1e6:,.0f} MB "
        "of disk; nothing was written"
    )


def _digest(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def _progress(options: Options) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(
        *columns, console=console, disable=options.quiet or not console.is_terminal, transient=True
    )
