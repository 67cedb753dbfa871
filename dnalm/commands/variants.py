"""`dnalm variants`: a VCF in, the same with a model's scores of each alternative allele out."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dnalm import process
from dnalm.commands.progress import count_progress
from dnalm.commands.runs import UseOptions, record_path, show
from dnalm.data.labels import rename_rule
from dnalm.errors import InputError
from dnalm.evaluate.variants import Frequency, SnvSample, frequency_of
from dnalm.files import sha256
from dnalm.formats.indexed import IndexedGenome
from dnalm.formats.vcf import VcfFile, VcfRecord, index_suffix
from dnalm.record import Record
from dnalm.report.variants import variant_findings, variant_tables
from dnalm.results.use import Counts, VariantMetrics, as_json
from dnalm.use.load import load
from dnalm.use.variant_scores import scorer_of, window_of
from dnalm.use.variants import Places, Scored, Scorer, Survey, ordered, score_records, score_vcf, survey

ENDINGS = (".vcf.gz", ".vcf", ".tsv.gz", ".tsv")
SETTINGS = ("window", "rename", "markov_order", "species", "site_threshold", "allele_frequency", "rare_count")
"""Options that the record has, beside what the metrics have."""


@dataclass(frozen=True, kw_only=True)
class Options(UseOptions):
    """Score the variants of a VCF by how unlikely a language model finds them, or by a track's change."""

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
    species: str | None = None
    """Genome of a language model with a species token as whose the windows are read; unknown unless given."""
    site_threshold: float | None = None
    """Predicted score from which on a base belongs to a site, for a binding model; half of the largest in the
    reference windows of the first 1,000 records unless given."""
    calibrate_against: Path | None = None
    """A VCF of common variants: do the scores tell those of --vcf, taken as rare, from them?"""
    allele_frequency: str | None = None
    """INFO field with the frequency of ALT, as AF (or AC and AN): do the scores tell rare from common?"""
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
    index = out.with_name(out.name + index_suffix(0))
    processor = options.begin(out, *([index] if out.name.endswith(".vcf.gz") else []))
    device, precision = processor.device, processor.precision
    model = load(options.model, device=device, precision=precision, species=options.species)
    window, rename = window_of(model, options.window), rename_rule(options.rename)
    with IndexedGenome(options.genome) as genome:
        places, vcf = Places(genome, window, rename), VcfFile(options.vcf)
        found = survey(vcf, places)
        if options.calibrate_against is not None:
            survey(VcfFile(options.calibrate_against), places)
        records = ordered(vcf, found)
        scorer, baseline = scorer_of(model, places, records, options.markov_order, options.site_threshold)
        record = Record(
            record_path(out),
            "variants",
            recipe={name: getattr(options, name) for name in SETTINGS},
            seed=0,
            data=_inputs(options),
            device=str(processor),
        )
        with record.ending():
            metrics = _score(options, scorer, places, vcf, found)._replace(baseline=baseline)
    record.finish("done", as_json(metrics))
    for table in variant_tables({out.name: metrics}):
        show(table.text() + "\n")
    for finding in variant_findings({out.name: metrics}):
        show(finding)
    show(str(out))


def _score(options: Options, scorer: Scorer, places: Places, vcf: VcfFile, found: Survey) -> VariantMetrics:
    """Score the VCF and write it; then compare rare with common SNVs."""
    rare_ones = "" if options.calibrate_against is None else f"those of {options.vcf.name}"
    sample, begin = SnvSample(list(scorer.columns), rare_ones), time.monotonic()
    with count_progress("variants", found.records, quiet=options.quiet) as advance:

        def see(record: VcfRecord, scored: Sequence[Scored]) -> None:
            """Count a record, and add its SNVs to the sample."""
            advance(1)
            if options.allele_frequency is not None:
                add_snvs(sample, record, scored, lambda alt: frequency_of(record.info, field, alt))
            elif options.calibrate_against is not None:
                add_snvs(sample, record, scored, lambda _alt: Frequency(1, 0.0))

        field = options.allele_frequency or ""
        done = score_vcf(scorer, places, vcf, found, options.out, see)
    seconds = time.monotonic() - begin
    if options.calibrate_against is not None:
        for record, scored in score_records(scorer, places, iter(VcfFile(options.calibrate_against))):
            add_snvs(sample, record, scored, lambda _alt: Frequency(math.inf, 1.0))
    rare, common = options.rare_count, options.common_frequency
    left_out = {f"no record, the first is {vcf.example}": vcf.unreadable} if vcf.unreadable else {}
    return VariantMetrics(
        model=options.model.name,
        counts=Counts(done.records + vcf.unreadable, done.records, left_out),
        alleles=done.alleles,
        not_scored=dict(done.not_scored),
        checked=found.checked,
        mismatched=found.mismatched,
        window=scorer.window,
        columns={name: column.description for name, column in scorer.columns.items()},
        baseline="",
        per_second=(done.alleles - done.not_scored.total()) / max(seconds, 1e-9),
        common_share=common,
        contrasts=sample.contrasts(rare, common) if process.is_rank_zero() else [],
    )


def add_snvs(
    sample: SnvSample,
    record: VcfRecord,
    scored: Sequence[Scored],
    frequency: Callable[[int], Frequency | None],
) -> None:
    """Add the SNVs of a record that have scores; `frequency` returns that of an ALT by its index."""
    for row, (alt, each) in enumerate(zip(record.alts, scored, strict=False)):
        known = None if each.values is None else frequency(row)
        if known is not None and each.values is not None:
            sample.add(record.contig, record.start, record.ref + alt.upper(), known, each.values)


def _inputs(options: Options) -> dict[str, dict[str, str]]:
    """Return the files that were read with their digests, in the first of several processes."""
    inputs = {"genome": options.genome, "vcf": options.vcf, "calibrate_against": options.calibrate_against}
    read = {name: path for name, path in inputs.items() if path and process.is_rank_zero()}
    return {name: {"name": path.name, "sha256": sha256(path)} for name, path in read.items()}
