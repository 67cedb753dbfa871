"""A pretrained language model on plain strings: how well it predicts them, and its states.

Shapes: n sequences; L letters of a sequence; D width of the model's states.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.data.labels import rename_rule
from dnalm.data.masking import STRIDE
from dnalm.dna import NOT_A_BASE, encode, other_strand
from dnalm.errors import InputError
from dnalm.formats.indexed import IndexedGenome
from dnalm.models.language import base_log_probabilities
from dnalm.models.open import OpenedLanguage
from dnalm.results.use import Explanation, VariantScores
from dnalm.use.markov import training_markov
from dnalm.use.regions import Regions
from dnalm.use.score import RegionScore, Scoring, region_scores
from dnalm.use.sequences import Window, batches, check_sequences, computing, tile

Pool = Literal["mean", "none"]
Array = npt.NDArray[np.float32]


class SequenceScores(NamedTuple):
    """How well a language model predicts sequences."""

    bits_per_base: npt.NDArray[np.float64]
    """[n]: the mean over the bases that were predicted; NaN where there are none."""
    per_base: list[Array]
    """[L] for each sequence: bits of each base; NaN for letters that are no base, and of a causal model for
    the first base after a break, which has no context."""


class LanguageModel:
    """A pretrained language model.

    Its vocabulary decides what it reads. vocab4 reads A C G T in either case, and any other letter breaks the
    sequence in two; full reads letters as they are, and its lower case means soft-masked.
    """

    batch_size = 32  # windows that are computed at once

    def __init__(self, opened: OpenedLanguage, device: torch.device, precision: str = "fp32") -> None:
        self.name, self.module, self.device = opened.name, opened.model.to(device).eval(), device
        self.precision, self.path = precision, opened.path
        self.tokenizer, self.block_size = opened.tokenizer, opened.model.transformer.config.block_size
        self.causal = opened.model.transformer.causal
        """Whether a prediction and a state depend on the left of a base alone."""

    def score(self, sequences: Sequence[str], overlap: int | None = None) -> SequenceScores:
        """Return how many bits the model needs for each base; 2 is what a coin of four sides needs.

        Args:
            sequences: DNA in IUPAC letters.
            overlap: as in `log_probabilities`.

        Raises:
            InputError: naming the sequence, by its index from 0, that is empty or has other letters.
        """
        per_base = []
        for sequence, log_p in zip(sequences, self.log_probabilities(sequences, overlap), strict=True):
            codes = encode(sequence).astype(np.int64)
            bits = -np.take_along_axis(log_p, codes.clip(max=3)[:, None], axis=1)[:, 0] / np.log(
                np.float32(2)
            )
            per_base.append(np.where(codes == NOT_A_BASE, np.float32(np.nan), bits))
        sums = np.array([np.nansum(each, dtype=np.float64) for each in per_base])
        counts = np.array([np.count_nonzero(~np.isnan(each)) for each in per_base])
        means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return SequenceScores(means, per_base)

    @torch.no_grad()
    def log_probabilities(self, sequences: Sequence[str], overlap: int | None = None) -> list[Array]:
        """Return the log-probability of A, C, G and T at each position, given what the model reads beside it.

        A causal model reads the letters to the left alone: see `both_strands`. A masked model reads those on
        both sides, in 20 passes: in each, every 20th letter is masked, and predicted.

        Args:
            sequences: DNA in IUPAC letters.
            overlap: a sequence longer than the model's block is read in windows, and from the second on the
                first `overlap` letters of a window only give context (of a masked model half of them, and the
                other half of those that end the window before); half a block unless given.

        Returns:
            float32, [L, 4] for each sequence, in nats; NaN for letters that the model does not read, and of a
            causal model for the first base after a break, which has no context.

        Raises:
            InputError: naming the sequence, by its index from 0, that is empty or has other letters.
        """
        if not self.causal:
            return self._masked_log_probabilities(sequences, overlap)
        read = self._windows(sequences, self.block_size + 1, overlap)
        found = [np.full((len(sequence), 4), np.nan, dtype=np.float32) for sequence in sequences]
        for windows, tokens, real in read:
            with computing(self.device, self.precision):
                logits = self.module(tokens[:, :-1].to(self.device), real[:, :-1].to(self.device))
            log_p = base_log_probabilities(logits.float().cpu(), self.tokenizer).numpy()
            for row, (sequence, start, end, context, _) in enumerate(windows):
                first = max(context, 1)
                found[sequence][start + first : end] = log_p[row, first - 1 : end - start - 1]
        return found

    def both_strands(self, sequences: Sequence[str], overlap: int | None = None) -> list[Array]:
        """Return `log_probabilities` of each sequence, and those of its reverse complement turned round.

        Returns:
            float32, [2, L, 4] for each sequence: for a causal model what the letters to the left of a base
            predict, and what those to its right do; for a masked one what both sides predict, read from
            either strand; both in the positions and bases of the strand given.

        Raises:
            InputError: as `log_probabilities`.
        """
        check_sequences(sequences)
        turned = self.log_probabilities([other_strand(each) for each in sequences], overlap)
        forward = self.log_probabilities(sequences, overlap)
        return [np.stack([one, other[::-1, ::-1]]) for one, other in zip(forward, turned, strict=True)]

    def score_regions(
        self,
        genome: str | Path,
        regions: str | Path | None = None,
        *,
        rename: str | None = None,
        markov: bool = True,
        bases: int = 0,
    ) -> Iterator[RegionScore]:
        """Yield the bits per base of regions of a genome, with flat memory; the mean of both strands.

        Args:
            genome: FASTA or .2bit.
            regions: BED; all contigs unless given.
            rename: how contigs are called there, see `dnalm.data.labels.rename_rule`.
            markov: beside the Markov model of the genome, see `dnalm.use.markov.training_markov`.
            bases: score a sample of about so many; 0 for all.

        Raises:
            InputError: if a file cannot be read, or no region can be used.
        """
        with IndexedGenome(Path(genome)) as opened:
            path = None if regions is None else Path(regions)
            baseline = training_markov(self.path, opened).model if markov else None
            chosen = Regions(opened, path, rename_rule(rename))
            yield from region_scores(Scoring(self, opened, chosen, markov=baseline, bases=bases).pieces())

    def _masked_log_probabilities(self, sequences: Sequence[str], overlap: int | None) -> list[Array]:
        """Return `log_probabilities` of a masked model."""
        mask = self.module.mask_token
        assert mask is not None
        read = self._windows(sequences, self.block_size, overlap)
        found = [np.full((len(sequence), 4), np.nan, dtype=np.float32) for sequence in sequences]
        for windows, tokens, real in read:
            first = torch.tensor([window.start for window in windows])
            turn = (first[:, None] + torch.arange(tokens.shape[1])) % STRIDE  # the pass that masks a letter
            log_p = torch.full((*tokens.shape, 4), torch.nan)
            for number in range(STRIDE):
                masked = (turn == number) & real
                given = tokens.masked_fill(masked, mask)
                with computing(self.device, self.precision):
                    logits = self.module(given.to(self.device), real.to(self.device))
                log_p[masked] = base_log_probabilities(logits.float().cpu()[masked], self.tokenizer)
            for row, window in enumerate(windows):
                begin, end = window.answers(two_sided=True)
                inside = slice(begin - window.start, end - window.start)
                found[window.sequence][begin:end] = log_p[row, inside].numpy()
        return found

    @torch.no_grad()
    def at_masked_bases(self, sequences: Sequence[str], positions: Sequence[int]) -> Array:
        """Return the log-probability of A, C, G and T at a masked letter of each sequence, by a masked model.

        Args:
            sequences: DNA in IUPAC letters, none longer than the model's block.
            positions: index of the masked letter of each, [n].

        Returns:
            float32, [n, 4], in nats; the mean of what both strands predict; NaN where the letter is none that
            the model reads.
        """
        mask = self.module.mask_token
        assert mask is not None
        strands = np.full((2, len(sequences), 4), np.nan, dtype=np.float32)
        ends = [len(each) - 1 - at for each, at in zip(sequences, positions, strict=True)]
        turned = [other_strand(each) for each in sequences]
        for found, texts, sites in zip(strands, (sequences, turned), (positions, ends), strict=True):
            for windows, tokens, real in self._windows(texts, self.block_size, 0):
                at = torch.tensor([sites[each.sequence] - each.start for each in windows])
                here = (torch.arange(tokens.shape[1]) == at[:, None]) & real  # in one window of each text
                with computing(self.device, self.precision):
                    logits = self.module(tokens.masked_fill(here, mask).to(self.device), real.to(self.device))
                log_p = base_log_probabilities(logits.float().cpu()[here], self.tokenizer).numpy()
                holds = here.any(1).tolist()
                found[[w.sequence for w, held in zip(windows, holds, strict=True) if held]] = log_p
        mean: Array = (strands[0] + strands[1, :, ::-1]) / 2
        return mean

    @torch.no_grad()
    def embed(
        self, sequences: Sequence[str], pool: Pool = "mean", overlap: int | None = None
    ) -> Array | list[Array]:
        """Return the states of the model's last layer.

        Args:
            sequences: DNA in IUPAC letters.
            pool: mean for one vector a sequence; none for one of each letter.
            overlap: as in `score`.

        Returns:
            mean: float32, [n, D]. none: a list of [L, D], NaN at letters that the model does not read.

        Raises:
            InputError: naming the sequence, by its index from 0, that is empty or has other letters.
        """
        if pool not in ("mean", "none"):
            raise InputError(f"`pool` must be mean or none, got {pool!r}")
        read = self._windows(sequences, self.block_size, overlap)
        width = self.module.transformer.width
        states = [np.full((len(sequence), width), np.nan, dtype=np.float32) for sequence in sequences]
        for windows, tokens, real in read:
            with computing(self.device, self.precision):
                found = self.module.transformer(tokens.to(self.device), real.to(self.device)).float().cpu()
            for row, window in enumerate(windows):
                begin, end = window.answers(two_sided=not self.causal)
                states[window.sequence][begin:end] = found[row, begin - window.start : end - window.start]
        if pool == "none":
            return states
        known = [each[~np.isnan(each[:, 0])] for each in states]
        return np.stack([each.mean(0) if len(each) else np.full(width, np.nan) for each in known])

    def explain(self, sequences: Sequence[str], **how: Any) -> list[Explanation]:
        """Explain the log-likelihood of each sequence, see `dnalm.use.explain.explain`."""
        from dnalm.use.explain import explain

        return explain(self, sequences, **how)

    def score_variants(
        self, genome: str | Path, variants: str | Path | Iterable[tuple[str, int, str, str]], **how: Any
    ) -> VariantScores:
        """Return LLR, DEP and MARKOV of variants, see `dnalm.use.variant_scores.score_variants`."""
        from dnalm.use.variant_scores import score_variants

        return score_variants(self, genome, variants, **how)

    def _windows(
        self, sequences: Sequence[str], longest: int, overlap: int | None
    ) -> Iterator[tuple[list[Window], Tensor, Tensor]]:
        """Return batches of windows of at most `longest` letters, see `sequences.batches`."""
        check_sequences(sequences)
        overlap = self.block_size // 2 if overlap is None else overlap
        if not 0 <= overlap < self.block_size:
            raise InputError(f"`overlap` must be from 0 to {self.block_size - 1}, got {overlap}")
        is_cased = self.tokenizer.soft_masked.any()
        letters = [(each if is_cased else each.upper()).encode("ascii") for each in sequences]
        tokens = [self.tokenizer.ids[np.frombuffer(each, dtype=np.uint8)] for each in letters]
        # The first letter of a scored window has no prediction: such windows share one letter more.
        extra = longest - self.block_size
        windows = [
            w for index, ids in enumerate(tokens) for w in tile(ids >= 0, index, longest, overlap + extra)
        ]
        windows = [w for w in windows if w.end - w.start > extra]
        return batches(windows, [ids.astype(np.uint8) for ids in tokens], self.batch_size)
