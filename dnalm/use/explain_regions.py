"""Regions of a genome explained one after the other, and what is counted of them."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from dnalm import process
from dnalm.data.labels import Rename
from dnalm.formats.bed import read_bed
from dnalm.formats.indexed import IndexedGenome
from dnalm.results.use import Counts, ExplainMetrics, Explanation, SiteShare
from dnalm.use.binding import BindingModel
from dnalm.use.explain import LONGEST, Method, explain
from dnalm.use.language import LanguageModel
from dnalm.use.motif_matches import MotifLibrary
from dnalm.use.regions import Region, Regions

Model = LanguageModel | BindingModel


def explain_regions(
    model: Model, genome: IndexedGenome, regions: Regions, method: Method, library: MotifLibrary | None
) -> Iterator[tuple[Region, Explanation]]:
    """Yield each region that is not too long with its explanation; several processes share the work.

    Those that are longer than `LONGEST` are counted in `regions.left_out`.
    """
    size = process.current().world_size
    do = partial(_explain_one, model, genome, method, library)
    short = filter(partial(_is_short, regions), regions)
    while some := list(itertools.islice(short, size)):
        yield from zip(some, process.map_over_ranks(some, do, together=size > 1), strict=True)


def _explain_one(
    model: Model, genome: IndexedGenome, method: Method, library: MotifLibrary | None, region: Region
) -> Explanation:
    letters = genome.letters(region.contig, region.start, region.end)
    return explain(model, [letters], method=method, motifs=library)[0]


def _is_short(regions: Regions, region: Region) -> bool:
    """Return whether a region can be explained; count one that is too long."""
    if region.end - region.start <= LONGEST:
        return True
    reason = f"longer than {LONGEST:,} bases: give the parts that matter"
    regions.left_out[reason] += 1
    regions.examples.setdefault(reason, region.name)
    return False


class KnownSites:
    """Sites of a BED file, and how many of the bases with the highest attributions lie in them.

    Args:
        path: BED, plain or gzip.
        genome: whose sites they are.
        rename: how contigs of the genome are called in the file.

    Raises:
        InputError: if a line is no interval.
    """

    def __init__(self, path: Path, genome: IndexedGenome, rename: Rename) -> None:
        contigs = {name: contig for contig in reversed(genome.lengths) for name in rename(contig)}
        found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for contig, start, end in read_bed(path):
            found[contigs.get(contig, contig)].append((start, end))
        self._sites = {contig: np.array(rows, dtype=np.int64) for contig, rows in found.items()}
        self._bases, self._hits, self._expected = 0, 0.0, 0.0

    def add(self, region: Region, one: Explanation) -> None:
        """Compare the highest attributions of a region, as many as it has bases in sites, with the sites."""
        length = region.end - region.start
        sites = self._sites.get(region.contig, np.empty((0, 2), dtype=np.int64)) - region.start
        inside = np.zeros(length, dtype=np.bool_)
        for start, end in sites[(sites[:, 0] < length) & (sites[:, 1] > 0)].tolist():
            inside[max(0, start) : end] = True
        count = int(inside.sum())
        highest = np.argsort(-np.nan_to_num(one.attribution, nan=-np.inf), kind="stable")[:count]
        self._bases += count
        self._hits += float(inside[highest].sum())
        self._expected += count * count / length

    def share(self) -> SiteShare:
        """Return the figures of all regions so far; NaN where no base is in a site."""
        total = self._bases or float("nan")
        return SiteShare(self._bases, self._hits / total, self._expected / total)


class Tally:
    """What is counted of explanations: a few numbers each.

    Args:
        sites: known sites to compare with; None for none.
    """

    def __init__(self, sites: KnownSites | None) -> None:
        self.sites = sites
        self.methods: Counter[str] = Counter()
        self.first_matches: Counter[str] = Counter()
        self._checks: list[tuple[float, float, float]] = []

    def add(self, region: Region, one: Explanation) -> None:
        """Count a region with its explanation."""
        self.methods[one.method] += 1
        self._checks.append((one.completeness, one.strands, one.delta))
        if one.stretches and one.stretches[0].matches:
            self.first_matches[one.stretches[0].matches[0].motif] += 1
        if self.sites is not None:
            self.sites.add(region, one)

    def metrics(
        self, model: Model, regions: Regions, motifs: Path | None, pictures: list[str]
    ) -> ExplainMetrics:
        """Return what a record says of all regions; InputError if none could be explained."""
        medians = [_median(column) for column in zip(*self._checks, strict=True)] or [float("nan")] * 3
        return ExplainMetrics(
            model=model.name,
            kind="language" if isinstance(model, LanguageModel) else "binding",
            counts=Counts(regions.read, len(self._checks), dict(regions.left_out)),
            methods=dict(self.methods),
            completeness=medians[0],
            strands=medians[1],
            delta=medians[2],
            motifs=None if motifs is None else str(motifs),
            first_matches=dict(self.first_matches.most_common()),
            sites=None if self.sites is None else self.sites.share(),
            pictures=pictures,
        )


def _median(values: tuple[float, ...]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else float("nan")
