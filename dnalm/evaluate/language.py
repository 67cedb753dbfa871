"""Scores of a language model: bits per base, beside Markov models of the same bases.

A masked model is scored in bits per masked base, of one base in 20, beside two-sided count models; a causal
one on these positions too, so that both kinds compare.

Shapes: B windows in the batch; L tokens per window; P evaluation pieces.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm import process
from dnalm.bootstrap import resamples
from dnalm.data.language import (
    FixedWindows,
    choose_pieces,
    context_starts,
    fixed_windows,
    species_rows,
    tile,
)
from dnalm.data.masking import FixedPositions, fixed_positions, masked_windows, tile_masked
from dnalm.dna import NOT_A_BASE
from dnalm.errors import InputError
from dnalm.evaluate.baselines.markov import HIGHEST_ORDER, KmerCounts, Ladder, count_kmers, ladder
from dnalm.evaluate.baselines.two_sided import REACH, Contexts, ladders_at
from dnalm.genome.folder import Part, PreparedGenome
from dnalm.models.language import base_log_probabilities
from dnalm.tokens.characters import CharacterTokenizer

EVALUATION_BATCH = 32
"""Windows scored at a time: no result depends on it."""
CONTEXTS_AT_ONCE = 1 << 16
"""Positions at least whose contexts are in memory."""
MIN_PIECES = 10
"""With fewer pieces than this an interval decides nothing."""


@dataclass(frozen=True)
class LanguageScores:
    """How well a model predicts fixed pieces of a genome."""

    nats_per_token: float
    bits: npt.NDArray[np.float64]  # [P]: bits spent on the A/C/G/T targets of each piece
    bases: npt.NDArray[np.int64]  # [P]: A/C/G/T targets in each piece
    fixed_bits: npt.NDArray[np.float64] | None = None  # [P]: of those at fixed positions
    fixed_bases: npt.NDArray[np.int64] | None = None

    @property
    def bits_per_base(self) -> float:
        """Mean over all bases."""
        return float(self.bits.sum() / self.bases.sum())


class BatchLogLoss(NamedTuple):
    """The log loss of a model on a batch of windows."""

    nats: float  # Sum over all tokens
    tokens: int  # Number of tokens
    piece: npt.NDArray[np.int64]  # [B]: the piece each window belongs to
    bits: npt.NDArray[np.float64]  # [B]: sum over the A/C/G/T targets of each window
    bases: npt.NDArray[np.int64]  # [B]: number of those targets
    fixed_bits: npt.NDArray[np.float64]  # [B]: of those at fixed positions
    fixed_bases: npt.NDArray[np.int64]  # [B]


@torch.no_grad()
def score(
    model: nn.Module,
    genome: PreparedGenome,
    part: Part,
    bases: int,
    length: int,
    *,
    masked: bool = False,
    species: str = "",
    together: bool = False,
) -> LanguageScores:
    """Score a language model on the fixed pieces of `part` that hold about `bases` bases (0: all).

    `genome` has the model's vocabulary; `length` is L, tokens per window. `masked`: the model predicts masked
    tokens, and is scored at the fixed positions alone. `species`: the model's `species_token`. `together`:
    all processes call this at the same time, and divide the windows among them.

    Raises:
        InputError: if a masked model has no position to be scored at.
    """
    pieces = choose_pieces(genome, part, bases)
    positions = fixed_positions(genome, part, pieces)
    if masked and not len(positions.offsets):
        what = f"no base of {part} is one of those that masked models are scored on, one in 20"
        raise InputError(f"{genome.folder}: {what}; hold out a larger part")
    numbers = species_rows(genome, species)
    batches: list[Any] = (
        tile_masked(genome, part, pieces, positions, length, EVALUATION_BATCH)
        if masked
        else tile(genome, part, pieces, length, EVALUATION_BATCH)
    )

    def loss_of(rows: list[Any]) -> BatchLogLoss:
        windows = (
            masked_windows(genome, part, rows)
            if masked
            else fixed_windows(genome, part, rows, length, positions.offsets)
        )
        begins = [row.begin for row in rows]
        species = None if numbers is None else torch.from_numpy(numbers[genome.genome_numbers(part, begins)])
        return _batch_log_loss(model, windows, genome.tokenizer, species)

    was_training = model.training
    model.eval()
    losses = process.map_over_ranks(batches, loss_of, together=together)
    model.train(was_training)
    bits, counts = np.zeros((2, len(pieces))), np.zeros((2, len(pieces)), dtype=np.int64)
    for each in losses:
        for row, (spent, number) in enumerate(((each.bits, each.bases), (each.fixed_bits, each.fixed_bases))):
            np.add.at(bits[row], each.piece, spent)
            np.add.at(counts[row], each.piece, number)
    nats_per_token = sum(each.nats for each in losses) / sum(each.tokens for each in losses)
    return LanguageScores(nats_per_token, bits[0], counts[0], bits[1], counts[1])


def _batch_log_loss(
    model: nn.Module, windows: FixedWindows, tokenizer: CharacterTokenizer, species: Tensor | None
) -> BatchLogLoss:
    """Return the log loss of a batch of windows, over tokens and over bases."""
    device = next(model.parameters()).device
    codes = torch.from_numpy(tokenizer.base_of_token.astype(np.int64))
    of = {} if species is None else {"species": species.to(device)}
    logits = model(windows.tokens.to(device), windows.real.to(device), **of).float().cpu()
    targets = windows.targets.long()
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    base = codes[targets]  # [B, L]
    is_base = (base != NOT_A_BASE) & windows.scored
    log_p = base_log_probabilities(logits, tokenizer)
    bits = -log_p.gather(-1, base.clamp(max=3).unsqueeze(-1)).squeeze(-1) / np.log(2)
    bits, is_fixed = bits.masked_fill(~is_base, 0.0).double(), is_base & windows.fixed
    return BatchLogLoss(
        nats=float(nats[windows.scored].double().sum()),
        tokens=int(windows.scored.sum()),
        piece=windows.piece.numpy(),
        bits=bits.sum(dim=1).numpy(),
        bases=is_base.sum(dim=1).numpy(),
        fixed_bits=bits.masked_fill(~is_fixed, 0.0).sum(dim=1).numpy(),
        fixed_bases=is_fixed.sum(dim=1).numpy(),
    )


def evaluate_language(
    model: nn.Module,
    genome: PreparedGenome,
    bases: int,
    length: int,
    *,
    masked: bool = False,
    species: str = "",
) -> dict[str, Any]:
    """Score `model` and count models on the same about `bases` validation bases (0: all).

    `length` is L, tokens per window; `masked` and `species` as of `score`.

    Returns:
        As run.json has them, of a causal model: `bits_per_base`, `ladder` of Markov models, `gain` over the
        best one, `verdict`, and `fixed_positions`, the same at the positions of masked models (None where
        there are none). Of a masked model, all at these positions: `bits_per_masked_base`, `two_sided`, the
        ladder of two-sided count models, `gain` over the best one, `ladder`, `gain_over_markov`, `verdict`.
    """
    scores = score(model, genome, "val", bases, length, masked=masked, species=species)
    counts = count_kmers(genome.bases_of("train"), HIGHEST_ORDER)
    pieces = choose_pieces(genome, "val", bases)
    positions = fixed_positions(genome, "val", pieces)
    if not masked:
        baselines = markov_ladder(genome, bases, counts)
        gain = gain_over(scores, baselines)
        return {
            "objective": "causal",
            "bits_per_base": _bits(scores),
            "ladder": baselines.as_dict(),
            "gain": gain,
            "verdict": verdict(scores, gain, baselines),
            "fixed_positions": _at_fixed(scores, genome, pieces, positions, counts),
        }
    markov, two_sided = ladders_at(counts, _contexts(genome, pieces, positions), len(pieces))
    gain = gain_over(scores, two_sided, "two_sided")
    return {
        "objective": "masked",
        "bits_per_masked_base": _bits(scores),
        "two_sided": two_sided.as_dict(),
        "gain": gain,
        "ladder": markov.as_dict(),
        "gain_over_markov": gain_over(scores, markov),
        "verdict": masked_verdict(scores, gain, two_sided, markov),
    }


def _bits(scores: LanguageScores) -> dict[str, Any]:
    """Return bits per base with their interval."""
    low, high = interval(scores.bits, scores.bases)
    return {"value": scores.bits_per_base, "low": low, "high": high, "bases": int(scores.bases.sum())}


def _at_fixed(
    scores: LanguageScores,
    genome: PreparedGenome,
    pieces: npt.NDArray[np.int64],
    positions: FixedPositions,
    counts: KmerCounts,
) -> dict[str, Any] | None:
    """Return bits per base of a causal model at fixed positions, and its gain over the best Markov model."""
    if not len(positions.offsets):
        return None
    assert scores.fixed_bits is not None
    assert scores.fixed_bases is not None
    own = LanguageScores(np.nan, scores.fixed_bits, scores.fixed_bases)
    markov, two_sided = ladders_at(counts, _contexts(genome, pieces, positions), len(pieces))
    best = {name: each.as_dict()["best"] for name, each in (("markov", markov), ("two_sided", two_sided))}
    return _bits(own) | best | {"gain": gain_over(own, markov)}


def _contexts(
    genome: PreparedGenome, pieces: npt.NDArray[np.int64], positions: FixedPositions
) -> Iterator[Contexts]:
    """Yield the bases around the fixed positions of validation pieces, [P, 2], within their segments."""
    segments, held, size = genome.segments("val"), list[Contexts](), 0
    for number, (start, end) in enumerate(pieces.tolist()):
        own = positions.numbers[positions.piece == number]
        row = segments[np.searchsorted(segments[:, 3], start, side="right") - 1]
        opens, closes = int(row[3]), int(row[3] + row[2])
        first, last = max(opens, start - HIGHEST_ORDER), min(closes, end + REACH)
        bases = np.zeros(HIGHEST_ORDER + (end - start) + REACH, dtype=np.uint8)
        bases[first - start + HIGHEST_ORDER : last - start + HIGHEST_ORDER] = genome.bases("val", first, last)
        around = np.lib.stride_tricks.sliding_window_view(bases, HIGHEST_ORDER + 1 + REACH)[own - start]
        piece = np.full(len(own), number)
        held.append(Contexts(around, own - opens, closes - 1 - own, piece))
        size += len(own)
        if size >= CONTEXTS_AT_ONCE or number == len(pieces) - 1:
            yield Contexts(*(np.concatenate(each) for each in zip(*held, strict=True)))
            held, size = [], 0


def markov_ladder(genome: PreparedGenome, bases: int, counts: KmerCounts | None = None) -> Ladder:
    """Count the training bases, and score the Markov models on about `bases` validation bases (0: all).

    Their contexts may begin before a piece, in its segment, as a language model's does. `counts`: of the
    training bases, where they are known.
    """
    pieces = choose_pieces(genome, "val", bases)
    begins = np.maximum(context_starts(genome, "val", pieces), pieces[:, 0] + 1 - HIGHEST_ORDER)
    return ladder(
        genome.bases_of("train") if counts is None else counts,
        (genome.bases("val", int(b), int(end)) for b, end in zip(begins, pieces[:, 1], strict=True)),
        context=pieces[:, 0] + 1 - begins,
    )


def interval(
    totals: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of sum(totals) / sum(counts), resampling pieces (Efron 1979).

    `totals` [P] are for example bits spent on each piece, `counts` [P] bases in each piece.
    """
    means = [(picks @ totals) / (picks @ counts) for picks in resamples(len(totals), seed)]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def gain_over(scores: LanguageScores, baselines: Ladder, kind: str = "markov") -> dict[str, Any]:
    """Return the bits per base that the model saves over the best count model, paired piece by piece.

    Returns:
        `value`, `low` and `high` of the 95 % interval, and `winner`: model, `kind`, or neither where the
        interval holds 0 or there are fewer pieces than `MIN_PIECES`.
    """
    order, strands, best = baselines.best
    low, high = interval(baselines.pieces[strands - 1, order] - scores.bits, scores.bases)
    winner = "model" if low > 0 else kind if high < 0 else "neither"
    if len(scores.bases) < MIN_PIECES:
        winner = "neither"
    return {"value": best - scores.bits_per_base, "low": low, "high": high, "winner": winner}


