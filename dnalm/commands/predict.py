"""`dnalm predict`: a track of a binding model's scores along a genome."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

import dnalm
from dnalm import process
from dnalm.commands.progress import count_progress
from dnalm.commands.runs import UseOptions, interval, record_path, show
from dnalm.data.labels import rename_rule
from dnalm.device import Processor
from dnalm.errors import InputError, counted
from dnalm.formats.indexed import IndexedGenome
from dnalm.formats.track_writer import WRITERS, check_track, write_track
from dnalm.models.open import unique_names
from dnalm.record import Record
from dnalm.results.use import Counts, PredictMetrics, as_json
from dnalm.use.binding import BindingModel
from dnalm.use.language import LanguageModel
from dnalm.use.predict import Stretches, Tiling, merged, predict_pieces, tiling_of
from dnalm.use.regions import Regions
from dnalm.use.track_summary import KnownTrack, TrackSummary

INPUTS = ("genome", "fasta", "regions", "truth")


@dataclass(frozen=True)
class Options:
    """Write the scores of a binding model along a genome as a track, which a genome browser opens."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL [MODEL ...]")]
    """Folders written by finetune or baseline, or published .pt files. Each of several gets a file of its
    own, OUT with the model's name before its ending."""
    genome: Path | None = None  # FASTA (plain, gzip or bgzip) or .2bit.
    fasta: Path | None = None  # Separate sequences in place of --genome; all of them are scored.
    regions: Path | None = None  # BED: only these bases, each once; all contigs unless given.
    out: Path = Path("track.bw")
    """The track: .bw (bigWig), .bedgraph or .bedgraph.gz, .tsv or .tsv.gz (a row a base), or .npz."""
    truth: Path | None = None
    """A known track, bigWig or bedGraph, 0 where it has no data: how well the predicted one agrees."""
    rename: str | None = None
    """How contigs are called in --regions and --truth: chr for `chr` before the name or without it, or a file
    of two columns, the name there and the name in the genome."""
    both_strands: bool = False  # Average the scores of both strands.
    window: int | None = None
    """Bases that the model reads at once; unless given the most that it can, or 512 if that is any number."""
    stride: int | None = None
    """Bases from a window to the next; unless given half a window, or of a CNN as many as keep it exact."""
    use: UseOptions = field(default_factory=UseOptions)


def run(options: Options) -> None:
    """Predict, write a track and its record for each model, and print what they hold.

    Raises:
        InputError: for a mistake in the options, a model, the genome, the regions or the truth.
    """
    path = _source(options)
    outs = _outs(options)
    processor = options.use.begin(*outs)
    models = {out: _open(model, processor) for out, model in outs.items()}
    tilings = {out: tiling_of(model, options.window, options.stride) for out, model in models.items()}
    with IndexedGenome(path) as genome:
        regions = Regions(genome, options.regions, rename_rule(options.rename))
        stretches = merged(regions, genome)
        for line in regions.summary():
            options.use.say(line)
        left_out = dict(regions.left_out)
        counts = Counts(regions.read, regions.read - sum(left_out.values()), left_out)
        truths = {out: _truth(options, genome, stretches) for out in outs}  # or refused
        for out, model in models.items():
            inputs = {"model": outs[out], **{name: getattr(options, name) for name in INPUTS}}
            record = Record(
                record_path(out),
                "predict",
                recipe={"both_strands": options.both_strands, **vars(tilings[out])},
                seed=0,
                data={name: str(each) for name, each in inputs.items() if each is not None},
                device=str(processor),
            )
            with record.ending():
                metrics = _predict(options, model, tilings[out], genome, counts, stretches, out, truths[out])
            record.finish("done", as_json(metrics))
            show(_text(out, metrics))


