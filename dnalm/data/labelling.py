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
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from dnalm.config import refuse
from dnalm.data.labels import (
    FeatureLabels,
    Labels,
    MotifLabels,
    PeakLabels,
    TrackLabels,
    Windows,
    rename_rule,
)
from dnalm.dna import AMBIGUOUS, BASE_CODES, BASES, NOT_A_BASE, Interval
from dnalm.errors import InputError, counted
from dnalm.files import lock, need_space, read_json, sha256
from dnalm.formats import is_twobit, read_blocks
from dnalm.formats.binding import Letters, Scores, window_name, write_tracks
from dnalm.formats.fasta import Block, Source
from dnalm.formats.motif import choose_motif
from dnalm.genome.motif_scan import log_odds, site_threshold
from dnalm.record import Record

PACKED = 3.5  # bases in a byte of gzip or .2bit, about
SEQUENCES, SCORES, RECORD = "sequences.txt.gz", "scores.txt.gz", "run.json"
UNCOVERED = "on a contig that a file of labels does not have"
NOTES = ("left_aside", "not_in_genome", "not_in_labels", "other_lengths")
"""Metrics that are messages, by file."""
SOURCES = {
    "motif": ("name", "threshold", "pvalue", "every_site"),
    "peaks": (),
    "track": ("transform",),
    "annotation": ("feature", "strand"),
}
"""Where labels come from, one of these, and the settings of each."""


@dataclass(frozen=True)
class LabelSettings:
    """What to label, and where the tables go."""

    genome: Path
    """FASTA (plain, gzip or bgzip) or .2bit."""
    motif: Path | None = None
    """Score sites of this matrix: HOMER .motif, JASPAR or MEME; natural log-odds, both strands."""
    name: str | None = None  # Which motif of the file, where there are several.
    threshold: float | None = None  # Least score of a site, in nats; left out, that of the file.
    pvalue: float | None = None
    """Least score of a site as a probability: of a word of the background, on one strand."""
    every_site: bool = False
    """Also sites that begin within half a motif of a better one, which the published labels leave out."""
    peaks: Path | None = None  # Score 1 inside the peaks of this BED or narrowPeak file.
    track: tuple[Path, ...] = ()
    """Score by bigWig or bedGraph files, on the contigs that all of them have; a table of scores each."""
    transform: Literal["none", "log1p"] = "none"  # Of the values of a track: log1p, ln(1 + x), for counts.
    annotation: Path | None = None
    """Score 1 inside the features of this GFF3 or GTF file, on the contigs that it has."""
    feature: str = "CDS"  # Which features: their type, column 3. Dubious ones count too.
    strand: Literal["+", "-", "both"] = "both"  # Features on this strand; both: on either, or on none.
    windows: Path | None = None
    """BED file of windows, all of one length; left out, the genome is cut into tiles."""
    window: int = 300  # Bases of a tile.
    all: bool = False  # Keep windows whose scores are all 0.
    rename: str | None = None
    """chr: contigs match with or without chr. Or a file: name in the labels, name in the genome."""
    out: Path = Path("data/binding")  # Where the tables go.
    overwrite: bool = False  # Replace the tables that are there.

    def check(self) -> None:
        """Check that the settings fit each other; InputError names all that do not."""
        sources = [f"`{name}`" for name in SOURCES if getattr(self, name)]
        wrong = [
            f"`{name}` needs `{source}`, which is not given"
            for source, names in SOURCES.items()
            for name in names
            if not getattr(self, source) and getattr(self, name) != getattr(LabelSettings, name)
        ]
        if len(sources) != 1:
            got = " and ".join(sources) or "none"
            wrong.append(f"expected one of `motif`, `peaks`, `track` and `annotation`, got {got}")
        if self.window < 1:
            wrong.append(f"`window` must be 1 or more, got {self.window}")
        refuse(wrong)


class LabelPlan(NamedTuple):
    """Settings whose files have been opened and checked."""

    settings: LabelSettings  # With name, threshold and window as the files give them
    labels: dict[str, Labels]  # By the file of their scores
    windows: Windows
    bases: int  # Of the genome, estimated


