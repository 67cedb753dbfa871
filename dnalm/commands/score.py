"""`dnalm score`: bits per base of sequences or a genome by a language model, and what it knows of genes."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import tyro

from dnalm import process
from dnalm.commands.progress import count_progress
from dnalm.commands.runs import UseOptions, record_path
from dnalm.data.annotation import Annotation
from dnalm.data.labels import rename_rule
from dnalm.device import Processor
from dnalm.errors import InputError, counted, shortened
from dnalm.files import atomic_file, sha256
from dnalm.formats.gff import Gff
from dnalm.formats.indexed import IndexedGenome
from dnalm.formats.track_writer import check_track, write_track
from dnalm.record import Record
from dnalm.report.figures import save_all
from dnalm.report.score import left_out_text, score_figure, score_findings, score_tables
from dnalm.results.use import Counts, FeatureGain, ScoreMetrics, SubstitutionAuroc, as_json
from dnalm.use.binding import BindingModel
from dnalm.use.knowledge import Knowledge
from dnalm.use.language import LanguageModel
from dnalm.use.load import load
from dnalm.use.markov import Baseline, training_markov
from dnalm.use.regions import Regions
from dnalm.use.score import RegionScore, RegionSums, ScoredPiece, Scoring, without_overlaps

SETTINGS = ("part", "bases", "codons", "keep_dubious", "rename", "species")
"""Options that the record has."""
HEADER = "name\tcontig\tstart\tend\tbases\tbits_per_base\tmarkov\tgain\n"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score sequences or a genome by a language model: bits per base, and what it knows of genes."""

    model: Annotated[Path, tyro.conf.Positional]  # A pretrained language model: a folder, or a published .pt.
    genome: Path | None = None
    """FASTA or .2bit to score. Beside --fasta, the training genome of the Markov model."""
    fasta: Path | None = None  # Sequences to score, each of its own.
    regions: Path | None = None  # BED: the regions of --genome to score; all of it unless given.
    annotation: Path | None = None
    """GFF3 or GTF of what is scored: the gain over the Markov model by feature and codon position, and
    AUROC of nonsense and missense against synonymous substitutions."""
    out: Path = Path("scores.tsv")
    """A table: a row a sequence or region, start and end 0-based and half-open as in BED."""
    track: Path | None = None  # Bits of each base too: .bw, .bedgraph.gz, .tsv.gz or .npz by the ending.
    rename: str | None = None
    """How contigs are called in BED and GFF: chr for `chr` before the name, or a file of two columns."""
    part: Literal["auto", "held-out", "all"] = "auto"
    """held-out: only what the model's run.json says was held out in training; auto: that with an
    annotation, where it is known, and else all."""
    bases: int = 0  # Score a sample of about so many bases, spread evenly; 0 for all.
    codons: int = 1000  # Codons that are sampled for substitutions.
    keep_dubious: bool = False  # Use open reading frames that the annotation marks as dubious too.
    markov_order: int | None = None  # Order of the Markov model; that of the model's run unless given.
    species: str | None = None
    """Genome of a model with a species token as whose the sequences are read; unknown unless given."""
    use: UseOptions = field(default_factory=UseOptions)


def run(options: Options) -> None:
    """Score, write the table and what else was asked for, and print a summary.

    Raises:
        InputError: for a mistake in the options, the model or the input.
    """
    figure = options.out.with_suffix(".png")
    others = [*([options.track] if options.track else []), *([figure] if options.annotation else [])]
    if options.track:
        check_track(options.track)
    processor = options.use.begin(options.out, record_path(options.out), *others)
    path = options.fasta or options.genome
    if path is None or (options.fasta is not None and options.regions is not None):
        raise InputError("score needs `genome`, with or without `regions`, or `fasta`")
    model = _language_model(options, processor)
    genome, rename = IndexedGenome(path), rename_rule(options.rename)
    baseline = _baseline(options, genome)
    regions = Regions(genome, options.regions, rename)
    held_out, part = _part(options, baseline)
    markov = baseline.model if baseline else None
    scoring = Scoring(model, genome, regions, markov=markov, held_out=held_out, bases=options.bases)
    if options.track:
        scoring.check_sorted("track")
    knowledge = _knowledge(options, scoring, genome)
    options.use.say(f"scoring about {counted(scoring.total, 'base')} of {path}: {part}")
    record = Record(
        record_path(options.out),
        "score",
        recipe={key: getattr(options, key) for key in SETTINGS},
        seed=0,
        data=_inputs(options),
        device=str(processor),
    )
    with record.ending():
        metrics = _score(options, scoring, knowledge, regions, genome)
        metrics = replace(metrics, baseline=baseline.origin if baseline else "", scored_part=part)
    record.finish("done", as_json(metrics))
    if not process.is_rank_zero():
        return
    for table in score_tables(metrics):
        print(table.text(), end="\n\n")
    drawn = save_all({figure: partial(score_figure, metrics)} if metrics.features else {}, options.use.say)
    print("\n".join([*score_findings(metrics), left_out_text(metrics), *metrics.notes]))
    for written in (options.out, *([options.track] if options.track else []), *drawn):
        print(written)


