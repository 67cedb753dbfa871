"""Variants scored by a language model: likelihood ratio and dependency score of its bases.

Shapes: n alleles; W letters of a window of the reference, X of one with the alternative allele.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.dna import encode
from dnalm.evaluate.baselines.markov import MarkovModel
from dnalm.models.gpt_branches import branch_logits
from dnalm.models.language import base_log_probabilities
from dnalm.use.alleles import Pair, markov_ratios, pair_of
from dnalm.use.language import LanguageModel
from dnalm.use.sequences import computing
from dnalm.use.variants import Allele, Column, Floats

ALLELES = 16
"""Alleles that are computed at once, on both strands."""
SHARED = "of an insertion or deletion over the bases that both windows have"


class LanguageScorer(ABC):
    """Likelihood ratio, dependency score and the Markov model's likelihood ratio of alleles.

    Args:
        model: of the kind that the class scores with.
        markov: the baseline.
        window: letters of a window, see `window_of`.
    """

    likelihood: str
    """What LLR is."""
    dependency: str
    """Where DEP looks for the largest change."""

    def __init__(self, model: LanguageModel, markov: MarkovModel, window: int) -> None:
        self.model, self.markov, self.window = model, markov, window
        of = f"windows of {self.window} bases"
        change = "Largest absolute change of the log-odds of a base in nats, when REF becomes ALT, at any"
        counted = f"LLR in nats of the Markov model of order {markov.order} of the training genome; {SHARED}"
        self.columns: Mapping[str, Column] = {
            "LLR": Column("Float", f"{self.likelihood}; {of}"),
            "DEP": Column(
                "Float", f"{change} other position that both windows have: {self.dependency}; {of}"
            ),
            "MARKOV": Column("Float", counted),
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
            both = np.array(list(self._changes(pairs))).reshape(len(rows), 2, 2)  # allele, strand, score
            scores[rows, 0] = both[:, :, 0].mean(axis=1)
            scores[rows, 1] = np.fmax(both[:, 0, 1], both[:, 1, 1])
        scores[:, 2] = markov_ratios(self.markov, alleles)
        return scores

    @abstractmethod
    def _changes(self, pairs: Sequence[Pair]) -> Iterator[tuple[float, float]]:
        """Yield LLR and DEP of each pair, which is one strand of an allele."""

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of some texts, [.., the longest, at least 1], with 0 on the right of others."""
        is_cased = self.model.tokenizer.soft_masked.any()
        tokens = np.zeros((len(texts), max(1, *map(len, texts))), dtype=np.uint8)
        for row, text in enumerate(texts):
            letters = (text if is_cased else text.upper()).encode("ascii")
            tokens[row, : len(text)] = self.model.tokenizer.ids[np.frombuffer(letters, dtype=np.uint8)]
        return torch.from_numpy(tokens)


class CausalScorer(LanguageScorer):
    """Scores with a model that predicts the next token: an allele changes all that lies right of it."""

    likelihood = (
        f"Log-likelihood of the window with ALT minus that with REF in nats, mean of both strands; {SHARED}"
    )
    dependency = "right of it as this strand predicts, left of it as the other strand does"

    def _changes(self, pairs: Sequence[Pair]) -> Iterator[tuple[float, float]]:
        for pair, log_p in zip(pairs, self._read(pairs), strict=True):
            yield _changes(pair, *log_p)

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


class MaskedScorer(LanguageScorer):
    """Scores with a model of masked tokens, which sees both sides of an allele.

    DEP reads windows in which nothing is masked: a part of the tokens that training asked for was not
    masked either, and what a base says of itself is the same with both alleles.
    """

    likelihood = (
        "Log-probability of ALT minus that of REF in nats, at the masked bases, mean of both strands; of an "
        "insertion or deletion none"
    )
    dependency = "as either strand predicts from all bases, none of them masked"

    @torch.no_grad()
    def _changes(self, pairs: Sequence[Pair]) -> Iterator[tuple[float, float]]:
        texts = [text for pair in pairs for text in (pair.ref, pair.ref, pair.alt)]  # the first is masked
        tokens, lengths = self._tokens(texts), torch.tensor([len(text) for text in texts])
        at = torch.arange(tokens.shape[1])
        first, cores = (torch.tensor([getattr(p, name) for p in pairs]) for name in ("at", "ref_core"))
        core = (at >= first[:, None]) & (at < (first + cores)[:, None])
        mask = self.model.module.mask_token
        assert mask is not None
        tokens[::3] = tokens[::3].masked_fill(core, mask)
        real, device = at < lengths[:, None], self.model.device
        with computing(device, self.model.precision):
            logits = self.model.module(tokens.to(device), real.to(device))
        log_p = base_log_probabilities(logits.float().cpu(), self.model.tokenizer).double().numpy()
        for pair, masked, ref, alt in zip(pairs, log_p[::3], log_p[1::3], log_p[2::3], strict=True):
            own = np.arange(pair.at, pair.at + pair.ref_core)
            ratio = float("nan")
            if pair.ref_core == pair.alt_core:
                ratio = float((masked[own, _codes(pair.alt, own)] - masked[own, _codes(pair.ref, own)]).sum())
            end, other_end = pair.at + pair.ref_core, pair.at + pair.alt_core
            before = np.concatenate([ref[: pair.at], ref[end : end + pair.shared]])
            after = np.concatenate([alt[: pair.at], alt[other_end : other_end + pair.shared]])
            yield ratio, _largest_change(before, after)


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
    return ratio, _largest_change(before, after)


def _largest_change(before: Floats, after: Floats) -> float:
    """Return the largest absolute change of log-odds between log-probabilities, [.., 4] each."""
    change = np.abs(_log_odds(after) - _log_odds(before))
    return float(np.nanmax(change)) if change.size and np.isfinite(change).any() else float("nan")


def _codes(text: str, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    codes: npt.NDArray[np.int64] = encode(text)[at].astype(np.int64)
    return codes


def _log_odds(log_p: Floats) -> Floats:
    """Return ln(p / (1 - p)); p is at most 1 - 1e-7, the last that float32 tells from 1."""
    odds: Floats = log_p - np.log1p(-np.exp(log_p).clip(max=1 - 1e-7))
    return odds
