"""Variants scored by a trained model; for a binding model, what an allele changes in the predicted track.

Shapes: n alleles; C columns.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnalm.data.labels import rename_rule
from dnalm.errors import InputError
from dnalm.formats.indexed import IndexedGenome
from dnalm.formats.vcf import VcfFile, VcfRecord
from dnalm.results.use import VariantScores
from dnalm.use.alleles import Pair, pair_of
from dnalm.use.binding import BindingModel
from dnalm.use.language import LanguageModel
from dnalm.use.language_variants import CausalScorer, MaskedScorer
from dnalm.use.markov import training_markov
from dnalm.use.variants import PER_WINDOW, Allele, Column, Floats, Places, Scorer, score_records, survey

WINDOW = 300  # letters of a window, unless the model reads fewer
FOR_THRESHOLD = 1000  # records
LEAST_WINDOW = 4 * PER_WINDOW
AROUND = 50
"""Bases on each side of an allele in which a binding model's sites are compared."""


def window_of(model: object, window: int | None) -> int:
    """Return the letters of a window: `window`, or as many as a model reads, at most 300.

    Raises:
        InputError: if the model cannot read so many, they are too few, or it is no model of sequences.
    """
    if isinstance(model, LanguageModel):
        longest: int | None = model.block_size + model.causal  # whose last letter is predicted alone
    elif isinstance(model, BindingModel):
        longest = model.longest
    else:
        raise InputError(
            "variants need a language model or a binding model; this one pairs genes and molecules"
        )
    if window is None:
        return WINDOW if longest is None else min(WINDOW, longest)
    if window < LEAST_WINDOW or (longest is not None and window > longest):
        most = " or more" if longest is None else f" to {longest}, the most that this model reads"
        raise InputError(f"`window` must be {LEAST_WINDOW}{most}, got {window}")
    return window


def scorer_of(
    model: object,
    places: Places,
    records: Iterable[VcfRecord],
    markov_order: int | None = None,
    site_threshold: float | None = None,
) -> tuple[Scorer, str]:
    """Return the scorer of a model, and its Markov model in words, for a language model.

    Args:
        model: that `window_of` takes.
        places: in the genome.
        records: of the variants; for a threshold that is not given, the first of them are looked at.
        markov_order: as of `training_markov`.
        site_threshold: of `BindingScorer`; unless given, half of the largest score that the model predicts
            in the reference windows of the first 1,000 records.

    Raises:
        InputError: if the model cannot score variants, or `markov_order` is out of range.
    """
    if isinstance(model, LanguageModel):
        baseline = training_markov(model.path, places.genome, markov_order)
        kind = CausalScorer if model.causal else MaskedScorer
        return kind(model, baseline.model, places.window), baseline.origin
    assert isinstance(model, BindingModel)
    if site_threshold is None:
        first = itertools.islice(records, FOR_THRESHOLD)
        placed = (one for each in first for one in places.place(each.contig, each.start, each.ref, each.alts))
        texts = list(dict.fromkeys(one.letters for one in placed if not isinstance(one, str)))
        site_threshold = max((float(each.max()) for each in model.predict(texts)), default=float("nan")) / 2
    return BindingScorer(model, site_threshold, places.window), ""


class BindingScorer:
    """What an allele changes in the track that a binding model predicts around it.

    Args:
        model: of a score at each base.
        threshold: score from which on a base belongs to a site.
        window: letters of a window, see `window_of`.
    """

    def __init__(self, model: BindingModel, threshold: float, window: int) -> None:
        self.model, self.threshold, self.window = model, threshold, window
        of = f"within {AROUND} bases of it; windows of {self.window} bases"
        site = f"bases in a row with a predicted score of {threshold:.5g} or more"
        self.columns: Mapping[str, Column] = {
            "DMAX": Column("Float", f"Largest predicted score with ALT minus that with REF, {of}"),
            "DSUM": Column("Float", f"Sum of the predicted scores with ALT minus that with REF, {of}"),
            "GAINED": Column("Integer", f"Sites with ALT that overlap none with REF: {site}, {of}"),
            "LOST": Column("Integer", f"Sites with REF that overlap none with ALT: {site}, {of}"),
        }

    def score(self, alleles: Sequence[Allele]) -> Floats:
        """Return the change of maximum and sum, and the sites gained and lost, [n, 4]."""
        pairs = [pair_of(each, self.window) for each in alleles]
        texts = list(dict.fromkeys(itertools.chain.from_iterable(pair[:2] for pair in pairs)))
        tracks = dict(zip(texts, self.model.predict(texts), strict=True))
        scores = np.empty((len(pairs), len(self.columns)))
        for row, pair in enumerate(pairs):
            ref, alt = _aligned(pair, tracks[pair.ref], tracks[pair.alt])
            scores[row, :2] = np.nanmax(alt) - np.nanmax(ref), np.nansum(alt) - np.nansum(ref)
            scores[row, 2:] = [
                _sites_without(one, other, self.threshold) for one, other in ((alt, ref), (ref, alt))
            ]
        return scores