def _source(options: Options) -> Path:
    """Return the file of sequences."""
    if (options.genome is None) == (options.fasta is None):
        got = "none" if options.genome is None else "both"
        raise InputError(f"expected `genome` or `fasta`, got {got}; give one of them")
    if options.fasta is not None and options.regions is not None:
        raise InputError("`regions` are of a genome; give the file as `genome`, not as `fasta`")
    path = options.genome or options.fasta
    assert path is not None
    return path


def _outs(options: Options) -> dict[Path, Path]:
    """Return the model of each track, by where the track goes."""
    out, models = options.out, options.models
    if not models:
        raise InputError("expected a model, got none; name the folder of one")
    check_track(out)
    if len(models) == 1:
        return {out: models[0]}
    ending = max((each for each in WRITERS if out.name.lower().endswith(each)), key=len)
    stem, suffix = out.name[: -len(ending)], out.name[-len(ending) :]
    names = unique_names([model.stem for model in models], models)
    return {
        out.with_name(f"{stem}.{name.replace('/', '_')}{suffix}"): model
        for name, model in zip(names, models, strict=True)
    }


def _open(path: Path, processor: Processor) -> BindingModel:
    """Open a model; InputError if it is of a kind that has no score at each base."""
    model = dnalm.load(path, device=processor.device, precision=processor.precision)
    if isinstance(model, BindingModel):
        return model
    is_language = isinstance(model, LanguageModel)
    what = "a language model; dnalm score writes its bits per base" if is_language else "a model of pairs"
    raise InputError(
        f"{path}: expected a model of a score at each base, of dnalm finetune or dnalm baseline, got {what}"
    )


def _truth(options: Options, genome: IndexedGenome, stretches: Stretches) -> KnownTrack | None:
    """Open the known track, if there is one."""
    if options.truth is None:
        return None
    return KnownTrack(options.truth, genome.lengths, rename_rule(options.rename), stretches.bases)


def _predict(
    options: Options,
    model: BindingModel,
    tiling: Tiling,
    genome: IndexedGenome,
    counts: Counts,
    stretches: Stretches,
    out: Path,
    truth: KnownTrack | None,
) -> PredictMetrics:
    """Write the track of one model, and return what it holds."""
    summary = TrackSummary(truth)
    with count_progress(out.name, stretches.bases, quiet=options.use.quiet) as advance:
        scores = predict_pieces(model, genome, stretches, tiling, both_strands=options.both_strands)
        pieces = summary.passing(scores, advance)
        if process.is_rank_zero():
            write_track(out, genome.lengths, pieces)
        else:
            for _ in pieces:  # computes its part
                pass
    return PredictMetrics(
        model=model.name,
        regions=counts,
        overlapping=stretches.overlapping,
        bases=stretches.bases,
        predicted=summary.predicted,
        mean=summary.mean,
        window=tiling.window,
        stride=tiling.stride,
        both_strands=options.both_strands,
        examples=summary.examples,
        truth=truth.metrics() if truth else None,
    )


def _text(out: Path, metrics: PredictMetrics) -> str:
    """Return what a track holds, in a few lines."""
    bases, used = counted(metrics.predicted, "base"), counted(metrics.regions.written, "region")
    lines = [f"{out}: {bases} of {used}, mean score {metrics.mean:.4g}"]
    if metrics.overlapping:
        overlap = counted(metrics.overlapping, "region overlaps", "regions overlap")
        lines.append(f"{overlap} others; each base is written once")
    if gaps := metrics.bases - metrics.predicted:
        lines.append(f"{counted(gaps, 'base')} without a score: no A, C, G or T")
    if metrics.examples:
        best = metrics.examples[0]
        where = f"{best.contig}:{best.start + 1:,}-{best.start + len(best.values):,}"
        lines.append(f"highest score {best.highest:.4g} in {where}")
    if metrics.truth:
        r = interval(metrics.truth.r._asdict())
        lines.append(f"Pearson R {r} over {counted(metrics.truth.bases, 'base')} of {metrics.truth.track}")
    return "\n".join(lines)
