"""Variants of a genome placed in windows and scored by a model, one at a time or a VCF after another.

Shapes: n alleles; C columns of a scorer.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from dnalm import process
from dnalm.data.labels import Rename
from dnalm.dna import BASES, NOT_A_BASE, encode
from dnalm.errors import InputError, counted
from dnalm.formats.indexed import IndexedGenome
from dnalm.formats.vcf import (
    VcfFile,
    VcfRecord,
    declared_contigs,
    header_text,
    sorted_records,
    table_writer,
)

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

CHUNK = 128
"""Records that one process scores at a time; results do not depend on the number of processes."""
PER_WINDOW = 4  # Windows begin every quarter of their length, and an allele is at most so long
MOST_MISMATCHES = 0.01
"""Share of records whose REF is not the genome's, above which the genome is probably another build."""
PREFIX = "DNALM_"
"""Of the names in INFO."""
TSV_COLUMNS = ("chrom", "pos", "id", "ref", "alt")
REASONS = {
    "no_alt": "ALT is a dot",
    "symbolic": "a symbolic allele, such as <DEL>",
    "breakend": "a breakend",
    "star": "ALT is *, a deletion of another record",
    "ambiguous": "a letter other than A C G T in REF or ALT, or in the genome there",
    "same_as_ref": "ALT is REF",
    "too_long": "an allele longer than a quarter of the window",
    "contig_missing": "the genome has no such contig",
    "beyond_contig": "not within its contig",
    "ref_mismatch": "REF is not what the genome has",
    "no_context": "no base of the genome beside it",
}
"""Why an allele has no score."""


class Allele(NamedTuple):
    """An alternative allele in a window of the reference."""

    contig: str  # As the genome names it
    start: int  # Of the window on its contig, from 0
    letters: str  # Of the window: A C G T, in the genome's case
    at: int  # First base of REF in the window
    ref: str  # Upper case
    alt: str  # Upper case


class Column(NamedTuple):
    """A score, as INFO of a VCF declares it."""

    kind: str  # Float or Integer
    description: str


class Scorer(Protocol):
    """Scores alleles with a model."""

    window: int  # Letters of a window
    columns: Mapping[str, Column]  # By their names in INFO, without the prefix

    def score(self, alleles: Sequence[Allele]) -> Floats:
        """Return the scores, [n, C]."""
        ...


class Scored(NamedTuple):
    """The scores of an alternative allele, [C], or why there are none, see `REASONS`."""

    values: Floats | None
    reason: str


class Survey(NamedTuple):
    """What a VCF holds, before anything is scored."""

    records: int
    contigs: dict[str, int]  # Contigs of the records: their length in the genome, 0 where it has none
    is_sorted: bool
    checked: int  # Records whose REF was compared with the genome
    mismatched: int
    samples: int  # Columns after the fixed ones


