"""`dnalm variants`: a VCF in, the same with a model's scores of each alternative allele out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from dnalm import process
from dnalm.commands.progress import aligned, count_progress
from dnalm.commands.runs import UseOptions, record_path, show
from dnalm.data.labels import rename_rule
from dnalm.errors import InputError, counted
from dnalm.evaluate.variants import Frequency, SnvSample, frequency_of
from dnalm.files import sha256
from dnalm.formats.indexed import IndexedGenome
from dnalm.formats.vcf import VcfFile, VcfRecord, index_suffix
from dnalm.record import Record
from dnalm.report.sentences import interval
from dnalm.results_use import Contrast, Counts, VariantMetrics
from dnalm.use.load import load
from dnalm.use.variant_scores import scorer_of, window_of
from dnalm.use.variants import (
    REASONS,
    Places,
    Scored,
    Scorer,
    Survey,
    VcfScores,
    is_vcf_name,
    ordered,
    score_records,
    score_vcf,
    survey,
)

ENDINGS = (".vcf.gz", ".vcf", ".tsv.gz", ".tsv")


@dataclass(frozen=True, kw_only=True)
class Options(UseOptions):
    """Score the variants of a VCF: what a language model finds unlikely, or what changes a predicted track."""

    model: Annotated[Path, tyro.conf.Positional]  # A language model or a binding model.
    genome: Path  # FASTA (plain, gzip or bgzip) or .2bit that the variants were called on.
    vcf: Path  # Variants, plain or gzip, in any order.
    out: Path
    """.vcf.gz, with an index beside it, .vcf, .tsv.gz or .tsv; sorted."""
    rename: str | None = None
    """How contigs are called in the VCF: chr, or a file of two columns, name there and name in the genome."""
    window: int | None = None
    """Bases that the model reads around a variant; 300, or as many as it can, unless given."""
    markov_order: int | None = None  # Another order of the Markov model beside a language model.
    site_threshold: float | None = None
    """Predicted score from which on a base belongs to a site, for a binding model; half of the largest in the
    reference windows of the first 1,000 records unless given."""
    calibrate_against: Path | None = None
    """A VCF of common variants: do the scores tell those of --vcf, taken as rare, from them?"""
    allele_frequency: str | None = None
    """INFO field with the frequency of ALT, such as AF (or AC and AN): do the scores tell rare from common?"""
    rare_count: int = 1  # Rare: the rarer allele is seen at most so often; more, up to 9, are compared apart.
    common_frequency: float = 0.05  # Common: the rarer allele has at least this frequency.


def run(options: Options) -> None:
    """Score, write, print what became of the records and what the scores are worth.

    Raises:
        InputError: for a mistake in the options, the genome, or the VCF.
    """
    out = options.out
    if not out.name.endswith(ENDINGS):
        raise InputError(f"{out}: expected a name that ends with {', '.join(ENDINGS)}")
    if options.calibrate_against is not None and options.allele_frequency is not None:
        raise InputError("--calibrate-against and --allele-frequency say the same; give one of them")
    processor = options.begin(out)
    model = load(options.model, device=processor.device, precision=processor.precision)
    window, rename = window_of(model, options.window), rename_rule(options.rename)
    with IndexedGenome(options.genome) as genome:
        places, vcf = Places(genome, window, rename), VcfFile(options.vcf)
        found = survey(vcf, places)
        if options.calibrate_against is not None:
            survey(VcfFile(options.calibrate_against), places)
        scorer, baseline = scorer_of(
            model, places, ordered(vcf, found), options.markov_order, options.site_threshold
        )
        inputs = {"model": options.model, "genome": options.genome, "vcf": options.vcf}
        if options.calibrate_against is not None:
            inputs["calibrate_against"] = options.calibrate_against
        record = Record(
            record_path(out),
            "variants",
            recipe={key: str(value) for key, value in vars(options).items()},
            seed=0,
            data={name: _input(path) for name, path in inputs.items()},
            device=str(processor.device),
        )
        with record.ending():
            begin = time.monotonic()
            sample = SnvSample(list(scorer.columns))
            with count_progress("variants", found.records, quiet=options.quiet) as advance:
                done = score_vcf(scorer, places, vcf, found, out, _see(options, sample, advance))
            seconds = time.monotonic() - begin
            if options.calibrate_against is not None:
                _add_common(options.calibrate_against, scorer, places, sample)
            contrasts: list[Contrast] = []
            if process.is_rank_zero():
                contrasts = sample.contrasts(options.rare_count, options.common_frequency)
        metrics = _metrics(done, found, scorer, seconds)
        metrics = metrics._replace(
            baseline=baseline, common_share=options.common_frequency, contrasts=contrasts
        )
        record.finish("done", metrics_json(metrics))
    show(summary(options.vcf, metrics))
    show(str(out))