def _language_model(options: Options, processor: Processor) -> LanguageModel:
    """Open the model; InputError if it is of another kind."""
    path, device, precision = options.model, processor.device, processor.precision
    model = load(path, device=device, precision=precision, species=options.species)
    if isinstance(model, LanguageModel):
        return model
    verb = "dnalm predict" if isinstance(model, BindingModel) else "dnalm interact screen"
    raise InputError(f"{path}: expected a language model, as dnalm pretrain makes; this one is for {verb}")


def _baseline(options: Options, genome: IndexedGenome) -> Baseline | None:
    """Return the Markov model of `genome`; None where only sequences are given."""
    if options.genome is None:
        return None
    if options.fasta is None:
        return training_markov(options.model, genome, options.markov_order)
    with IndexedGenome(options.genome) as training:
        return training_markov(options.model, training, options.markov_order)


def _part(options: Options, baseline: Baseline | None) -> tuple[dict[str, int] | None, str]:
    """Return what was held out in training if only that is scored, and in words what is scored."""
    held_out = baseline.held_out if baseline and options.fasta is None else {}
    starts = (f"{name} from {first + 1:,}" if first else name for name, first in held_out.items())
    names = shortened(", ".join(starts), 60)
    if options.part == "held-out" and not held_out:
        raise InputError("`part` held-out: what was held out in training is not known; use `part` all")
    if held_out and (options.part == "held-out" or (options.part == "auto" and options.annotation)):
        return held_out, f"only what was held out in training ({names}); --part all scores all"
    if held_out:
        return None, f"the training part too; held out in training: {names}"
    return (
        None,
        "all of it; what was held out in training is not known: training bases are no test",
    )


def _knowledge(options: Options, scoring: Scoring, genome: IndexedGenome) -> Knowledge | None:
    """Return what collects figures by feature, if there is an annotation."""
    if options.track:
        scoring.check_sorted("track")
    if options.annotation is None:
        return None
    rename, gff = rename_rule(options.rename), Gff(options.annotation)
    annotation = Annotation(gff, genome.lengths, rename, keep_dubious=options.keep_dubious)
    return Knowledge(scoring, annotation, options.codons)


def _score(
    options: Options, scoring: Scoring, knowledge: Knowledge | None, regions: Regions, genome: IndexedGenome
) -> ScoreMetrics:
    """Score, and write the table and the track; the first of several processes writes."""
    sums, written = RegionSums(), 0

    def write(file: BinaryIO, rows: Sequence[RegionScore]) -> None:
        """Write the rows of some regions."""
        nonlocal written
        written += len(rows)
        file.write("".join(map(_row, rows)).encode())

    def pieces(file: BinaryIO, advance: Callable[[int], None]) -> Iterator[ScoredPiece]:
        """Score the pieces and write the rows of regions that are complete."""
        for scored in scoring.pieces(advance):
            write(file, sums.add(scored))
            yield scored
        write(file, sums.end())

    def tracked(scored: Iterable[ScoredPiece]) -> Iterator[tuple[str, int, npt.NDArray[np.float32]]]:
        """Yield the pieces of the track, and collect what the model knows."""
        for each in without_overlaps(scored):
            if knowledge:
                knowledge.add(each)
            yield each.piece.region.contig, each.piece.start, each.model

    quiet, found = options.use.quiet, (list[FeatureGain](), list[SubstitutionAuroc]())
    with _table(options.out) as file:
        file.write(HEADER.encode())
        with count_progress("scoring", scoring.total, quiet=quiet) as advance:
            track = tracked(pieces(file, advance))
            if options.track and process.is_rank_zero():
                write_track(options.track, genome.lengths, track)
            else:
                deque(track, maxlen=0)
        if knowledge:
            with count_progress("substitutions", options.codons, quiet=quiet) as advance:
                found = knowledge.results(advance)
    left_out = dict(regions.left_out)
    if scoring.training:
        left_out["in the training part"] = scoring.training
    if sampled := regions.read - written - sum(left_out.values()):
        left_out["not in the sample"] = sampled
    bits, markov = (sums.sums / sums.bases).tolist() if sums.bases else (math.nan, math.nan)
    notes = [*regions.summary(), *(knowledge.notes if knowledge else [])]
    counts = Counts(regions.read, written, left_out)
    return ScoreMetrics(scoring.model.name, counts, sums.bases, bits, markov, "", "", *found, notes)


def _table(out: Path) -> AbstractContextManager[BinaryIO]:
    """Open the table; in processes other than the first one what is written is dropped."""
    return atomic_file(out) if process.is_rank_zero() else open(os.devnull, "wb")  # noqa: SIM115


def _row(score: RegionScore) -> str:
    """Return the row of a region."""
    (contig, start, end, name, _), bases, model, markov = score
    numbers = [f"{value:.6f}" if math.isfinite(value) else "" for value in (model, markov, markov - model)]
    return "\t".join([name, contig, str(start), str(end), str(bases), *numbers]) + "\n"


def _inputs(options: Options) -> dict[str, Any]:
    """Return the inputs with their digests, for the record."""
    files = {key: getattr(options, key) for key in ("genome", "fasta", "regions", "annotation")}
    described = {
        key: {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
        for key, path in files.items()
        if path is not None
    }
    return {"model": str(options.model), **described}
