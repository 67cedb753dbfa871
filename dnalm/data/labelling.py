"""From a genome and labels to windows with a score at each base: what `dnalm label` does, for Python users.

Shapes: N windows; L bases in a window; G bases of a contig.
"""

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnalm.config import refuse
from dnalm.data.labels import (
    ContigNames,
    Labels,
    ListedWindows,
    MotifLabels,
    PeakLabels,
    TrackLabels,
    Windows,
    first_of,
    rename_rule,
)
from dnalm.dna import AMBIGUOUS, BASE_CODES, BASES, NOT_A_BASE, Interval
from dnalm.errors import InputError
from dnalm.files import lock, need_space, read_json, sha256
from dnalm.formats import is_twobit, read_blocks
from dnalm.formats.binding import Letters, Scores, window_name, write_tracks
from dnalm.formats.fasta import Source
from dnalm.formats.motif import choose_motif
from dnalm.genome.motif_scan import log_odds, site_threshold
from dnalm.record import Record

PACKED = 3.5
"""Bases in a byte of gzip or .2bit, about."""
SEQUENCES, SCORES, RECORD = "sequences.txt.gz", "scores.txt.gz", "run.json"
AMBIGUITY = "with N or another ambiguity code"
UNCOVERED = "on a contig that a track does not have"
NOTES = ("not_in_genome", "not_in_labels", "other_lengths")
"""Metrics that are messages, by file."""


@dataclass(frozen=True)
class LabelSettings:
    """What to label, and where the tables go."""

    genome: Path
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

    def check(self) -> None:
        """Check that the settings fit each other.

        Raises:
            InputError: naming all that do not.
        """
        sources = [name for name in ("motif", "peaks", "track") if getattr(self, name) not in (None, ())]
        wrong = []
        if len(sources) != 1:
            got = " and ".join(f"`{name}`" for name in sources) or "none"
            wrong.append(f"labels come from one of `motif`, `peaks` and `track`, got {got}")
        of_motif = ("name", "threshold", "pvalue", "every_site")
        if self.motif is None:
            given = [name for name in of_motif if getattr(self, name) not in (None, False)]
            wrong += [f"`{name}` is of a motif: give `motif` too" for name in given]
        if self.window < 1:
            wrong.append(f"`window` must be 1 or more, got {self.window}")
        refuse(wrong)


class LabelPlan(NamedTuple):
    """Settings whose files have been opened and checked."""

    settings: LabelSettings
    labels: dict[str, Labels]  # By the file of their scores
    windows: Windows
    resolved: dict[str, Any]  # Settings that the files give: motif and threshold
    bases: int  # Of the genome, estimated


class Labelled(NamedTuple):
    """Windows with labels, and what was left out."""

    names: list[str]  # Of the windows, N
    letters: Letters  # [N, L]
    scores: list[Scores]  # [N, L] for each of the labels
    contigs: list[str]  # All of the genome
    windowed: Counter[str]  # Windows on each contig that has any, kept or not
    bases: int  # Of the genome
    left_out: Counter[str]  # Windows by reason