def verdict(scores: LanguageScores, gain: dict[str, Any], baselines: Ladder) -> str:
    """Return one sentence: is the model better than the best Markov model, by `gain` (of `gain_over`)?"""
    order, strands, best = baselines.best
    baseline = f"the best Markov model (order {order}, {_strands(strands)} counted, {best:.4f})"
    return _comparison(f"At {scores.bits_per_base:.4f} bits per base the model", scores, gain, baseline)


def masked_verdict(scores: LanguageScores, gain: dict[str, Any], two_sided: Ladder, markov: Ladder) -> str:
    """Return two sentences: is a masked model better than the best two-sided count model?

    And how many bits the best Markov model needs at the same positions, from the left alone.
    """
    reach, strands, best = two_sided.best
    sides = f"{reach} {'base' if reach == 1 else 'bases'} on each side, {_strands(strands)} counted"
    baseline = f"the best two-sided count model ({sides}, {best:.4f})"
    start = f"At {scores.bits_per_base:.4f} bits per masked base, both sides seen, the model"
    order, _, left = markov.best
    after = (
        f"From the left alone, the best Markov model (order {order}) needs {left:.4f} on the same positions."
    )
    return f"{_comparison(start, scores, gain, baseline)} {after}"


def _strands(strands: int) -> str:
    return "both strands" if strands == 2 else "one strand"


def _comparison(start: str, scores: LanguageScores, gain: dict[str, Any], baseline: str) -> str:
    """Return the sentence that compares a model with a baseline, by `gain`."""
    spread = f"95 % interval of the gain {gain['low']:+.4f} to {gain['high']:+.4f}"
    if len(scores.bases) < MIN_PIECES:
        return f"{start} gains {gain['value']:+.4f} on {baseline}, on too few bases to decide."
    if gain["winner"] == "model":
        return f"{start} beats {baseline} by {gain['value']:.4f} ({spread})."
    if gain["winner"] == "neither":
        return f"{start} is not distinguishable from {baseline}: gain {gain['value']:+.4f} ({spread})."
    return f"{start} is behind {baseline} by {-gain['value']:.4f} ({spread})."
