"""What a model says of an allele: a language model's likelihoods and dependencies, a binding model's sites.

Both windows share what lies left of the part that differs and what lies right of it, as far as both have it.

Shapes: n alleles; C columns; W letters of a window of the reference, X of one with the alternative allele.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.data.labels import rename_rule
from dnalm.dna import encode, other_strand
from dnalm.errors import InputError
from dnalm.evaluate.baselines.markov import MarkovModel
from dnalm.formats.indexed import IndexedGenome
from dnalm.formats.vcf import VcfFile, VcfRecord
from dnalm.models.gpt_branches import branch_logits
from dnalm.models.language import base_log_probabilities
from dnalm.results.use import VariantScores
from dnalm.use.binding import BindingModel
from dnalm.use.language import LanguageModel
from dnalm.use.markov import training_markov
from dnalm.use.sequences import computing
from dnalm.use.variants import PER_WINDOW, Allele, Column, Floats, Places, Scorer, score_records, survey

WINDOW = 300  # letters of a window, unless the model reads fewer
FOR_THRESHOLD = 1000  # records
LEAST_WINDOW = 4 * PER_WINDOW
ALLELES = 16
"""Alleles that are computed at once, on both strands."""
AROUND = 50
"""Bases on each side of an allele in which a binding model's sites are compared."""


class Pair(NamedTuple):
    """One strand of a window, with either allele; the part that differs is `core` long, or 0."""

    ref: str  # [W]
    alt: str  # [X]
    at: int  # Where they begin to differ
    ref_core: int
    alt_core: int

    @property
    def shared(self) -> int:
        """Letters after the core that both have."""
        return max(0, min(len(self.ref) - self.at - self.ref_core, len(self.alt) - self.at - self.alt_core))


def pair_of(allele: Allele, longest: int, *, turned: bool = False) -> Pair:
    """Return both windows of an allele; the longer is cut at its end to `longest`; `turned`: other strand."""
    ref, alt, at = allele.ref, allele.alt, allele.at
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        ref, alt, at = ref[1:], alt[1:], at + 1
    letters, end = allele.letters, at + len(ref)
    # A vocabulary with soft-masking reads the new letters as masked as their neighbour.
    alt = alt.lower() if letters[allele.at].islower() else alt
    other = letters[:at] + alt + letters[end:]
    if turned:
        letters, other, at = other_strand(letters), other_strand(other), len(letters) - end
    return Pair(letters, other[:longest], at, len(ref), len(alt))


def window_of(model: object, window: int | None) -> int:
    """Return the letters of a window: `window`, or as many as a model reads, at most 300.

    Raises:
        InputError: if the model cannot read so many, they are too few, or it is no model of sequences.
    """
    if isinstance(model, LanguageModel):
        longest: int | None = model.block_size + 1
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
        return LanguageScorer(model, baseline.model, places.window), baseline.origin
    assert isinstance(model, BindingModel)
    if site_threshold is None:
        first = itertools.islice(records, FOR_THRESHOLD)
        placed = (one for each in first for one in places.place(each.contig, each.start, each.ref, each.alts))
        texts = list(dict.fromkeys(one.letters for one in placed if not isinstance(one, str)))
        site_threshold = max((float(each.max()) for each in model.predict(texts)), default=float("nan")) / 2
    return BindingScorer(model, site_threshold, places.window), ""