def _aligned(pair: Pair, ref: npt.NDArray[np.float32], alt: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return both tracks around the core, [..], position by position; NaN where one has no base."""
    core, left = max(pair.ref_core, pair.alt_core), min(pair.at, AROUND)
    right = min(pair.shared, AROUND)
    both = np.full((2, left + core + right), np.nan)
    for row, (track, own) in enumerate(((ref, pair.ref_core), (alt, pair.alt_core))):
        begin = track[pair.at - left : pair.at + own]  # a long insertion may be cut
        both[row, : len(begin)] = begin
        both[row, left + core :] = track[pair.at + own : pair.at + own + right]
    return both[0], both[1]


def _sites_without(track: Floats, other: Floats, threshold: float) -> int:
    """Return how many stretches of a track reach the threshold and overlap none of the other track.

    The tracks are aligned, with NaN where one has no base: what lies on both sides of it is one stretch.
    """
    own = ~np.isnan(track)
    high = np.concatenate([[False], track[own] >= threshold, [False]])
    others = other[own] >= threshold
    edges = np.flatnonzero(np.diff(high.astype(np.int8))).reshape(-1, 2)
    return sum(not others[first:last].any() for first, last in edges.tolist())


def score_variants(
    model: object,
    genome: str | Path,
    variants: str | Path | Iterable[tuple[str, int, str, str]],
    *,
    window: int | None = None,
    rename: str | None = None,
    markov_order: int | None = None,
    site_threshold: float | None = None,
) -> VariantScores:
    """Score variants of a genome with a model.

    Args:
        model: a language model or a binding model.
        genome: FASTA or .2bit.
        variants: a VCF, or contig, start from 0, REF and ALT of each; ALT may be several, joined by commas.
        window: bases that are read around a variant; 300, or as many as the model reads, unless given.
        rename: how contigs are called in `variants`: chr, or a file, see `dnalm.data.labels.rename_rule`.
        markov_order: another order of the Markov model beside a language model.
        site_threshold: for a binding model, see `scorer_of`.

    Returns:
        The scores that `dnalm variants` writes, in the order of `variants`.

    Raises:
        InputError: if the model cannot score variants, or something given is wrong; more than 1 % of REF that
            is not the genome's is taken for another genome.
    """
    with IndexedGenome(Path(genome)) as opened:
        places = Places(opened, window_of(model, window), rename_rule(rename))
        records: VcfFile | list[VcfRecord]
        if isinstance(variants, str | Path):
            records = VcfFile(Path(variants))
        else:
            records = [
                VcfRecord((contig, str(start + 1), ".", ref, alt, ".", ".", "."), "", start)
                for contig, start, ref, alt in variants
            ]
        survey(records, places)
        scorer, _ = scorer_of(model, places, records, markov_order, site_threshold)
        found = [
            ((record.contig, record.start, record.ref, alt), each)
            for record, scored in score_records(scorer, places, records)
            for alt, each in zip(record.alts or (".",), scored, strict=True)
        ]
    none = np.full(len(scorer.columns), np.nan)
    values = np.array([none if each.values is None else each.values for _, each in found])
    columns = values.reshape(-1, len(none)).T
    return VariantScores(
        [allele for allele, _ in found],
        dict(zip(scorer.columns, columns, strict=True)),
        [each.reason for _, each in found],
    )