def plan_labels(settings: LabelSettings) -> LabelPlan:
    """Open and check all files of labels and windows, and the place of the tables.

    Raises:
        InputError: for a mistake in the settings or a file.
    """
    settings.check()
    _check_out(settings)
    rename = rename_rule(settings.rename)
    labels: dict[str, Labels] = {}
    resolved: dict[str, Any] = {}
    if settings.motif is not None:
        motif = choose_motif(settings.motif, settings.name)
        threshold = site_threshold(motif, threshold=settings.threshold, pvalue=settings.pvalue)
        labels[SCORES] = MotifLabels(log_odds(motif), threshold, every_site=settings.every_site)
        resolved = {"name": motif.name, "threshold": threshold}
    elif settings.peaks is not None:
        labels[SCORES] = PeakLabels(settings.peaks, rename)
    for track in settings.track:
        name = SCORES if len(settings.track) == 1 else f"scores_{track.stem}.txt.gz"
        if name in labels:
            raise InputError(f"`track`: two files are called {track.stem}; rename one, or label them apart")
        labels[name] = TrackLabels(track, rename)
    windows = ListedWindows(settings.windows, rename) if settings.windows else Windows(settings.window)
    with closing(Source(settings.genome)) as source:
        ratio = PACKED if is_twobit(source) or source.is_gzip else 1
    bases = int(settings.genome.stat().st_size * ratio)
    need_space(settings.out, bases * len(labels) // 4)
    return LabelPlan(settings, labels, windows, resolved, bases)


def write_labels(plan: LabelPlan, on_read: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Label a genome and write sequences.txt.gz, a table of scores for each of the labels, and run.json.

    The plan is used up. `on_read` is called with a number of bytes each time so many of the genome have been
    read.

    Returns:
        The metrics in run.json; `NOTES` are messages about contigs and lengths that do not agree.

    Raises:
        InputError: for a mistake in the genome or the labels, or if no window is left; the folder is then as
            it was before.
    """
    out = plan.settings.out
    with lock(out):
        _check_out(plan.settings)  # again: another process may have written since
        for left in out.glob(".label.*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".label.", dir=out) as stage:
            metrics = _write(plan, Path(stage), on_read)
            for old in _tables(out):
                old.unlink()
            for name in (SEQUENCES, *plan.labels, RECORD):
                os.replace(Path(stage) / name, out / name)
    return metrics


def _write(plan: LabelPlan, stage: Path, on_read: Callable[[int], None] | None) -> dict[str, Any]:
    settings = plan.settings
    inputs = [settings.motif, settings.peaks, *settings.track, settings.windows]
    values = {field.name: getattr(settings, field.name) for field in fields(LabelSettings)}
    del values["overwrite"]
    values["track"] = [str(path) for path in settings.track]
    recipe = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    record = Record(
        stage / RECORD,
        "label",
        recipe=recipe | plan.resolved | {"window": plan.windows.length},
        seed=0,
        data={"labels": [_digest(path) for path in inputs if path is not None]},
        device="cpu",
    )
    begin = time.monotonic()
    with closing(Source(settings.genome, on_read)) as source:
        found = label_genome(source, plan.windows, list(plan.labels.values()), settings.all)
        record.content["data"]["genome"] = source.summary
    metrics = _metrics(plan, found)
    if not found.names:
        advice = "choose a lower `threshold`, a shorter `window`, or keep windows without labels by `all`"
        if found.left_out[UNCOVERED]:
            advice = "every track must have the windows' contigs; label tracks of different contigs apart"
        why = reasons(found.left_out) or "there are none"
        raise InputError(f"{settings.genome}: no window is left of {found.bases:,} bases: {why}; {advice}")
    labelling = time.monotonic() - begin
    tables = {stage / name: scores for name, scores in zip(plan.labels, found.scores, strict=True)}
    write_tracks(stage / SEQUENCES, found.names, found.letters, tables)
    record.finish("done", metrics, labelling_s=labelling)
    return metrics


def label_genome(source: Source, windows: Windows, labels: list[Labels], keep_all: bool = False) -> Labelled:
    """Label the windows of a genome, one contig after the other; `keep_all` keeps those labelled 0."""
    names: list[str] = []
    kept: list[tuple[Letters, list[Scores]]] = [
        (np.zeros((0, windows.length), np.uint8), [np.zeros((0, windows.length), np.float32) for _ in labels])
    ]
    contigs, bases, windowed, left_out = [], 0, Counter[str](), Counter[str]()
    for contig, letters in read_contigs(source):
        contigs.append(contig)
        bases += len(letters)
        values = [label.of(contig, letters) for label in labels]
        for start, count in windows.stretches(contig, len(letters), left_out):
            windowed[contig] += count
            end = start + count * windows.length
            rows = letters[start:end].reshape(count, windows.length)
            scores = [of(start, end).reshape(rows.shape) for of in values if of is not None]
            if len(scores) < len(labels):  # the others' would be zeros that nobody measured
                left_out[UNCOVERED] += count
                continue
            ambiguous = (BASE_CODES[rows] == NOT_A_BASE).any(axis=1) & (not windows.keep_ambiguous)
            flat = ~np.any([(score != 0).any(axis=1) for score in scores], axis=0) & (not keep_all)
            left_out[AMBIGUITY] += int(ambiguous.sum())
            left_out[f"without {labels[0].thing}"] += int((flat & ~ambiguous).sum())
            keep = np.flatnonzero(~ambiguous & ~flat)
            if len(keep):
                kept.append((rows[keep], [score[keep] for score in scores]))
                at = start + keep * windows.length
                names += [window_name(Interval(contig, a, a + windows.length)) for a in at.tolist()]
    every = [np.concatenate(parts) for parts in zip(*(scores for _, scores in kept), strict=True)]
    rows = np.concatenate([rows for rows, _ in kept])
    return Labelled(names, rows, every, contigs, windowed, bases, left_out)


def read_contigs(source: Source) -> Iterator[tuple[str, Letters]]:
    """Yield name and upper-case letters of each contig, [G].

    Raises:
        InputError: if a name is there twice, or a letter is no IUPAC code.
    """
    seen: set[str] = set()
    name, pieces = "", list[bytes]()
    for begins, text in read_blocks(source):
        if begins is not None:
            if seen:
                yield name, _letters(name, pieces, source)
            if begins in seen:
                raise InputError(f"{source.path}: contig {begins!r} is there twice; rename one")
            seen.add(begins)
            name, pieces = begins, []
        pieces.append(text.replace(b"\n", b""))
    yield name, _letters(name, pieces, source)


def _letters(contig: str, pieces: list[bytes], source: Source) -> Letters:
    text = b"".join(pieces).upper()
    pieces.clear()  # one copy of the contig is enough
    if strange := text.translate(None, (BASES + AMBIGUOUS).encode()):
        at = text.index(strange[:1])
        raise InputError(
            f"{source.path}: contig {contig!r}, position {at + 1:,}: {chr(strange[0])!r} is no IUPAC code of "
            f"DNA ({BASES + AMBIGUOUS})"
        )
    return np.frombuffer(text, dtype=np.uint8)


def _check_out(settings: LabelSettings) -> None:
    out = settings.out
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder or nothing, got a file; choose another `out`")
    tables = _tables(out)
    if tables and not settings.overwrite:
        raise InputError(
            f"{out}: there is a set already ({tables[0].name}); choose another `out`, or `overwrite` it"
        )
    about = read_json(out / RECORD) if (out / RECORD).exists() else {"verb": "label"}
    verb = about.get("verb") if isinstance(about, dict) else None
    if verb != "label":
        raise InputError(f"{out}: {RECORD} is of another run ({verb}), not of labels; choose another `out`")


def _tables(out: Path) -> list[Path]:
    """Return the tables that are in a folder."""
    return sorted([*out.glob(SEQUENCES), *out.glob(SCORES), *out.glob("scores_*.txt.gz")])


def _metrics(plan: LabelPlan, found: Labelled) -> dict[str, Any]:
    """Return what run.json holds of the result.

    Raises:
        InputError: if a file has no contig of the genome.
    """
    shares = {
        name: float(np.mean(scores != 0)) if found.names else 0.0
        for name, scores in zip(plan.labels, found.scores, strict=True)
    }
    metrics: dict[str, Any] = {
        "windows": len(found.names),
        "window": plan.windows.length,
        "bases": found.letters.size,
        "share_not_zero": shares,
        "sites": {name: label.count for name, label in plan.labels.items() if label.count},
        "genome": {"contigs": len(found.contigs), "bases": found.bases},
        "left_out": {reason: count for reason, count in found.left_out.items() if count},
        **{note: {} for note in NOTES},
    }
    for names in [plan.windows.names, *(label.names for label in plan.labels.values())]:
        if names is not None and (missing := names.missing(found.contigs)):
            is_not = f"{_count(len(missing), 'contig is', 'contigs are')} not in the genome"
            metrics["not_in_genome"][names.path.name] = f"{names.path}: {is_not}: {first_of(missing)}"
    for label in plan.labels.values():
        if label.names is not None:
            _add_notes(metrics, label, label.names, found)
    return metrics


def _add_notes(metrics: dict[str, Any], label: Labels, names: ContigNames, found: Labelled) -> None:
    """Add messages about a file of labels: peaks beyond the genome, contigs that it lacks, other lengths."""
    path = names.path
    if isinstance(label, PeakLabels) and label.beyond:
        peaks = _count(label.beyond, "peak reaches", "peaks reach")
        metrics["not_in_genome"]["beyond"] = (
            f"{path}: {peaks} beyond the end of the contig; is it of another assembly?"
        )
    if lacking := [contig for contig in names.lacking if contig in found.windowed]:
        of = f"{_count(len(lacking), 'contig', 'contigs')} of the genome"
        metrics["not_in_labels"][path.name] = (
            f"{path}: nothing for {of}, whose windows are left out: {first_of(lacking)}"
            if isinstance(label, TrackLabels)
            else f"{path}: no peak on {of}, where every label is 0: {first_of(lacking)}"
        )
    lengths = [
        f"{contig} ({bases:,} bases there, {known:,} in the genome)"
        for contig, (bases, known) in (label.longer.items() if isinstance(label, TrackLabels) else ())
        if contig in found.windowed
    ]
    if lengths:
        are = _count(len(lengths), "contig is", "contigs are")
        metrics["other_lengths"][path.name] = (
            f"{path}: {are} longer than in the genome: {first_of(lengths)}; if the genome is the first piece "
            "of a contig of the same assembly, the labels are right; if it is whole, the track is of another "
            "assembly and its labels belong to other places"
        )


def reasons(left_out: Mapping[str, int]) -> str:
    """Return in words how many windows were left out, by reason."""
    return ", ".join(f"{_count(n, 'window', 'windows')} {reason}" for reason, n in left_out.items() if n)


def _count(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _digest(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