def plan_labels(settings: LabelSettings) -> LabelPlan:
    """Open and check all files of labels and windows, and the place of the tables."""
    settings.check()
    _check_out(settings)
    rename = rename_rule(settings.rename)
    labels: dict[str, Labels] = {}
    if settings.motif is not None:
        motif = choose_motif(settings.motif, settings.name)
        threshold = site_threshold(motif, threshold=settings.threshold, pvalue=settings.pvalue)
        labels[SCORES] = MotifLabels(log_odds(motif), threshold, settings.every_site)
        settings = replace(settings, name=motif.name, threshold=threshold)
    elif settings.peaks is not None:
        labels[SCORES] = PeakLabels(settings.peaks, rename)
    elif settings.annotation is not None:
        labels[SCORES] = FeatureLabels(settings.annotation, rename, settings.feature, settings.strand)
    for track in settings.track:
        name = SCORES if len(settings.track) == 1 else f"scores_{track.stem}.txt.gz"
        if name in labels:
            raise InputError(f"`track`: two files are called {track.stem}; rename one, or label them apart")
        labels[name] = TrackLabels(track, rename, settings.transform)
    windows = Windows(settings.window, settings.windows, rename)
    with closing(Source(settings.genome)) as source:
        ratio = PACKED if is_twobit(source) or source.is_gzip else 1
    bases = int(settings.genome.stat().st_size * ratio)
    need_space(settings.out, bases * len(labels) // 4)
    return LabelPlan(replace(settings, window=windows.length), labels, windows, bases)


def write_labels(plan: LabelPlan, on_read: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Label a genome and write sequences.txt.gz, a table of scores for each of the labels, and run.json.

    The plan is used up. `on_read` is called with the number of bytes of the genome after each read.

    Returns:
        The metrics in run.json; `NOTES` are messages about contigs and lengths that do not agree.

    Raises:
        InputError: for a mistake in a file, or if no window is left; the folder is then as it was.
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
    """Write the windows and their labels into `stage`, contig by contig; return the counts."""
    settings = plan.settings
    inputs = [settings.motif, settings.peaks, *settings.track, settings.annotation, settings.windows]
    names = [field.name for field in fields(LabelSettings) if field.name != "overwrite"]
    values = {name: getattr(settings, name) for name in names} | {"track": list(map(str, settings.track))}
    recipe = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    data: dict[str, Any] = {"labels": [_digest(path) for path in inputs if path]}
    record = Record(stage / RECORD, "label", recipe=recipe, seed=0, data=data, device="cpu")
    begin = time.monotonic()
    with closing(Source(settings.genome, on_read)) as source:
        names, letters, scores, found = label_genome(source, plan)
        data["genome"] = source.summary
    labelling = time.monotonic() - begin
    tables = dict(zip(plan.labels, scores, strict=True))
    metrics = {
        "windows": len(names),
        "window": plan.windows.length,
        "bases": letters.size,
        "share_not_zero": {name: float(np.mean(scores != 0)) for name, scores in tables.items()},
        "sites": {name: label.count for name, label in plan.labels.items() if label.count},
        **found,
    }
    write_tracks(stage / SEQUENCES, names, letters, {stage / name: each for name, each in tables.items()})
    record.finish("done", metrics, labelling_s=labelling)
    return metrics


def _digest(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def label_genome(source: Source, plan: LabelPlan) -> tuple[list[str], Letters, list[Scores], dict[str, Any]]:
    """Label the windows of a genome, one contig after the other; InputError if none is left.

    Returns:
        Names of the windows, N; letters, [N, L]; scores, [N, L] for each of the labels; metrics.
    """
    labels, windows, keep_all = list(plan.labels.values()), plan.windows, plan.settings.all
    names: list[str] = []
    kept: list[tuple[Any, ...]] = []  # letters, and the scores of each of the labels
    contigs: dict[str, int] = {}
    windowed, left_out = set[str](), Counter[str]()
    for contig, letters in read_contigs(source):
        if contig in contigs:
            raise InputError(f"{source.path}: contig {contig!r} is there twice; rename one")
        contigs[contig] = len(letters)
        values = [label.of(contig, letters) for label in labels]
        for start, count in windows.stretches(contig, len(letters), left_out):
            windowed.add(contig)
            end = start + count * windows.length
            rows = letters[start:end].reshape(count, windows.length)
            scores = [of(start, end).reshape(rows.shape) for of in values if of is not None]
            if len(scores) < len(labels):  # the others' would be zeros that nobody measured
                left_out[UNCOVERED] += count
                continue
            # A window of a file stays whatever its letters are.
            ambiguous = (BASE_CODES[rows] == NOT_A_BASE).any(axis=1) & (windows.path is None)
            flat = ~np.any([(score != 0).any(axis=1) for score in scores], axis=0) & (not keep_all)
            left_out["with N or another ambiguity code"] += int(ambiguous.sum())
            left_out[f"without {labels[0].thing}"] += int((flat & ~ambiguous).sum())
            keep = np.flatnonzero(~ambiguous & ~flat)
            kept.append((rows[keep], *(score[keep] for score in scores)))
            at = start + keep * windows.length
            names += [window_name(Interval(contig, a, a + windows.length)) for a in at.tolist()]
    bases = sum(contigs.values())
    metrics: dict[str, Any] = {
        "genome": {"contigs": len(contigs), "bases": bases},
        "left_out": {reason: count for reason, count in left_out.items() if count},
        **{note: {} for note in NOTES},
    }
    for each in (windows, *labels):
        each.add_notes(metrics, contigs, windowed)
    if not names:
        shorter = "choose a shorter `window`, or " if windows.path is None else ""
        advice = f"{labels[0].advice}{shorter}keep windows without labels by `all`"
        if left_out[UNCOVERED]:
            advice = "every file must have the windows' contigs; label tracks of different contigs apart"
        why = reasons(left_out) or "there are none"
        advice = "; ".join([*(note for kind in NOTES for note in metrics[kind].values()), advice])
        raise InputError(f"{source.path}: no window is left of {bases:,} bases: {why}; {advice}")
    every, *tables = (np.concatenate(column) for column in zip(*kept, strict=True))
    return names, every, tables, metrics


def read_contigs(source: Source) -> Iterator[tuple[str, Letters]]:
    """Yield name and upper-case letters of each contig, [G]; InputError for letters that are not IUPAC's."""
    name, pieces = "", list[bytes]()
    for block in chain(read_blocks(source), [Block("", b"")]):
        if block.name is not None:
            text = b"".join(pieces).replace(b"\n", b"").upper()
            pieces.clear()  # one copy of the contig is enough
            if strange := text.translate(None, (BASES + AMBIGUOUS).encode()):
                where = f"{source.path}: contig {name!r}, position {text.index(strange[:1]) + 1:,}"
                raise InputError(f"{where}: {chr(strange[0])!r} is no IUPAC code of DNA")
            if name:
                yield name, np.frombuffer(text, dtype=np.uint8)
            name = block.name
        pieces.append(block.text)


def _check_out(settings: LabelSettings) -> None:
    """Refuse an output folder that holds something else."""
    out, wrong = settings.out, ""
    about = read_json(out / RECORD) if (out / RECORD).exists() else {"verb": "label"}
    verb = about.get("verb") if isinstance(about, dict) else None
    if out.exists() and not out.is_dir():
        wrong = "expected a folder or nothing, got a file"
    elif (tables := _tables(out)) and not settings.overwrite:
        wrong = f"there is a set already ({tables[0].name}); `overwrite` it"
    elif verb != "label":
        wrong = f"{RECORD} is of another run ({verb}), not of labels"
    if wrong:
        raise InputError(f"{out}: {wrong}, or choose another `out`")


def _tables(out: Path) -> list[Path]:
    """Return the tables that are in a folder."""
    return sorted([*out.glob(SEQUENCES), *out.glob(SCORES), *out.glob("scores_*.txt.gz")])


def reasons(left_out: Mapping[str, int]) -> str:
    """Return in words how many windows were left out, by reason."""
    return ", ".join(f"{counted(n, 'window')} {reason}" for reason, n in left_out.items() if n)