class Places:
    """Places variants in windows of a genome, and says of those that cannot be why.

    Args:
        genome: that REF is checked against.
        window: letters of a window.
        rename: how contigs of the genome are called in the file of variants.
    """

    def __init__(self, genome: IndexedGenome, window: int, rename: Rename) -> None:
        self.genome, self.window = genome, window
        named = [
            (rank, name, contig) for contig in genome.lengths for rank, name in enumerate(rename(contig))
        ]
        self.contigs = {name: contig for _, name, contig in sorted(named, reverse=True)}  # likeliest last
        """The genome's name of each contig of a VCF."""

    def check(self, name: str, start: int, ref: str) -> str:
        """Return why REF, upper case, at `start`, from 0, cannot be used; empty if it can."""
        contig = self.contigs.get(name, "")
        if not contig:
            return "contig_missing"
        if start < 0 or start + len(ref) > self.genome.lengths[contig]:
            return "beyond_contig"
        found = self.genome.letters(contig, start, start + len(ref)).upper()
        if set(ref + found) - set(BASES):
            return "ambiguous"
        return "" if found == ref else "ref_mismatch"

    def place(self, name: str, start: int, ref: str, alts: Sequence[str]) -> list[Allele | str]:
        """Return each alternative allele in its window, or the reason why it cannot be placed."""
        wrong = self.check(name, start, ref)
        longest = self.window // PER_WINDOW
        placed: list[Allele | str] = []
        window: tuple[int, str] | None = None
        for alt in alts:
            reason = (
                _wrong_alt(ref, alt) or wrong or ("too_long" if max(len(ref), len(alt)) > longest else "")
            )
            if not reason and window is None:
                window = self._window(self.contigs[name], start, start + len(ref))
            if not reason and window is not None and len(window[1]) == len(ref):
                reason = "no_context"
            if reason or window is None:
                placed.append(reason)
                continue
            first, letters = window
            placed.append(Allele(self.contigs[name], first, letters, start - first, ref, alt.upper()))
        return placed or ["no_alt"]

    def _window(self, contig: str, start: int, end: int) -> tuple[int, str]:
        """Return start and letters of the window around a stretch.

        It begins at one of every quarter of its length, so that neighbours share it, and depends on nothing
        but the stretch; it is shifted or cut where its contig ends or where letters are no bases.
        """
        step = max(1, self.window // PER_WINDOW)
        first = start // step * step + step // 2 - self.window // 2
        origin, limit = max(0, first - self.window), min(first + 2 * self.window, self.genome.lengths[contig])
        letters = self.genome.letters(contig, origin, limit)
        breaks = np.flatnonzero(encode(letters) == NOT_A_BASE) + origin
        low = int(breaks[breaks < start].max(initial=origin - 1)) + 1
        high = int(breaks[breaks >= end].min(initial=limit))
        first = max(low, min(first, high - self.window))
        return first, letters[first - origin : min(first + self.window, high) - origin]


def _wrong_alt(ref: str, alt: str) -> str:
    """Return why an alternative allele cannot be scored, whatever the genome is."""
    if alt == "*":
        return "star"
    if "<" in alt:
        return "symbolic"
    if "[" in alt or "]" in alt or "." in alt:
        return "breakend"
    if set(alt.upper()) - set(BASES):
        return "ambiguous"
    return "same_as_ref" if alt.upper() == ref else ""


def survey(vcf: VcfFile | Sequence[VcfRecord], places: Places) -> Survey:
    """Read a VCF, or records, check REF of each record, and count.

    Raises:
        InputError: if it is no VCF, none of its contigs is in the genome, or more than 1 % of records (and
            more than one) have a REF that is not the genome's.
    """
    name = f"{vcf.path}: " if isinstance(vcf, VcfFile) else ""
    records = checked = mismatched = samples = 0
    contigs: dict[str, int] = {}
    is_sorted, before, example = True, ("", 0), ""
    for record in vcf:
        records += 1
        if record.contig not in contigs:
            contigs[record.contig] = places.genome.lengths.get(places.contigs.get(record.contig, ""), 0)
            samples = max(samples, record.rest.count("\t"))
        elif before > (record.contig, record.start) or before[0] != record.contig:
            is_sorted = False
        before = (record.contig, record.start)
        wrong = places.check(record.contig, record.start, record.ref)
        checked += wrong in ("", "ref_mismatch")
        if wrong == "ref_mismatch":
            mismatched += 1
            example = example or f"{record.contig}:{record.start + 1} {record.ref}"
    own = ", ".join(list(places.genome.lengths)[:3])
    if records and not any(contigs.values()):
        raise InputError(
            f"{name}contigs of the genome, as {own}, expected; got {', '.join(list(contigs)[:3])}; "
            "`rename` chr or a file matches names"
        )
    if mismatched > max(1, MOST_MISMATCHES * checked):
        raise InputError(
            f"{name}REF is not what {places.genome.path.name} has in {mismatched:,} of "
            f"{counted(checked, 'record')} (the first is {example}); the genome is probably another build: "
            "give the one that the variants were called on"
        )
    return Survey(records, contigs, is_sorted, checked, mismatched, samples)


def ordered(vcf: VcfFile, found: Survey) -> Iterator[VcfRecord]:
    """Yield the records of a VCF by contig and position, contigs as its header has them."""
    if found.is_sorted:
        return iter(vcf)
    names = dict.fromkeys([*declared_contigs(vcf), *found.contigs])
    return sorted_records(vcf, {name: rank for rank, name in enumerate(names)})


def score_records(
    scorer: Scorer, places: Places, records: Iterable[VcfRecord]
) -> Iterator[tuple[VcfRecord, list[Scored]]]:
    """Yield each record with the scores of its alternative alleles, one if it has none, some at a time.

    All processes of a run call this with the same records, and each computes a part of them.
    """
    chunks, world = _pieces(records, CHUNK), process.current().world_size
    for group in _pieces(chunks, world):
        scores = process.map_over_ranks(group, partial(_score_chunk, scorer, places), together=True)
        for chunk, scored in zip(group, scores, strict=True):
            yield from zip(chunk, scored, strict=True)


def _pieces(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while piece := list(itertools.islice(iterator, size)):
        yield piece


def _score_chunk(scorer: Scorer, places: Places, records: Sequence[VcfRecord]) -> list[list[Scored]]:
    placed = [places.place(each.contig, each.start, each.ref, each.alts) for each in records]
    alleles = [one for each in placed for one in each if not isinstance(one, str)]
    values = iter(scorer.score(alleles)) if alleles else iter(())
    return [
        [Scored(None, one) if isinstance(one, str) else Scored(next(values), "") for one in each]
        for each in placed
    ]


def info_of(record: VcfRecord, scored: Sequence[Scored], columns: Iterable[str]) -> str:
    """Return INFO of a record with its scores, one for each alternative allele, and reasons."""
    items = [
        each for each in record.fields[7].split(";") if each not in ("", ".") and not each.startswith(PREFIX)
    ]
    if any(each.values is not None for each in scored):
        for number, name in enumerate(columns):
            values = ("." if each.values is None else shown(each.values[number]) for each in scored)
            items.append(f"{PREFIX}{name}={','.join(values)}")
    if any(each.reason for each in scored):
        items.append(f"{PREFIX}REASON={','.join(each.reason or '.' for each in scored)}")
    return ";".join(items) or "."


def shown(value: float) -> str:
    """Return a score as text, of five digits; a dot for none."""
    return "." if np.isnan(value) else f"{value:.5g}"


def info_lines(columns: Mapping[str, Column]) -> list[str]:
    """Return the ##INFO lines of the scores and reasons."""
    lines = [
        f'##INFO=<ID={PREFIX}{name},Number=A,Type={column.kind},Description="{column.description}">'
        for name, column in columns.items()
    ]
    why = "; ".join(f"{name}: {text}" for name, text in REASONS.items())
    return [*lines, f'##INFO=<ID={PREFIX}REASON,Number=.,Type=String,Description="No score because: {why}">']


class VcfScores(NamedTuple):
    """What became of the records and alleles of a VCF."""

    records: int
    alleles: int  # Alternative alleles; a record without one counts as one
    not_scored: Counter[str]  # Of the alleles, by reason, see `REASONS`


def score_vcf(
    scorer: Scorer,
    places: Places,
    vcf: VcfFile,
    found: Survey,
    out: Path,
    see: Callable[[VcfRecord, Sequence[Scored]], None],
) -> VcfScores:
    """Score a VCF, and write it sorted, in the first of several processes.

    Args:
        scorer: of the alleles.
        places: in which genome.
        vcf: the file.
        found: its survey.
        out: .vcf or .tsv, or either with .gz: compressed by bgzip, and a VCF has an index beside it.
        see: called with each record, in all processes.
    """
    records = alleles = 0
    not_scored: Counter[str] = Counter()
    columns, is_vcf = scorer.columns, is_vcf_name(out)
    with ExitStack() as stack:
        write: Callable[[str], None] = process.silent
        if process.is_rank_zero():
            longest = max([0, *found.contigs.values()])
            write = stack.enter_context(table_writer(out, longest, index=is_vcf))
        if is_vcf:
            write(header_text(vcf, info_lines(columns), found.contigs, found.samples))
        else:
            write("\t".join((*TSV_COLUMNS, *map(str.lower, columns), "reason")) + "\n")
        for record, scored in score_records(scorer, places, ordered(vcf, found)):
            records += 1
            alleles += len(scored)
            not_scored.update(each.reason for each in scored if each.reason)
            rows = (
                [record.line(info_of(record, scored, columns))]
                if is_vcf
                else _rows(record, scored, list(columns))
            )
            write("".join(f"{row}\n" for row in rows))
            see(record, scored)
    return VcfScores(records, alleles, not_scored)


def _rows(record: VcfRecord, scored: Sequence[Scored], columns: Sequence[str]) -> Iterator[str]:
    """Yield the rows of a table, one for each alternative allele."""
    for alt, each in zip(record.alts or (".",), scored, strict=True):
        values = ["."] * len(columns) if each.values is None else list(map(shown, each.values))
        yield "\t".join([*record.fields[:4], alt, *values, each.reason or "."])


def is_vcf_name(path: Path) -> bool:
    """Return whether a file is to be VCF, and not a table, by its name."""
    return path.name.removesuffix(".gz").endswith(".vcf")