class LanguageScorer:
    """Likelihood ratio, dependency score and the Markov model's likelihood ratio of alleles.

    Args:
        model: causal.
        markov: the baseline.
        window: letters of a window, see `window_of`.

    Raises:
        InputError: if the model is not causal.
    """

    def __init__(self, model: LanguageModel, markov: MarkovModel, window: int) -> None:
        if not model.causal:
            what = "variants need a causal language model or a binding model, got one of masked bases"
            raise InputError(f"{model.path}: {what}; pretrain one with `objective` causal")
        self.model, self.markov, self.window = model, markov, window
        of = f"windows of {self.window} bases"
        shared = "of an insertion or deletion over the bases that both windows have"
        self.columns: Mapping[str, Column] = {
            "LLR": Column(
                "Float",
                "Log-likelihood of the window with ALT minus that with REF in nats, mean of both strands; "
                f"{shared}; {of}",
            ),
            "DEP": Column(
                "Float",
                "Largest absolute change of the log-odds of a base in nats, when REF becomes ALT, at any "
                "other position that both windows have: right of it as this strand predicts, left of it as "
                f"the other strand does; {of}",
            ),
            "MARKOV": Column(
                "Float",
                f"LLR in nats of the Markov model of order {markov.order} of the training genome; {shared}",
            ),
        }

    def score(self, alleles: Sequence[Allele]) -> Floats:
        """Return LLR, DEP and MARKOV of each allele, [n, 3]; NaN where there is nothing to compare."""
        scores = np.full((len(alleles), 3), np.nan)
        order = sorted(range(len(alleles)), key=lambda row: alleles[row][:2])
        for first in range(0, len(order), ALLELES):
            rows = order[first : first + ALLELES]
            pairs = [
                pair_of(alleles[row], self.window, turned=turned) for row in rows for turned in (False, True)
            ]
            changes = [_changes(pair, *log_p) for pair, log_p in zip(pairs, self._read(pairs), strict=True)]
            both = np.array(changes).reshape(len(rows), 2, 2)  # allele, strand, LLR or DEP
            scores[rows, 0] = both[:, :, 0].mean(axis=1)
            scores[rows, 1] = np.fmax(both[:, 0, 1], both[:, 1, 1])
        scores[:, 2] = markov_ratios(self.markov, alleles)
        return scores

    @torch.no_grad()
    def _read(self, pairs: Sequence[Pair]) -> Iterator[tuple[Floats, Floats]]:
        """Yield the log-probabilities of the bases in both windows of each pair, [W, 4] and [X, 4].

        The first letter of a window has none: NaN.
        """
        texts = list(dict.fromkeys(pair.ref for pair in pairs))
        of = [texts.index(pair.ref) for pair in pairs]
        starts = [min(pair.at, len(pair.ref) - 1) for pair in pairs]
        # The last letter of a window is predicted and not read.
        references = self._tokens([text[:-1] for text in texts])
        branches = self._tokens([pair.alt[at:-1] for pair, at in zip(pairs, starts, strict=True)])
        device = self.model.device
        with computing(device, self.model.precision):
            logits = branch_logits(
                self.model.module,
                references.to(device),
                branches.to(device),
                torch.tensor(of, device=device),
                torch.tensor(starts, device=device),
            )
        read, changed = (
            base_log_probabilities(each.float().cpu(), self.model.tokenizer).double().numpy()
            for each in logits
        )
        for row, (pair, text, at) in enumerate(zip(pairs, of, starts, strict=True)):
            ref = np.concatenate([np.full((1, 4), np.nan), read[text, : len(pair.ref) - 1]])
            yield ref, np.concatenate([ref[: at + 1], changed[row, : max(0, len(pair.alt) - at - 1)]])

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of some texts, [.., the longest, at least 1], with 0 on the right of others."""
        is_cased = self.model.tokenizer.soft_masked.any()
        tokens = np.zeros((len(texts), max(1, *map(len, texts))), dtype=np.uint8)
        for row, text in enumerate(texts):
            letters = (text if is_cased else text.upper()).encode("ascii")
            tokens[row, : len(text)] = self.model.tokenizer.ids[np.frombuffer(letters, dtype=np.uint8)]
        return torch.from_numpy(tokens)


def _changes(pair: Pair, ref: Floats, alt: Floats) -> tuple[float, float]:
    """Return LLR and DEP of one strand, from the log-probabilities of both windows, [W, 4] and [X, 4].

    Left of the core nothing changes; what cannot be predicted, NaN, counts as unchanged.
    """
    end, other_end = pair.at + pair.ref_core, pair.at + pair.alt_core
    before, after = ref[end : end + pair.shared], alt[other_end : other_end + pair.shared]
    codes = encode(pair.ref[end : end + pair.shared]).astype(np.int64)
    ratio = float(np.nansum((after - before)[np.arange(pair.shared), codes]))
    if pair.ref_core == pair.alt_core:
        own = np.arange(pair.at, end)
        ratio += float(np.nansum(alt[own, _codes(pair.alt, own)] - ref[own, _codes(pair.ref, own)]))
    change = np.abs(_log_odds(after) - _log_odds(before))
    return ratio, float(np.nanmax(change)) if change.size and np.isfinite(change).any() else float("nan")


def _codes(text: str, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    codes: npt.NDArray[np.int64] = encode(text)[at].astype(np.int64)
    return codes


def _log_odds(log_p: Floats) -> Floats:
    """Return ln(p / (1 - p)); p is at most 1 - 1e-7, the last that float32 tells from 1."""
    odds: Floats = log_p - np.log1p(-np.exp(log_p).clip(max=1 - 1e-7))
    return odds


def markov_ratios(model: MarkovModel, alleles: Sequence[Allele]) -> Floats:
    """Return the LLR of a Markov model, [n], in nats, mean of both strands.

    Only the bases up to its order after the core have another context, and only those before it are context.
    """
    pieces: list[npt.NDArray[np.uint8]] = []
    pairs = [
        pair_of(each, len(each.letters) + len(each.alt), turned=turned)
        for each in alleles
        for turned in (False, True)
    ]
    for pair in pairs:
        for text, core in ((pair.ref, pair.ref_core), (pair.alt, pair.alt_core)):
            pieces.append(encode(text[max(0, pair.at - model.order) : pair.at + core + model.order]))
    bits = model.bits(pieces)
    ratios = np.empty(len(pairs))
    for row, (pair, ref, alt) in enumerate(zip(pairs, bits[::2], bits[1::2], strict=True)):
        first = min(pair.at, model.order)
        keep_core = pair.ref_core == pair.alt_core
        sums = [
            each[first if keep_core else first + core :].sum()
            for each, core in ((ref, pair.ref_core), (alt, pair.alt_core))
        ]
        ratios[row] = (sums[0] - sums[1]) * np.log(2)
    means: Floats = ratios.reshape(-1, 2).mean(axis=1)
    return means


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
